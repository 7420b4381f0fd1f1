//! What a thousand private groups cost a node that is a member of all of them:
//! memory and time to start, beside the same node without any.
//!
//! Whole nodes, started by the command line after everything was indexed once.
//! Each group has five members, who all share a record or more.

use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use tallystick_node::cli::client::Client;
use tallystick_node::config::Place;
use tallystick_node::keys::{self, NodeKeys};
use tallystick_node::store::{Replica as _, Store, StoreOptions};
use tallystick_protocol::identity::{Identity, Profile};
use tallystick_protocol::sync::StoredIdentity;
use tallystick_protocol::time::UnixTime;

use crate::circle::{Circle, Member, store};
use crate::measure::{child, copy_tree, line, shown, size_of};

const RUNS: usize = 5;
const MEMBERS: usize = 5;
/// Records of the first member in each group; the others share one each.
const RECORDS: u64 = 3;
/// Groups that are stored at a time.
const BATCH: u64 = 50;

pub(crate) fn run(sizes: &[u64]) {
    println!("groups: median of {RUNS} runs (lowest–highest), with and without by turns");
    for &groups in sizes {
        let dir = tempfile::tempdir().unwrap();
        let [with, without] = ["with", "without"].map(|name| dir.path().join(name));
        let made = Made::new(dir.path(), &with);
        copy_tree(&with, &without);
        made.share(&with, groups);
        // Register and index are made at the first start.
        let [first, _] = [&with, &without].map(|data| measured(data));
        let mut runs = Vec::new();
        for _ in 0..RUNS {
            runs.push([&without, &with].map(|data| measured(data)));
        }
        let of = |at: usize, value: fn(&Cost) -> f64| {
            shown(runs.iter().map(|run| value(&run[at])).collect())
        };
        let more = |value: fn(&Cost) -> f64| {
            shown(runs.iter().map(|run| value(&run[1]) - value(&run[0])).collect())
        };
        println!("{groups} groups of {MEMBERS} members, {} entries", groups * entries());
        println!("  resident, MiB      without {}, with {}", of(0, mib), of(1, mib));
        println!("  …added             {}", more(mib));
        println!("  start, ms          without {}, with {}", of(0, ready), of(1, ready));
        println!("  …first start       {:.0}", ready(&first));
        println!("  disk, MiB          {:.0}", size_of(&with) as f64 / 1_048_576.0);
    }
}

/// Entries of all members in one group: what makes it, and records.
const fn entries() -> u64 {
    1 + 2 * (MEMBERS as u64 - 1) + 1 + RECORDS + (MEMBERS as u64 - 1)
}

struct Cost {
    /// Until it answered commands.
    ready: Duration,
    /// Bytes in memory a moment after it had nothing left to do.
    resident: u64,
}

fn mib(cost: &Cost) -> f64 {
    cost.resident as f64 / 1_048_576.0
}

fn ready(cost: &Cost) -> f64 {
    cost.ready.as_secs_f64() * 1e3
}

/// Starts the node and waits until it has nothing left to do.
fn measured(data: &Path) -> Cost {
    let listen = "/ip4/127.0.0.1/tcp/0";
    let path = data.to_str().unwrap();
    let started = Instant::now();
    let mut node =
        child(&["tally", "--data", path, "run", "--listen", listen, "--http", "127.0.0.1:0"]);
    assert!(line(&mut node).contains("authority"));
    let ready = started.elapsed();
    let client = Client::connect(&Place::at(data)).unwrap();
    loop {
        let status: serde_json::Value = client.get("status", &[]).unwrap();
        if status["indexLag"] == 0 {
            assert_eq!(status["heldBack"].as_u64().unwrap_or(0), 0, "all can be read");
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    std::thread::sleep(Duration::from_secs(3));
    let resident = resident(&node);
    let stopped = std::process::Command::new("kill").arg(node.id().to_string()).status();
    assert!(stopped.unwrap().success());
    node.wait().unwrap();
    Cost { ready, resident }
}

fn resident(node: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// The members, of whom the first has a node.
struct Made {
    identities: Vec<Identity>,
    members: Vec<Member>,
}

impl Made {
    fn new(dir: &Path, node: &Path) -> Self {
        let network = "test".parse().unwrap();
        let (mut identities, mut members) = (Vec::new(), Vec::new());
        for at in 0..MEMBERS {
            let data = if at == 0 { node.to_owned() } else { dir.join(format!("member-{at}")) };
            let (place, at) = (Place::at(&data), u64::try_from(at).unwrap());
            let profile = Profile { name: format!("Borough {at}"), ..Profile::default() };
            let issued = UnixTime::from_seconds(1_767_225_600 - at);
            let identity = keys::create(&place, &network, profile, issued).unwrap();
            let keys = NodeKeys::load(&data, &identity, None).unwrap();
            let (authority, log_key) = (identity.authority(), keys.log);
            members.push(Member { authority, log_key, sealing: identity.sealing_key().clone() });
            identities.push(identity);
        }
        let made = Self { identities, members };
        let store = made.open(node);
        for (changed, identity) in (1..).zip(&made.identities) {
            let (authority, events) = (identity.authority(), identity.events().to_vec());
            store.replica().put_identity(&StoredIdentity { authority, events, changed }).unwrap();
        }
        drop(store);
        made
    }

    fn open(&self, node: &Path) -> Store {
        Store::open(node, &StoreOptions::default(), self.members[0].authority).unwrap()
    }

    fn share(&self, node: &Path, groups: u64) {
        let mut opened = self.open(node);
        let (mut changed, mut waiting) = (MEMBERS as u64, Vec::new());
        for number in 0..groups {
            let mut circle = Circle::new(self.identities[0].network(), &self.members, number);
            let mut record = number * 100;
            for author in 0..MEMBERS {
                for _ in 0..if author == 0 { RECORDS } else { 1 } {
                    circle.share(author, record);
                    record += 1;
                }
            }
            waiting.extend(circle.appends(&mut changed));
            if (number + 1) % BATCH == 0 || number + 1 == groups {
                store(&mut opened, std::mem::take(&mut waiting));
            }
        }
    }
}
