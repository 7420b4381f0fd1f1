//! Partner cards: how two authorities make each other's acquaintance.
//!
//! A card is a signed note under a *node key*. Its text has one fact per line,
//! in this order:
//!
//! | line | what |
//! |---|---|
//! | `tallystick card v1 NETWORK` | type and network |
//! | `authority ID` | whose card it is |
//! | `name NAME` | as the identity says it |
//! | `address MULTIADDR` | where the node can be reached; none to 16 |
//! | `issued SECONDS` | when it was made, a claim |
//! | `valid-until SECONDS` | until when it may be used to make acquaintance |
//! | `event BASE64` | the identity chain, in order |
//!
//! For people the note is armoured: base64 in lines of 64 characters between
//! [`BEGIN`] and [`END`], which mail programs do not hurt. [`Card::to_line`] is
//! the same on one line, for JSON.
//!
//! **Invariants:** a [`Card`] exists only if its identity chain verifies for
//! the network asked for, one of that identity's node keys made the only
//! signature, and authority and name on the card are those of the identity.
//! Whoever makes acquaintance by a card asks [`Card::check_time`] first; to
//! look at the identity it carries, its age does not matter.
//! Deliberately absent: any trust. A card says that somebody holds the keys,
//! not that they are who the name says; for that people compare the
//! [`fingerprint`] over the telephone.

mod validity;

use core::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

pub use self::validity::Validity;
use crate::armour;
use crate::checkpoint::decimal;
use crate::id::{AuthorityId, NetworkName, NodeId};
use crate::identity::{Identity, IdentityError, UnverifiedChain};
use crate::key::{PublicKey, SecretKey};
use crate::limits;
use crate::note::{Algorithm, KeyName, NoteError, UnverifiedNote, VerifierKey, sign_note};
use crate::time::UnixTime;

/// First line of an armoured card.
pub const BEGIN: &str = "-----BEGIN TALLYSTICK CARD-----";
/// Last line of an armoured card.
pub const END: &str = "-----END TALLYSTICK CARD-----";
/// What the one-line form starts with.
const LINE_PREFIX: &str = "tallystick-card:";
const HEADING: &str = "tallystick card v1 ";

