//! Partners at the desk: adding, accepting, listing, removing.

use tallystick_protocol::card::Card;
use tallystick_protocol::id::{AuthorityId, NodeId};
use tallystick_protocol::identity::{Identity, Relation};
use tallystick_protocol::name::Form;
use tallystick_protocol::time::UnixTime;

use super::{Desk, answer, blocking, failed_store, now, read_card, stopping};
use crate::acquaintance::{Acquaintances, lookalikes, oddities};
use crate::failure::Failure;
use crate::partner::{Added, dialable};
use crate::store::StoreError;

impl Desk {
    /// Partners, and nodes that would like to be partners.
    ///
    /// # Errors
    /// A [`Failure`] if the node is stopping.
    pub async fn partners(&self) -> Result<answer::Partners, Failure> {
        let status = self.0.handle.status().await.ok_or_else(stopping)?;
        let connected = |node: NodeId| status.peers.iter().any(|peer| peer.node == node);
        let partners: Vec<Card> = self.0.partners.lock().await.partners().cloned().collect();
        let (requests, now) = (self.requests().await, now()?);
        let why = |card: &Card| card.check_time(now).err().map(|error| error.to_string());
        let out_of_date: Vec<_> = requests.iter().map(why).collect();
        let look = Look { partners, requests, met: self.acquaintances().await };
        let mut all = look.views().await?;
        for view in all.partners.iter_mut().chain(&mut all.requests) {
            view.connected = connected(view.node);
        }
        for (view, why) in all.requests.iter_mut().zip(out_of_date) {
            view.out_of_date = why;
        }
        Ok(all)
    }

    /// Makes the authority on a card a partner: keeps it, connects, replicates.
    ///
    /// # Errors
    /// A [`Failure`] if the card is not valid here, or cannot be kept.
    pub async fn add_partner(&self, card: &str) -> Result<answer::PartnerChange, Failure> {
        self.add(read_card(card, &self.0.config)?).await
    }

    /// Accepts a node that would like to be a partner.
    ///
    /// # Errors
    /// A [`Failure`] if there is no such request, or several.
    pub async fn accept_partner(&self, name: &str) -> Result<answer::PartnerChange, Failure> {
        let requests = self.requests().await;
        match find(&requests, name)? {
            Some(card) => self.add(card.clone()).await,
            None => Err(Failure::no(
                format!("no node called {name:?} would like to be a partner"),
                "`tally partner list` shows the requests; ask for the card and use `tally partner add`",
            )),
        }
    }

    /// Ends a partnership or turns a request down. What was received stays.
    ///
    /// # Errors
    /// A [`Failure`] if there is no such partner or request, or several.
    pub async fn remove_partner(&self, name: &str) -> Result<answer::PartnerChange, Failure> {
        let mut known = self.requests().await;
        let mut book = self.0.partners.lock().await;
        known.extend(book.partners().cloned());
        let Some(card) = find(&known, name)?.cloned() else {
            return Err(Failure::no(
                format!("there is no partner called {name:?}"),
                "`tally partner list` shows them",
            ));
        };
        book.remove(&card.authority())?;
        drop(book);
        self.0.handle.forbid(card.node()).await;
        Ok(answer::PartnerChange { partner: self.view(card, false).await?, changed: true })
    }

    async fn add(&self, card: Card) -> Result<answer::PartnerChange, Failure> {
        if card.authority() == self.authority() {
            return Err(Failure::usage(
                "this is the card of this authority itself",
                "give this card to the partner, and add the one the partner gives you",
            ));
        }
        self.refuse_rollback(&card).await?;
        let mut book = self.0.partners.lock().await;
        let before = book.partners().find(|known| known.authority() == card.authority());
        let moved = before.map(Card::node).filter(|node| *node != card.node());
        let added = book.add(card.clone(), now()?)?;
        drop(book);
        if added != Added::Known {
            if let Some(node) = moved {
                self.0.handle.forbid(node).await;
            }
            self.0.handle.introduce(card.identity().events().to_vec()).await;
            self.0.handle.allow(card.node(), dialable(&card)).await;
        }
        let changed = added == Added::New;
        Ok(answer::PartnerChange {
            partner: self.view(card, added != Added::Known).await?,
            changed,
        })
    }

    /// Refuses a card whose identity is an older state of one that is known here,
    /// be it valid: the node on it may be one whose key was replaced since.
    async fn refuse_rollback(&self, card: &Card) -> Result<(), Failure> {
        let known = self.0.handle.identity(card.authority()).await;
        let relation = known.and_then(|known| card.identity().relation_to(&known));
        match relation {
            Some(Relation::Behind | Relation::Superseded { .. }) => Err(Failure::usage(
                "the card carries an older identity of this authority than the one known here",
                "ask them for a fresh one, the output of `tally whoami`",
            )),
            _ => Ok(()),
        }
    }

