//! Evidence that an authority signed two histories.
//!
//! Self-contained: whoever reads it needs nothing but the file. Two kinds:
//!
//! - a *fork* of a public log: the author's identity chain and two signed heads
//!   of one generation that cannot both be. Either their sizes are equal and
//!   their roots are not; or a consistency proof leads from the smaller size to
//!   the larger head, and the root that it shows there is another than the one
//!   that was signed;
//! - an *identity conflict*: two valid chains of one authority that part at some
//!   position ([`crate::identity::relation`] says which of them counts, if any).
//!
//! Both heads of a fork must be signed under the newest log key that the chain
//! names for the generation. Retired keys prove nothing: their heads count only
//! if they lead up to a pinned one, so whoever steals an old key can convict
//! nobody. Since a file may carry an old chain, whether evidence still disputes
//! anything is asked with the newest chain known: [`Evidence::is_current`] and
//! [`Evidence::ends_with`]. A new generation ends every fork.
//!
//! - here: what evidence is, how it is made and verified;
//! - `facts`: all that a reader learns from it;
//! - `file`: its one encoding, and the file that survives mail.
//!
//! **Invariants:** no evidence can be made of one growing log, whoever makes it
//! and with whatever proofs; [`Facts`] has nothing that its authority did not
//! sign; everything made here verifies. Deliberately absent: logs of groups,
//! whose origins name no authority, and what a node does about evidence.

mod facts;
mod file;

use core::ops::Range;

use crate::checkpoint::{CheckpointError, UnverifiedCheckpoint, VerifiedCheckpoint};
use crate::id::{AuthorityId, Generation, Hash, NetworkName};
use crate::identity::{Identity, IdentityError, KeyStanding, Relation, UnverifiedChain};
use crate::key::PublicKey;
use crate::log::{
    LogError, Nodes, ProofError, implied_old_root, shown_old_root, shown_proof, verify_consistency,
};

pub use self::facts::{Facts, FindingFacts, ForkFacts, LogHead, PartingFacts};
pub use self::file::{BEGIN, END, UnverifiedEvidence};
use self::file::{Chains, Contents, Heads};

/// Why something is no evidence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// Larger than [`crate::limits::EVIDENCE_BYTES`], or a list or line in it is over its limit.
    #[error("the evidence is larger than the limit")]
    TooLarge,
    /// No evidence between [`BEGIN`] and [`END`].
    #[error("there is no evidence in the text")]
    Absent,
    /// Between the marks stands something that is not base64, or not all of it.
    #[error("the evidence is damaged or incomplete")]
    Armour,
    /// A line is missing, malformed or out of place.
    #[error("the evidence has a malformed or missing line: {0}")]
    Line(&'static str),
    /// Written by a newer version of this software.
    #[error("the evidence needs a newer version of this software")]
    Unsupported,
    /// Well-formed, but not in the one spelling: wrong order, or parts that say nothing.
    #[error("the evidence is not written in its one standard form")]
    Spelling,
    /// Evidence of another network.
    #[error("the evidence belongs to another network")]
    Network,
    /// An identity chain in it is not valid.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The heads are not both of one public log of the authority.
    #[error("the two log heads are not of one public log of the authority")]
    Log,
    /// A head is malformed or not signed as it must be.
    #[error(transparent)]
    Head(#[from] CheckpointError),
    /// A head is signed under a log key that was replaced.
    #[error("a log head is signed under a retired key, which proves nothing")]
    Retired,
    /// A consistency proof does not lead to its head.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// What is there does not show whether both heads can be. Nobody's fault.
    #[error("the two log heads are not shown to contradict each other")]
    Unproven,
    /// Both heads are of one history.
    #[error("the two log heads belong to one history")]
    Consistent,
    /// The two chains do not part where they are said to.
    #[error("the two identity chains do not part after what they share")]
    Agree,
    /// The log at hand does not reach as far as is asked: the caller's fault.
    #[error(transparent)]
    Tree(#[from] LogError),
}

/// What evidence is about; each kind is counted for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum EvidenceKind {
    /// Two heads of one log that cannot both be.
    Fork = 0,
    /// Two identity chains, neither of which counts from where they part.
    IdentityConflict = 1,
    /// Two identity chains, one of which counts: shown, and disputes nothing.
    IdentitySuperseded = 2,
}

impl EvidenceKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Fork, Self::IdentityConflict, Self::IdentitySuperseded];

    /// Its stable name: `fork`, `identityConflict` or `identitySuperseded`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::IdentityConflict => "identityConflict",
            Self::IdentitySuperseded => "identitySuperseded",
        }
    }
}

/// Verified evidence that an authority signed two histories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    network: NetworkName,
    finding: Finding,
    bytes: Vec<u8>,
}

/// What evidence shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Two heads of one log that cannot both be.
    Fork(Box<Fork>),
    /// Two identity chains that part.
    Identity(Box<Parting>),
}

/// Two heads of one public log, both signed under one key, that cannot both be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    identity: Identity,
    generation: Generation,
    key: PublicKey,
    heads: [VerifiedCheckpoint; 2],
    shown: Hash,
    common: Option<LogHead>,
}

/// Two valid identity chains of one authority that part at a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parting {
    chains: [Identity; 2],
    relation: Relation,
    position: u32,
}

impl UnverifiedEvidence {
    /// Checks every signature and every proof.
    ///
    /// # Errors
    /// The first [`EvidenceError`] found.
    pub fn verify(self, network: &NetworkName) -> Result<Evidence, EvidenceError> {
        if self.claimed_network() != network {
            return Err(EvidenceError::Network);
        }
        let bytes = self.to_bytes();
        let finding = match self.into_contents() {
            Contents::Heads(heads) => Finding::Fork(Box::new(verify_fork(*heads, network)?)),
            Contents::Chains(chains) => {
                Finding::Identity(Box::new(verify_parting(chains, network)?))
            }
        };
        Ok(Evidence { network: network.clone(), finding, bytes })
    }
}

