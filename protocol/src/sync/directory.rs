//! Who is who: the identity chain of each authority that is known, and which
//! nodes work for it.
//!
//! A chain is taken over when it continues the known one, or when its owner's
//! committed keys outweigh what the known one says (see
//! [`crate::identity::relation`]). Where neither of two chains counts, the
//! authority stands where they part, in dispute, with both kept, until a chain
//! comes that outweighs them.
//!
//! **Invariants:** every chain in here was verified; whatever order chains come
//! in, whoever has seen the same ones knows the same. Deliberately absent: when
//! others are told, which the ledger decides.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::verified::Verified;
use super::wire::PREFIX_BYTES;
use crate::id::{AuthorityId, NetworkName, NodeId};
use crate::identity::{Identity, IdentityError, Relation, UnverifiedChain};

/// One authority.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// What counts. In a dispute: the events before the two that differ.
    pub(super) identity: Arc<Identity>,
    /// Two chains of which neither counts.
    pub(super) conflict: Option<[Arc<Identity>; 2]>,
    /// Its place in the order of changes.
    pub(super) changed: u64,
}

/// What a chain that came in means.
#[derive(Debug)]
pub(super) enum Judgement {
    /// Nothing new.
    Nothing,
    /// An authority that was not known.
    New(Arc<Identity>),
    /// A chain that counts from now on.
    Grown(Arc<Identity>),
    /// Another valid chain: neither counts from where they part.
    Conflict {
        /// The events before.
        before: Arc<Identity>,
        /// Both chains.
        branches: [Arc<Identity>; 2],
    },
}

/// All authorities.
#[derive(Debug, Default)]
pub(super) struct Directory {
    known: BTreeMap<AuthorityId, Known>,
    nodes: BTreeMap<NodeId, AuthorityId>,
}

impl Directory {
    pub(super) fn identity(&self, authority: &AuthorityId) -> Option<&Identity> {
        self.known.get(authority).map(|known| &*known.identity)
    }

    pub(super) fn get(&self, authority: &AuthorityId) -> Option<&Known> {
        self.known.get(authority)
    }

    pub(super) fn authority_of(&self, node: &NodeId) -> Option<AuthorityId> {
        self.nodes.get(node).copied()
    }

    pub(super) fn identities(&self) -> impl Iterator<Item = &Identity> {
        self.known.values().map(|known| &*known.identity)
    }

    /// The authority whose id begins so, unless there are several.
    pub(super) fn only_one(&self, prefix: &[u8; PREFIX_BYTES]) -> Option<&Identity> {
        let mut first = [0; 32];
        first.iter_mut().zip(prefix).for_each(|(to, from)| *to = *from);
        let from = self.known.range(AuthorityId::from_bytes(first)..);
        let mut fitting = from.take_while(|(id, _)| id.as_bytes().starts_with(prefix));
        let one = fitting.next()?;
        fitting.next().is_none().then_some(&*one.1.identity)
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether controllers signed two chains of which neither counts.
    pub(super) fn is_disputed(&self, authority: &AuthorityId) -> bool {
        self.known.get(authority).is_some_and(|known| known.conflict.is_some())
    }

    /// Verifies a chain, as far as it is not known, and says what it means.
    pub(super) fn judge(
        &self,
        chain: UnverifiedChain,
        network: &NetworkName,
        verified: &mut Verified,
    ) -> Result<Judgement, IdentityError> {
        let claimed = chain.claimed_authority();
        let Some(known) = claimed.and_then(|claimed| self.known.get(&claimed)) else {
            return verified.chain(chain, network).map(Judgement::New);
        };
        // Every partner tells of everybody it knows: what we hold is compared, not verified again.
        if known.is_nothing_new(&chain) {
            return Ok(Judgement::Nothing);
        }
        let identity = verified.chain(chain, network)?;
        match &known.conflict {
            None => judge_one(&known.identity, identity, network),
            Some(branches) => {
                let outweighs = |branch: &Arc<Identity>| {
                    let relation = identity.relation_to(branch);
                    matches!(relation, Some(Relation::Extends | Relation::Supersedes { .. }))
                };
                let ended = branches.iter().all(outweighs);
                Ok(if ended { Judgement::Grown(identity) } else { Judgement::Nothing })
            }
        }
    }

    /// Keeps what a judgement gave, at its place in the order of changes; gives
    /// the place that the authority had before.
    pub(super) fn keep(
        &mut self,
        identity: Arc<Identity>,
        conflict: Option<[Arc<Identity>; 2]>,
        changed: u64,
    ) -> Option<u64> {
        let authority = identity.authority();
        let old = self.known.remove(&authority);
        let branches = conflict.iter().flatten();
        let nodes: Vec<NodeId> = core::iter::once(&identity)
            .chain(branches)
            .flat_map(|one| one.node_keys())
            .filter_map(|key| NodeId::try_from(key.as_bytes()).ok())
            .collect();
        if old.is_some() {
            // Keys that were replaced, stolen ones perhaps, speak for nobody any more.
            self.nodes.retain(|node, of| *of != authority || nodes.contains(node));
        }
        for node in nodes {
            self.nodes.entry(node).or_insert(authority);
        }
        self.known.insert(authority, Known { identity, conflict, changed });
        old.map(|old| old.changed)
    }
}

impl Known {
    /// Whether a chain says nothing that is not known, byte for byte.
    fn is_nothing_new(&self, chain: &UnverifiedChain) -> bool {
        let branches = self.conflict.iter().flat_map(|branches| branches.iter());
        core::iter::once(&self.identity).chain(branches).any(|known| chain.is_known_to(known))
    }

    /// The chains that others must have seen to know the same.
    pub(super) fn chains(&self) -> impl Iterator<Item = &Arc<Identity>> {
        let branches = self.conflict.iter().flat_map(|branches| branches.iter());
        let alone = self.conflict.is_none().then_some(&self.identity);
        alone.into_iter().chain(branches)
    }
}

fn judge_one(
    known: &Arc<Identity>,
    new: Arc<Identity>,
    network: &NetworkName,
) -> Result<Judgement, IdentityError> {
    Ok(match new.relation_to(known) {
        Some(Relation::Extends | Relation::Supersedes { .. }) => Judgement::Grown(new),
        Some(Relation::Conflict { position }) => {
            let position = usize::try_from(position).unwrap_or(usize::MAX);
            let common = known.events().iter().take(position).cloned().collect();
            let before = UnverifiedChain::new(common).verify(network)?;
            Judgement::Conflict { before: Arc::new(before), branches: [Arc::clone(known), new] }
        }
        Some(Relation::Same | Relation::Behind | Relation::Superseded { .. }) | None => {
            Judgement::Nothing
        }
    })
}
