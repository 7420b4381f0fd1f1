//! Epochs: periods of a group's life with one secret each.
//!
//! The `epoch` operation of a control entry is deterministic CBOR:
//!
//! ```text
//! [nonce, commitment to the secret, [[earlier epoch, its sealed secret], …],
//!  [[authority, suite, key id, sealed secret], …]]
//! ```
//!
//! Links ascend by epoch, recipients by authority. A suite is the KEM, KDF and
//! AEAD identifiers of RFC 9180, two bytes each; a key id is the first eight
//! bytes of SHA-256 over the recipient's KEM identifier and public key.
//!
//! An epoch's id is the leaf hash of the entry that opened it, and so commits to
//! the secret and to every copy. Any writing member may open one for the members it
//! knows. Three questions are asked of an epoch:
//!
//! - *Is it known?* Its entry is here and counts. A header under an unknown epoch
//!   holds back its log's head and display ([`Membership::epoch`]).
//! - *May it be written under?* If all its recipients are members now, and all of
//!   later epochs that link to it. Whoever knows somebody to be removed refuses an
//!   epoch that it can read. Of several
//!   the one counts that no other usable one has seen; of those the lowest id
//!   ([`Membership::current_epoch`]).
//! - *Is a new one needed?* If there is none to write under, or it leaves a member out, or
//!   is sealed to a key that a member has replaced ([`Membership::epoch_needed`]).
//!   So one rotation heals a group after a theft or a recovery.
//!
//! Where the group's history is for all, an epoch links to those before it that its
//! author can read: a newcomer finds its way back through all of them. What
//! was sealed under an epoch stays readable to its recipients; that is no
//! forward secrecy, since auditors need history.
//!
//! A recipient checks the secret it finds against the commitment. One who is
//! given another secret than the others, or none that opens, has
//! [`EpochError::Differs`] or [`EpochError::Seal`] to complain of, and opens a new
//! epoch. Nobody else can check that without its sealing key, so it is a claim, not evidence.
//!
//! **Invariants:** an [`EpochOpening`] names each recipient and each earlier epoch
//! once; a [`Keyring`] holds only secrets that fit their epoch's commitment.
//! Deliberately absent: when to rotate, which the node decides.

use std::collections::{BTreeMap, BTreeSet};

use super::membership::{Membership, OpenedEpoch};
use super::operation::{ControlError, exactly};
use super::seal::{
    BodyKey, CopyInfo, EpochSecret, LinkPlace, SealError, SealingSecret, Stream, Suite, key_id,
    seal_to,
};
use super::{History, Role};
use crate::cbor::{CborError, Reader, Writer};
use crate::id::{AuthorityId, EpochId, GroupId, NetworkName};
use crate::identity::SealingKey;
use crate::limits;
use crate::time::UnixTime;

/// Bytes of an earlier epoch's secret under the new one: the secret and a tag.
pub(super) const LINK_BYTES: usize = 48;

/// The secret of an earlier epoch, sealed under the new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Which epoch.
    pub epoch: EpochId,
    /// Its secret and a tag.
    pub(super) sealed: [u8; LINK_BYTES],
}

/// One copy of an epoch's secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Whose it is.
    pub authority: AuthorityId,
    /// How it is sealed: KEM, KDF and AEAD of RFC 9180, two bytes each.
    pub suite: [u8; 6],
    /// To which of the recipient's keys.
    pub key_id: [u8; 8],
    /// Encapsulated key and ciphertext.
    pub(super) sealed: Vec<u8>,
}

/// What opens an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochOpening {
    pub(super) nonce: [u8; 32],
    pub(super) commitment: [u8; 32],
    pub(super) links: Vec<Link>,
    pub(super) copies: Vec<Copy>,
}

/// Why an epoch cannot be opened or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EpochError {
    /// No member, or no writing one, opens an epoch: the caller's fault.
    #[error("only a writing member opens an epoch")]
    NotWriting,
    /// The sealing key of a member is unknown or of no use.
    #[error("there is no sealing key for {0}")]
    NoKey(AuthorityId),
    /// More than [`limits::GROUP_MEMBERS`].
    #[error("the group has more members than an epoch may have recipients")]
    TooMany,
    /// There is no copy for this authority, and no way from a later epoch.
    #[error("the epoch is not sealed to this authority")]
    NotRecipient,
    /// The copy is for a sealing key whose secret is not at hand.
    #[error("the epoch is sealed to a key that is not here any more")]
    OtherKey,
    /// The copy does not open: its author's fault.
    #[error("the copy of the epoch's secret is of no use: {0}")]
    Seal(#[from] SealError),
    /// The secret is not the one that the epoch commits to: its author has given
    /// members different ones.
    #[error("the secret is not the one that the epoch commits to")]
    Differs,
}

