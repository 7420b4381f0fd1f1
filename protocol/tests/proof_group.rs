//! Proofs of what was said in a private group, as a stranger meets them.
//!
//! Invariant 9 of the design holds for them as for those of public records; in
//! addition, a file tells nothing of the group but that there is one, and nobody can
//! pass off another authority's group log as its own.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failing test may panic"
)]

mod proof_model;

use std::path::Path;

use proof_model::{
    ASH, DALE, Log, accepted, disclosed, facts, fields, identity, lines, network, read, seconds,
    secret, signed_event, with_body, witness,
};
use serde_json::{Value, json};
use tallystick_protocol::body::{Body, Committed, Salt};
use tallystick_protocol::cbor::Writer;
use tallystick_protocol::checkpoint::{Origin, VerifiedCheckpoint};
use tallystick_protocol::entry::{Action, Entry, Header};
use tallystick_protocol::group::seal::EpochSecret;
use tallystick_protocol::group::{self, OriginOpening};
use tallystick_protocol::id::{
    AuthorityId, EpochId, Generation, GroupId, Hash, LogId, RecordId, Space, Version,
};
use tallystick_protocol::identity::{
    Event, EventType, GroupPin, Head, Identity, PinOpening, PinSalt, UnverifiedChain, commit_to_key,
};
use tallystick_protocol::log::consistency_proof;
use tallystick_protocol::proof;
use tallystick_protocol::proof::record::{
    Disclosure, KeyState, ProvedAudience, RecordProofError, RecordProofWriteError, RetiredKeyError,
    UnverifiedRecordProof, assemble, assemble_in_group,
};
use tallystick_protocol::record::Kind;

const GROUP: GroupId = GroupId::from_bytes([0xc4; 32]);
const EPOCH: EpochId = EpochId::from_bytes([0xe5; 32]);
const AT: u64 = 9;

fn log_of(authority: AuthorityId, group: GroupId, generation: Generation) -> LogId {
    LogId { authority, space: Space::Group(group), generation }
}

fn opening(authority: AuthorityId, group: GroupId, generation: Generation) -> OriginOpening {
    OriginOpening::of(&network("made-up"), &log_of(authority, group, generation)).unwrap()
}

/// What Ash wrote in the group, sealed and as its members open it, in its log of 21
/// entries there.
struct Said {
    sealed: Entry,
    opened: Entry,
    log: Log,
    checkpoint: VerifiedCheckpoint,
}

impl Said {
    fn new() -> Self {
        let committed = Committed::new(&Salt::from_random([2; 32]), &fields(2)).unwrap();
        let (commitment, size) = committed.header_parts();
        let (record, issued) = (RecordId::from_bytes([3; 16]), seconds(1_750_000_002));
        let mut header = Header::new(Kind::CONTRACT, record, Action::Put, issued, commitment, size);
        header.epoch = Some(EPOCH);
        let plain = Entry::author(header, Body::Full(committed.into_body())).unwrap();
        let ash = identity(ASH, "made-up");
        let origin = origin(&ash, 0);
        let key = EpochSecret::from_bytes([8; 32]).body_key(ash.network(), &GROUP, EPOCH);
        let sealed = plain.clone().sealed(key.seal(&origin, &plain, [6; 24]).unwrap());
        let Some(Body::Sealed(body)) = sealed.body() else { panic!("it is sealed") };
        let opened = key.open(&origin, &sealed, body).unwrap();
        let log = Log::new(21, &[(AT, &sealed)]);
        let checkpoint = log.signed(origin, ASH + 2);
        Self { sealed, opened, log, checkpoint }
    }

    fn file_of(&self, entry: &Entry) -> Vec<u8> {
        self.written(&identity(ASH, "made-up"), GROUP, entry).unwrap()
    }

    fn written(
        &self,
        author: &Identity,
        group: GroupId,
        entry: &Entry,
    ) -> Result<Vec<u8>, RecordProofWriteError> {
        let hashes = self.log.proof(AT);
        let log = log_of(author.authority(), group, author.generation());
        assemble_in_group(author, &log, entry, (AT, &hashes), &self.checkpoint, None)
    }

