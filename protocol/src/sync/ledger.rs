//! What the node knows: identities, logs and the order in which they changed.
//!
//! Two frontiers per log: `staged` covers what was handed to storage, `stored`
//! what storage has confirmed. Peers are served and told from `stored` only;
//! work continues on `staged`.
//!
//! **Invariants:** every head was verified under the log key of an accepted
//! identity; `head.size <= stored.size <= staged.size`; each head, the lines that it
//! got since, and each identity have one place in the order of changes, which only
//! moves forward; a cursor that was handed out never covers a change that somebody could miss,
//! whatever of our memory a crash takes.

mod author;
mod erased;
mod group;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::directory::{Directory, Known};
use super::docket::Docket;
use super::effect::{Append, Quota, Revert, Stored, StoredLog};
use super::verified::{Judged, Verified};
use super::wire::{News, Offer};
use super::witnessing::mark;
use super::{Notice, Outbox, Output, Refusal, Ticket};
use crate::checkpoint::{Checkpoint, CheckpointError, VerifiedCheckpoint};
use crate::entry::Entry;
use crate::equivocation::UnverifiedEvidence;
use crate::id::{AuthorityId, Hash, LogId, NetworkName, NodeId, Space};
use crate::identity::{KeyStanding, UnverifiedChain};
use crate::limits;
use crate::log::Frontier;
use crate::note::SignatureLine;
use crate::time::{Timestamp, UnixTime};
use crate::witness::Seen;
use erased::Erased;
pub(super) use erased::check;
use group::Groups;

/// Counters left out at every start. A crash forgets identities that peers have
/// heard of and storage had not kept; their counters must not come again, or a
/// peer whose cursor covers them would never hear of what bears them then.
const COUNTERS_LEFT_OUT: u64 = 1 << 20;
const _: () = assert!(COUNTERS_LEFT_OUT > limits::AUTHORITIES as u64);

/// One log.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    pub(super) staged: Frontier,
    pub(super) stored: Frontier,
    pub(super) head: Option<VerifiedCheckpoint>,
    /// Size and root of the newest head that was handed to storage.
    staged_head: Option<(u64, Hash)>,
    /// Some of the smaller heads that are known to be of the same history.
    had: VecDeque<Seen>,
    /// The author signed two histories.
    pub(super) disputed: bool,
    /// Of a group log: how many changes were handed to storage.
    counted: u64,
    /// The place of its head in the order of changes, and that of the lines that came
    /// later. Whoever has read as far as the first knows the head.
    headed: u64,
    lined: Option<u64>,
    /// Bytes of the entries that were handed to storage, and of those it has confirmed.
    bytes: (u64, u64),
}

impl Slot {
    pub(super) fn head_size(&self) -> u64 {
        self.head.as_ref().map_or(0, |head| head.checkpoint().size())
    }

    /// The place of its newest change.
    fn changed(&self) -> u64 {
        self.lined.unwrap_or_default().max(self.headed)
    }

    /// Its head has another place; gives those that are free now.
    const fn moved(&mut self, to: u64) -> [Option<u64>; 2] {
        [Some(core::mem::replace(&mut self.headed, to)), self.lined.take()]
    }

    /// Whether this head is known to be of the history that is held.
    pub(super) fn had(&self, head: Seen) -> bool {
        self.had.contains(&head)
    }

    fn remember(&mut self, head: Seen) {
        if !self.had(head) {
            self.had.truncate(limits::HEADS_HAD - 1);
            self.had.push_front(head);
        }
    }

    /// Size of the newest head that was handed to storage.
    pub(super) fn staged_head_size(&self) -> u64 {
        self.staged_head.map_or(0, |(size, _)| size)
    }
}

fn size_and_root(head: &VerifiedCheckpoint) -> (u64, Hash) {
    (head.checkpoint().size(), head.checkpoint().root())
}

/// An append that storage has not confirmed.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) log: LogId,
    frontier: Frontier,
    pub(super) head: Option<VerifiedCheckpoint>,
    changed: u64,
    teller: Option<Teller>,
    /// Bytes of the log with its entries.
    bytes: u64,
}

/// Who told us of something: while that session lasts it need not hear it from us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Teller {
    pub(super) peer: NodeId,
    pub(super) at: Timestamp,
}

