//! An event on its way from one controller to the next, as a file.
//!
//! The file carries the chain that the event is to follow, so that whoever
//! signs sees on any machine what would change, without a node. It is
//! `tallystick-draft-v1`, a line feed, and the deterministic CBOR array
//! `[[signed event, …], draft]`; the list is empty for a first event.
//!
//! **Invariants:** a [`DraftFile`] exists only if its chain verifies, its event
//! may follow, and every signature on it fits; what is missing are signatures
//! at most. Deliberately absent: secrets. The file may be mailed.

use std::fmt;
use std::path::Path;

use serde_bytes::ByteBuf;
use tallystick_protocol::cbor;
use tallystick_protocol::id::AuthorityId;
use tallystick_protocol::identity::{Draft, Identity, IdentityError, UnverifiedChain};
use tallystick_protocol::key::SecretKey;
use tallystick_protocol::limits;

use super::file::read_bounded;
use crate::failure::Failure;
use crate::partner::replace;

const MARK: &[u8] = b"tallystick-draft-v1\n";
/// A full chain, the draft, and their lengths.
const FILE_BYTES: u64 = ((limits::IDENTITY_EVENTS + 1) * (limits::IDENTITY_EVENT_BYTES + 8)) as u64;

/// A drafted event and the chain it is to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftFile {
    before: Option<Identity>,
    draft: Draft,
}

impl DraftFile {
    /// Of a drafted event; `before` is absent for a first one.
    ///
    /// # Errors
    /// A [`Failure`] if it may not follow.
    pub fn new(before: Option<Identity>, draft: Draft) -> Result<Self, Failure> {
        let file = Self { before, draft };
        match file.identity() {
            Ok(_) | Err(IdentityError::Signatures) => Ok(file),
            Err(error) => Err(Failure::usage(error, "correct what was given and try again")),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// A [`Failure`] if it cannot be read, is none, or does not hold.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let bad = |why: &dyn fmt::Display| {
            Failure::usage(
                format!("{} is not a change that can be signed ({why})", path.display()),
                "ask for the file again, from whoever made the change",
            )
        };
        let bytes = read_bounded(path, FILE_BYTES).map_err(|error| bad(&error))?;
        Self::parse(&bytes).map_err(|error| bad(&error))
    }

    fn parse(bytes: &[u8]) -> Result<Self, IdentityError> {
        let body = bytes.strip_prefix(MARK).ok_or(IdentityError::Size)?;
        let (chain, draft): (Vec<ByteBuf>, ByteBuf) = cbor::decode(body)?;
        let draft = Draft::parse(&draft)?;
        let chain: Vec<_> = chain.into_iter().map(ByteBuf::into_vec).collect();
        let before = match chain.is_empty() {
            true => None,
            false => Some(UnverifiedChain::new(chain).verify(&draft.event().network)?),
        };
        let file = Self { before, draft };
        match file.identity() {
            Ok(_) | Err(IdentityError::Signatures) => Ok(file),
            Err(error) => Err(error),
        }
    }

    fn to_bytes(&self) -> Result<Vec<u8>, IdentityError> {
        let events = self.before.iter().flat_map(|before| before.events());
        let chain: Vec<_> = events.cloned().map(ByteBuf::from).collect();
        let body = cbor::encode(&(chain, ByteBuf::from(self.draft.to_bytes()?)))?;
        Ok([MARK, &body].concat())
    }

    /// Puts it in the place of the file, whole.
    ///
    /// # Errors
    /// A [`Failure`] if the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        let bytes = self.to_bytes().map_err(Failure::internal)?;
        replace(path, &bytes).map_err(|error| {
            let remedy = "name a file in a directory that you may write to";
            Failure::unwritten(path, &error, remedy)
        })
    }

    /// The chain it is to follow; `None` for a first event.
    #[must_use]
    pub const fn before(&self) -> Option<&Identity> {
        self.before.as_ref()
    }

    /// Whose identity it is about.
    #[must_use]
    pub fn authority(&self) -> Option<AuthorityId> {
        match &self.before {
            Some(before) => Some(before.authority()),
            None => UnverifiedChain::new(vec![self.draft.to_bytes().ok()?]).claimed_authority(),
        }
    }

    /// The event with the signatures it has.
    #[must_use]
    pub const fn draft(&self) -> &Draft {
        &self.draft
    }

    /// Signs with a controller's key; `false` if it is not one of these.
    pub fn sign(&mut self, key: &SecretKey) -> bool {
        self.draft.sign(key).is_some()
    }

    /// Takes over the signatures of another copy.
    ///
    /// # Errors
    /// A [`Failure`] if it is another change.
    pub fn merge(&mut self, other: Self) -> Result<(), Failure> {
        self.draft.merge(other.draft).map_err(|_| {
            Failure::usage(
                "these files are copies of different changes",
                "give only copies of the one change that all have signed",
            )
        })
    }

    /// The chain with the event.
    ///
    /// # Errors
    /// [`IdentityError::Signatures`] while some are missing.
    pub fn identity(&self) -> Result<Identity, IdentityError> {
        let event = self.draft.to_bytes()?;
        match &self.before {
            Some(before) => before.extended(event),
            None => UnverifiedChain::new(vec![event]).verify(&self.draft.event().network),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Place;
    use crate::keys::tests::created;
    use crate::keys::{ControllerFile, controller_files};
    use tallystick_protocol::identity::EventType;
    use tallystick_protocol::time::UnixTime;

    fn profile_change(place: &Place, identity: &Identity) -> (DraftFile, SecretKey) {
        let mut event = identity.next_event(EventType::Profile, UnixTime::from_seconds(9));
        event.profile.name = "Ash City Council".to_owned();
        let draft = Draft::new(event).unwrap();
        let key = ControllerFile::read(&controller_files(place.data())[0]).unwrap();
        (DraftFile::new(Some(identity.clone()), draft).unwrap(), key.open(None).unwrap())
    }

    #[test]
    fn a_change_survives_its_file_and_is_complete_when_signed() {
        let (dir, place, identity) = created();
        let (mut file, key) = profile_change(&place, &identity);
        let path = dir.path().join("change.draft");
        file.write(&path).unwrap();
        assert_eq!(DraftFile::read(&path).unwrap(), file);
        assert_eq!(file.identity(), Err(IdentityError::Signatures));
        assert!(!file.sign(&SecretKey::from_seed([9; 32])));
        assert!(file.sign(&key));
        file.write(&path).unwrap();
        let read = DraftFile::read(&path).unwrap();
        assert_eq!(read.identity().unwrap().profile().name, "Ash City Council");
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let (_dir, place, identity) = created();
        let (mut file, key) = profile_change(&place, &identity);
        file.sign(&key);
        let good = file.to_bytes().unwrap();
        assert_eq!(DraftFile::parse(&good), Ok(file));
        for bit in 0..good.len() * 8 {
            let mut changed = good.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(DraftFile::parse(&changed).is_err(), "bit {bit}");
        }
        for len in 0..good.len() {
            assert!(DraftFile::parse(&good[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn events_that_may_not_follow_are_no_drafts() {
        let (_dir, _place, identity) = created();
        let mut event = identity.next_event(EventType::Profile, UnixTime::from_seconds(9));
        event.sequence += 1;
        let failure = DraftFile::new(Some(identity), Draft::new(event).unwrap()).unwrap_err();
        assert_eq!(failure.kind.exit_code(), 2);
    }
}
