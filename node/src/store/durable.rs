//! [`Store`]: journal, body files and replica as one, in the order that makes
//! what is acknowledged durable (invariant 5 of the design).
//!
//! Own entries are on the disk three times before anybody hears of them: bodies,
//! then journal, then replica. Whatever the moment of a crash, opening brings
//! the three into agreement ([`OpenReport`] says what it did):
//!
//! - the journal is ahead: what is missing is replayed into the replica;
//! - the replica is ahead (journal lost, or restored from a backup): what is
//!   missing is copied back, since the replica holds nothing unverified;
//! - one of them has set a part of a log aside that the other has still: it is
//!   set aside there too;
//! - they differ about an entry or a signed head: [`StoreError::Contradiction`].
//!   One of them is foreign or a second history, and no program can tell which.
//!
//! A replica that will not open is put aside and made anew. Deliberately absent:
//! fetching others' entries again; that is what replication does anyway.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tallystick_protocol::entry::{Entry, EntryError, UnverifiedEntry};
use tallystick_protocol::erasure::Lack;
use tallystick_protocol::id::{AuthorityId, Hash, LogId, Space};
use tallystick_protocol::log::{Frontier, frontier_at, leaf_hash};
use tallystick_protocol::sync::{Append, Fill, Revert};
use tallystick_protocol::time::UnixTime;

use super::body_file::BodyFiles;
use super::control;
use super::data_dir::DataDir;
use super::disk::{OsDisk, probe_room};
use super::erasure::{self, Added, Standing};
use super::journal::{Journal, Record};
use super::sled::SledReplica;
use super::{Extension, Refusal, Replica, SignedHead, StoreError};
use crate::driver::unix_time;

/// Entries brought over at once when a store is opened.
const BATCH_ENTRIES: u64 = 1000;
const BATCH_BYTES: usize = 4 << 20;

/// How a store is opened.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// Bound of the database's cache, in bytes.
    pub cache_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20 }
    }
}

/// What opening a store had to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Where a damaged replica was put, and what was wrong with it.
    pub quarantined: Option<(PathBuf, String)>,
    /// Entries replayed from the journal into the replica.
    pub replayed: u64,
    /// Entries copied back from the replica into the journal.
    pub recovered: u64,
    /// Logs of which a part was set aside in one of the two, as in the other.
    pub set_aside: u64,
}

/// Everything an authority's node keeps.
pub struct Store<R = SledReplica> {
    own: AuthorityId,
    journal: Journal,
    bodies: BodyFiles,
    replica: Arc<R>,
    report: OpenReport,
    /// The lock; absent over a disk that is none. Last, so that it goes last.
    data: Option<DataDir>,
}

impl Store<SledReplica> {
    /// Opens the data directory at `path`, or makes one, for the authority `own`.
    ///
    /// # Errors
    /// Any [`StoreError`] but those that are the caller's fault; see [`StoreError::remedy`].
    pub fn open(path: &Path, options: &StoreOptions, own: AuthorityId) -> Result<Self, StoreError> {
        let data = DataDir::open(path)?;
        let disk = Arc::new(OsDisk);
        let mut journal = Journal::open(disk.clone(), data.journal())?;
        let mut bodies = BodyFiles::open(disk, data.bodies())?;
        let opened = SledReplica::open(&data.replica(), options.cache_bytes).and_then(|replica| {
            let report = agree(&mut journal, &mut bodies, &replica, own)?;
            Ok((replica, report))
        });
        let (replica, report) = match opened {
            // If the journal is the damaged one, the second attempt says so again.
            Err(error) if error.is_damage() => {
                // On a full disk sled may take what it could not write for damage,
                // and there is no room for a new replica anyway.
                probe_room(data.path()).map_err(StoreError::fatal(data.path()))?;
                let aside = data.quarantine()?;
                tracing::error!(%error, aside = %aside.display(), "replica put aside");
                let replica = SledReplica::open(&data.replica(), options.cache_bytes)?;
                let report = agree(&mut journal, &mut bodies, &replica, own)?;
                (replica, OpenReport { quarantined: Some((aside, error.to_string())), ..report })
            }
            opened => opened?,
        };
        let replica = Arc::new(replica);
        Ok(Self { own, journal, bodies, replica, report, data: Some(data) })
    }

