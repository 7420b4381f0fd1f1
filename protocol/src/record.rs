//! Records: typed business documents and their registry.
//!
//! A body is a flat map of named fields; a [`Record`] is the typed view of one.
//! Adding a kind is one file in `record/` with its document and its
//! [`KindDescription`], and one line in the registry below: index, lists,
//! commands and default pages follow from the description.
//!
//! **Invariants:** [`Record::to_fields`] gives one form for equal documents and
//! [`Record::from_fields`] reads it back; the typed view ignores fields it does
//! not know, which stay in the body; nothing here decides whether a body is
//! authentic. Dates, currencies, CPV codes and ratings are checked by
//! [`Record::validate`], which the author's side calls before signing; a
//! received document that breaks a rule is still shown. Deliberately absent:
//! record ids, authors, audiences and salts, which belong to the entry.

pub mod contract;
pub mod date;
pub mod description;
pub mod extract;
pub mod fairness;
mod flatten;
mod leaf;
pub mod money;
pub mod part;
pub mod performance;
pub mod pipeline;
pub mod response;
pub mod span;
mod text;

use core::fmt;

use ciborium::Value;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::contract::Contract;
pub use self::date::{Date, DateError, Day};
pub use self::description::{
    Audience, Column, FacetPaths, Facets, Form, Guard, KindDescription, Party, Requirement,
};
pub use self::fairness::Unfair;
pub use self::performance::Performance;
pub use self::pipeline::Pipeline;
pub use self::response::Response;
pub use self::span::{Span, SpanError};
use crate::body::{FieldError, Fields};

/// What an entry is about: the number in its header.
///
/// 0 is an identity event; 1 to 63 are business documents; from
/// [`Kind::FIRST_CONTROL`] on control entries (groups, erasure answers).
/// Numbers that this version does not know replicate and verify but are not
/// interpreted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Kind(u16);

impl Kind {
    /// An event of the authority's identity chain.
    pub const IDENTITY: Self = Self(0);
    /// The first kind of control entries.
    pub const FIRST_CONTROL: Self = Self(64);
    /// Another authority is endorsed: see [`crate::endorsement`].
    pub const ENDORSEMENT: Self = Self(64);
    /// The membership or an epoch of a group: see [`crate::group`].
    pub const GROUP: Self = Self(65);
    /// What a holder says of an erasure: see [`crate::erasure::answer`].
    pub const ERASURE_ANSWER: Self = Self(66);

    /// A kind by its number.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Whether entries of this kind are business documents, known to this version or not.
    #[must_use]
    pub const fn is_record(self) -> bool {
        self.0 > Self::IDENTITY.0 && self.0 < Self::FIRST_CONTROL.0
    }

    /// The kind that commands and addresses call `name`; `None` if this version has none such.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        registry().iter().find(|known| known.name == name).map(|known| known.kind)
    }

    /// What the kind says about itself; `None` if this version does not know it.
    #[must_use]
    pub fn description(self) -> Option<&'static KindDescription> {
        registry().iter().find(|known| known.kind == self).copied()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.description() {
            Some(description) => f.write_str(description.name),
            None => write!(f, "kind {}", self.0),
        }
    }
}