fn verify_fork(claim: Heads, network: &NetworkName) -> Result<Fork, EvidenceError> {
    let Heads { events, heads, proof, common } = claim;
    let [one, other] = &heads;
    let log = one.claimed_origin().public_log();
    let log = log.filter(|_| one.claimed_origin() == other.claimed_origin());
    let (of, authority, generation) = log.ok_or(EvidenceError::Log)?;
    let identity = UnverifiedChain::new(events).verify(network)?;
    if of != *network || authority != identity.authority() {
        return Err(EvidenceError::Log);
    }
    // The newest key of a generation: current while that is open, the last one after it.
    let (key, _) = identity.log_keys(generation).next().ok_or(EvidenceError::Log)?;
    let key = *key;
    let verify = |head| verify_head(head, &key, &identity, generation);
    let [one, other] = heads;
    let heads = [verify(one)?, verify(other)?];
    let [older, newer] = heads.each_ref().map(|head| LogHead::from(head.checkpoint()));
    if (older.size, older.root) > (newer.size, newer.root) {
        return Err(EvidenceError::Spelling);
    }
    let shown = match (older.size == newer.size, proof.is_empty()) {
        (true, true) => newer.root,
        (true, false) => return Err(ProofError::Length.into()),
        (false, _) => shown_old_root(older.size, newer.size, &newer.root, &proof)?,
    };
    if shown == older.root {
        return Err(EvidenceError::Consistent);
    }
    let common = match common {
        None => None,
        Some(common) => {
            let (size, root) = (common.size, common.root);
            if size == 0 || size >= older.size {
                return Err(EvidenceError::Spelling);
            }
            for (head, proof) in [older, newer].iter().zip(&common.proofs) {
                verify_consistency(size, &root, head.size, &head.root, proof)?;
            }
            Some(LogHead { size, root })
        }
    };
    Ok(Fork { identity, generation, key, heads, shown, common })
}

/// A head with the log's own line and no other.
fn verify_head(
    head: UnverifiedCheckpoint,
    key: &PublicKey,
    identity: &Identity,
    generation: Generation,
) -> Result<VerifiedCheckpoint, EvidenceError> {
    let mut keys = identity.log_keys(generation).skip(1);
    match head.clone().verify_attributed(key, &[]) {
        Ok(verified) if verified.note().lines().len() == 1 => Ok(verified),
        Ok(_) => Err(EvidenceError::Spelling),
        Err(_) if keys.any(|(old, _)| head.clone().verify(old).is_ok()) => {
            Err(EvidenceError::Retired)
        }
        Err(error) => Err(error.into()),
    }
}

fn verify_parting(claim: Chains, network: &NetworkName) -> Result<Parting, EvidenceError> {
    let Chains { shared, tails: [first, second] } = claim;
    if first >= second {
        return Err(EvidenceError::Spelling);
    }
    let known = UnverifiedChain::new(shared).verify(network)?;
    let chain = |tail: Vec<Vec<u8>>| {
        let events = [known.events(), &tail].concat();
        UnverifiedChain::new(events).verify(network)
    };
    let chains = [chain(first)?, chain(second)?];
    let [first, second] = &chains;
    let parting = first.relation_to(second).and_then(parting);
    let (relation, position) = parting.ok_or(EvidenceError::Agree)?;
    if position != known.sequence() + 1 {
        return Err(EvidenceError::Agree);
    }
    Ok(Parting { chains, relation, position })
}

/// A relation of chains that part, with the position.
const fn parting(relation: Relation) -> Option<(Relation, u32)> {
    match relation {
        Relation::Conflict { position }
        | Relation::Supersedes { position }
        | Relation::Superseded { position } => Some((relation, position)),
        Relation::Same | Relation::Extends | Relation::Behind => None,
    }
}

impl Evidence {
    /// Makes evidence of two heads, in whatever order. `proof` is the consistency
    /// proof that leads from the smaller size to the larger head, as a peer sends
    /// it; empty for equal sizes.
    ///
    /// # Errors
    /// [`EvidenceError::Unproven`] if the smaller size is a power of two, where
    /// such a proof leaves out the root it starts from, and
    /// [`EvidenceError::Consistent`] if they are of one history; otherwise the
    /// first [`EvidenceError`] found.
    pub fn of_fork(
        identity: &Identity,
        heads: [&VerifiedCheckpoint; 2],
        proof: &[Hash],
    ) -> Result<Self, EvidenceError> {
        let [older, newer] = sorted(heads);
        let (old, new) = (older.checkpoint(), newer.checkpoint());
        if old.size() < new.size()
            && implied_old_root(old.size(), new.size(), &new.root(), proof)?.is_none()
        {
            return Err(EvidenceError::Unproven);
        }
        Self::of_heads(identity, [older, newer], proof.to_vec())
    }

    /// As [`Evidence::of_fork`], by somebody who has the log of the larger head:
    /// that shows every fork.
    ///
    /// # Errors
    /// As [`Evidence::of_fork`]; [`EvidenceError::Tree`] if the log does not
    /// reach as far, and [`EvidenceError::Proof`] if it is not the one of the larger head.
    pub fn of_fork_in<N: Nodes + ?Sized>(
        identity: &Identity,
        heads: [&VerifiedCheckpoint; 2],
        log: &N,
    ) -> Result<Self, EvidenceError> {
        let [older, newer] = sorted(heads);
        let (old, new) = (older.checkpoint().size(), newer.checkpoint().size());
        let shows = old > 0 && old < new;
        let proof = if shows { shown_proof(log, old, new)? } else { Vec::new() };
        Self::of_heads(identity, [older, newer], proof)
    }