    /// Rewrites the replica without what sled keeps of replaced values, and
    /// closes the store. Needs room for a second replica meanwhile. `progress`
    /// hears how many entries are copied.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if the replica cannot be read whole;
    /// [`StoreError::Unreadable`] or [`StoreError::Fatal`] if the copy cannot be
    /// written, for instance because the disk is full. The replica is as it was then.
    pub fn compact(
        self,
        options: &StoreOptions,
        progress: impl FnMut(u64),
    ) -> Result<(), StoreError> {
        let Some(data) = self.data else { return Ok(()) };
        let place = data.copy()?;
        self.replica.copy_to(&place, options.cache_bytes, progress)?;
        // The copy must open, with every log checked against its head, before it counts.
        let copy = SledReplica::open(&place, options.cache_bytes)?;
        let same = copy.stored()? == self.replica.stored()?
            && copy.branches()? == self.replica.branches()?;
        if !same {
            return Err(StoreError::damaged("the copy of the replica"));
        }
        drop((copy, self.replica));
        data.exchange()
    }
}

impl<R: Replica> Store<R> {
    /// Puts a store together from open parts and brings them into agreement.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn assemble(
        mut journal: Journal,
        mut bodies: BodyFiles,
        replica: R,
        own: AuthorityId,
    ) -> Result<Self, StoreError> {
        let report = agree(&mut journal, &mut bodies, &replica, own)?;
        Ok(Self { own, journal, bodies, replica: Arc::new(replica), report, data: None })
    }

    /// What opening had to do.
    #[must_use]
    pub const fn report(&self) -> &OpenReport {
        &self.report
    }

    /// The replica, for reading from other threads. Entries are added through
    /// [`Store::commit`] only.
    #[must_use]
    pub const fn replica(&self) -> &Arc<R> {
        &self.replica
    }

    /// Stores what the machine emits; all of it is durable when this returns.
    ///
    /// # Errors
    /// As [`Store::commit_extensions`].
    pub fn commit(&mut self, appends: &[Append]) -> Result<(), StoreError> {
        let now = unix_time();
        for append in appends {
            let head = append.head.as_ref().map(|head| head.checkpoint().size());
            let added = Added {
                log: &append.log,
                start: append.start,
                entries: &append.entries,
                countersigned: &append.countersigned,
                witnessed: head.zip(append.witnessed),
            };
            // If we die before the entries are there, the next opening drops these rows.
            erasure::note(&*self.replica, added, now)?;
            control::note(&*self.replica, &append.log, append.start, &append.entries)?;
        }
        let extensions: Vec<_> = appends.iter().map(Extension::from).collect();
        self.commit_extensions(&extensions)
    }

    /// Stores extensions of logs; all of them are durable when this returns.
    ///
    /// # Errors
    /// [`StoreError::Refused`] or [`StoreError::TooLarge`], and nothing was
    /// stored; [`StoreError::Fatal`], and the process must end.
    pub fn commit_extensions(&mut self, extensions: &[Extension<'_>]) -> Result<(), StoreError> {
        let own: Vec<_> = extensions.iter().filter(|e| e.log.authority == self.own).collect();
        let records: Vec<_> =
            own.iter().map(|e| Record::of(e.log, e.start, e.entries, e.head.clone())).collect();
        // Before anything is written: a body under a wrong index would hide the right one.
        let prepared = self.journal.prepare(&records)?;
        for extension in &own {
            let bodies = (extension.start..).zip(extension.entries);
            let bodies = bodies.filter_map(|(at, entry)| Some((at, entry.body()?.as_bytes())));
            self.bodies.append(&extension.log, bodies)?;
        }
        // If we die here, there are bodies that no header names. The next commit
        // of these indices writes its own behind them, and the later ones count.
        self.journal.write(prepared)?;
        // If we die here, the entries are replayed when the store is opened.
        let extended = self.replica.extend(extensions);
        extended.map_err(|error| behind_journal(!own.is_empty(), error))?;
        // If we die here, sled has all of the call or nothing of it. Own entries
        // are replayed, others' fetched again: nobody was told we have them.
        self.replica.flush()
        // If we die here, everything is there, acknowledged or not.
    }

    /// Sets aside what is disowned of a log; durable when this returns. Gives the
    /// tree over what is left.
    ///
    /// # Errors
    /// As [`Store::commit_extensions`].
    pub fn revert(&mut self, revert: &Revert) -> Result<Frontier, StoreError> {
        let Revert { log, keep, changed, .. } = *revert;
        let head = revert.head.as_ref().map(SignedHead::from);
        self.set_aside(&log, keep, head.as_ref(), changed)
    }

    /// As [`Store::revert`], with the head as it is stored.
    ///
    /// # Errors
    /// As [`Store::revert`].
    pub fn set_aside(
        &mut self,
        log: &LogId,
        keep: u64,
        head: Option<&SignedHead>,
        changed: u64,
    ) -> Result<Frontier, StoreError> {
        let own = log.authority == self.own;
        // If we die here, what is disowned erases nothing any more, as it will not either way.
        erasure::forget(&*self.replica, log, keep)?;
        control::forget(&*self.replica, log, keep)?;
        if own {
            self.journal.set_aside(log, keep, head)?;
            // If we die here, the replica follows when the store is opened.
        }
        let tree = self.replica.set_aside(log, keep, head, changed);
        let tree = tree.map_err(|error| behind_journal(own, error))?;
        // If we die here, the replica has all of it or nothing. Whose log it is
        // not asks for it again: nobody was told that it is done.
        self.replica.flush()?;
        Ok(tree)
    }

    /// Puts bodies in the place of such as lacked something; durable when this returns.
    ///
    /// # Errors
    /// As [`Store::commit_extensions`].
    pub fn fill(&mut self, fill: &Fill) -> Result<(), StoreError> {
        for (index, entry) in &fill.bodies {
            let body = entry.body().map(|body| body.as_bytes());
            self.put_body(&fill.log, *index, body)?;
            // If we die here, the body is asked for once more.
            erasure::put_lack(&*self.replica, &fill.log, *index, entry)?;
        }
        self.replica.flush()
    }

    /// Puts what is left of bodies in their places, because `standing` erased the
    /// rest; that is durable when this returns, and the rest is in no file of
    /// ours any more, but for what the database has not collected yet (see
    /// [`Store::compact`]).
    ///
    /// # Errors
    /// As [`Store::commit_extensions`].
    pub fn delete(
        &mut self,
        standing: Standing,
        left: &[(LogId, u64, Entry)],
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let mut any = false;
        for (log, index, entry) in left {
            any |= erasure::lack(&*self.replica, log, *index)? != Lack::of(entry);
            self.put_body(log, *index, entry.body().map(|body| body.as_bytes()))?;
            erasure::put_lack(&*self.replica, log, *index, entry)?;
        }
        let is_others = standing.log.authority != self.own;
        // If we die before this, the erasure is carried out again.
        erasure::put_deleted(&*self.replica, standing, now, any && is_others)?;
        self.replica.flush()
    }

    /// Puts a body in the place of an entry's, or removes it with `None`; durable
    /// when this returns. The old body is gone from body files and replica.
    ///
    /// # Errors
    /// As [`Store::commit_extensions`].
    pub fn set_body(
        &mut self,
        log: &LogId,
        index: u64,
        body: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        self.put_body(log, index, body)?;
        self.replica.flush()
    }

    fn put_body(&mut self, log: &LogId, index: u64, body: Option<&[u8]>) -> Result<(), StoreError> {
        if log.authority == self.own {
            if index >= self.journal.frontier(log).size() {
                return Err(StoreError::Refused { log: *log, why: Refusal::Absent(index) });
            }
            self.bodies.set(log, index, body)?;
            // If we die here, the replica still has the old body. Whoever asked
            // was not told that it is gone, and asks again.
        }
        self.replica.set_body(log, index, body)
    }

    /// Visits every signed head of an own log, oldest first.
    ///
    /// # Errors
    /// As [`Journal::heads`].
    pub fn heads(&self, log: &LogId, visit: impl FnMut(SignedHead)) -> Result<(), StoreError> {
        self.journal.heads(log, visit)
    }

    /// Size and root of another's log that we cosigned last.
    #[must_use]
    pub fn cosigned(&self, log: &LogId) -> Option<(u64, Hash)> {
        self.journal.cosigned(log)
    }

    /// Writes down what is about to be cosigned; durable when this returns.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if it contradicts or goes behind what was
    /// cosigned before: it must not be signed; [`StoreError::Fatal`].
    pub fn put_cosigned(&mut self, log: &LogId, size: u64, root: Hash) -> Result<(), StoreError> {
        self.journal.put_cosigned(log, size, root)
    }
}

