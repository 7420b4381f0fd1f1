//! Lengths of time in documents: ISO 8601 durations of whole days, `P30D`, `P1M`, `P2W`.
//!
//! A length means something only from a day on, because months differ: a month
//! from 31 January ends on the last day of February. Deliberately absent: hours
//! and less, fractions, weeks beside other units (ISO 8601-1 has them alone),
//! and any notion of now.

use core::fmt;
use core::str::FromStr;

use super::date::{Day, YEAR_MAX, days_in_month};

/// Most digits of one number in a length of time.
const DIGITS: usize = 4;

/// A length of time of at least one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    months: i32,
    days: i32,
}

/// Why a text is no length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpanError {
    /// Not an ISO 8601 duration of years, months and days, or of weeks.
    #[error("not a length of time like P30D, P2W or P1M")]
    Form,
    /// Nothing at all, as `P0D`.
    #[error("a length of time of no days")]
    Empty,
}

impl Span {
    /// The last day of it, if it begins after `start`: `P1D` from a Monday ends
    /// with Tuesday. A month ends on the same day of the month, or on its last
    /// one. `None` beyond [`YEAR_MAX`].
    #[must_use]
    pub fn last_day(self, start: Day) -> Option<Day> {
        let (year, month, day) = start.civil();
        let months = year.checked_mul(12)?.checked_add(month - 1)?.checked_add(self.months)?;
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
        let same = Day::new(year, month, day.min(days_in_month(year, month)))?;
        same.plus(i64::from(self.days)).filter(|day| day.civil().0 <= YEAR_MAX)
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let mut rest = text.strip_prefix('P').ok_or(SpanError::Form)?;
        let (mut months, mut days, mut last) = (0, 0, 0);
        while !rest.is_empty() {
            let len = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (digits, behind) = rest.split_at_checked(len).ok_or(SpanError::Form)?;
            let fits = (1..=DIGITS).contains(&len);
            let number: i32 = digits.parse().ok().filter(|_| fits).ok_or(SpanError::Form)?;
            let unit = behind.chars().next().ok_or(SpanError::Form)?;
            // Each unit once, the larger ones first; weeks stand alone.
            let place = match unit {
                'Y' => 1,
                'M' => 2,
                'D' => 3,
                'W' if last == 0 => 4,
                _ => return Err(SpanError::Form),
            };
            if place <= last {
                return Err(SpanError::Form);
            }
            match unit {
                'Y' => months += number * 12,
                'M' => months += number,
                'W' => days += number * 7,
                _ => days += number,
            }
            last = place;
            rest = behind.get(1..).unwrap_or_default();
        }
        match (last, months, days) {
            (0, ..) => Err(SpanError::Form),
            (_, 0, 0) => Err(SpanError::Empty),
            _ => Ok(Self { months, days }),
        }
    }
}

/// In days and months, as it counts: `P1Y` is written `P12M`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("P")?;
        if self.months > 0 {
            write!(f, "{}M", self.months)?;
        }
        if self.days > 0 {
            write!(f, "{}D", self.days)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(start: &str, span: &str) -> String {
        let span: Span = span.parse().unwrap();
        span.last_day(start.parse().unwrap()).unwrap().to_string()
    }

    #[test]
    fn lengths_end_where_people_expect() {
        for (start, span, last) in [
            ("2026-03-01", "P30D", "2026-03-31"),
            ("2026-03-01", "P2W", "2026-03-15"),
            ("2026-01-31", "P1M", "2026-02-28"),
            ("2028-01-31", "P1M", "2028-02-29"),
            ("2028-02-29", "P1Y", "2029-02-28"),
            ("2028-02-28", "P1D", "2028-02-29"),
            ("2026-02-28", "P1D", "2026-03-01"),
            ("2026-12-31", "P1D", "2027-01-01"),
            ("2026-10-31", "P1M", "2026-11-30"),
            ("2026-11-30", "P3M", "2027-02-28"),
            ("2026-01-31", "P1Y1M1D", "2027-03-01"),
            ("2099-12-01", "P30D", "2099-12-31"),
        ] {
            assert_eq!(ends(start, span), last, "{start} {span}");
        }
        assert_eq!("P1Y2M3D".parse::<Span>().unwrap().to_string(), "P14M3D");
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "", "P", "30D", "30 days", "P30", "PD", "P-3D", "P1.5M", "P1W2D", "P1D1W", "P1D1M",
            "P1D1D", "PT24H", "P1DT1H", "P00030D", "P99999D", "p30d", "P3é", "P1Y ", " P1Y",
        ] {
            assert_eq!(bad.parse::<Span>(), Err(SpanError::Form), "{bad:?}");
        }
        for none in ["P0D", "P0W", "P0Y0M0D"] {
            assert_eq!(none.parse::<Span>(), Err(SpanError::Empty));
        }
        let long: Span = "P9999Y".parse().unwrap();
        assert_eq!(long.last_day("2026-01-01".parse().unwrap()), None);
        let beyond: Span = "P31D".parse().unwrap();
        assert_eq!(beyond.last_day("2100-12-31".parse().unwrap()), None);
    }
}
