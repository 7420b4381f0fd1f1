//! Partners whose node got a new key: their newer card is taken as they hand it in.
//!
//! A node whose key was replaced is a stranger to its partners, and as such may
//! hand in its card. If that is of a partner, and continues the identity that
//! the partner's card has here, then controllers of the partner have named the
//! node, and nobody else could have.
//!
//! **Invariant:** nobody becomes a partner here; who is one stays one. Deliberately
//! absent: cards that say nothing new of keys, which a person has to bring.

use std::time::Duration;

use tallystick_protocol::card::Card;
use tallystick_protocol::identity::Relation;

use super::{Desk, read_card};

/// How often cards that were handed in are looked at.
const PERIOD: Duration = Duration::from_secs(2);

impl Desk {
    /// Takes newer cards of partners, for ever.
    pub(super) async fn renew_partners(&self) {
        loop {
            for request in self.0.handle.requests() {
                let Ok(card) = read_card(&request.card, &self.0.config) else { continue };
                if card.node() == request.node && self.continues_a_partner(&card).await {
                    match self.add_partner(&request.card).await {
                        Ok(_) => tracing::info!(peer = %card.node(), "a partner's new key"),
                        Err(failure) => tracing::warn!(%failure, "a partner's new key is not kept"),
                    }
                }
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    async fn continues_a_partner(&self, card: &Card) -> bool {
        let book = self.0.partners.lock().await;
        let known = book.partners().find(|known| known.authority() == card.authority());
        known.is_some_and(|known| {
            card.identity().relation_to(known.identity()) == Some(Relation::Extends)
        })
    }
}