    /// As [`Evidence::of_fork_in`], of two sizes, with the proof that somebody made of
    /// the log of the larger head ([`crate::log::shown_proof`]).
    ///
    /// # Errors
    /// As [`Evidence::of_fork`], but never [`EvidenceError::Unproven`].
    pub fn of_shown_fork(
        identity: &Identity,
        heads: [&VerifiedCheckpoint; 2],
        proof: &[Hash],
    ) -> Result<Self, EvidenceError> {
        Self::of_heads(identity, sorted(heads), proof.to_vec())
    }

    fn of_heads(
        identity: &Identity,
        heads: [&VerifiedCheckpoint; 2],
        proof: Vec<Hash>,
    ) -> Result<Self, EvidenceError> {
        let [older, newer] = heads;
        let log = older.checkpoint().origin().public_log();
        let (_, _, generation) = log.ok_or(EvidenceError::Log)?;
        let (key, _) = identity.log_keys(generation).next().ok_or(EvidenceError::Log)?;
        // Cosignatures would need their witnesses' chains to be judged.
        let bare = |head: &VerifiedCheckpoint| {
            let bare = head.clone().bare(key).ok_or(EvidenceError::Retired)?;
            Ok::<_, EvidenceError>(UnverifiedCheckpoint::parse(&bare.to_bytes())?)
        };
        let heads = [bare(older)?, bare(newer)?];
        let events = identity.events().to_vec();
        let heads = Heads { events, heads, proof, common: None };
        Self::made(identity.network(), Contents::Heads(Box::new(heads)))
    }

    /// The same evidence, which also shows that both histories begin with the
    /// same `size` entries under `root`: `proofs` are the consistency proofs from
    /// there to each head, in the order of [`Fork::heads`].
    ///
    /// # Errors
    /// [`EvidenceError::Spelling`] if that is no fork, or `size` is 0 or not below both
    /// heads; [`EvidenceError::Proof`].
    pub fn with_common(
        &self,
        size: u64,
        root: Hash,
        proofs: [Vec<Hash>; 2],
    ) -> Result<Self, EvidenceError> {
        let unverified = UnverifiedEvidence::parse(&self.bytes)?;
        match unverified.into_contents() {
            Contents::Heads(heads) => {
                let common = Some(file::Common { size, root, proofs });
                Self::made(&self.network, Contents::Heads(Box::new(Heads { common, ..*heads })))
            }
            Contents::Chains(_) => Err(EvidenceError::Spelling),
        }
    }

    /// Makes evidence of two chains of one authority, in whatever order.
    ///
    /// # Errors
    /// [`EvidenceError::Agree`] if they are not of one authority or one is the
    /// beginning of the other; [`EvidenceError::TooLarge`].
    pub fn of_identities(one: &Identity, other: &Identity) -> Result<Self, EvidenceError> {
        let parting = one.relation_to(other).and_then(parting);
        let (_, position) = parting.ok_or(EvidenceError::Agree)?;
        let at = usize::try_from(position).map_err(|_| EvidenceError::Agree)?;
        let network = one.network();
        let split = |identity: &Identity| {
            let (shared, tail) = identity.events().split_at_checked(at)?;
            Some((shared.to_vec(), tail.to_vec()))
        };
        let (one, other) = split(one).zip(split(other)).ok_or(EvidenceError::Agree)?;
        // Other controllers may have signed the events they share: either set will do.
        let shared = one.0.min(other.0);
        let mut tails = [one.1, other.1];
        tails.sort();
        Self::made(network, Contents::Chains(Chains { shared, tails }))
    }

