//! Witness policies at the desk: whose cosignatures confirm what an authority says.
//!
//! What somebody without a node needs to verify proofs: the authority's log key,
//! the witnesses that its profile names, with their keys as this node knows them,
//! and how many of them confirm. Deliberately absent: the file, which `tally
//! policy` writes, and witnesses that the reader chooses.

use tallystick_protocol::checkpoint::{Origin, log_key, witness_key};
use tallystick_protocol::id::AuthorityId;
use tallystick_protocol::identity::Identity;
use tallystick_protocol::note::VerifierKey;

use super::partners::{is_meant, only};
use super::{Desk, answer, names};
use crate::failure::Failure;

impl Desk {
    /// The policy that confirms what an authority says; this one, if none is named.
    ///
    /// # Errors
    /// A [`Failure`] if nobody or several have this name, or too few of its
    /// witnesses are known here.
    pub async fn policy(&self, name: Option<&str>) -> Result<answer::PolicyView, Failure> {
        let all = self.0.handle.identities().await;
        let meant = |identity: &&Identity| match name {
            Some(name) => is_meant(identity, name),
            None => identity.authority() == self.authority(),
        };
        let name = name.unwrap_or_default();
        let author = only(all.iter().filter(meant), name)?.ok_or_else(|| nobody(name))?;
        let known = |authority: &&AuthorityId| all.iter().any(|one| one.authority() == **authority);
        let count = author.witnesses().iter().filter(known).count();
        let (quorum, witnesses) = (author.quorum(), author.witnesses().len());
        if count < quorum as usize {
            return Err(Failure::unavailable(
                format!(
                    "{quorum} of the {witnesses} witnesses that this authority names confirm, and \
                     this node knows the keys of {count}"
                ),
                "make the others partners with `tally partner add CARD`, or wait until they are met",
            ));
        }
        let met = self.acquaintances().await;
        let authorities = author.witnesses().iter().copied().chain([author.authority()]).collect();
        let how = names(met, authorities).await?;
        let view = |authority: AuthorityId| {
            let (name, known) =
                how.get(&authority).cloned().map(|how| (how.name, how.attribution)).unzip();
            let key = all.iter().find(|one| one.authority() == authority);
            let key = key
                .map(|one| witness_key(one.network(), &authority, *one.witness_key()).to_string());
            answer::PolicyWitness { authority, name, known, key }
        };
        let own = view(author.authority());
        let witnesses = author.witnesses().iter().map(|witness| view(*witness)).collect();
        let log = key_of(author, author.generation());
        let closed = (0..author.generation()).filter_map(|closed| key_of(author, closed));
        let answer::PolicyWitness { authority, name, known, .. } = own;
        Ok(answer::PolicyView {
            authority,
            name,
            known,
            log: log.map(|key| key.to_string()).unwrap_or_default(),
            closed_logs: closed.map(|key| key.to_string()).collect(),
            witnesses,
            quorum,
        })
    }
}

fn nobody(name: &str) -> Failure {
    Failure::no(
        format!("no authority called {name:?} is known here"),
        "`tally status` and `tally partner list` show who is; give the id or the exact name",
    )
}

/// The newest log key of a generation.
fn key_of(author: &Identity, generation: u32) -> Option<VerifierKey> {
    let origin = Origin::public(author.network(), &author.authority(), generation);
    author.log_keys(generation).next().map(|(key, _)| log_key(&origin, *key))
}