/// Who is to be told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub(super) peer: NodeId,
    pub(super) authority: Option<AuthorityId>,
    /// When its session began. What it told before it may have lost since.
    pub(super) since: Timestamp,
}

impl Asker {
    fn told_us(&self, teller: Option<Teller>) -> bool {
        teller.is_some_and(|teller| teller.peer == self.peer && teller.at > self.since)
    }
}

/// What of the asker's own logs it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Own {
    /// Their heads, with the lines of witnesses: in the answer to a greeting.
    All,
    /// Their heads: in the answer to a question.
    Bare,
    /// The same as in a greeting if any has changed, and nothing else: unasked.
    IfMoved,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Log(LogId),
    /// Lines of witnesses on the head of a log, and nothing else.
    Lines(LogId),
    Identity(AuthorityId),
    Evidence(AuthorityId),
}

#[derive(Debug)]
pub(super) struct Ledger {
    network: NetworkName,
    incarnation: [u8; 16],
    logs: BTreeMap<LogId, Slot>,
    directory: Directory,
    changes: BTreeMap<u64, (Change, Option<Teller>)>,
    next_change: u64,
    appends: BTreeMap<Ticket, Staged>,
    /// Durable entries, over all logs.
    entries: u64,
    /// Logs that storage is setting aside parts of, and the counters of these changes.
    reverting: BTreeMap<LogId, u64>,
    /// Closed logs to which something has happened.
    unsettled: BTreeSet<LogId>,
    /// How much of a log is fetched, unless it is of this authority.
    quota: Option<(AuthorityId, Quota)>,
    /// Who signed two histories.
    docket: Docket,
    /// What authors have erased, and what our bodies lack.
    pub(super) erased: Erased,
    /// Private groups.
    pub(super) groups: Groups,
    /// About what time it is, by our own clock.
    pub(super) wall: UnixTime,
    /// Authorities whose chains have changed of late.
    stirred: BTreeSet<AuthorityId>,
    /// How often that of any has.
    stirs: u64,
    cosignatures_checked: u64,
    /// Spares checks; says nothing about what we hold.
    pub(super) verified: Verified,
}

/// A head that somebody told us of, verified.
#[derive(Clone, Debug)]
pub(super) struct HeardHead {
    pub(super) log: LogId,
    pub(super) head: VerifiedCheckpoint,
    /// Lines on it that may be of witnesses that are not known here yet.
    pub(super) lines: Vec<SignatureLine>,
}

/// Why a signed head was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadError {
    /// Its author is not known here (yet): nobody's fault.
    Unknown,
    /// It says no more than the head we have, so nothing was verified.
    Known,
    /// Its key has been replaced, and it is not the head that was pinned then.
    /// Or its author is in dispute. Nobody's fault.
    Retired,
    /// It breaks a rule; whoever made or sent it is wrong.
    Refused(Refusal),
}

/// Where reading of our news stopped, as handed to peers: incarnation and change counter.
pub(super) fn write_cursor(incarnation: &[u8; 16], counter: u64) -> Vec<u8> {
    [incarnation.as_slice(), &counter.to_be_bytes()].concat()
}

impl Ledger {
    /// Takes over what storage has, verifying chains and heads once more.
    ///
    /// What does not verify is left out and named in the second result; it can
    /// be fetched again.
    pub(super) fn open(
        network: NetworkName,
        stored: &Stored,
        wall: UnixTime,
    ) -> (Self, Vec<LogId>) {
        let mut ledger = Self {
            network,
            incarnation: stored.incarnation,
            logs: BTreeMap::new(),
            directory: Directory::default(),
            changes: BTreeMap::new(),
            next_change: 1,
            appends: BTreeMap::new(),
            entries: 0,
            reverting: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            quota: None,
            docket: Docket::default(),
            erased: Erased::open(&stored.erasures, &stored.lacks, wall),
            groups: Groups::default(),
            wall,
            stirred: BTreeSet::new(),
            stirs: 0,
            cosignatures_checked: 0,
            verified: Verified::default(),
        };
        for known in &stored.identities {
            let chain = UnverifiedChain::new(known.events.clone());
            if let Ok(identity) = ledger.verified.chain(chain, &ledger.network) {
                ledger.keep_identity(identity, None, known.changed, None);
            }
        }
        ledger.groups = Groups::open(&ledger.network, &stored.controls);
        let damaged = stored.logs.iter().filter(|log| !ledger.open_log(log));
        let damaged = damaged.map(|log| log.log).collect::<Vec<_>>();
        ledger.unsettle_closed();
        for piece in &stored.evidence {
            let evidence = UnverifiedEvidence::parse(&piece.bytes);
            if let Ok(evidence) = evidence.and_then(|evidence| evidence.verify(&ledger.network)) {
                ledger.keep_evidence(evidence, piece.changed, None);
            }
        }
        // Also of what does not verify: its counters were told to peers.
        let public = stored.logs.iter().filter(|log| log.log.space == Space::Public);
        let counters = public.map(|log| log.changed);
        let counters = counters.chain(stored.identities.iter().map(|identity| identity.changed));
        let counters = counters.chain(stored.evidence.iter().map(|evidence| evidence.changed));
        let newest = counters.max().unwrap_or(0);
        ledger.stirred.clear();
        ledger.next_change = newest.saturating_add(1 + COUNTERS_LEFT_OUT);
        (ledger, damaged)
    }