impl EpochOpening {
    /// A new epoch of `group` by `author` for `recipients`, its own key among
    /// them, that links to `earlier`. `random` is 32 bytes of a cryptographic
    /// random source, never used again.
    ///
    /// # Errors
    /// [`EpochError::TooMany`], [`EpochError::NotWriting`] without a copy for the
    /// author, [`EpochError::NoKey`].
    pub fn new(
        place: EpochPlace<'_>,
        recipients: &BTreeMap<AuthorityId, SealingKey>,
        earlier: &BTreeMap<EpochId, &EpochSecret>,
        random: [u8; 32],
    ) -> Result<(Self, EpochSecret), EpochError> {
        if recipients.len() > limits::GROUP_MEMBERS || earlier.len() > limits::EPOCH_LINKS {
            return Err(EpochError::TooMany);
        }
        if !recipients.contains_key(place.author) {
            return Err(EpochError::NotWriting);
        }
        let mut stream = Stream::from_random(random);
        let secret = EpochSecret::from_bytes(stream.next());
        let nonce = stream.next();
        let seal = |(recipient, key)| place.seal(&nonce, recipient, key, &secret, &mut stream);
        let copies = recipients.iter().map(seal).collect::<Result<Vec<_>, _>>()?;
        let link = |(epoch, earlier): (&EpochId, &&EpochSecret)| {
            let sealed = secret.seal_earlier(&place.link(&nonce, epoch), earlier);
            sealed.map(|sealed| Link { epoch: *epoch, sealed }).ok_or(EpochError::TooMany)
        };
        let links = earlier.iter().map(link).collect::<Result<Vec<_>, _>>()?;
        let commitment = secret.commitment(place.network, place.group, &nonce);
        Ok((Self { nonce, commitment, links, copies }, secret))
    }

    /// Opens the copy for `recipient` with one of its sealing keys.
    ///
    /// # Errors
    /// An [`EpochError`]; [`EpochError::Seal`] and [`EpochError::Differs`] are
    /// the author's fault.
    pub fn open(
        &self,
        place: EpochPlace<'_>,
        recipient: &AuthorityId,
        keys: &[SealingSecret],
    ) -> Result<EpochSecret, EpochError> {
        let copy = self.copies.iter().find(|copy| copy.authority == *recipient);
        let copy = copy.ok_or(EpochError::NotRecipient)?;
        let mine = |key: &&SealingSecret| {
            key.public().is_ok_and(|public| {
                key_id(&public) == copy.key_id && key.suite().id() == copy.suite
            })
        };
        let key = keys.iter().find(mine).ok_or(EpochError::OtherKey)?;
        let secret = key.open(&place.copy(&self.nonce, recipient), &copy.sealed)?;
        self.check(place, secret)
    }

    /// The secret of this epoch as a later one links to it.
    fn open_linked(
        &self,
        id: &EpochId,
        place: EpochPlace<'_>,
        later: (&Self, &EpochSecret),
    ) -> Result<EpochSecret, EpochError> {
        let (opening, secret) = later;
        let link = opening.links.iter().find(|link| link.epoch == *id);
        let link = link.ok_or(EpochError::NotRecipient)?;
        let place_of_link = place.link(&opening.nonce, id);
        self.check(place, secret.open_earlier(&place_of_link, &link.sealed)?)
    }

    fn check(&self, place: EpochPlace<'_>, secret: EpochSecret) -> Result<EpochSecret, EpochError> {
        let fits = secret.commitment(place.network, place.group, &self.nonce) == self.commitment;
        if fits { Ok(secret) } else { Err(EpochError::Differs) }
    }

