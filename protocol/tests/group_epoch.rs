//! Epochs and sealed bodies: who can read what, and what everybody else finds.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failing test may panic"
)]

mod group_model;

use std::collections::BTreeMap;
use std::sync::Arc;

use ciborium::Value;
use group_model::{Act, World, network, who};
use tallystick_protocol::body::{Body, BodyError, Committed, Fields, FullBody, Salt, SealedBody};
use tallystick_protocol::cbor;
use tallystick_protocol::checkpoint::Origin;
use tallystick_protocol::entry::{Action, Entry, Header, UnverifiedEntry};
use tallystick_protocol::group::epoch::{EpochError, EpochNeed, EpochOpening, EpochPlace, Keyring};
use tallystick_protocol::group::operation::Terms;
use tallystick_protocol::group::seal::{BodyKey, EpochSecret, SealError, SealingSecret, Suite};
use tallystick_protocol::group::{
    Continuation, EntryRef, History, Operation, Role, group_id, origin,
};
use tallystick_protocol::id::{
    AuthorityId, Commitment, EpochId, GroupId, LogId, NetworkName, RecordId, Space,
};
use tallystick_protocol::identity::SealingKey;
use tallystick_protocol::limits;
use tallystick_protocol::record::Kind;
use tallystick_protocol::time::UnixTime;
use xchacha20poly1305::XChaCha20Poly1305;
use xchacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};

use Role::{Convenor, Member, Observer};

const NOW: UnixTime = UnixTime::from_seconds(10);

/// Sealing keys: odd authorities have X-Wing, even ones X25519 only.
fn secret(n: usize, generation: u8) -> SealingSecret {
    let suite = if n % 2 == 1 { Suite::XWing } else { Suite::X25519 };
    let mut seed = [generation; 32];
    seed[0] = u8::try_from(n).unwrap();
    SealingSecret::from_seed(suite, seed)
}

fn keys() -> BTreeMap<AuthorityId, SealingKey> {
    (0..8).map(|n| (who(n), secret(n, 0).public().unwrap())).collect()
}

/// A group of four, the last of them an observer, and what each can read.
struct Scene {
    world: World,
    keys: BTreeMap<AuthorityId, SealingKey>,
    rings: Vec<Keyring>,
    openings: u8,
}

impl Scene {
    fn new() -> Self {
        let world =
            World::new(Continuation::Nobody).with(&[(1, Convenor), (2, Member), (3, Observer)]);
        Self { world, keys: keys(), rings: vec![Keyring::default(); 8], openings: 0 }
    }

    fn open(&mut self, author: usize) -> EpochId {
        let membership = self.world.membership();
        self.openings += 1;
        let random = [self.openings; 32];
        let ring = &self.rings[author];
        let opened =
            membership.open_epoch(&network(), &who(author), NOW, &self.keys, ring, random).unwrap();
        self.announce(author, opened.0)
    }

    fn announce(&mut self, author: usize, opening: EpochOpening) -> EpochId {
        let seen = self.world.heads.clone();
        let place = self.world.write(author, &seen, Operation::Epoch(Arc::new(opening)), 0);
        id(&place)
    }

    /// Everybody reads what it can; what it complains of.
    fn read(&mut self, reader: usize) -> Vec<(EpochId, EpochError)> {
        let membership = self.world.membership();
        let secrets = [secret(reader, 0)];
        self.rings[reader].unlock(&network(), &membership, &who(reader), &secrets)
    }

    fn can_read(&mut self, reader: usize, epoch: &EpochId) -> bool {
        self.read(reader);
        self.rings[reader].secret(epoch).is_some()
    }

    fn current(&self) -> Option<EpochId> {
        self.world.membership().current_epoch(NOW).map(|epoch| epoch.id())
    }

    fn need(&self) -> Option<EpochNeed> {
        self.world.membership().epoch_needed(NOW, &self.keys)
    }
}

fn id(place: &EntryRef) -> EpochId {
    EpochId::from_bytes(*place.leaf.as_bytes())
}

