//! What somebody learns who is everybody's partner and no member of their group: nothing
//! (invariant 3 of the design).
//!
//! Five members are real processes; the outsider runs in the test's own, so that every
//! frame it is told can be looked at, decrypted.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod circle;
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use circle::{GROUP, circle, councils, document, invite, members, refused, share};
use process::{Tally, comes, files_with, total};
use serde_json::{Value, json};
use tallystick_node::config::Place;
use tallystick_node::network::{Event, Onlooker};
use tallystick_node::service::{Overrides, Service};
use tallystick_protocol::id::NodeId;
use tallystick_protocol::sync::wire::Message;
use tokio::runtime::Runtime;

/// What the outsider was told: by whom, what kind of message, and its bytes.
struct Heard {
    by: NodeId,
    what: String,
    bytes: Vec<u8>,
}

static LOGGED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Writes to [`LOGGED`].
struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOGGED.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A node in this process that is everybody's partner.
struct Outsider {
    node: Tally,
    service: Option<Service>,
    runtime: Runtime,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Outsider {
    fn among(nodes: &[Tally]) -> Self {
        let mut node = Tally::init(&["--name", "Yew Council"]);
        // All that this process logs is of outsiders.
        let _by_another_test = tracing_subscriber::fmt()
            .with_env_filter("trace,tantivy=info")
            .with_ansi(false)
            .with_writer(|| Log)
            .try_init();
        let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let runtime = Runtime::new().unwrap();
        let overrides = Overrides {
            listen: Some(vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()]),
            http: Some(([127, 0, 0, 1], 0).into()),
            onlooker: Some(onlooker(Arc::clone(&heard))),
            ..Overrides::default()
        };
        let place = Place::at(&node.data());
        let service = runtime.block_on(Box::pin(Service::start(&place, overrides))).unwrap();
        let listen = runtime.block_on(service.status()).unwrap().listen;
        node.listen = listen.iter().map(ToString::to_string).collect();
        nodes.iter().for_each(|other| node.befriend(other));
        comes("the outsider is connected to all", || {
            node.ok(&["status"])["peers"].as_array().unwrap().len() == nodes.len()
        });
        Self { node, service: Some(service), runtime, heard }
    }

    /// How many frames and messages it was told so far.
    fn told(&self) -> usize {
        self.heard.lock().unwrap().len()
    }

    /// The kinds of messages it was told from number `from` on, each with its sizes.
    fn kinds(&self, from: usize) -> BTreeMap<String, BTreeSet<usize>> {
        let mut kinds: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
        for heard in &self.heard.lock().unwrap()[from..] {
            kinds.entry(heard.what.clone()).or_default().insert(heard.bytes.len());
        }
        kinds
    }

    fn stop(&mut self) {
        if let Some(service) = self.service.take() {
            self.runtime.block_on(service.stop()).unwrap();
        }
    }

    /// Looks for everything of the group in all that it was told, has and says.
    fn learned_nothing(&mut self, nodes: &[Tally], group: &str) {
        let secrets = secrets(&nodes[0], group);
        let said = [self.node.ok(&["status"]), self.node.ok(&["partner", "list"])];
        let said = said.map(|said| said.to_string()).concat();
        assert_eq!(self.node.ok(&["group", "list"])["groups"], json!([]));
        self.stop();
        let heard = self.heard.lock().unwrap();
        assert!(heard.iter().any(|heard| contains(&heard.bytes, b"Paving")), "it is decrypted");
        let speakers: BTreeSet<NodeId> = heard.iter().map(|heard| heard.by).collect();
        assert_eq!(speakers.len(), nodes.len(), "everybody told it something");
        let logged = LOGGED.lock().unwrap();
        assert!(heard.len() > 30 && logged.len() > 100_000, "else nothing is tested");
        for (name, secret) in &secrets {
            let told = heard.iter().find(|heard| contains(&heard.bytes, secret));
            assert!(told.is_none(), "{name}: {}", told.unwrap().what);
            let files = files_with(self.node.dir.path(), secret);
            assert_eq!(files, Vec::<PathBuf>::new(), "{name}");
            assert!(!contains(said.as_bytes(), secret), "{name}");
            assert!(!contains(&logged, secret), "{name}");
            let known = nodes.iter().any(|node| !files_with(&node.data(), secret).is_empty());
            assert!(known || name.starts_with("title"), "{name} is in no member's files either");
        }
        // Nor do members write down in their logs what the group is called or holds.
        for node in nodes {
            for secret in [&[GROUP, "stays here"][..], &TITLES].concat() {
                assert!(!node.log().contains(secret), "{secret}");
            }
        }
    }
}

