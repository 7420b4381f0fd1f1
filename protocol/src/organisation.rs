//! Organisation identifiers: one spelling for each, and the formats of the registers.
//!
//! An identifier is a register (*scheme*, an org-id.guide prefix such as
//! `GB-LAE`) and a text within it. People and systems write the same one in
//! many ways: `GB-PPON:PABC-1234-DEFG`, `GB-PPON-PABC1234DEFG` and
//! `PABC-1234-DEFG` are one number of Find a Tender, `1234567` and `01234567`
//! one company. [`normalise`] gives the one spelling in which they are compared,
//! stored and shown; [`check`] says whether the register could have issued it;
//! [`parse`] does both to what somebody typed.
//!
//! **Invariants:** normalising what is normalised changes nothing; what
//! [`parse`] gives is normalised and checked. An identifier is a claim,
//! whatever its form: see [`crate::confirmation`].
//!
//! Deliberately absent: whether a number has been issued, and to whom, which
//! only the register knows; check digits, which none of these registers
//! publishes; and refusing schemes that are not in the table, because
//! org-id.guide has hundreds and gets new ones.

use core::fmt;

use crate::identity::OrganisationId;
use crate::limits;

/// Longest register prefix, in bytes; the longest of org-id.guide has 14.
const SCHEME_BYTES: usize = 32;
/// The register of Find a Tender: Public Procurement Organisation Numbers.
const PPON: &str = "GB-PPON";

/// Why a text is not an organisation identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrganisationIdError {
    /// It does not begin with a register, `GB-COH`, or nothing follows.
    #[error("not a register and a number, such as GB-LAE-ASH")]
    Shape,
    /// The register's identifiers look different.
    #[error("{scheme} has identifiers such as {example}")]
    Format {
        /// The register.
        scheme: &'static str,
        /// A made-up identifier of it, without the register.
        example: &'static str,
    },
    /// Control characters, or over [`limits::NAME_BYTES`].
    #[error("an identifier has at most {} printable characters", limits::NAME_BYTES)]
    Text,
}

/// A register whose identifiers have a known form.
struct Scheme {
    prefix: &'static str,
    /// What its identifiers look like, normalised: `9` is a digit, `A` a capital
    /// letter, `X` either; anything else stands for itself.
    shapes: &'static [&'static str],
    /// Shown to whoever gets it wrong.
    example: &'static str,
}

/// The registers in which British public bodies and their suppliers are found.
/// Sources: org-id.guide, and the registers' own documentation.
const SCHEMES: &[Scheme] = &[
    // Companies House has shapes of its own: see `is_company_number`.
    Scheme { prefix: "GB-COH", shapes: &[], example: "01234567 or SC123456" },
    // Charity Commission for England and Wales.
    Scheme { prefix: "GB-CHC", shapes: &["999999", "9999999"], example: "1234567" },
    // Schools and colleges (URN).
    Scheme { prefix: "GB-EDU", shapes: &["999999"], example: "123456" },
    // Government organisations; closed in 2021, still in use.
    Scheme {
        prefix: "GB-GOR",
        shapes: &["A9", "A99", "A999", "A9999", "AA9", "AA99", "AA999", "AA9999"],
        example: "D1234 or EA42",
    },
    // Local authorities in England; combined authorities have four letters.
    Scheme { prefix: "GB-LAE", shapes: &["AAA", "AAAA"], example: "ASH" },
    // In Northern Ireland.
    Scheme { prefix: "GB-LANI", shapes: &["AAA"], example: "ASH" },
    // In Scotland.
    Scheme { prefix: "GB-LAS", shapes: &["AAA"], example: "ASH" },
    // Health bodies (ODS codes).
    Scheme {
        prefix: "GB-NHS",
        shapes: &["XXX", "XXXX", "XXXXX", "XXXXXX", "XXXXXXX", "XXXXXXXX"],
        example: "RXX",
    },
    // Charity Commission for Northern Ireland.
    Scheme { prefix: "GB-NIC", shapes: &["999999"], example: "123456" },
    // Principal local authorities in Wales.
    Scheme { prefix: "GB-PLA", shapes: &["AAA"], example: "ASH" },
    Scheme { prefix: PPON, shapes: &["AAAA-9999-AAAA"], example: "PABC-1234-DEFG" },
    // Scottish charities.
    Scheme { prefix: "GB-SC", shapes: &["SC999999"], example: "SC012345" },
    // Providers of learning.
    Scheme { prefix: "GB-UKPRN", shapes: &["99999999"], example: "10012345" },
];

