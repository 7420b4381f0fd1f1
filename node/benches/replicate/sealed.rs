//! How fast a member of a private group catches up, beside the same records in a
//! public log: in one run, by turns, since only their ratio outlasts the machine's
//! moods.
//!
//! As in `catch-up`, time ends when the last entry is verified and durably stored.
//! Then once more with a projector that follows, until its register has all of
//! them, for which each sealed body is opened and checked against its header.

use std::path::Path;
use std::time::{Duration, Instant};

use tallystick_node::opener::Opener;
use tallystick_node::projector::{Place, Projector};
use tallystick_node::store::{Replica as _, Store, StoreOptions};
use tallystick_protocol::group::seal::{SealingSecret, Suite};
use tallystick_protocol::id::LogId;
use tallystick_protocol::sync::{Notice, StoredIdentity};

use crate::catch_up::{prepare, received};
use crate::circle::{Circle, Member, store};
use crate::fixture::{Council, network};
use crate::measure::{child, copy_tree, end, line, runtime, say, shown, spread};

const RUNS: usize = 5;
const BATCH: u64 = 1000;
/// Whoever shares, and whoever catches up.
const COUNCILS: [u8; 2] = [1, 200];

pub(crate) fn run(sizes: &[u64]) {
    println!("sealed catch-up: median of {RUNS} runs (lowest–highest), open and sealed by turns");
    for &records in sizes {
        let world = World::new(records);
        let mut stored = Vec::new();
        let mut followed = Vec::new();
        for _ in 0..RUNS {
            stored.push([&world.open, &world.sealed].map(|side| side.receive()));
            followed.push([&world.open, &world.sealed].map(|side| side.follow()));
        }
        println!("{records} records");
        compare("stored", records, &stored);
        let part = |of: fn(&(f64, f64)) -> f64| -> Vec<[f64; 2]> {
            followed.iter().map(|run| run.each_ref().map(of)).collect()
        };
        compare("stored, register following", records, &part(|run| run.0));
        compare("…and in the register", records, &part(|run| run.1));
    }
}

/// Prints records per second from pairs of seconds: open, sealed.
fn compare(what: &str, records: u64, runs: &[[f64; 2]]) {
    let rates = |at: usize| shown(runs.iter().map(|run| records as f64 / run[at]).collect());
    let (low, median, high) = spread(runs.iter().map(|run| run[0] / run[1]).collect());
    println!("  {what}, records/s");
    println!("    open               {}", rates(0));
    println!("    sealed             {}", rates(1));
    println!("    ratio in each run  {median:.2} ({low:.2}–{high:.2})");
}

/// One way of sharing the records.
struct Side {
    /// The store of whoever shares.
    source: tempfile::TempDir,
    /// What whoever catches up has before.
    before: tempfile::TempDir,
    /// The log, and how many entries it has.
    log: LogId,
    size: u64,
}

struct World {
    open: Side,
    sealed: Side,
}

impl World {
    fn new(records: u64) -> Self {
        let (source, before) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        prepare(source.path(), records, 1);
        let log = Council::new(COUNCILS[0]).log();
        let open = Side { source, before, log, size: records };
        Self { open, sealed: Side::sealed(records) }
    }
}

impl Side {
    /// A group of two in which the first shares all records.
    fn sealed(records: u64) -> Self {
        let members = COUNCILS.map(|number| {
            let council = Council::new(number);
            let sealing = sealing(number).public().unwrap();
            Member { authority: council.authority(), log_key: council.log_key(), sealing }
        });
        let [source, before] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let stores = [source.path(), before.path()]
            .into_iter()
            .zip(&members)
            .map(|(dir, own)| Store::open(dir, &StoreOptions::default(), own.authority).unwrap());
        let mut stores: Vec<Store> = stores.collect();
        let (mut circle, mut changed) = (Circle::new(&network(), &members, 0), 0);
        for council in COUNCILS.map(Council::new) {
            changed += 1;
            let (authority, events) = (council.authority(), council.identity.events().to_vec());
            let identity = StoredIdentity { authority, events, changed };
            // As of partners, whose cards were taken: nobody else is told of a group.
            stores.iter().for_each(|store| store.replica().put_identity(&identity).unwrap());
        }
        let appends = circle.appends(&mut changed);
        let joined = appends.iter().filter(|append| append.log == circle.log(1)).cloned();
        store(&mut stores[1], joined.collect());
        store(&mut stores[0], appends);
        for record in 0..records {
            circle.share(0, record);
            if (record + 1) % BATCH == 0 || record + 1 == records {
                store(&mut stores[0], circle.appends(&mut changed));
            }
        }
        Self { source, before, log: circle.log(0), size: circle.size(0) }
    }

