//! What has to be made new while a node runs: partners' cards, and its own.
//!
//! A node whose key was replaced is a stranger to its partners, and as such may
//! hand in its card. If that is of a partner, and continues the identity that
//! the partner's card has here, then controllers of the partner have named the
//! node, and nobody else could have.
//!
//! Our own card, which is handed to nodes that do not know us, is made anew every
//! day, since it is valid for [`Validity::USUAL_DAYS`] and nodes run for years.
//!
//! **Invariant:** nobody becomes a partner here; who is one stays one. Deliberately
//! absent: cards that say nothing new of keys, which a person has to bring.

use std::time::Duration;

use tallystick_protocol::card::{Card, Validity};
use tallystick_protocol::identity::Relation;

use super::{Desk, now, read_card};

/// How often cards that were handed in are looked at.
const PERIOD: Duration = Duration::from_secs(2);
/// How often the own card is made anew.
const OWN: Duration = Duration::from_secs(24 * 3600);

impl Desk {
    /// Takes newer cards of partners, for ever.
    pub(super) async fn renew_partners(&self) {
        loop {
            for request in self.0.handle.requests() {
                let Ok(card) = read_card(&request.card, &self.0.config) else { continue };
                let timely = now().is_ok_and(|now| card.check_time(now).is_ok());
                if timely && card.node() == request.node && self.continues_a_partner(&card).await {
                    match self.add_partner(&request.card).await {
                        Ok(_) => tracing::info!(peer = %card.node(), "a partner's new key"),
                        Err(failure) => tracing::warn!(%failure, "a partner's new key is not kept"),
                    }
                }
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Makes the card new that is handed to nodes which may not know us, for ever.
    pub(super) async fn renew_card(&self) {
        loop {
            tokio::time::sleep(OWN).await;
            match self.card(Validity::USUAL_DAYS).await {
                Ok(card) => self.0.handle.present(card.to_line()).await,
                Err(failure) => tracing::warn!(%failure, "our card is not made anew"),
            }
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
