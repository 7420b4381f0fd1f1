//! Cosignatures inside the network: we cosign the logs whose authors name us as
//! witness, and pass on what others have cosigned.
//!
//! ```text
//! head durable here ──► Output::Cosign ──► Input::Cosigned ──► to the author, if
//!  (named as witness,    (decided and       (a line)            connected; else
//!   once a second)        journalled first)                     with our own news
//!
//! lines that come ──► gathered for a while ──► stored with the head, offered
//!
//! lines offered ──► asked for, once, of one partner ──► stored at once, offered
//! ```
//!
//! A line travels to the author directly, who gathers them. Partners that have the
//! head are told how many lines there are, together with other news, and fetch them
//! once each (`fetch`, `offers`), since lines are larger than heads and everybody has
//! many partners. A head that is told bears no line but that of whoever is told, who
//! may have lost what it has signed.
//!
//! Lines that come before the identity of their witness, before the event that
//! names it, or before the head they stand on is durable here, wait apart
//! (`waiting`) and are verified when that has come. Of several lines by one
//! witness on one head the earliest stays, at everybody.
//!
//! **Invariants:** only heads that are durable here, under a current key and not
//! in dispute are offered for cosigning; only lines that were verified under the
//! witness key of somebody the author names are stored, shown and told; no line
//! that was stored is lost to one that comes at the same time. Deliberately
//! absent: what was cosigned before, which storage keeps and decides upon
//! ([`crate::witness`]), and witnesses outside of the network.

mod fetch;
mod offers;
mod waiting;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use self::offers::Offers;
pub(super) use self::offers::mark;
use self::waiting::Waiting;
use super::doubt::GRACE;
use super::effect::Cosign;
use super::ledger::{HeardHead, Ledger, Slot, Teller};
use super::wire::Message;
use super::{Context, Output, Refusal, Sessions, Ticket};
use crate::checkpoint::{CheckpointError, VerifiedCheckpoint, witness_of};
use crate::id::{AuthorityId, LogId, NodeId, Space};
use crate::identity::Identity;
use crate::limits;
use crate::note::{Merged, SignatureLine, VerifierKey};
use crate::time::Timestamp;
use crate::witness::{COSIGN_PAUSE, Seen};

/// How often a head that waits for partners to be heard is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long lines are gathered before they are told.
const GATHER: Duration = Duration::from_secs(2);

/// What is being done about cosignatures.
#[derive(Debug)]
pub(super) struct Witnessing {
    own: AuthorityId,
    /// Logs found at the start, until the first input tells the time.
    found: Vec<LogId>,
    /// Logs whose newest head is to be cosigned, and when.
    due: BTreeMap<LogId, Timestamp>,
    /// When those that wait for partners to be heard are looked at again.
    look: Timestamp,
    /// When each was cosigned last.
    last: BTreeMap<LogId, Timestamp>,
    /// The heads that storage was asked about.
    asked: BTreeMap<Ticket, (LogId, u64)>,
    /// Our newest line for each log, with the size of the head, so that one head is
    /// not signed twice, at two times, only since the author may not have it yet.
    made: BTreeMap<LogId, (u64, String)>,
    /// The largest heads that bear a line of ours. After a return to an older
    /// state, others know more of them than we do.
    promised: BTreeMap<LogId, Seen>,
    /// Heads with lines that are not stored yet.
    gathered: BTreeMap<LogId, Gathered>,
    /// Lines that cannot be verified yet.
    waiting: Waiting,
    /// How many lines of a head, by its size, have given way to earlier ones.
    replaced: BTreeMap<LogId, (u64, usize)>,
    /// Who has lines that we lack.
    offers: Offers,
    /// Lines that were checked here.
    checked: u64,
}

#[derive(Debug)]
struct Gathered {
    head: VerifiedCheckpoint,
    until: Timestamp,
    /// Who gave all of them, if one did.
    teller: Option<Teller>,
}

impl Witnessing {
    /// For the witness of authority `own`, who looks at every log it holds.
    pub(super) fn new(own: AuthorityId, ledger: &Ledger) -> Self {
        Self {
            own,
            found: ledger.logs().map(|(log, _)| *log).collect(),
            due: BTreeMap::new(),
            look: Timestamp::ZERO,
            last: BTreeMap::new(),
            asked: BTreeMap::new(),
            made: BTreeMap::new(),
            promised: BTreeMap::new(),
            gathered: BTreeMap::new(),
            waiting: Waiting::default(),
            replaced: BTreeMap::new(),
            offers: Offers::default(),
            checked: 0,
        }
    }