    /// From now on it is `wall`, by our own clock.
    pub(super) fn pass(&mut self, wall: UnixTime) {
        self.wall = wall;
        self.erased.pass(wall);
    }

    fn open_log(&mut self, stored: &StoredLog) -> bool {
        let head = match &stored.head {
            None => None,
            Some(note) => match self.verify_held(&stored.log, note) {
                Some(head) => Some(head),
                None => return false,
            },
        };
        let covered = head.as_ref().map_or(0, |head| head.checkpoint().size());
        let agrees = |head: &Checkpoint| {
            head.size() != stored.frontier.size() || head.root() == stored.frontier.root()
        };
        if covered > stored.frontier.size()
            || !head.as_ref().is_none_or(|head| agrees(head.checkpoint()))
        {
            return false;
        }
        let slot = Slot {
            staged: stored.frontier.clone(),
            stored: stored.frontier.clone(),
            staged_head: head.as_ref().map(size_and_root),
            head,
            had: VecDeque::new(),
            disputed: false,
            counted: stored.changed,
            headed: stored.changed,
            lined: None,
            bytes: (stored.bytes, stored.bytes),
        };
        self.entries = self.entries.saturating_add(slot.stored.size());
        self.logs.insert(stored.log, slot);
        let change = (stored.changed, Change::Log(stored.log));
        self.note_change(stored.log, [None; 2], change, None);
        true
    }

    /// A log has changed: its place in the order of changes is a new one.
    fn note_change(
        &mut self,
        log: LogId,
        old: [Option<u64>; 2],
        (new, change): (u64, Change),
        teller: Option<Teller>,
    ) {
        if log.space != Space::Public {
            return self.groups.moved(log);
        }
        old.into_iter().flatten().for_each(|old| _ = self.changes.remove(&old));
        self.changes.insert(new, (change, teller));
    }

    /// The counter of the next change of a log. Those of group logs count for
    /// themselves, and are not seen by anybody.
    fn count_change(&mut self, log: &LogId) -> u64 {
        if log.space == Space::Public {
            return self.take_change();
        }
        let slot = self.logs.entry(*log).or_default();
        slot.counted += 1;
        slot.counted
    }

    /// How many lines of witnesses were checked together with the heads they came on.
    pub(super) const fn cosignatures_checked(&self) -> u64 {
        self.cosignatures_checked
    }

    pub(super) const fn network(&self) -> &NetworkName {
        &self.network
    }

    pub(super) fn logs(&self) -> impl Iterator<Item = (&LogId, &Slot)> {
        self.logs.iter()
    }

    pub(super) fn log(&self, log: &LogId) -> Option<&Slot> {
        self.logs.get(log)
    }

    /// Limits how much of other authorities' logs is fetched.
    pub(super) const fn limit(&mut self, own: AuthorityId, quota: Quota) {
        self.quota = Some((own, quota));
    }

    /// Whether a log is not to be fetched up to `size`: of that head no more is kept.
    pub(super) fn is_over_quota(&self, log: &LogId, size: u64) -> bool {
        let Some((_, quota)) = self.quota.filter(|(own, _)| *own != log.authority) else {
            return false;
        };
        let bytes = self.logs.get(log).map_or(0, |slot| slot.bytes.0);
        let entries = self.group_quota(log).unwrap_or(quota.entries);
        size > entries.min(quota.entries) || bytes >= quota.bytes
    }