/// An opening taken apart, changed, and put together again.
fn edited(opening: &EpochOpening, change: impl FnOnce(&mut Vec<Value>)) -> EpochOpening {
    let mut value: Value = cbor::decode(&opening.encode()).unwrap();
    change(value.as_array_mut().unwrap());
    EpochOpening::decode(&cbor::encode_value(value).unwrap()).unwrap()
}

/// The copy of the `n`th recipient: authority, suite, key id, sealed secret.
fn copy_at(parts: &mut [Value], n: usize) -> &mut Vec<Value> {
    parts[3].as_array_mut().unwrap()[n].as_array_mut().unwrap()
}

fn sealed_at(parts: &mut [Value], n: usize) -> &mut Vec<u8> {
    copy_at(parts, n)[3].as_bytes_mut().unwrap()
}

#[test]
fn every_member_reads_an_epoch_and_nobody_else() {
    let mut scene = Scene::new();
    assert_eq!(scene.need(), Some(EpochNeed::NoneUsable));
    let epoch = scene.open(2);
    for reader in 0..4 {
        assert!(scene.can_read(reader, &epoch), "{reader}");
    }
    assert!(!scene.can_read(4, &epoch));
    assert_eq!((scene.current(), scene.need()), (Some(epoch), None));
    let secret = |n: usize| scene.rings[n].secret(&epoch).cloned();
    assert!(secret(0).is_some() && secret(0) == secret(3));
    let membership = scene.world.membership();
    let opened =
        membership.open_epoch(&network(), &who(3), NOW, &scene.keys, &scene.rings[3], [1; 32]);
    assert_eq!(opened.unwrap_err(), EpochError::NotWriting);
}

#[test]
fn an_epoch_that_includes_a_removed_member_is_refused_for_writing() {
    let mut scene = Scene::new();
    let first = scene.open(0);
    let before = scene.world.heads.clone();
    scene.world.say(0, Act::Remove(2));
    assert_eq!((scene.current(), scene.need()), (None, Some(EpochNeed::NoneUsable)));
    let second = scene.open(0);
    assert_eq!(scene.current(), Some(second));
    assert!(scene.can_read(2, &first) && !scene.can_read(2, &second));
    // Somebody who had not heard of it opens one for all: it is known, and not used.
    let membership = World::membership(&scene.world);
    let all: BTreeMap<_, _> = (0..4).map(|n| (who(n), scene.keys[&who(n)].clone())).collect();
    let group = membership.group();
    let author = who(1);
    let place = EpochPlace { network: &network(), group: &group, author: &author };
    let (opening, _) = EpochOpening::new(place, &all, &BTreeMap::new(), [77; 32]).unwrap();
    let late = scene.world.write(1, &before, Operation::Epoch(Arc::new(opening)), 0);
    assert!(scene.world.membership().epoch(&id(&late)).is_some());
    assert_eq!(scene.current(), Some(second));
    assert!(scene.can_read(2, &id(&late)));
}

/// A group with an epoch, and a newcomer that has gone again; the epoch before it came.
fn gone_again(history: History) -> (Scene, EpochId) {
    let mut scene = Scene::new();
    let terms = Terms { history, ..scene.world.terms.clone() };
    scene.world = World::with_terms(terms).with(&[(1, Convenor), (2, Member)]);
    let first = scene.open(0);
    scene.read(0);
    let invitation = scene.world.say(0, Act::Invite { key: 50, role: Member, bound: None });
    scene.world.say(5, Act::Join { invitation, key: 50 });
    let second = scene.open(0);
    assert!(scene.can_read(5, &second));
    scene.world.say(5, Act::Leave);
    (scene, first)
}

#[test]
fn invariant_3_an_epoch_that_somebody_who_has_gone_reads_by_a_link_is_not_written_under() {
    // Only the members of now are its recipients, but the newcomer was given its secret.
    let (mut scene, first) = gone_again(History::All);
    assert!(scene.can_read(5, &first));
    assert_eq!((scene.current(), scene.need()), (None, Some(EpochNeed::NoneUsable)));
    scene.read(1);
    let third = scene.open(1);
    assert_eq!((scene.current(), scene.need()), (Some(third), None));
    assert!(!scene.can_read(5, &third));
    // Where history is from joining it never had it.
    let (mut scene, first) = gone_again(History::FromJoin);
    assert!(!scene.can_read(5, &first));
    assert_eq!((scene.current(), scene.need()), (Some(first), None));
}