/// Why a text is no card, or none to accept: the fault of whoever made or damaged it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    /// Larger than [`limits::CARD_TEXT_BYTES`], or too many or too long addresses.
    #[error("the card is larger than the limit")]
    TooLarge,
    /// No card between [`BEGIN`] and [`END`], and no one-line form.
    #[error("there is no partner card in the text")]
    Absent,
    /// Between the marks stands something that is not base64, or not all of it.
    #[error("the card is damaged or incomplete")]
    Armour,
    /// No signed note, or not signed by the node.
    #[error("the card is not a valid signed note: {0}")]
    Note(#[from] NoteError),
    /// A line is missing, malformed or out of place.
    #[error("the card has a malformed or missing line: {0}")]
    Line(&'static str),
    /// A card of another network.
    #[error("the card belongs to another network")]
    Network,
    /// Its time is over: its maker can make a fresh one.
    #[error("the card expired on {}", validity::day(*.until))]
    Expired {
        /// When that was.
        until: UnixTime,
    },
    /// It was made later than now: its maker's clock is wrong, or ours.
    #[error("the card was made on {}, which lies in the future", validity::day(*.issued))]
    Future {
        /// When it says it was made.
        issued: UnixTime,
    },
    /// The identity chain on it is not valid.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Authority or name on the card are not those of its identity.
    #[error("the card contradicts the identity it carries")]
    Contradiction,
    /// The key that should sign is none of the identity's node keys: the caller's fault.
    #[error("the node key is not one of the identity's")]
    NodeKey,
}

/// A card as it came in. Nothing can be read from it.
#[derive(Clone, Debug)]
pub struct UnverifiedCard {
    note: UnverifiedNote,
    bytes: Vec<u8>,
}

impl UnverifiedCard {
    /// Finds the card in a text: armoured anywhere in it, or the one-line form.
    ///
    /// # Errors
    /// [`CardError::TooLarge`], [`CardError::Absent`], [`CardError::Armour`] or [`CardError::Note`].
    pub fn parse(text: &str) -> Result<Self, CardError> {
        if text.len() > limits::CARD_TEXT_BYTES {
            return Err(CardError::TooLarge);
        }
        let found = armour::find(text, BEGIN, END, LINE_PREFIX);
        let bytes = found.map_err(|missing| match missing {
            armour::Missing::Absent => CardError::Absent,
            armour::Missing::Damaged => CardError::Armour,
        })?;
        Ok(Self { note: UnverifiedNote::parse(&bytes)?, bytes })
    }

    /// The network that it claims to belong to, for a reader that knows of none yet.
    #[must_use]
    pub fn claimed_network(&self) -> Option<NetworkName> {
        let heading = self.note.claimed_text().lines().next()?;
        heading.strip_prefix(HEADING)?.parse().ok()
    }

    /// Checks the identity chain, the signature, and that both agree.
    ///
    /// # Errors
    /// [`CardError::Line`], [`CardError::TooLarge`], [`CardError::Network`],
    /// [`CardError::Identity`], [`CardError::Note`] or [`CardError::Contradiction`].
    pub fn verify(self, network: &NetworkName) -> Result<Card, CardError> {
        let claims = Claims::parse(self.note.claimed_text(), network)?;
        let identity = UnverifiedChain::new(claims.events).verify(network)?;
        let authority = identity.authority();
        let name = key_name(network, &authority)?;
        let verifier = |key: &PublicKey| VerifierKey::new(name.clone(), Algorithm::Ed25519, *key);
        let keys: Vec<_> = identity.node_keys().iter().map(verifier).collect();
        let note = self.note.verify_attributed(&keys)?;
        let ([signer], [_]) = (note.signers(), note.lines()) else {
            return Err(CardError::Line("one signature"));
        };
        if claims.authority != authority || claims.name != identity.profile().name {
            return Err(CardError::Contradiction);
        }
        let node = NodeId::try_from(signer.key.key().as_bytes()).map_err(|_| CardError::NodeKey)?;
        let Claims { addresses, validity, .. } = claims;
        Ok(Card { identity, node, addresses, validity, bytes: self.bytes })
    }
}

/// What the text of a card says, before anything of it is known to be true.
struct Claims {
    authority: AuthorityId,
    name: String,
    addresses: Vec<String>,
    validity: Validity,
    events: Vec<Vec<u8>>,
}

impl Claims {
    fn parse(text: &str, network: &NetworkName) -> Result<Self, CardError> {
        let bad = CardError::Line;
        let mut lines = text.strip_suffix('\n').unwrap_or(text).split('\n').peekable();
        let heading = lines.next().and_then(|line| line.strip_prefix(HEADING));
        if heading.ok_or(bad("heading"))? != network.as_str() {
            return Err(CardError::Network);
        }
        let mut field = |label: &'static str| {
            let line = lines.next_if(|line| line.split(' ').next() == Some(label))?;
            line.get(label.len() + 1..).map(str::to_owned)
        };
        let authority = field("authority").and_then(|id| id.parse().ok());
        let authority = authority.ok_or(bad("authority"))?;
        let name = field("name").ok_or(bad("name"))?;
        let mut addresses = Vec::new();
        while let Some(address) = field("address") {
            check_address(&address)?;
            addresses.push(address);
            if addresses.len() > limits::CARD_ADDRESSES {
                return Err(CardError::TooLarge);
            }
        }
        let issued = field("issued").and_then(|seconds| decimal(&seconds)).ok_or(bad("issued"))?;
        let until = field("valid-until").and_then(|seconds| decimal(&seconds));
        let validity = until.and_then(|until| Validity::claimed(issued, until));
        let validity = validity.ok_or(bad("valid-until"))?;
        let mut events = Vec::new();
        while let Some(event) = field("event") {
            events.push(STANDARD.decode(event).map_err(|_| bad("event"))?);
        }
        if lines.next().is_some() {
            return Err(bad("something unknown"));
        }
        Ok(Self { authority, name, addresses, validity, events })
    }
}

/// A card whose every statement is signed by the identity it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    identity: Identity,
    node: NodeId,
    addresses: Vec<String>,
    validity: Validity,
    bytes: Vec<u8>,
}