/// The registry: one line per kind, `CONSTANT Type = number: module`.
macro_rules! kinds {
    ($($constant:ident $name:ident = $number:literal: $module:ident,)*) => {
        impl Kind {
            $(#[doc = concat!("[`", stringify!($module), "::", stringify!($name), "`].")]
            pub const $constant: Self = Self($number);)*
        }

        /// A typed business document of a kind that this version knows.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Record {
            $(#[doc = concat!("See [`", stringify!($module), "`].")]
            $name(Box<$module::$name>),)*
        }

        /// The kinds that this version knows, in the order of their numbers.
        #[must_use]
        pub fn registry() -> &'static [&'static KindDescription] {
            const { &[$(&$module::DESCRIPTION),*] }
        }

        impl Record {
            /// Its kind.
            #[must_use]
            pub const fn kind(&self) -> Kind {
                match self {
                    $(Self::$name(_) => Kind::$constant,)*
                }
            }

            /// What its kind says about itself.
            #[must_use]
            pub fn description(&self) -> &'static KindDescription {
                match self {
                    $(Self::$name(_) => &$module::DESCRIPTION,)*
                }
            }

            /// Who buys, or assesses.
            #[must_use]
            pub fn buyer(&self) -> Option<&part::Organisation> {
                match self {
                    $(Self::$name(document) => document.buyer.as_ref(),)*
                }
            }

            /// Where the document comes from.
            #[must_use]
            pub fn source(&self) -> Option<&part::Source> {
                match self {
                    $(Self::$name(document) => document.source.as_ref(),)*
                }
            }

            /// Where the document comes from, to be changed.
            pub fn source_mut(&mut self) -> &mut Option<part::Source> {
                match self {
                    $(Self::$name(document) => &mut document.source,)*
                }
            }

            /// Reads a document of `kind` as [`Record`] writes itself. Unlike
            /// [`Record::from_json`] this overlooks fields that the kind does not
            /// have and takes nulls and empty parts for what they are.
            ///
            /// # Errors
            /// The format's own; also for an unknown kind.
            pub fn from_written<'de, D: Deserializer<'de>>(
                kind: Kind,
                deserializer: D,
            ) -> Result<Self, D::Error> {
                match kind {
                    $(Kind::$constant => $module::$name::deserialize(deserializer)
                        .map(|document| Self::$name(Box::new(document))),)*
                    _ => Err(D::Error::custom(RecordError::UnknownKind(kind))),
                }
            }

            fn from_value(kind: Kind, value: &Value) -> Result<Self, RecordError> {
                match kind {
                    $(Kind::$constant => value
                        .deserialized()
                        .map(|document| Self::$name(Box::new(document)))
                        .map_err(RecordError::from),)*
                    _ => Err(RecordError::UnknownKind(kind)),
                }
            }
        }

        $(impl From<$module::$name> for Record {
            fn from(document: $module::$name) -> Self {
                Self::$name(Box::new(document))
            }
        })*

        /// Writes the document without its kind.
        impl Serialize for Record {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$name(document) => document.serialize(serializer),)*
                }
            }
        }
    };
}

kinds! {
    CONTRACT Contract = 1: contract,
    PERFORMANCE Performance = 2: performance,
    PIPELINE Pipeline = 3: pipeline,
    RESPONSE Response = 4: response,
}

/// Why a document cannot become a body, or a body a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A kind this version does not know.
    #[error("{0} is not known to this version")]
    UnknownKind(Kind),
    /// A value has another type than the document wants, as the decoder puts it.
    #[error("{0}")]
    Document(String),
    /// A field name is at once a value and the beginning of another name.
    #[error("the fields contradict each other")]
    Shape,
    /// A value that is neither text, whole number, true nor false.
    #[error("{path}: not a text, a whole number, true or false")]
    Leaf {
        /// Where it stands.
        path: String,
    },
    /// Nested deeper than [`crate::limits::NESTING`].
    #[error("the document is nested too deeply")]
    Nesting,
    /// A field that cannot be part of a body.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// A field that documents of this kind do not have.
    #[error("{path}: a {kind} has no such field")]
    UnknownField {
        /// The kind.
        kind: Kind,
        /// Where it stands.
        path: String,
    },
    /// A rule of the kind is broken.
    #[error("{0}")]
    Invalid(Finding),
}

impl From<ciborium::value::Error> for RecordError {
    fn from(error: ciborium::value::Error) -> Self {
        let ciborium::value::Error::Custom(text) = error;
        Self::Document(text)
    }
}

/// One thing wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The field.
    pub path: String,
    /// What is wrong with it.
    pub problem: Problem,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Problem::Order { first } => write!(f, "{}: earlier than {first}", self.path),
            problem => write!(f, "{}: {problem}", self.path.replace('|', " or ")),
        }
    }
}