    /// The same without the copies for others, which only they can open: what
    /// a member needs to keep at hand. Its entry cannot be made from it again.
    #[must_use]
    pub fn kept_for(&self, recipient: &AuthorityId) -> Self {
        let mut kept = self.clone();
        let others = kept.copies.iter_mut().filter(|copy| copy.authority != *recipient);
        others.for_each(|copy| copy.sealed = Vec::new());
        kept
    }

    /// Who can open it, ascending.
    pub fn recipients(&self) -> impl Iterator<Item = AuthorityId> {
        self.copies.iter().map(|copy| copy.authority)
    }

    /// The copies, ascending by recipient.
    #[must_use]
    pub fn copies(&self) -> &[Copy] {
        &self.copies
    }

    /// Earlier epochs whose secrets it gives to its recipients, ascending.
    #[must_use]
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Deterministic CBOR, as the control entry carries it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let room = self.copies.iter().map(|copy| copy.sealed.len() + 64).sum::<usize>();
        let mut w = Writer::with_capacity(room + 96 * self.links.len() + 128);
        w.array(4).bytes(&self.nonce).bytes(&self.commitment).array(self.links.len());
        for link in &self.links {
            w.array(2).bytes(link.epoch.as_bytes()).bytes(&link.sealed);
        }
        w.array(self.copies.len());
        for copy in &self.copies {
            w.array(4).bytes(copy.authority.as_bytes()).bytes(&copy.suite);
            w.bytes(&copy.key_id).bytes(&copy.sealed);
        }
        w.finish()
    }

    /// Reads what [`EpochOpening::encode`] writes.
    ///
    /// # Errors
    /// [`ControlError::Encoding`] or [`ControlError::Rule`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ControlError> {
        let mut reader = Reader::new(bytes);
        let opening = Self::read(&mut reader)?;
        reader.end()?;
        Ok(opening)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, ControlError> {
        exactly(reader, 4)?;
        let (nonce, commitment) = (reader.array_of()?, reader.array_of()?);
        let count = reader.array(limits::EPOCH_LINKS)?;
        let links = (0..count).map(|_| read_link(reader)).collect::<Result<Vec<_>, _>>()?;
        if !links.is_sorted_by(|a, b| a.epoch < b.epoch) {
            return Err(ControlError::Rule("an epoch links to each earlier one once, in order"));
        }
        let count = reader.array(limits::GROUP_MEMBERS)?;
        let copies = (0..count).map(|_| read_copy(reader)).collect::<Result<Vec<_>, _>>()?;
        if copies.is_empty() || !copies.is_sorted_by(|a, b| a.authority < b.authority) {
            return Err(ControlError::Rule("an epoch names each recipient once, in order"));
        }
        Ok(Self { nonce, commitment, links, copies })
    }
}

/// Whose epoch of which group.
#[derive(Clone, Copy, Debug)]
pub struct EpochPlace<'a> {
    /// The network.
    pub network: &'a NetworkName,
    /// The group.
    pub group: &'a GroupId,
    /// Who opens, or has opened it.
    pub author: &'a AuthorityId,
}

impl<'a> EpochPlace<'a> {
    fn copy(&self, nonce: &[u8; 32], recipient: &AuthorityId) -> Vec<u8> {
        let Self { network, group, author } = *self;
        CopyInfo { network, group, author, nonce, recipient }.bytes()
    }

    fn link<'b>(&self, nonce: &'b [u8; 32], earlier: &'b EpochId) -> LinkPlace<'b>
    where
        'a: 'b,
    {
        LinkPlace { network: self.network, group: self.group, nonce, earlier }
    }

    fn seal(
        &self,
        nonce: &[u8; 32],
        recipient: &AuthorityId,
        key: &SealingKey,
        secret: &EpochSecret,
        random: &mut Stream,
    ) -> Result<Copy, EpochError> {
        let no_key = |_| EpochError::NoKey(*recipient);
        let suite = Suite::of_kem(key.kem).map_err(no_key)?.id();
        let sealed = seal_to(key, &self.copy(nonce, recipient), secret, random).map_err(no_key)?;
        Ok(Copy { authority: *recipient, suite, key_id: key_id(key), sealed })
    }
}

/// Why a new epoch is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochNeed {
    /// There is none that all know and that only members can read.
    NoneUsable,
    /// The current one leaves out this member.
    Missing(AuthorityId),
    /// The current one is sealed to a key that this member has replaced.
    Replaced(AuthorityId),
}

