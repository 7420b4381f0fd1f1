//! What this authority holds on a term: the first step of answering whoever asks for it
//! under freedom-of-information law.
//!
//! A search of the index finds what stands; a request is about what is *held*: earlier
//! versions, withdrawn records, copies that are hidden and not deleted yet, references
//! and drafts, public and in groups. So everything is looked through, in portions, each
//! of bounded size. **Invariants:** what cannot be opened here, or may not be read, is not
//! found; nothing is hidden from the authority's own people that it could be asked for.
//! Deliberately absent: any judgement whether something is to be disclosed.

use tallystick_protocol::body::Fields;
use tallystick_protocol::entry::Action;
use tallystick_protocol::id::{LogId, RecordRef, Space, Version};
use tallystick_protocol::record::{Kind, Record, description};
use tallystick_protocol::time::UnixTime;

use super::{Desk, answer, blocking, failed_store, now};
use crate::acquaintance::Acquaintances;
use crate::driver::unix_time;
use crate::failure::Failure;
use crate::reference::Reference;
use crate::register::{Current, RecordKey, SourceDigest, VersionInfo};
use crate::store::{StoreError, erasure};

/// Records that are looked through for one answer.
const PORTION: usize = 1000;
/// Versions that are looked through for one answer, but for those of the last record.
const VERSIONS: usize = 5000;
/// Most exemptions that are shown of one document.
const EXEMPTIONS: usize = 16;

/// What is looked for: words that must all be there, in any case.
struct Term(Vec<String>);

impl Term {
    fn new(text: &str) -> Result<Self, Failure> {
        let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        match words.is_empty() {
            true => Err(Failure::usage(
                "nothing was said that is looked for",
                "name the words of the request: tally search --held WORDS",
            )),
            false => Ok(Self(words)),
        }
    }

    fn is_in(&self, fields: &Fields) -> bool {
        let texts = fields.iter().filter_map(|(name, _)| fields.value(name.as_str()));
        let text: String = texts.map(|value| shown(&value).to_lowercase() + "\n").collect();
        self.0.iter().all(|word| text.contains(word))
    }
}

/// A value as it may be looked for.
fn shown(value: &ciborium::Value) -> String {
    match value {
        ciborium::Value::Text(text) => text.clone(),
        ciborium::Value::Integer(number) => i128::from(*number).to_string(),
        _ => String::new(),
    }
}

impl Desk {
    /// A portion of what this authority holds on a term, from where the one before ended.
    ///
    /// # Errors
    /// A [`Failure`] for no words, a portion that there is not, or a failing replica.
    pub async fn held_on(
        &self,
        text: &str,
        from: Option<String>,
    ) -> Result<answer::HeldPortion, Failure> {
        let (term, met) = (Term::new(text)?, self.acquaintances().await);
        let (desk, at) = (self.clone(), now()?);
        let from = Place::parse(from.as_deref())?;
        blocking(move || {
            desk.settle_register()?;
            match from {
                Place::Records(key) => {
                    desk.held_records(&term, key.as_ref(), &met, at).map_err(failed_store)
                }
                Place::References(digest) => {
                    desk.held_references(&term, digest.as_ref()).map_err(failed_store)
                }
                Place::Drafts => desk.held_drafts(&term),
            }
        })
        .await?
    }

    fn held_records(
        &self,
        term: &Term,
        from: Option<&RecordKey>,
        met: &Acquaintances,
        at: UnixTime,
    ) -> Result<answer::HeldPortion, StoreError> {
        let register = self.0.projector.register();
        let records = register.records(from, PORTION + 1)?;
        let is_last = records.len() <= PORTION;
        let (mut portion, mut versions, mut reached) = (answer::HeldPortion::default(), 0, None);
        for (key, current) in records.into_iter().filter(|(key, _)| Some(key) != from) {
            let all = register.versions(&key.authority, &key.record)?;
            let all: Vec<VersionInfo> =
                all.into_iter().filter(|(of, _)| *of == key).map(|(_, info)| info).collect();
            versions += all.len();
            portion.scanned += 1;
            portion.held.extend(self.held_record(term, (&key, &current), &all, met, at)?);
            if versions >= VERSIONS {
                reached = Some(key);
                break;
            }
            reached = Some(key).filter(|_| !is_last);
        }
        let next = reached.map_or(Place::References(None), |key| Place::Records(Some(key)));
        portion.next = Some(next.to_string());
        Ok(portion)
    }