#[test]
fn of_several_epochs_the_lowest_id_counts_unless_one_has_seen_the_other() {
    let mut scene = Scene::new();
    let before = scene.world.heads.clone();
    let mut opened = Vec::new();
    for author in 0..3 {
        scene.world.heads.clone_from(&before);
        opened.push(scene.open(author));
    }
    assert_eq!(scene.current(), opened.iter().min().copied());
    scene.world.heads = scene.world.membership().heads().to_vec();
    let last = scene.open(1);
    assert_eq!(scene.current(), Some(last));
}

#[test]
fn newcomers_read_back_through_all_epochs_where_history_is_for_all() {
    let mut scene = Scene::new();
    let before = scene.world.heads.clone();
    let mut epochs = vec![scene.open(0)];
    // Two at once, of which a later one links to both.
    scene.world.heads = before;
    epochs.push(scene.open(1));
    scene.world.heads = scene.world.membership().heads().to_vec();
    scene.read(0);
    epochs.push(scene.open(0));
    let invitation = scene.world.say(0, Act::Invite { key: 50, role: Member, bound: None });
    scene.world.say(5, Act::Join { invitation, key: 50 });
    assert_eq!(scene.need(), Some(EpochNeed::Missing(who(5))));
    assert!(!scene.can_read(5, &epochs[2]));
    scene.read(2);
    epochs.push(scene.open(2));
    for epoch in &epochs {
        assert!(scene.can_read(5, epoch));
    }
    assert!(!scene.can_read(6, &epochs[0]));
}

#[test]
fn newcomers_read_nothing_earlier_where_history_is_from_joining() {
    let mut scene = Scene::new();
    let terms = Terms { history: History::FromJoin, ..scene.world.terms.clone() };
    let mut world = World::with_terms(terms);
    world = world.with(&[(1, Convenor), (2, Member)]);
    scene.world = world;
    let first = scene.open(0);
    scene.read(0);
    let invitation = scene.world.say(0, Act::Invite { key: 50, role: Member, bound: None });
    scene.world.say(5, Act::Join { invitation, key: 50 });
    let second = scene.open(0);
    assert!(scene.can_read(5, &second) && !scene.can_read(5, &first));
    assert_eq!(scene.world.membership().epoch(&second).unwrap().opening.links(), []);
}

#[test]
fn one_rotation_heals_a_replaced_sealing_key() {
    let mut scene = Scene::new();
    let first = scene.open(0);
    scene.read(0);
    let stolen = secret(2, 0);
    scene.keys.insert(who(2), secret(2, 1).public().unwrap());
    assert_eq!(scene.need(), Some(EpochNeed::Replaced(who(2))));
    let second = scene.open(0);
    assert_eq!(scene.need(), None);
    let membership = scene.world.membership();
    let mut thief = Keyring::default();
    let faults = thief.unlock(&network(), &membership, &who(2), &[stolen]);
    assert!(faults.is_empty());
    assert!(thief.secret(&first).is_some() && thief.secret(&second).is_none());
    let mut owner = Keyring::default();
    owner.unlock(&network(), &membership, &who(2), &[secret(2, 1)]);
    // By its own copy of the second, and by the link to the first.
    assert_eq!(owner.epochs().count(), 2);
}

#[test]
fn an_observer_reads_until_its_time_is_over() {
    use tallystick_protocol::group::{Grant, LogEnd};
    let mut scene = Scene::new();
    let seen = scene.world.heads.clone();
    let grant = Grant::observer_until(UnixTime::from_seconds(20));
    let end = LogEnd { generation: 0, size: 1 };
    let assign = Operation::Assign { authority: who(3), grant, end };
    scene.world.write(0, &seen, assign, 0);
    let epoch = scene.open(0);
    assert!(scene.can_read(3, &epoch));
    let membership = scene.world.membership();
    assert!(membership.is_member(&who(3), UnixTime::from_seconds(19)));
    let later = UnixTime::from_seconds(20);
    assert!(!membership.is_member(&who(3), later));
    assert!(membership.current_epoch(later).is_none());
    assert_eq!(membership.epoch_needed(later, &scene.keys), Some(EpochNeed::NoneUsable));
}

