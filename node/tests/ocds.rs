//! The OCDS importer over every real file in `../shared/data`: what each gives is
//! pinned, so that a change to the mapping shows.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests, outside of test functions"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use tallystick_node::ingest::{self, Draft, Options, Row};
use tallystick_protocol::record::contract::Contract;
use tallystick_protocol::record::pipeline::Pipeline;
use tallystick_protocol::record::{Date, Record};

/// The rows of a file, or nothing where the data is not there.
fn rows(file: &str) -> Option<Vec<Row>> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")).join(file);
    if !path.exists() {
        assert!(std::env::var_os("CI").is_none(), "{} is missing", path.display());
        eprintln!("skipped: {} is missing", path.display());
        return None;
    }
    Some(ingest::open(&path, &Options::default()).unwrap().collect())
}

fn drafts(rows: &[Row]) -> impl Iterator<Item = &Draft> {
    rows.iter().filter_map(|row| row.drafts.as_ref().ok()).flatten()
}

fn contracts(rows: &[Row]) -> impl Iterator<Item = &Contract> {
    drafts(rows).filter_map(|draft| match &draft.record {
        Record::Contract(contract) => Some(contract.as_ref()),
        _ => None,
    })
}

fn pipelines(rows: &[Row]) -> impl Iterator<Item = &Pipeline> {
    drafts(rows).filter_map(|draft| match &draft.record {
        Record::Pipeline(pipeline) => Some(pipeline.as_ref()),
        _ => None,
    })
}

fn end(contract: &Contract) -> Option<&str> {
    contract.period.as_ref()?.end_date.as_ref().map(Date::as_str)
}

/// Rows, contracts, pipeline entries and refusals; every record keeps its kind's rules.
fn counts(rows: &[Row]) -> (usize, usize, usize, usize) {
    for draft in drafts(rows) {
        draft.record.validate().unwrap();
        assert!(draft.record.source_key().is_some());
        let fields = draft.record.to_fields().unwrap();
        let back = Record::from_fields(draft.record.kind(), &fields).unwrap();
        assert_eq!(back, draft.record);
    }
    let refused = rows.iter().filter(|row| row.drafts.is_err()).count();
    (rows.len(), contracts(rows).count(), pipelines(rows).count(), refused)
}

#[test]
fn contracts_finder_ends_are_those_of_the_awards() {
    let Some(rows) = rows("cf_2022_2025_releases.jsonl") else { return };
    assert_eq!(counts(&rows), (179, 120, 59, 0));
    assert!(contracts(&rows).all(|contract| end(contract).is_some()));
    let parking =
        contracts(&rows).find(|contract| contract.title == "Parking Pilot - CEO").unwrap();
    // The tender planned 2026-01-05; 23:59:59+01:00 stays on its day.
    assert_eq!(end(parking), Some("2025-04-23"));
    assert_eq!(parking.value.as_ref().unwrap().amount, Some(9_300_700));
    assert_eq!(parking.buyer.as_ref().unwrap().name, "London Borough of Merton");
    let source = parking.source.as_ref().unwrap();
    assert_eq!(source.notice_id.as_deref(), Some("2a1e3359-87a0-4fdd-ac61-20d5e6520a13"));
    assert_eq!(
        source.url.as_deref(),
        Some(
            "https://www.contractsfinder.service.gov.uk/Notice/2a1e3359-87a0-4fdd-ac61-20d5e6520a13"
        )
    );
}

