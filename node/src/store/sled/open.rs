//! Opens a replica, or says that it is damaged.

use std::fs::File;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::{Mutex, OnceLock, RwLock};
use std::thread;
use std::time::Duration;

use ::sled::{Config, Db};
use tallystick_protocol::id::LogId;

use super::piece::Owner;
use super::writer::read_state;
use super::{Held, Known, SEGMENT_BYTES, SledReplica, into_io, key};
use crate::store::disk::{Disk as _, OsDisk, sync_dir};
use crate::store::{Replica as _, StoreError};

/// Format of what stands in the tree.
const FORMAT: u32 = 1;
/// sled lets go of its lock shortly after the last handle is gone.
const LOCK_ATTEMPTS: u32 = 40;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

impl SledReplica {
    /// Opens the replica in `dir`, or makes a new one there.
    ///
    /// `cache_bytes` bounds what sled keeps in memory. The state of every
    /// log and branch is read and checked: the tree against the signed head of the same size, and the
    /// last page against the size.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if it has to be made anew; [`StoreError::Newer`];
    /// [`StoreError::Unreadable`] if the operating system is in the way.
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        // sled panics on some damaged files; nothing of ours is shared with it yet.
        let opened = panic::catch_unwind(AssertUnwindSafe(|| open(dir, cache_bytes)));
        opened.unwrap_or_else(|_| Err(StoreError::damaged(dir.display().to_string())))
    }
}

fn open(dir: &Path, cache_bytes: u64) -> Result<SledReplica, StoreError> {
    let db = database(dir, cache_bytes)?;
    let incarnation = incarnation(&db, dir)?;
    let unreadable = |source| StoreError::unreadable(dir)(source);
    let file = File::options().read(true).write(true).open(dir.join("db")).map_err(unreadable)?;
    let replica = SledReplica {
        db,
        dir: dir.to_owned(),
        file,
        incarnation,
        held: RwLock::default(),
        writing: Mutex::default(),
        failed: OnceLock::new(),
    };
    // A new replica's name must not change after somebody was told of it.
    replica.flush()?;
    sync_dir(dir).map_err(StoreError::fatal(dir))?;
    *replica.held_mut() = read_states(&replica)?;
    for strand in replica.strands() {
        replica.end(strand)?;
    }
    // What an interrupted setting aside left behind.
    replica.sweep(replica.next_number())?;
    Ok(replica)
}

/// The states of all logs and branches, each checked in itself.
fn read_states(replica: &SledReplica) -> Result<Held, StoreError> {
    let mut held = Held::default();
    let damaged = || StoreError::damaged("the state of a log in the replica");
    for item in replica.db.scan_prefix([key::LOG]) {
        let (key, value) = item.map_err(|error| opening(&replica.dir, error))?;
        let log = key::log_of(&key).ok_or_else(damaged)?;
        held.logs.insert(log, read_known(replica, &log, &Owner::Head(&log), &value)?);
    }
    for item in replica.db.scan_prefix([key::BRANCH]) {
        let (key, value) = item.map_err(|error| opening(&replica.dir, error))?;
        let (log, number) = key::branch_of(&key).ok_or_else(damaged)?;
        let known = read_known(replica, &log, &Owner::BranchHead(&log, number), &value)?;
        if known.number != number {
            return Err(damaged());
        }
        held.branches.insert((log, number), known.state);
    }
    Ok(held)
}

fn read_known(
    replica: &SledReplica,
    log: &LogId,
    owner: &Owner<'_>,
    value: &[u8],
) -> Result<Known, StoreError> {
    let damaged = || StoreError::damaged("the state of a log in the replica");
    let (mut known, apart) = read_state(value).ok_or_else(damaged)?;
    if let Some(head) = known.state.head.as_mut().filter(|_| apart > 0) {
        head.note = replica.join(owner, apart)?;
    }
    verify(log, &known)?;
    Ok(known)
}