/// Of what the journal has, an error of the replica is fatal: only opening can mend that.
fn behind_journal(journalled: bool, error: StoreError) -> StoreError {
    if journalled && !error.is_fatal() {
        return StoreError::fatal(Path::new("replica"))(io::Error::other(error));
    }
    error
}

/// Brings journal and replica into agreement about the logs of `own`.
fn agree<R: Replica>(
    journal: &mut Journal,
    bodies: &mut BodyFiles,
    replica: &R,
    own: AuthorityId,
) -> Result<OpenReport, StoreError> {
    let stored = replica.logs()?;
    let identities = replica.identities()?;
    let evidence = replica.evidence(None)?;
    // Others see the counters of public logs: nothing in a group may move them.
    let public = stored.iter().filter(|log| log.log.space == Space::Public);
    let counters = public.map(|log| log.changed);
    let counters = counters.chain(identities.iter().map(|identity| identity.changed));
    let counters = counters.chain(evidence.iter().map(|evidence| evidence.changed));
    let newest = counters.max().unwrap_or(0);
    let known = stored.iter().map(|log| log.log).chain(journal.logs().copied());
    let logs: BTreeSet<LogId> = known.filter(|log| log.authority == own).collect();
    let mut report = OpenReport::default();
    // Every log gets a place of its own in the order of changes.
    for (changed, log) in (newest + 1..).zip(logs) {
        let theirs = stored.iter().find(|stored| stored.log == log);
        let theirs = theirs.map(|stored| stored.frontier.clone()).unwrap_or_default();
        let mut both = Both { log, journal, bodies, replica, changed };
        let aside = both.set_aside_in_replica(&theirs)?;
        report.set_aside += u64::from(aside.is_some() || both.set_aside_in_journal(&theirs)?);
        let theirs = aside.unwrap_or(theirs);
        both.compare(&theirs)?;
        report.replayed += both.replay(theirs.clone())?;
        report.recovered += both.recover(theirs.size())?;
        both.agree_on_head()?;
    }
    if report != OpenReport::default() {
        tracing::info!(
            report.replayed,
            report.recovered,
            report.set_aside,
            "journal and replica brought into agreement"
        );
    }
    erasure::prune(replica)?;
    replica.flush()?;
    Ok(report)
}