/// What Companies House numbers begin with, besides two digits: companies,
/// partnerships and societies by country and kind.
const COMPANY_PREFIXES: &[&str] = &[
    "AC", "CE", "CS", "EN", "ES", "FC", "FE", "GE", "GN", "GS", "IC", "IP", "LP", "NA", "NC", "NF",
    "NI", "NL", "NO", "NP", "NZ", "OC", "OE", "PC", "R0", "RC", "RS", "SA", "SC", "SE", "SF", "SG",
    "SI", "SL", "SO", "SP", "SR", "SZ", "ZC",
];

/// Register and number as one text, `GB-COH-01234567`.
impl fmt::Display for OrganisationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.scheme, self.id)
    }
}

/// Reads an identifier as people write it and gives its one spelling:
/// `GB-LAE-ASH`, `GB-PPON:PABC-1234-DEFG`, or a bare PPON.
///
/// # Errors
/// An [`OrganisationIdError`].
pub fn parse(text: &str) -> Result<OrganisationId, OrganisationIdError> {
    let id = joined(text).ok_or(OrganisationIdError::Shape)?;
    check(&id)?;
    Ok(id)
}

/// Reads both parts from one text, normalised and not checked; `None` if it
/// does not begin with a register.
#[must_use]
pub fn joined(text: &str) -> Option<OrganisationId> {
    let (scheme, id) = split(text)?;
    normalise(&scheme, id)
}

/// Register and identifier of a text that has both, as they stand there, or of
/// a bare PPON; `None` if it does not begin with a register.
#[must_use]
pub fn split(text: &str) -> Option<(String, &str)> {
    let text = text.trim();
    let registered = text.split_once('-').and_then(|(country, rest)| {
        let (list, id) = rest.split_once(['-', ':'])?;
        let scheme = format!("{country}-{list}");
        is_scheme(&scheme.to_ascii_uppercase()).then_some((scheme, id))
    });
    // `PABC-1234` is no register, so a bare PPON is not mistaken for an id that names its own.
    registered.or_else(|| ppon(text).map(|_| (PPON.to_owned(), text)))
}

/// The one spelling of an identifier, not checked; `None` if it means nothing
/// outside its document: no register, or nothing but noughts.
///
/// Companies get their leading noughts back and PPON their separators; a
/// repeated register goes. Letters become capitals, except in registers that
/// tell them apart (`GB-SRS`).
#[must_use]
pub fn normalise(scheme: &str, id: &str) -> Option<OrganisationId> {
    let scheme = scheme.trim().to_ascii_uppercase();
    let raw: String = id.chars().filter(|c| !c.is_whitespace()).collect();
    let id = without_scheme(&raw, &scheme);
    if !is_scheme(&scheme) || id.is_empty() || id.bytes().all(|b| b == b'0') {
        return None;
    }
    let upper = id.to_ascii_uppercase();
    let id = match scheme.as_str() {
        "GB-SRS" => id.to_owned(),
        "GB-COH" => company_number(&upper),
        "GB-SC" => scottish_charity(&upper),
        "GB-NIC" => northern_irish_charity(&upper),
        PPON => ppon(&upper).unwrap_or(upper),
        _ => upper,
    };
    Some(OrganisationId { scheme, id })
}

/// Checks a normalised identifier against the form of its register; of a
/// register that is not in the table only that it is a text of ordinary length.
///
/// # Errors
/// An [`OrganisationIdError`].
pub fn check(id: &OrganisationId) -> Result<(), OrganisationIdError> {
    let OrganisationId { scheme, id } = id;
    if !is_scheme(scheme) || id.is_empty() {
        return Err(OrganisationIdError::Shape);
    }
    if id.len() > limits::NAME_BYTES || id.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(OrganisationIdError::Text);
    }
    let Some(known) = SCHEMES.iter().find(|known| known.prefix == scheme) else { return Ok(()) };
    let fits = match known.prefix {
        "GB-COH" => is_company_number(id),
        _ => known.shapes.iter().any(|shape| has_shape(id, shape)),
    };
    let Scheme { prefix, example, .. } = *known;
    if fits { Ok(()) } else { Err(OrganisationIdError::Format { scheme: prefix, example }) }
}