#[test]
fn amendments_of_one_notice_share_a_key_and_are_ordered_by_their_timestamps() {
    let Some(rows) = rows("cf_2022_2025_releases.jsonl") else { return };
    let mut versions: BTreeMap<String, Vec<&Draft>> = BTreeMap::new();
    for draft in drafts(&rows) {
        let key = format!("{} {}", draft.record.kind(), draft.record.source_key().unwrap());
        versions.entry(key).or_default().push(draft);
    }
    assert_eq!(versions.len(), 165);
    let published = |draft: &Draft| draft.record.source()?.published.as_ref()?.instant();
    let mut closest = i64::MAX;
    for drafts in versions.values_mut() {
        drafts.sort_by_key(|draft| published(draft));
        for pair in drafts.windows(2) {
            let gap = published(pair[1]).unwrap() - published(pair[0]).unwrap();
            assert!(gap > 0, "no order: {:?}", pair[0].record.source_key());
            assert!(ingest::adds_nothing(&pair[1].record, &pair[0].record), "older adds nothing");
            closest = closest.min(gap);
        }
    }
    assert!(closest <= 30_000_000, "amendments within half a minute: {closest}");
}

#[test]
fn awards_count_whatever_the_tag_says() {
    let Some(rows) = rows("cf_2020_bluetail_adapted.jsonl") else { return };
    assert_eq!(counts(&rows), (205, 146, 59, 0));
    assert!(contracts(&rows).all(|contract| end(contract).is_some()));
    let suppliers: usize = contracts(&rows).map(|contract| contract.suppliers.len()).sum();
    let known = contracts(&rows)
        .flat_map(|contract| &contract.suppliers)
        .filter(|supplier| !supplier.identifiers.is_empty())
        .count();
    assert_eq!((suppliers, known), (1228, 713));
}

#[test]
fn sell2wales_gives_lengths_where_it_has_no_dates() {
    let Some(rows) = rows("sell2wales_2025_releases.jsonl") else { return };
    assert_eq!(counts(&rows), (62, 0, 62, 0));
    let period = |pipeline: &Pipeline| pipeline.period.clone().unwrap_or_default();
    assert_eq!(pipelines(&rows).filter(|p| period(p).end_date.is_some()).count(), 13);
    assert_eq!(pipelines(&rows).filter(|p| period(p).duration_in_days.is_some()).count(), 49);
    let buyers: Vec<_> = pipelines(&rows).filter_map(|plan| plan.buyer.as_ref()).collect();
    assert_eq!(buyers.len(), 62);
    // `org-3` means nothing outside its release.
    assert!(buyers.iter().all(|buyer| buyer.identifiers.is_empty()));
}

#[test]
fn a_pipeline_notice_has_its_dates_and_value() {
    let Some(rows) = rows("fts_037689-2026_ocds.json") else { return };
    assert_eq!(counts(&rows), (1, 0, 1, 0));
    let plan = pipelines(&rows).next().unwrap();
    assert_eq!(plan.title, "Northumberland County Council Heat Networks");
    assert_eq!(plan.notice_date, Some(Date::new("2026-06-29")));
    let period = plan.period.as_ref().unwrap();
    assert_eq!(period.start_date, Some(Date::new("2027-03-31")));
    assert_eq!(period.end_date, Some(Date::new("2028-03-31")));
    let value = plan.value.as_ref().unwrap();
    assert_eq!((value.amount, value.amount_gross), (Some(3_000_000_000), Some(3_600_000_000)));
    let buyer = plan.buyer.as_ref().unwrap();
    assert_eq!(buyer.identifiers[0].joined().as_deref(), Some("GB-PPON-PJJX-1133-JRGV"));
    assert_eq!(plan.additional_cpv.len(), 11);
}

#[test]
fn a_uk7_contract_has_value_and_end_from_the_contract() {
    let Some(rows) = rows("fts_2026_fragments.json") else { return };
    assert_eq!(counts(&rows), (3, 1, 0, 2));
    let contract = contracts(&rows).next().unwrap();
    assert_eq!(contract.title, "Construction work (British Gas Services Limited)");
    assert_eq!(end(contract), Some("2027-03-17"));
    assert_eq!(contract.date_signed, Some(Date::new("2026-03-12")));
    let value = contract.value.as_ref().unwrap();
    assert_eq!((value.amount, value.amount_gross), (Some(48_328_979), Some(49_375_912)));
    assert!(contract.suppliers[0].identifiers.is_empty(), "a platform number is no company number");
    let url = contract.source.as_ref().unwrap().url.as_deref();
    assert_eq!(url, Some("https://www.find-tender.service.gov.uk/Notice/022120-2026"));
}