    fn made(network: &NetworkName, contents: Contents) -> Result<Self, EvidenceError> {
        let unverified = UnverifiedEvidence::new(network.clone(), contents)?;
        // What a reader would refuse never leaves a node.
        UnverifiedEvidence::parse(&unverified.to_bytes())?.verify(network)
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> EvidenceKind {
        match &self.finding {
            Finding::Fork(_) => EvidenceKind::Fork,
            Finding::Identity(parting) => match parting.relation {
                Relation::Conflict { .. } => EvidenceKind::IdentityConflict,
                _ => EvidenceKind::IdentitySuperseded,
            },
        }
    }

    /// Who signed two histories.
    #[must_use]
    pub const fn authority(&self) -> AuthorityId {
        match &self.finding {
            Finding::Fork(fork) => fork.identity.authority(),
            Finding::Identity(parting) => parting.chains[0].authority(),
        }
    }

    /// The network it belongs to.
    #[must_use]
    pub const fn network(&self) -> &NetworkName {
        &self.network
    }

    /// What it shows.
    #[must_use]
    pub const fn finding(&self) -> &Finding {
        &self.finding
    }

    /// The chains it carries: one, or the two that part. A node that knows less
    /// takes them over before it asks [`Evidence::is_current`].
    #[must_use]
    pub const fn chains(&self) -> &[Identity] {
        match &self.finding {
            Finding::Fork(fork) => core::slice::from_ref(&fork.identity),
            Finding::Identity(parting) => &parting.chains,
        }
    }

    /// Where in the life of the authority it belongs; newer is higher. Of a fork:
    /// the number of the log key among all that the authority had, from 0. Of
    /// chains: the position where they part.
    #[must_use]
    pub fn place(&self) -> u32 {
        match &self.finding {
            Finding::Fork(fork) => {
                let keys = (0..=fork.generation).map(|g| fork.identity.log_keys(g).count());
                u32::try_from(keys.sum::<usize>().saturating_sub(1)).unwrap_or(u32::MAX)
            }
            Finding::Identity(parting) => parting.position,
        }
    }

    /// Whether it disputes something under `known`, the newest chain known of
    /// the authority: the log of a fork whose key is still the current one, or
    /// the identity itself. `false` for somebody else's chain.
    #[must_use]
    pub fn is_current(&self, known: &Identity) -> bool {
        match &self.finding {
            Finding::Fork(fork) => fork.standing(known) == Some(KeyStanding::Current),
            Finding::Identity(parting) => {
                known.authority() == self.authority()
                    && self.kind() == EvidenceKind::IdentityConflict
                    && !parting.is_settled_by(known)
            }
        }
    }

    /// Whether `known`, the newest chain known of the authority, has ended what
    /// it disputed: by a new generation or log key, or by an establishing event
    /// on one of two branches. It is history then, no dispute.
    #[must_use]
    pub fn ends_with(&self, known: &Identity) -> bool {
        match &self.finding {
            Finding::Fork(fork) => {
                matches!(fork.standing(known), Some(KeyStanding::Retired(_)))
            }
            Finding::Identity(parting) => parting.is_settled_by(known),
        }
    }

    /// Its bytes: what is stored and sent. The same chains, heads and proofs have the same bytes.
    #[must_use]
    pub fn to_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Fork {
    /// The identity chain in the file, whose newest log key signed both heads.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Generation of the log.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// Both heads, the smaller size first, at equal sizes the lower root.
    #[must_use]
    pub const fn heads(&self) -> &[VerifiedCheckpoint; 2] {
        &self.heads
    }

    /// The most entries that are shown to be the same in both histories, if any
    /// are. There may be more.
    #[must_use]
    pub const fn common(&self) -> Option<&LogHead> {
        self.common.as_ref()
    }

    /// Where the last size lies that both histories share: not below what is shown
    /// to be common, and below the smaller head, at whose size they differ. Two
    /// signed heads alone say no more; somebody who has the entries of both can
    /// narrow it down ([`Evidence::with_common`]).
    #[must_use]
    pub fn last_common(&self) -> Range<u64> {
        let [smaller, _] = self.signed();
        self.common.map_or(0, |common| common.size)..smaller.size
    }

    fn signed(&self) -> [LogHead; 2] {
        self.heads.each_ref().map(|head| LogHead::from(head.checkpoint()))
    }

    /// By what right the key that signed both signs now.
    fn standing<'a>(&self, known: &'a Identity) -> Option<KeyStanding<'a>> {
        let mut keys = known.log_keys(self.generation);
        let (_, standing) = keys.find(|(key, _)| **key == self.key)?;
        (known.authority() == self.identity.authority()).then_some(standing)
    }
}

impl Parting {
    /// Both chains, in the order of the bytes in which they differ.
    #[must_use]
    pub const fn chains(&self) -> &[Identity; 2] {
        &self.chains
    }

    /// How the first stands to the second.
    #[must_use]
    pub const fn relation(&self) -> Relation {
        self.relation
    }

    /// Position of the first event that differs.
    #[must_use]
    pub const fn position(&self) -> u32 {
        self.position
    }

    /// Whether a chain counts whichever of the two one holds.
    fn is_settled_by(&self, known: &Identity) -> bool {
        let counts = |relation| {
            matches!(relation, Relation::Same | Relation::Extends | Relation::Supersedes { .. })
        };
        self.chains.iter().all(|chain| known.relation_to(chain).is_some_and(counts))
    }
}