impl Card {
    /// Makes and signs a card of our own.
    ///
    /// # Errors
    /// [`CardError::NodeKey`] if `node_key` is not the identity's;
    /// [`CardError::TooLarge`] or [`CardError::Line`] for addresses that no
    /// card can carry; [`CardError::Note`] for a chain too long for a card.
    pub fn issue(
        identity: &Identity,
        node_key: &SecretKey,
        addresses: &[String],
        validity: Validity,
    ) -> Result<Self, CardError> {
        if !identity.node_keys().contains(&node_key.public()) {
            return Err(CardError::NodeKey);
        }
        if addresses.len() > limits::CARD_ADDRESSES {
            return Err(CardError::TooLarge);
        }
        let network = identity.network();
        let authority = identity.authority();
        let mut text = format!("{HEADING}{network}\nauthority {authority}\n");
        let mut line = |label: &str, value: &dyn core::fmt::Display| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{label} {value}");
        };
        line("name", &identity.profile().name);
        for address in addresses {
            check_address(address)?;
            line("address", address);
        }
        line("issued", &validity.issued().as_seconds());
        line("valid-until", &validity.until().as_seconds());
        for event in identity.events() {
            line("event", &STANDARD.encode(event));
        }
        let bytes = sign_note(&text, &key_name(network, &authority)?, node_key)?;
        UnverifiedCard { note: UnverifiedNote::parse(&bytes)?, bytes }.verify(network)
    }

    /// Whose card it is.
    #[must_use]
    pub const fn authority(&self) -> AuthorityId {
        self.identity.authority()
    }

    /// The identity it carries.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The node that signed it.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// Where the node says it can be reached, as multiaddr texts; not checked beyond their shape.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// When it was made, a claim.
    #[must_use]
    pub const fn issued(&self) -> UnixTime {
        self.validity.issued()
    }

    /// Until when it may be used to make acquaintance.
    #[must_use]
    pub const fn valid_until(&self) -> UnixTime {
        self.validity.until()
    }

    /// Whether acquaintance may be made by it at `now`, the clock of whoever takes it.
    ///
    /// # Errors
    /// [`CardError::Expired`] or [`CardError::Future`].
    pub const fn check_time(&self, now: UnixTime) -> Result<(), CardError> {
        self.validity.check(now)
    }

    /// The [`fingerprint`] of its authority.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.authority())
    }

    /// The card for a mail or a file, with a line feed at the end.
    #[must_use]
    pub fn to_armour(&self) -> String {
        armour::write(BEGIN, END, &self.bytes)
    }

    /// The card on one line, for JSON.
    #[must_use]
    pub fn to_line(&self) -> String {
        format!("{LINE_PREFIX}{}", STANDARD.encode(&self.bytes))
    }
}

/// Six groups of four digits from SHA-256 of an authority's id, to be compared
/// by voice: about 80 bits, which nobody can hit by making identities.
#[must_use]
pub fn fingerprint(authority: &AuthorityId) -> String {
    let digest = Sha256::digest(authority.as_bytes());
    let (words, _) = digest.as_chunks::<4>();
    let groups = words.iter().take(6).map(|word| u32::from_be_bytes(*word) % 10_000);
    groups.map(|group| format!("{group:04}")).collect::<Vec<_>>().join(" ")
}

/// The name of an authority's node keys in notes.
pub(crate) fn key_name(
    network: &NetworkName,
    authority: &AuthorityId,
) -> Result<KeyName, NoteError> {
    format!("tallystick/{network}/{authority}/node").parse()
}

