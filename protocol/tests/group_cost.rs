//! What it costs to remove one member of a large group.
//!
//! `cargo test --release -p tallystick-protocol --test group_cost -- --ignored --nocapture`
//! measures; the sizes are checked always.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a failing test may panic; times are taken and printed"
)]

mod group_model;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use group_model::network;
use tallystick_protocol::body::Salt;
use tallystick_protocol::group::epoch::Keyring;
use tallystick_protocol::group::operation::{Invite, Join, Terms};
use tallystick_protocol::group::seal::{SealingSecret, Suite};
use tallystick_protocol::group::{
    Continuation, ControlEntry, EntryRef, Grant, History, LogEnd, Membership, Operation, Role,
    group_id,
};
use tallystick_protocol::id::{AuthorityId, GroupId, LogId, Space};
use tallystick_protocol::identity::SealingKey;
use tallystick_protocol::key::SecretKey;
use tallystick_protocol::limits;
use tallystick_protocol::time::UnixTime;

const MEMBERS: u16 = 200;
const NOW: UnixTime = UnixTime::from_seconds(10);

fn wide(n: u16) -> [u8; 32] {
    let mut bytes = [7; 32];
    bytes[..2].copy_from_slice(&n.to_be_bytes());
    bytes
}

fn who(n: u16) -> AuthorityId {
    AuthorityId::from_bytes(wide(n))
}

/// A group that authority 0 leads, in which the others joined one by one.
struct Crowd {
    group: GroupId,
    entries: Vec<ControlEntry>,
    sizes: BTreeMap<AuthorityId, u64>,
    /// Bytes of the entries that were written last.
    written: usize,
}

impl Crowd {
    fn say(&mut self, author: u16, seen: &[EntryRef], operation: &Operation) -> EntryRef {
        let index = self.sizes.entry(who(author)).or_default();
        let salt = Salt::from_random(wide(u16::try_from(self.entries.len()).unwrap()));
        let entry = ControlEntry::write(&self.group, seen, operation, NOW, &salt).unwrap();
        assert!(entry.header_bytes().len() <= limits::HEADER_BYTES);
        self.written += entry.size();
        let log = LogId { authority: who(author), space: Space::Group(self.group), generation: 0 };
        self.entries.push(ControlEntry::read(&log, *index, &entry).unwrap());
        *index += 1;
        self.entries.last().unwrap().place()
    }

    fn new() -> Self {
        let terms = Terms {
            random: [9; 32],
            name: "All of them".into(),
            history: History::All,
            text: String::new(),
            least: 5,
            kinds: Vec::new(),
            continuation: Continuation::Majority,
        };
        let group = group_id(&network(), &who(0), &terms.random);
        let (entries, sizes) = (Vec::new(), BTreeMap::new());
        let mut crowd = Self { group, entries, sizes, written: 0 };
        let hash = terms.hash();
        let mut last = crowd.say(0, &[], &Operation::Create(Box::new(terms)));
        for n in 1..MEMBERS {
            let key = SecretKey::from_seed(wide(n));
            let invite = Invite {
                key: key.public(),
                grant: Grant::of(Role::Member),
                authority: None,
                expires: UnixTime::from_seconds(100),
            };
            last = crowd.say(0, &[last], &Operation::Invite(Box::new(invite)));
            let join = Join::new(&group, last, &key, hash, &who(n));
            last = crowd.say(n, &[last], &Operation::Join(Box::new(join)));
        }
        crowd
    }

    fn membership(&self) -> Membership {
        Membership::merge(&network(), &self.group, &self.entries).unwrap()
    }
}

/// One after the other: the merge, the removal and the merge after it, the new epoch.
fn remove_one(suite: Suite) -> (usize, [Duration; 3]) {
    let mut crowd = Crowd::new();
    let secret = |n| SealingSecret::from_seed(suite, wide(n)).public().unwrap();
    let keys: BTreeMap<AuthorityId, SealingKey> =
        (0..MEMBERS).map(|n| (who(n), secret(n))).collect();
    let start = Instant::now();
    let before = crowd.membership();
    let merged = start.elapsed();
    assert_eq!(before.members().len(), usize::from(MEMBERS));
    crowd.written = 0;
    let start = Instant::now();
    let end = LogEnd { generation: 0, size: 1 };
    let removal = Operation::Remove { authority: who(7), end };
    crowd.say(0, before.heads(), &removal);
    let after = crowd.membership();
    let removed = start.elapsed();
    assert_eq!(after.members().len(), usize::from(MEMBERS) - 1);
    let start = Instant::now();
    let ring = Keyring::default();
    let opened = after.open_epoch(&network(), &who(0), NOW, &keys, &ring, [1; 32]).unwrap();
    crowd.say(0, after.heads(), &Operation::Epoch(Arc::new(opened.0)));
    let sealed = start.elapsed();
    assert!(crowd.membership().current_epoch(NOW).is_some());
    (crowd.written, [merged, removed, sealed])
}

#[test]
fn removing_one_of_two_hundred_takes_less_than_256_kilobytes() {
    let (bytes, _) = remove_one(Suite::XWing);
    assert!(bytes < 256_000, "{bytes}");
    let (bytes, _) = remove_one(Suite::X25519);
    assert!(bytes < 40_000, "{bytes}");
}

#[test]
#[ignore = "measures; meaningful in release mode on a quiet machine only"]
fn removing_one_of_two_hundred_takes_less_than_100_milliseconds() {
    for suite in [Suite::XWing, Suite::X25519] {
        let runs: Vec<_> = (0..5).map(|_| remove_one(suite)).collect();
        let (bytes, [merged, removed, sealed]) =
            runs.into_iter().min_by_key(|(_, times)| times.iter().sum::<Duration>()).unwrap();
        eprintln!(
            "{suite:?}: {bytes} bytes; merge {merged:?}, removal {removed:?}, epoch {sealed:?}"
        );
        assert!(removed + sealed < Duration::from_millis(100));
    }
}

/// Two convenors who fight with all that fits, and everybody who looks on.
#[test]
#[ignore = "measures; meaningful in release mode on a quiet machine only"]
fn the_worst_quarrel_of_two_is_merged_in_bounded_time() {
    let mut crowd = Crowd::new();
    let assign = |n, role| Operation::Assign {
        authority: who(n),
        grant: Grant::of(role),
        end: LogEnd { generation: 0, size: 1 },
    };
    let heads = crowd.membership().heads().to_vec();
    let promoted = crowd.say(0, &heads, &assign(1, Role::Convenor));
    for round in 0..1700 {
        for (author, subject) in [(0, 1), (1, 0)] {
            let restricted = crowd.say(author, &[promoted], &assign(subject, Role::Observer));
            crowd.say(author, &[promoted], &assign(subject, Role::Convenor));
            if round % 10 == 0 {
                crowd.say(2 + author, &[restricted], &Operation::Acknowledge);
            }
        }
    }
    let start = Instant::now();
    let membership = crowd.membership();
    let took = start.elapsed();
    eprintln!("{} entries in {took:?}", membership.verdicts().len());
    assert!(took < Duration::from_secs(60));
}
