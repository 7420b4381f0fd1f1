//! The storage thread: commits in the machine's order, many appends at a time.
//!
//! Whatever has queued up while a commit was under way goes into the next one,
//! so that one flush serves many appends when there is much to do and one
//! append waits for nobody when there is little. Reads run beside it. What is
//! about to be cosigned is decided here, so that nothing comes in between that
//! decision and its being durable.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use tallystick_protocol::entry::Entry;
use tallystick_protocol::erasure::Lack;
use tallystick_protocol::id::{AuthorityId, LogId};
use tallystick_protocol::log::Frontier;
use tallystick_protocol::sync::{
    Append, Cosign, Fill, Load, Loaded, Revert, StoredEvidence, StoredIdentity, Ticket,
};
use tallystick_protocol::witness::{Decision, Refusal, Seen, decide_held};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::clock::unix_time;
use crate::store::erasure::Standing;
use crate::store::{Replica, Store, StoreError};

/// Entries in one commit; more wait for the next.
const COMMIT_ENTRIES: usize = 4096;

/// What storage says to the driver.
#[derive(Debug)]
pub(super) enum StorageEvent {
    Appended(Vec<Ticket>),
    Reverted(Ticket, Frontier),
    Filled(Ticket),
    /// What bodies of logs lack since an erasure was carried out.
    Deleted(Vec<(LogId, u64, Lack)>),
    Loaded(Ticket, Loaded),
    /// A head may be cosigned, which is durable; or it may not.
    Cosigned(Ticket, Option<Decision>),
    Failed(Vec<Ticket>, StoreError),
}

/// A head of another's log that somebody wants cosigned.
pub(super) struct Cosigning {
    /// The log.
    pub(super) log: LogId,
    /// Decides, told what was cosigned last.
    pub(super) decide: Box<dyn FnOnce(Option<Seen>) -> Result<Decision, Refusal> + Send>,
    /// Hears the decision once it is durable.
    pub(super) reply: oneshot::Sender<Result<Decision, Refusal>>,
}

/// An erasure that is to be carried out.
pub(super) struct Deletion {
    /// The erasure.
    pub(super) standing: Standing,
    /// What is left of the entries it covers.
    pub(super) left: Vec<(LogId, u64, Entry)>,
    /// Hears of it once it is durable.
    pub(super) reply: oneshot::Sender<()>,
}

enum Work {
    Append(Ticket, Box<Append>),
    Revert(Ticket, Revert),
    Fill(Ticket, Fill),
    Delete(Box<Deletion>),
    Identity(StoredIdentity),
    Evidence(StoredEvidence),
    Cursor(AuthorityId, Vec<u8>),
    Cosign(Cosigning),
    CosignHeld(Ticket, Box<Cosign>),
    Stop,
}

/// The driver's end of the storage thread.
pub(super) struct Storage {
    work: Sender<Work>,
    replica: Arc<dyn Replica>,
    events: UnboundedSender<StorageEvent>,
    thread: Option<JoinHandle<()>>,
}

impl Storage {
    pub(super) fn start(
        store: Store,
    ) -> Result<(Self, UnboundedReceiver<StorageEvent>), StoreError> {
        let (work, queue) = channel();
        let (events, receiver) = unbounded_channel();
        let replica: Arc<dyn Replica> = store.replica().clone();
        let sender = events.clone();
        let thread = std::thread::Builder::new()
            .name("storage".into())
            .spawn(move || {
                let worked = catch_unwind(AssertUnwindSafe(|| run(store, &queue, &sender)));
                if worked.is_err() {
                    // Else nobody would hear of it, and nothing be stored any more.
                    let source = io::Error::other("a fault in the program");
                    let error = StoreError::Fatal { path: "storage thread".into(), source };
                    // The driver is gone only when the node stops.
                    let _stopping = sender.send(StorageEvent::Failed(Vec::new(), error));
                }
            })
            .map_err(|source| StoreError::Fatal { path: "storage thread".into(), source })?;
        Ok((Self { work, replica, events, thread: Some(thread) }, receiver))
    }