    /// One authority as it is known now; `compared` with all others, if so.
    async fn view(&self, card: Card, compared: bool) -> Result<answer::PartnerView, Failure> {
        let cards = vec![card];
        let (partners, requests) = if compared { (Vec::new(), cards) } else { (cards, Vec::new()) };
        let look = Look { partners, requests, met: self.acquaintances().await };
        let answer::Partners { partners, requests } = look.views().await?;
        let mut views = partners.into_iter().chain(requests);
        views.next().ok_or_else(|| Failure::internal("a partner was lost"))
    }

    /// Valid cards of nodes that are no partners, handed in by these nodes themselves.
    pub(super) async fn requests(&self) -> Vec<Card> {
        let book = self.0.partners.lock().await;
        let mut requests = Vec::new();
        for request in self.0.handle.requests() {
            match read_card(&request.card, &self.0.config) {
                Ok(card) if card.node() != request.node || book.is_partner(&card.authority()) => {}
                Ok(card) => requests.push(card),
                Err(failure) => tracing::debug!(peer = %request.node, %failure, "request refused"),
            }
        }
        requests
    }
}

/// The card whose authority has this name, or an id that begins so.
pub(super) fn find<'a>(cards: &'a [Card], name: &str) -> Result<Option<&'a Card>, Failure> {
    only(cards.iter().filter(|card| is_meant(card.identity(), name)), name)
}

/// Whether an authority has this name, or an id that begins so.
pub(super) fn is_meant(identity: &Identity, name: &str) -> bool {
    // A few characters fit nearly everybody.
    let begins = name.len() >= 6 && identity.authority().to_string().starts_with(name);
    begins || identity.profile().name == name
}

/// The one that was found, if there is one.
pub(super) fn only<T>(found: impl Iterator<Item = T>, name: &str) -> Result<Option<T>, Failure> {
    let mut found = found.take(2);
    match (found.next(), found.next()) {
        (one, None) => Ok(one),
        (_, Some(_)) => Err(Failure::usage(
            format!("several authorities may be meant by {name:?}"),
            "give more characters of the authority id; `tally partner list` shows it",
        )),
    }
}

/// Cards to be looked at closely.
struct Look {
    /// Those of partners.
    partners: Vec<Card>,
    /// Those whose names are compared with all others.
    requests: Vec<Card>,
    met: Acquaintances,
}

impl Look {
    async fn views(self) -> Result<answer::Partners, Failure> {
        blocking(move || {
            let all = |cards: &[Card], forms: &[_]| {
                let views = cards.iter().map(|card| self.view(card, forms));
                views.collect::<Result<Vec<_>, StoreError>>()
            };
            let forms = if self.requests.is_empty() { Vec::new() } else { self.met.forms() };
            let (partners, requests) = (all(&self.partners, &[])?, all(&self.requests, &forms)?);
            Ok(answer::Partners { partners, requests })
        })
        .await?
        .map_err(failed_store)
    }

    fn view(
        &self,
        card: &Card,
        forms: &[(AuthorityId, String, Form)],
    ) -> Result<answer::PartnerView, StoreError> {
        let (identity, profile) = (card.identity(), card.identity().profile());
        let mut alike = Vec::new();
        for lookalike in lookalikes(forms, &card.authority(), profile) {
            let known = self.met.known(&lookalike.authority)?;
            alike.push(answer::LookalikeView {
                authority: lookalike.authority,
                name: lookalike.name,
                known: known.map(|known| known.attribution).unwrap_or_default(),
                resemblance: lookalike.resemblance.explanation().to_owned(),
            });
        }
        Ok(answer::PartnerView {
            authority: card.authority(),
            name: profile.name.clone(),
            known: self.met.attribution(identity)?,
            organisation_ids: profile.organisation_ids.iter().map(ToString::to_string).collect(),
            domain: profile.domain.clone(),
            domain_proof: self.met.finding(identity).map(|found| answer::DomainView {
                checked: found.checked.as_seconds(),
                proven: found.proven.map(UnixTime::as_seconds),
                failure: found.failure.clone(),
            }),
            endorsements: self.met.endorsers(identity)?.len(),
            fingerprint: card.fingerprint(),
            node: card.node(),
            addresses: card.addresses().to_vec(),
            connected: false,
            out_of_date: None,
            lookalikes: alike,
            oddities: oddities(profile),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::tests::card;

    #[test]
    fn names_mean_one_authority_or_none() {
        let cards = [card("Ash", 1), card("Oak", 1), card("Ash", 1)];
        assert_eq!(find(&cards, "Oak").unwrap(), Some(&cards[1]));
        assert_eq!(find(&cards, "Elm").unwrap(), None);
        assert_eq!(find(&cards, "Ash").unwrap_err().kind.exit_code(), 2);
        let id = cards[2].authority().to_string();
        assert_eq!(find(&cards, &id[..20]).unwrap(), Some(&cards[2]));
        // A few characters fit nearly everybody.
        assert_eq!(find(&cards, "tally").unwrap(), None);
    }
}
