//! The own identity in the own log: its events are entries of it, so that
//! whoever witnesses the log covers them.
//!
//! The log of a generation begins with the event that opened it, the inception
//! or a recovery, and has the later ones in their order. An event that was
//! installed while the node was stopped is appended at the next start; whatever
//! is interrupted in between is made up for then.
//!
//! **Invariant:** each event stands in the log once. How far the log was looked
//! through for them is kept as a projection, which can be lost. Deliberately
//! absent: the events of others, which their logs bring.

use std::time::Duration;

use tallystick_protocol::body::{Body, Fields, FullBody, Salt};
use tallystick_protocol::entry::{Action, Entry, Header};
use tallystick_protocol::id::{AuthorityId, Hash, LogId, RecordId, Space};
use tallystick_protocol::identity::Identity;
use tallystick_protocol::log::leaf_hash;
use tallystick_protocol::record::Kind;
use tallystick_protocol::time::UnixTime;

use super::{Desk, blocking, failed_store};
use crate::failure::Failure;
use crate::store::{Replica, StoreError};

/// Projection row: how far the open log was looked through, and how many events are in it.
const PROGRESS: &[u8] = b"own/identity";
/// Headers looked at at once.
const BATCH: u64 = 4096;
/// How long it waits before it tries again to append what is missing.
const PAUSE: Duration = Duration::from_secs(2);

impl Desk {
    /// Begins the own log, if it is empty, with the events that belong into it.
    pub(super) async fn open_log(&self) -> Result<(), Failure> {
        let size = self.own_size().await?;
        self.0.written.note(Space::Public, size);
        for log in self.node_status().await?.logs {
            // What was shared with groups before has to be known before more is.
            if log.log == self.log_in(log.log.space) {
                self.0.written.note(log.log.space, log.size);
            }
        }
        if size == 0
            && let Err(failure) = self.append_events().await
        {
            // A partner has more of our log than we do: the events come back with it.
            tracing::warn!(%failure, "own identity is not in the log yet");
        }
        Ok(())
    }