#[test]
fn other_countries_are_read_in_their_own_currencies() {
    let Some(rows) = rows("intl_colombia_2020-2021_package.json") else { return };
    assert_eq!(counts(&rows), (100, 100, 0, 0));
    assert!(contracts(&rows).all(|contract| end(contract).is_some()));
    let amount = |contract: &Contract| contract.value.as_ref().and_then(|value| value.amount);
    assert!(contracts(&rows).any(|contract| amount(contract) == Some(1_589_000_000_000)));
    let status = |code| contracts(&rows).filter(|c| c.status.as_deref() == Some(code)).count();
    assert_eq!((status("active"), status("cancelled"), status("terminated")), (85, 4, 11));
    let currencies: Vec<_> = contracts(&rows).filter_map(Contract::currency).collect();
    assert!(currencies.iter().all(|currency| currency.as_str() == "COP"));
}

#[test]
fn ocds_without_parties_and_with_amounts_as_text_is_read() {
    let Some(rows) = rows("intl_paraguay.jsonl") else { return };
    assert_eq!(counts(&rows), (48, 45, 16, 0));
    assert_eq!(contracts(&rows).filter(|contract| end(contract).is_some()).count(), 17);
    let furniture = contracts(&rows).next().unwrap();
    // Guaraníes have no minor unit.
    assert_eq!(furniture.value.as_ref().unwrap().amount, Some(6_040_000));
    assert_eq!(furniture.items[0].unit_price.as_ref().unwrap().amount, Some(1_280_000));
}

#[test]
fn plans_without_a_title_take_their_description() {
    let Some(rows) = rows("intl_australia-new-south-wales.jsonl") else { return };
    assert_eq!(counts(&rows), (16, 0, 16, 0));
    assert!(pipelines(&rows).any(|plan| plan.title == "Spatial Data Infrastructure Program"));
}

/// Replaces each value of a release, one at a time, by things that do not belong there.
#[test]
fn no_damage_to_a_release_panics_or_breaks_the_rules() {
    let files = ["fts_037689-2026_ocds.json", "fts_2026_fragments.json"];
    let mut tried = 0;
    for file in files {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");
        let Ok(text) = std::fs::read_to_string(PathBuf::from(path).join(file)) else {
            assert!(std::env::var_os("CI").is_none(), "{file} is missing");
            eprintln!("skipped: {file} is missing");
            return;
        };
        let whole: serde_json::Value = serde_json::from_str(&text).unwrap();
        let release = whole.pointer("/releases/0").or(whole.pointer("/0/release")).unwrap();
        for pointer in pointers(release) {
            for odd in [
                "null",
                "7",
                "-0.5",
                "1e308",
                "\"\"",
                "\"31/02/2026\"",
                "[]",
                "[[{}]]",
                "{\"id\":{}}",
                "true",
            ] {
                let mut damaged = release.clone();
                *damaged.pointer_mut(&pointer).unwrap() = serde_json::from_str(odd).unwrap();
                if let Ok(drafts) = ingest::ocds::drafts(damaged, "00") {
                    for draft in drafts {
                        draft
                            .record
                            .validate()
                            .unwrap_or_else(|e| panic!("{pointer} = {odd}: {e}"));
                    }
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 1000);
}

fn pointers(value: &serde_json::Value) -> Vec<String> {
    let children: Vec<(String, &serde_json::Value)> = match value {
        serde_json::Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), v)).collect(),
        serde_json::Value::Array(list) => {
            list.iter().enumerate().map(|(at, v)| (at.to_string(), v)).collect()
        }
        _ => Vec::new(),
    };
    let mut found = vec![String::new()];
    for (key, child) in children {
        found.extend(pointers(child).into_iter().map(|rest| format!("/{key}{rest}")));
    }
    found
}
