//! The projector: one thread that follows the replica and keeps register and
//! search index up to date.
//!
//! ```text
//! replica ── entries ──► register ──┬─► search index ──► commit ──► positions
//! references, bodies ──► queue ─────┘
//! ```
//!
//! Entries are read log by log in portions. A portion goes into the register at
//! once, with the register's own position. The index follows by itself: when
//! nothing has come in for a moment, when somebody waits for it, or, for a part
//! of the time, when it is seconds behind; so an import or a catch-up has the
//! machine to itself. Records go into the index as the register has them
//! *then*; how far the index is, is written after the index is on disk. After a
//! crash the last stretch is indexed once more, which changes nothing.
//!
//! **Invariants:** reading only, so replication never waits for it; what is
//! shown was checked against its header once more; the outcome does not depend
//! on portions, restarts or timing (invariant 8 of the design). A failure or
//! panic ends the thread and is said by [`Projector::state`], every waiting
//! call and the log; it is never swallowed. Deliberately absent: retrying. What
//! fails here is the disk or a fault in the program.

pub(crate) mod queue;
mod worker;

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tallystick_protocol::id::LogId;
use tokio::sync::oneshot;

use self::queue::{Item, Queue};
use self::worker::Worker;
use crate::opener::Opener;
use crate::reference::References;
use crate::register::{Register, key, remove_all};
use crate::search::{Opened, Search, SearchError};
use crate::store::{Replica, StoreError};

/// Rows that say how far the index is.
const POSITIONS: &[u8] = b"prj/p";
/// Row that is there while a reset is under way.
const RESET: &[u8] = b"prj/r";

/// Row with the layout of the register's rows, which are made anew if it is another.
const LAYOUT: &[u8] = b"prj/l";

/// Where the search index lives.
#[derive(Clone, Debug)]
pub enum Place {
    /// In this directory, which is made if need be and may be deleted.
    Directory(PathBuf),
    /// In memory, for tests, the simulator and examples.
    Memory,
}

/// How the projector is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// At work or waiting for work.
    Running,
    /// Stopped as asked.
    Stopped,
    /// Ended by a failure.
    Failed {
        /// What happened, in one sentence.
        why: String,
        /// One line on what to do about it.
        remedy: &'static str,
    },
}

/// Why the projector could not start, or does not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectorError {
    /// The replica failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The search index failed.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// The operating system gives no thread.
    #[error("no thread could be started for the search index")]
    Thread(#[source] std::io::Error),
    /// It ended earlier.
    #[error("the search index is no longer kept up to date: {why}")]
    Failed {
        /// What happened, in one sentence.
        why: String,
        /// One line on what to do about it.
        remedy: &'static str,
    },
    /// It was stopped.
    #[error("the search index is being closed")]
    Stopped,
    /// It did not get there in the given time.
    #[error("the search index is not up to date yet")]
    Timeout,
}

impl ProjectorError {
    /// Whether the node must end, too: the disk failed or is full.
    const fn is_fatal(&self) -> bool {
        match self {
            Self::Store(error) => error.is_fatal(),
            Self::Search(error) => matches!(error, SearchError::Full),
            _ => false,
        }
    }

    /// One line on what to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Store(error) => error.remedy(),
            Self::Search(error) => error.remedy(),
            Self::Thread(_) => "check how many processes and threads the machine allows",
            Self::Failed { remedy, .. } => remedy,
            Self::Stopped => "start the node again",
            Self::Timeout => "wait a moment and ask again",
        }
    }
}

/// The running projector and handles on what it keeps. Dropping it stops it.
pub struct Projector {
    shared: Arc<Shared>,
    replica: Arc<dyn Replica>,
    queue: Queue,
    register: Register,
    references: References,
    search: Search,
    opened: Opened,
    thread: Mutex<Option<JoinHandle<()>>>,
    fatal: Mutex<Option<oneshot::Receiver<ProjectorError>>>,
}

impl fmt::Debug for Projector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Projector").field("state", &self.state()).finish_non_exhaustive()
    }
}

/// What the thread and its callers share.
#[derive(Debug, Default)]
struct Shared {
    board: Mutex<Board>,
    /// Notified when there is something to do.
    wake: Condvar,
    /// Notified when something was done.
    done: Condvar,
}

#[derive(Debug)]
struct Board {
    state: State,
    stopping: bool,
    /// Counts calls of [`Projector::wake`].
    woken: u64,
    /// Callers that want to find what is there so far.
    searching: usize,
    /// Entries of each log that can be found.
    indexed: BTreeMap<LogId, u64>,
    /// Entries of each log that are in the register.
    registered: BTreeMap<LogId, u64>,
    /// Rounds in which the thread found nothing left to do or to commit.
    idle: u64,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            state: State::Running,
            stopping: false,
            woken: 0,
            searching: 0,
            indexed: BTreeMap::new(),
            registered: BTreeMap::new(),
            idle: 0,
        }
    }
}