    fn run<T>(&self, receive: impl FnOnce(&Path, &str) -> T) -> T {
        let target = tempfile::tempdir().unwrap();
        let target = target.path().join("data");
        copy_tree(self.before.path(), &target);
        let mut server = child(&["serve", self.source.path().to_str().unwrap()]);
        let address = line(&mut server);
        let result = receive(&target, &address);
        end(server);
        result
    }

    /// Seconds until all is stored.
    fn receive(&self) -> f64 {
        self.run(|target, address| received(target, address, 1, self.size).0)
    }

    /// Seconds until all is stored, and until the register has it.
    fn follow(&self) -> (f64, f64) {
        self.run(|target, address| {
            let (log, size) = (self.log.to_string(), self.size.to_string());
            let mut follower = child(&["follow", target.to_str().unwrap(), address, &log, &size]);
            let result = line(&mut follower);
            end(follower);
            let (stored, registered) = result.split_once(' ').unwrap();
            (stored.parse().unwrap(), registered.parse().unwrap())
        })
    }
}

fn sealing(number: u8) -> SealingSecret {
    SealingSecret::from_seed(Suite::X25519, [number; 32])
}

/// Catches up with a projector that follows, as in a whole node; prints seconds
/// until all is stored and until all is in the register.
pub(crate) fn follow(dir: &Path, address: &str, log: &str, size: u64) {
    let council = Council::new(COUNCILS[1]);
    let opener = Opener::new(network(), council.authority(), vec![sealing(COUNCILS[1])]);
    runtime().block_on(async {
        let partner = Council::new(COUNCILS[0]).partner(vec![address.parse().unwrap()]);
        let started = Instant::now();
        let node = council.start(dir, vec![partner]).await;
        let place = Place::Directory(dir.join("search"));
        let projector = Projector::start_with(node.replica(), &place, opener.clone()).unwrap();
        let projector = std::sync::Arc::new(projector);
        let learning = tokio::spawn(learn(node.handle.clone(), opener, projector.clone()));
        let end = started + Duration::from_secs(600);
        let log = loop {
            let logs = node.handle.status().await.unwrap().logs;
            if let Some(log) = logs.iter().find(|s| s.log.to_string() == log && s.signed >= size) {
                break log.log;
            }
            assert!(Instant::now() < end, "no end in sight");
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        let stored = started.elapsed().as_secs_f64();
        let following = projector.clone();
        let registered = move || {
            following.wait_for_register(&log, size, Duration::from_secs(600)).unwrap();
            // What came before the epoch was known is looked at once more.
            while following.register().held_back().unwrap() > 0 {
                assert!(Instant::now() < end, "no end in sight");
                std::thread::sleep(Duration::from_millis(10));
            }
            started.elapsed().as_secs_f64()
        };
        let registered = tokio::task::spawn_blocking(registered).await.unwrap();
        say(&format!("{stored} {registered}"));
        learning.abort();
        projector.stop().unwrap();
        node.stop().await;
    });
}

/// Lets opener and projector know what happens, as the service does.
async fn learn(
    handle: tallystick_node::driver::Handle,
    opener: Opener,
    projector: std::sync::Arc<Projector>,
) {
    let mut notices = handle.notices();
    // What has happened before somebody listened is known, too.
    let mut changed = true;
    loop {
        if changed {
            handle.groups().await.iter().for_each(|group| _ = opener.learn(group));
        }
        projector.wake();
        match notices.recv().await {
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
            notice => changed = matches!(notice, Ok(Notice::GroupChanged { .. }) | Err(_)),
        }
    }
}