/// A company number with its leading noughts: `1234567` and `SC12345` become eight characters.
#[must_use]
pub fn company_number(id: &str) -> String {
    let letters = id.bytes().take_while(u8::is_ascii_alphabetic).count();
    match id.split_at_checked(letters) {
        Some((prefix, digits))
            if prefix.len() <= 2
                && !digits.is_empty()
                && id.len() <= 8
                && digits.bytes().all(|b| b.is_ascii_digit()) =>
        {
            format!("{prefix}{digits:0>width$}", width = 8 - prefix.len())
        }
        _ => id.to_owned(),
    }
}

/// Whether it is a country and a list: `GB-COH`, `XM-DAC`, `CA_AB-ABC`.
fn is_scheme(scheme: &str) -> bool {
    let part = |text: &str| {
        let known = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        text.len() >= 2 && text.bytes().all(known)
    };
    let parts = scheme.split_once('-');
    scheme.len() <= SCHEME_BYTES
        && parts.is_some_and(|(country, list)| {
            part(country) && part(list) && (country.len() <= 3 || country.contains('_'))
        })
}

/// The number without its register, which some systems write before it once more.
fn without_scheme<'a>(mut id: &'a str, scheme: &str) -> &'a str {
    const SEPARATORS: [char; 3] = ['-', ':', '/'];
    loop {
        id = id.trim_start_matches(SEPARATORS);
        let repeated = id
            .get(..scheme.len())
            .is_some_and(|start| !scheme.is_empty() && start.eq_ignore_ascii_case(scheme));
        match id.get(scheme.len()..).filter(|rest| repeated && rest.starts_with(SEPARATORS)) {
            Some(rest) => id = rest,
            None => return id,
        }
    }
}

/// A PPON with its separators, however it came; `None` if it is none.
fn ppon(text: &str) -> Option<String> {
    let plain: String = text
        .chars()
        .filter(|c| !matches!(c, '-' | ':' | '.'))
        .map(|c| c.to_ascii_uppercase())
        .collect();
    let grouped = [plain.get(..4)?, plain.get(4..8)?, plain.get(8..)?].join("-");
    has_shape(&grouped, "AAAA-9999-AAAA").then_some(grouped)
}

/// `SC012345`, however much of it was written.
fn scottish_charity(upper: &str) -> String {
    let digits = upper.strip_prefix("SC").unwrap_or(upper);
    let number = (1..=6).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if number { format!("SC{digits:0>6}") } else { upper.to_owned() }
}

/// `100123`, with or without `NIC` before it.
fn northern_irish_charity(upper: &str) -> String {
    let digits = upper.strip_prefix("NIC").filter(|rest| has_shape(rest, "999999"));
    digits.filter(|digits| *digits != "000000").unwrap_or(upper).to_owned()
}

/// Eight digits; or a known prefix and six characters, of which the first
/// three are digits: old societies end in letters (`IP02740R`).
fn is_company_number(id: &str) -> bool {
    let prefixed = |(prefix, _): (&str, &str)| COMPANY_PREFIXES.contains(&prefix);
    has_shape(id, "99999999")
        || (has_shape(id, "XX999XXX") && id.split_at_checked(2).is_some_and(prefixed))
}