/// Words of what is shared; nothing else reads like these.
const TITLES: [&str; 5] = ["Zephyr", "Mistral", "Sirocco", "Levanter", "Pampero"];

fn onlooker(heard: Arc<Mutex<Vec<Heard>>>) -> Onlooker {
    Onlooker::new(move |event| {
        let (by, what, bytes) = match event {
            Event::Frame(by, _, bytes, _) => {
                (by, kind(&Message::decode(bytes).unwrap()), bytes.clone())
            }
            Event::Gossip { node, bytes, .. } => (node, "Gossip".to_owned(), bytes.clone()),
            Event::Card(by, card) => (by, "Card".to_owned(), card.clone().into_bytes()),
            _ => return,
        };
        heard.lock().unwrap().push(Heard { by: *by, what, bytes });
    })
}

/// What kind of message it is.
fn kind(message: &Option<Message>) -> String {
    match message {
        None => "Unknown".to_owned(),
        Some(Message::News(news))
            if news.heads.is_empty() && news.identities.is_empty() && news.evidence.is_empty() =>
        {
            "NothingNew".to_owned()
        }
        Some(message) => {
            let shown = format!("{message:?}");
            shown.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
        }
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Everything by which the group could be known, as bytes and as text.
fn secrets(member: &Tally, group: &str) -> Vec<(String, Vec<u8>)> {
    let logs: Vec<Value> = member.ok(&["status"])["logs"].as_array().unwrap().clone();
    let roots = logs.iter().filter(|log| log["space"] == group);
    let roots: Vec<String> = roots.map(|log| log["root"].as_str().unwrap().to_owned()).collect();
    assert_eq!(roots.len(), 5, "else nothing is tested");
    let mut secrets = vec![
        ("name".to_owned(), GROUP.as_bytes().to_vec()),
        ("terms".to_owned(), b"stays here".to_vec()),
        ("id".to_owned(), bytes_of(group)),
    ];
    secrets.extend(TITLES.map(|title| (format!("title {title}"), title.as_bytes().to_vec())));
    secrets.extend(roots.iter().map(|root| (format!("root {root}"), bytes_of(root))));
    let origins = origins_of(member, group);
    secrets.extend(origins.into_iter().map(|origin| ("origin".to_owned(), origin)));
    secrets
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

#[test]
fn invariant_3_members_share_and_the_removed_and_outsiders_learn_nothing() {
    let nodes = councils(&["Ash", "Birch", "Cedar", "Elm", "Fir"]);
    let mut outsider = Outsider::among(&nodes);
    let group = circle(&nodes);
    let [ash, birch, cedar, elm, fir] = &nodes[..] else { panic!("five members") };
    let (all, yew) = ([ash, birch, cedar, elm, fir], &outsider.node);
    for node in all {
        node.publish(&json!({ "title": "Gritting" }), &["--public"]);
    }

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

    // A new secret, on demand, for those who stay; what came before stays readable.
    assert_eq!(elm.ok(&["group", "rotate", GROUP])["newEpoch"], true);
    share(elm, "Pampero drainage");
    comes("Birch reads what is under it", || total(birch, "Pampero") == 1);

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

    // What is erased is gone from every member, but for a copy that Cedar holds, hidden.
    cedar.ok(&["hold", &hauled, "--reason", "audit", "--until", "2099-12-31"]);
    let key = birch.controller();
    let erased = birch.ok(&["--yes", "erase", &hauled, "--reason", "mistake", "--with", &key]);
    assert_eq!(erased["countersigned"], true);
    for node in all {
        comes("nobody finds it any more", || total(node, "Zephyr") == 0);
        let status = || node.ok(&["erase", "--status", &hauled])["erasures"][0].clone();
        let is_cedar = std::ptr::eq(node, cedar);
        comes("and it is deleted, or held", || {
            status()["held"] == is_cedar && status()["deleted"].is_null() == is_cedar
        });
        assert_eq!(node.ok(&["show", &hauled])["state"], "erased");
    }
    for node in all {
        comes("each member says what became of it", || {
            let status = node.ok(&["erase", "--status", &hauled])["erasures"][0].clone();
            let mut said: Vec<_> = status["answers"].as_array().unwrap().iter().collect();
            said.sort_by_key(|one| one["authorityName"].to_string());
            let said: Vec<_> = said.iter().map(|one| one["outcome"].as_str().unwrap()).collect();
            said == ["deleted", "held", "deleted", "deleted"]
        });
    }
    cedar.ok(&["hold", &hauled, "--release"]);
    comes("Cedar deletes it as well", || {
        !cedar.ok(&["erase", "--status", &hauled])["erasures"][0]["deleted"].is_null()
    });

    for node in all {
        node.publish(&json!({ "title": "Paving" }), &["--public"]);
    }
    comes("the outsider has what is public", || total(yew, "Paving") == 5);
    outsider.learned_nothing(&nodes, &group);
}

/// What an outsider is told while nothing public happens, with a busy group or without
/// one: the kinds of messages in that time, and all kinds.
fn told_meanwhile(busy: bool) -> [BTreeMap<String, BTreeSet<usize>>; 2] {
    let nodes = councils(&["Ash", "Birch", "Cedar"]);
    let mut outsider = Outsider::among(&nodes);
    let publish = |title: &str| {
        for node in &nodes {
            node.publish(&json!({ "title": title }), &["--public"]);
        }
        comes("the outsider has it", || total(&outsider.node, title) == 3);
    };
    publish("Gritting");
    // Heads, cosignatures and cursors settle.
    std::thread::sleep(Duration::from_secs(5));
    let quiet = outsider.told();
    if busy {
        circle(&nodes);
        for title in ["Zephyr haulage", "Mistral gritting", "Sirocco paving"] {
            nodes.iter().for_each(|node| _ = share(node, title));
        }
        for node in &nodes {
            comes("members read all", || total(node, "Sirocco") == 3);
        }
        nodes[0].ok(&["--yes", "group", "remove", GROUP, &nodes[2].authority()]);
        nodes[0].ok(&["group", "rotate", GROUP]);
        comes("Birch knows", || members(&nodes[1]).len() == 2);
        outsider.node.ok(&["status"]);
    } else {
        std::thread::sleep(Duration::from_secs(15));
    }
    let meanwhile = outsider.kinds(quiet);
    publish("Paving");
    outsider.stop();
    [meanwhile, outsider.kinds(0)]
}

#[test]
fn invariant_3_with_and_without_a_group_an_outsider_is_told_the_same() {
    let [with, all_with] = told_meanwhile(true);
    let [without, all_without] = told_meanwhile(false);
    // Partners ask each other now and then whether there is anything new: there is not.
    let idle = ["Since", "NothingNew", "Alive"];
    for meanwhile in [&with, &without] {
        assert!(meanwhile.keys().all(|kind| idle.contains(&kind.as_str())), "{meanwhile:?}");
    }
    for (kind, sizes) in &with {
        let usual = without.get(kind).is_none_or(|usual| sizes.is_subset(usual));
        assert!(usual, "{kind}: {sizes:?} and {:?}", without[kind]);
    }
    let kinds = |all: &BTreeMap<String, BTreeSet<usize>>| {
        let kinds = all.keys().filter(|kind| !idle.contains(&kind.as_str()));
        kinds.cloned().collect::<BTreeSet<_>>()
    };
    assert_eq!(kinds(&all_with), kinds(&all_without));
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
