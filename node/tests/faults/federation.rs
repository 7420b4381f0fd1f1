//! Eight members who are all partners, what was seen of their logs, and the
//! judgement at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tallystick_node::store::audit::audit;
use tallystick_node::store::{Replica as _, Store, StoreOptions};
use tallystick_protocol::checkpoint::{Origin, UnverifiedCheckpoint};
use tallystick_protocol::id::{AuthorityId, NetworkName};
use tallystick_protocol::identity::UnverifiedChain;
use tallystick_protocol::log::root_at;

use crate::arena::{Arena, address};
use crate::member::{Head, Member};

/// How many members there are.
pub const MEMBERS: usize = 8;

pub struct Federation {
    pub arena: Arena,
    pub members: Vec<Member>,
    /// Every signed head that anybody showed: (authority, size) and root.
    seen: Mutex<BTreeMap<(String, u64), String>>,
    titles: AtomicU64,
    started: Instant,
}

impl Federation {
    /// Starts all members, each with its own arguments to `tally run`.
    pub fn new(arena: Arena, members: Vec<Member>) -> Self {
        let federation = Self {
            arena,
            members,
            seen: Mutex::default(),
            titles: AtomicU64::new(0),
            started: Instant::now(),
        };
        federation.members.iter().for_each(|member| member.start().unwrap());
        federation
    }

    /// Everybody takes everybody's card.
    pub fn befriend(&self) {
        let card = |member: &Member| {
            let file = member.dir().with_extension("card");
            let card = member.ok(&["whoami"])["card"].as_str().unwrap().to_owned();
            std::fs::write(&file, card).unwrap();
            file
        };
        let cards: Vec<_> = self.members.iter().map(card).collect();
        for (number, member) in self.members.iter().enumerate() {
            for (_, card) in cards.iter().enumerate().filter(|(other, _)| *other != number) {
                member.ok(&["partner", "add", card.to_str().unwrap()]);
            }
        }
    }

    /// Titles that nothing else has.
    pub fn titles(&self, what: &str, count: u64) -> Vec<String> {
        let first = self.titles.fetch_add(count, Ordering::Relaxed);
        (first..first + count).map(|number| format!("Made-up {what} {number}")).collect()
    }

    /// Publishes one record each; all must be acknowledged.
    pub fn publish(&self, members: &[usize], what: &str) {
        for member in members {
            let title = &self.titles(what, 1)[0];
            let member = &self.members[*member];
            member.publish(title).unwrap_or_else(|error| panic!("{}", member.explain(&error)));
        }
    }

    /// What a member shows, remembered and compared with what anybody ever showed.
    pub fn look(&self, member: usize) -> Result<Vec<Head>, String> {
        let heads = self.members[member].heads()?;
        let mut seen = self.seen.lock().unwrap();
        for (authority, size, root) in &heads {
            let known = seen.entry((authority.clone(), *size)).or_insert_with(|| root.clone());
            assert_eq!(known, root, "two histories of {authority} at {size} (invariant 2)");
        }
        Ok(heads)
    }