    fn partial(&self) -> Vec<u8> {
        self.file_of(&disclosed(&self.opened, |name| name == "value.amount"))
    }

    /// A file whose every part may be wrong, put together by hand.
    fn forged(
        &self,
        chain: &[Vec<u8>],
        body: Option<&[u8]>,
        opening: Option<&OriginOpening>,
        checkpoint: &VerifiedCheckpoint,
    ) -> Result<(), RecordProofError> {
        let mut w = Writer::default();
        let optional = usize::from(body.is_some()) + usize::from(opening.is_some());
        w.map(3 + optional).unsigned(0).unsigned(1).unsigned(1).array(chain.len());
        chain.iter().for_each(|event| {
            w.bytes(event);
        });
        w.unsigned(2).bytes(self.opened.header_bytes());
        if let Some(body) = body {
            w.unsigned(3).bytes(body);
        }
        if let Some(opening) = opening {
            w.unsigned(6).bytes(opening.as_bytes());
        }
        let (leaf, hashes) = (self.opened.leaf(), self.log.proof(AT));
        let file = proof::format(&leaf, AT, &hashes, checkpoint, &w.finish()).unwrap();
        read(&file).map(|_| ())
    }
}

fn origin(author: &Identity, generation: Generation) -> Origin {
    group::origin(author.network(), &log_of(author.authority(), GROUP, generation)).unwrap()
}

#[test]
fn a_stranger_without_any_key_of_the_group_reads_what_was_said_in_it() {
    let said = Said::new();
    assert!(matches!(said.sealed.body(), Some(Body::Sealed(_))));
    let file = said.file_of(&said.opened);
    let proof = UnverifiedRecordProof::parse(&file).unwrap().verify(&[]).unwrap();
    let ash = identity(ASH, "made-up");
    assert_eq!(proof.identity(), &ash);
    assert_eq!(proof.version(), Version { generation: 0, index: AT });
    assert_eq!(proof.key_state(), KeyState::Current);
    let facts = proof.facts();
    assert_eq!(facts.audience, ProvedAudience::Group);
    assert_eq!((facts.fields, facts.disclosure), (fields(2), Disclosure::Full));
    assert_eq!(facts.reference.authority, ash.authority());
    assert_eq!(facts.checkpoint, *said.checkpoint.checkpoint());
    assert_eq!(facts.leaf, said.sealed.leaf(), "sealing changed nothing that was signed");
}

#[test]
fn a_file_tells_neither_the_group_nor_who_else_is_in_it() {
    let said = Said::new();
    // Dale cosigned the head, as only a member can.
    assert_eq!(said.checkpoint.cosignatures().count(), 1);
    let file = said.file_of(&said.opened);
    let parsed = UnverifiedRecordProof::parse(&file).unwrap().verify(&[witness()]).unwrap();
    assert!(parsed.cosignatures().is_empty());
    let dale = identity(DALE, "made-up").authority();
    let text = String::from_utf8(file.clone()).unwrap();
    let extra = text.lines().nth(1).unwrap().strip_prefix("extra ").unwrap();
    let extra = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, extra).unwrap();
    let holds = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    for secret in [GROUP.as_bytes().as_slice(), dale.as_bytes()] {
        assert!(!holds(&extra, secret) && !holds(&file, secret));
    }
    for secret in [GROUP.to_string(), dale.to_string()] {
        assert!(!text.contains(&secret), "{secret}");
    }
    // What stands there instead is the same for one log, and for no other.
    let (ash, other) = (identity(ASH, "made-up").authority(), GroupId::from_bytes([1; 32]));
    let own = opening(ash, GROUP, 0);
    assert!(holds(&extra, own.as_bytes()));
    for strange in [opening(ash, other, 0), opening(dale, GROUP, 0), opening(ash, GROUP, 1)] {
        assert_ne!(strange, own);
    }
}

