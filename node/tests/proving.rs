//! Proofs of what was said in a private group, over real processes: a member makes
//! them, a stranger verifies them, and they tell nothing of the group.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod circle;
mod process;

use std::path::{Path, PathBuf};
use std::process::Output;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use circle::{GROUP, PATIENCE, circle, councils, invite, members, share};
use process::{Tally, comes, eventually, total};
use serde_json::{Value, json};
use tallystick_protocol::id::{AuthorityId, GroupId};

const AMOUNT: i64 = 7_654_321;

fn path(node: &Tally, name: &str) -> String {
    node.dir.path().join(name).to_str().unwrap().to_owned()
}

/// What `verify` says to somebody who has nothing but the file.
fn judged(stranger: &Tally, code: i32, arguments: &[&str]) -> Value {
    let output = stranger.run(&[&["verify"], arguments].concat());
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", words(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// All bytes of a proof file: as it is, and what is base64 in it.
fn insides(file: &str) -> Vec<Vec<u8>> {
    let whole = std::fs::read(file).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();
    let parts = text.split_whitespace().filter_map(|word| STANDARD.decode(word).ok());
    parts.chain([whole]).collect()
}

fn holds(file: &str, part: &[u8]) -> bool {
    insides(file).iter().any(|bytes| bytes.windows(part.len()).any(|window| window == part))
}

/// The file names neither the group nor anybody in it but the author.
fn is_discreet(file: &str, group: &str, others: &[&Tally]) {
    let id: GroupId = group.parse().unwrap();
    for part in [
        GROUP.as_bytes(),
        group.as_bytes(),
        id.as_bytes(),
        STANDARD.encode(id.as_bytes()).as_bytes(),
    ] {
        assert!(!holds(file, part), "the group is in {file}");
    }
    for other in others {
        let text = other.authority();
        let id: AuthorityId = text.parse().unwrap();
        assert!(
            !holds(file, text.as_bytes()) && !holds(file, id.as_bytes()),
            "{text} is in {file}"
        );
    }
}

fn priced(node: &Tally, title: &str) -> String {
    let document = json!({ "title": title, "value": { "amount": AMOUNT, "currency": "GBP" } });
    node.publish(&document, &["--into", GROUP])
}

#[test]
fn a_member_proves_what_another_said_in_a_group_to_a_stranger() {
    let nodes = councils(&["Ash", "Birch", "Oak", "Yew"]);
    let [ash, birch, oak, yew] = &nodes[..] else { panic!("four nodes") };
    let group = circle(&nodes[..3]);
    let said = priced(ash, "Zephyr haulage");
    comes("Birch finds it", || total(birch, "Zephyr") == 1);

    // Whoever is no member has nothing to prove, and a member is told what it does.
    let whole = path(birch, "whole.proof");
    assert_ne!(yew.run(&["prove", &said, "-o", &path(yew, "x")]).status.code(), Some(0));
    comes("a signed head covers it", || {
        words(&birch.run(&["prove", &said, "-o", &whole])).contains("leaves the group")
    });
    let asked = birch.run(&["prove", &said, "-o", &whole]);
    assert_eq!(asked.status.code(), Some(2), "{}", words(&asked));
    assert!(!Path::new(&whole).exists(), "nothing is written before somebody says yes");
    let written = birch.run(&["--yes", "prove", &said, "-o", &whole]);
    assert!(written.status.success(), "{}", words(&written));
    assert!(words(&written).contains("Whoever gets the file can read"), "{}", words(&written));
    is_discreet(&whole, &group, &[birch, oak, yew]);

    // A stranger has the file and this program.
    let stranger = Tally::bare();
    let told = judged(&stranger, 0, &[&whole]);
    assert_eq!((&told["identity"], &told["space"]), (&json!("self-asserted"), &json!("private")));
    assert_eq!(
        (&told["authority"], &told["name"]),
        (&json!(ash.authority()), &json!("Ash Council"))
    );
    assert_eq!((&told["disclosure"], &told["key"]), (&json!("full"), &json!("current")));
    assert_eq!(told["document"]["value"]["amount"], json!(AMOUNT));
    assert!(told["ref"].as_str().unwrap().starts_with(&said));
    let pinned = judged(&stranger, 0, &[&whole, "--authority", &ash.authority()]);
    assert_eq!(pinned["identity"], "pinned");
    judged(&stranger, 1, &[&whole, "--authority", &birch.authority()]);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tally"));
    let page = command.args(["verify", &whole]).output().unwrap();
    let page = String::from_utf8(page.stdout).unwrap();
    assert!(page.contains("in a private group of its author"), "{page}");
    let text = std::fs::read_to_string(&whole).unwrap();
    let changed = path(birch, "changed.proof");
    for (from, to) in
        [("\nindex ", "\nindex 1"), ("tallystick/", "tallystick/x"), ("\n— ", "\n— x")]
    {
        assert!(text.contains(from));
        std::fs::write(&changed, text.replacen(from, to, 1)).unwrap();
        judged(&stranger, 1, &[&changed]);
    }

    // Only the price.
    let price = path(birch, "price.proof");
    birch.ok(&["--yes", "prove", &said, "-o", &price, "--field", "value"]);
    let told = judged(&stranger, 0, &[&price]);
    assert_eq!((&told["disclosure"], &told["withheld"]), (&json!("partial"), &json!(["title"])));
    assert!(holds(&whole, b"Zephyr haulage") && !holds(&price, b"Zephyr haulage"));
    assert!(holds(&price, b"value.amount"));
    is_discreet(&price, &group, &[birch, oak, yew]);
    let nothing = ["--yes", "prove", &said, "-o", &price, "--field", "supplier"];
    assert!(words(&birch.run(&nothing)).contains("no field supplier"));
    assert_eq!(birch.run(&nothing).status.code(), Some(2));

    // What was erased since is not proved any more, and what was proved stays so.
    let key = ash.controller();
    let erase = ["--yes", "erase", &said, "--reason", "commercial-confidence", "--with", &key];
    ash.ok(&[&erase[..], &["--field", "value.amount"]].concat());
    comes("Birch has deleted it", || {
        !birch.says(&["erase", "--status", &said])["erasures"][0]["deleted"].is_null()
    });
    let after = path(birch, "after.proof");
    birch.ok(&["--yes", "prove", &said, "-o", &after]);
    let told = judged(&stranger, 0, &[&after]);
    assert_eq!(told["withheld"], json!(["value.amount"]));
    let refused = ["--yes", "prove", &said, "-o", &after, "--field", "value.amount"];
    assert_eq!(birch.run(&refused).status.code(), Some(2));
    assert_eq!(judged(&stranger, 0, &[&whole])["document"]["value"]["amount"], json!(AMOUNT));
}

#[test]
fn public_records_are_proved_without_a_question_and_field_by_field() {
    let nodes = councils(&["Ash"]);
    let ash = &nodes[0];
    let document = json!({ "title": "Zephyr", "value": { "amount": AMOUNT, "currency": "GBP" } });
    let said = ash.publish(&document, &["--public"]);
    let file = path(ash, "price.proof");
    comes("it is signed", || {
        ash.run(&["prove", &said, "-o", &file, "--field", "value"]).status.success()
    });
    let told = judged(&Tally::bare(), 0, &[&file]);
    assert_eq!((&told["space"], &told["withheld"]), (&json!("public"), &json!(["title"])));
    assert!(!holds(&file, b"Zephyr"));
}

#[test]
fn what_a_member_cannot_open_it_cannot_prove() {
    let nodes = councils(&["Ash", "Birch"]);
    let [ash, birch] = &nodes[..] else { panic!("two nodes") };
    ash.ok(&["group", "create", GROUP, "--history", "from-join"]);
    let early = share(ash, "Zephyr haulage")["ref"].as_str().unwrap().to_owned();
    let invitation = invite(ash, &["--authority", &birch.authority()]);
    comes("Birch joins", || birch.run(&["--yes", "group", "join", &invitation]).status.success());
    comes("Birch is in", || members(birch).len() == 2);
    comes("Birch holds back what was shared before", || birch.ok(&["status"])["heldBack"] == 1);
    let file = path(birch, "early.proof");
    let refused = birch.run(&["--yes", "prove", &early, "-o", &file]);
    assert_eq!(refused.status.code(), Some(1), "{}", words(&refused));
    assert!(words(&refused).contains("sealed"), "{}", words(&refused));
    assert!(!PathBuf::from(&file).exists());
    // Its author can.
    ash.ok(&["--yes", "prove", &early, "-o", &path(ash, "early.proof")]);
}

/// Stops a node, does something, and starts it where the others look for it.
fn restart(node: &mut Tally, meanwhile: impl FnOnce(&Tally)) {
    let listen = node.listen[0].clone();
    node.kill();
    meanwhile(node);
    node.start_with(&["--listen", &listen]);
    node.listen = vec![listen];
}

/// A place for the key of the next controllers.
fn stick(node: &Tally, name: &str) -> String {
    let dir = node.dir.path().join(name);
    std::fs::create_dir(&dir).unwrap();
    dir.to_str().unwrap().to_owned()
}

fn card(node: &Tally, name: &str) -> String {
    let file = path(node, name);
    std::fs::write(&file, node.card()).unwrap();
    file
}

/// Waits until a node can prove a record, and gives the file.
fn proved(node: &Tally, said: &str, name: &str) -> String {
    let file = path(node, name);
    eventually(PATIENCE, "a signed head covers it", || {
        let output = node.run(&["--yes", "prove", said, "-o", &file]);
        if output.status.success() { Ok(()) } else { Err(words(&output)) }
    });
    file
}

#[test]
fn after_its_keys_were_replaced_what_an_authority_said_in_a_group_is_still_proved() {
    let mut nodes = councils(&["Ash", "Birch", "Oak"]);
    let group = circle(&nodes);
    let said = priced(&nodes[0], "Zephyr haulage");
    comes("Birch finds it", || total(&nodes[1], "Zephyr") == 1);
    let before = proved(&nodes[1], &said, "before.proof");
    let stranger = Tally::bare();
    assert_eq!(judged(&stranger, 0, &[&before])["key"], "current");

    // A new log key signs the log in the group anew.
    restart(&mut nodes[0], |ash| {
        let next = stick(ash, "stick");
        ash.ok(&["--yes", "key", "rotate", "--log", "--next-controllers", &next]);
    });
    let newer = card(&nodes[0], "rotated.card");
    let told = judged(&stranger, 1, &[&before, "--card", &newer]);
    assert_eq!(told["key"], "retired, refresh needed");
    let own = proved(&nodes[0], &said, "own.proof");
    assert_eq!(judged(&stranger, 0, &[&own, "--card", &newer])["key"], "current");
    // Members have a head under it when the log has grown, and say so until then.
    comes("Birch has heard of the new key", || {
        let output = nodes[1].run(&["--yes", "prove", &said, "-o", &path(&nodes[1], "x")]);
        words(&output).contains("has replaced the key")
    });
    share(&nodes[0], "Mistral gritting");
    let after = proved(&nodes[1], &said, "after.proof");
    assert_eq!(judged(&stranger, 0, &[&after, "--card", &newer])["key"], "current");
    is_discreet(&after, &group, &[&nodes[1], &nodes[2]]);

    // A recovery closes that log: nobody signs it any more, and its author has the pins.
    let pins = nodes[0].data().join("group-pins.cbor");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&pins).unwrap().permissions().mode() & 0o777, 0o600);
    }
    restart(&mut nodes[0], |ash| {
        let (with, next) = (any_file(&path(ash, "stick")), stick(ash, "other"));
        ash.ok(&["--yes", "key", "recover", "--with", &with, "--next-controllers", &next]);
    });
    let newest = card(&nodes[0], "recovered.card");
    let file = proved(&nodes[0], &said, "recovered.proof");
    let told = judged(&stranger, 0, &[&file, "--card", &newest]);
    assert_eq!((&told["key"], &told["space"]), (&json!("retired, proven"), &json!("private")));
    assert_eq!(told["document"]["value"]["amount"], json!(AMOUNT));
    assert!(told["ref"].as_str().unwrap().contains("@0."), "{told}");
    is_discreet(&file, &group, &[&nodes[1], &nodes[2]]);
    let told = judged(&stranger, 1, &[&after, "--card", &newest]);
    assert_eq!(told["key"], "retired, refresh needed");
    // Without what opens the pins there is nothing to prove it by.
    restart(&mut nodes[0], |_| std::fs::remove_file(&pins).unwrap());
    let refused = nodes[0].run(&["--yes", "prove", &said, "-o", &path(&nodes[0], "x.proof")]);
    assert_eq!(refused.status.code(), Some(1), "{}", words(&refused));
    assert!(words(&refused).contains("has closed the log"), "{}", words(&refused));
}

/// The only file in a directory.
fn any_file(dir: &str) -> String {
    let entry = std::fs::read_dir(dir).unwrap().next().unwrap().unwrap();
    entry.path().to_str().unwrap().to_owned()
}