#[test]
fn whoever_is_given_another_secret_notices() {
    let mut scene = Scene::new();
    let membership = scene.world.membership();
    let keys = keys();
    let make = |random: u8| {
        let ring = Keyring::default();
        membership.open_epoch(&network(), &who(0), NOW, &keys, &ring, [random; 32]).unwrap().0
    };
    let (one, two) = (make(1), make(2));
    // The copy for authority 2 in the one is of another opening.
    let mut other = Vec::new();
    edited(&two, |parts| other.clone_from(sealed_at(parts, 2)));
    let mixed = edited(&one, |parts| *sealed_at(parts, 2) = other);
    let garbled = edited(&one, |parts| sealed_at(parts, 1)[0] ^= 1);
    let first = scene.announce(0, mixed);
    let second = scene.announce(0, garbled);
    // Another opening has another nonce, so such a copy does not even open.
    assert_eq!(scene.read(2), [(first, EpochError::Seal(SealError::Open))]);
    assert_eq!(scene.read(1), [(second, EpochError::Seal(SealError::Open))]);
    assert_eq!(scene.read(0), []);
    // One with the same nonce does, and shows.
    let differing = edited(&make(3), |parts| parts[1] = Value::Bytes(vec![4; 32]));
    let third = scene.announce(0, differing);
    assert!(scene.read(1).contains(&(third, EpochError::Differs)));
}

#[test]
fn a_keyring_takes_only_what_fits() {
    let mut scene = Scene::new();
    let epoch = scene.open(0);
    scene.read(0);
    let membership = scene.world.membership();
    let opened = membership.epoch(&epoch).unwrap();
    let good = scene.rings[0].secret(&epoch).unwrap().clone();
    let mut ring = Keyring::default();
    let wrong = EpochSecret::from_bytes([3; 32]);
    let group = membership.group();
    assert_eq!(ring.insert(&network(), &group, opened, wrong), Err(EpochError::Differs));
    let bytes = EpochSecret::from_bytes(*good.to_bytes());
    assert_eq!(ring.insert(&network(), &group, opened, bytes), Ok(()));
    let other: NetworkName = "other".parse().unwrap();
    assert_eq!(ring.insert(&other, &group, opened, good), Err(EpochError::Differs));
}

fn place<'a>(
    network: &'a NetworkName,
    group: &'a GroupId,
    author: &'a AuthorityId,
) -> EpochPlace<'a> {
    EpochPlace { network, group, author }
}

#[test]
fn a_copy_opens_only_for_whom_and_where_it_was_sealed() {
    let group = group_id(&network(), &who(0), &[1; 32]);
    let (ours, author) = (network(), who(0));
    let recipients: BTreeMap<_, _> = keys().into_iter().take(4).collect();
    let good = place(&ours, &group, &author);
    let (opening, secret_of) =
        EpochOpening::new(good, &recipients, &BTreeMap::new(), [8; 32]).unwrap();
    let open = |place: EpochPlace<'_>, n: usize| opening.open(place, &who(n), &[secret(n, 0)]);
    for n in 0..4 {
        assert_eq!(open(good, n), Ok(secret_of.clone()), "{n}");
        let sealed = Err(EpochError::Seal(SealError::Open));
        let network: NetworkName = "another".parse().unwrap();
        assert_eq!(open(place(&network, &group, &author), n), sealed);
        assert_eq!(open(place(&ours, &GroupId::from_bytes([2; 32]), &author), n), sealed);
        assert_eq!(open(place(&ours, &group, &who(1)), n), sealed);
        // Another's copy in one's own place.
        let to = (n + 2) % 4;
        let swapped = edited(&opening, |parts| {
            let mut moved = copy_at(parts, n).clone();
            moved[0] = copy_at(parts, to)[0].clone();
            *copy_at(parts, to) = moved;
        });
        assert_eq!(swapped.open(good, &who(to), &[secret(n, 0)]), sealed);
        assert_eq!(opening.open(good, &who(n), &[secret(n, 1)]), Err(EpochError::OtherKey));
        assert_eq!(opening.open(good, &who(n), &[]), Err(EpochError::OtherKey));
    }
    assert_eq!(open(good, 5), Err(EpochError::NotRecipient));
    let kept = opening.kept_for(&who(1));
    assert_eq!(kept.open(good, &who(1), &[secret(1, 0)]), Ok(secret_of));
    assert!(kept.open(good, &who(3), &[secret(3, 0)]).is_err());
    // The author must be able to read it, and every key must be one.
    let others: BTreeMap<_, _> = keys().into_iter().skip(1).collect();
    let none = BTreeMap::new();
    assert_eq!(
        EpochOpening::new(good, &others, &none, [8; 32]).unwrap_err(),
        EpochError::NotWriting
    );
    for bad in [
        SealingKey { kem: 0x0010, key: vec![4; 65].into() },
        SealingKey { kem: 0x0020, key: vec![0; 32].into() },
        SealingKey { kem: 0x0020, key: vec![9; 31].into() },
        SealingKey { kem: 0x647a, key: vec![0xff; 1216].into() },
    ] {
        let mut recipients = recipients.clone();
        recipients.insert(who(2), bad);
        let made = EpochOpening::new(good, &recipients, &none, [8; 32]);
        assert_eq!(made.unwrap_err(), EpochError::NoKey(who(2)));
    }
}

