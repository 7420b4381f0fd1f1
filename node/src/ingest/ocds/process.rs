//! One OCDS item as a process: its releases, the newest first.
//!
//! An item is a release, a record, or an object with a release under
//! `release`. Of a record the compiled release counts; without one, the
//! releases embedded in it: the newest speaks, and what it lacks altogether is
//! taken from the ones before it. They are ordered by their full timestamps,
//! since publishers amend a notice three times within half a minute.

use tallystick_protocol::record::Date;
use tallystick_protocol::record::part::Source;

use super::super::contracts_finder::{SYSTEM as CONTRACTS_FINDER, notice_id};
use super::super::date;
use super::json::Json;

/// Most releases looked at in one record.
const RELEASES: usize = 256;

/// The releases of one process.
#[derive(Clone, Debug)]
pub(super) struct Process {
    releases: Vec<Json>,
}

impl Process {
    /// The process that an item describes.
    ///
    /// # Errors
    /// What the item is instead: one sentence, lower case, no full stop.
    pub(super) fn new(item: Json) -> Result<Self, &'static str> {
        let Json::Object(mut members) = item else { return Err("this is no JSON object") };
        let compiled = members.remove("compiledRelease").filter(|value| !value.is_blank());
        if let Some(release) = compiled.or_else(|| members.remove("release")) {
            return Self::of(vec![release]);
        }
        match members.remove("releases") {
            None => Self::of(vec![Json::Object(members)]),
            Some(Json::List(list)) => {
                let mut releases: Vec<Json> = list
                    .into_iter()
                    .filter(|release| release.at("url").is_blank() || is_release(release))
                    .take(RELEASES)
                    .collect();
                // Stable, so of two with one timestamp the later in the record counts.
                releases.reverse();
                releases.sort_by_key(|release| std::cmp::Reverse(instant(release)));
                Self::of(releases)
            }
            Some(_) => Err("the releases of this record are no list"),
        }
    }

    fn of(releases: Vec<Json>) -> Result<Self, &'static str> {
        match releases.first() {
            None => Err("this record has no release in it; export it with its releases embedded"),
            Some(first) if !is_release(first) => {
                Err("this is no OCDS release: it has neither ocid nor tender, awards or contracts")
            }
            Some(_) => Ok(Self { releases }),
        }
    }

    /// The releases, the newest first.
    pub(super) fn all(&self) -> Vec<&Json> {
        self.releases.iter().collect()
    }

    /// The newest value under a path that says something.
    pub(super) fn at(&self, path: &str) -> &Json {
        const NULL: &Json = &Json::Null;
        self.releases.iter().map(|r| r.at(path)).find(|v| !v.is_blank()).unwrap_or(NULL)
    }

    /// The items under a path: of each id the newest, in the order of the newest release.
    /// Items without an id count if no newer release has any item there.
    pub(super) fn list(&self, path: &str) -> Vec<&Json> {
        let mut found: Vec<&Json> = Vec::new();
        for release in &self.releases {
            let older = !found.is_empty();
            for item in release.list(path) {
                let id = item.str("id");
                let known = id.is_some() && found.iter().any(|newer| newer.str("id") == id);
                if !known && (id.is_some() || !older) && matches!(item, Json::Object(_)) {
                    found.push(item);
                }
            }
        }
        found
    }

    /// The tags of the newest release, in lower case.
    pub(super) fn tags(&self) -> Vec<String> {
        let tags = self.releases.first().map(|release| release.list("tag")).unwrap_or_default();
        tags.iter().filter_map(Json::text).map(str::to_ascii_lowercase).collect()
    }

    /// When the newest release was published.
    pub(super) fn published(&self) -> Option<Date> {
        let release = self.releases.first()?;
        release.first(&["date", "publishedDate"]).text().and_then(date::moment)
    }

    /// Where the process comes from; `digest` is that of the original bytes.
    pub(super) fn source(&self, digest: &str) -> Source {
        let ocid = self.at("ocid").text();
        let release_id = self.releases.first().and_then(|release| release.str("id"));
        let system = system(ocid.unwrap_or_default());
        let notice = if system == CONTRACTS_FINDER {
            // Not the process: that can hold several notices of one award each,
            // and the other exports of Contracts Finder know only the notice.
            release_id.or(ocid).and_then(notice_id)
        } else {
            ocid.or(release_id).map(str::to_owned)
        };
        Source {
            system: Some(system).filter(|system| !system.is_empty()),
            notice_id: notice,
            part: None,
            release_id: release_id.map(str::to_owned),
            published: self.published(),
            url: None,
            digest: Some(digest.to_owned()),
        }
    }
}