    /// Appends events that the own log lacks; returns once it has all of them.
    pub(super) async fn complete_log(&self) {
        while let Err(failure) = self.append_events().await {
            tracing::debug!(%failure, "own identity is not in the log yet");
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn own_size(&self) -> Result<u64, Failure> {
        let (log, status) = (self.own_log(), self.node_status().await?);
        Ok(status.logs.iter().find(|status| status.log == log).map_or(0, |log| log.size))
    }

    async fn append_events(&self) -> Result<(), Failure> {
        let _writing = self.0.writing.lock().await;
        let entries = entries_of_open_log(&self.0.identity)?;
        let (log, size) = (self.own_log(), self.own_size().await?);
        let leaves: Vec<_> = entries.iter().map(Entry::leaf).collect();
        let replica = self.0.handle.replica();
        let found = blocking(move || find(&*replica, &log, size, &leaves)).await?;
        let missing = entries.into_iter().skip(found.map_err(failed_store)?).collect::<Vec<_>>();
        if missing.is_empty() {
            return Ok(());
        }
        self.write(missing).await.map(|_| ())
    }
}

/// The entries for all events from the one on that opened the generation.
fn entries_of_open_log(identity: &Identity) -> Result<Vec<Entry>, Failure> {
    let events = identity.events().iter().zip(identity.history());
    let open = events.filter(|(_, event)| event.generation == identity.generation());
    let authority = identity.authority();
    open.map(|(bytes, event)| identity_entry(&authority, bytes, event.issued)).collect()
}

/// How many of `leaves`, in their order, are among the first `size` entries of a log.
fn find(
    replica: &dyn Replica,
    log: &LogId,
    size: u64,
    leaves: &[Hash],
) -> Result<usize, StoreError> {
    let kept = replica.get(PROGRESS)?.and_then(|value| read_progress(&value));
    let kept = kept.filter(|kept| kept.generation == log.generation && kept.scanned <= size);
    let start = Progress { generation: log.generation, scanned: 0, found: 0 };
    let mut progress = kept.unwrap_or(start);
    while progress.scanned < size {
        let end = size.min(progress.scanned + BATCH);
        let headers = replica.headers(log, progress.scanned..end)?;
        for header in &headers {
            let wanted = usize::try_from(progress.found).ok().and_then(|at| leaves.get(at));
            progress.found += u32::from(wanted == Some(&leaf_hash(header)));
        }
        progress.scanned += headers.len() as u64;
        if headers.is_empty() {
            break;
        }
    }
    if kept != Some(progress) {
        replica.put(&[(PROGRESS.to_vec(), Some(progress.to_bytes()))])?;
    }
    Ok(usize::try_from(progress.found).unwrap_or(usize::MAX))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progress {
    generation: u32,
    scanned: u64,
    found: u32,
}

impl Progress {
    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.generation.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.scanned.to_be_bytes());
        bytes.extend_from_slice(&self.found.to_be_bytes());
        bytes
    }
}

fn read_progress(bytes: &[u8]) -> Option<Progress> {
    let (generation, rest) = bytes.split_first_chunk()?;
    let (scanned, found) = rest.split_first_chunk()?;
    Some(Progress {
        generation: u32::from_be_bytes(*generation),
        scanned: u64::from_be_bytes(*scanned),
        found: u32::from_be_bytes(found.try_into().ok()?),
    })
}

/// The entry that carries an identity event. Everything in it follows from the
/// event, so that a log that is begun again begins with the same entry.
fn identity_entry(
    authority: &AuthorityId,
    event: &[u8],
    issued: UnixTime,
) -> Result<Entry, Failure> {
    use sha2::{Digest as _, Sha256};
    let mut fields = Fields::new();
    fields.insert("event", &ciborium::Value::Bytes(event.to_vec())).map_err(Failure::internal)?;
    // The event is public, so nothing is lost if its salt can be computed.
    let salt = Sha256::new().chain_update(b"tallystick identity entry v1\n").chain_update(event);
    let salt = Salt::from_random(salt.finalize().into());
    let (body, commitment) = FullBody::new(&salt, &fields).map_err(Failure::internal)?;
    let size = u32::try_from(body.as_bytes().len()).map_err(Failure::internal)?;
    let record = authority.as_bytes().first_chunk().copied().unwrap_or_default();
    let record = RecordId::from_bytes(record);
    let header = Header::new(Kind::IDENTITY, record, Action::Put, issued, commitment, size);
    Entry::author(header, Body::Full(body)).map_err(Failure::internal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Extension;
    use crate::store::memory::MemoryReplica;
    use tallystick_protocol::log::Frontier;

    fn entry(event: &[u8]) -> Entry {
        let id = AuthorityId::from_bytes([7; 32]);
        identity_entry(&id, event, UnixTime::from_seconds(5)).unwrap()
    }

    #[test]
    fn a_log_begun_again_begins_with_the_same_entry() {
        assert_eq!(entry(b"event").leaf(), entry(b"event").leaf());
        assert_eq!(entry(b"event").header().kind, Kind::IDENTITY);
        assert_ne!(entry(b"other").leaf(), entry(b"event").leaf());
    }

    #[test]
    fn events_are_found_wherever_they_stand_and_looked_for_once() {
        let log = LogId::public(AuthorityId::from_bytes([7; 32]), 0);
        let events = [b"a", b"b", b"c"].map(|event| entry(event));
        let leaves = events.each_ref().map(Entry::leaf);
        let replica = MemoryReplica::new([1; 16]);
        assert_eq!(find(&replica, &log, 0, &leaves).unwrap(), 0);
        let mut tree = Frontier::new();
        let mut add = |entry: &Entry| {
            let start = tree.size();
            tree.push(entry.leaf());
            let extension = Extension {
                log,
                start,
                entries: std::slice::from_ref(entry),
                frontier: tree.clone(),
                head: None,
                changed: start + 1,
            };
            replica.extend(&[extension]).unwrap();
            find(&replica, &log, tree.size(), &leaves).unwrap()
        };
        let other = [b"x", b"y"].map(|event| entry(event));
        let found = [&events[0], &other[0], &events[1], &other[1]].map(&mut add);
        assert_eq!(found, [1, 1, 2, 2]);
        let row = replica.get(PROGRESS).unwrap().unwrap();
        assert_eq!(read_progress(&row), Some(Progress { generation: 0, scanned: 4, found: 2 }));
        // Lost, or of a log that was longer or of another generation, it is made anew.
        for row in [
            None,
            Some(vec![1]),
            Some(Progress { generation: 0, scanned: 9, found: 3 }.to_bytes()),
            Some(Progress { generation: 1, scanned: 4, found: 0 }.to_bytes()),
        ] {
            replica.put(&[(PROGRESS.to_vec(), row)]).unwrap();
            assert_eq!(find(&replica, &log, 4, &leaves).unwrap(), 2);
        }
    }
}
