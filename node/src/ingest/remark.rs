//! Reading cells into fields of a record, and remarking on what was changed or left out.
//!
//! Every reader of foreign data goes through [`Remarks`], so that the same
//! text gives the same field whichever format it came in, and nothing is left
//! out silently. Deliberately absent: refusing a row, which is the reader's
//! decision; a remark never is one.

use tallystick_protocol::record::Date;
use tallystick_protocol::record::money::{Currency, Money, Value, ValueKind, VatBasis};
use tallystick_protocol::record::part::Period;

use super::amount::{self, Amount, Reading};
use super::{date, text};

/// Most remarks kept about one row.
const REMARKS: usize = 24;
/// Longest quotation in a remark, in bytes.
const QUOTED_BYTES: usize = 60;
/// Most CPV codes kept of one record.
const CODES: usize = 64;

/// What a person should know about a row that was read.
#[derive(Clone, Debug, Default)]
pub struct Remarks(Vec<String>);

impl Remarks {
    /// A row without remarks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The remarks, in the order in which they were made.
    #[must_use]
    pub fn into_list(self) -> Vec<String> {
        self.0
    }

    /// Adds a remark: one sentence, lower case, no full stop.
    pub fn note(&mut self, remark: impl Into<String>) {
        if self.0.len() < REMARKS {
            self.0.push(remark.into());
        }
    }

    /// A title or name; `what` names it in remarks.
    pub fn line(&mut self, what: &str, raw: &str) -> Option<String> {
        let text = text::line(raw)?;
        Some(self.cut(what, text, text::LINE_BYTES))
    }

    /// A description.
    pub fn block(&mut self, what: &str, raw: &str) -> Option<String> {
        let text = text::block(raw)?;
        Some(self.cut(what, text, text::BLOCK_BYTES))
    }

    fn cut(&mut self, what: &str, text: String, bytes: usize) -> String {
        let (text, shortened) = text::cut(text, bytes);
        if shortened {
            self.note(format!("the {what} is longer than {bytes} bytes and was cut"));
        }
        text
    }

    /// A date, left out with a remark if it cannot be read with certainty.
    pub fn day(&mut self, what: &str, raw: &str) -> Option<Date> {
        match date::day(raw) {
            Ok(day) => day.map(Date::from),
            Err(error) => {
                self.note(format!("the {what} {} {error} and was left out", quoted(raw)));
                None
            }
        }
    }

    /// A period of two dates; remarked on if it ends before it starts.
    pub fn period(&mut self, start_date: Option<Date>, end_date: Option<Date>) -> Option<Period> {
        let days = (start_date.as_ref().and_then(Date::day), end_date.as_ref().and_then(Date::day));
        if let (Some(start), Some(end)) = days
            && end < start
        {
            self.note(format!("it ends on {end}, before it starts on {start}; kept as given"));
        }
        let known = start_date.is_some() || end_date.is_some();
        known.then(|| Period { start_date, end_date, ..Period::default() })
    }

    /// An amount, with its tax and roughness; nought included. Left out with a
    /// remark if it cannot be read with certainty.
    pub fn amount(&mut self, what: &str, raw: &str, currency: &Currency) -> Option<Amount> {
        let read = amount::read(raw, currency.exponent());
        let found = match read {
            Ok(found) => found?,
            Err(error) => {
                self.note(format!("the {what} {} {error} and was left out", quoted(raw)));
                return None;
            }
        };
        if let Some(stated) = found.currency.filter(|stated| *stated != currency.as_str()) {
            // Minor units were counted for the wrong currency, so this is read once more.
            let stated = Currency::new(stated);
            let again = amount::read(raw, stated.exponent()).ok().flatten();
            return again.or(Some(found));
        }
        if found.rounded {
            self.note(format!("the {what} {} was rounded to the minor unit", quoted(raw)));
        }
        Some(found)
    }

    /// The value of a contract or plan; nought and one are *not known*, and of a
    /// band the upper end is kept as a ceiling.
    pub fn value(
        &mut self,
        what: &str,
        raw: &str,
        currency: &Currency,
        kind: ValueKind,
    ) -> Option<Value> {
        let found = self.amount(what, raw, currency)?;
        let currency = found.currency.map_or_else(|| currency.clone(), Currency::new);
        let (minor, kind) = match found.known(currency.exponent())? {
            Reading::Exact(minor) if found.estimate => (minor, ValueKind::Estimate),
            Reading::Exact(minor) => (minor, kind),
            Reading::Band(_, Some(high)) => {
                self.note(format!("the {what} {} is a band; its upper end is kept", quoted(raw)));
                (high, ValueKind::Ceiling)
            }
            Reading::Band(_, None) => {
                self.note(format!("the {what} {} has no upper end and was left out", quoted(raw)));
                return None;
            }
        };
        Some(Value {
            amount: Some(minor),
            amount_gross: None,
            currency: Some(currency),
            vat: found.vat_included.map(vat_basis),
            kind: Some(kind),
        })
    }