    /// One record, if the term is in any version that is kept.
    fn held_record(
        &self,
        term: &Term,
        (key, current): (&RecordKey, &Current),
        all: &[VersionInfo],
        met: &Acquaintances,
        at: UnixTime,
    ) -> Result<Option<answer::HeldView>, StoreError> {
        let register = self.0.projector.register();
        let mut newest: Option<(Version, Kind, Fields)> = None;
        let mut count = 0;
        for info in all {
            let Version { generation, index } = info.version;
            let log = LogId { authority: key.authority, space: key.space, generation };
            if !register.opener().admits(&log, index) {
                continue;
            }
            let kept = register.kept(key, info.version)?;
            if let Some(kept) = kept.filter(|kept| term.is_in(kept)) {
                count += 1;
                newest = Some((info.version, info.kind, kept));
            }
        }
        let Some((version, kind, fields)) = newest else { return Ok(None) };
        let erasures = erasure::of_record(&*self.0.handle.replica(), &key.any_log(), &key.record)?;
        let covers = |one: &erasure::Standing| {
            one.erasure.is_in_force(at) && version <= one.erasure.upto && one.deleted.is_none()
        };
        let due = erasures.iter().filter(|one| covers(one)).map(erasure::Standing::due).min();
        let state = match current.newest {
            _ if due.is_some() => answer::HeldState::Erased,
            newest if newest.action != Action::Put => answer::HeldState::Withdrawn,
            newest if newest.version != version => answer::HeldState::Superseded,
            _ => answer::HeldState::Current,
        };
        let hold = self.holds().at(unix_time()).remove(key);
        let known = met.known(&key.authority)?;
        let (authority_name, known) = known.map(|known| (known.name, known.attribution)).unzip();
        let (authority, record) = (key.authority, key.record);
        Ok(Some(answer::HeldView {
            reference: RecordRef { authority, record, version: Some(version) }.to_string(),
            authority: Some(authority),
            authority_name,
            known,
            space: key.space.to_string(),
            group: self.0.opener.name(&key.space),
            state,
            versions: count,
            due: due.map(UnixTime::as_seconds).filter(|_| hold.is_none()),
            hold: hold.map(|hold| hold.reason.code().to_owned()),
            is_own: authority == self.authority(),
            ..held(kind, &fields)
        }))
    }

    fn held_references(
        &self,
        term: &Term,
        from: Option<&SourceDigest>,
    ) -> Result<answer::HeldPortion, StoreError> {
        let references = self.0.projector.references().behind(from, PORTION)?;
        let is_last = references.len() < PORTION;
        let last = references.last().map(Reference::digest);
        let next = last.filter(|_| !is_last);
        let next = next.map_or(Place::Drafts, |last| Place::References(Some(last)));
        let view = |reference: &Reference| answer::HeldView {
            reference: reference.address(),
            space: "this node only".to_owned(),
            state: answer::HeldState::Reference,
            versions: 1,
            ..held(reference.kind(), reference.fields())
        };
        let found = references.iter().filter(|reference| term.is_in(reference.fields()));
        Ok(answer::HeldPortion {
            held: found.map(view).collect(),
            scanned: references.len(),
            next: Some(next.to_string()),
        })
    }

    fn held_drafts(&self, term: &Term) -> Result<answer::HeldPortion, Failure> {
        let drafts = self.0.drafts.blocking_lock().all()?;
        let mut portion =
            answer::HeldPortion { scanned: drafts.len(), ..answer::HeldPortion::default() };
        for draft in drafts {
            let fields = Record::from(draft.note).to_fields().map_err(Failure::internal)?;
            if term.is_in(&fields) {
                portion.held.push(answer::HeldView {
                    reference: format!("draft {}", draft.number),
                    space: "this node only".to_owned(),
                    state: answer::HeldState::Draft,
                    versions: 1,
                    is_own: true,
                    ..held(Kind::PERFORMANCE, &fields)
                });
            }
        }
        Ok(portion)
    }
}

/// What a document says of itself that matters for disclosing it.
fn held(kind: Kind, fields: &Fields) -> answer::HeldView {
    let text = |name: &str| description::text(fields, name).map(str::to_owned);
    let title = kind.description().and_then(|of| text(of.facets.title));
    let exemption = |at: usize| {
        let part = |name: &str| text(&format!("disclosure.exemptions.{at}.{name}"));
        let exemption = answer::ExemptionView {
            provision: part("provision"),
            reason: part("reason"),
            until: part("until"),
        };
        Some(exemption).filter(|one| *one != answer::ExemptionView::default())
    };
    answer::HeldView {
        kind: kind.to_string(),
        title: title.unwrap_or_default(),
        buyer: text("buyer.name"),
        consult: text("disclosure.consult"),
        exemptions: (0..EXEMPTIONS).map_while(exemption).collect(),
        ..answer::HeldView::default()
    }
}

