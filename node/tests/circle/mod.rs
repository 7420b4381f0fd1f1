//! Councils that share in a private group, as real processes.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "shared by test programs, each of which uses a part"
)]

use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{Tally, comes, eventually};

pub const PATIENCE: Duration = Duration::from_secs(60);
/// Nothing else in a data directory or a log reads like these.
pub const GROUP: &str = "Quillwort Purchasing Circle";

/// Nodes that are all each other's partners.
pub fn councils(names: &[&str]) -> Vec<Tally> {
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

pub fn document(node: &Tally, title: &str) -> String {
    let file = node.dir.path().join("contract.json");
    std::fs::write(&file, json!({ "title": title }).to_string()).unwrap();
    file.to_str().unwrap().to_owned()
}

pub fn share(node: &Tally, title: &str) -> Value {
    node.ok(&["publish", "contract", &document(node, title), "--into", GROUP])
}

/// Names of those whom a node takes for members.
pub fn members(node: &Tally) -> Vec<String> {
    let found = node.says(&["group", "members", GROUP]);
    let name = |member: &Value| member["name"].as_str().unwrap_or_default().to_owned();
    let mut names: Vec<_> = found["members"].as_array().into_iter().flatten().map(name).collect();
    names.sort();
    names
}

pub fn invite(convenor: &Tally, further: &[&str]) -> String {
    let invited = convenor.ok(&[&["group", "invite", GROUP], further].concat());
    invited["invitation"].as_str().unwrap().to_owned()
}

pub fn refused(node: &Tally, arguments: &[&str], words: &str) {
    let output = node.run(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    assert!(said.contains(words), "{arguments:?}: {said}");
}

/// The first creates the group, and all others join it.
pub fn circle(nodes: &[Tally]) -> String {
    let (ash, rest) = (&nodes[0], &nodes[1..]);
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
    let all = nodes.len();
    for node in nodes {
        eventually(PATIENCE, "everybody knows everybody", || {
            let known = members(node);
            if known.len() == all { Ok(()) } else { Err(format!("{known:?}")) }
        });
    }
    created["group"].as_str().unwrap().to_owned()
}
