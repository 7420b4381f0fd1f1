//! What is known of the authors of logs: their chains, their witnesses, whether
//! they closed a log or signed two histories.
//!
//! **Invariants:** whatever was verified under keys that have been replaced is
//! weighed anew when they are; evidence freezes a log only while it is about the
//! key of now. Deliberately absent: which of two chains counts (`directory`) and
//! how much evidence is kept (`docket`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Change, Ledger, Teller};
use crate::checkpoint::{Origin, UnverifiedCheckpoint, VerifiedCheckpoint, witness_key};
use crate::entry::Entry;
use crate::equivocation::{Evidence, Finding};
use crate::erasure::Erasure;
use crate::id::{AuthorityId, Hash, LogId, NodeId, Space};
use crate::identity::{Head, Identity, IdentityError, UnverifiedChain};
use crate::limits;
use crate::note::VerifierKey;
use crate::sync::directory::Judgement;
use crate::sync::effect::{StoredEvidence, StoredIdentity};
use crate::sync::{Notice, Outbox, Output};
use crate::time::UnixTime;
use crate::witness::confirmation::{Confirmation, Rule};

impl Ledger {
    pub(in crate::sync) fn identity(&self, authority: &AuthorityId) -> Option<&Identity> {
        self.directory.identity(authority)
    }

    /// Whether controllers of an authority signed two chains of which neither
    /// counts, so that nothing new of it does.
    pub(in crate::sync) fn is_disputed(&self, authority: &AuthorityId) -> bool {
        self.directory.is_disputed(authority)
    }

    /// Where the generation of a log was closed by its author's controllers.
    pub(in crate::sync) fn closing(&self, log: &LogId) -> Option<&Head> {
        let identity = self.identity(&log.authority)?;
        (log.space == Space::Public).then(|| identity.closing(log.generation)).flatten()
    }

    /// Those of the entries that are erasures which the author's controllers countersigned.
    pub(super) fn countersigned(&self, log: &LogId, start: u64, entries: &[Entry]) -> Vec<u64> {
        let Some(author) = self.identity(&log.authority) else { return Vec::new() };
        let is_countersigned = |(index, entry): &(u64, &Entry)| {
            let erasure = Erasure::of(log, *index, entry).zip(entry.body());
            erasure.is_some_and(|(erasure, body)| {
                erasure.is_countersigned(&body.fields(), log.space, author)
            })
        };
        (start..).zip(entries).filter(is_countersigned).map(|(index, _)| index).collect()
    }

    /// The time by which enough of the author's witnesses had cosigned a head.
    pub(super) fn witnessed(&self, log: &LogId, head: &VerifiedCheckpoint) -> Option<UnixTime> {
        let quorum = self.identity(&log.authority)?.quorum() as usize;
        let witnesses = self.witness_keys(&log.authority);
        Confirmation::of(head, Rule::Named { witnesses: &witnesses, quorum }).confirmed
    }

    pub(in crate::sync) fn authority_of(&self, node: &NodeId) -> Option<AuthorityId> {
        self.directory.authority_of(node)
    }

    /// Verifies a chain and keeps it, if it says something new. Peers have a
    /// share of the room each; a card, without `introducer`, may use it all.
    /// `false` if there was no room.
    pub(in crate::sync) fn accept_identity(
        &mut self,
        introducer: Option<Teller>,
        events: Vec<Vec<u8>>,
        out: &mut Outbox,
    ) -> Result<bool, IdentityError> {
        let Self { directory, verified, network, .. } = self;
        let judgement = directory.judge(UnverifiedChain::new(events), network, verified)?;
        let (identity, conflict) = match judgement {
            Judgement::Nothing => return Ok(true),
            Judgement::New(identity) => {
                if !self.has_room(introducer, out) {
                    return Ok(false);
                }
                out.push(Output::Notify(Notice::IdentityAccepted {
                    authority: identity.authority(),
                }));
                (identity, None)
            }
            Judgement::Grown(identity) => {
                let (authority, sequence) = (identity.authority(), identity.sequence());
                out.push(Output::Notify(Notice::IdentityChanged { authority, sequence }));
                (identity, None)
            }
            Judgement::Conflict { before, branches } => {
                if let Ok(evidence) = Evidence::of_identities(&branches[0], &branches[1]) {
                    self.convict(evidence, introducer, out);
                }
                let (authority, position) = (before.authority(), before.sequence() + 1);
                out.push(Output::Notify(Notice::IdentityDisputed { authority, position }));
                (before, Some(branches))
            }
        };
        let changed = self.take_change();
        let (authority, events) = (identity.authority(), identity.events().to_vec());
        out.push(Output::StoreIdentity(StoredIdentity { authority, events, changed }));
        self.keep_identity(identity, conflict, changed, introducer);
        Ok(true)
    }

