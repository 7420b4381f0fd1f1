//! Real organisation identifiers: each that names its register is in the
//! register's form, or stands below with the reason why not. And real names,
//! which must not be pointed out as look-alikes all the time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tallystick_protocol::name::{Form, Resemblance};
use tallystick_protocol::organisation::{OrganisationIdError, check, joined, normalise, parse};

mod shared_data;

/// Published under a register that never issued them, with the reason.
const WRONG: [(&str, &str, &str); 2] = [
    ("GB-COH", "458577871", "nine digits, a VAT number"),
    ("GB-COH", "GB48568288", "a VAT number with its country"),
];

fn data(name: &str) -> Option<PathBuf> {
    Some(shared_data::suite("")?.parent()?.join(name)).filter(|path| path.exists())
}

fn releases() -> Option<Vec<Value>> {
    let files = [
        "cf_2022_2025_releases.jsonl",
        "cf_2020_bluetail_adapted.jsonl",
        "sell2wales_2025_releases.jsonl",
        "fts_037689-2026_ocds.json",
        "fts_2026_fragments.json",
    ];
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(data(file)?).unwrap();
        match file.ends_with("jsonl") {
            true => found.extend(text.lines().map(|line| serde_json::from_str(line).unwrap())),
            false => found.push(serde_json::from_str(&text).unwrap()),
        }
    }
    Some(found)
}

/// All `scheme` and `id` that stand together, and ids that name their register.
fn identifiers(
    value: &Value,
    pairs: &mut BTreeSet<(String, String)>,
    whole: &mut BTreeSet<String>,
) {
    match value {
        Value::Object(object) => {
            let text = |key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
            if let (Some(scheme), Some(id)) = (text("scheme"), text("id"))
                && scheme.starts_with("GB-")
            {
                pairs.insert((scheme, id));
            }
            whole.extend(text("id").filter(|id| id.starts_with("GB-")));
            object.values().for_each(|value| identifiers(value, pairs, whole));
        }
        Value::Array(list) => list.iter().for_each(|value| identifiers(value, pairs, whole)),
        _ => {}
    }
}

#[test]
fn published_identifiers_are_in_the_form_of_their_register() {
    let Some(releases) = releases() else { return };
    let (mut pairs, mut whole) = (BTreeSet::new(), BTreeSet::new());
    releases.iter().for_each(|release| identifiers(release, &mut pairs, &mut whole));
    assert!(pairs.len() > 900 && whole.len() > 300, "{} {}", pairs.len(), whole.len());
    for (scheme, id) in &pairs {
        let Some(found) = normalise(scheme, id) else {
            assert!(id.bytes().all(|b| b == b'0'), "{scheme} {id}");
            continue;
        };
        let wrong = WRONG.iter().any(|(s, i, _)| s == scheme && i == id);
        let checked = check(&found);
        assert_eq!(checked.is_err(), wrong, "{scheme} {id}: {checked:?}");
        assert_eq!(normalise(&found.scheme, &found.id).as_ref(), Some(&found));
    }
    for id in &whole {
        let found = joined(id).unwrap();
        let wrong = WRONG.iter().any(|(s, i, _)| format!("{s}-{i}") == *id);
        assert_eq!(check(&found).is_err(), wrong, "{id}");
    }
}

#[test]
fn codes_of_all_councils_are_in_the_form_of_their_register() {
    let Some(path) = data("uk_local_authorities.csv") else { return };
    let text = fs::read_to_string(path).unwrap();
    let mut counted = 0;
    for line in text.lines().skip(1) {
        let code = line.split(',').next().unwrap();
        let scheme = [
            (",England,", "GB-LAE"),
            (",Wales,", "GB-PLA"),
            (",Scotland,", "GB-LAS"),
            (",Northern Ireland,", "GB-LANI"),
        ];
        let scheme = scheme.iter().find(|(nation, _)| line.contains(nation)).unwrap().1;
        let parsed = parse(&format!("{scheme}-{code}"));
        // Districts abolished in 2015 have codes of the data set's own making, NIR-A to NIR-Z.
        if code.starts_with("NIR-") {
            assert!(matches!(parsed, Err(OrganisationIdError::Format { .. })), "{code}");
        } else {
            assert_eq!(parsed.unwrap().id, code);
            counted += 1;
        }
    }
    assert_eq!(counted, 445);
}

/// The official name in a row, which may be in quotation marks.
fn official_name(line: &str) -> &str {
    let rest = line.split_once(',').unwrap().1;
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap(),
        None => rest.split(',').next().unwrap(),
    }
}

#[test]
fn real_councils_are_seldom_taken_for_one_another() {
    let Some(path) = data("uk_local_authorities.csv") else { return };
    let text = fs::read_to_string(path).unwrap();
    let names: BTreeSet<_> = text.lines().skip(1).map(official_name).collect();
    let names: Vec<_> = names.into_iter().map(|name| (name, Form::of(name))).collect();
    assert!(names.len() > 450, "{}", names.len());
    let mut alike = Vec::new();
    for (at, (name, form)) in names.iter().enumerate() {
        let others = names.iter().skip(at + 1);
        let found = others.filter_map(|(other, its)| Some((name, other, form.resemblance(its)?)));
        alike.extend(found);
    }
    // Four councils and their predecessors; and Bolton, Derby, Harlow, Hereford and
    // Merton with those that differ from them by one letter.
    assert_eq!(alike.len(), 9, "{alike:#?}");
    assert!(alike.iter().all(|(.., how)| *how >= Resemblance::SameWords), "{alike:#?}");
}
