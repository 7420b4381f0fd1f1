//! What is refused at the door, one rule to a test: networks, keys, spellings.
//!
//! Each of them is tried at every place where bytes from outside are taken for
//! an identity, a signed head or a card. Elsewhere: greetings of another network
//! (`simulator/tests/sync/session.rs`), replayed chains and expired cards at real
//! nodes (`node/tests/cards.rs`), the published suites (`suites_ed25519.rs`).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test may panic")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_bytes::ByteBuf;
use tallystick_protocol::card::{Card, CardError, UnverifiedCard, Validity};
use tallystick_protocol::checkpoint::{self, Checkpoint, CheckpointError, Origin};
use tallystick_protocol::checkpoint::{UnverifiedCheckpoint, VerifiedCheckpoint};
use tallystick_protocol::id::{Hash, NetworkName};
use tallystick_protocol::identity::{
    Controllers, Event, Identity, IdentityError, NextControllers, Profile, SealingKey,
    UnverifiedChain, WorkingKeys, commit_to_key,
};
use tallystick_protocol::key::{PublicKey, SecretKey, SignatureError};
use tallystick_protocol::note::sign_note;
use tallystick_protocol::time::UnixTime;

/// Which key of the made-up authority serves what.
const CONTROLLER: u8 = 1;
const LOG: u8 = 3;
const WITNESS: u8 = 4;
const NODE: u8 = 5;

fn network() -> NetworkName {
    "test".parse().unwrap()
}

fn secret(n: u8) -> SecretKey {
    SecretKey::from_seed([n; 32])
}

fn inception(network: &NetworkName) -> Vec<u8> {
    let key = |n| secret(n).public();
    let event = Event::inception(
        network.clone(),
        UnixTime::from_seconds(1_750_000_000),
        Controllers { keys: vec![key(CONTROLLER)], threshold: 1 },
        NextControllers { key_hashes: vec![commit_to_key(&key(2))], threshold: 1 },
        WorkingKeys {
            log: key(LOG),
            witness: key(WITNESS),
            nodes: vec![key(NODE)],
            sealing: SealingKey { kem: 0x20, key: ByteBuf::from(vec![7; 32]) },
        },
        Profile { name: "Ash Borough Council".into(), ..Profile::default() },
    );
    event.sign(&[(0, &secret(CONTROLLER))]).unwrap()
}

fn identity_in(network: &NetworkName) -> Identity {
    UnverifiedChain::new(vec![inception(network)]).verify(network).unwrap()
}

fn identity() -> Identity {
    identity_in(&network())
}

fn chain(event: Vec<u8>) -> Result<Identity, IdentityError> {
    UnverifiedChain::new(vec![event]).verify(&network())
}

/// A signed head of a log of the authority, in `network`.
fn head(network: &NetworkName) -> VerifiedCheckpoint {
    let origin = Origin::public(network, &identity().authority(), 0);
    let head = Checkpoint::new(origin, 5, Hash::from_bytes([1; 32])).unwrap();
    checkpoint::sign(&head, &secret(LOG)).unwrap()
}

fn judge(head: &[u8]) -> Result<(), CheckpointError> {
    identity().verify_head(&UnverifiedCheckpoint::parse(head)?).map(|_| ())
}

fn card_at(addresses: &[String]) -> String {
    let validity = Validity::days(UnixTime::from_seconds(1_750_000_000), 90);
    Card::issue(&identity(), &secret(NODE), addresses, validity).unwrap().to_line()
}

fn card() -> String {
    card_at(&[])
}

fn read_card(line: &str) -> Result<Card, CardError> {
    UnverifiedCard::parse(line)?.verify(&network())
}

/// The note in a card, as text.
fn note_of(card: &str) -> String {
    String::from_utf8(STANDARD.decode(card.rsplit(':').next().unwrap()).unwrap()).unwrap()
}

fn card_of(note: &str) -> String {
    format!("tallystick-card:{}", STANDARD.encode(note))
}

/// A card of which a line is another, signed anew.
fn card_saying(change: impl Fn(&str) -> String) -> String {
    let note = note_of(&card());
    let (text, signature) = note.split_once("\n\n").unwrap();
    let name = signature.split(' ').nth(1).unwrap().parse().unwrap();
    let note = sign_note(&format!("{}\n", change(text)), &name, &secret(NODE)).unwrap();
    card_of(str::from_utf8(&note).unwrap())
}