#[test]
fn every_flipped_bit_and_every_shorter_copy_is_refused() {
    let group = group_id(&network(), &who(0), &[1; 32]);
    let (network, author) = (network(), who(0));
    let recipients: BTreeMap<_, _> = keys().into_iter().take(2).collect();
    let place = place(&network, &group, &author);
    let (opening, _) = EpochOpening::new(place, &recipients, &BTreeMap::new(), [8; 32]).unwrap();
    for n in [0, 1] {
        let secrets = [secret(n, 0)];
        let mut len = 0;
        edited(&opening, |parts| len = sealed_at(parts, n).len());
        assert_eq!(len, [80, 1168][n]);
        for bit in (0..len * 8).step_by(if n == 0 { 1 } else { 7 }) {
            let changed = edited(&opening, |parts| {
                sealed_at(parts, n)[bit / 8] ^= 1 << (bit % 8);
            });
            assert!(changed.open(place, &who(n), &secrets).is_err(), "{n} {bit}");
        }
        for end in (0..len).step_by(if n == 0 { 1 } else { 29 }) {
            let short = edited(&opening, |parts| sealed_at(parts, n).truncate(end));
            assert!(short.open(place, &who(n), &secrets).is_err(), "{n} {end}");
        }
    }
}

/// An entry of a group's log, with its body, and the key of its epoch.
fn sealed_entry() -> (Entry, LogId, BodyKey) {
    let group = group_id(&network(), &who(0), &[1; 32]);
    let epoch = EpochId::from_bytes([6; 32]);
    let key = EpochSecret::from_bytes([5; 32]).body_key(&network(), &group, epoch);
    let log = LogId { authority: who(0), space: Space::Group(group), generation: 0 };
    (entry(Some(epoch), "Street lighting"), log, key)
}

fn entry(epoch: Option<EpochId>, title: &str) -> Entry {
    let mut fields = Fields::new();
    fields.insert("title", &title.into()).unwrap();
    fields.insert("value.amount", &1_000_000.into()).unwrap();
    let unknown = Commitment::from_bytes([0; 32]);
    let record = RecordId::from_bytes([3; 16]);
    let mut header =
        Header::new(Kind::CONTRACT, record, Action::Put, UnixTime::from_seconds(1), unknown, 0);
    header.epoch = epoch;
    let body = Committed::new(&Salt::from_random([4; 32]), &fields).unwrap();
    Entry::of_committed(header, body).unwrap()
}

fn bare(entry: &Entry) -> Entry {
    UnverifiedEntry::new(entry.header_bytes().to_vec(), None).check().unwrap()
}