impl Membership {
    /// An epoch whose entry counts. One that is not known holds back the head of
    /// the log in which a header names it.
    #[must_use]
    pub fn epoch(&self, id: &EpochId) -> Option<&OpenedEpoch> {
        self.epochs().iter().find(|epoch| epoch.id() == *id)
    }

    /// The epoch to write under at `now`; none if each can be read by somebody who is
    /// no member: a recipient, or one of a later epoch that links to it.
    #[must_use]
    pub fn current_epoch(&self, now: UnixTime) -> Option<&OpenedEpoch> {
        // Later ones first: links lead to earlier ones. Those that do not count give
        // their recipients the same; if their author is out, it has nothing to give.
        let is_author_in = |epoch: &&OpenedEpoch| self.is_member(&epoch.place.authority, now);
        let strays = self.strays().iter().filter(is_author_in);
        let mut open: BTreeSet<EpochId> = BTreeSet::new();
        for epoch in strays.rev().chain(self.epochs().iter().rev()) {
            let inside = epoch.opening.recipients().all(|who| self.is_member(&who, now));
            if !inside || open.contains(&epoch.id()) {
                open.insert(epoch.id());
                open.extend(epoch.opening.links().iter().map(|link| link.epoch));
            }
        }
        let usable = self.epochs().iter().filter(|epoch| !open.contains(&epoch.id()));
        let usable: Vec<&OpenedEpoch> = usable.collect();
        let seen: BTreeSet<EpochId> = usable.iter().flat_map(|e| &e.seen).copied().collect();
        let newest = usable.into_iter().filter(|epoch| !seen.contains(&epoch.id()));
        newest.min_by_key(|epoch| epoch.id())
    }

    /// Why somebody should open an epoch at `now`, if so. `keys` are the sealing
    /// keys that the members' identities name now.
    #[must_use]
    pub fn epoch_needed(
        &self,
        now: UnixTime,
        keys: &BTreeMap<AuthorityId, SealingKey>,
    ) -> Option<EpochNeed> {
        let Some(current) = self.current_epoch(now) else { return Some(EpochNeed::NoneUsable) };
        let copies = current.opening.copies();
        self.members_at(now).find_map(|(who, _)| {
            let copy = copies.iter().find(|copy| copy.authority == *who);
            let Some(copy) = copy else { return Some(EpochNeed::Missing(*who)) };
            let replaced = keys.get(who).is_some_and(|key| key_id(key) != copy.key_id);
            replaced.then_some(EpochNeed::Replaced(*who))
        })
    }

    /// Makes an epoch for all members at `now`, with links to the newest epochs
    /// if the group's history is for all. `random` is 32 bytes of a
    /// cryptographic random source, never used again. The secret goes onto the
    /// keyring once the entry is in the log and has its leaf hash.
    ///
    /// # Errors
    /// [`EpochError::NotWriting`], [`EpochError::NoKey`] or [`EpochError::TooMany`].
    pub fn open_epoch(
        &self,
        network: &NetworkName,
        author: &AuthorityId,
        now: UnixTime,
        keys: &BTreeMap<AuthorityId, SealingKey>,
        ring: &Keyring,
        random: [u8; 32],
    ) -> Result<(EpochOpening, EpochSecret), EpochError> {
        if self.role(author) < Some(Role::Member) {
            return Err(EpochError::NotWriting);
        }
        let key = |(who, _): (&AuthorityId, _)| {
            let key = keys.get(who).ok_or(EpochError::NoKey(*who))?;
            Ok((*who, key.clone()))
        };
        let recipients = self.members_at(now).map(key).collect::<Result<_, EpochError>>()?;
        let group = self.group();
        let place = EpochPlace { network, group: &group, author };
        EpochOpening::new(place, &recipients, &self.earlier(ring), random)
    }

