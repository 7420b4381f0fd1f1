//! Amounts of money as publishers write them, read as exact minor units.
//!
//! `£1,234.50`, `1234.5`, `93007`, `25k`, `1.2 million`, `£25,000 - £50,000`,
//! `up to £50,000`, `12,000 GBP per annum ex VAT`. Decimal digits are counted,
//! never turned into a float; noise far behind the minor unit
//! (`1234.5000000001`) is dropped, anything else beyond it is rounded and said.
//!
//! **Invariant:** a text gives an amount only if every part of it is
//! understood. Nought and one are read as such; that registers write them for
//! *not known* is [`Amount::known`]'s business.
//!
//! Deliberately absent: conversion between currencies.

use super::text::is_placeholder;

/// What a text says about money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amount {
    /// The number or band.
    pub reading: Reading,
    /// Currency the text itself names, as an ISO 4217 code.
    pub currency: Option<&'static str>,
    /// Whether tax is in it, if the text says.
    pub vat_included: Option<bool>,
    /// Whether the text says it is per year.
    pub annual: bool,
    /// Whether the text says it is a rough figure.
    pub estimate: bool,
    /// Whether digits beyond the minor unit were rounded away.
    pub rounded: bool,
}

/// One amount or a band, in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// One amount.
    Exact(i64),
    /// From the first to the second; one of them may be open, not both.
    Band(Option<i64>, Option<i64>),
}

/// Why a text gives no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// Not understood in full.
    #[error("is no amount that can be read with certainty")]
    Form,
    /// Below nought.
    #[error("is negative")]
    Negative,
    /// More than 92 quadrillion minor units.
    #[error("is too large")]
    Range,
    /// Kept back by the publisher.
    #[error("was withheld by the publisher")]
    Withheld,
}

impl Amount {
    const fn exact(minor: i64) -> Self {
        Self {
            reading: Reading::Exact(minor),
            currency: None,
            vat_included: None,
            annual: false,
            estimate: false,
            rounded: false,
        }
    }

    /// The reading unless it is nought or one unit, which registers write for *not known*.
    #[must_use]
    pub fn known(&self, exponent: u32) -> Option<Reading> {
        let one = 10_i64.checked_pow(exponent).unwrap_or(1);
        let counts = |minor: i64| minor > one;
        match self.reading {
            Reading::Exact(minor) => counts(minor).then_some(self.reading),
            Reading::Band(_, Some(high)) => counts(high).then_some(self.reading),
            Reading::Band(low, None) => low.is_some_and(counts).then_some(self.reading),
        }
    }
}

/// Reads an amount whose currency has `exponent` decimal digits; `None` for an empty cell.
///
/// # Errors
/// [`Unreadable`], to be shown beside the text itself.
pub fn read(raw: &str, exponent: u32) -> Result<Option<Amount>, Unreadable> {
    if is_placeholder(raw) {
        return Ok(None);
    }
    let (sign, digits) = match raw.trim().strip_prefix('£') {
        Some(digits) => (Some("GBP"), digits),
        None => (None, raw.trim()),
    };
    if digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b',' | b' ')) {
        let (minor, rounded) = number(digits, exponent)?;
        return Ok(Some(Amount { currency: sign, rounded, ..Amount::exact(minor) }));
    }
    let mut text =
        Phrase(format!(" {} ", raw.trim().to_lowercase().replace(['\u{a0}', '\t'], " ")));
    if ["redact", "withheld", "confidential", "commercial"].iter().any(|w| text.0.contains(w)) {
        return Err(Unreadable::Withheld);
    }
    let vat_included = vat(&mut text);
    let annual = text.take(&[
        "per annum",
        "per year",
        "a year",
        "annually",
        "annual",
        "p.a.",
        " pa ",
        "/year",
        "pa.",
    ]);
    let estimate = text.take(&[
        "approximately",
        "approx.",
        "approx",
        "circa",
        "estimated",
        "est.",
        " c.",
        "~",
    ]);
    let currency = currency(&mut text);
    let (reading, rounded) = reading(text.0.trim(), exponent)?;
    Ok(Some(Amount { reading, currency, vat_included, annual, estimate, rounded }))
}

/// The text that is left while its words are being understood.
struct Phrase(String);