#[test]
fn an_epoch_that_a_removed_member_found_by_a_link_is_not_written_under() {
    let mut scene = Scene::new();
    let before = scene.open(0);
    assert_eq!(scene.current(), Some(before));
    // A newcomer is led back by the next epoch, and goes.
    let invitation = scene.world.say(0, Act::Invite { key: 7, role: Member, bound: None });
    scene.world.say(4, Act::Join { invitation, key: 7 });
    scene.read(0);
    scene.open(0);
    assert!(scene.can_read(4, &before));
    scene.world.say(0, Act::Remove(4));
    assert_eq!((scene.current(), scene.need()), (None, Some(EpochNeed::NoneUsable)));
    let after = scene.open(0);
    assert_eq!(scene.current(), Some(after));
    assert!(scene.can_read(2, &after) && !scene.can_read(4, &after));
}

#[test]
fn a_sealed_body_keeps_the_commitment_of_its_header() {
    let (entry, log, key) = sealed_entry();
    let origin = origin(&network(), &log).unwrap();
    let sealed = key.seal(&origin, &entry, [7; 24]).unwrap();
    let sealed = SealedBody::parse(sealed.into_bytes()).unwrap();
    assert_eq!(key.open(&origin, &bare(&entry), &sealed).unwrap(), entry);
    // So does what has been made partial or erased meanwhile.
    let Some(Body::Full(full)) = entry.body() else { panic!("made in full") };
    let partial = Body::Partial(FullBody::disclose(full, |name| name == "title").unwrap());
    let erased = Body::Erased(Body::Full(full.clone()).erase().unwrap());
    for body in [partial, erased] {
        let entry = Entry::author(entry.header().clone(), body).unwrap();
        let sealed = key.seal(&origin, &entry, [8; 24]).unwrap();
        assert_eq!(key.open(&origin, &bare(&entry), &sealed).unwrap(), entry);
    }
    // A sealed body by itself says nothing.
    let header = entry.header();
    let taken = Body::verify(sealed.into_bytes(), &header.commitment, header.body_size).unwrap();
    assert!(matches!(taken, Body::Sealed(_)) && taken.fields().is_empty());
    assert!(taken.withheld().is_empty() && taken.erase().is_none());
}

#[test]
fn a_sealed_body_opens_only_where_it_was_sealed() {
    let (entry, log, key) = sealed_entry();
    let ours = origin(&network(), &log).unwrap();
    let sealed = key.seal(&ours, &entry, [7; 24]).unwrap();
    let epoch = key.epoch();
    let LogId { space: Space::Group(group), .. } = log else { panic!("a group's log") };
    let open = |key: &BodyKey, origin: &Origin, entry: &Entry| {
        key.open(origin, entry, &sealed).map(|_| ())
    };
    let no = Err(SealError::Open);
    // Another log of the author, another author, another network.
    for other in [LogId { generation: 1, ..log }, LogId { authority: who(1), ..log }] {
        assert_eq!(open(&key, &origin(&network(), &other).unwrap(), &bare(&entry)), no);
    }
    let network_of: NetworkName = "another".parse().unwrap();
    assert_eq!(open(&key, &origin(&network_of, &log).unwrap(), &bare(&entry)), no);
    // Another entry, epoch, secret, group or network of the key.
    assert_eq!(open(&key, &ours, &bare(&self::entry(Some(epoch), "Lamps"))), no);
    let elsewhere = bare(&self::entry(Some(EpochId::from_bytes([1; 32])), "Street lighting"));
    assert_eq!(open(&key, &ours, &elsewhere), Err(SealError::Epoch));
    assert_eq!(open(&key, &ours, &bare(&self::entry(None, "x"))), Err(SealError::Epoch));
    let secret = EpochSecret::from_bytes([5; 32]);
    let others = [
        EpochSecret::from_bytes([6; 32]).body_key(&network(), &group, epoch),
        secret.body_key(&network_of, &group, epoch),
        secret.body_key(&network(), &GroupId::from_bytes([1; 32]), epoch),
    ];
    for other in others {
        assert_eq!(open(&other, &ours, &bare(&entry)), no);
    }
    assert_eq!(key.seal(&ours, &bare(&entry), [0; 24]), Err(SealError::Absent));
    assert_eq!(key.seal(&ours, &elsewhere, [0; 24]), Err(SealError::Epoch));
}

