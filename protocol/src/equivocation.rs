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
//! - here: what evidence is, whatever it shows;
//! - `fork`, `parting`: each kind, how it is made and verified;
//! - `facts`: all that a reader learns from it;
//! - [`room`]: how much of it is kept;
//! - `file`: its one encoding, and the file that survives mail.
//!
//! **Invariants:** no evidence can be made of one growing log, whoever makes it
//! and with whatever proofs; [`Facts`] has nothing that its authority did not
//! sign; everything made here verifies. Deliberately absent: logs of groups,
//! whose origins name no authority, and what a node does about evidence.

mod facts;
mod file;
mod fork;
mod parting;
pub mod room;

use crate::checkpoint::CheckpointError;
use crate::id::{AuthorityId, NetworkName};
use crate::identity::{Identity, IdentityError, KeyStanding, Relation};
use crate::log::{LogError, ProofError};

pub use self::facts::{Facts, FindingFacts, ForkFacts, LogHead, PartingFacts};
use self::file::Contents;
pub use self::file::{BEGIN, END, UnverifiedEvidence};
pub use self::fork::Fork;
use self::fork::verify_fork;
pub use self::parting::Parting;
use self::parting::verify_parting;

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

impl Evidence {
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

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::cast_possible_truncation, reason = "sizes here are small")]

    use super::*;
    use crate::checkpoint::{Checkpoint, Origin, VerifiedCheckpoint, sign};
    use crate::id::{Generation, Hash};
    use crate::identity::tests::{establishing, incepted, network, secret};
    use crate::identity::{EventType, Head};
    use crate::log::{Frontier, Nodes, consistency_proof, leaf_hash, root_at};
    use crate::time::UnixTime;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    /// Log keys of authority 10: from its inception, after a rotation, after a recovery.
    pub(super) const KEYS: [u8; 3] = [12, 40, 41];

    /// A log whose entries from `fork` on are those of `branch`.
    pub(super) struct Branch(pub(super) Vec<Hash>);

    impl Nodes for Branch {
        fn leaf(&self, index: u64) -> Option<Hash> {
            self.0.get(usize::try_from(index).ok()?).copied()
        }

        fn subtree(&self, _: u64) -> Option<Hash> {
            None
        }
    }

    pub(super) fn branch(size: u64, fork: u64, branch: u64) -> Branch {
        let entry = |n: u64| if n < fork { [n, 0] } else { [n, branch] };
        Branch((0..size).map(|n| leaf_hash(&entry(n).map(u64::to_be_bytes).concat())).collect())
    }

    pub(super) fn head_of(
        tree: &Branch,
        size: u64,
        generation: Generation,
        key: u8,
    ) -> VerifiedCheckpoint {
        let mut frontier = Frontier::new();
        tree.0.iter().take(size as usize).for_each(|leaf| frontier.push(*leaf));
        let origin = Origin::public(&network(), &incepted(10).authority(), generation);
        sign(&Checkpoint::new(origin, size, frontier.root()).unwrap(), &secret(key)).unwrap()
    }

    pub(super) fn head(tree: &Branch, size: u64) -> VerifiedCheckpoint {
        head_of(tree, size, 0, KEYS[0])
    }

    pub(super) fn rotated() -> Identity {
        let first = incepted(10);
        let event = establishing(&first, EventType::Rotation, (11, 112), |event| {
            event.keys.log = secret(KEYS[1]).public();
            event.pin = Head::of(&head(&branch(9, 9, 0), 5));
        });
        first.extended(event).unwrap()
    }

    pub(super) fn recovered(identity: &Identity, by: u8) -> Identity {
        let event = establishing(identity, EventType::Recovery, (by, 60), |event| {
            event.keys.log = secret(KEYS[2]).public();
            event.closes = Head::of(&head(&branch(9, 9, 0), 9));
            event.generation = 1;
        });
        identity.extended(event).unwrap()
    }

    pub(super) fn renamed(identity: &Identity, name: &str) -> Identity {
        let mut event = identity.next_event(EventType::Profile, UnixTime::from_seconds(1));
        event.profile.name = name.into();
        identity.extended(event.sign(&[(0, &secret(10))]).unwrap()).unwrap()
    }

    /// Heads of 11 and 14 entries that have the first seven in common.
    pub(super) fn fork() -> Evidence {
        let (ours, theirs) = (branch(20, 7, 1), branch(20, 7, 2));
        let heads = [&head(&ours, 11), &head(&theirs, 14)];
        let evidence = Evidence::of_fork_in(&incepted(10), heads, &theirs).unwrap();
        let proofs = [(&ours, 11), (&theirs, 14)]
            .map(|(tree, size)| consistency_proof(tree, 7, size).unwrap());
        evidence.with_common(7, root_at(&ours, 7).unwrap(), proofs).unwrap()
    }

    pub(super) fn conflict() -> Evidence {
        let first = incepted(10);
        Evidence::of_identities(&renamed(&first, "Ash"), &renamed(&first, "Oak")).unwrap()
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Evidence, EvidenceError> {
        UnverifiedEvidence::parse(bytes)?.verify(&network())
    }

    pub(super) fn text(evidence: &Evidence) -> String {
        String::from_utf8(evidence.to_bytes().to_vec()).unwrap()
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
        fn any_text_is_read_or_refused_without_a_panic(text in "\\PC{0,200}") {
            let _ = read(text.as_bytes());
            let _ = read(format!("tallystick evidence v1 test\n{text}\n").as_bytes());
            let _ = UnverifiedEvidence::parse_armour(&format!("{BEGIN}{text}{END}"));
        }
    }
}