/// One own log in journal and replica.
struct Both<'a, R> {
    log: LogId,
    journal: &'a mut Journal,
    bodies: &'a mut BodyFiles,
    replica: &'a R,
    /// Change counter if the replica's log has to change.
    changed: u64,
}

impl<R: Replica> Both<'_, R> {
    /// Sets aside in the replica what the journal set aside, if that is what the
    /// replica has still; gives the tree that is left.
    fn set_aside_in_replica(&self, theirs: &Frontier) -> Result<Option<Frontier>, StoreError> {
        let Some((aside, keep)) = self.journal.aside(&self.log) else { return Ok(None) };
        if aside != theirs || self.journal.frontier(&self.log) == *theirs {
            return Ok(None);
        }
        // The head follows when the two agree on it.
        self.replica.set_aside(&self.log, *keep, None, self.changed).map(Some)
    }

    /// Sets aside in the journal what the replica set aside, if the journal is
    /// of before that: it may come from a backup.
    fn set_aside_in_journal(&mut self, theirs: &Frontier) -> Result<bool, StoreError> {
        let ours = self.journal.frontier(&self.log);
        if ours == *theirs {
            return Ok(false);
        }
        for branch in self.replica.branches()?.iter().filter(|branch| branch.log == self.log) {
            let nodes = self.replica.branch_nodes(&self.log, branch.number)?;
            let keep = branch.shared(self.replica)?;
            let is_of_branch = frontier_at(&*nodes, ours.size()).is_ok_and(|tree| tree == ours);
            if is_of_branch && ours.size() > keep {
                // The head and what follows are brought over from the replica.
                self.journal.set_aside(&self.log, keep, None)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes sure that one is the beginning of the other.
    fn compare(&self, theirs: &Frontier) -> Result<(), StoreError> {
        let size = self.journal.frontier(&self.log).size().min(theirs.size());
        let ours = self.journal.frontier_at(&self.log, size)?;
        let damaged = |_| StoreError::damaged(format!("the tree of log {}", self.log));
        let theirs = match theirs.size() == size {
            true => theirs.clone(),
            false => frontier_at(&*self.replica.nodes(&self.log)?, size).map_err(damaged)?,
        };
        if ours == theirs { Ok(()) } else { Err(self.first_difference(size)?) }
    }

    fn first_difference(&self, size: u64) -> Result<StoreError, StoreError> {
        let mut index = 0;
        while index < size {
            let ours = self.journal_headers(index..size)?;
            let theirs = self.replica.headers(&self.log, index..index + ours.len() as u64)?;
            let same = ours.iter().zip(&theirs).take_while(|(ours, theirs)| ours == theirs).count();
            index += same as u64;
            if same < ours.len() {
                return Ok(StoreError::Contradiction { log: self.log, index });
            }
        }
        // The headers are the same after all: the replica's own tree is wrong.
        Ok(StoreError::damaged(format!("the tree of log {}", self.log)))
    }

    /// At least one header of a range the journal has.
    fn journal_headers(&self, range: core::ops::Range<u64>) -> Result<Vec<Vec<u8>>, StoreError> {
        let headers = self.journal.headers(&self.log, range)?;
        if headers.is_empty() { Err(StoreError::damaged("the journal")) } else { Ok(headers) }
    }

    /// Adds to the replica what only the journal has; `frontier` is the replica's.
    fn replay(&mut self, mut frontier: Frontier) -> Result<u64, StoreError> {
        let (begin, end) = (frontier.size(), self.journal.frontier(&self.log).size());
        let now = unix_time();
        while frontier.size() < end {
            let start = frontier.size();
            let mut entries = Vec::new();
            for header in self.journal_headers(start..end.min(start + BATCH_ENTRIES))? {
                let entry = self.entry(start + entries.len() as u64, header)?;
                frontier.push(entry.leaf());
                entries.push(entry);
            }
            let (log, countersigned, witnessed) = (&self.log, &[][..], None);
            let added = Added { log, start, entries: &entries, countersigned, witnessed };
            erasure::note(self.replica, added, now)?;
            control::note(self.replica, &self.log, start, &entries)?;
            self.replica.extend(&[Extension {
                log: self.log,
                start,
                entries: &entries,
                frontier: frontier.clone(),
                head: None,
                changed: self.changed,
            }])?;
        }
        Ok(end.saturating_sub(begin))
    }

    /// An entry from its header in the journal and its body in the body files.
    fn entry(&mut self, index: u64, header: Vec<u8>) -> Result<Entry, StoreError> {
        let body = self.bodies.get(&self.log, index)?;
        let entry = match UnverifiedEntry::new(header.clone(), body).check() {
            // Left from a commit that was lost: this entry came without a body.
            Err(EntryError::Body(_)) => UnverifiedEntry::new(header, None).check(),
            entry => entry,
        };
        entry.map_err(|_| StoreError::damaged(format!("header {index} in the journal")))
    }

    /// Adds to journal and body files what only the replica has from `end` down.
    fn recover(&mut self, end: u64) -> Result<u64, StoreError> {
        let begin = self.journal.frontier(&self.log).size();
        let mut at = begin;
        while at < end {
            let range = at..end.min(at + BATCH_ENTRIES);
            let entries = self.replica.entries(&self.log, range, BATCH_BYTES)?;
            if entries.is_empty() {
                return Err(StoreError::damaged(format!("entry {at} of log {}", self.log)));
            }
            let bodies = (at..).zip(&entries);
            let bodies = bodies.filter_map(|(at, entry)| Some((at, entry.body.as_deref()?)));
            self.bodies.append(&self.log, bodies)?;
            let headers = entries.iter().map(|entry| entry.header.as_slice());
            let leaves = headers.map(|header| (leaf_hash(header), header)).collect();
            // If we die here, the next opening goes on from where the journal ends.
            let record = Record { log: self.log, start: at, headers: leaves, head: None };
            self.journal.append(&[record])?;
            at += entries.len() as u64;
        }
        Ok(end.saturating_sub(begin))
    }

    /// Gives the newer signed head to whoever has the older.
    fn agree_on_head(&mut self) -> Result<(), StoreError> {
        let (ours, theirs) = (self.journal.head(&self.log), self.replica.head(&self.log)?);
        let frontier = self.journal.frontier(&self.log);
        let size = |head: Option<&SignedHead>| head.map(|head| head.size);
        let contradiction = |index| StoreError::Contradiction { log: self.log, index };
        match (ours, theirs) {
            (Some(ours), theirs) if size(Some(ours)) > size(theirs.as_ref()) => {
                let (index, head) = (ours.size, Some(ours.clone()));
                let extension = Extension {
                    log: self.log,
                    start: frontier.size(),
                    entries: &[],
                    frontier,
                    head,
                    changed: self.changed,
                };
                self.replica.extend(&[extension]).map_err(|error| match error {
                    StoreError::Refused { .. } => contradiction(index),
                    error => error,
                })
            }
            (ours, Some(theirs)) if size(ours) < Some(theirs.size) => {
                let (log, start) = (self.log, frontier.size());
                let record = Record { log, start, headers: Vec::new(), head: Some(theirs) };
                self.journal.append(&[record])
            }
            (Some(ours), Some(theirs)) if ours.root != theirs.root => Err(contradiction(ours.size)),
            _ => Ok(()),
        }
    }
}