/// What a caller waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// That entries are in the register.
    Registered,
    /// That entries can be found.
    Found,
    /// That nothing is left to do; each round asks for another one.
    Everything,
}

impl Shared {
    // A panic of another thread cannot leave a board that means something else.
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, state: State) {
        self.board().state = state;
        self.done.notify_all();
    }
}

impl Projector {
    /// Opens the search index at `place`, anew if it cannot be trusted, and
    /// starts following `replica`.
    ///
    /// # Errors
    /// [`ProjectorError`] if the replica or the directory of the index fails.
    pub fn start(replica: Arc<dyn Replica>, place: &Place) -> Result<Self, ProjectorError> {
        Self::start_with(replica, place, Opener::default())
    }

    /// As [`Projector::start`], with what `opener` can read of private groups.
    /// [`Projector::wake`] after it has learned something.
    ///
    /// # Errors
    /// As [`Projector::start`].
    pub fn start_with(
        replica: Arc<dyn Replica>,
        place: &Place,
        opener: Opener,
    ) -> Result<Self, ProjectorError> {
        let incarnation = replica.incarnation();
        let (search, writer, opened) = match place {
            Place::Directory(dir) => Search::open(dir, &incarnation)?,
            Place::Memory => Search::in_memory(&incarnation)?,
        };
        let queue = Queue::open(&*replica)?;
        let register = Register::with_opener(Arc::clone(&replica), opener);
        let references = References::new(Arc::clone(&replica), queue.clone());
        let layout = key::LAYOUT.to_be_bytes().to_vec();
        if replica.get(RESET)?.is_some() || replica.get(LAYOUT)?.as_ref() != Some(&layout) {
            reset(&*replica)?;
            replica.put(&[(LAYOUT.to_vec(), Some(layout))])?;
        }
        if let Opened::Replaced(why) = opened {
            tracing::warn!(why, "search index is made anew");
        }
        let shared = Arc::new(Shared::default());
        let mut worker = Worker::new(
            Arc::clone(&replica),
            register.clone(),
            references.clone(),
            queue.clone(),
            writer,
        );
        worker.prepare(opened)?;
        {
            let mut board = shared.board();
            board.indexed.clone_from(worker.indexed());
            board.registered.clone_from(worker.registered());
        }
        let (tell, fatal) = oneshot::channel();
        let thread = {
            let shared = Arc::clone(&shared);
            let body = move || run(worker, &shared, tell);
            thread::Builder::new()
                .name("projector".to_owned())
                .spawn(body)
                .map_err(ProjectorError::Thread)?
        };
        let (thread, fatal) = (Mutex::new(Some(thread)), Mutex::new(Some(fatal)));
        Ok(Self { shared, replica, queue, register, references, search, opened, thread, fatal })
    }

    /// Says that the replica has changed. Cheap, and never blocks on the projector's work.
    pub fn wake(&self) {
        self.shared.board().woken += 1;
        self.shared.wake.notify_one();
    }

    /// Says that the body of an entry came or went after the entry itself.
    ///
    /// # Errors
    /// [`StoreError`] if the replica fails.
    pub fn body_changed(&self, log: &LogId, index: u64) -> Result<(), StoreError> {
        let headers = self.replica.headers(log, index..index.saturating_add(1))?;
        let header = headers.first().map(|h| tallystick_protocol::entry::Header::decode(h));
        if let Some(Ok(header)) = header {
            let (authority, space) = (log.authority, log.space);
            let record = crate::register::RecordKey { authority, space, record: header.record };
            self.replica.put(&[self.queue.row(&Item::Record(record))])?;
            self.wake();
        }
        Ok(())
    }

    /// Entries in the replica that cannot be found yet.
    ///
    /// # Errors
    /// [`StoreError`] if the replica fails.
    pub fn lag(&self) -> Result<u64, StoreError> {
        let logs = self.replica.logs()?;
        let board = self.shared.board();
        let behind = logs.iter().map(|log| {
            let indexed = board.indexed.get(&log.log).copied().unwrap_or(0);
            log.frontier.size().saturating_sub(indexed)
        });
        Ok(behind.sum())
    }

    /// Waits until the first `size` entries of `log` can be found.
    ///
    /// # Errors
    /// [`ProjectorError::Timeout`]; [`ProjectorError::Failed`] or
    /// [`ProjectorError::Stopped`] if that will not happen.
    pub fn wait_until(
        &self,
        log: &LogId,
        size: u64,
        timeout: Duration,
    ) -> Result<(), ProjectorError> {
        let found = |board: &Board| board.indexed.get(log).copied().unwrap_or(0) >= size;
        self.wait(timeout, Wanted::Found, found)
    }

    /// Waits until the first `size` entries of `log` are in the register, which is
    /// earlier than they can be found.
    ///
    /// # Errors
    /// As [`Projector::wait_until`].
    pub fn wait_for_register(
        &self,
        log: &LogId,
        size: u64,
        timeout: Duration,
    ) -> Result<(), ProjectorError> {
        let known = |board: &Board| board.registered.get(log).copied().unwrap_or(0) >= size;
        self.wait(timeout, Wanted::Registered, known)
    }