    pub(super) fn append(&self, ticket: Ticket, append: Append) {
        self.push(Work::Append(ticket, Box::new(append)));
    }

    pub(super) fn revert(&self, ticket: Ticket, revert: Revert) {
        self.push(Work::Revert(ticket, revert));
    }

    pub(super) fn fill(&self, ticket: Ticket, fill: Fill) {
        self.push(Work::Fill(ticket, fill));
    }

    pub(super) fn delete(&self, deletion: Deletion) {
        self.push(Work::Delete(Box::new(deletion)));
    }

    pub(super) fn identity(&self, identity: StoredIdentity) {
        self.push(Work::Identity(identity));
    }

    pub(super) fn evidence(&self, evidence: StoredEvidence) {
        self.push(Work::Evidence(evidence));
    }

    pub(super) fn cursor(&self, authority: AuthorityId, cursor: Vec<u8>) {
        self.push(Work::Cursor(authority, cursor));
    }

    /// A head of our own copy of a log that its author wants cosigned.
    pub(super) fn cosign_held(&self, ticket: Ticket, head: Cosign) {
        self.push(Work::CosignHeld(ticket, Box::new(head)));
    }

    pub(super) fn cosign(&self, cosigning: Cosigning) {
        self.push(Work::Cosign(cosigning));
    }

    fn push(&self, work: Work) {
        // The thread has gone only after a failure, of which the driver has been told.
        let _failed = self.work.send(work);
    }

    /// Reads beside the storage thread; bounded by the machine's loads per peer.
    pub(super) fn load(&self, ticket: Ticket, load: Load) {
        let (replica, events) = (Arc::clone(&self.replica), self.events.clone());
        tokio::task::spawn_blocking(move || {
            let loaded = replica.load(&load).unwrap_or_else(|error| {
                tracing::error!(%error, "cannot read what a partner asked for");
                Loaded::Unavailable
            });
            // The driver is gone only when the node stops.
            let _stopping = events.send(StorageEvent::Loaded(ticket, loaded));
        });
    }

    /// Whether everybody's writes have succeeded: projections write beside the storage thread.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.replica.check()
    }

    /// Waits until everything handed over is stored, and closes the store.
    pub(super) fn stop(&mut self) {
        self.push(Work::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the storage thread panicked");
        }
    }
}

fn run(mut store: Store, queue: &Receiver<Work>, events: &UnboundedSender<StorageEvent>) {
    let mut waiting = None;
    loop {
        let Some(first) = waiting.take().or_else(|| queue.recv().ok()) else { return };
        let (tickets, result) = match first {
            Work::Append(ticket, append) => {
                let (tickets, appends) = gather(ticket, *append, queue, &mut waiting);
                let result = store.commit(&appends);
                (tickets.clone(), result.map(|()| Some(StorageEvent::Appended(tickets))))
            }
            Work::Revert(ticket, revert) => {
                let reverted = |tree| Some(StorageEvent::Reverted(ticket, tree));
                (vec![ticket], store.revert(&revert).map(reverted))
            }
            Work::Fill(ticket, fill) => {
                let filled = |()| Some(StorageEvent::Filled(ticket));
                (vec![ticket], store.fill(&fill).map(filled))
            }
            Work::Delete(deletion) => (Vec::new(), delete(&mut store, *deletion).map(Some)),
            Work::Identity(identity) => {
                (Vec::new(), store.replica().put_identity(&identity).map(|()| None))
            }
            Work::Evidence(evidence) => {
                (Vec::new(), store.replica().put_evidence(&evidence).map(|_new| None))
            }
            Work::Cursor(authority, cursor) => {
                (Vec::new(), store.replica().put_cursor(&authority, &cursor).map(|()| None))
            }
            Work::Cosign(cosigning) => (Vec::new(), cosign(&mut store, cosigning).map(|()| None)),
            Work::CosignHeld(ticket, head) => {
                let cosigned = |decision| Some(StorageEvent::Cosigned(ticket, decision));
                (Vec::new(), cosign_held(&mut store, *head).map(cosigned))
            }
            Work::Stop => {
                if let Err(error) = store.replica().flush() {
                    tracing::error!(%error, "cannot flush at the end");
                }
                return;
            }
        };
        let event = match result {
            Ok(None) => continue,
            Ok(Some(event)) => event,
            Err(error) => StorageEvent::Failed(tickets, error),
        };
        let failed = matches!(event, StorageEvent::Failed(..));
        if events.send(event).is_err() || failed {
            return;
        }
    }
}

