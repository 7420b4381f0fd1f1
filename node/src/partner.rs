//! Partners: the authorities whose identity this node has accepted.
//!
//! Kept in `partners.json`, written whole: to a new file, fsynced, renamed. The
//! card of each partner is kept as received and verified again when the file is
//! read, so nothing else in the file needs to be believed.
//!
//! **Invariants:** nobody becomes a partner except by [`PartnerBook::add`],
//! which a person asked for, and nothing is added by a card that is out of
//! date. Who is a partner stays one when the card that is kept expires: its
//! identity does not, and newer events of it come from the network. Deliberately absent: what partners may see, and
//! the cards of nodes that would like to be partners, which the driver keeps
//! in memory: whoever still wants to be one sends its card again.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use libp2p::Multiaddr;
use serde::{Deserialize, Serialize};
use tallystick_protocol::card::{Card, CardError, UnverifiedCard};
use tallystick_protocol::id::{AuthorityId, NetworkName};
use tallystick_protocol::identity::Relation;
use tallystick_protocol::time::UnixTime;

use crate::failure::Failure;

/// Most partners of one node.
pub const PARTNERS: usize = 1024;
/// Name of the file.
pub const PARTNERS_FILE: &str = "partners.json";
/// Largest file that is read: every partner with the largest card.
const FILE_BYTES: u64 = (PARTNERS as u64) * (256 << 10);

/// The file as it is written.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    partners: Vec<KeptPartner>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptPartner {
    /// For people who read the file; the card decides.
    name: String,
    card: String,
}

/// What adding a card changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// A new partner.
    New,
    /// A partner we had, with a newer card.
    Renewed,
    /// Nothing: this card or a newer one is known.
    Known,
}

/// Whether a card says more than another of the same authority: a longer
/// identity, or the same one and a later time. Times are claims, to the second:
/// of two different cards of one second, the one that comes last counts, or a
/// node that starts on another port within it could not be reached any more.
pub(crate) fn is_newer(card: &Card, known: &Card) -> bool {
    match card.identity().relation_to(known.identity()) {
        Some(Relation::Extends | Relation::Supersedes { .. }) => true,
        Some(Relation::Same | Relation::Conflict { .. }) => {
            let (new, old) = (card.issued(), known.issued());
            new > old || (new == old && card.to_line() != known.to_line())
        }
        _ => false,
    }
}

/// Why nobody is made a partner by a card whose time is over or has not come.
fn out_of_date(error: CardError) -> Failure {
    let remedy = match error {
        CardError::Future { .. } => {
            "set the clock of this machine; if it is right, ask them to set theirs and for a fresh card"
        }
        _ => {
            "ask them for a fresh one, the output of `tally whoami`; or this machine's clock is wrong"
        }
    };
    Failure::usage(error, remedy)
}

/// The partners of one node.
#[derive(Debug)]
pub struct PartnerBook {
    path: PathBuf,
    partners: BTreeMap<AuthorityId, Card>,
}