fn has_shape(id: &str, shape: &str) -> bool {
    let fits = |(c, wanted): (u8, u8)| match wanted {
        b'9' => c.is_ascii_digit(),
        b'A' => c.is_ascii_uppercase(),
        b'X' => c.is_ascii_uppercase() || c.is_ascii_digit(),
        other => c == other,
    };
    id.len() == shape.len() && id.bytes().zip(shape.bytes()).all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spelled(text: &str) -> Option<String> {
        parse(text).ok().map(|id| id.to_string())
    }

    #[test]
    fn one_number_has_one_spelling() {
        let ppon = Some("GB-PPON-PABC-1234-DEFG".to_owned());
        for text in [
            "GB-PPON-PABC-1234-DEFG",
            "GB-PPON:PABC-1234-DEFG",
            "gb-ppon:pabc:1234:defg",
            "GB-PPON-GB-PPON:PABC1234DEFG",
            "PABC-1234-DEFG",
            " pabc1234defg ",
        ] {
            assert_eq!(spelled(text), ppon, "{text}");
        }
        for (text, want) in [
            ("GB-COH-1234567", "GB-COH-01234567"),
            ("GB-COH-sc 12345", "GB-COH-SC012345"),
            ("GB-COH-OC301234", "GB-COH-OC301234"),
            ("GB-COH-IP02740R", "GB-COH-IP02740R"),
            ("GB-COH-R0000042", "GB-COH-R0000042"),
            ("GB-LAE-ash", "GB-LAE-ASH"),
            ("GB-SC-12345", "GB-SC-SC012345"),
            ("GB-NIC-NIC100123", "GB-NIC-100123"),
            ("GB-SRS-sid4gov.example/2JAv6s", "GB-SRS-sid4gov.example/2JAv6s"),
            ("XM-DAC-41114", "XM-DAC-41114"),
            ("NL-KVK-41160054", "NL-KVK-41160054"),
        ] {
            assert_eq!(spelled(text).as_deref(), Some(want), "{text}");
        }
    }

    #[test]
    fn what_no_register_issues_is_refused() {
        for text in [
            "",
            "ASH",
            "GB",
            "GB-LAE",
            "GB-LAE-",
            "GB--ASH",
            "LAE-ASH",
            "GB-COH-00000000",
            "-GB-LAE-ASH",
        ] {
            assert_eq!(parse(text), Err(OrganisationIdError::Shape), "{text}");
        }
        for text in [
            "GB-LAE-A1",
            "GB-LAE-ASHBY",
            "GB-LAS-ASHB",
            "GB-PLA-12",
            "GB-COH-123456789",
            "GB-COH-QQ123456",
            "GB-COH-SCABCDEF",
            "GB-PPON-PABC-1234",
            "GB-PPON-1ABC-1234-DEFG",
            "GB-CHC-12",
            "GB-EDU-1234567",
            "GB-NHS-R",
            "GB-UKPRN-1234567",
            "GB-GOR-1D",
        ] {
            let refused = parse(text);
            assert!(
                matches!(refused, Err(OrganisationIdError::Format { .. })),
                "{text}: {refused:?}"
            );
        }
        let long = format!("DE-HRB-{}", "9".repeat(limits::NAME_BYTES + 1));
        assert_eq!(parse(&long), Err(OrganisationIdError::Text));
        assert_eq!(parse("DE-HRB-1\u{7}"), Err(OrganisationIdError::Text));
    }

    #[test]
    fn every_example_is_of_its_register() {
        for Scheme { prefix, shapes, example } in SCHEMES {
            assert!(!shapes.is_empty() || *prefix == "GB-COH");
            for example in example.split(" or ") {
                assert!(spelled(&format!("{prefix}-{example}")).is_some(), "{prefix} {example}");
            }
        }
    }

    /// Registers of the table and others, and texts that are near the forms.
    fn written() -> impl Strategy<Value = (String, String)> {
        let prefixes: Vec<&str> = SCHEMES.iter().map(|known| known.prefix).collect();
        let scheme = prop_oneof![
            proptest::sample::select(prefixes).prop_map(str::to_owned),
            "[A-Za-z_]{0,4}-[A-Za-z0-9]{0,6}",
        ];
        let id = prop_oneof![
            "[A-Z]{4}[-:. ]?[0-9]{4}[-:]?[A-Z]{4}",
            "[A-Za-z]{0,3}[0-9]{0,9}[A-Z]?",
            "(GB-(PPON|COH|SC|NIC)[-:/]){0,3}(NIC|SC)?[0A-Z0-9]{0,9}",
            "\\PC{0,12}",
        ];
        (scheme, id)
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing((scheme, id) in written()) {
            if let Some(once) = normalise(&scheme, &id) {
                let twice = normalise(&once.scheme, &once.id);
                prop_assert_eq!(twice.as_ref(), Some(&once));
                if check(&once).is_ok() {
                    prop_assert_eq!(parse(&once.to_string()), Ok(once));
                }
            }
        }
    }
}