    /// What a new epoch links to: the newest epochs on the keyring. Those that
    /// they have seen are found through them.
    fn earlier<'a>(&self, ring: &'a Keyring) -> BTreeMap<EpochId, &'a EpochSecret> {
        if self.terms().is_none_or(|terms| terms.history == History::FromJoin) {
            return BTreeMap::new();
        }
        let held = || self.epochs().iter().filter(|epoch| ring.secrets.contains_key(&epoch.id()));
        let linked: BTreeSet<EpochId> =
            held().flat_map(|e| e.opening.links()).map(|link| link.epoch).collect();
        let newest = held().rev().map(OpenedEpoch::id).filter(|id| !linked.contains(id));
        let newest = newest.take(limits::EPOCH_LINKS);
        newest.filter_map(|id| Some((id, ring.secrets.get(&id)?))).collect()
    }
}

/// The secrets of a group's epochs that a member can read; never printed.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    secrets: BTreeMap<EpochId, EpochSecret>,
}

impl Keyring {
    /// Adds a secret from a file, or of an epoch that was opened here.
    ///
    /// # Errors
    /// [`EpochError::Differs`] if it is not that epoch's.
    pub fn insert(
        &mut self,
        network: &NetworkName,
        group: &GroupId,
        epoch: &OpenedEpoch,
        secret: EpochSecret,
    ) -> Result<(), EpochError> {
        let place = EpochPlace { network, group, author: &epoch.place.authority };
        let secret = epoch.opening.check(place, secret)?;
        self.secrets.insert(epoch.id(), secret);
        Ok(())
    }

    /// Opens every epoch that `me` can open and does not hold yet, by its own
    /// copies and by links. What is another's fault is returned, to be complained of.
    pub fn unlock(
        &mut self,
        network: &NetworkName,
        membership: &Membership,
        me: &AuthorityId,
        keys: &[SealingSecret],
    ) -> Vec<(EpochId, EpochError)> {
        let group = membership.group();
        let mut faults = Vec::new();
        // Later ones first: they may link to earlier ones.
        for epoch in membership.epochs().iter().rev() {
            let id = epoch.id();
            if self.secrets.contains_key(&id) {
                continue;
            }
            let place = EpochPlace { network, group: &group, author: &epoch.place.authority };
            let found = epoch.opening.open(place, me, keys);
            let found = found.or_else(|error| self.linked(membership, epoch, place).ok_or(error));
            match found {
                Ok(secret) => {
                    self.secrets.insert(id, secret);
                }
                Err(error @ (EpochError::Seal(_) | EpochError::Differs)) => {
                    faults.push((id, error));
                }
                Err(_) => {}
            }
        }
        faults
    }

    fn linked(
        &self,
        membership: &Membership,
        epoch: &OpenedEpoch,
        place: EpochPlace<'_>,
    ) -> Option<EpochSecret> {
        let id = epoch.id();
        membership.epochs().iter().find_map(|later| {
            let secret = self.secrets.get(&later.id())?;
            epoch.opening.open_linked(&id, place, (&later.opening, secret)).ok()
        })
    }

    /// The secret of an epoch.
    #[must_use]
    pub fn secret(&self, epoch: &EpochId) -> Option<&EpochSecret> {
        self.secrets.get(epoch)
    }

    /// The epochs that it holds secrets of.
    pub fn epochs(&self) -> impl Iterator<Item = &EpochId> {
        self.secrets.keys()
    }

    /// The key for bodies of an epoch.
    #[must_use]
    pub fn body_key(
        &self,
        network: &NetworkName,
        group: &GroupId,
        epoch: &EpochId,
    ) -> Option<BodyKey> {
        self.secrets.get(epoch).map(|secret| secret.body_key(network, group, *epoch))
    }
}

fn read_link(reader: &mut Reader<'_>) -> Result<Link, CborError> {
    exactly(reader, 2)?;
    Ok(Link { epoch: EpochId::from_bytes(reader.array_of()?), sealed: reader.array_of()? })
}

fn read_copy(reader: &mut Reader<'_>) -> Result<Copy, CborError> {
    exactly(reader, 4)?;
    let authority = AuthorityId::from_bytes(reader.array_of()?);
    let (suite, key_id) = (reader.array_of()?, reader.array_of()?);
    let sealed = reader.bytes(limits::SEALED_SECRET_BYTES)?.to_vec();
    Ok(Copy { authority, suite, key_id, sealed })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A keyring with one secret, whose epoch nobody has seen.
    pub(crate) fn ring_of(epoch: EpochId, secret: EpochSecret) -> Keyring {
        Keyring { secrets: BTreeMap::from([(epoch, secret)]) }
    }
}
