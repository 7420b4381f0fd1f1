//! Private groups over real processes: histories, roles, restarts, keys, responses.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod circle;
mod process;

use circle::{GROUP, PATIENCE, circle, councils, document, invite, members, refused, share};
use process::{Tally, comes, eventually, total};
use serde_json::{Value, json};

/// Stops a node, does something, and starts it where the others look for it.
fn restart(node: &mut Tally, meanwhile: impl FnOnce(&Tally)) {
    let listen = node.listen[0].clone();
    node.kill();
    meanwhile(node);
    node.start_with(&["--listen", &listen]);
    node.listen = vec![listen];
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
    let group = circle(&nodes[..3]);
    let [ash, birch, cedar, _] = &nodes[..] else { panic!("four nodes") };
    let listed = ash.ok(&["group", "list"]);
    assert_eq!(listed["groups"][0]["role"], "convenor");
    assert_eq!(listed["groups"][0]["group"], json!(group));

    // Observers read and do not write; only convenors manage.
    let role =
        |role| ash.ok(&["group", "role", GROUP, &cedar.authority(), role])["newEpoch"].clone();
    assert_eq!([role("convenor"), role("observer")], [false, true], "a new secret for less only");
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

/// So many seconds from now, as people write it.
fn seconds_from_now(seconds: i64) -> String {
    (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds))
        .strftime("%FT%TZ")
        .to_string()
}

/// How far a node has the group's log of an authority.
fn held(node: &Tally, authority: &str) -> u64 {
    let status = node.ok(&["status"]);
    let logs = status["logs"].as_array().unwrap().iter();
    let mut log = logs.filter(|log| log["authority"] == authority && log["space"] != "public");
    log.next().map_or(0, |log| log["size"].as_u64().unwrap())
}