/// What can be wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It must be there.
    #[error("missing")]
    Missing,
    /// It is no date.
    #[error("{0}")]
    Date(DateError),
    /// It is no ISO 4217 code.
    #[error("not a currency code of three capital letters")]
    Currency,
    /// It is no CPV code.
    #[error("not a CPV code of eight digits")]
    Cpv,
    /// It is no full reference of a record.
    #[error("not a full reference, AUTHORITY/RECORD")]
    Reference,
    /// It is not 32 bytes in hexadecimal.
    #[error("not 64 hexadecimal digits")]
    Hash,
    /// It is no length of time.
    #[error("{0}")]
    Span(SpanError),
    /// It is not in its code list.
    #[error("not one of {}", .0.join(", "))]
    Code(&'static [&'static str]),
    /// It lies before a date that it should follow.
    #[error("earlier than {first}")]
    Order {
        /// The other date.
        first: &'static str,
    },
}

impl Record {
    /// [`part::Source::key`] of its source.
    #[must_use]
    pub fn source_key(&self) -> Option<String> {
        self.source().and_then(part::Source::key)
    }

    /// The flat fields of the document; absent and empty parts have none.
    ///
    /// # Errors
    /// [`RecordError::Field`] beyond the limits of a body.
    pub fn to_fields(&self) -> Result<Fields, RecordError> {
        leaf::fields(self)
    }

    /// The typed view of a body. Fields that the kind does not have are ignored;
    /// fields that are withheld are absent.
    ///
    /// # Errors
    /// [`RecordError::UnknownKind`], [`RecordError::Shape`], [`RecordError::Document`].
    pub fn from_fields(kind: Kind, fields: &Fields) -> Result<Self, RecordError> {
        Self::from_value(kind, &flatten::unflatten(fields)?)
    }