    /// How many lines were checked apart from the heads they are on.
    pub(super) const fn checked(&self) -> u64 {
        self.checked
    }

    /// A log has a newer durable head.
    pub(super) fn advanced(&mut self, cx: &Context<'_>, log: LogId) {
        if log.space != Space::Public {
            return;
        }
        self.promote(cx, log);
        self.offers.reopen(log);
        if self.made_for(cx, &log).is_none() {
            self.want(cx, log);
        }
    }

    /// Our line on the newest head of a log, if we have made it since we started.
    fn made_for(&self, cx: &Context<'_>, log: &LogId) -> Option<(u64, String)> {
        let newest = cx.ledger.log(log).map_or(0, Slot::head_size);
        self.made.get(log).filter(|(size, _)| *size == newest).cloned()
    }

    /// The newest head of a log is to be cosigned, if its author names us.
    fn want(&mut self, cx: &Context<'_>, log: LogId) {
        if cx.ledger.is_witness(&self.own, &log.authority) {
            let earliest = self.last.get(&log).map_or(cx.now, |last| last.after(COSIGN_PAUSE));
            self.due.entry(log).or_insert(earliest.max(cx.now));
        }
    }

    /// We have met an author: what we cosigned may not have reached it.
    pub(super) fn met(&mut self, cx: &Context<'_>, author: AuthorityId) {
        if let Some(generation) = cx.ledger.identity(&author).map(Identity::generation) {
            self.want(cx, LogId::public(author, generation));
        }
    }

    /// Authorities have other chains than before: lines of theirs may be verified
    /// now, or on heads of theirs, and they may name us.
    fn stirred(&mut self, cx: &Context<'_>, changed: &BTreeSet<AuthorityId>) {
        for log in self.waiting.concerning(changed) {
            self.promote(cx, log);
        }
        if changed.contains(&self.own) {
            // We may have another key.
            self.made.clear();
        }
        self.refetch(cx, changed);
        changed.iter().for_each(|author| self.met(cx, *author));
    }

    /// Lines that waited are verified, as far as that is possible now.
    fn promote(&mut self, cx: &Context<'_>, log: LogId) {
        let Some(ours) = cx.ledger.log(&log).and_then(|slot| slot.head.clone()) else { return };
        let keys = cx.ledger.witness_keys(&log.authority);
        let ready = self.waiting.ready(&log, Seen::from(&ours), &keys);
        if ready.is_empty() {
            return;
        }
        let before = self.gathering(&log, ours);
        let mut head = before.clone();
        self.checked += ready.len() as u64;
        for (line, key) in ready {
            // Nobody is to blame for one that does not fit: it was not verified by anybody.
            let _bad = head.add(line, &key);
        }
        if head != before {
            self.gather(cx, log, head);
        }
    }

    /// Offers heads whose time has come, unless what we hold may be old, and
    /// stores what was gathered.
    pub(super) fn pass(&mut self, cx: &mut Context<'_>, sessions: &Sessions, is_old: bool) {
        for log in core::mem::take(&mut self.found) {
            self.want(cx, log);
        }
        let changed = cx.ledger.take_stirred();
        if !changed.is_empty() {
            self.stirred(cx, &changed);
        }
        if !is_old {
            self.offer(cx, sessions);
        }
        let now = cx.now;
        let full: Vec<LogId> =
            self.gathered.iter().filter(|(_, g)| g.until <= now).map(|(log, _)| *log).collect();
        for log in full {
            let Some(mut gathered) = self.gathered.remove(&log) else { continue };
            if cx.ledger.is_appending(&log) {
                // What is on its way may have lines that these lack.
                gathered.until = now.after(LOOK);
                self.gathered.insert(log, gathered);
            } else {
                store(cx, log, gathered.head, gathered.teller);
                self.offers.reopen(log);
            }
        }
        self.fetch(cx, sessions);
    }

