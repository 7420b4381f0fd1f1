//! What a change of keys says, in words that whoever signs it can check.

use serde_json::{Value, json};
use tallystick_protocol::card::fingerprint;
use tallystick_protocol::identity::{Event, EventType, Head, Identity};

use crate::cli::wording::{clean, count, pairs, several, time};
use crate::keys::DraftFile;

/// What people call a kind of event.
pub(super) const fn event_name(event_type: EventType) -> &'static str {
    match event_type {
        EventType::Inception => "inception",
        EventType::Rotation => "rotation",
        EventType::Recovery => "recovery",
        EventType::Profile => "profile",
        EventType::Successor => "successor",
    }
}

const fn purpose(event_type: EventType) -> &'static str {
    match event_type {
        EventType::Inception => "make a new authority",
        EventType::Rotation => "replace keys, as planned",
        EventType::Recovery => "close the log and begin it anew, after theft or loss",
        EventType::Profile => "describe the authority anew; no key changes",
        EventType::Successor => "hand over to other authorities",
    }
}

/// `2 of 3`: how many of how many keys must sign.
pub(super) fn threshold(needed: u32, keys: usize) -> String {
    format!("{needed} of {}", count(keys as u64))
}

fn head(head: &Head) -> String {
    let root = head.root().to_string();
    format!("{}, root {root}", several(head.size(), "entry").replace("entrys", "entries"))
}

fn joined<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// The change as a page.
pub(super) fn text(file: &DraftFile) -> String {
    let event = file.draft().event();
    let id = file.authority();
    let mut rows = vec![
        ("to", purpose(event.event_type).to_owned()),
        ("of", clean(&event.profile.name)),
        ("authority", id.map(|id| id.to_string()).unwrap_or_default()),
        ("fingerprint", id.map(|id| fingerprint(&id)).unwrap_or_default()),
        ("network", event.network.to_string()),
        ("event", format!("{}, made {}", event.sequence, time(event.issued))),
    ];
    rows.extend(differences(file.before(), event));
    let signed = file.draft().signers().filter_map(|at| {
        event.controllers.keys.get(usize::try_from(at).ok()?).map(ToString::to_string)
    });
    let signed: Vec<_> = signed.collect();
    let needed = threshold(event.controllers.threshold, event.controllers.keys.len());
    rows.push(("must sign", needed));
    rows.push((
        "have signed",
        if signed.is_empty() { "nobody".to_owned() } else { signed.join(" ") },
    ));
    pairs(rows)
}

/// What is not as it was before; everything, for a first event.
fn differences(before: Option<&Identity>, event: &Event) -> Vec<(&'static str, String)> {
    let keys = &event.keys;
    let new = |is_new: bool, text: String| if is_new { text } else { String::new() };
    let differs = |same: Option<bool>| same != Some(true);
    let profile = before.map(Identity::profile);
    let ids = event.profile.organisation_ids.iter();
    let ids: Vec<_> = ids.map(|id| format!("{}-{}", id.scheme, id.id)).collect();
    let next = &event.next;
    let hashes: Vec<_> = next.key_hashes.iter().map(ToString::to_string).collect();
    vec![
        (
            "name before",
            match profile {
                Some(old) if old.name != event.profile.name => clean(&old.name),
                _ => String::new(),
            },
        ),
        (
            "identifiers",
            new(
                differs(profile.map(|old| old.organisation_ids == event.profile.organisation_ids)),
                clean(&ids.join(" ")),
            ),
        ),
        (
            "other names",
            new(
                differs(profile.map(|old| old.also_known_as == event.profile.also_known_as)),
                clean(&event.profile.also_known_as.join(", ")),
            ),
        ),
        (
            "domain",
            new(
                differs(profile.map(|old| old.domain == event.profile.domain)),
                clean(event.profile.domain.as_deref().unwrap_or("none any more")),
            ),
        ),
        (
            "new log key",
            new(differs(before.map(|old| *old.log_key() == keys.log)), keys.log.to_string()),
        ),
        ("last head of the old", event.pin.as_ref().map(head).unwrap_or_default()),
        ("closes the log at", event.closes.as_ref().map(head).unwrap_or_default()),
        (
            "new witness key",
            new(
                differs(before.map(|old| *old.witness_key() == keys.witness)),
                keys.witness.to_string(),
            ),
        ),
        (
            "new node keys",
            new(differs(before.map(|old| old.node_keys() == keys.nodes)), joined(&keys.nodes)),
        ),
        (
            "sealing key",
            new(
                differs(before.map(|old| *old.sealing_key() == keys.sealing)),
                "a new one".to_owned(),
            ),
        ),
        (
            "witnesses",
            new(
                before.is_some_and(|old| {
                    old.witnesses() != event.witnesses || old.quorum() != event.quorum
                }),
                format!("{} of: {}", event.quorum, joined(&event.witnesses)),
            ),
        ),
        (
            "controllers",
            new(
                differs(before.map(|old| *old.controllers() == event.controllers)),
                joined(&event.controllers.keys),
            ),
        ),
        (
            "controllers after",
            new(
                differs(before.map(|old| old.next_controllers() == next)),
                format!(
                    "{}, by hash: {}",
                    threshold(next.threshold, hashes.len()),
                    hashes.join(" ")
                ),
            ),
        ),
        ("taken over by", joined(&event.successors)),
    ]
}

