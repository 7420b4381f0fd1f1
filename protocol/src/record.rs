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
mod flatten;
pub mod money;
pub mod part;
pub mod performance;
pub mod pipeline;
mod text;

use core::fmt;

use ciborium::Value;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::contract::Contract;
pub use self::date::{Date, DateError, Day};
pub use self::description::{Audience, Column, FacetPaths, Facets, Form, KindDescription, Party};
pub use self::performance::Performance;
pub use self::pipeline::Pipeline;
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

            fn from_value(kind: Kind, value: &Value) -> Result<Self, RecordError> {
                match kind {
                    $(Kind::$constant => value
                        .deserialized()
                        .map(|document| Self::$name(Box::new(document)))
                        .map_err(|error| RecordError::Document(error.to_string())),)*
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
        let value =
            Value::serialized(self).map_err(|error| RecordError::Document(error.to_string()))?;
        match flatten::prune(value, 0)? {
            Some(value) => flatten::flatten(&value),
            None => Ok(Fields::new()),
        }
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
        let record = Self::from_value(kind, &value)?;
        let known = record.to_fields()?;
        let given = flatten::flatten(&value)?;
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
        let findings = self.description().findings(&self.to_fields()?);
        match findings.into_iter().find(|(fault, _)| *fault) {
            Some((_, finding)) => Err(RecordError::Invalid(finding)),
            None => Ok(()),
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