    fn offer(&mut self, cx: &mut Context<'_>, sessions: &Sessions) {
        let now = cx.now;
        let due = self.due.iter().filter(|(_, at)| **at <= now);
        let due: Vec<(LogId, Timestamp)> = due.map(|(log, at)| (*log, *at)).collect();
        if due.is_empty() {
            return;
        }
        // Somebody who has just come may know what we have cosigned.
        let all_heard = sessions.peers().all(|peer| peer.heard);
        for (log, at) in due {
            if !all_heard && now.since(at) < GRACE {
                self.look = now.after(LOOK);
                continue;
            }
            self.due.remove(&log);
            let Some(head) = self.uncosigned(cx.ledger, &log) else { continue };
            let size = head.checkpoint().size();
            if let Some((size, line)) = self.made_for(cx, &log) {
                self.deliver(cx, sessions, (log, size), &line);
            } else if self.asked.values().all(|asked| *asked != (log, size)) {
                let ticket = cx.out.ticket();
                self.asked.insert(ticket, (log, size));
                self.last.insert(log, now);
                let promised = self.promised.get(&log).copied();
                cx.out.push(Output::Cosign(ticket, Cosign { log, head, promised }));
            }
        }
    }

    /// The head of a log that we are to cosign and have not.
    fn uncosigned(&self, ledger: &Ledger, log: &LogId) -> Option<VerifiedCheckpoint> {
        let slot = ledger.log(log).filter(|slot| !slot.disputed)?;
        let head = slot.head.as_ref()?;
        let key = ledger.witness_key_of(&self.own)?;
        let open = ledger.is_current(head, log);
        let named = ledger.is_witness(&self.own, &log.authority);
        let done = head.cosignatures().any(|signer| signer.key == key);
        (named && open && !done).then(|| head.clone())
    }

    /// Storage has decided, and we have signed; `None` if it must not be.
    pub(super) fn cosigned(
        &mut self,
        cx: &mut Context<'_>,
        sessions: &Sessions,
        ticket: Ticket,
        line: Option<&str>,
    ) {
        let Some((log, size)) = self.asked.remove(&ticket) else { return };
        let Some(line) = line else { return };
        self.made.insert(log, (size, line.to_owned()));
        self.deliver(cx, sessions, (log, size), line);
    }

    /// A line of ours goes to the author, if it is connected; else with our own news.
    fn deliver(
        &mut self,
        cx: &mut Context<'_>,
        sessions: &Sessions,
        (log, size): (LogId, u64),
        line: &str,
    ) {
        let author = sessions
            .peers()
            .find(|peer| peer.greeted && cx.ledger.authority_of(&peer.node) == Some(log.authority));
        match author {
            Some(author) => {
                cx.out.send(author.node, &Message::Cosigned { log, size, line: line.to_owned() });
            }
            None => _ = self.take(cx, log, size, line),
        }
    }

    /// A witness says that it has cosigned a head of ours.
    pub(super) fn heard(
        &mut self,
        cx: &mut Context<'_>,
        peer: NodeId,
        (log, size): (LogId, u64),
        line: &str,
    ) {
        if log.authority == self.own && self.take(cx, log, size, line).is_err() {
            cx.out.refuse_peer(peer, Refusal::BadSignature);
        }
    }

    /// Adds a line to the head of this size, if it is the newest and the line is
    /// that of a witness; an error if it says so and is not.
    fn take(
        &mut self,
        cx: &Context<'_>,
        log: LogId,
        size: u64,
        line: &str,
    ) -> Result<(), CheckpointError> {
        let Ok(line) = line.parse::<SignatureLine>() else { return Ok(()) };
        let newest = cx.ledger.log(&log).and_then(|slot| slot.head.clone());
        let Some(newest) = newest.filter(|newest| newest.checkpoint().size() == size) else {
            return Ok(());
        };
        let keys = cx.ledger.witness_keys(&log.authority);
        let by = |key: &&VerifierKey| key.name() == line.name() && key.key_id() == line.key_id();
        let Some(key) = keys.iter().find(by) else {
            self.keep(cx, log, Seen::from(&newest), vec![line]);
            return Ok(());
        };
        let before = self.gathering(&log, newest);
        let known = before.cosignatures().any(|signer| signer.key == *key);
        if known && !self.may_replace(&log, size) {
            return Ok(());
        }
        let mut head = before.clone();
        self.checked += 1;
        head.add(line, key)?;
        if head != before {
            self.count_replaced(log, size, usize::from(known));
            self.gather(cx, log, head);
        }
        Ok(())
    }