    /// Durable entries, over all logs.
    pub(super) const fn entries(&self) -> u64 {
        self.entries
    }

    pub(super) fn staged(&self, log: &LogId) -> Frontier {
        self.logs.get(log).map(|slot| slot.staged.clone()).unwrap_or_default()
    }

    pub(super) fn staged_size(&self, log: &LogId) -> u64 {
        self.logs.get(log).map_or(0, |slot| slot.staged.size())
    }

    /// Whether storage has not confirmed everything that was added to a log.
    pub(super) fn is_appending(&self, log: &LogId) -> bool {
        self.appends.values().any(|staged| staged.log == *log)
    }

    /// Storage is told to set aside part of a log: nothing is added to it
    /// meanwhile. Gives the counter of this change.
    pub(super) fn revert(&mut self, log: LogId) -> u64 {
        let changed = self.count_change(&log);
        self.reverting.insert(log, changed);
        changed
    }

    /// Whether storage is setting aside part of a log.
    pub(super) fn is_reverting(&self, log: &LogId) -> bool {
        self.reverting.contains_key(log)
    }

    /// Storage could not.
    pub(super) fn revert_failed(&mut self, log: &LogId) {
        self.reverting.remove(log);
    }

    /// Storage has set aside what was disowned of a log; `tree` is what is left.
    pub(super) fn reverted(&mut self, revert: Revert, tree: Frontier) {
        self.reverting.remove(&revert.log);
        let slot = self.logs.entry(revert.log).or_default();
        self.entries = self.entries.saturating_sub(slot.stored.size() - tree.size());
        let old = slot.moved(revert.changed);
        slot.staged_head = revert.head.as_ref().map(size_and_root);
        slot.head = revert.head;
        slot.had.clear();
        slot.disputed = false;
        self.erased.forget(&revert.log, revert.keep);
        self.groups.forget(&self.network, &revert.log, revert.keep);
        // Bytes are counted anew from here; they only bound what is fetched.
        slot.bytes = (0, 0);
        (slot.staged, slot.stored) = (tree.clone(), tree);
        let change = (revert.changed, Change::Log(revert.log));
        self.note_change(revert.log, old, change, None);
        // What stands may be missing now.
        self.unsettled.insert(revert.log);
    }

    /// Verifies a signed head under the log key of its author, and gives the lines
    /// on it that nobody known here accounts for, unverified. One under a retired key
    /// counts if it is the very head that was pinned then; an older one is what the
    /// newer ones will show to be the beginning of.
    pub(super) fn verify_head(&mut self, note: &[u8]) -> Result<HeardHead, HeadError> {
        let refused = |refusal| Err(HeadError::Refused(refusal));
        let Some(claim) = self.verified.claim(note) else {
            return refused(Refusal::MalformedHead);
        };
        let log = claim.log;
        if claim.network != self.network {
            return refused(Refusal::WrongNetwork);
        }
        if let Some(ours) = self.logs.get(&log).and_then(|slot| slot.head.as_ref()) {
            let (size, claimed) = (ours.checkpoint().size(), claim.size);
            let closing = self.closing(&log).is_some_and(|closing| closing.size() == claimed);
            // An older head may show what we have cosigned.
            let own = self.quota.map(|(own, _)| own);
            let witnessed = own.is_some_and(|own| self.is_witness(&own, &log.authority));
            // Or that its author signed two histories, as long as that is not settled.
            let seen = Seen { size: claimed, root: claim.root };
            let settled = self.logs.get(&log).is_some_and(|slot| slot.disputed || slot.had(seen))
                || self.closing(&log).is_some();
            if (claimed < size && !closing && !witnessed && settled)
                || (claimed == size && ours.as_bytes() == note)
            {
                return Err(HeadError::Known);
            }
        }
        let witnesses = self.witness_keys(&log.authority);
        let Self { directory, verified, .. } = self;
        let Some(known) = directory.get(&log.authority) else { return Err(HeadError::Unknown) };
        if claim.size > limits::LOG_ENTRIES {
            return refused(Refusal::TooLarge);
        }
        let judged = match verified.head(claim, &known.identity, &witnesses) {
            Ok(judged) => judged,
            // Under a key that its author's next events may name.
            Err(CheckpointError::NotSigned) => return Err(HeadError::Unknown),
            Err(_) => return refused(Refusal::BadSignature),
        };
        let Judged { checkpoint: head, standing, lines, fresh } = judged;
        self.cosignatures_checked += if fresh { head.cosignatures().count() as u64 } else { 0 };
        let counts = match standing {
            KeyStanding::Current => known.conflict.is_none(),
            KeyStanding::Retired(pin) => pin.is(head.checkpoint()),
        };
        if counts { Ok(HeardHead { log, head, lines }) } else { Err(HeadError::Retired) }
    }