impl Phrase {
    /// Removes every occurrence of the phrases; says whether there was one.
    fn take(&mut self, phrases: &[&str]) -> bool {
        let mut found = false;
        for phrase in phrases {
            if self.0.contains(phrase) {
                self.0 = self.0.replace(phrase, " ");
                found = true;
            }
        }
        found
    }
}

fn vat(text: &mut Phrase) -> Option<bool> {
    if !text.0.contains("vat") {
        return None;
    }
    text.0 = text.0.replace(['(', ')'], " ");
    if text.take(&[
        "excluding vat",
        "exclusive of vat",
        "excl. vat",
        "excl vat",
        "exc. vat",
        "exc vat",
        "ex. vat",
        "ex vat",
        "ex-vat",
        "plus vat",
        "+ vat",
        "+vat",
        "net of vat",
    ]) {
        return Some(false);
    }
    let included = text.take(&[
        "including vat",
        "inclusive of vat",
        "incl. vat",
        "incl vat",
        "inc. vat",
        "inc vat",
        "with vat",
    ]);
    included.then_some(true)
}

fn currency(text: &mut Phrase) -> Option<&'static str> {
    const SIGNS: [(&str, &str); 6] =
        [("£", "GBP"), ("gbp", "GBP"), ("€", "EUR"), ("eur", "EUR"), ("usd", "USD"), ("$", "USD")];
    // A bare dollar may be anybody's, so the file's own currency decides.
    let found = SIGNS.iter().find(|(sign, _)| text.0.contains(sign));
    text.take(&["£", "gbp", "€", "eur", "usd", "$"]);
    found.filter(|(sign, _)| *sign != "$").map(|(_, code)| *code)
}

fn reading(text: &str, exponent: u32) -> Result<(Reading, bool), Unreadable> {
    const UP_TO: [&str; 8] =
        ["up to", "under", "less than", "below", "max.", "maximum", "<", "not exceeding"];
    const FROM: [&str; 8] =
        ["over", "above", "more than", "in excess of", "greater than", "from", "min.", ">"];
    for prefix in UP_TO {
        if let Some(rest) = text.strip_prefix(prefix) {
            let (high, rounded) = number(rest.trim_start_matches(['=', ' ']), exponent)?;
            return Ok((Reading::Band(None, Some(high)), rounded));
        }
    }
    if let Some((low, high)) = halves(text) {
        let ((low, a), (high, b)) = (number(low, exponent)?, number(high, exponent)?);
        return Ok((Reading::Band(Some(low.min(high)), Some(low.max(high))), a || b));
    }
    let open = FROM.iter().find_map(|p| text.strip_prefix(p)).or_else(|| text.strip_suffix('+'));
    if let Some(rest) = open {
        let (low, rounded) = number(rest.trim_start_matches(['=', ' ']), exponent)?;
        return Ok((Reading::Band(Some(low), None), rounded));
    }
    number(text, exponent).map(|(minor, rounded)| (Reading::Exact(minor), rounded))
}

/// Both ends of a band.
fn halves(text: &str) -> Option<(&str, &str)> {
    let between = text.strip_prefix("between").and_then(|rest| rest.split_once(" and "));
    let text = text.strip_prefix("from").unwrap_or(text);
    let split = between
        .or_else(|| text.split_once(" to "))
        .or_else(|| text.split_once(['–', '—']))
        .or_else(|| text.split_once('-'));
    split.filter(|(low, high)| {
        !low.trim().is_empty() && !high.trim().is_empty() && !low.trim_end().ends_with('e')
    })
}