#[test]
fn an_observer_whose_time_is_over_reads_nothing_that_is_shared_then_and_keeps_the_rest() {
    let nodes = councils(&["Ash", "Birch", "Cedar"]);
    circle(&nodes);
    let [ash, birch, cedar] = &nodes[..] else { panic!("three nodes") };
    let kept = share(birch, "Zephyr haulage")["ref"].as_str().unwrap().to_owned();
    comes("Cedar reads as a member", || total(cedar, "Zephyr") == 1);
    let observer = ["group", "role", GROUP, &cedar.authority(), "observer"];
    refused(ash, &[&observer[..], &["--until", "2020-01-31"]].concat(), "has passed");
    refused(ash, &[&observer[..], &["--until", "next week"]].concat(), "is no date");
    let end = seconds_from_now(12);
    ash.ok(&[&observer[..], &["--until", &end]].concat());
    let state = || cedar.ok(&["group", "list"])["groups"][0]["state"].clone();
    comes("Cedar knows", || cedar.ok(&["group", "list"])["groups"][0]["role"] != "member");
    comes("its time is over", || state() == "departed");

    // The others make a new secret by themselves, and what is shared is under that.
    comes("two can read", || ash.ok(&["group", "members", GROUP])["readers"] == 2);
    comes("Birch knows", || birch.ok(&["group", "members", GROUP])["readers"] == 2);
    share(birch, "Mistral gritting");
    comes("Ash reads it", || total(ash, "Mistral") == 1);
    // Whatever Birch has to tell Cedar has come when this has.
    birch.publish(&json!({ "title": "Sirocco paving" }), &["--public"]);
    comes("Cedar hears of what is public", || total(cedar, "Sirocco") == 1);
    assert_eq!(total(cedar, "Mistral"), 0);
    let birch_has = held(birch, &birch.authority());
    assert_eq!(held(ash, &birch.authority()), birch_has);
    assert!(held(cedar, &birch.authority()) < birch_has, "not even that there is something");
    // What it had it keeps.
    assert_eq!(cedar.ok(&["show", &kept])["title"], "Zephyr haulage");
    // It may be given more time, and then reads what it missed.
    ash.ok(&observer);
    comes("Cedar reads again", || total(cedar, "Mistral") == 1);
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
    circle(&nodes[..2]);
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

#[test]
fn a_register_is_imported_into_a_group_once_and_beside_what_is_public() {
    let nodes = councils(&["Ash", "Birch", "Yew"]);
    let [ash, birch, yew] = &nodes[..] else { panic!("three nodes") };
    circle(&nodes[..2]);
    let register = |price: u32| {
        let rows = format!(
            "Reference,Title,Buyer,Supplier,Contract value\n\
             H-1,Zephyr haulage,Ash Council,Quillfield Ltd,{price}\n\
             G-1,Gritting,Elm Council,Kestrel Ltd,900\n"
        );
        let file = ash.dir.path().join("register.csv");
        std::fs::write(&file, rows).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let counts = |said: &Value| {
        ["stored", "changed", "unchanged", "reference"].map(|one| said[one].as_u64().unwrap())
    };
    let import = |price, further: &[&str]| {
        counts(&ash.ok(&[&["import", &register(price)], further].concat()))
    };
    let into = ["--into", GROUP];
    assert_eq!(import(387_280, &[&into[..], &["--dry-run"]].concat()), [1, 0, 0, 1]);
    assert_eq!(import(387_280, &into), [1, 0, 0, 1]);
    assert_eq!(import(387_280, &into), [0, 0, 1, 1], "twice changes nothing");
    assert_eq!(import(400_000, &into), [0, 1, 0, 1]);
    comes("Birch reads the new price", || {
        let found = birch.ok(&["search", "Zephyr"]);
        let reference = found["results"][0]["ref"].as_str().unwrap_or_default().to_owned();
        birch.says(&["show", &reference])["document"]["value"]["amount"] == 40_000_000
    });
    assert_eq!(total(birch, "Gritting"), 0, "references are nobody else's");
    // What is public is another record, whose id says nothing of the first.
    assert_eq!(import(387_280, &["--public"]), [1, 0, 0, 1]);
    comes("Yew has the public one", || total(yew, "Zephyr") == 1);
    comes("Birch has both", || total(birch, "Zephyr") == 2);
    let public = yew.ok(&["search", "Zephyr"])["results"][0]["ref"].as_str().unwrap().to_owned();
    assert_eq!(birch.ok(&["show", &public])["group"], Value::Null);
    refused(yew, &["import", &register(1), "--into", GROUP], "in no group called");
}

#[test]
fn a_group_whose_convenor_is_lost_goes_on_by_the_rule_it_was_created_with() {
    let mut nodes = councils(&["Ash", "Birch", "Cedar"]);
    circle(&nodes);
    let listed = nodes[1].ok(&["group", "members", GROUP]);
    assert_eq!(listed["continuation"], "majority");
    // A second group, of which Birch may take the lead, and a third that ends with Ash.
    let deputy = nodes[1].authority();
    for (name, rule) in [("Wicker Circle", deputy.as_str()), ("Closed Circle", "nobody")] {
        nodes[0].ok(&["group", "create", name, "--continuation", rule]);
        let invited = nodes[0].ok(&["group", "invite", name]);
        let invitation = invited["invitation"].as_str().unwrap();
        nodes[1].ok(&["--yes", "group", "join", invitation]);
        comes("Birch is in", || {
            let members = nodes[1].says(&["group", "members", name]);
            members["continuation"] == rule && members["members"].as_array().unwrap().len() == 2
        });
    }
    nodes[0].kill();
    let [_, birch, cedar] = &nodes[..] else { panic!("three nodes") };
    let vote = |voter: &Tally| voter.ok(&["group", "continue", GROUP, &birch.authority()]);
    refused(birch, &["group", "invite", GROUP], "role of convenor");
    assert_eq!(vote(cedar)["leads"], false, "one of three");
    comes("Birch has heard of the vote", || {
        // Its own vote comes after Cedar's, or it would have to be cast once more.
        let said = birch.ok(&["status"])["logs"].as_array().unwrap().clone();
        let cedars = said.iter().filter(|log| log["authority"] == cedar.authority().as_str());
        cedars.filter(|log| log["space"] != "public").all(|log| log["size"].as_u64() >= Some(2))
    });
    eventually(PATIENCE, "more than half", || match &vote_again(birch, birch) {
        Value::Bool(true) => Ok(()),
        other => Err(other.to_string()),
    });
    comes("Cedar sees that Birch leads", || {
        let members = cedar.ok(&["group", "members", GROUP]);
        let leads = |one: &Value| {
            one["authority"] == birch.authority().as_str() && one["role"] == "convenor"
        };
        members["members"].as_array().unwrap().iter().any(leads)
    });
    // It manages now: who is lost is removed, and the rest read on.
    birch.ok(&["--yes", "group", "remove", GROUP, "Ash Council"]);
    share(birch, "Zephyr haulage");
    comes("Cedar reads it", || total(cedar, "Zephyr") == 1);
    // A deputy waits as long as there is a convenor, and nobody is nobody.
    for name in ["Wicker Circle", "Closed Circle"] {
        refused(birch, &["group", "continue", name, &birch.authority()], "will not count");
    }
}

/// Votes for a member unless it leads already; whether it does then.
fn vote_again(voter: &Tally, candidate: &Tally) -> Value {
    let members = voter.ok(&["group", "members", GROUP]);
    let is = |one: &Value| {
        one["authority"] == candidate.authority().as_str() && one["role"] == "convenor"
    };
    if members["members"].as_array().unwrap().iter().any(is) {
        return json!(true);
    }
    voter.ok(&["group", "continue", GROUP, &candidate.authority()])["leads"].clone()
}