    /// Compares a verified head with ours. `true` if it is the other half of a
    /// fork: equal size, different root. The log is disputed from then on.
    pub(super) fn contradicts(
        &mut self,
        log: &LogId,
        head: &VerifiedCheckpoint,
        out: &mut Outbox,
    ) -> bool {
        if self.closing(log).is_some() {
            // What its author stands by is settled.
            return false;
        }
        let Some(slot) = self.logs.get_mut(log) else { return false };
        let stored = slot.head.as_ref().map(size_and_root);
        let ours = [stored, slot.staged_head].into_iter().flatten();
        let (size, root) = size_and_root(head);
        let fork = ours.into_iter().any(|ours| ours.0 == size && ours.1 != root);
        slot.disputed |= fork;
        if fork && let Some(ours) = slot.head.clone() {
            self.accuse(log, [&ours, head], &[], out);
        }
        fork
    }

    /// A head is of the history that is held of its log.
    pub(super) fn is_of_ours(&mut self, log: &LogId, head: Seen) {
        if let Some(slot) = self.logs.get_mut(log) {
            slot.remember(head);
        }
    }

    /// The author of the log signed two histories: nothing is added to it any more.
    pub(super) fn dispute(&mut self, log: LogId) {
        self.logs.entry(log).or_default().disputed = true;
    }

    /// What a checkpoint of `tree` by the author of the log says.
    pub(super) fn checkpoint(&self, log: &LogId, tree: &Frontier) -> Option<Checkpoint> {
        Checkpoint::new(self.origin(log)?, tree.size(), tree.root()).ok()
    }

    /// Hands verified entries to storage. `entries` must follow the staged ones;
    /// `tree` is the log with them.
    pub(super) fn append(
        &mut self,
        log: LogId,
        entries: Vec<Entry>,
        tree: Frontier,
        head: Option<VerifiedCheckpoint>,
        teller: Option<Teller>,
        out: &mut Outbox,
    ) -> Ticket {
        let changed = self.count_change(&log);
        let start = self.staged_size(&log);
        let entries = self.erased.without_erased(&log, start, entries);
        self.erased.note(&log, start, &entries);
        self.groups.note(&self.network, &log, start, &entries);
        let countersigned = self.countersigned(&log, start, &entries);
        let witnessed = head.as_ref().and_then(|head| self.witnessed(&log, head));
        let slot = self.logs.entry(log).or_default();
        debug_assert_eq!(start + entries.len() as u64, tree.size(), "entries and tree differ");
        slot.staged.clone_from(&tree);
        slot.bytes.0 += entries.iter().map(|entry| entry.size() as u64).sum::<u64>();
        slot.staged_head = head.as_ref().map(size_and_root).or(slot.staged_head);
        let ticket = out.ticket();
        // Entries go to storage once; only what is needed when it returns is kept here.
        let staged = Staged {
            log,
            frontier: tree.clone(),
            head: head.clone(),
            changed,
            teller,
            bytes: slot.bytes.0,
        };
        self.appends.insert(ticket, staged);
        let frontier = tree;
        let append =
            Append { log, start, entries, frontier, head, changed, countersigned, witnessed };
        out.push(Output::Append(ticket, append));
        ticket
    }

