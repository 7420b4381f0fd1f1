//! Entries and logs for the store's tests: small, made up and reproducible.
#![allow(dead_code, unreachable_pub, reason = "each test uses its own part")]

use std::collections::BTreeMap;
use std::sync::Mutex;

use tallystick_node::store::{Extension, SignedHead, StoredEntry};
use tallystick_protocol::body::{Body, Fields, FullBody, Salt};
use tallystick_protocol::entry::{Action, Entry, Header, UnverifiedEntry};
use tallystick_protocol::id::{AuthorityId, LogId, RecordId};
use tallystick_protocol::log::Frontier;
use tallystick_protocol::record::Kind;
use tallystick_protocol::time::UnixTime;

pub const OWN: AuthorityId = AuthorityId::from_bytes([1; 32]);
pub const OTHER: AuthorityId = AuthorityId::from_bytes([2; 32]);

/// The public log of an authority.
pub fn log(authority: AuthorityId) -> LogId {
    LogId::public(authority, 0)
}

/// An entry with a body of about `len` bytes; the same seed gives the same entry.
pub fn entry(seed: u64, len: usize) -> Entry {
    // Making one takes a while unoptimised, and the tests ask for the same ones often.
    static MADE: Mutex<BTreeMap<(u64, usize), Entry>> = Mutex::new(BTreeMap::new());
    if len > 1000 {
        return make_entry(seed, len);
    }
    let mut made = MADE.lock().unwrap();
    made.entry((seed, len)).or_insert_with(|| make_entry(seed, len)).clone()
}

fn make_entry(seed: u64, len: usize) -> Entry {
    let mut fields = Fields::new();
    fields.insert("title", &format!("Contract {seed}").into()).unwrap();
    fields.insert("description", &"x".repeat(len).into()).unwrap();
    let mut salt = [7; 32];
    salt[..8].copy_from_slice(&seed.to_be_bytes());
    let (body, commitment) = FullBody::new(&Salt::from_random(salt), &fields).unwrap();
    let mut record = [0; 16];
    record[..8].copy_from_slice(&seed.to_be_bytes());
    let size = u32::try_from(body.as_bytes().len()).unwrap();
    let (record, at) = (RecordId::from_bytes(record), UnixTime::from_seconds(1_700_000_000 + seed));
    let header = Header::new(Kind::new(1), record, Action::Put, at, commitment, size);
    Entry::author(header, Body::Full(body)).unwrap()
}

/// The same entry, its body absent.
pub fn bare(entry: &Entry) -> Entry {
    UnverifiedEntry::new(entry.header_bytes().to_vec(), None).check().unwrap()
}

/// The same entry as it is stored.
pub fn stored(entry: &Entry) -> StoredEntry {
    let body = entry.body().map(|body| body.as_bytes().to_vec());
    StoredEntry { header: entry.header_bytes().to_vec(), body }
}

/// The tree over entries.
pub fn tree(entries: &[Entry]) -> Frontier {
    let mut frontier = Frontier::new();
    entries.iter().for_each(|entry| frontier.push(entry.leaf()));
    frontier
}

/// A head over entries; stored notes are opaque, so this one needs no signature.
pub fn head(entries: &[Entry]) -> SignedHead {
    let tree = tree(entries);
    let note = format!("made-up note over {}", tree.size()).into_bytes();
    SignedHead { size: tree.size(), root: tree.root(), note }
}

/// What adds the entries from `start` on to a log that has those before.
pub fn extension(
    log: LogId,
    entries: &[Entry],
    start: usize,
    signed: bool,
    changed: u64,
) -> Extension<'_> {
    Extension {
        log,
        start: start as u64,
        entries: &entries[start..],
        frontier: tree(entries),
        head: signed.then(|| head(entries)),
        changed,
    }
}