    /// An amount that is exact and may be nought.
    pub fn money(&mut self, what: &str, raw: &str, currency: &Currency) -> Option<Money> {
        let found = self.amount(what, raw, currency)?;
        let currency = found.currency.map_or_else(|| currency.clone(), Currency::new);
        if let Reading::Exact(minor) = found.reading {
            return Some(Money { amount: Some(minor), currency: Some(currency) });
        }
        self.note(format!("the {what} {} is a band and was left out", quoted(raw)));
        None
    }

    /// A currency code, or `default` where the cell is empty or no code.
    pub fn currency(&mut self, raw: &str, default: &Currency) -> Currency {
        let code = raw.trim().to_ascii_uppercase();
        let stated = Currency::new(match code.as_str() {
            "£" => "GBP",
            "€" => "EUR",
            other => other,
        });
        if text::is_placeholder(raw) {
            default.clone()
        } else if stated.is_well_formed() {
            stated
        } else {
            self.note(format!(
                "the currency {} is no ISO 4217 code; taken as {default}",
                quoted(raw)
            ));
            default.clone()
        }
    }

    /// CPV codes in the order given, without repetition; seven digits get their
    /// leading nought back, which spreadsheets drop.
    pub fn cpv(&mut self, raw: &str) -> Vec<String> {
        let mut codes = Vec::new();
        let tokens = raw.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        for token in tokens.filter(|t| t.bytes().any(|b| b.is_ascii_digit())) {
            let (digits, check) = token.split_once('-').map_or((token, ""), |(d, c)| (d, c));
            let sound = matches!(digits.len(), 7 | 8)
                && digits.bytes().all(|b| b.is_ascii_digit())
                && (check.is_empty()
                    || (check.len() == 1 && check.bytes().all(|b| b.is_ascii_digit())));
            if !sound {
                self.note(format!("{} is no CPV code and was left out", quoted(token)));
                continue;
            }
            let code = format!("{digits:0>8}{}{check}", if check.is_empty() { "" } else { "-" });
            if !codes.contains(&code) && codes.len() < CODES {
                codes.push(code);
            }
        }
        codes
    }
}

/// The basis that *included or not* stands for.
#[must_use]
pub fn vat_basis(included: bool) -> VatBasis {
    if included { VatBasis::Included } else { VatBasis::Excluded }
}

/// A short quotation of foreign text for a remark or refusal.
#[must_use]
pub fn quoted(raw: &str) -> String {
    let (short, _) = text::cut(text::line(raw).unwrap_or_default(), QUOTED_BYTES);
    format!("“{short}”")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gbp() -> Currency {
        Currency::gbp()
    }

    #[test]
    fn what_is_left_out_is_remarked_on() {
        let mut remarks = Remarks::new();
        assert_eq!(remarks.day("end date", "0207-03-31"), None);
        assert_eq!(
            remarks.value("value", "Redacted Commercial Data", &gbp(), ValueKind::Actual),
            None
        );
        assert_eq!(remarks.value("value", "0", &gbp(), ValueKind::Actual), None);
        assert_eq!(
            remarks.into_list(),
            [
                "the end date “0207-03-31” has a year outside 1950 to 2100 and was left out",
                "the value “Redacted Commercial Data” was withheld by the publisher and was left out",
            ]
        );
    }

    #[test]
    fn a_band_is_kept_as_its_ceiling() {
        let mut remarks = Remarks::new();
        let value = remarks.value("value", "£25,000 - £50,000", &gbp(), ValueKind::Actual).unwrap();
        assert_eq!((value.amount, value.kind), (Some(5_000_000), Some(ValueKind::Ceiling)));
        assert_eq!(remarks.into_list().len(), 1);
    }

    #[test]
    fn the_cells_own_currency_wins() {
        let mut remarks = Remarks::new();
        let value = remarks.value("value", "€12.50", &gbp(), ValueKind::Actual).unwrap();
        assert_eq!(value.currency, Some(Currency::new("EUR")));
        assert_eq!(remarks.currency("gbp ", &Currency::new("EUR")), gbp());
        assert_eq!(remarks.currency("pounds", &gbp()), gbp());
    }

    #[test]
    fn a_period_the_wrong_way_round_is_kept() {
        let mut remarks = Remarks::new();
        let (start, end) = (remarks.day("start", "2026-04-01"), remarks.day("end", "2026-03-31"));
        let period = remarks.period(start, end).unwrap();
        assert_eq!(period.end_date, Some(Date::new("2026-03-31")));
        assert_eq!(remarks.into_list().len(), 1);
    }

    #[test]
    fn cpv_codes_are_found_in_lists() {
        let mut remarks = Remarks::new();
        assert_eq!(
            remarks.cpv("77211300 77211400-5;3000000,77211300"),
            ["77211300", "77211400-5", "03000000"]
        );
        assert_eq!(remarks.cpv("CPV: 123"), Vec::<String>::new());
        assert_eq!(remarks.into_list(), ["“123” is no CPV code and was left out"]);
    }
}