/// Checks what can be checked without reading the entries.
fn verify(log: &LogId, known: &Known) -> Result<(), StoreError> {
    let (frontier, head) = (&known.state.frontier, known.state.head.as_ref());
    let sound = head.is_none_or(|head| {
        head.size < frontier.size()
            || (head.size == frontier.size() && head.root == frontier.root())
    });
    if sound { Ok(()) } else { Err(StoreError::damaged(format!("the head of log {log}"))) }
}

pub(super) fn database(dir: &Path, cache_bytes: u64) -> Result<Db, StoreError> {
    remove_unfinished(dir).map_err(StoreError::unreadable(dir))?;
    let config = Config::new()
        .path(dir)
        .cache_capacity(cache_bytes)
        .segment_size(SEGMENT_BYTES)
        // We flush; a timer would only do so at moments nobody waits for.
        .flush_every_ms(None);
    let mut attempts = 0;
    loop {
        match config.open() {
            Ok(db) => return Ok(db),
            // Our own lock on the data directory says that nobody else is there.
            Err(error) if is_lock(&error) && attempts < LOCK_ATTEMPTS => {
                attempts += 1;
                thread::sleep(LOCK_PAUSE);
            }
            Err(error) => return Err(opening(dir, error)),
        }
    }
}

/// Removes what sled did not get to finish when the disk was full or the
/// process died. sled 0.34.7 writes a snapshot beside the one before and then
/// renames it, but takes the unfinished file for the newest, finds it damaged
/// and refuses to open; so it does with the description of a database that was
/// never begun.
fn remove_unfinished(dir: &Path) -> io::Result<()> {
    let names = OsDisk.list(dir)?;
    let begun = names.iter().any(|name| name == "db");
    let unfinished = |name: &&String| {
        (name.starts_with("snap.") && name.ends_with(".generating")) || (!begun && *name == "conf")
    };
    names.iter().filter(unfinished).try_for_each(|name| OsDisk.remove(&dir.join(name)))
}

/// The name of the replica; a new one for a new replica.
fn incarnation(db: &Db, dir: &Path) -> Result<[u8; 16], StoreError> {
    let read = |name: &[u8]| db.get(name).map_err(|error| opening(dir, error));
    match (read(key::FORMAT)?, read(key::INCARNATION)?) {
        (Some(format), Some(incarnation)) => {
            let damaged = || StoreError::damaged("the description of the replica");
            let format = format.as_ref().try_into().map(u32::from_be_bytes);
            match format.map_err(|_| damaged())? {
                FORMAT => incarnation.as_ref().try_into().map_err(|_| damaged()),
                found if found > FORMAT => Err(StoreError::Newer { found, known: FORMAT }),
                _ => Err(damaged()),
            }
        }
        // Made and not yet named, or it died between the two.
        (None, None) if db.is_empty() => {
            let mut incarnation = [0; 16];
            getrandom::fill(&mut incarnation)
                .map_err(|error| StoreError::unreadable(dir)(io::Error::other(error)))?;
            let mut batch = ::sled::Batch::default();
            batch.insert(key::FORMAT, &FORMAT.to_be_bytes());
            batch.insert(key::INCARNATION, &incarnation);
            db.apply_batch(batch).map_err(|error| opening(dir, error))?;
            Ok(incarnation)
        }
        _ => Err(StoreError::damaged("the description of the replica")),
    }
}

fn opening(dir: &Path, error: ::sled::Error) -> StoreError {
    if damage(&error) {
        StoreError::damaged(dir.display().to_string())
    } else {
        StoreError::unreadable(dir)(into_io(error))
    }
}

/// Whether an error says that what is stored cannot be right, rather than that
/// the operating system is in the way.
pub(super) fn damage(error: &::sled::Error) -> bool {
    match error {
        ::sled::Error::Io(error) => {
            matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
        }
        _ => true,
    }
}

fn is_lock(error: &::sled::Error) -> bool {
    // sled 0.34.7 gives the reason in words only.
    matches!(error, ::sled::Error::Io(error) if error.to_string().contains("could not acquire lock"))
}