#[test]
fn every_state_of_a_body_verifies_and_a_sealed_one_is_none() {
    let said = Said::new();
    let partial = facts(&said.partial());
    assert_eq!(partial.disclosure, Disclosure::Partial);
    assert_eq!((partial.fields.len(), partial.withheld.len()), (1, 3));
    assert_eq!(partial.fields.get("value.amount"), fields(2).get("value.amount"));
    let erased = Body::Erased(said.opened.body().unwrap().erase().unwrap()).into_bytes();
    let erased = facts(&said.file_of(&with_body(&said.opened, Some(erased)).unwrap()));
    assert_eq!((erased.disclosure, erased.withheld.len()), (Disclosure::Erased, 4));
    let absent = facts(&said.file_of(&with_body(&said.opened, None).unwrap()));
    assert_eq!((absent.disclosure, absent.fields.len()), (Disclosure::Absent, 0));
    // Nobody could tell if sealed bytes were changed.
    let ash = identity(ASH, "made-up");
    let written = said.written(&ash, GROUP, &said.sealed);
    assert_eq!(written, Err(RecordProofWriteError::Sealed));
    let sealed = said.sealed.body().cloned().unwrap().into_bytes();
    let own = opening(ash.authority(), GROUP, 0);
    let chain = [signed_event(ASH, "made-up")];
    let read = said.forged(&chain, Some(&sealed), Some(&own), &said.checkpoint);
    assert_eq!(read, Err(RecordProofError::Sealed));
}