/// The publisher that an ocid's prefix stands for, else the prefix itself.
fn system(ocid: &str) -> String {
    const KNOWN: [(&str, &str); 5] = [
        ("ocds-b5fd17", CONTRACTS_FINDER),
        ("ocds-h6vhtk", "find-a-tender"),
        ("ocds-kuma6s", "sell2wales"),
        ("ocds-r6ebe6", "public-contracts-scotland"),
        ("ocds-0c46vo", "contracts-finder-archive"),
    ];
    let mut parts = ocid.splitn(3, '-');
    let prefix = match (parts.next(), parts.next()) {
        (Some("ocds"), Some(code)) => format!("ocds-{code}"),
        _ if ocid.is_empty() => String::new(),
        _ => "ocds".to_owned(),
    };
    let known = KNOWN.iter().find(|(known, _)| *known == prefix);
    known.map_or(prefix, |(_, name)| (*name).to_owned())
}

fn is_release(value: &Json) -> bool {
    ["tender", "awards", "contracts", "contract", "planning", "ocid"]
        .iter()
        .any(|key| !value.at(key).is_blank())
}

fn instant(release: &Json) -> Option<i64> {
    release.str("date").and_then(date::moment)?.instant()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(text: &str) -> Result<Process, &'static str> {
        Process::new(Json::from(serde_json::from_str::<serde_json::Value>(text).unwrap()))
    }

    #[test]
    fn the_newest_release_by_its_full_timestamp_speaks_first() {
        let record = r#"{"ocid": "x", "releases": [
            {"ocid": "x", "id": "b", "date": "2022-10-19T16:41:07+01:00", "title": "second"},
            {"ocid": "x", "id": "c", "date": "2022-10-19T15:41:30Z", "tag": "AwardUpdate"},
            {"ocid": "x", "id": "a", "date": "2022-10-19T16:14:05+01:00", "title": "first",
             "awards": [{"id": 1, "title": "kept"}]}]}"#;
        let process = process(record).unwrap();
        assert_eq!(process.source("").release_id.as_deref(), Some("c"));
        assert_eq!(process.at("title").text(), Some("second"));
        assert_eq!(process.list("awards").len(), 1);
        assert_eq!(process.tags(), ["awardupdate"]);
    }

    #[test]
    fn notices_of_contracts_finder_are_known_by_their_guid() {
        let guid = "42aa8d2e-f6e8-480e-b71a-13fa7f5925cf";
        for id in [format!("{guid}-819950"), format!("ocds-b5fd17-{guid}-35-x")] {
            let text = format!(r#"{{"ocid": "ocds-b5fd17-0-1", "id": "{id}"}}"#);
            let source = process(&text).unwrap().source("d");
            assert_eq!(source.key(), Some(format!("contracts-finder|{guid}|")));
        }
        let other = process(r#"{"ocid": "ocds-h6vhtk-0667e7", "id": "022120-2026"}"#).unwrap();
        assert_eq!(other.source("").key().as_deref(), Some("find-a-tender|ocds-h6vhtk-0667e7|"));
    }

    #[test]
    fn what_is_no_release_is_refused() {
        for text in [
            "7",
            "{}",
            r#"{"parties": []}"#,
            r#"{"ocid": "x", "releases": []}"#,
            r#"{"ocid": "x", "releases": [{"url": "https://example.org", "date": "2020"}]}"#,
            r#"{"ocid": "x", "releases": 7}"#,
        ] {
            assert!(process(text).is_err(), "{text}");
        }
    }
}