    /// Reads a document of `kind` from any serde format, as a person wrote it.
    /// Nulls and empty parts count as absent; a field that the kind does not
    /// have is refused, for it is a misspelling and would be lost.
    ///
    /// # Errors
    /// The format's own, or a [`RecordError`] as text.
    pub fn from_json<'de, D: Deserializer<'de>>(
        kind: Kind,
        deserializer: D,
    ) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::authored(kind, value).map_err(D::Error::custom)
    }

    fn authored(kind: Kind, value: Value) -> Result<Self, RecordError> {
        let value = flatten::prune(value, 0)?.unwrap_or_else(|| Value::Map(Vec::new()));
        // First, because its errors say where they are.
        let given = flatten::flatten(&value)?;
        let record = Self::from_value(kind, &value)?;
        let known = record.to_fields()?;
        match given.iter().find(|(name, _)| known.get(name.as_str()).is_none()) {
            Some((name, _)) => Err(RecordError::UnknownField { kind, path: name.to_string() }),
            None => Ok(record),
        }
    }

    /// Checks the rules of the kind: what is mandatory, dates, currencies, CPV
    /// codes, closed code lists.
    ///
    /// # Errors
    /// [`RecordError::Invalid`] with the first fault; errors of [`Record::to_fields`].
    pub fn validate(&self) -> Result<(), RecordError> {
        self.valid_fields().map(|_| ())
    }

    /// The flat fields of a document that keeps the rules of its kind: what an
    /// author signs.
    ///
    /// # Errors
    /// As [`Record::validate`].
    pub fn valid_fields(&self) -> Result<Fields, RecordError> {
        let fields = self.to_fields()?;
        let findings = self.description().findings(&fields);
        match findings.into_iter().find(|(fault, _)| *fault) {
            Some((_, finding)) => Err(RecordError::Invalid(finding)),
            None => Ok(fields),
        }
    }

    /// What is odd but allowed: dates in the wrong order, codes outside an open list.
    #[must_use]
    pub fn warnings(&self) -> Vec<Finding> {
        let fields = self.to_fields().unwrap_or_default();
        let findings = self.description().findings(&fields);
        findings.into_iter().filter(|(fault, _)| !fault).map(|(_, finding)| finding).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::id::{AuthorityId, RecordId};
    use crate::limits;

    /// One document of each kind in which every part is there.
    fn samples() -> Vec<(Kind, serde_json::Value)> {
        let organisation = json!({
            "name": "Ambleford Borough Council", "scale": "large", "vcse": false,
            "withheld": "no", "identifiers": [{"scheme": "GB-LAE", "id": "AMB"}, {"scheme": "X", "id": "007"}]
        });
        let value = json!({"amount": 1, "amountGross": 2, "currency": "GBP", "vat": "excluded", "kind": "ceiling"});
        let money = json!({"amount": -5, "currency": "JPY"});
        let period = json!({
            "startDate": "2020-01-01", "endDate": "2020-01-01", "maxExtentDate": "2020-01-01",
            "durationInDays": 3, "endComputed": true, "noticePeriod": "P3M"
        });
        let source = json!({
            "system": "s", "noticeId": "n", "part": "p", "releaseId": "r", "published": "2020-01-01",
            "url": "u", "digest": "d"
        });
        let disclosure = json!({
            "consult": "foi@ambleford.example",
            "exemptions": [{"provision": "p", "reason": "r", "until": "2020-01-01"}]
        });
        let of = format!("{}/{}", AuthorityId::from_bytes([1; 32]), "ab".repeat(16));
        let hash = "0a".repeat(32);
        let extract = json!({"record": of, "salt": hash});
        let contract = json!({
            "ocid": "o", "title": "t", "description": "d", "reference": "r", "buyer": organisation,
            "suppliers": [organisation, {"name": "Supplier"}], "cpv": "48000000", "additionalCpv": ["72000000-5", "48000001"],
            "mainProcurementCategory": "goods", "procurementMethod": "direct",
            "procurementMethodDetails": "x", "value": value, "irrecoverableVat": money, "period": period,
            "items": [{"description": "d", "quantity": "0.5", "unit": "u", "unitPrice": money,
                "priceBasis": "per year", "product": "p", "version": "1", "cpv": "48000000"}],
            "lots": [{"id": "1", "title": "t", "description": "d", "value": value, "period": period}],
            "dateSigned": "2020-01-01", "status": "active", "indexation": "CPI",
            "framework": {"isFramework": true, "title": "t", "reference": "r", "owner": "o", "endDate": "2020-01-01"},
            "relatedProcesses": [{"relationship": "parent", "scheme": "ocid", "identifier": "i", "title": "t"}],
            "sharing": {"permitted": true, "eligibleBuyers": ["a", "b"], "clause": "c", "fee": "f"},
            "department": "d", "ownerMailbox": "m", "reviewDate": "2020-01-01", "extractOf": hash, "extract": extract, "disclosure": disclosure, "source": source,
            "succession": {
                "kind": "novated", "date": "2020-01-01", "supplierAgreementDate": "2020-01-01",
                "of": format!("{}/{}", AuthorityId::from_bytes([1; 32]), "ab".repeat(16)),
            }
        });
        let performance = json!({
            "contract": "c", "title": "t", "buyer": organisation, "supplier": organisation, "period": period,
            "kpis": [{"id": "1", "title": "t", "target": "t", "observation": "o", "rating": "approachingTarget"}],
            "facts": "f", "opinion": "o",
            "performanceFailures": [{"id": "1", "description": "d", "period": period, "category": "c"}],
            "remedies": [{"description": "d", "date": "2020-01-01", "value": money}],
            "sentToSupplier": "2020-01-01", "replyWindow": "P30D", "supplierReply": "r",
            "reviewDate": "2020-01-01", "disclosure": disclosure, "source": source, "expires": "2020-01-01", "extractOf": hash,
            "sharedWithoutReply": "s", "notForTenderEvaluation": true, "extract": extract
        });
        let pipeline = json!({
            "ocid": "o", "title": "t", "description": "d", "reference": "r", "buyer": organisation,
            "cpv": "48000000", "additionalCpv": ["72000000"], "mainProcurementCategory": "services",
            "procurementMethodDetails": "p", "value": value, "noticeDate": "2020-01-01",
            "tenderEndDate": "2020-01-01", "awardDate": "2020-01-01", "period": period, "stage": "planned",
            "status": "s", "replaces": "r", "collaboration": {"wanted": true, "kinds": ["joint procurement"]},
            "lastConfirmed": "2020-01-01", "department": "d", "disclosure": disclosure, "source": source,
            "extract": extract, "extractOf": hash
        });
        let to = format!("{}/{}", AuthorityId::from_bytes([1; 32]), RecordId::from_bytes([2; 16]));
        let response = json!({
            "to": to, "answer": "supplierReply", "buyer": organisation, "text": "t", "mailbox": "m@made-up.example",
            "until": "2020-01-01", "supplier": organisation, "disclosure": disclosure, "source": source
        });
        vec![
            (Kind::CONTRACT, contract),
            (Kind::PERFORMANCE, performance),
            (Kind::PIPELINE, pipeline),
            (Kind::RESPONSE, response),
        ]
    }

    fn sample(kind: Kind) -> Record {
        let (_, json) = samples().into_iter().find(|(known, _)| *known == kind).unwrap();
        Record::from_json(kind, json).unwrap()
    }

    #[test]
    fn documents_of_every_kind_round_trip_through_fields_and_json() {
        for (kind, json) in samples() {
            let record = Record::from_json(kind, json.clone()).unwrap();
            assert_eq!(record.kind(), kind);
            record.validate().unwrap();
            assert_eq!(record.warnings(), []);
            let fields = record.to_fields().unwrap();
            assert_eq!(Record::from_fields(kind, &fields).unwrap(), record);
            assert_eq!(serde_json::to_value(&record).unwrap(), json);
            assert_eq!(record.source_key().as_deref(), Some("s|n|p"));
            assert_eq!(kind.description().unwrap().facets(&fields).source_key, record.source_key());
        }
    }

    #[test]
    fn every_date_of_every_kind_is_known_to_its_description() {
        for (kind, _) in samples() {
            let description = kind.description().unwrap();
            let fields = sample(kind).to_fields().unwrap();
            let mut seen = 0;
            for (name, _) in fields.iter() {
                let is_date = fields.text(name.as_str()).as_deref() == Some("2020-01-01");
                let known =
                    description.dates.iter().any(|path| description::matches(path, name.as_str()));
                assert_eq!(known, is_date, "{kind}: {name}");
                seen += usize::from(known);
            }
            assert_eq!(seen, description.dates.len(), "{kind} lists a date it does not have");
        }
    }

    #[test]
    fn every_path_of_every_description_exists() {
        for (kind, _) in samples() {
            let description = kind.description().unwrap();
            let fields = sample(kind).to_fields().unwrap();
            let exists = |path: &str| {
                path.is_empty()
                    || fields.iter().any(|(name, _)| {
                        description::matches(path, name.as_str())
                            || description::matches(&format!("{path}.amount"), name.as_str())
                            || description::matches(&format!("{path}.name"), name.as_str())
                            || description::matches(&format!("{path}.system"), name.as_str())
                    })
            };
            let paths = &description.facets;
            let lists = [paths.text, paths.cpv, paths.buyers, paths.suppliers, paths.products];
            let single = [
                paths.title,
                paths.starts,
                paths.ends,
                paths.max_extent,
                paths.value,
                paths.status,
                paths.source,
            ];
            let columns = description.columns.iter().map(|column| column.path);
            let coded = description.closed.iter().chain(description.open).map(|(path, _)| *path);
            let ordered = description.ranges.iter().flat_map(|(a, b)| [*a, *b]);
            let mandatory = description.mandatory.iter().flat_map(|path| path.split('|'));
            let all = lists.into_iter().flatten().copied().chain(single).chain(columns);
            for path in all.chain(coded).chain(ordered).chain(mandatory) {
                assert!(exists(path), "{kind}: {path}");
            }
        }
    }

    #[test]
    fn the_registry_has_each_number_and_name_once() {
        let kinds: Vec<Kind> = registry().iter().map(|description| description.kind).collect();
        assert!(kinds.is_sorted_by(|a, b| a < b));
        for description in registry() {
            assert!(description.kind.is_record());
            assert_eq!(Kind::from_name(description.name), Some(description.kind));
        }
        assert_eq!(Kind::from_name("identity"), None);
        assert_eq!(Kind::new(63).description().map(|known| known.name), None);
        assert!(!Kind::IDENTITY.is_record() && !Kind::FIRST_CONTROL.is_record());
    }

    #[test]
    fn authors_are_told_what_is_wrong() {
        let cases = [
            (json!({}), "title: missing"),
            (json!({"title": ""}), "title: missing"),
            (json!({"title": "t", "titel": "x"}), "titel: a contract has no such field"),
            (
                json!({"title": "t", "lots": [{"prize": 1}]}),
                "lots.0.prize: a contract has no such field",
            ),
            (json!({"title": "t", "dateSigned": "31/03/2017"}), "dateSigned: not a date like"),
            (json!({"title": "t", "period": {"endDate": "2105-01-01"}}), "period.endDate: a year"),
            (
                json!({"title": "t", "value": {"amount": 1, "currency": "pounds"}}),
                "value.currency: not",
            ),
            (json!({"title": "t", "cpv": "4800"}), "cpv: not a CPV code"),
            (json!({"title": 5}), "invalid type: integer `5`, expected str"),
            (json!({"title": "t", "value": {"amount": 1.5}}), "value.amount: not a text, a whole"),
        ];
        for (json, want) in cases {
            let result = Record::from_json(Kind::CONTRACT, json.clone())
                .map_err(|error| error.to_string())
                .and_then(|record| record.validate().map_err(|error| error.to_string()));
            let error = result.unwrap_err();
            assert!(error.contains(want), "{json}: {error}");
        }
        let rated = json!({"supplier": {"name": "s"}, "kpis": [{"rating": "splendid"}]});
        let record = Record::from_json(Kind::PERFORMANCE, rated).unwrap();
        assert!(
            record.validate().unwrap_err().to_string().contains("kpis.0.rating: not one of good")
        );
        let nobody = Record::from(Performance::default()).validate().unwrap_err();
        assert_eq!(nobody.to_string(), "contract or supplier.name: missing");
        assert_eq!(
            Record::from_json(Kind::new(9), json!({})).unwrap_err().to_string(),
            "kind 9 is not known to this version"
        );
    }

    #[test]
    fn a_contract_that_goes_on_says_from_which_how_and_since_when() {
        let of = format!("{}/{}", AuthorityId::from_bytes([1; 32]), "ab".repeat(16));
        let judged = |succession: serde_json::Value| {
            let json = json!({"title": "t", "succession": succession});
            let record = Record::from_json(Kind::CONTRACT, json).map_err(|e| e.to_string())?;
            record.validate().map_err(|error| error.to_string())?;
            Ok::<_, String>(record.warnings().len())
        };
        let day = "2026-04-01";
        for kind in ["transferred", "hosted"] {
            assert_eq!(judged(json!({"kind": kind, "of": of, "date": day})), Ok(0));
        }
        let novated = |agreed: &str| {
            judged(json!({
                "kind": "novated", "of": of, "date": day, "supplierAgreementDate": agreed
            }))
        };
        assert_eq!(novated("2026-03-02"), Ok(0));
        assert_eq!(novated("2026-04-02"), Ok(1), "odd, but allowed");
        let cases = [
            (json!({"of": of, "date": day}), "succession.kind: missing"),
            (json!({"kind": "hosted", "date": day}), "succession.of: missing"),
            (json!({"kind": "hosted", "of": of}), "succession.date: missing"),
            (json!({"date": day}), "succession.kind: missing"),
            (
                json!({"kind": "novated", "of": of, "date": day}),
                "succession.supplierAgreementDate: missing",
            ),
            (json!({"kind": "inherited", "of": of, "date": day}), "succession.kind: not one of"),
            (
                json!({"kind": "hosted", "of": "tally1abc/0f", "date": day}),
                "succession.of: not a full reference",
            ),
            (json!({"kind": "hosted", "of": of, "date": "soon"}), "succession.date: not a date"),
        ];
        for (succession, want) in cases {
            let error = judged(succession.clone()).unwrap_err();
            assert!(error.contains(want), "{succession}: {error}");
        }
    }

    #[test]
    fn dates_in_the_wrong_order_are_a_warning_only() {
        let json = json!({
            "title": "t", "procurementMethod": "raffle",
            "period": {"startDate": "2026-04-01T00:00:00+01:00", "endDate": "2026-03-31"}
        });
        let record = Record::from_json(Kind::CONTRACT, json).unwrap();
        record.validate().unwrap();
        let warnings: Vec<String> = record.warnings().iter().map(ToString::to_string).collect();
        assert_eq!(
            warnings,
            [
                "procurementMethod: not one of open, selective, limited, direct",
                "period.endDate: earlier than period.startDate"
            ]
        );
    }

    #[test]
    fn fields_of_a_later_version_do_not_hide_the_rest() {
        let mut fields = sample(Kind::CONTRACT).to_fields().unwrap();
        fields.insert("carbon.tonnes", &Value::from(7)).unwrap();
        assert_eq!(Record::from_fields(Kind::CONTRACT, &fields).unwrap(), sample(Kind::CONTRACT));
        fields.insert("title.short", &Value::from("x")).unwrap();
        assert_eq!(Record::from_fields(Kind::CONTRACT, &fields), Err(RecordError::Shape));
    }

    #[test]
    fn a_far_list_position_costs_no_memory() {
        let mut fields = Fields::new();
        fields.insert("suppliers.4294967295.name", &Value::from("last")).unwrap();
        fields.insert("suppliers.7.name", &Value::from("first")).unwrap();
        let Record::Contract(contract) = Record::from_fields(Kind::CONTRACT, &fields).unwrap()
        else {
            panic!("another kind");
        };
        let names: Vec<&str> = contract.suppliers.iter().map(|party| party.name.as_str()).collect();
        assert_eq!(names, ["first", "last"]);
    }

    #[test]
    fn a_document_with_too_many_parts_is_refused() {
        let contract = Contract {
            title: "t".into(),
            additional_cpv: vec!["48000000".into(); limits::BODY_FIELDS],
            ..Contract::default()
        };
        let result = Record::from(contract).to_fields();
        assert_eq!(result, Err(RecordError::Field(FieldError::TooMany)));
        let deep = (0..100).fold(json!("x"), |inner, _| json!([inner]));
        assert!(Record::from_json(Kind::CONTRACT, json!({"title": deep})).is_err());
    }

    proptest! {
        /// Any choice of parts with any content: one flat form, read back as it was.
        #[test]
        fn arbitrary_documents_have_one_flat_form(
            which in 0..3usize,
            picks in prop::collection::vec((any::<prop::sample::Index>(), ".{0,12}", any::<i64>()), 0..40),
            shift in 0..3u32,
        ) {
            let (kind, _) = samples()[which].clone();
            let full = sample(kind).to_fields().unwrap();
            let names: Vec<String> = full.iter().map(|(name, _)| name.to_string()).collect();
            let mut fields = Fields::new();
            for (index, text, number) in picks {
                let name = &names[index.index(names.len())];
                let value = match full.value(name).unwrap() {
                    Value::Text(_) => Value::from(text),
                    Value::Bool(_) => Value::from(number % 2 == 0),
                    _ => Value::from(number),
                };
                let moved = name.replace(".0.", &format!(".{shift}."));
                fields.insert(&moved, &value).unwrap();
            }
            let record = Record::from_fields(kind, &fields).unwrap();
            let flat = record.to_fields().unwrap();
            let again = Record::from_fields(kind, &flat).unwrap();
            prop_assert_eq!(again.to_fields().unwrap(), flat.clone());
            for (name, value) in flat.iter() {
                prop_assert!(fields.iter().any(|(_, given)| given == value), "{} is new", name);
            }
        }
    }
}