/// One number with an optional multiple, in minor units.
fn number(text: &str, exponent: u32) -> Result<(i64, bool), Unreadable> {
    const MULTIPLES: [(&str, i32); 10] = [
        ("thousand", 3),
        ("million", 6),
        ("billion", 9),
        ("mln", 6),
        ("bn", 9),
        ("mil", 6),
        ("k", 3),
        ("m", 6),
        ("b", 9),
        ("/-", 0),
    ];
    let mut text = text.trim();
    let negative = text.starts_with('-') || (text.starts_with('(') && text.ends_with(')'));
    if negative {
        let inner = text.trim_matches(['-', '(', ')', ' ']);
        return Err(if plain(inner).is_some() { Unreadable::Negative } else { Unreadable::Form });
    }
    let mut shift = 0;
    for (word, power) in MULTIPLES {
        if let Some(rest) = text.strip_suffix(word) {
            (text, shift) = (rest.trim_end(), power);
            break;
        }
    }
    let (mantissa, power) = match text.split_once('e') {
        Some((mantissa, power)) => (mantissa, power.parse::<i32>().map_err(|_| Unreadable::Form)?),
        None => (text, 0),
    };
    let (digits, places) = plain(mantissa).ok_or(Unreadable::Form)?;
    let exponent = i32::try_from(exponent).map_err(|_| Unreadable::Range)?;
    scale(digits, i64::from(shift) + i64::from(power) + i64::from(exponent) - i64::from(places))
}

/// All digits of a plain decimal number, and how many of them are decimal places.
///
/// The last of two kinds of separators is the decimal one; a comma alone
/// separates thousands if three digits follow each, a point alone is decimal
/// unless there are several.
fn plain(text: &str) -> Option<(i128, i32)> {
    let text: String = text.chars().filter(|c| !matches!(c, ' ' | '\'' | '’')).collect();
    let decimal = match (text.rfind('.'), text.rfind(',')) {
        (Some(point), Some(comma)) => Some(point.max(comma)),
        (Some(point), None) if text.matches('.').count() == 1 => Some(point),
        (None, Some(comma)) if text.matches(',').count() == 1 && text.len() - comma != 4 => {
            Some(comma)
        }
        _ => None,
    };
    let (whole, part) = match decimal {
        Some(at) => (text.get(..at)?, text.get(at + 1..)?),
        None => (text.as_str(), ""),
    };
    let mut groups = whole.split([',', '.']);
    let first = groups.next()?;
    let grouped: Vec<&str> = groups.collect();
    let sound = grouped.iter().all(|g| g.len() == 3) && (grouped.is_empty() || first.len() <= 3);
    let digits = format!("{first}{}{part}", grouped.concat());
    let valid = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    // Digits beyond the 30th cannot matter and must not overflow.
    let kept = digits.trim_start_matches('0');
    if !valid || !sound || kept.len() > 36 {
        return None;
    }
    let value = if kept.is_empty() { 0 } else { kept.parse().ok()? };
    Some((value, i32::try_from(part.len()).ok()?))
}