#[test]
fn every_flipped_bit_and_every_shorter_body_is_refused() {
    let (entry, log, key) = sealed_entry();
    let origin = origin(&network(), &log).unwrap();
    let bytes = key.seal(&origin, &entry, [7; 24]).unwrap().into_bytes();
    let open = |bytes: Vec<u8>| {
        let sealed = SealedBody::parse(bytes).ok()?;
        key.open(&origin, &bare(&entry), &sealed).ok()
    };
    assert!(open(bytes.clone()).is_some());
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(open(changed).is_none(), "{bit}");
    }
    for end in 0..bytes.len() {
        assert!(open(bytes[..end].to_vec()).is_none(), "{end}");
    }
    assert!(open([bytes.as_slice(), &[0]].concat()).is_none());
    let huge = vec![0; limits::SEALED_BODY_BYTES + 1];
    assert_eq!(SealedBody::parse(huge), Err(BodyError::Size));
}

/// The key for bodies once more, from its description alone.
fn described_key(secret: [u8; 32], group: &GroupId, epoch: &EpochId) -> [u8; 32] {
    let mut info = Vec::new();
    for part in [b"body".as_slice(), b"test", group.as_bytes(), epoch.as_bytes(), b""] {
        info.extend_from_slice(&u16::try_from(part.len()).unwrap().to_be_bytes());
        info.extend_from_slice(part);
    }
    let mut key = [0; 32];
    let derived = hkdf::Hkdf::<sha2::Sha256>::new(Some(b"tallystick group secret v1\n"), &secret);
    derived.expand(&info, &mut key).unwrap();
    key
}

#[test]
fn another_body_under_the_right_key_is_refused() {
    // A member seals what the header never committed to.
    let (entry, log, key) = sealed_entry();
    let LogId { space: Space::Group(group), .. } = log else { panic!("a group's log") };
    let origin = origin(&network(), &log).unwrap();
    let cipher = XChaCha20Poly1305::new(&described_key([5; 32], &group, &key.epoch()).into());
    let length = u16::try_from(origin.as_str().len()).unwrap().to_be_bytes();
    let aad = [&length, origin.as_str().as_bytes(), entry.header_bytes()].concat();
    let sealed = |body: &Body| {
        let payload = Payload { msg: body.as_bytes(), aad: &aad };
        let ciphertext = cipher.encrypt(&[7; 24].into(), payload).unwrap();
        let (state, nonce) = (Value::Integer(3.into()), Value::Bytes(vec![7; 24]));
        let parts = [state, nonce, Value::Bytes(ciphertext)].into_iter().zip(0..);
        let map = parts.map(|(value, key)| (Value::Integer(key.into()), value)).collect();
        SealedBody::parse(cbor::encode_value(Value::Map(map)).unwrap()).unwrap()
    };
    let good = sealed(entry.body().unwrap());
    assert_eq!(key.seal(&origin, &entry, [7; 24]).unwrap(), good);
    assert_eq!(key.open(&origin, &bare(&entry), &good).unwrap(), entry);
    let other = self::entry(Some(key.epoch()), "Street cleaning");
    let other = key.open(&origin, &bare(&entry), &sealed(other.body().unwrap()));
    assert!(matches!(other, Err(SealError::Body(_))), "{other:?}");
}

#[test]
fn no_secret_is_printed() {
    let (entry, log, key) = sealed_entry();
    let secret = EpochSecret::from_bytes([0xa7; 32]);
    let sealing = SealingSecret::from_seed(Suite::XWing, [0xa7; 32]);
    let mut scene = Scene::new();
    scene.open(0);
    scene.read(0);
    let sealed = key.seal(&origin(&network(), &log).unwrap(), &entry, [7; 24]).unwrap();
    let printed =
        format!("{secret:?} {secret:#?} {sealing:?} {key:?} {:?} {sealed:?}", scene.rings[0]);
    for bytes in ["a7", "167", "A7", "[5, 5"] {
        assert!(!printed.contains(bytes), "{printed}");
    }
    assert!(printed.contains("EpochSecret(..)") && printed.contains("SealedBody("));
}
