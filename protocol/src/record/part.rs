//! Parts that several kinds of documents share: organisations, periods, disclosure, sources.
//!
//! Names follow OCDS 1.1.5. Contact points, addresses and other personal data
//! are deliberately absent: what nobody needs to compare contracts is not copied.

use super::date::Date;
use super::text::document;

document! {
    /// An identifier of an organisation in a register (OCDS `Identifier`).
    pub struct Identifier {
        /// Register, as an org-id.guide prefix: `GB-COH`, `GB-PPON`, `GB-LAE`…
        pub scheme: Option<String>,
        /// Identifier in that register, as text: leading zeros count.
        pub id: Option<String>,
    }
}

impl Identifier {
    /// Both parts as one text, `GB-COH-01234567`; `None` without a scheme or an id.
    #[must_use]
    pub fn joined(&self) -> Option<String> {
        match (self.scheme.as_deref(), self.id.as_deref()) {
            (Some(scheme), Some(id)) if !scheme.is_empty() && !id.is_empty() => {
                Some(format!("{scheme}-{id}"))
            }
            _ => None,
        }
    }
}

document! {
    /// A buyer or supplier as the document names it (OCDS `Organization`).
    pub struct Organisation {
        /// Name as given; variants are matched elsewhere, never rewritten here.
        pub name: String,
        /// Identifiers in registers that mean something outside the document.
        pub identifiers: Vec<Identifier>,
        /// OCDS `parties[].details.scale`: micro, sme, small, medium, large.
        pub scale: Option<String>,
        /// Whether it is a voluntary, community or social enterprise (UK profile `vcse`).
        pub vcse: Option<bool>,
        /// Why the name is not the real one, for instance a supplier withheld
        /// under section 94 of the Procurement Act 2023.
        pub withheld: Option<String>,
    }
}

impl Organisation {
    /// An organisation known by name only.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The same organisation with one more identifier.
    #[must_use]
    pub fn with_identifier(mut self, scheme: impl Into<String>, id: impl Into<String>) -> Self {
        self.identifiers.push(Identifier { scheme: Some(scheme.into()), id: Some(id.into()) });
        self
    }
}

document! {
    /// A period (OCDS `Period` with the UK profile's notice period).
    pub struct Period {
        /// First day.
        pub start_date: Option<Date>,
        /// Last day.
        pub end_date: Option<Date>,
        /// Last day if every extension is taken.
        pub max_extent_date: Option<Date>,
        /// Length in days, where the source gives a length (OCDS `durationInDays`).
        pub duration_in_days: Option<i64>,
        /// True if `endDate` was computed from `startDate` and `durationInDays`
        /// and not stated by the source.
        pub end_computed: Option<bool>,
        /// Notice to be given before the end, as an ISO 8601 duration: `P3M`.
        pub notice_period: Option<String>,
    }
}

document! {
    /// What the author says about disclosing the document to whoever asks for it under
    /// freedom-of-information law. Each holder that is asked decides by itself.
    pub struct Disclosure {
        /// Whom to consult before it is disclosed: a mailbox of an office, not of a person.
        pub consult: Option<String>,
        /// The exemptions that apply, as the author sees it.
        pub exemptions: Vec<Exemption>,
    }
}

document! {
    /// One exemption from disclosure.
    pub struct Exemption {
        /// The law and its section: `Freedom of Information Act 2000 s.43(2)`.
        pub provision: Option<String>,
        /// Why it applies.
        pub reason: Option<String>,
        /// Until when, as far as the author can tell.
        pub until: Option<Date>,
    }
}

document! {
    /// Where a document comes from.
    pub struct Source {
        /// Publishing system: `contracts-finder`, `find-a-tender`, `csv`…
        pub system: Option<String>,
        /// The system's identifier of the process, stable across its notices;
        /// for OCDS the ocid, for Contracts Finder the notice's GUID.
        pub notice_id: Option<String>,
        /// Award or contract within the process; absent for its first or only one.
        pub part: Option<String>,
        /// Identifier of the very notice or release that was read.
        pub release_id: Option<String>,
        /// When the source says that notice or release was published.
        pub published: Option<Date>,
        /// Where people can read it.
        pub url: Option<String>,
        /// SHA-256 of the original bytes, in lower-case hexadecimal.
        pub digest: Option<String>,
    }
}

impl Source {
    /// `system|noticeId|part`: equal keys mean the same real-world document.
    ///
    /// `None` unless system and notice id are known.
    #[must_use]
    pub fn key(&self) -> Option<String> {
        source_key(
            self.system.as_deref().unwrap_or_default(),
            self.notice_id.as_deref().unwrap_or_default(),
            self.part.as_deref().unwrap_or_default(),
        )
    }
}

/// The text that [`Source::key`] gives for these three parts.
#[must_use]
pub fn source_key(system: &str, notice: &str, part: &str) -> Option<String> {
    let known = !system.is_empty() && !notice.is_empty();
    known.then(|| format!("{system}|{notice}|{part}"))
}