/// The same signature with the order of the group added to S: it satisfies the
/// same equation, and would be a second name for what was signed.
fn with_large_s(signature: &[u8]) -> Vec<u8> {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut changed = signature.to_vec();
    let mut carry = 0;
    for (byte, added) in changed[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(added) + carry;
        (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
    changed
}

/// A note whose last signature has been put through `change`, key id and all.
fn resigned(note: &str, change: impl Fn(&[u8]) -> String) -> String {
    let (kept, last) = note.trim_end().rsplit_once(' ').unwrap();
    format!("{kept} {}\n", change(&STANDARD.decode(last).unwrap()))
}

fn with_large_s_in(note: &str) -> String {
    resigned(note, |line| {
        let (key_id, signature) = line.split_at(4);
        STANDARD.encode([key_id, &with_large_s(signature)].concat())
    })
}

/// The same bytes, spelled with a bit that base64 has left over.
fn loosely(encoded: &str) -> String {
    let digits = encoded.trim_end_matches('=');
    assert_ne!(digits.len(), encoded.len(), "no bits are left over: {encoded}");
    let (kept, last) = digits.split_at(digits.len() - 1);
    // Of the last digit the lowest bits are left over, and zero.
    let next = char::from(last.as_bytes()[0] + 1);
    assert!(next.is_ascii_alphanumeric(), "{encoded}");
    format!("{kept}{next}{}", &encoded[digits.len()..])
}

#[test]
fn rule_a_signature_has_one_spelling_so_an_s_beyond_the_order_is_refused() {
    let (key, message) = (secret(9), b"a head, an event or a card");
    let changed = with_large_s(&key.sign(message));
    assert_eq!(key.public().verify(message, &changed), Err(SignatureError::Invalid));

    let mut event = inception(&network());
    let at = event.len() - 64;
    let changed = with_large_s(&event[at..]);
    event[at..].copy_from_slice(&changed);
    assert_eq!(chain(event), Err(IdentityError::Signatures));

    let head = String::from_utf8(head(&network()).to_bytes()).unwrap();
    assert_eq!(judge(head.as_bytes()), Ok(()));
    let refused = judge(with_large_s_in(&head).as_bytes());
    assert!(matches!(refused, Err(CheckpointError::BadSignature(_))), "{refused:?}");

    let refused = read_card(&card_of(&with_large_s_in(&note_of(&card()))));
    assert!(matches!(refused, Err(CardError::Note(_))), "{refused:?}");
}

#[test]
fn rule_base64_has_one_spelling_so_leftover_bits_and_missing_padding_are_refused() {
    let bare = |encoded: &str| encoded.trim_end_matches('=').to_owned();
    let head = String::from_utf8(head(&network()).to_bytes()).unwrap();
    assert!(UnverifiedCheckpoint::parse(head.as_bytes()).is_ok());
    let root = head.lines().nth(2).unwrap();
    let name = head.lines().next().unwrap().parse().unwrap();
    for respell in [loosely, bare] {
        // Of a root, under a signature that covers the other spelling.
        let text = head.split_once("\n\n").unwrap().0.replace(root, &respell(root));
        let note = sign_note(&format!("{text}\n"), &name, &secret(LOG)).unwrap();
        assert!(UnverifiedCheckpoint::parse(&note).is_err(), "{text}");
        // Of a signature.
        let other = resigned(&head, |line| respell(&STANDARD.encode(line)));
        assert!(UnverifiedCheckpoint::parse(other.as_bytes()).is_err(), "{other}");
        let other = resigned(&note_of(&card()), |line| respell(&STANDARD.encode(line)));
        assert!(matches!(read_card(&card_of(&other)), Err(CardError::Note(_))), "{other}");
    }
    // Of an event, under a signature that covers the other spelling.
    let event = STANDARD.encode(inception(&network()));
    let respelled = if event.ends_with('=') { loosely(&event) } else { format!("{event}==") };
    let other = card_saying(|text| text.replace(&event, &respelled));
    assert_eq!(read_card(&card_saying(str::to_owned)), read_card(&card()));
    assert_eq!(read_card(&other), Err(CardError::Line("event")));
    // Of a card itself, made as long as it must be for bits to be left over.
    let long = |digits| card_at(&[format!("/ip4/192.0.2.7/tcp/{}", &"4817"[..digits])]);
    let card = (1..4).map(long).find(|card| card.ends_with('=')).unwrap();
    let (mark, body) = card.split_once(':').unwrap();
    assert!(read_card(&card).is_ok());
    for respell in [loosely, bare] {
        let respelled = format!("{mark}:{}", respell(body));
        assert_eq!(read_card(&respelled), Err(CardError::Armour), "{respelled}");
    }
}

/// All points of small order in all their spellings, those beyond the prime too.
fn small_order() -> Vec<[u8; 32]> {
    let hex = |text: &str| -> [u8; 32] {
        core::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
    };
    let ends = |least: u8, middle: u8, most: u8| {
        let mut bytes = [middle; 32];
        (bytes[0], bytes[31]) = (least, most);
        bytes
    };
    let mut points = vec![
        ends(0, 0, 0),
        ends(1, 0, 0),
        ends(0xec, 0xff, 0x7f),
        ends(0xed, 0xff, 0x7f),
        ends(0xee, 0xff, 0x7f),
        hex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        hex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    ];
    for mut point in points.clone() {
        point[31] |= 0x80;
        points.push(point);
    }
    points
}

#[test]
fn rule_no_key_of_small_order_is_taken_at_inception_whatever_it_is_for() {
    let sound = inception(&network());
    assert!(chain(sound.clone()).is_ok());
    for point in small_order() {
        assert!(PublicKey::ed25519(&point).is_err(), "{point:x?}");
        for purpose in [CONTROLLER, LOG, WITNESS, NODE] {
            let key = secret(purpose).public();
            let at = sound.windows(32).position(|window| window == key.as_bytes()).unwrap();
            let mut weak = sound.clone();
            weak[at..at + 32].copy_from_slice(&point);
            // Refused for the key, not only because the event was changed.
            let refused = chain(weak);
            assert!(matches!(refused, Err(IdentityError::Encoding(_))), "{purpose}: {refused:?}");
        }
    }
}

#[test]
fn rule_what_was_made_for_another_network_is_refused() {
    let other: NetworkName = "elsewhere".parse().unwrap();
    assert_eq!(chain(inception(&other)), Err(IdentityError::Network));

    // A head of the same authority and key, but of its log in another network.
    assert_eq!(judge(&head(&other).to_bytes()), Err(CheckpointError::NotSigned));

    let validity = Validity::days(UnixTime::from_seconds(1_750_000_000), 90);
    let foreign = Card::issue(&identity_in(&other), &secret(NODE), &[], validity).unwrap();
    assert_eq!(read_card(&foreign.to_line()), Err(CardError::Network));
    // Nor does a card get in that merely says it is of this one.
    let renamed = card_saying(|_| {
        let note = note_of(&foreign.to_line());
        note.split_once("\n\n").unwrap().0.replacen("elsewhere", "test", 1)
    });
    assert_eq!(read_card(&renamed), Err(CardError::Identity(IdentityError::Network)));
}

#[test]
fn rule_a_card_is_signed_by_a_node_of_the_authority_it_names() {
    let note = note_of(&card());
    let (text, signature) = note.split_once("\n\n").unwrap();
    let name = signature.split(' ').nth(1).unwrap().parse().unwrap();
    for (signer, fits) in [(NODE, true), (LOG, false), (CONTROLLER, false), (99, false)] {
        let note = sign_note(&format!("{text}\n"), &name, &secret(signer)).unwrap();
        assert_eq!(read_card(&card_of(str::from_utf8(&note).unwrap())).is_ok(), fits, "{signer}");
    }
    let stranger = "tally1".to_owned();
    let authority = identity().authority().to_string();
    let other = card_saying(|text| text.replace(&authority, &stranger));
    assert_eq!(read_card(&other), Err(CardError::Line("authority")));
    let other = card_saying(|text| text.replace("name Ash", "name Oak"));
    assert_eq!(read_card(&other), Err(CardError::Contradiction));
}