impl PartnerBook {
    /// Reads the file; there are no partners if there is none.
    ///
    /// # Errors
    /// A [`Failure`] if the file cannot be read or is damaged.
    pub fn open(path: &Path, network: &NetworkName) -> Result<Self, Failure> {
        let mut book = Self { path: path.to_owned(), partners: BTreeMap::new() };
        let text = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(book),
            Ok(found) if found.len() > FILE_BYTES => return Err(book.damaged("it is too large")),
            _ => fs::read_to_string(path).map_err(|error| book.damaged(&error.to_string()))?,
        };
        let kept: Kept =
            serde_json::from_str(&text).map_err(|error| book.damaged(&error.to_string()))?;
        for KeptPartner { name, card } in kept.partners {
            let card = UnverifiedCard::parse(&card).and_then(|card| card.verify(network));
            let card = card.map_err(|error| book.damaged(&format!("{name}: {error}")))?;
            book.partners.insert(card.authority(), card);
        }
        Ok(book)
    }

    fn damaged(&self, why: &str) -> Failure {
        Failure::usage(
            format!("the list of partners {} cannot be read ({why})", self.path.display()),
            "put it back from a backup, or move it away and add the partners again",
        )
    }

    /// All partners, in order of their ids.
    pub fn partners(&self) -> impl Iterator<Item = &Card> {
        self.partners.values()
    }

    /// Whether an authority is a partner.
    #[must_use]
    pub fn is_partner(&self, authority: &AuthorityId) -> bool {
        self.partners.contains_key(authority)
    }

    /// Makes the card's authority a partner, durably. `now` is the wall clock.
    ///
    /// # Errors
    /// A [`Failure`] if the card has expired or is of the future, if there are
    /// [`PARTNERS`] already, or the file cannot be written.
    pub fn add(&mut self, card: Card, now: UnixTime) -> Result<Added, Failure> {
        card.check_time(now).map_err(out_of_date)?;
        let authority = card.authority();
        let before = self.partners.get(&authority);
        let added = match before {
            Some(known) if !is_newer(&card, known) => Added::Known,
            Some(_) => Added::Renewed,
            None if self.partners.len() >= PARTNERS => {
                return Err(Failure::usage(
                    format!("this node has {PARTNERS} partners already"),
                    "remove those it no longer needs with `tally partner remove`",
                ));
            }
            None => Added::New,
        };
        if added != Added::Known {
            let before = self.partners.insert(authority, card);
            if let Err(failure) = self.save() {
                // What is not durable has not happened.
                match before {
                    Some(card) => self.partners.insert(authority, card),
                    None => self.partners.remove(&authority),
                };
                return Err(failure);
            }
        }
        Ok(added)
    }

    /// Ends a partnership, durably; gives the card if there was one.
    ///
    /// # Errors
    /// A [`Failure`] if the file cannot be written.
    pub fn remove(&mut self, authority: &AuthorityId) -> Result<Option<Card>, Failure> {
        let Some(card) = self.partners.remove(authority) else { return Ok(None) };
        if let Err(failure) = self.save() {
            self.partners.insert(*authority, card);
            return Err(failure);
        }
        Ok(Some(card))
    }

    fn save(&self) -> Result<(), Failure> {
        let kept = |card: &Card| KeptPartner {
            name: card.identity().profile().name.clone(),
            card: card.to_line(),
        };
        let kept = Kept { partners: self.partners.values().map(kept).collect() };
        let text = serde_json::to_string_pretty(&kept).map_err(Failure::internal)?;
        replace(&self.path, text.as_bytes()).map_err(|error| {
            Failure::unwritten(&self.path, &error, "check the rights of the data directory")
        })
    }
}

