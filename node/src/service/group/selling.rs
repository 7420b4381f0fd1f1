//! Which members of a group also sell: who could gain by what is shared.
//!
//! A member counts as a seller if one of the organisation identifiers in its
//! profile stands as a supplier in a contract that this node holds, its own
//! register's or an imported notice, or if it is a centre, which may buy for
//! others and charge them. **Invariant:** names decide nothing, and the work is
//! bounded. Deliberately absent: sellers whose profile leaves their identifier
//! out, or whose contracts name them without one; nobody here can know those.

use std::collections::BTreeMap;

use tallystick_protocol::id::AuthorityId;
use tallystick_protocol::identity::{Identity, Role};

use super::super::answer::Seller;
use super::super::{Desk, blocking, failed_search};
use crate::failure::Failure;

/// Most members of all groups of one answer that are looked up.
const LOOKUPS: usize = 512;

/// What is known of everybody who also sells.
#[derive(Debug, Default)]
pub(super) struct Selling {
    sellers: BTreeMap<AuthorityId, Seller>,
    /// How many could not be looked up, for there are too many.
    pub(super) left_out: usize,
}

impl Selling {
    /// Those of `members` who also sell, each with its place among them.
    pub(super) fn among(&self, members: &[AuthorityId]) -> Vec<Seller> {
        let seller = |(member, who): (usize, &AuthorityId)| {
            self.sellers.get(who).map(|seller| Seller { member, ..seller.clone() })
        };
        members.iter().enumerate().filter_map(seller).collect()
    }
}

impl Desk {
    /// Looks up who of `members`, this authority not counted, also sells.
    pub(super) async fn selling(&self, members: Vec<AuthorityId>) -> Result<Selling, Failure> {
        let (own, identities) = (self.authority(), self.0.handle.identities().await);
        let mut others: Vec<_> = members.into_iter().filter(|who| *who != own).collect();
        others.sort_unstable();
        others.dedup();
        let left_out = others.len().saturating_sub(LOOKUPS);
        others.truncate(LOOKUPS);
        let of = |who: &AuthorityId| identities.iter().find(|one| one.authority() == *who).cloned();
        let others: Vec<Identity> = others.iter().filter_map(of).collect();
        let search = self.0.projector.search().clone();
        let looked_up = blocking(move || {
            let mut sellers = BTreeMap::new();
            for other in others {
                let (profile, authority) = (other.profile(), other.authority());
                let ids = profile.organisation_ids.iter().map(ToString::to_string);
                let contracts = search.supplied_by(&ids.collect::<Vec<_>>())?;
                let centre = profile.role == Role::Centre;
                if contracts > 0 || centre {
                    sellers.insert(authority, Seller { member: 0, authority, contracts, centre });
                }
            }
            Ok(sellers)
        });
        Ok(Selling { sellers: looked_up.await?.map_err(failed_search)?, left_out })
    }
}