/// Two heads in the order of the file: by size, at equal sizes by root.
fn sorted(heads: [&VerifiedCheckpoint; 2]) -> [&VerifiedCheckpoint; 2] {
    let [one, other] = heads;
    let order = |head: &VerifiedCheckpoint| (head.checkpoint().size(), head.checkpoint().root());
    if order(one) <= order(other) { [one, other] } else { [other, one] }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::cast_possible_truncation, reason = "sizes here are small")]

    use super::*;
    use crate::checkpoint::{Checkpoint, Origin, sign, witness_key};
    use crate::identity::tests::{establishing, incepted, network, secret};
    use crate::identity::{EventType, Head};
    use crate::log::{Frontier, consistency_proof, leaf_hash, root_at};
    use crate::time::UnixTime;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    /// Log keys of authority 10: from its inception, after a rotation, after a recovery.
    const KEYS: [u8; 3] = [12, 40, 41];

    /// A log whose entries from `fork` on are those of `branch`.
    struct Branch(Vec<Hash>);

    impl Nodes for Branch {
        fn leaf(&self, index: u64) -> Option<Hash> {
            self.0.get(usize::try_from(index).ok()?).copied()
        }

        fn subtree(&self, _: u64) -> Option<Hash> {
            None
        }
    }

    fn branch(size: u64, fork: u64, branch: u64) -> Branch {
        let entry = |n: u64| if n < fork { [n, 0] } else { [n, branch] };
        Branch((0..size).map(|n| leaf_hash(&entry(n).map(u64::to_be_bytes).concat())).collect())
    }

    fn head_of(tree: &Branch, size: u64, generation: Generation, key: u8) -> VerifiedCheckpoint {
        let mut frontier = Frontier::new();
        tree.0.iter().take(size as usize).for_each(|leaf| frontier.push(*leaf));
        let origin = Origin::public(&network(), &incepted(10).authority(), generation);
        sign(&Checkpoint::new(origin, size, frontier.root()).unwrap(), &secret(key)).unwrap()
    }

    fn head(tree: &Branch, size: u64) -> VerifiedCheckpoint {
        head_of(tree, size, 0, KEYS[0])
    }

    fn rotated() -> Identity {
        let first = incepted(10);
        let event = establishing(&first, EventType::Rotation, (11, 112), |event| {
            event.keys.log = secret(KEYS[1]).public();
            event.pin = Head::of(&head(&branch(9, 9, 0), 5));
        });
        first.extended(event).unwrap()
    }

    fn recovered(identity: &Identity, by: u8) -> Identity {
        let event = establishing(identity, EventType::Recovery, (by, 60), |event| {
            event.keys.log = secret(KEYS[2]).public();
            event.closes = Head::of(&head(&branch(9, 9, 0), 9));
            event.generation = 1;
        });
        identity.extended(event).unwrap()
    }

    fn renamed(identity: &Identity, name: &str) -> Identity {
        let mut event = identity.next_event(EventType::Profile, UnixTime::from_seconds(1));
        event.profile.name = name.into();
        identity.extended(event.sign(&[(0, &secret(10))]).unwrap()).unwrap()
    }

    /// Heads of 11 and 14 entries that have the first seven in common.
    fn fork() -> Evidence {
        let (ours, theirs) = (branch(20, 7, 1), branch(20, 7, 2));
        let heads = [&head(&ours, 11), &head(&theirs, 14)];
        let evidence = Evidence::of_fork_in(&incepted(10), heads, &theirs).unwrap();
        let proofs = [(&ours, 11), (&theirs, 14)]
            .map(|(tree, size)| consistency_proof(tree, 7, size).unwrap());
        evidence.with_common(7, root_at(&ours, 7).unwrap(), proofs).unwrap()
    }

    fn conflict() -> Evidence {
        let first = incepted(10);
        Evidence::of_identities(&renamed(&first, "Ash"), &renamed(&first, "Oak")).unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Evidence, EvidenceError> {
        UnverifiedEvidence::parse(bytes)?.verify(&network())
    }

    fn text(evidence: &Evidence) -> String {
        String::from_utf8(evidence.to_bytes().to_vec()).unwrap()
    }

    #[test]
    fn two_heads_of_one_size_are_evidence() {
        let (ours, theirs) = (branch(9, 3, 1), branch(9, 3, 2));
        let heads = [&head(&ours, 9), &head(&theirs, 9)];
        let evidence = Evidence::of_fork(&incepted(10), heads, &[]).unwrap();
        let turned = Evidence::of_fork(&incepted(10), [heads[1], heads[0]], &[]).unwrap();
        assert_eq!(evidence, turned, "the order of finding does not show");
        assert_eq!(read(evidence.to_bytes()), Ok(evidence.clone()));
        assert_eq!((evidence.kind(), evidence.place()), (EvidenceKind::Fork, 0));
        assert_eq!(evidence.authority(), incepted(10).authority());
        let FindingFacts::Fork(facts) = evidence.facts().finding else { panic!("a fork") };
        assert_eq!(facts.name, "Borough 10");
        assert_eq!(facts.heads.map(|head| head.size), [9, 9]);
        assert!(facts.heads[0].root < facts.heads[1].root);
        assert_eq!((facts.shown, facts.common, facts.closed), (facts.heads[1].root, None, None));
        let extra = Evidence::of_heads(&incepted(10), sorted(heads), vec![leaf_hash(b"x")]);
        assert_eq!(extra, Err(ProofError::Length.into()));
    }

    #[test]
    fn what_both_histories_share_is_shown() {
        let FindingFacts::Fork(facts) = fork().facts().finding else { panic!("a fork") };
        let ours = branch(20, 7, 1);
        assert_eq!(facts.heads.map(|head| head.size), [11, 14]);
        assert_eq!(facts.heads[0].root, root_at(&ours, 11).unwrap());
        assert_eq!(facts.shown, root_at(&branch(20, 7, 2), 11).unwrap());
        let common = facts.common.unwrap();
        assert_eq!((common.size, common.root), (7, root_at(&ours, 7).unwrap()));
        let last_common = |evidence: &Evidence| match evidence.finding() {
            Finding::Fork(fork) => fork.last_common(),
            Finding::Identity(_) => panic!("a fork"),
        };
        assert_eq!(last_common(&fork()), 7..11);
        let heads = [&head(&ours, 11), &head(&branch(20, 7, 2), 14)];
        let bare = Evidence::of_fork_in(&incepted(10), heads, &branch(20, 7, 2)).unwrap();
        assert_eq!(last_common(&bare), 0..11);
        let proofs = |size| {
            [(&ours, 11), (&branch(20, 7, 2), 14)]
                .map(|(tree, head)| consistency_proof(tree, size, head).unwrap())
        };
        let beyond = fork().with_common(8, root_at(&ours, 8).unwrap(), proofs(8));
        assert_eq!(beyond, Err(ProofError::Inconsistent.into()));
        for size in [0, 11] {
            let nothing = fork().with_common(size, root_at(&ours, size).unwrap(), proofs(size));
            assert_eq!(nothing, Err(EvidenceError::Spelling), "{size}");
        }
    }

    #[test]
    fn retired_keys_convict_nobody() {
        let (ours, theirs) = (branch(9, 3, 1), branch(9, 3, 2));
        let [old, new, _] = KEYS;
        let evidence = |identity: &Identity, keys: [u8; 2]| {
            let heads = [&head_of(&ours, 9, 0, keys[0]), &head_of(&theirs, 9, 0, keys[1])];
            Evidence::of_fork(identity, heads, &[])
        };
        let before = evidence(&incepted(10), [old, old]).unwrap();
        assert!(before.is_current(&incepted(10)) && !before.ends_with(&incepted(10)));
        assert!(!before.is_current(&rotated()) && before.ends_with(&rotated()));
        for keys in [[old, old], [old, new], [new, old]] {
            assert_eq!(evidence(&rotated(), keys), Err(EvidenceError::Retired));
        }
        let after = evidence(&rotated(), [new, new]).unwrap();
        assert_eq!((before.place(), after.place()), (0, 1));
        assert!(after.is_current(&rotated()));
        // Who does not know the newer key yet can say neither.
        assert!(!after.is_current(&incepted(10)) && !after.ends_with(&incepted(10)));
        assert!(!after.is_current(&incepted(50)) && !after.ends_with(&incepted(50)));
        // The same from a file, in which nobody has looked for the key.
        let events = |identity: &Identity| {
            let line = |event: &Vec<u8>| format!("event {}\n", STANDARD.encode(event));
            identity.events().iter().map(line).collect::<String>()
        };
        let file = text(&before).replace(&events(&incepted(10)), &events(&rotated()));
        assert_eq!(read(file.as_bytes()), Err(EvidenceError::Retired));
    }

    #[test]
    fn a_new_generation_ends_a_dispute_and_makes_it_history() {
        let (ours, theirs) = (branch(9, 3, 1), branch(9, 3, 2));
        let evidence = |identity: &Identity, generation, key| {
            let heads = [&ours, &theirs].map(|tree| head_of(tree, 9, generation, key));
            Evidence::of_fork(identity, [&heads[0], &heads[1]], &[])
        };
        let after = recovered(&rotated(), 112);
        let disputed = evidence(&rotated(), 0, KEYS[1]).unwrap();
        assert!(disputed.is_current(&rotated()) && !disputed.ends_with(&rotated()));
        assert!(!disputed.is_current(&after) && disputed.ends_with(&after));
        let history = evidence(&after, 0, KEYS[1]).unwrap();
        assert!(!history.is_current(&after) && history.ends_with(&after));
        assert_eq!((disputed.place(), history.place()), (1, 1));
        let FindingFacts::Fork(facts) = history.facts().finding else { panic!("a fork") };
        assert_eq!(facts.closed.map(|head| head.size), Some(9));
        assert_eq!(evidence(&after, 0, KEYS[0]), Err(EvidenceError::Retired));
        assert_eq!(evidence(&after, 0, KEYS[2]), Err(EvidenceError::Retired));
        let again = evidence(&after, 1, KEYS[2]).unwrap();
        assert_eq!(again.place(), 2);
        assert!(again.is_current(&after));
        assert_eq!(evidence(&rotated(), 1, KEYS[2]), Err(EvidenceError::Log));
    }

    #[test]
    fn two_chains_that_part_are_evidence_until_one_counts() {
        let first = incepted(10);
        let (ash, oak) = (renamed(&first, "Ash"), renamed(&first, "Oak"));
        let evidence = Evidence::of_identities(&ash, &oak).unwrap();
        assert_eq!(evidence, Evidence::of_identities(&oak, &ash).unwrap());
        assert_eq!(read(evidence.to_bytes()), Ok(evidence.clone()));
        assert_eq!((evidence.kind(), evidence.place()), (EvidenceKind::IdentityConflict, 1));
        for known in [&first, &ash, &oak] {
            assert!(evidence.is_current(known) && !evidence.ends_with(known));
        }
        assert!(!evidence.is_current(&incepted(50)));
        for settled in [recovered(&ash, 11), recovered(&oak, 11), rotated()] {
            assert!(!evidence.is_current(&settled) && evidence.ends_with(&settled));
        }
        let superseded = Evidence::of_identities(&ash, &rotated()).unwrap();
        assert_eq!(superseded.kind(), EvidenceKind::IdentitySuperseded);
        assert!(!superseded.is_current(&ash) && superseded.ends_with(&rotated()));
        let establishing = Evidence::of_identities(&recovered(&first, 11), &rotated()).unwrap();
        assert_eq!(establishing.kind(), EvidenceKind::IdentityConflict);
        assert!(establishing.is_current(&rotated()) && establishing.is_current(&ash));
        let FindingFacts::Identity(facts) = evidence.facts().finding else { panic!("chains") };
        assert_eq!((facts.position, facts.relation), (1, Relation::Conflict { position: 1 }));
        let mut names = facts.names;
        names.sort();
        assert_eq!(names, ["Ash", "Oak"]);
    }

    #[test]
    fn chains_that_do_not_part_are_no_evidence() {
        let (first, ash) = (incepted(10), renamed(&incepted(10), "Ash"));
        for (one, other) in [(&first, &first), (&first, &ash), (&ash, &incepted(50))] {
            assert_eq!(Evidence::of_identities(one, other), Err(EvidenceError::Agree));
        }
        // From files: a tail that is empty, one that is longer, and one event told twice.
        let file = text(&conflict());
        let lines: Vec<_> = file.lines().collect();
        let [heading, shared, one, other] = lines[..] else { panic!("{file}") };
        let turned = format!(
            "{heading}\n{shared}\n{}\n{}\n",
            other.replace("second", "first"),
            one.replace("first", "second")
        );
        assert_eq!(read(turned.as_bytes()), Err(EvidenceError::Spelling));
        let lone = format!("{heading}\n{shared}\n{other}\n");
        assert_eq!(read(lone.as_bytes()), Err(EvidenceError::Agree));
        let same = format!("{heading}\n{shared}\n{one}\n{}\n", one.replace("first", "second"));
        assert_eq!(read(same.as_bytes()), Err(EvidenceError::Spelling));
        let longer = renamed(&ash, "Ash Borough").events()[2].clone();
        let longer = format!("first {}\n", STANDARD.encode(&longer));
        let ash = format!("first {}\n", STANDARD.encode(&ash.events()[1]));
        let grown = format!("{heading}\n{shared}\n{ash}{}{longer}", ash.replace("first", "second"));
        let grown = grown.replace(&longer, &longer.replace("first", "second"));
        assert_eq!(read(grown.as_bytes()), Err(EvidenceError::Agree));
    }

    #[test]
    fn other_networks_logs_and_spellings_are_refused() {
        let evidence = fork();
        let other = UnverifiedEvidence::parse(evidence.to_bytes()).unwrap();
        assert_eq!(other.verify(&"other".parse().unwrap()), Err(EvidenceError::Network));
        let file = text(&evidence);
        let heads: Vec<_> = file.lines().filter(|line| line.starts_with("head ")).collect();
        let line = EvidenceError::Line;
        let cases = [
            (file.replace("evidence v1 ", "evidence v2 "), EvidenceError::Unsupported),
            (file.replace("evidence v1 test", "card v1 test"), line("heading")),
            (file.replace("evidence v1 test", "evidence v1 Test"), line("heading")),
            (file.replace("evidence v1 test", "evidence v1 other"), EvidenceError::Network),
            (file.replace("\nevent ", "\nevents "), line("head")),
            (file.replace("\nevent ", "\nevent !"), line("event")),
            (file.replace("\nevent ", "\nevent  "), line("event")),
            (file.replace("\ncommon 7 ", "\ncommon 07 "), line("common")),
            (file.replace("\ncommon 7 ", "\ncommon 7  "), line("common")),
            (format!("{file}first {}\n", STANDARD.encode([0; 32])), line("something unknown")),
            (format!("{file}\n"), line("something unknown")),
            (file.trim_end().to_owned(), line("something unknown")),
            (file.replace('\n', "\r\n"), line("heading")),
            (format!(" {file}"), line("heading")),
            (
                file.replace(heads[0], &format!("{}\n{}", heads[0], heads[0])),
                line("something unknown"),
            ),
            (
                file.replace(heads[0], "@").replace(heads[1], heads[0]).replace('@', heads[1]),
                EvidenceError::Spelling,
            ),
        ];
        for (changed, error) in cases {
            assert_eq!(read(changed.as_bytes()), Err(error), "{changed}");
        }
        // A head of another generation, and one of another authority.
        let (ours, theirs) = (branch(9, 3, 1), branch(9, 3, 2));
        let elsewhere = head_of(&theirs, 9, 1, KEYS[0]);
        let mixed = Evidence::of_fork(&incepted(10), [&head(&ours, 9), &elsewhere], &[]);
        assert_eq!(mixed, Err(EvidenceError::Log));
        let heads = [&head(&ours, 9), &head(&theirs, 9)];
        let foreign = Evidence::of_fork(&incepted(50), heads, &[]);
        assert!(foreign.is_err());
    }

    #[test]
    fn lines_of_others_and_repeated_ones_are_left_out_and_refused() {
        let (ours, theirs) = (branch(9, 3, 1), branch(9, 3, 2));
        let mut one = head(&ours, 9);
        let witness = witness_key(&network(), &incepted(50).authority(), secret(53).public());
        let line = one.cosign(witness.name(), &secret(53), UnixTime::from_seconds(7)).unwrap();
        let plain = Evidence::of_fork(&incepted(10), [&one, &head(&theirs, 9)], &[]).unwrap();
        let bare = STANDARD.encode(one.to_bytes());
        let own = one.note().lines()[0].clone();
        one.add(line, &witness).unwrap();
        let cosigned = Evidence::of_fork(&incepted(10), [&one, &head(&theirs, 9)], &[]).unwrap();
        assert_eq!(cosigned, plain);
        let with_stranger = text(&plain).replace(&bare, &STANDARD.encode(one.to_bytes()));
        assert!(matches!(read(with_stranger.as_bytes()), Err(EvidenceError::Head(_))));
        let twice = [head(&ours, 9).to_bytes(), format!("{own}\n").into_bytes()].concat();
        let repeated = text(&plain).replace(&bare, &STANDARD.encode(twice));
        assert_eq!(read(repeated.as_bytes()), Err(EvidenceError::Spelling));
    }

    #[test]
    fn invariant_9_every_flipped_bit_is_refused_or_changes_no_fact() {
        for evidence in [fork(), conflict()] {
            let bytes = evidence.to_bytes();
            for at in 0..bytes.len() * 8 {
                let mut changed = bytes.to_vec();
                changed[at / 8] ^= 1 << (at % 8);
                if let Ok(read) = read(&changed) {
                    assert_eq!(read.facts(), evidence.facts(), "bit {at}");
                }
            }
            let armour = evidence.to_armour().into_bytes();
            // Every byte of the base64 is a byte of the above: the edges are what is left.
            for at in (0..800).chain(armour.len() * 8 - 800..armour.len() * 8) {
                let mut changed = armour.clone();
                changed[at / 8] ^= 1 << (at % 8);
                let Ok(changed) = str::from_utf8(&changed) else { continue };
                let read = UnverifiedEvidence::parse_armour(changed);
                if let Ok(read) = read.and_then(|read| read.verify(&network())) {
                    assert_eq!(read.facts(), evidence.facts(), "bit {at} of the armour");
                }
            }
        }
    }

    #[test]
    fn the_file_survives_mail_and_limits_hold() {
        let evidence = fork();
        let armour = evidence.to_armour();
        assert!(armour.lines().all(|line| line.len() <= 64));
        let quoted: String = armour.lines().map(|line| format!("> > {line}  \r\n")).collect();
        for mail in [armour.clone(), quoted, armour.replace('\n', " ")] {
            let mail = format!("Dear all,\nlook at this:\n\n{mail}\n-- \nAsh Borough\n");
            let read = UnverifiedEvidence::parse_armour(&mail).unwrap();
            assert_eq!(read.verify(&network()), Ok(evidence.clone()));
        }
        let read = |text: &str| UnverifiedEvidence::parse_armour(text).unwrap_err();
        assert_eq!(read("good morning"), EvidenceError::Absent);
        assert_eq!(read(BEGIN), EvidenceError::Armour);
        assert_eq!(read(&format!("{BEGIN}\nAAA\n{END}")), EvidenceError::Armour);
        let huge = "x".repeat(crate::limits::EVIDENCE_TEXT_BYTES + 1);
        assert_eq!(read(&huge), EvidenceError::TooLarge);
        let parse = |text: &str| UnverifiedEvidence::parse(text.as_bytes()).unwrap_err();
        let huge = "x".repeat(crate::limits::EVIDENCE_BYTES + 1);
        assert_eq!(parse(&huge), EvidenceError::TooLarge);
        let many = "event AAAA\n".repeat(crate::limits::IDENTITY_EVENTS + 1);
        let many = format!("tallystick evidence v1 test\n{many}");
        assert_eq!(parse(&many), EvidenceError::TooLarge);
        let hash = format!("proof {}\n", STANDARD.encode([0; 32]));
        let many = hash.repeat(crate::limits::PROOF_HASHES + 1);
        let many = text(&evidence).replace("\nproof ", &format!("\n{many}proof "));
        assert_eq!(parse(&many), EvidenceError::TooLarge);
        let long = STANDARD.encode(vec![0; crate::limits::IDENTITY_EVENT_BYTES + 3]);
        let long = format!("tallystick evidence v1 test\nevent {long}\n");
        assert_eq!(parse(&long), EvidenceError::Line("event"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_fork_is_evidence(fork in 0u64..60, old in 1u64..60, more in 0u64..60, turned: bool) {
            let (ours, theirs) = if turned {
                (branch(200, fork, 2), branch(200, fork, 1))
            } else {
                (branch(200, fork, 1), branch(200, fork, 2))
            };
            let old = fork + old;
            let heads = [head(&ours, old), head(&theirs, old + more)];
            let heads = [&heads[0], &heads[1]];
            let identity = incepted(10);
            let evidence = Evidence::of_fork_in(&identity, heads, &theirs).unwrap();
            prop_assert_eq!(read(evidence.to_bytes()), Ok(evidence.clone()));
            prop_assert!(evidence.is_current(&identity));
            // With a proof as a peer sends it: not where that leaves the old root out.
            let proof = consistency_proof(&theirs, old, old + more).unwrap();
            let received = Evidence::of_fork(&identity, heads, &proof);
            if more > 0 && old.is_power_of_two() {
                prop_assert_eq!(received, Err(EvidenceError::Unproven));
            } else {
                prop_assert_eq!(received, Ok(evidence.clone()));
            }
            if fork > 0 {
                let proofs = [(&ours, old), (&theirs, old + more)]
                    .map(|(tree, size)| consistency_proof(tree, fork, size).unwrap());
                let root = root_at(&ours, fork).unwrap();
                let fork_heads = sorted(heads);
                let proofs = if fork_heads[0] == heads[0] {
                    proofs
                } else {
                    let [one, other] = proofs;
                    [other, one]
                };
                prop_assert!(evidence.with_common(fork, root, proofs).is_ok());
            }
        }

        #[test]
        fn no_heads_of_one_history_are_evidence(
            old in 0u64..100,
            more in 0u64..100,
            from in 0u64..200,
            at: prop::sample::Index,
            extra: bool,
        ) {
            let log = branch(200, 200, 0);
            let new = (old + more).min(200);
            let heads = [head(&log, old), head(&log, new)];
            let heads = [&heads[0], &heads[1]];
            let identity = incepted(10);
            let honest = Evidence::of_fork_in(&identity, heads, &log);
            let expected = if old == 0 && new > 0 {
                EvidenceError::Proof(ProofError::Range)
            } else {
                EvidenceError::Consistent
            };
            prop_assert_eq!(honest, Err(expected));
            // Nor with any proof: of a made-up branch, damaged, too long, or of other sizes.
            let made_up = branch(200, from, 1);
            prop_assert!(Evidence::of_fork_in(&identity, heads, &made_up).is_err());
            let mut proofs = vec![
                consistency_proof(&made_up, old, new).unwrap(),
                consistency_proof(&log, from.min(new), new).unwrap(),
            ];
            let mut damaged = consistency_proof(&log, old, new).unwrap();
            if old.is_power_of_two() {
                damaged.insert(0, root_at(&made_up, old).unwrap());
            }
            if extra {
                damaged.insert(at.index(damaged.len() + 1), leaf_hash(b"extra"));
            } else if !damaged.is_empty() {
                let at = at.index(damaged.len());
                damaged[at] = leaf_hash(b"damaged");
            }
            proofs.push(damaged);
            for proof in proofs {
                prop_assert!(Evidence::of_heads(&identity, heads, proof.clone()).is_err());
                prop_assert!(Evidence::of_fork(&identity, heads, &proof).is_err());
            }
        }

        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "\\PC{0,200}") {
            let _ = read(text.as_bytes());
            let _ = read(format!("tallystick evidence v1 test\n{text}\n").as_bytes());
            let _ = UnverifiedEvidence::parse_armour(&format!("{BEGIN}{text}{END}"));
        }
    }
}