/// Puts `content` in the place of a file, durably and never half: mode 0600.
///
/// # Errors
/// Whatever the operating system reports; the file is as it was then.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = replacement(path);
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.write(true).create(true).truncate(true).open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent() {
        // A bare file name has an empty parent, which means the current directory.
        Some(dir) if dir.as_os_str().is_empty() => File::open(".")?.sync_all(),
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

/// Where [`replace`] writes what is to stand at `path`.
#[must_use]
pub fn replacement(path: &Path) -> PathBuf {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    PathBuf::from(new)
}

/// The addresses of a card that this node's transport understands.
#[must_use]
pub fn dialable(card: &Card) -> Vec<Multiaddr> {
    card.addresses().iter().filter_map(|address| address.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::tests::{card, created};
    use crate::keys::{ControllerFile, NodeKeys, controller_files};
    use tallystick_protocol::card::Validity;
    use tallystick_protocol::identity::EventType;

    const NOW: UnixTime = UnixTime::from_seconds(50);

    fn network() -> NetworkName {
        "test".parse().unwrap()
    }

    #[test]
    fn partners_are_there_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(PARTNERS_FILE);
        let ash = card("Ash Council", 1);
        let mut book = PartnerBook::open(&path, &network()).unwrap();
        assert_eq!(book.add(ash.clone(), NOW), Ok(Added::New));
        assert_eq!(book.add(ash.clone(), NOW), Ok(Added::Known));
        let mut again = PartnerBook::open(&path, &network()).unwrap();
        assert!(again.partners().eq([&ash]));
        assert_eq!(again.remove(&ash.authority()), Ok(Some(ash.clone())));
        assert_eq!(PartnerBook::open(&path, &network()).unwrap().partners().count(), 0);
        assert!(!again.path.with_extension("json.new").exists());
    }

    #[test]
    fn a_card_with_a_longer_identity_is_newer_whatever_its_time() {
        let (_dir, place, before) = created();
        let mut event = before.next_event(EventType::Profile, UnixTime::from_seconds(9));
        event.profile.name = "Ash City Council".to_owned();
        let controller = ControllerFile::read(&controller_files(place.data())[0]).unwrap();
        let event = event.sign(&[(0, &controller.open(None).unwrap())]).unwrap();
        let after = before.extended(event).unwrap();
        let node = NodeKeys::load(place.data(), &before, None).unwrap().node;
        let card = |identity, issued| {
            let validity = Validity::days(UnixTime::from_seconds(issued), 90);
            Card::issue(identity, &node, &[], validity).unwrap()
        };
        let dir = tempfile::tempdir().unwrap();
        let mut book = PartnerBook::open(&dir.path().join(PARTNERS_FILE), &network()).unwrap();
        assert_eq!(book.add(card(&before, 20), NOW), Ok(Added::New));
        assert_eq!(book.add(card(&after, 10), NOW), Ok(Added::Renewed));
        assert_eq!(book.add(card(&before, 30), NOW), Ok(Added::Known), "its keys may be stolen");
        assert_eq!(book.add(card(&after, 10), NOW), Ok(Added::Known));
        assert_eq!(book.add(card(&after, 11), NOW), Ok(Added::Renewed));
    }

    #[test]
    fn an_expired_card_or_one_of_the_future_adds_nobody_and_ends_no_partnership() {
        let day = 86_400;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(PARTNERS_FILE);
        let (ash, issued) = (card("Ash Council", 1_000 * day), 1_000);
        let mut book = PartnerBook::open(&path, &network()).unwrap();
        let at = |days: u64| UnixTime::from_seconds(days * day);
        let expired = book.add(ash.clone(), at(issued + 92)).unwrap_err();
        assert_eq!(expired.error, "the card expired on 1972-12-26");
        assert!(expired.remedy.starts_with("ask them for a fresh one"), "{expired}");
        let future = book.add(ash.clone(), at(issued - 2)).unwrap_err();
        assert!(future.error.contains("lies in the future"), "{future}");
        assert!(future.remedy.starts_with("set the clock"), "{future}");
        assert!(book.partners().next().is_none() && !path.exists());
        // A day too early or too late by our clock, which may be theirs that is wrong.
        assert_eq!(book.add(ash.clone(), at(issued - 1)), Ok(Added::New));
        assert_eq!(book.add(ash.clone(), at(issued + 91)), Ok(Added::Known));
        // Whatever the clock says by now, who is a partner is one.
        let again = PartnerBook::open(&path, &network()).unwrap();
        assert!(again.is_partner(&ash.authority()));
    }

    #[test]
    fn damaged_files_are_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(PARTNERS_FILE);
        let mut book = PartnerBook::open(&path, &network()).unwrap();
        book.add(card("Ash Council", 1), NOW).unwrap();
        let good = fs::read_to_string(&path).unwrap();
        for bad in [
            good.replace("tallystick-card:", "tallystick-card:AAAA"),
            "{".to_owned(),
            "[]".to_owned(),
        ] {
            fs::write(&path, &bad).unwrap();
            let failure = PartnerBook::open(&path, &network()).unwrap_err();
            assert_eq!(failure.kind.exit_code(), 2);
            assert_eq!(fs::read_to_string(&path).unwrap(), bad);
        }
    }
}