    /// A verified head that somebody told of: perhaps one we have, with lines that
    /// ours lacks, perhaps one that we have cosigned and know nothing of.
    pub(super) fn collect(&mut self, cx: &Context<'_>, heard: &HeardHead) {
        let HeardHead { log, head: copy, lines } = heard;
        let seen = Seen::from(copy);
        let key = cx.ledger.witness_key_of(&self.own);
        if copy.cosignatures().any(|signer| Some(&signer.key) == key.as_ref()) {
            self.promise(*log, seen);
        }
        let slot = cx.ledger.log(log);
        match slot.and_then(|slot| slot.head.clone()) {
            Some(ours) if ours.checkpoint() == copy.checkpoint() => {
                self.keep(cx, *log, seen, lines.clone());
                let mut head = self.gathering(log, ours);
                let merged = head.merge(copy, self.may_replace(log, seen.size));
                if merged != Merged::default() {
                    self.count_replaced(*log, seen.size, merged.replaced);
                    self.gather(cx, *log, head);
                }
            }
            ours if ours.as_ref().is_none_or(|ours| ours.checkpoint().size() < seen.size) => {
                // It is not here yet; then a copy with other lines may be what comes.
                let cosigned = copy.note().lines().iter();
                let lines = cosigned.chain(lines).cloned().collect();
                self.keep(cx, *log, seen, lines);
            }
            _ => {}
        }
    }

    /// A head bears a line of ours.
    fn promise(&mut self, log: LogId, seen: Seen) {
        let known = self.promised.entry(log).or_insert(seen);
        if known.size < seen.size {
            *known = seen;
        }
    }

    /// Lets lines wait for what is needed to verify them.
    fn keep(&mut self, cx: &Context<'_>, log: LogId, head: Seen, lines: Vec<SignatureLine>) {
        let named = cx.ledger.identity(&log.authority).map_or(&[][..], Identity::witnesses);
        let lines = lines.into_iter().filter_map(|line| {
            let witness = witness_of(cx.ledger.network(), line.name())?;
            Some((witness, line))
        });
        self.waiting.keep(log, head, named, lines);
    }

    /// Whether an earlier line by a witness may still take the place of its later one.
    fn may_replace(&self, log: &LogId, size: u64) -> bool {
        let replaced = self.replaced.get(log).filter(|(of, _)| *of == size);
        replaced.is_none_or(|(_, count)| *count < limits::REPLACED_LINES)
    }

    fn count_replaced(&mut self, log: LogId, size: u64, count: usize) {
        if count > 0 {
            let known = self.replaced.entry(log).or_default();
            let before = if known.0 == size { known.1 } else { 0 };
            *known = (size, before + count);
        }
    }

    /// The newest head with what was gathered for it.
    fn gathering(&self, log: &LogId, newest: VerifiedCheckpoint) -> VerifiedCheckpoint {
        let gathered = self.gathered.get(log).map(|gathered| &gathered.head);
        let same = gathered.filter(|head| head.checkpoint() == newest.checkpoint());
        same.cloned().unwrap_or(newest)
    }

    fn gather(&mut self, cx: &Context<'_>, log: LogId, head: VerifiedCheckpoint) {
        let author = cx.ledger.identity(&log.authority);
        let (named, quorum) =
            author.map_or((0, 0), |author| (author.witnesses().len(), author.quorum() as usize));
        let lines = head.cosignatures().count();
        // The author tells at once that it is confirmed, and by all.
        let enough = log.authority == self.own && lines > 0 && (lines == quorum || lines == named);
        let known = self.gathered.get(&log).map(|gathered| gathered.until);
        let until = if enough { cx.now } else { known.unwrap_or_else(|| cx.now.after(GATHER)) };
        self.gathered.insert(log, Gathered { head, until, teller: None });
    }

    /// `is_old`: what we hold may be old, so that nothing is cosigned until that is known.
    pub(super) fn deadline(&self, is_old: bool) -> Option<Timestamp> {
        let due = self.due.values().filter(|_| !is_old).map(|at| (*at).max(self.look));
        let gathered = self.gathered.values().map(|gathered| gathered.until);
        due.chain(gathered).chain(self.offers.deadline()).min()
    }
}

/// Stores a head with more lines than before, unless a newer one is there.
fn store(cx: &mut Context<'_>, log: LogId, mut head: VerifiedCheckpoint, teller: Option<Teller>) {
    let Some(ours) = cx.ledger.log(&log).and_then(|slot| slot.head.clone()) else { return };
    // Others may have been stored while these were gathered.
    let teller = teller.filter(|_| ours.cosignatures().next().is_none());
    head.merge(&ours, true);
    let head = head.sorted();
    if head.checkpoint() == ours.checkpoint() && head != ours && !cx.ledger.is_reverting(&log) {
        let tree = cx.ledger.staged(&log);
        cx.ledger.append(log, Vec::new(), tree, Some(head), teller, cx.out);
    }
}