    fn has_room(&self, introducer: Option<Teller>, out: &mut Outbox) -> bool {
        let room = match introducer {
            None => limits::AUTHORITIES,
            Some(_) => limits::AUTHORITIES - limits::RESERVED_AUTHORITIES,
        };
        let full = self.directory.len() >= room;
        !full && introducer.is_none_or(|teller| out.standings.introduces(teller.peer))
    }

    pub(in crate::sync) fn keep_identity(
        &mut self,
        identity: Arc<Identity>,
        conflict: Option<[Arc<Identity>; 2]>,
        changed: u64,
        teller: Option<Teller>,
    ) {
        let authority = identity.authority();
        // Whoever told us one branch of a conflict may not know of the other.
        let teller = teller.filter(|_| conflict.is_none());
        if let Some(old) = self.directory.keep(identity, conflict, changed) {
            self.changes.remove(&old);
        }
        self.changes.insert(changed, (Change::Identity(authority), teller));
        self.stirred.insert(authority);
        self.stirs += 1;
        self.unsettle_closed_of(&authority);
        self.weigh(&authority);
    }

    /// The authorities whose chains have changed since this was asked last.
    pub(in crate::sync) fn take_stirred(&mut self) -> BTreeSet<AuthorityId> {
        core::mem::take(&mut self.stirred)
    }

    /// How often the chain of any authority has changed.
    pub(in crate::sync) const fn stirs(&self) -> u64 {
        self.stirs
    }

    /// Takes evidence that an authority signed two histories; `false` if it says
    /// nothing new. What it disputes is frozen.
    pub(in crate::sync) fn convict(
        &mut self,
        evidence: Evidence,
        teller: Option<Teller>,
        out: &mut Outbox,
    ) -> bool {
        if !self.docket.admits(&evidence) {
            return false;
        }
        let changed = self.take_change();
        out.push(Output::StoreEvidence(StoredEvidence::of(&evidence, changed)));
        out.push(Output::Notify(Notice::Convicted {
            authority: evidence.authority(),
            kind: evidence.kind(),
        }));
        self.keep_evidence(evidence, changed, teller);
        true
    }

    pub(in crate::sync) fn keep_evidence(
        &mut self,
        evidence: Evidence,
        changed: u64,
        teller: Option<Teller>,
    ) {
        let authority = evidence.authority();
        self.docket.keep(evidence, changed);
        self.changes.insert(changed, (Change::Evidence(authority), teller));
        self.weigh(&authority);
    }

    /// Freezes the logs of an authority of which evidence shows two histories
    /// under the key of now, and frees those of which it does no longer.
    fn weigh(&mut self, authority: &AuthorityId) {
        let Some(known) = self.directory.get(authority) else { return };
        let forks = self.docket.about(authority).filter_map(|evidence| match evidence.finding() {
            Finding::Fork(fork) => Some((fork.generation(), evidence.is_current(&known.identity))),
            Finding::Identity(_) => None,
        });
        let mut disputed = BTreeMap::new();
        for (generation, current) in forks {
            *disputed.entry(LogId::public(*authority, generation)).or_default() |= current;
        }
        for (log, disputed) in disputed {
            self.logs.entry(log).or_default().disputed = disputed;
        }
    }

    /// All evidence that is known.
    pub(in crate::sync) fn evidence(&self) -> impl Iterator<Item = &Evidence> {
        self.docket.all()
    }

