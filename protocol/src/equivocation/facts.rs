//! The reported facts: all that a reader learns from evidence.
//!
//! **Invariant:** (9 of the design) whatever is changed in a file, it is
//! refused or reports the same. Deliberately absent: signatures, proofs and the
//! rest of the chains, which are there to be checked and not to be told.

use super::{Evidence, EvidenceKind, Finding};
use crate::checkpoint::Checkpoint;
use crate::id::{AuthorityId, Generation, Hash, NetworkName};
use crate::identity::{Identity, Relation};
use crate::key::PublicKey;

/// What evidence says. Two pieces that compare equal here say the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The network it belongs to.
    pub network: NetworkName,
    /// Who signed two histories.
    pub authority: AuthorityId,
    /// Its kind.
    pub kind: EvidenceKind,
    /// What it shows.
    pub finding: FindingFacts,
}

/// What is shown, by kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FindingFacts {
    /// Two heads of one log that cannot both be.
    Fork(Box<ForkFacts>),
    /// Two identity chains that part.
    Identity(PartingFacts),
}

/// How far a log goes, and what it is up to there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogHead {
    /// Entries.
    pub size: u64,
    /// RFC 6962 root over them.
    pub root: Hash,
}

impl From<&Checkpoint> for LogHead {
    fn from(head: &Checkpoint) -> Self {
        Self { size: head.size(), root: head.root() }
    }
}

/// Two heads of one log that cannot both be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForkFacts {
    /// How the authority calls itself.
    pub name: String,
    /// Generation of the log.
    pub generation: Generation,
    /// The log key that signed both heads.
    pub key: PublicKey,
    /// The heads, the smaller first, at equal sizes the lower root.
    pub heads: [LogHead; 2],
    /// Root of the second history at the size of the first head: what the first
    /// would have to be.
    pub shown: Hash,
    /// The most entries that are shown to be the same in both, if any are.
    pub common: Option<LogHead>,
    /// Where the chain in the file has closed the generation, which ended the dispute.
    pub closed: Option<LogHead>,
}

/// Two identity chains of one authority that part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartingFacts {
    /// How the authority calls itself in each.
    pub names: [String; 2],
    /// SHA-256 of the newest event of each.
    pub newest: [Hash; 2],
    /// How the first stands to the second.
    pub relation: Relation,
    /// Position of the first event that differs.
    pub position: u32,
}

impl Evidence {
    /// Everything it says.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let finding = match self.finding() {
            Finding::Fork(fork) => {
                let closing = fork.identity.closing(fork.generation);
                FindingFacts::Fork(Box::new(ForkFacts {
                    name: fork.identity.profile().name.clone(),
                    generation: fork.generation,
                    key: fork.key,
                    heads: fork.signed(),
                    shown: fork.shown,
                    common: fork.common,
                    closed: closing.map(|head| LogHead { size: head.size(), root: head.root() }),
                }))
            }
            Finding::Identity(parting) => FindingFacts::Identity(PartingFacts {
                names: parting.chains.each_ref().map(|chain| chain.profile().name.clone()),
                newest: parting.chains.each_ref().map(Identity::newest),
                relation: parting.relation,
                position: parting.position,
            }),
        };
        let (network, authority) = (self.network().clone(), self.authority());
        Facts { network, authority, kind: self.kind(), finding }
    }
}