    /// Storage confirmed an append: it can be served and told now. Confirmations
    /// may overtake each other; nothing goes back.
    pub(super) fn appended(&mut self, ticket: Ticket, out: &mut Outbox) -> Option<Staged> {
        let append = self.appends.remove(&ticket)?;
        let slot = self.logs.entry(append.log).or_default();
        let from = slot.stored.size();
        let before = slot.head.as_ref().map(VerifiedCheckpoint::checkpoint);
        let only_lines = append.frontier.size() == from
            && before.is_some()
            && before == append.head.as_ref().map(VerifiedCheckpoint::checkpoint);
        if append.frontier.size() >= from {
            slot.stored.clone_from(&append.frontier);
        }
        if let Some(head) = &append.head
            && head.checkpoint().size() >= slot.head_size()
            && let Some(before) = slot.head.replace(head.clone())
        {
            slot.remember(Seen::from(&before));
        }
        slot.bytes.1 = slot.bytes.1.max(append.bytes);
        let to = slot.stored.size();
        self.entries = self.entries.saturating_add(to - from);
        if append.changed > slot.changed() {
            let teller = append.teller.filter(|_| append.head.is_some());
            let (change, old) = if only_lines {
                (Change::Lines(append.log), [slot.lined.replace(append.changed), None])
            } else {
                (Change::Log(append.log), slot.moved(append.changed))
            };
            self.note_change(append.log, old, (append.changed, change), teller);
        }
        out.push(Output::Notify(Notice::LogAdvanced { log: append.log, from, to }));
        self.unsettled.insert(append.log);
        Some(append)
    }

    /// Storage failed: forget what was staged behind the stored part of the log.
    pub(super) fn store_failed(&mut self, ticket: Ticket) -> Option<LogId> {
        let log = self.appends.remove(&ticket)?.log;
        self.appends.retain(|_, append| append.log != log);
        if let Some(slot) = self.logs.get_mut(&log) {
            slot.staged = slot.stored.clone();
            let size = slot.stored.size();
            self.erased.forget(&log, size);
            self.groups.forget(&self.network, &log, size);
            slot.bytes.0 = slot.bytes.1;
            slot.staged_head = slot.head.as_ref().map(size_and_root);
        }
        self.unsettled.insert(log);
        Some(log)
    }

    /// Change counter up to which `cursor` has read; zero if it is of another
    /// incarnation or from a future that this store has not seen.
    pub(super) fn read_cursor(&self, cursor: Option<&[u8]>) -> u64 {
        cursor
            .and_then(|cursor| cursor.split_first_chunk::<16>())
            .filter(|(incarnation, _)| **incarnation == self.incarnation)
            .and_then(|(_, counter)| counter.try_into().ok())
            .map(u64::from_be_bytes)
            .filter(|counter| *counter < self.next_change)
            .unwrap_or(0)
    }

    /// Changes after `since`, oldest first, as many as fit into a frame:
    /// identity chains, heads, the cursor behind them, and whether there is more.
    /// Heads come without the lines of witnesses, but for the asker's own; how many
    /// there are is offered.
    pub(super) fn news(&self, since: u64, asker: Asker, own: Own) -> (News, Vec<Offer>) {
        const ROOM: usize = limits::FRAME_BYTES / 2;
        const MOST: usize = limits::FRAME_BYTES * 3 / 4;
        let (mut news, mut offers, mut own_moved) = (News::default(), Vec::new(), false);
        let mut authors = BTreeSet::new();
        let asker_key = asker.authority.and_then(|asker| self.witness_key_of(&asker));
        let (mut read, mut bytes, mut items) = (since, 0, 0);
        let first = since.saturating_add(1);
        for (counter, (change, teller)) in self.changes.range(first..self.horizon().max(first)) {
            if bytes > ROOM || items >= limits::NEWS_ITEMS {
                news.more = true;
                break;
            }
            let before = core::mem::replace(&mut read, *counter);
            if asker.told_us(*teller) {
                continue;
            }
            items += 1;
            match change {
                Change::Identity(authority) => {
                    let known = self.directory.get(authority);
                    for chain in known.into_iter().flat_map(Known::chains) {
                        bytes += chain.events().iter().map(Vec::len).sum::<usize>();
                        news.identities.push(chain.events().to_vec());
                    }
                }
                Change::Evidence(authority) => {
                    let Some(evidence) = self.docket.at(authority, *counter) else { continue };
                    let size = evidence.to_bytes().len();
                    if bytes > 0 && bytes + size > ROOM {
                        // It may fill a frame alone.
                        (read, news.more) = (before, true);
                        break;
                    }
                    bytes += size;
                    news.evidence.push(evidence.to_bytes().to_vec());
                }
                // Its head has an earlier place: it is known, or was told before.
                Change::Lines(log) => offers.extend(self.offer(log)),
                Change::Log(log) if Some(log.authority) == asker.authority => own_moved = true,
                Change::Log(log) => {
                    if let Some(head) = self.logs.get(log).and_then(|slot| slot.head.as_ref()) {
                        // It may have lost what it has cosigned, and must not do so again.
                        let note = head.uncosigned(asker_key.as_ref()).to_bytes();
                        offers.extend(self.offer(log));
                        bytes += note.len();
                        news.heads.push(note);
                        authors.insert(log.authority);
                    }
                }
            }
        }
        if news.more {
            let chains = self.chains_after(read, &authors, MOST.saturating_sub(bytes));
            let room = limits::NEWS_ITEMS.saturating_sub(news.identities.len());
            news.identities.extend(chains.into_iter().take(room));
        }
        news.cursor = write_cursor(&self.incarnation, read);
        let own = if own == Own::IfMoved && own_moved { Own::All } else { own };
        news.own = asker.authority.map(|asker| self.heads_of(&asker, own)).unwrap_or_default();
        (news, offers)
    }