    /// Closed logs are to be looked at, since somebody may have what they lack.
    pub(in crate::sync) fn unsettle_closed(&mut self) {
        let recovered = self.directory.identities().filter(|one| one.generation() > 0);
        let recovered: Vec<_> = recovered.map(Identity::authority).collect();
        recovered.iter().for_each(|authority| self.unsettle_closed_of(authority));
    }

    fn unsettle_closed_of(&mut self, authority: &AuthorityId) {
        let open = self.identity(authority).map_or(0, Identity::generation);
        let closed = (0..open).map(|generation| LogId::public(*authority, generation));
        for log in closed {
            // Whatever was in dispute is decided.
            if let Some(slot) = self.logs.get_mut(&log) {
                slot.disputed = false;
            }
            self.unsettled.insert(log);
        }
    }

    /// A log to which something has happened that may matter if it is closed.
    pub(in crate::sync) fn take_unsettled(&mut self) -> Option<LogId> {
        self.unsettled.pop_first()
    }

    /// The head at which the generation of a log was closed.
    pub(in crate::sync) fn closing_head(&self, log: &LogId) -> Option<VerifiedCheckpoint> {
        self.verify_held(log, self.closing(log)?.note())
    }

    /// Verifies a stored head, by whatever right its key signed it.
    pub(in crate::sync) fn verify_held(
        &self,
        log: &LogId,
        note: &[u8],
    ) -> Option<VerifiedCheckpoint> {
        if log.space != Space::Public {
            return self.verify_held_in_group(log, note);
        }
        let head = UnverifiedCheckpoint::parse(note).ok()?;
        let of_log = Origin::of(&self.network, log)? == *head.claimed_origin();
        let identity = self.identity(&log.authority).filter(|_| of_log)?;
        let witnesses = self.witness_keys(&log.authority);
        // A witness may have other keys by now: its old lines are left out.
        let verified = identity.verify_head_with(&head, &witnesses);
        let verified = verified.or_else(|_| identity.verify_head(&head));
        verified.ok().map(|(head, _)| head.attributed())
    }

    /// The keys of the witnesses that an authority names, as far as they are known.
    pub(in crate::sync) fn witness_keys(&self, authority: &AuthorityId) -> Vec<VerifierKey> {
        let witnesses = self.identity(authority).map_or(&[][..], Identity::witnesses);
        witnesses.iter().filter_map(|witness| self.witness_key_of(witness)).collect()
    }

    /// The key by which an authority cosigns.
    pub(in crate::sync) fn witness_key_of(&self, witness: &AuthorityId) -> Option<VerifierKey> {
        let identity = self.identity(witness)?;
        Some(witness_key(&self.network, witness, *identity.witness_key()))
    }

    /// Whether `author` names `witness`.
    pub(in crate::sync) fn is_witness(&self, witness: &AuthorityId, author: &AuthorityId) -> bool {
        self.identity(author).is_some_and(|author| author.witnesses().contains(witness))
    }

    /// Whether a head is of the open generation of its log, under the key of now.
    pub(in crate::sync) fn is_current(&self, head: &VerifiedCheckpoint, log: &LogId) -> bool {
        let identity = self.identity(&log.authority);
        identity.is_some_and(|identity| {
            let signers = head.note().signers();
            log.generation == identity.generation()
                && !self.is_disputed(&log.authority)
                && signers.iter().any(|signer| signer.key.key() == identity.log_key())
        })
    }

    /// Makes evidence of two heads, if they prove anything; `proof` is the
    /// consistency proof from the smaller size to the larger head.
    pub(in crate::sync) fn accuse(
        &mut self,
        log: &LogId,
        heads: [&VerifiedCheckpoint; 2],
        proof: &[Hash],
        out: &mut Outbox,
    ) {
        // Evidence would tell the whole network of the group.
        let identity = self.identity(&log.authority).filter(|_| log.space == Space::Public);
        let Some(identity) = identity else { return };
        if let Ok(evidence) = Evidence::of_fork(identity, heads, proof) {
            self.convict(evidence, None, out);
        }
    }

    /// All authorities whose chains are known.
    pub(in crate::sync) fn identities(&self) -> impl Iterator<Item = &Identity> {
        self.directory.identities()
    }
}
