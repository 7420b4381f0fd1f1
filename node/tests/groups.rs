//! Private groups over real processes: five members and an outsider who is
//! everybody's partner (invariant 3 of the design).
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod process;

use std::path::PathBuf;
use std::time::Duration;

use process::{Tally, comes, eventually, files_with, total};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
/// Nothing else in a data directory or a log reads like these.
const GROUP: &str = "Quillwort Purchasing Circle";
const NAMES: [&str; 5] = ["Ash", "Birch", "Cedar", "Elm", "Fir"];

/// Nodes that are all each other's partners.
fn councils(names: &[&str]) -> Vec<Tally> {
    let mut nodes: Vec<Tally> = Vec::new();
    for name in names {
        let mut node = Tally::init(&["--name", &format!("{name} Council")]);
        node.start();
        for other in &nodes {
            node.befriend(other);
        }
        nodes.push(node);
    }
    nodes
}

fn document(node: &Tally, title: &str) -> String {
    let file = node.dir.path().join("contract.json");
    std::fs::write(&file, json!({ "title": title }).to_string()).unwrap();
    file.to_str().unwrap().to_owned()
}

fn share(node: &Tally, title: &str) -> Value {
    node.ok(&["publish", "contract", &document(node, title), "--into", GROUP])
}

/// Names of those whom a node takes for members.
fn members(node: &Tally) -> Vec<String> {
    let found = node.says(&["group", "members", GROUP]);
    let name = |member: &Value| member["name"].as_str().unwrap_or_default().to_owned();
    let mut names: Vec<_> = found["members"].as_array().into_iter().flatten().map(name).collect();
    names.sort();
    names
}

fn invite(convenor: &Tally, further: &[&str]) -> String {
    let invited = convenor.ok(&[&["group", "invite", GROUP], further].concat());
    invited["invitation"].as_str().unwrap().to_owned()
}