/// Where a portion begins: behind a record, behind a reference, or at the drafts.
enum Place {
    Records(Option<RecordKey>),
    References(Option<SourceDigest>),
    Drafts,
}

impl Place {
    fn parse(text: Option<&str>) -> Result<Self, Failure> {
        let Some(text) = text else { return Ok(Self::Records(None)) };
        let wrong = || Failure::usage(format!("{text:?} is no place to go on from"), "begin anew");
        let mut parts = text.split('/');
        let mut part = || parts.next().unwrap_or_default();
        match part() {
            "records" => {
                let (authority, record, space) = (part(), part(), part());
                let space = match space {
                    "public" => Space::Public,
                    group => Space::Group(group.parse().map_err(|_| wrong())?),
                };
                Ok(Self::Records(Some(RecordKey {
                    authority: authority.parse().map_err(|_| wrong())?,
                    record: record.parse().map_err(|_| wrong())?,
                    space,
                })))
            }
            "references" => match part() {
                "" => Ok(Self::References(None)),
                digest => {
                    SourceDigest::from_hex(digest).ok_or_else(wrong).map(Some).map(Self::References)
                }
            },
            "drafts" => Ok(Self::Drafts),
            _ => Err(wrong()),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Records(None) => f.write_str("records"),
            Self::Records(Some(RecordKey { authority, record, space })) => {
                write!(f, "records/{authority}/{record}/{space}")
            }
            Self::References(None) => f.write_str("references"),
            Self::References(Some(digest)) => write!(f, "references/{digest}"),
            Self::Drafts => f.write_str("drafts"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, ciborium::Value)]) -> Fields {
        let mut fields = Fields::new();
        pairs.iter().for_each(|(name, value)| fields.insert(name, value).unwrap());
        fields
    }

    #[test]
    fn all_words_must_be_there_in_any_case_and_any_field() {
        let document = fields(&[
            ("title", "Night HAULAGE of Öl".into()),
            ("suppliers.0.name", "Quillfield Systems Ltd".into()),
            ("value.amount", 38_728_000.into()),
        ]);
        for found in ["haulage", "quillfield night", "öl", "387280", "Haul"] {
            assert!(Term::new(found).unwrap().is_in(&document), "{found}");
        }
        for absent in ["haulage kestrel", "title", "nights"] {
            assert!(!Term::new(absent).unwrap().is_in(&document), "{absent}");
        }
        assert!(Term::new("  ").is_err());
    }

    #[test]
    fn what_the_author_said_of_exemptions_is_read() {
        let document = fields(&[
            ("title", "Prices".into()),
            ("disclosure.consult", "foi@ash.example".into()),
            ("disclosure.exemptions.0.provision", "FOIA 2000 s.43(2)".into()),
            ("disclosure.exemptions.1.reason", "a tender is open".into()),
            ("disclosure.exemptions.1.until", "2027-03-31".into()),
        ]);
        let held = held(Kind::CONTRACT, &document);
        assert_eq!(held.title, "Prices");
        assert_eq!(held.consult.as_deref(), Some("foi@ash.example"));
        assert_eq!(held.exemptions.len(), 2);
        assert_eq!(held.exemptions[0].provision.as_deref(), Some("FOIA 2000 s.43(2)"));
        assert_eq!(held.exemptions[1].until.as_deref(), Some("2027-03-31"));
    }

    #[test]
    fn a_place_is_read_back_and_others_are_refused() {
        let authority = tallystick_protocol::id::AuthorityId::from_bytes([1; 32]);
        let record = tallystick_protocol::id::RecordId::from_bytes([2; 16]);
        let group = Space::Group(tallystick_protocol::id::GroupId::from_bytes([3; 32]));
        for space in [Space::Public, group] {
            let key = RecordKey { authority, record, space };
            let text = Place::Records(Some(key)).to_string();
            let Ok(Place::Records(Some(read))) = Place::parse(Some(&text)) else {
                panic!("{text}")
            };
            assert_eq!(read, key);
        }
        for place in [
            Place::References(None),
            Place::References(Some(SourceDigest::of("csv|H-1|"))),
            Place::Drafts,
        ] {
            let text = place.to_string();
            assert_eq!(Place::parse(Some(&text)).unwrap().to_string(), text);
        }
        for wrong in ["", "records", "records/x/y/z", "references/ab", "elsewhere"] {
            assert!(Place::parse(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