    /// Entries of `log` that are in the register.
    pub(crate) fn registered(&self, log: &LogId) -> u64 {
        self.shared.board().registered.get(log).copied().unwrap_or(0)
    }

    /// Waits until everything can be found that was in the replica at the time
    /// of the call, references too.
    ///
    /// # Errors
    /// As [`Projector::wait_until`].
    pub fn settle(&self, timeout: Duration) -> Result<(), ProjectorError> {
        // The round under way may have begun before the call: the one after it has not.
        let seen = self.shared.board().idle;
        self.wait(timeout, Wanted::Everything, |board| board.idle >= seen + 2)
    }

    /// Waits for `reached`.
    fn wait(
        &self,
        timeout: Duration,
        wanted: Wanted,
        reached: impl Fn(&Board) -> bool,
    ) -> Result<(), ProjectorError> {
        let end = Instant::now() + timeout;
        let mut board = self.shared.board();
        let searching = usize::from(wanted != Wanted::Registered);
        board.searching += searching;
        board.woken += 1;
        self.shared.wake.notify_one();
        let outcome = loop {
            match &board.state {
                _ if reached(&board) => break Ok(()),
                State::Failed { why, remedy } => {
                    break Err(ProjectorError::Failed { why: why.clone(), remedy });
                }
                State::Stopped => break Err(ProjectorError::Stopped),
                State::Running => {}
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break Err(ProjectorError::Timeout);
            }
            let waited = self.shared.done.wait_timeout(board, left);
            board = waited.unwrap_or_else(PoisonError::into_inner).0;
            if wanted == Wanted::Everything {
                board.woken += 1;
                self.shared.wake.notify_one();
            }
        };
        board.searching -= searching;
        outcome
    }

    /// How it is doing.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.board().state.clone()
    }

    /// Whether the search index was kept, or why it was made anew.
    #[must_use]
    pub const fn opened(&self) -> Opened {
        self.opened
    }

    /// Which versions each record has.
    #[must_use]
    pub const fn register(&self) -> &Register {
        &self.register
    }

    /// References; [`Projector::wake`] after putting any.
    #[must_use]
    pub const fn references(&self) -> &References {
        &self.references
    }

    /// The search index.
    #[must_use]
    pub const fn search(&self) -> &Search {
        &self.search
    }

    /// Waits until it has ended because the disk failed or is full, which the
    /// node must not live with. For one caller; returns in no other case.
    pub async fn fatal(&self) -> ProjectorError {
        let fatal = self.fatal.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(fatal) = fatal
            && let Ok(error) = fatal.await
        {
            return error;
        }
        std::future::pending().await
    }

    /// Stops after the portion at hand, with everything read so far committed.
    ///
    /// # Errors
    /// [`ProjectorError::Failed`] if it had ended by a failure.
    pub fn stop(&self) -> Result<(), ProjectorError> {
        self.shared.board().stopping = true;
        self.shared.wake.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // `run` catches panics, so joining cannot fail by one.
            let _joined = thread.join();
        }
        match self.state() {
            State::Failed { why, remedy } => Err(ProjectorError::Failed { why, remedy }),
            _ => Ok(()),
        }
    }
}

impl Drop for Projector {
    fn drop(&mut self) {
        // A failure was logged when it happened.
        let _stopped = self.stop();
    }
}

/// Deletes register and positions of the index, so that the next start makes
/// both anew from the replica. References stay.
///
/// # Errors
/// [`StoreError`] if the replica fails; the next start then completes it.
pub fn reset(replica: &dyn Replica) -> Result<(), StoreError> {
    replica.put(&[(RESET.to_vec(), Some(Vec::new()))])?;
    remove_all(replica, POSITIONS)?;
    remove_all(replica, key::ALL)?;
    replica.put(&[(RESET.to_vec(), None)])?;
    replica.flush()
}

/// The thread.
fn run(mut worker: Worker, shared: &Shared, fatal: oneshot::Sender<ProjectorError>) {
    let worked = panic::catch_unwind(AssertUnwindSafe(|| {
        worker.run(shared)?;
        worker.close()
    }));
    let again = "start the node again; if that does not help, run `tally rebuild`";
    let (why, remedy, error) = match worked {
        Ok(Ok(())) => return shared.end(State::Stopped),
        Ok(Err(error)) if error.is_fatal() => (sentence(&error), error.remedy(), Some(error)),
        Ok(Err(error)) => (sentence(&error), again, None),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            (format!("a fault in the program ({})", text.unwrap_or_default()), again, None)
        }
    };
    tracing::error!(error = why, "search index is no longer kept up to date");
    shared.end(State::Failed { why, remedy });
    if let Some(error) = error {
        // Without a service nobody listens.
        let _unheard = fatal.send(error);
    }
}

/// An error with its causes.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