    /// How many different heads were seen.
    pub fn heads_seen(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Waits until these members show the same heads, of all members' logs, with
    /// at least what was acknowledged under them; says how long that took.
    pub fn converge(&self, members: &[usize], patience: Duration, after: &str) -> Duration {
        let started = Instant::now();
        loop {
            let looks: Vec<_> = members.iter().map(|member| self.look(*member)).collect();
            let complete = |heads: &Vec<Head>| {
                heads.len() == self.members.len()
                    && members.iter().all(|member| self.has_acknowledged(heads, *member))
            };
            let equal = looks.windows(2).all(|two| two[0] == two[1]);
            if equal && looks[0].as_ref().is_ok_and(complete) {
                return started.elapsed();
            }
            assert!(
                started.elapsed() < patience,
                "not equal {patience:?} after {after} (invariant 4): {looks:#?}"
            );
            std::thread::sleep(Duration::from_millis(250));
        }
    }

    /// A first, cheap look; the judgement at the end looks for each title.
    fn has_acknowledged(&self, heads: &[Head], member: usize) -> bool {
        let member = &self.members[member];
        let entries = member.acknowledged.lock().unwrap().len() as u64;
        let own = heads.iter().find(|(authority, ..)| *authority == member.authority);
        // The identity event comes before the records.
        own.is_some_and(|(_, size, _)| *size > entries)
    }

    /// Says how a scenario went.
    pub fn report(&self, what: &str, since: Instant) {
        let (took, at) = (since.elapsed().as_secs_f64(), self.started.elapsed().as_secs_f64());
        eprintln!("faults: {what}: {took:.1} s (at {at:.0} s)");
    }

    /// Nobody must have seen a fork or anything else that honest nodes do not do.
    pub fn nobody_complains(&self, about: &[&str]) {
        for member in &self.members {
            let status = member.status().unwrap();
            let refusals = status["refusals"].as_object().unwrap();
            let refused = |label: &&str| refusals.contains_key(*label);
            let wrong: Vec<_> = about.iter().filter(|label| refused(label)).collect();
            assert!(wrong.is_empty(), "{}: {status}", member.name);
            let logs = status["logs"].as_array().unwrap();
            assert!(logs.iter().all(|log| log["state"] != "disputed"), "{}: {status}", member.name);
        }
    }

    /// Ends all nodes and reads their disks: every hash, every signature, every
    /// head anybody was ever shown, and every record that was acknowledged, at
    /// every member.
    pub fn judge(&self) {
        self.members.iter().for_each(Member::kill);
        let seen = self.seen.lock().unwrap();
        let acknowledged: Vec<(String, BTreeSet<String>)> = self
            .members
            .iter()
            .map(|member| (member.authority.clone(), member.acknowledged.lock().unwrap().clone()))
            .collect();
        let mut first = None;
        for member in &self.members {
            let held = Held::read(&member.data(), &member.authority);
            for ((authority, size), root) in &*seen {
                let there = held.root(authority, *size);
                assert_eq!(there.as_ref(), Some(root), "{}: {authority} at {size}", member.name);
            }
            for (authority, titles) in &acknowledged {
                let missing: Vec<_> = titles.difference(&held.titles[authority]).collect();
                assert!(missing.is_empty(), "{} lacks {missing:?} (invariant 5)", member.name);
            }
            match &first {
                None => first = Some(held.heads),
                Some(first) => assert_eq!(*first, held.heads, "{} (invariant 4)", member.name),
            }
        }
        let records: usize = acknowledged.iter().map(|(_, titles)| titles.len()).sum();
        eprintln!(
            "faults: {records} acknowledged records at {} members, {} heads",
            self.members.len(),
            seen.len()
        );
    }
}

/// What one member has on its disk, verified.
struct Held {
    /// Size and root of each authority's signed head.
    heads: BTreeMap<String, (u64, String)>,
    titles: BTreeMap<String, BTreeSet<String>>,
    store: Store,
}

impl Held {
    fn read(data: &Path, own: &str) -> Self {
        let own: AuthorityId = own.parse().unwrap();
        let network: NetworkName = "tallystick".parse().unwrap();
        let store = Store::open(data, &StoreOptions::default(), own).unwrap();
        assert_eq!(store.report().quarantined, None, "the replica was damaged");
        let replica = store.replica().clone();
        let keys: BTreeMap<_, _> = replica
            .identities()
            .unwrap()
            .into_iter()
            .map(|stored| {
                let identity = UnverifiedChain::new(stored.events).verify(&network).unwrap();
                (identity.authority(), *identity.log_key())
            })
            .collect();
        let (mut heads, mut titles) = (BTreeMap::new(), BTreeMap::new());
        for stored in replica.logs().unwrap() {
            let log = stored.log;
            let audit = audit(&*replica, &log).unwrap();
            assert_eq!(audit.absent, 0, "bodies of {log} are missing");
            let head = replica.head(&log).unwrap().expect("a log without a signed head");
            let verified = UnverifiedCheckpoint::parse(&head.note).unwrap();
            let verified = verified.verify(&keys[&log.authority]).unwrap();
            let origin = Origin::public(&network, &log.authority, log.generation);
            assert_eq!(verified.checkpoint().origin(), &origin);
            assert_eq!(head.size, audit.entries, "entries of {log} that nobody signed");
            let authority = log.authority.to_string();
            heads.insert(authority.clone(), (head.size, head.root.to_string()));
            let mut start = 0;
            let known: &mut BTreeSet<String> = titles.entry(authority).or_default();
            while start < audit.entries {
                let entries = replica.entries(&log, start..audit.entries, 4 << 20).unwrap();
                start += entries.len() as u64;
                let checked = entries.into_iter().map(|entry| entry.into_unverified().check());
                let title =
                    checked.filter_map(|entry| entry.unwrap().body()?.fields().text("title"));
                known.extend(title);
            }
        }
        Self { heads, titles, store }
    }

    /// The root over the first `size` entries of an authority's log.
    fn root(&self, authority: &str, size: u64) -> Option<String> {
        let authority: AuthorityId = authority.parse().ok()?;
        let log = tallystick_protocol::id::LogId::public(authority, 0);
        let replica = self.store.replica();
        let nodes = replica.nodes(&log).ok()?;
        root_at(&*nodes, size).ok().map(|root| root.to_string())
    }
}

/// Members that listen on their addresses, and know each other by them.
pub fn listening(base: &Path, places: std::ops::Range<usize>) -> Vec<Member> {
    places
        .map(|place| {
            let listen = format!("/ip4/{}/tcp/4817", address(place));
            Member::init(
                &name(place),
                place,
                &base.join(format!("m{place}")),
                &["--listen", &listen],
            )
        })
        .collect()
}

pub fn name(place: usize) -> String {
    let names = ["Ash", "Birch", "Cedar", "Dale", "Elm", "Fern", "Gorse", "Hazel"];
    format!("{} Made-up Council", names[place % names.len()])
}
