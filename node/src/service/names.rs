//! Names at the desk: what authorities are called now, and how that is known.

use std::collections::{BTreeMap, BTreeSet};

use tallystick_protocol::card::Card;
use tallystick_protocol::id::AuthorityId;

use super::{Desk, blocking, failed_store, now};
use crate::acquaintance::{Acquaintances, Known};
use crate::failure::Failure;

impl Desk {
    /// Everybody whose identity is known, as of now.
    pub(super) async fn acquaintances(&self) -> Acquaintances {
        let identities = self.0.handle.identities().await;
        let book = self.0.partners.lock().await;
        let partners = book.partners().map(Card::authority).collect();
        drop(book);
        let domains = self.0.domains.lock().await.clone();
        // Before 1970 nothing has been proved.
        let domains = (domains, now().unwrap_or_default());
        let register = self.0.projector.register().clone();
        Acquaintances::new(self.authority(), identities, partners, domains, register)
    }
}

/// What these authorities are called, as far as their identity is known.
pub(super) async fn names(
    met: Acquaintances,
    authorities: BTreeSet<AuthorityId>,
) -> Result<BTreeMap<AuthorityId, Known>, Failure> {
    let named = move || {
        let known = |id: AuthorityId| met.known(&id).map(|known| known.map(|known| (id, known)));
        authorities.into_iter().filter_map(|id| known(id).transpose()).collect::<Result<_, _>>()
    };
    blocking(named).await?.map_err(failed_store)
}
