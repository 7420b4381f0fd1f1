//! Private groups as members write them, made without their nodes: control entries,
//! one epoch for all, sealed records.

use std::collections::BTreeMap;
use std::sync::Arc;

use tallystick_node::store::Store;
use tallystick_protocol::body::{Body, Salt};
use tallystick_protocol::checkpoint::{self, Checkpoint, Origin};
use tallystick_protocol::entry::Entry;
use tallystick_protocol::group::epoch::Keyring;
use tallystick_protocol::group::operation::{Invite, Join, Terms};
use tallystick_protocol::group::seal::BodyKey;
use tallystick_protocol::group::{
    Continuation, ControlEntry, EntryRef, Grant, History, Membership, Operation, Role, group_id,
    origin,
};
use tallystick_protocol::id::{AuthorityId, GroupId, LogId, NetworkName, Space};
use tallystick_protocol::identity::SealingKey;
use tallystick_protocol::key::SecretKey;
use tallystick_protocol::log::Frontier;
use tallystick_protocol::sync::Append;
use tallystick_protocol::time::UnixTime;

use crate::fixture::entry;

const NOW: UnixTime = UnixTime::from_seconds(1_767_225_600);
const LATER: UnixTime = UnixTime::from_seconds(1_767_312_000);

/// One authority in a group.
pub(crate) struct Member {
    pub(crate) authority: AuthorityId,
    pub(crate) log_key: SecretKey,
    pub(crate) sealing: SealingKey,
}

/// A group whose members have all joined and can read what is sealed.
pub(crate) struct Circle<'a> {
    network: NetworkName,
    members: &'a [Member],
    number: u64,
    group: GroupId,
    controls: Vec<ControlEntry>,
    /// Entries of each member's log, in the order of the members.
    logs: Vec<Log>,
    key: Option<BodyKey>,
}

/// A log that grows here: what is not stored yet, and the tree over all of it.
struct Log {
    id: LogId,
    key: SecretKey,
    start: u64,
    entries: Vec<Entry>,
    frontier: Frontier,
}

impl<'a> Circle<'a> {
    /// The group with this number, led by the first of the members.
    pub(crate) fn new(network: &NetworkName, members: &'a [Member], number: u64) -> Self {
        let terms = Terms {
            random: wide(number),
            name: format!("Made-up circle {number}"),
            history: History::All,
            text: "What is shared here stays here.".into(),
            least: 2,
            kinds: Vec::new(),
            continuation: Continuation::Nobody,
        };
        let group = group_id(network, &members[0].authority, &terms.random);
        let log = |member: &Member| Log {
            id: LogId { authority: member.authority, space: Space::Group(group), generation: 0 },
            key: member.log_key.clone(),
            start: 0,
            entries: Vec::new(),
            frontier: Frontier::new(),
        };
        let logs = members.iter().map(log).collect();
        let (network, controls) = (network.clone(), Vec::new());
        let mut circle = Self { network, members, number, group, controls, logs, key: None };
        let hash = terms.hash();
        let mut last = circle.say(0, &[], &Operation::Create(Box::new(terms)));
        for (at, member) in members.iter().enumerate().skip(1) {
            let key = SecretKey::from_seed(wide(number << 8 | at as u64));
            let grant = Grant::of(Role::Member);
            let invite = Invite { key: key.public(), grant, authority: None, expires: LATER };
            last = circle.say(0, &[last], &Operation::Invite(Box::new(invite)));
            let join = Join::new(&group, last, &key, hash, &member.authority);
            last = circle.say(at, &[last], &Operation::Join(Box::new(join)));
        }
        circle.open_epoch();
        circle
    }

    fn open_epoch(&mut self) {
        let me = self.members[0].authority;
        let keys: BTreeMap<AuthorityId, SealingKey> =
            self.members.iter().map(|member| (member.authority, member.sealing.clone())).collect();
        let before = self.membership();
        assert_eq!(before.members().len(), self.members.len());
        let (ring, random) = (Keyring::default(), wide(self.number));
        let opened = before.open_epoch(&self.network, &me, NOW, &keys, &ring, random);
        let (opening, secret) = opened.unwrap();
        self.say(0, before.heads(), &Operation::Epoch(Arc::new(opening)));
        let epoch = self.membership().current_epoch(NOW).unwrap().id();
        self.key = Some(secret.body_key(&self.network, &self.group, epoch));
    }

    fn membership(&self) -> Membership {
        Membership::merge(&self.network, &self.group, &self.controls).unwrap()
    }

    fn say(&mut self, author: usize, seen: &[EntryRef], operation: &Operation) -> EntryRef {
        let salt = Salt::from_random(wide(self.number << 16 | self.controls.len() as u64));
        let entry = ControlEntry::write(&self.group, seen, operation, NOW, &salt).unwrap();
        let log = &mut self.logs[author];
        let control = ControlEntry::read(&log.id, log.frontier.size(), &entry).unwrap();
        let place = control.place();
        self.controls.push(control);
        log.push(entry);
        place
    }

    /// A member shares a record with the others.
    pub(crate) fn share(&mut self, author: usize, record: u64) {
        let (key, log) = (self.key.as_ref().unwrap(), &mut self.logs[author]);
        let origin = origin(&self.network, &log.id).unwrap();
        log.push(sealed(key, &origin, &entry(record), record));
    }

    /// Where a member writes.
    pub(crate) fn log(&self, author: usize) -> LogId {
        self.logs[author].id
    }

    /// How many entries a member's log has.
    pub(crate) fn size(&self, author: usize) -> u64 {
        self.logs[author].frontier.size()
    }

    /// What members have written since this was asked last, each log under a signed
    /// head; `changed` counts changes.
    pub(crate) fn appends(&mut self, changed: &mut u64) -> Vec<Append> {
        let network = self.network.clone();
        self.logs.iter_mut().map(|log| log.append(&network, changed)).collect()
    }
}

impl Log {
    fn push(&mut self, entry: Entry) {
        self.frontier.push(entry.leaf());
        self.entries.push(entry);
    }

    fn append(&mut self, network: &NetworkName, changed: &mut u64) -> Append {
        let origin = origin(network, &self.id).unwrap();
        let (size, root) = (self.frontier.size(), self.frontier.root());
        let head = Checkpoint::new(origin, size, root).unwrap();
        let head = Some(checkpoint::sign(&head, &self.key).unwrap());
        *changed += 1;
        let entries = std::mem::take(&mut self.entries);
        let start = std::mem::replace(&mut self.start, size);
        let (log, frontier, changed) = (self.id, self.frontier.clone(), *changed);
        let (countersigned, witnessed) = (Vec::new(), None);
        Append { log, start, entries, frontier, head, changed, countersigned, witnessed }
    }
}

/// The same record for members only.
fn sealed(key: &BodyKey, origin: &Origin, open: &Entry, number: u64) -> Entry {
    let mut header = open.header().clone();
    header.epoch = Some(key.epoch());
    let body: Body = open.body().unwrap().clone();
    let entry = Entry::author(header, body).unwrap();
    let mut nonce = [0; 24];
    nonce[..8].copy_from_slice(&number.to_be_bytes());
    let sealed = key.seal(origin, &entry, nonce).unwrap();
    entry.sealed(sealed)
}

fn wide(number: u64) -> [u8; 32] {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// Stores what members have written.
pub(crate) fn store(store: &mut Store, appends: Vec<Append>) {
    let appends: Vec<_> = appends.into_iter().filter(|append| !append.entries.is_empty()).collect();
    if !appends.is_empty() {
        store.commit(&appends).unwrap();
    }
}