fn refused(node: &Tally, arguments: &[&str], words: &str) {
    let output = node.run(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    assert!(said.contains(words), "{arguments:?}: {said}");
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

/// Ash creates the group, and all others but the last node join it.
fn circle(nodes: &[Tally]) -> String {
    let (ash, rest) = (&nodes[0], &nodes[1..nodes.len() - 1]);
    let terms = ash.dir.path().join("terms.txt");
    std::fs::write(&terms, "What is shared here stays here.").unwrap();
    let created =
        ash.ok(&["group", "create", GROUP, "--terms", terms.to_str().unwrap(), "--min-n", "3"]);
    for node in rest {
        let invitation = invite(ash, &["--authority", &node.authority()]);
        comes("the newcomer knows who invites", || {
            node.run(&["group", "join", &invitation]).status.code() == Some(2)
        });
        refused(node, &["group", "join", &invitation], "cannot be undone");
        let joined = node.ok(&["--yes", "group", "join", &invitation]);
        assert_eq!(joined["terms"], "What is shared here stays here.");
    }
    let all = nodes.len() - 1;
    for node in &nodes[..all] {
        eventually(PATIENCE, "everybody knows everybody", || {
            let known = members(node);
            if known.len() == all { Ok(()) } else { Err(format!("{known:?}")) }
        });
    }
    created["group"].as_str().unwrap().to_owned()
}

#[test]
fn invariant_3_members_share_and_the_removed_and_outsiders_learn_nothing() {
    let mut nodes = councils(&[&NAMES[..], &["Yew"]].concat());
    let group = circle(&nodes);
    let [ash, birch, cedar, elm, fir, yew] = &nodes[..] else { panic!("six nodes") };
    let all = [ash, birch, cedar, elm, fir];

    // Nothing is shared without an audience; who is in it is said.
    let file = document(birch, "Unspoken haulage");
    refused(birch, &["publish", "contract", &file], "Quillwort Purchasing Circle with 5 members");
    refused(yew, &["publish", "contract", &file, "--into", GROUP], "in no group called");
    let shared = share(birch, "Zephyr haulage");
    assert_eq!(
        (&shared["audience"]["name"], &shared["audience"]["members"]),
        (&json!(GROUP), &json!(5))
    );
    let hauled = shared["ref"].as_str().unwrap().split('@').next().unwrap().to_owned();
    for node in all {
        comes("every member finds it", || total(node, "Zephyr") == 1);
        let shown = node.ok(&["show", &hauled]);
        assert_eq!((&shown["title"], &shown["group"]), (&json!("Zephyr haulage"), &json!(GROUP)));
        assert_eq!(node.ok(&["search", "Zephyr"])["results"][0]["group"], json!(GROUP));
    }
    // A version that replaces it, by the same author, in the same audience.
    let file = document(birch, "Zephyr night haulage");
    refused(
        birch,
        &["publish", "contract", &file, "--public", "--replaces", &hauled],
        "another audience",
    );
    birch.ok(&["publish", "contract", &file, "--into", GROUP, "--replaces", &hauled]);
    comes("Fir has the new version", || total(fir, "Zephyr night") == 1);

    // Fir is removed: it keeps what it had, and reads nothing that comes afterwards.
    refused(birch, &["--yes", "group", "remove", GROUP, &fir.authority()], "convenor");
    let removed = ash.ok(&["--yes", "group", "remove", GROUP, &fir.authority()]);
    assert_eq!(removed["newEpoch"], true);
    share(ash, "Mistral gritting");
    for node in [ash, birch, cedar, elm] {
        comes("those who stay find it", || total(node, "Mistral") == 1);
        assert_eq!(members(node).len(), 4);
    }
    share(cedar, "Sirocco paving");
    comes("Elm finds it", || total(elm, "Sirocco") == 1);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(total(fir, "Zephyr"), 1, "what it had");
    assert_eq!((total(fir, "Mistral"), total(fir, "Sirocco")), (0, 0));

    // It comes back by a new invitation, and then reads all, as the terms say.
    let again = invite(ash, &["--authority", &fir.authority()]);
    fir.ok(&["--yes", "group", "join", &again]);
    comes("Fir reads what it missed", || total(fir, "Mistral") == 1 && total(fir, "Sirocco") == 1);
    for node in all {
        comes("all know that it is back", || members(node).len() == 5);
    }
    share(fir, "Levanter lighting");
    for node in all {
        comes("and everybody reads Fir again", || total(node, "Levanter") == 1);
    }

    // What is erased is gone from every member.
    let key = birch.controller();
    let erased = birch.ok(&["--yes", "erase", &hauled, "--reason", "mistake", "--with", &key]);
    assert_eq!(erased["countersigned"], true);
    for node in all {
        comes("nobody finds it any more", || total(node, "Zephyr") == 0);
        comes("and it is deleted", || {
            let status = node.ok(&["erase", "--status", &hauled]);
            !status["erasures"][0]["deleted"].is_null()
        });
        assert_eq!(node.ok(&["show", &hauled])["state"], "erased");
    }

    the_outsider_learns_nothing(&mut nodes, &group);
}

/// Looks for everything of the group in all that the last node has and says.
fn the_outsider_learns_nothing(nodes: &mut [Tally], group: &str) {
    let (ash, yew) = (&nodes[0], nodes.last().unwrap());
    // The outsider was everybody's partner all the time.
    comes("the outsider is connected to all", || {
        yew.ok(&["status"])["peers"].as_array().unwrap().len() == 5
    });
    let status = yew.ok(&["status"]).to_string();
    let listed = yew.ok(&["group", "list"]);
    assert_eq!(listed["groups"], json!([]));
    let origins: Vec<Value> = ash.ok(&["status"])["logs"].as_array().unwrap().clone();
    let roots = origins.iter().filter(|log| log["space"] == group);
    let roots: Vec<String> = roots.map(|log| log["root"].as_str().unwrap().to_owned()).collect();
    assert_eq!(roots.len(), 5, "else nothing is tested");
    let mut secrets: Vec<Vec<u8>> =
        [GROUP, group, "Zephyr", "Mistral", "Sirocco", "Levanter", "stays here"]
            .map(|text| text.as_bytes().to_vec())
            .to_vec();
    secrets.push(bytes_of(group));
    secrets.extend(roots.iter().flat_map(|root| [root.as_bytes().to_vec(), bytes_of(root)]));
    secrets.extend(origins_of(ash, group));
    assert!(secrets.len() > 20);
    nodes.last_mut().unwrap().kill();
    let (ash, yew) = (&nodes[0], &nodes[5]);
    for secret in &secrets {
        let text = String::from_utf8_lossy(secret);
        assert_eq!(files_with(yew.dir.path(), secret), Vec::<PathBuf>::new(), "{text}");
        assert!(!status.contains(&*text), "{text}");
    }
    assert!(!files_with(&ash.data(), bytes_of(group).as_slice()).is_empty(), "the search works");
    // Nor do members write down in their logs what the group is called or holds.
    for node in nodes {
        for secret in [GROUP, "Zephyr", "Mistral", "Sirocco", "Levanter", "stays here"] {
            assert!(!node.log().contains(secret), "{secret}");
        }
    }
}

/// Stops a node, does something, and starts it where the others look for it.
fn restart(node: &mut Tally, meanwhile: impl FnOnce(&Tally)) {
    let listen = node.listen[0].clone();
    node.kill();
    meanwhile(node);
    node.start_with(&["--listen", &listen]);
    node.listen = vec![listen];
}

/// Origins of the group's logs, as they would stand in a signed head.
fn origins_of(node: &Tally, group: &str) -> Vec<Vec<u8>> {
    use tallystick_protocol::id::{LogId, Space};
    let network = node.ok(&["whoami"])["network"].as_str().unwrap().parse().unwrap();
    let space = Space::Group(group.parse().unwrap());
    let members = node.ok(&["group", "members", GROUP]);
    let origin = |member: &Value| {
        let authority = member["authority"].as_str().unwrap().parse().unwrap();
        let log = LogId { authority, space, generation: 0 };
        let origin = tallystick_protocol::group::origin(&network, &log).unwrap();
        origin.as_str().as_bytes().to_vec()
    };
    members["members"].as_array().unwrap().iter().map(origin).collect()
}

#[test]
fn who_joins_a_group_that_shows_from_joining_reads_nothing_earlier() {
    let nodes = councils(&["Ash", "Birch"]);
    let [ash, birch] = &nodes[..] else { panic!("two nodes") };
    ash.ok(&["group", "create", GROUP, "--history", "from-join"]);
    let early = share(ash, "Zephyr haulage");
    let early = early["ref"].as_str().unwrap().split('@').next().unwrap().to_owned();
    // As a mail would bring it.
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tally"));
    command.arg("--data").arg(ash.data()).args(["group", "invite", GROUP, "--role", "observer"]);
    let output = command.args(["--until", "2999-12-31"]).output().unwrap();
    let invitation = String::from_utf8(output.stdout).unwrap();
    let file = birch.dir.path().join("invitation.txt");
    std::fs::write(&file, format!("Dear Birch,\n\n{invitation}\nYours, Ash\n")).unwrap();
    comes("Birch knows who invites", || {
        birch.run(&["--yes", "group", "join", file.to_str().unwrap()]).status.success()
    });
    comes("Birch is in", || members(birch).len() == 2 && members(ash).len() == 2);
    comes("Birch holds back what was shared before", || birch.ok(&["status"])["heldBack"] == 1);
    share(ash, "Mistral gritting");
    comes("it reads what is shared now", || total(birch, "Mistral") == 1);
    assert_eq!(total(birch, "Zephyr"), 0);
    let shown = birch.run(&["show", &early]);
    assert_eq!(shown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&shown.stderr).contains("sealed"));
    // What a holder cannot open it can still delete.
    let key = ash.controller();
    ash.ok(&["--yes", "erase", &early, "--reason", "mistake", "--with", &key]);
    comes("Birch has deleted it", || {
        !birch.says(&["erase", "--status", &early])["erasures"][0]["deleted"].is_null()
    });
    assert_eq!(birch.ok(&["show", &early])["state"], "erased");
    comes("nothing is held back any more", || birch.ok(&["status"])["heldBack"] == 0);
}

#[test]
fn roles_hold_leaving_works_and_everything_outlives_a_restart() {
    let mut nodes = councils(&["Ash", "Birch", "Cedar", "Yew"]);
    let group = circle(&nodes);
    let [ash, birch, cedar, _] = &nodes[..] else { panic!("four nodes") };
    let listed = ash.ok(&["group", "list"]);
    assert_eq!(listed["groups"][0]["role"], "convenor");
    assert_eq!(listed["groups"][0]["group"], json!(group));

    // Observers read and do not write; only convenors manage.
    ash.ok(&["group", "role", GROUP, &cedar.authority(), "observer"]);
    comes("Cedar is observer", || cedar.ok(&["group", "list"])["groups"][0]["role"] == "observer");
    share(birch, "Zephyr haulage");
    comes("an observer reads", || total(cedar, "Zephyr") == 1);
    let file = document(cedar, "Own haulage");
    refused(cedar, &["publish", "contract", &file, "--into", GROUP], "role of member");
    refused(cedar, &["group", "invite", GROUP], "role of convenor");
    refused(ash, &["--yes", "group", "leave", GROUP], "nobody who manages it");
    refused(ash, &["group", "members", "No such circle"], "in no group called");
    refused(birch, &["--yes", "group", "join", "nowhere.txt"], "cannot be read");
    let bound = invite(ash, &["--authority", &birch.authority()]);
    refused(cedar, &["--yes", "group", "join", &bound], "for somebody else");

    // Whoever leaves keeps what it had, and what comes later is not for it.
    birch.ok(&["--yes", "group", "leave", GROUP]);
    comes("Ash knows", || members(ash).len() == 2);
    let mistral = share(ash, "Mistral gritting")["ref"].as_str().unwrap().to_owned();
    comes("Cedar reads it", || total(cedar, "Mistral") == 1);
    assert_eq!((total(birch, "Zephyr"), total(birch, "Mistral")), (1, 0));
    assert_eq!(birch.ok(&["group", "list"])["groups"][0]["state"], "departed");

    // A withdrawn record is withdrawn for members, too.
    let shared = share(ash, "Sirocco paving");
    comes("Cedar reads that", || total(cedar, "Sirocco") == 1);
    ash.ok(&["withdraw", shared["ref"].as_str().unwrap().split('@').next().unwrap()]);
    comes("and not any more", || total(cedar, "Sirocco") == 0);

    for at in [0, 2] {
        restart(&mut nodes[at], |_| {});
        assert_eq!(nodes[at].ok(&["group", "list"])["groups"][0]["name"], json!(GROUP));
        assert_eq!(total(&nodes[at], "Mistral"), 1, "opened again after a restart");
    }
    // A new sealing key opens what comes, and the old one still what was there.
    restart(&mut nodes[0], |ash| {
        let stick = ash.dir.path().join("stick");
        std::fs::create_dir(&stick).unwrap();
        let rotate = ["--yes", "key", "rotate", "--sealing", "--next-controllers"];
        ash.ok(&[&rotate[..], &[stick.to_str().unwrap()]].concat());
    });
    let (ash, cedar) = (&nodes[0], &nodes[2]);
    assert_eq!(ash.ok(&["show", &mistral])["title"], "Mistral gritting");
    let shared = share(ash, "Tramontane mowing");
    comes("Cedar reads what is under the new epoch", || total(cedar, "Tramontane") == 1);
    assert_eq!(ash.ok(&["show", shared["ref"].as_str().unwrap()])["state"], "current");
}

#[test]
fn what_others_say_to_a_record_is_listed_under_it_and_told_to_nobody_else() {
    let nodes = councils(&["Ash", "Birch", "Yew"]);
    let [ash, birch, yew] = &nodes[..] else { panic!("three nodes") };
    let file = document(ash, "Gritting plans");
    let public = ash.ok(&["publish", "contract", &file, "--public"]);
    let public = public["ref"].as_str().unwrap().split('@').next().unwrap().to_owned();
    comes("Birch finds it", || total(birch, "Gritting") == 1);
    let respond = |node: &Tally, to: &str, audience: &[&str]| {
        let file = node.dir.path().join("response.json");
        let text = "We buy the same next year.";
        let response = json!({ "to": to, "answer": "wouldJoin", "text": text });
        std::fs::write(&file, response.to_string()).unwrap();
        let file = file.to_str().unwrap().to_owned();
        node.run(&[&["publish", "response", &file], audience].concat())
    };
    assert!(respond(birch, &public, &["--public"]).status.success());
    for node in [ash, birch, yew] {
        comes("it is listed under what it answers", || {
            let shown = node.ok(&["show", &public]);
            let first = &shown["responses"][0];
            first["answer"] == "wouldJoin" && first["authority"] == json!(birch.authority())
        });
    }
    // What is answered in a group stays in it.
    circle(&nodes);
    let shared = share(ash, "Zephyr haulage");
    let shared = shared["ref"].as_str().unwrap().split('@').next().unwrap().to_owned();
    comes("Birch finds what is shared", || total(birch, "Zephyr") == 1);
    let wider = respond(birch, &shared, &["--public"]);
    assert_eq!(wider.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wider.stderr).contains("others would learn of it"));
    assert!(respond(birch, &shared, &["--into", GROUP]).status.success());
    comes("Ash sees it", || {
        ash.ok(&["show", &shared])["responses"].as_array().is_some_and(|all| all.len() == 1)
    });
    assert_eq!(total(yew, "Zephyr"), 0);
}