#[test]
fn invariant_9_every_flipped_bit_is_refused() {
    let said = Said::new();
    for file in [said.file_of(&said.opened), said.partial()] {
        let original = facts(&file);
        let mut changed = file.clone();
        for bit in 0..file.len() * 8 {
            changed[bit / 8] ^= 1 << (bit % 8);
            // Stronger than the invariant: no bit is without meaning.
            assert!(!accepted(&changed, &original, &format!("bit {bit}")), "bit {bit}");
            changed[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(changed, file);
    }
}

#[test]
fn invariant_9_cut_swapped_doubled_and_missing_lines_are_refused() {
    let said = Said::new();
    let file = said.file_of(&said.opened);
    for len in 0..file.len() {
        assert!(read(&file[..len]).is_err(), "{len} bytes");
    }
    let lines = lines(&file);
    for a in 0..lines.len() {
        let mut missing = lines.clone();
        missing.remove(a);
        assert!(read(missing.concat().as_bytes()).is_err(), "line {a} missing");
        for b in 0..=lines.len() {
            let mut doubled = lines.clone();
            doubled.insert(b, lines[a].clone());
            assert!(read(doubled.concat().as_bytes()).is_err(), "line {a} doubled at {b}");
            let mut swapped = lines.clone();
            swapped.swap(a, b.min(lines.len() - 1));
            assert!(swapped == lines || read(swapped.concat().as_bytes()).is_err(), "{a} {b}");
        }
    }
}

/// An inception of Dale that names the log key of Ash: nobody asks the key.
fn thief() -> Identity {
    let chain = UnverifiedChain::new(vec![signed_event(DALE, "made-up")]);
    let dale = chain.verify(&network("made-up")).unwrap();
    let mut event: Event = dale.history().next().unwrap();
    event.keys.log = secret(ASH + 2).public();
    let chain = UnverifiedChain::new(vec![event.sign(&[(0, &secret(DALE))]).unwrap()]);
    chain.verify(&network("made-up")).unwrap()
}

#[test]
fn nobody_passes_off_a_group_log_of_another_authority_as_its_own() {
    let (said, thief, ash) = (Said::new(), thief(), identity(ASH, "made-up"));
    let body = said.opened.body().map(Body::as_bytes);
    let forged = |opening: &OriginOpening| {
        said.forged(thief.events(), body, Some(opening), &said.checkpoint)
    };
    for own in [opening(ash.authority(), GROUP, 0), opening(thief.authority(), GROUP, 0)] {
        assert_eq!(forged(&own), Err(RecordProofError::Author));
    }
    let written = said.written(&thief, GROUP, &said.opened);
    assert_eq!(written, Err(RecordProofWriteError::Author));
    // It is the opening that tells: the thief's own log verifies.
    let own = said.log.signed(origin(&thief, 0), ASH + 2);
    let opening = opening(thief.authority(), GROUP, 0);
    assert_eq!(said.forged(thief.events(), body, Some(&opening), &own), Ok(()));
}

#[test]
fn an_origin_opens_to_one_log_and_only_a_groups_has_anything_to_open() {
    let (said, ash) = (Said::new(), identity(ASH, "made-up"));
    let (chain, body) = ([signed_event(ASH, "made-up")], said.opened.body().map(Body::as_bytes));
    let own = opening(ash.authority(), GROUP, 0);
    let forged = |opening: Option<&OriginOpening>, origin: &Origin, key| {
        said.forged(&chain, body, opening, &said.log.signed(origin.clone(), key)).err()
    };
    let private = origin(&ash, 0);
    assert_eq!(forged(Some(&own), &private, ASH + 2), None);
    assert_eq!(forged(None, &private, ASH + 2), Some(RecordProofError::Origin));
    let public = Origin::public(ash.network(), &ash.authority(), 0);
    assert_eq!(forged(Some(&own), &public, ASH + 2), Some(RecordProofError::Origin));
    assert_eq!(forged(None, &public, ASH + 2), None);
    let foreign: Origin = "log.example/2026".parse().unwrap();
    assert_eq!(forged(Some(&own), &foreign, ASH + 2), Some(RecordProofError::Origin));
    // Another group's, and that of a generation to come.
    let other = opening(ash.authority(), GroupId::from_bytes([1; 32]), 0);
    assert_eq!(forged(Some(&other), &private, ASH + 2), Some(RecordProofError::Author));
    let next = opening(ash.authority(), GROUP, 1);
    let refused = forged(Some(&next), &origin(&ash, 1), ASH + 2);
    assert_eq!(refused, Some(RecordProofError::Author));
    let elsewhere = Origin::private(&network("elsewhere"), &Hash::from_bytes([1; 32]));
    assert!(matches!(forged(Some(&own), &elsewhere, ASH + 2), Some(RecordProofError::Identity(_))));
    assert!(matches!(forged(Some(&own), &private, DALE + 2), Some(RecordProofError::Proof(_))));
    // Neither way of writing takes the other's log.
    let hashes = said.log.proof(AT);
    let author = Err(RecordProofWriteError::Author);
    assert_eq!(assemble(&ash, &said.opened, AT, &hashes, &said.checkpoint, &[]), author);
    let public = said.log.signed(public, ASH + 2);
    let own = log_of(ash.authority(), GROUP, 0);
    let written = assemble_in_group(&ash, &own, &said.opened, (AT, &hashes), &public, None);
    assert_eq!(written, author);
    assert_eq!(said.written(&ash, GroupId::from_bytes([1; 32]), &said.opened), author);
}

/// Ash after its log key was replaced, with what it pinned of the group's log.
fn replaced(event_type: EventType, pinned: Option<&PinOpening>) -> Identity {
    let (said, before) = (Said::new(), identity(ASH, "made-up"));
    let public = Origin::public(before.network(), &before.authority(), 0);
    // Of the same size and root as the group's log: it is another log all the same.
    let pin = Head::of(&said.log.signed(public, ASH + 2)).unwrap();
    let mut event = before.next_event(event_type, seconds(1_800_000_000));
    event.controllers.keys = vec![secret(ASH + 1).public()];
    event.next.key_hashes = vec![commit_to_key(&secret(61).public())];
    event.keys.log = secret(60).public();
    event.group_pins = vec![GroupPin::decoy([7; 32])];
    event.group_pins.extend(pinned.map(PinOpening::pin));
    event.group_pins.sort_unstable();
    match event_type {
        EventType::Recovery => (event.generation, event.closes) = (1, Some(pin)),
        _ => event.pin = Some(pin),
    }
    before.extended(event.sign(&[(0, &secret(ASH + 1))]).unwrap()).unwrap()
}

/// What opens a pin of the first `size` entries of Ash's log in the group.
fn pinned(said: &Said, size: u64, salt: u8) -> PinOpening {
    let origin = said.checkpoint.checkpoint().origin().clone();
    let head = said.log.first(size).signed(origin, ASH + 2).checkpoint().clone();
    PinOpening::new(PinSalt::new([salt; 32]), head).unwrap()
}

/// The proof under the old key, of the log when it had `size` entries.
fn under_old_key(
    said: &Said,
    author: &Identity,
    size: u64,
    pin: Option<&PinOpening>,
) -> Result<Vec<u8>, RecordProofWriteError> {
    let log = log_of(author.authority(), GROUP, 0);
    let (origin, had) = (said.checkpoint.checkpoint().origin().clone(), said.log.first(size));
    let head = had.signed(origin, ASH + 2);
    let leads = |pin: &PinOpening| consistency_proof(&said.log, size, pin.head().size());
    let to_pin = pin.map(|pin| leads(pin).unwrap());
    let retired = pin.zip(to_pin.as_deref());
    assemble_in_group(author, &log, &said.opened, (AT, &had.proof(AT)), &head, retired)
}

#[test]
fn under_a_key_that_was_replaced_a_fresh_proof_is_asked_for() {
    let (said, before) = (Said::new(), identity(ASH, "made-up"));
    for event_type in [EventType::Rotation, EventType::Recovery] {
        let after = replaced(event_type, None);
        let refresh = RecordProofError::Key(RetiredKeyError::Refresh);
        let old = read(&said.file_of(&said.opened)).unwrap();
        assert_eq!(old.clone().judged_by(&after), Err(refresh.clone()));
        assert_eq!(old.clone().judged_by(&before), Ok(old));
        let own = opening(before.authority(), GROUP, 0);
        let body = said.opened.body().map(Body::as_bytes);
        let forged = said.forged(after.events(), body, Some(&own), &said.checkpoint);
        assert_eq!(forged, Err(refresh));
        assert!(said.written(&after, GROUP, &said.opened).is_err());
        if event_type == EventType::Rotation {
            // Signed anew, the same log proves it again.
            let anew = said.log.signed(origin(&after, 0), 60);
            let (hashes, log) = (said.log.proof(AT), log_of(after.authority(), GROUP, 0));
            let place = (AT, &hashes[..]);
            let file = assemble_in_group(&after, &log, &said.opened, place, &anew, None);
            assert_eq!(read(&file.unwrap()).unwrap().key_state(), KeyState::Current);
        }
    }
}

#[test]
fn under_a_key_that_was_replaced_the_opened_pin_shows_what_counts() {
    let said = Said::new();
    for event_type in [EventType::Rotation, EventType::Recovery] {
        let pin = pinned(&said, 18, 5);
        let after = replaced(event_type, Some(&pin));
        for size in [12, 18] {
            let file = under_old_key(&said, &after, size, Some(&pin)).unwrap();
            let proof = read(&file).unwrap();
            assert_eq!(proof.key_state(), KeyState::RetiredProven, "{event_type:?} {size}");
            assert_eq!(proof.version(), Version { generation: 0, index: AT });
            assert_eq!(proof.facts().audience, ProvedAudience::Group);
            assert_eq!(proof.clone().judged_by(&after), Ok(proof));
        }
        let refused = |size, pin: Option<&PinOpening>| {
            let error = under_old_key(&said, &after, size, pin).unwrap_err();
            assert!(matches!(error, RecordProofWriteError::Key(_)), "{error:?}");
        };
        refused(12, None);
        // Of another salt or size than the one that the author pinned.
        for strange in [pinned(&said, 18, 6), pinned(&said, 17, 5)] {
            refused(12, Some(&strange));
        }
        // Under the current key there is no head to be shown.
        let before = identity(ASH, "made-up");
        assert!(under_old_key(&said, &before, 18, Some(&pin)).is_err());
    }
    // What lies beyond the head at which the log was closed is disowned.
    let pin = pinned(&said, 9, 5);
    let after = replaced(EventType::Recovery, Some(&pin));
    let log = log_of(after.authority(), GROUP, 0);
    let place = (AT, &said.log.proof(AT)[..]);
    let retired = Some((&pin, &[][..]));
    let disowned = assemble_in_group(&after, &log, &said.opened, place, &said.checkpoint, retired);
    assert_eq!(disowned, Err(RecordProofWriteError::Key(RetiredKeyError::Disowned)));
}

#[test]
fn invariant_9_holds_for_what_opens_a_pin() {
    let said = Said::new();
    let pin = pinned(&said, 18, 5);
    let after = replaced(EventType::Recovery, Some(&pin));
    let file = under_old_key(&said, &after, 12, Some(&pin)).unwrap();
    let original = facts(&file);
    // Of the chain, which has a test of its own for each bit, one bit of each byte will do.
    let start = lines(&file)[0].len() + "extra ".len();
    let chain: usize = after.events().iter().map(Vec::len).sum();
    let chain = start..start + chain / 3 * 4;
    let mut changed = file.clone();
    for bit in 0..file.len() * 8 {
        if chain.contains(&(bit / 8)) && bit % 8 != bit / 8 % 8 {
            continue;
        }
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(!accepted(&changed, &original, &format!("bit {bit}")), "bit {bit}");
        changed[bit / 8] ^= 1 << (bit % 8);
    }
    assert_eq!(changed, file);
}

fn vectors() -> Value {
    let said = Said::new();
    let text = |file: Vec<u8>| String::from_utf8(file).unwrap();
    let full = text(said.file_of(&said.opened));
    let ash = identity(ASH, "made-up");
    let bits = |from: &str, to: &str| {
        assert!(full.contains(from), "{from}");
        full.replacen(from, to, 1)
    };
    let pin = pinned(&said, 18, 5);
    let after = replaced(EventType::Recovery, Some(&pin));
    let retired = text(under_old_key(&said, &after, 12, Some(&pin)).unwrap());
    let case = |what: &str, file: &str, accepted: bool| json!({"what": what, "file": file, "accepted": accepted});
    json!({
        "about": "Record proofs from private groups: in the extra data, 6 is what the origin of the group's log opens to and 8 is [salt, size, root] of the head at which its key was replaced, whose pin SHA-256(\"tallystick group pin v1\\n\", salt, the lines of the checkpoint: origin, size, root) is in the chain. opening = SHA-256(\"tallystick group opening v1\\n\", length of network, network, group, authority, generation), origin = SHA-256(\"tallystick group origin v1\\n\", length of network, network, opening, authority, generation)",
        "group": GROUP, "authority": ash.authority(), "generation": 0, "network": "made-up",
        "opening": Hash::from_bytes(*opening(ash.authority(), GROUP, 0).as_bytes()),
        "origin": origin(&ash, 0),
        "cases": [
            case("full body", &full, true),
            case("all fields but one withheld", &text(said.partial()), true),
            case("header only", &text(said.file_of(&with_body(&said.opened, None).unwrap())), true),
            case("under a key that was replaced, with the pin opened", &retired, true),
            case("another network in the origin", &bits("/made-up/", "/made-do/"), false),
            case("another index", &bits("index 9\n", "index 8\n"), false),
            case("another size", &bits("\n21\n", "\n22\n"), false),
        ],
    })
}

#[test]
fn the_vectors_are_what_this_version_writes_and_reads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/group-proof.json");
    let made = format!("{}\n", serde_json::to_string_pretty(&vectors()).unwrap());
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    if kept != made {
        let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join("group-proof.json");
        std::fs::write(&new, made).unwrap();
        panic!("if the format was meant to change, copy {} to protocol/vectors", new.display());
    }
    let file: Value = serde_json::from_str(&kept).unwrap();
    for case in file["cases"].as_array().unwrap() {
        let proof = UnverifiedRecordProof::parse(case["file"].as_str().unwrap().as_bytes());
        let verdict = proof.and_then(|proof| proof.verify(&[]));
        assert_eq!(verdict.is_ok(), case["accepted"], "{}: {verdict:?}", case["what"]);
    }
}