    /// The chains of these authors that have changed since their heads came, so that
    /// their place is behind `read`, in a frame to come: whoever is told of the heads
    /// can make nothing of them without. As many as fit into so many bytes.
    fn chains_after(
        &self,
        read: u64,
        authors: &BTreeSet<AuthorityId>,
        mut room: usize,
    ) -> Vec<Vec<Vec<u8>>> {
        let known = authors.iter().filter_map(|author| self.directory.get(author));
        let later = known.filter(|known| known.changed > read);
        let chains = later.flat_map(Known::chains).map_while(|chain| {
            let bytes = chain.events().iter().map(Vec::len).sum();
            room = room.checked_sub(bytes)?;
            Some(chain.events().to_vec())
        });
        chains.collect()
    }

    fn offer(&self, log: &LogId) -> Option<Offer> {
        let head = self.logs.get(log)?.head.as_ref()?;
        let count = head.cosignatures().count() as u64;
        (count > 0).then(|| Offer::new(&log.authority, head.checkpoint().size(), count, mark(head)))
    }

    /// The open log that an offer is about, unless several may be meant.
    pub(super) fn offered(&self, offer: &Offer) -> Option<LogId> {
        let author = self.directory.only_one(&offer.author)?;
        Some(LogId::public(author.authority(), author.generation()))
    }

    /// Whether anything that can be told has changed after `since` but lines of witnesses.
    pub(super) fn is_urgent_since(&self, since: u64) -> bool {
        let first = since.saturating_add(1);
        let mut changes = self.changes.range(first..self.horizon().max(first));
        changes.any(|(_, (change, _))| !matches!(change, Change::Lines(_)))
    }

    /// The newest change that can be told.
    pub(super) fn newest_change(&self) -> u64 {
        let durable = self.changes.range(..self.horizon()).next_back();
        durable.map_or(0, |(counter, _)| *counter)
    }

    /// The change before which everything is durable. Counters are taken when
    /// work is handed to storage, so a later change can be ready before an
    /// earlier one; a cursor must never pass a change that is still to come.
    fn horizon(&self) -> u64 {
        let public = |log: &LogId| log.space == Space::Public;
        let appends = self.appends.values().find(|staged| public(&staged.log));
        let appends = appends.map(|staged| staged.changed);
        let reverting = self.reverting.iter().filter(|(log, _)| public(log));
        let pending = reverting.map(|(_, changed)| *changed).chain(appends).min();
        pending.unwrap_or(u64::MAX).min(self.next_change)
    }

    fn heads_of(&self, authority: &AuthorityId, own: Own) -> Vec<Vec<u8>> {
        if own == Own::IfMoved {
            return Vec::new();
        }
        let first = LogId::public(*authority, 0);
        let logs = self.logs.range(first..).take_while(|(log, _)| log.authority == *authority);
        let public = logs.filter(|(log, _)| log.space == Space::Public);
        let heads = public.filter_map(|(_, slot)| slot.head.as_ref());
        let note = |head: &VerifiedCheckpoint| match own {
            Own::Bare => head.uncosigned(None).to_bytes(),
            Own::All | Own::IfMoved => head.to_bytes(),
        };
        heads.map(note).take(limits::NEWS_ITEMS).collect()
    }

    const fn take_change(&mut self) -> u64 {
        let change = self.next_change;
        self.next_change += 1;
        change
    }
}