/// Whether a text has the shape of a multiaddr; what it means is the transport's to say.
fn check_address(address: &str) -> Result<(), CardError> {
    if address.len() > limits::ADDRESS_BYTES {
        return Err(CardError::TooLarge);
    }
    let plain = address.bytes().all(|b| b.is_ascii_graphic());
    if plain && address.starts_with('/') { Ok(()) } else { Err(CardError::Line("address")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::{event, secret};
    use proptest::prelude::*;

    fn network() -> NetworkName {
        "test".parse().unwrap()
    }

    fn identity(n: u8) -> Identity {
        let signed = event(n).sign(&[(0, &secret(n))]).unwrap();
        UnverifiedChain::new(vec![signed]).verify(&network()).unwrap()
    }

    fn validity(issued: u64) -> Validity {
        Validity::days(UnixTime::from_seconds(issued), Validity::USUAL_DAYS)
    }

    fn card(addresses: &[&str]) -> Card {
        let addresses: Vec<_> = addresses.iter().map(|a| (*a).to_owned()).collect();
        Card::issue(&identity(10), &secret(14), &addresses, validity(1_750_000_000)).unwrap()
    }

    fn read(text: &str) -> Result<Card, CardError> {
        UnverifiedCard::parse(text)?.verify(&network())
    }

    fn resigned(text: &str, key: u8) -> String {
        let name = key_name(&network(), &identity(10).authority()).unwrap();
        let note = sign_note(text, &name, &secret(key)).unwrap();
        format!("{LINE_PREFIX}{}", STANDARD.encode(note))
    }

    fn text() -> String {
        let card = card(&["/ip4/192.0.2.7/tcp/4001"]);
        UnverifiedNote::parse(&card.bytes).unwrap().claimed_text().to_owned()
    }

    #[test]
    fn both_forms_are_read_back() {
        let card = card(&["/ip4/192.0.2.7/tcp/4001", "/dns4/tally.example/udp/4001/quic-v1"]);
        assert_eq!(read(&card.to_armour()), Ok(card.clone()));
        assert_eq!(read(&card.to_line()), Ok(card.clone()));
        assert_eq!(card.identity().profile().name, "Borough 10");
        assert_eq!(card.node().as_bytes(), secret(14).public().as_bytes());
        assert_eq!(card.addresses().len(), 2);
        assert_eq!(card.issued(), UnixTime::from_seconds(1_750_000_000));
        assert_eq!(card.valid_until(), UnixTime::from_seconds(1_757_776_000));
        assert!(card.to_armour().lines().all(|line| line.len() <= 64));
    }

    #[test]
    fn what_mail_programs_do_to_a_text_does_not_hurt() {
        let card = card(&[]);
        let armour = card.to_armour();
        let quoted: String = armour.lines().map(|line| format!("> > {line}  \r\n")).collect();
        let indented: String = armour.lines().map(|line| format!("\t| {line}\n")).collect();
        let joined = armour.replace('\n', " ");
        let narrow: String = armour
            .lines()
            .map(|line| {
                if line.starts_with('-') {
                    return format!("{line}\n");
                }
                line.as_bytes()
                    .chunks(21)
                    .map(|c| format!("{}\n", str::from_utf8(c).unwrap()))
                    .collect()
            })
            .collect();
        for mail in [quoted, indented, joined, narrow] {
            let mail =
                format!("Dear all,\nhere it is:\n\n{mail}\nKind regards\n-- \nAsh Borough\n");
            assert_eq!(read(&mail), Ok(card.clone()), "{mail}");
        }
    }

    #[test]
    fn every_flipped_bit_of_the_note_is_refused() {
        let bytes = card(&["/ip4/192.0.2.7/tcp/4001"]).bytes;
        for at in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[at / 8] ^= 1 << (at % 8);
            let line = format!("{LINE_PREFIX}{}", STANDARD.encode(changed));
            assert!(read(&line).is_err(), "bit {at}");
        }
    }

    #[test]
    fn every_flipped_bit_of_the_armour_is_refused_or_changes_nothing() {
        let card = card(&[]);
        let armour = card.to_armour().into_bytes();
        for at in 0..armour.len() * 8 {
            let mut changed = armour.clone();
            changed[at / 8] ^= 1 << (at % 8);
            if let Ok(Ok(read)) = str::from_utf8(&changed).map(read) {
                assert_eq!(read, card, "bit {at}");
            }
        }
    }

    #[test]
    fn other_networks_keys_names_and_chains_are_refused() {
        let text = text();
        assert!(read(&resigned(&text, 14)).is_ok());
        assert!(matches!(read(&resigned(&text, 15)), Err(CardError::Note(_))));
        let other = UnverifiedCard::parse(&resigned(&text, 14)).unwrap();
        assert_eq!(other.verify(&"other".parse().unwrap()), Err(CardError::Network));
        let cases = [
            (text.replace("name Borough 10", "name Borough 11"), CardError::Contradiction),
            (text.replace("card v1 test", "card v2 test"), CardError::Line("heading")),
            (text.replace("issued 1", "issued 01"), CardError::Line("issued")),
            (text.replace("until 1", "until 01"), CardError::Line("valid-until")),
            (text.replace("until 1", "until 2"), CardError::Line("valid-until")),
            (
                text.replace("valid-until ", "valid-until 0\nvalid-until "),
                CardError::Line("valid-until"),
            ),
            (text.replace("\nvalid-until", "\n"), CardError::Line("valid-until")),
            (text.replace("/ip4/", "ip4/"), CardError::Line("address")),
            (text.replace("address /ip4", "address  /ip4"), CardError::Line("address")),
            (text.replace("authority ", "authorit "), CardError::Line("authority")),
            (format!("{text}more x\n"), CardError::Line("something unknown")),
            (text.replace("\nevent ", "\nevent !"), CardError::Line("event")),
        ];
        for (changed, error) in cases {
            assert_eq!(read(&resigned(&changed, 14)), Err(error), "{changed}");
        }
        let own = identity(10).authority().to_string();
        let foreign = text.replace(&own, &identity(30).authority().to_string());
        assert_eq!(read(&resigned(&foreign, 14)), Err(CardError::Contradiction));
        let without = text.split("event ").next().unwrap();
        assert_eq!(read(&resigned(without, 14)), Err(CardError::Identity(IdentityError::Size)));
    }

    #[test]
    fn a_card_with_a_weak_node_key_is_refused() {
        // The event's bytes with the node key replaced by the point of order one.
        let mut weak = [0; 32];
        weak[0] = 1;
        let signed = event(10).sign(&[(0, &secret(10))]).unwrap();
        let key = secret(14).public();
        let at = signed.windows(32).position(|window| window == key.as_bytes()).unwrap();
        let mut changed = signed.clone();
        changed[at..at + 32].copy_from_slice(&weak);
        let text = text().replace(&STANDARD.encode(signed), &STANDARD.encode(changed));
        let error = read(&resigned(&text, 14)).unwrap_err();
        assert!(matches!(error, CardError::Identity(IdentityError::Encoding(_))), "{error:?}");
    }

    #[test]
    fn limits_hold() {
        let many = vec!["/ip4/192.0.2.7/tcp/4001".to_owned(); limits::CARD_ADDRESSES + 1];
        let issue =
            |addresses: &[String]| Card::issue(&identity(10), &secret(14), addresses, validity(0));
        assert_eq!(issue(&many), Err(CardError::TooLarge));
        assert_eq!(issue(&[format!("/dns4/{}", "x".repeat(300))]), Err(CardError::TooLarge));
        assert_eq!(issue(&["/ip4/1.2.3.4 x".to_owned()]), Err(CardError::Line("address")));
        let stranger = Card::issue(&identity(10), &secret(99), &[], validity(0));
        assert_eq!(stranger, Err(CardError::NodeKey));
        let huge = "x".repeat(limits::CARD_TEXT_BYTES + 1);
        assert_eq!(read(&huge), Err(CardError::TooLarge));
        assert_eq!(read("good morning"), Err(CardError::Absent));
        assert_eq!(read(BEGIN), Err(CardError::Armour));
        assert_eq!(read(&format!("{BEGIN}\nAAA\n{END}")), Err(CardError::Armour));
    }

    #[test]
    fn fingerprints_are_short_and_stable() {
        let id = AuthorityId::from_bytes([5; 32]);
        assert_eq!(fingerprint(&id).len(), 29);
        assert_eq!(fingerprint(&id), fingerprint(&id));
        assert_ne!(fingerprint(&id), fingerprint(&AuthorityId::from_bytes([6; 32])));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "\\PC{0,200}") {
            let _ = read(&text);
            let _ = read(&format!("{BEGIN}{text}{END}"));
            let _ = read(&resigned(&format!("{text}\n"), 14));
        }
    }
}