/// Carries out an erasure, and tells it when it is durable.
fn delete(store: &mut Store, deletion: Deletion) -> Result<StorageEvent, StoreError> {
    let Deletion { standing, left, reply } = deletion;
    store.delete(standing, &left, unix_time())?;
    // Whoever asked may have gone; what is deleted stays so.
    let _gone = reply.send(());
    let lacks =
        left.iter().filter_map(|(log, index, entry)| Some((*log, *index, Lack::of(entry)?)));
    Ok(StorageEvent::Deleted(lacks.collect()))
}

/// Decides, makes the decision durable, and only then tells it.
fn cosign(store: &mut Store, cosigning: Cosigning) -> Result<(), StoreError> {
    let Cosigning { log, decide, reply } = cosigning;
    let cosigned = last_cosigned(store, &log);
    let decided = write_down(store, &log, decide(cosigned))?;
    // Whoever asked may have gone; what is written down is a promise, not a signature.
    let _gone = reply.send(decided);
    Ok(())
}

/// The same for a head of our own copy of the log.
fn cosign_held(store: &mut Store, cosign: Cosign) -> Result<Option<Decision>, StoreError> {
    let Cosign { log, head, promised } = cosign;
    let cosigned = last_cosigned(store, &log);
    let decided = {
        let copy = store.replica().nodes(&log)?;
        decide_held(cosigned, promised, head, &*copy)
    };
    let decided = write_down(store, &log, decided)?;
    if let Err(refusal) = &decided {
        tracing::warn!(%log, %refusal, "not cosigned");
    }
    Ok(decided.ok())
}

fn last_cosigned(store: &Store, log: &LogId) -> Option<Seen> {
    store.cosigned(log).map(|(size, root)| Seen { size, root })
}

/// Makes a decision durable, if it is to sign.
fn write_down(
    store: &mut Store,
    log: &LogId,
    decided: Result<Decision, Refusal>,
) -> Result<Result<Decision, Refusal>, StoreError> {
    let Ok(head) = decided.as_ref().map(Decision::head) else { return Ok(decided) };
    match store.put_cosigned(log, head.size, head.root) {
        Ok(()) => Ok(decided),
        // The journal looks once more at what must never happen.
        Err(StoreError::Refused { .. }) => {
            let recorded = last_cosigned(store, log).map_or(0, |seen| seen.size);
            Ok(Err(Refusal::Contradicts(recorded)))
        }
        Err(error) => Err(error),
    }
}

/// Takes the appends that wait behind the first, up to a bound; other work stays in its place.
fn gather(
    ticket: Ticket,
    append: Append,
    queue: &Receiver<Work>,
    waiting: &mut Option<Work>,
) -> (Vec<Ticket>, Vec<Append>) {
    let mut entries = append.entries.len();
    let (mut tickets, mut appends) = (vec![ticket], vec![append]);
    while entries < COMMIT_ENTRIES {
        match queue.try_recv() {
            Ok(Work::Append(ticket, append)) => {
                entries += append.entries.len();
                tickets.push(ticket);
                appends.push(*append);
            }
            Ok(other) => {
                *waiting = Some(other);
                break;
            }
            Err(_) => break,
        }
    }
    (tickets, appends)
}