/// `digits × 10^power`, rounded half up; says whether more than noise was rounded away.
fn scale(digits: i128, power: i64) -> Result<(i64, bool), Unreadable> {
    if digits == 0 {
        return Ok((0, false));
    }
    let magnitude = u32::try_from(power.unsigned_abs()).map_err(|_| Unreadable::Range)?;
    let Some(factor) = 10_i128.checked_pow(magnitude) else {
        return if power < 0 { Ok((0, true)) } else { Err(Unreadable::Range) };
    };
    let narrow = |n: i128| i64::try_from(n).map_err(|_| Unreadable::Range);
    if power >= 0 {
        return digits
            .checked_mul(factor)
            .ok_or(Unreadable::Range)
            .and_then(narrow)
            .map(|n| (n, false));
    }
    let (whole, rest) = (digits / factor, digits % factor);
    let up = rest >= factor - rest;
    let off = if up { factor - rest } else { rest };
    // Noise is less than a ten-thousandth of a minor unit: 0.000001 of a pound.
    let rounded = off > factor / 10_000;
    narrow(whole + i128::from(up)).map(|n| (n, rounded))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pence(raw: &str) -> Result<Reading, Unreadable> {
        read(raw, 2).map(|a| a.unwrap_or_else(|| panic!("{raw} was taken as empty")).reading)
    }

    #[test]
    fn numbers_are_read_to_the_penny() {
        for (raw, minor) in [
            ("£1,234.50", 123_450),
            ("1234.5", 123_450),
            ("93007", 9_300_700),
            ("0", 0),
            ("95905.88", 9_590_588),
            ("£ 1,234,567", 123_456_700),
            ("1234.5000000001", 123_450),
            ("1234.4999999999", 123_450),
            ("1e3", 100_000),
            ("1.5E6", 150_000_000),
            ("25k", 2_500_000),
            ("£1.5m", 150_000_000),
            ("1.2 million", 120_000_000),
            ("£2bn", 200_000_000_000),
            ("1.234.567,89", 123_456_789),
            ("1234,5", 123_450),
            ("1,234", 123_400),
            ("1.234", 123),
            ("GBP 12", 1_200),
            ("12 000", 1_200_000),
            ("0.1", 10),
            (".5", 50),
            ("5.", 500),
            ("£500/-", 50_000),
            ("89999999999999999.99", 8_999_999_999_999_999_999),
        ] {
            assert_eq!(pence(raw), Ok(Reading::Exact(minor)), "{raw}");
        }
        assert_eq!(read("1234", 0).unwrap().unwrap().reading, Reading::Exact(1234));
        assert_eq!(read("1.2345", 3).unwrap().unwrap().reading, Reading::Exact(1235));
    }

    #[test]
    fn only_noise_is_dropped_silently() {
        assert!(!read("1234.5000000001", 2).unwrap().unwrap().rounded);
        assert!(read("1234.567", 2).unwrap().unwrap().rounded);
    }

    #[test]
    fn bands_keep_both_ends() {
        let band = |low, high| Ok(Reading::Band(low, high));
        for raw in [
            "£25,000 - £50,000",
            "25000 to 50000",
            "25k–50k",
            "between £25k and £50k",
            "£50,000-£25,000",
        ] {
            assert_eq!(pence(raw), band(Some(2_500_000), Some(5_000_000)), "{raw}");
        }
        assert_eq!(pence("up to £50,000"), band(None, Some(5_000_000)));
        assert_eq!(pence("< 50000"), band(None, Some(5_000_000)));
        assert_eq!(pence("Over £100,000"), band(Some(10_000_000), None));
        assert_eq!(pence("£100,000+"), band(Some(10_000_000), None));
    }

    #[test]
    fn words_around_the_number_are_understood() {
        let amount = read("approx. £12,000 per annum (ex VAT)", 2).unwrap().unwrap();
        assert_eq!(amount.reading, Reading::Exact(1_200_000));
        assert_eq!(amount.currency, Some("GBP"));
        assert_eq!(
            (amount.vat_included, amount.annual, amount.estimate),
            (Some(false), true, true)
        );
        assert_eq!(read("€5 inc VAT", 2).unwrap().unwrap().vat_included, Some(true));
        assert_eq!(read("$5", 2).unwrap().unwrap().currency, None);
    }

    #[test]
    fn nought_and_one_are_not_known() {
        for (raw, known) in [
            ("0", false),
            ("0.00", false),
            ("1", false),
            ("£1.00", false),
            ("0.01", false),
            ("2", true),
            ("0 - 1", false),
        ] {
            assert_eq!(read(raw, 2).unwrap().unwrap().known(2).is_some(), known, "{raw}");
        }
        assert_eq!(read("N/A", 2), Ok(None));
        assert_eq!(read("", 2), Ok(None));
        assert_eq!(read("£", 2), Ok(None));
    }

    #[test]
    fn what_is_not_understood_in_full_is_refused() {
        for raw in [
            "twelve",
            "see schedule",
            "£12 per visit",
            "12/13",
            "1,23,456",
            "1.2.3",
            "e5",
            "5e",
            "12 34x",
            "12%",
            "1e99999999999",
        ] {
            assert_eq!(pence(raw), Err(Unreadable::Form), "{raw}");
        }
        assert_eq!(pence("-500"), Err(Unreadable::Negative));
        assert_eq!(pence("(1,234.00)"), Err(Unreadable::Negative));
        assert_eq!(pence("1e30"), Err(Unreadable::Range));
        assert_eq!(pence("99999999999999999999"), Err(Unreadable::Range));
        assert_eq!(pence("Redacted Commercial Data"), Err(Unreadable::Withheld));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(raw in any::<String>(), near in "[0-9.,eE£k() +-]{0,24}") {
            let _ = (read(&raw, 2), read(&near, 2));
        }

        #[test]
        fn pence_survive_writing(minor in 0_i64..=i64::MAX) {
            let raw = format!("£{}.{:02}", minor / 100, minor % 100);
            prop_assert_eq!(pence(&raw), Ok(Reading::Exact(minor)));
        }
    }
}