/// The change for programs.
pub(super) fn json(file: &DraftFile) -> Value {
    let event = file.draft().event();
    let pinned = |head: &Head| json!({ "generation": head.generation(), "size": head.size(), "root": head.root() });
    let signed: Vec<u32> = file.draft().signers().collect();
    json!({
        "type": event_name(event.event_type),
        "authority": file.authority(),
        "name": event.profile.name,
        "network": event.network,
        "sequence": event.sequence,
        "generation": event.generation,
        "issued": event.issued.as_seconds(),
        "pin": event.pin.as_ref().map(pinned),
        "closes": event.closes.as_ref().map(pinned),
        "controllers": event.controllers.keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "threshold": event.controllers.threshold,
        "successors": event.successors,
        "signed": signed,
        "missing": file.draft().missing(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_bytes::ByteBuf;
    use tallystick_protocol::checkpoint::{Checkpoint, Origin, sign};
    use tallystick_protocol::identity::{
        Controllers, Draft, NextControllers, Profile, SealingKey, WorkingKeys, commit_to_key,
    };
    use tallystick_protocol::key::SecretKey;
    use tallystick_protocol::log::Frontier;
    use tallystick_protocol::time::UnixTime;

    fn secret(n: u8) -> SecretKey {
        SecretKey::from_seed([n; 32])
    }

    fn inception() -> DraftFile {
        let key = |n| secret(n).public();
        let event = Event::inception(
            "test".parse().unwrap(),
            UnixTime::from_seconds(1_767_225_600),
            Controllers { keys: vec![key(1), key(2)], threshold: 2 },
            NextControllers { key_hashes: vec![commit_to_key(&key(3))], threshold: 1 },
            WorkingKeys {
                log: key(4),
                witness: key(5),
                nodes: vec![key(6)],
                sealing: SealingKey { kem: 0x20, key: ByteBuf::from(vec![7; 32]) },
            },
            Profile {
                name: "Ash Council".to_owned(),
                domain: Some("ash.gov.uk".to_owned()),
                ..Profile::default()
            },
        );
        DraftFile::new(None, Draft::new(event).unwrap()).unwrap()
    }

    #[test]
    fn a_first_event_says_everything_before_it_is_signed() {
        let mut file = inception();
        insta::assert_snapshot!(text(&file));
        let id = file.authority();
        file.sign(&secret(2));
        assert_eq!(file.authority(), id, "signatures change nothing of the id");
        assert!(text(&file).contains(&secret(2).public().to_string()));
        assert_eq!((&json(&file)["signed"], &json(&file)["missing"]), (&json!([1]), &json!(1)));
    }

    #[test]
    fn a_recovery_says_where_the_log_is_closed_and_what_is_new() {
        let mut first = inception();
        first.sign(&secret(1));
        first.sign(&secret(2));
        let before = first.identity().unwrap();
        let mut event =
            before.next_event(EventType::Recovery, UnixTime::from_seconds(1_800_000_000));
        event.controllers = Controllers { keys: vec![secret(3).public()], threshold: 1 };
        event.next.key_hashes = vec![commit_to_key(&secret(13).public())];
        event.keys.log = secret(14).public();
        event.generation = 1;
        let origin = Origin::public(before.network(), &before.authority(), 0);
        let head = Checkpoint::new(origin, 0, Frontier::new().root()).unwrap();
        event.closes = Head::of(&sign(&head, &secret(4)).unwrap());
        let file = DraftFile::new(Some(before), Draft::new(event).unwrap()).unwrap();
        insta::assert_snapshot!(text(&file));
        assert_eq!(json(&file)["closes"]["size"], 0);
    }
}
