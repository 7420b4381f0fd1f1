//! Dates in documents: ISO 8601 text, kept as given, compared without a clock.
//!
//! Two forms are valid: a day, `2026-03-31`, and an RFC 3339 date-time,
//! `2026-03-31T23:59:59+01:00`. A [`Date`] may hold any text, because received
//! documents are shown as they are; [`Date::day`] and [`Date::instant`] say
//! what it means, if anything. Deliberately absent: time zones by name, and
//! any notion of now.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// First year that a date in a document may have.
pub const YEAR_MIN: i32 = 1950;
/// Last year that a date in a document may have.
pub const YEAR_MAX: i32 = 2100;

/// A day of the proleptic Gregorian calendar, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Day(i32);

impl Day {
    /// A day by its number, days since 1970-01-01.
    #[must_use]
    pub const fn from_number(days: i32) -> Self {
        Self(days)
    }

    /// Days since 1970-01-01.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.0
    }

    /// A day of the calendar; `None` if there is none such or its year has not four digits.
    #[must_use]
    pub fn new(year: i32, month: i32, day: i32) -> Option<Self> {
        let fits = (0..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=days_in_month(year, month)).contains(&day);
        // Days from civil, with years that begin in March (H. Hinnant, `chrono` algorithms).
        let shifted = if month <= 2 { year - 1 } else { year };
        let era = shifted.div_euclid(400);
        let year_of_era = shifted.rem_euclid(400);
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        fits.then_some(Self(era * 146_097 + day_of_era - 719_468))
    }

    /// Year, month and day.
    #[must_use]
    pub fn civil(self) -> (i32, i32, i32) {
        let shifted = i64::from(self.0) + 719_468;
        let era = shifted.div_euclid(146_097);
        let doe = shifted.rem_euclid(146_097);
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = doy - (153 * mp + 2) / 5 + 1;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + i64::from(month <= 2);
        let narrow = |n: i64| i32::try_from(n).unwrap_or(i32::MAX);
        (narrow(year), narrow(month), narrow(day))
    }

    /// The day `days` later, or earlier if negative; `None` beyond the range.
    #[must_use]
    pub fn plus(self, days: i64) -> Option<Self> {
        i32::try_from(i64::from(self.0).checked_add(days)?).ok().map(Self)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl FromStr for Day {
    type Err = DateError;

    fn from_str(text: &str) -> Result<Self, DateError> {
        match parse(text) {
            Some((day, None)) => Ok(day),
            _ => Err(DateError::Form),
        }
    }
}

/// Why a text is no date for a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DateError {
    /// Neither `YYYY-MM-DD` nor an RFC 3339 date-time, or no day of the calendar.
    #[error("not a date like 2026-03-31 or 2026-03-31T23:59:59+01:00")]
    Form,
    /// A year outside [`YEAR_MIN`] to [`YEAR_MAX`].
    #[error("a year outside {YEAR_MIN} to {YEAR_MAX}")]
    Year,
}

/// A date or date-time as a document gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Date(String);

impl Date {
    /// A date from its text, which is kept as given and not checked.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it has one of the two forms and a plausible year.
    ///
    /// # Errors
    /// [`DateError`].
    pub fn check(&self) -> Result<(), DateError> {
        let (day, _) = parse(&self.0).ok_or(DateError::Form)?;
        let (year, ..) = day.civil();
        if (YEAR_MIN..=YEAR_MAX).contains(&year) { Ok(()) } else { Err(DateError::Year) }
    }

    /// The day as written: `23:59:59+01:00` stays on its local day. `None` if it is no valid date.
    #[must_use]
    pub fn day(&self) -> Option<Day> {
        self.check().ok()?;
        parse(&self.0).map(|(day, _)| day)
    }

    /// Microseconds since 1970-01-01T00:00:00Z; a bare day counts as its
    /// midnight in UTC. `None` if it is no valid date.
    #[must_use]
    pub fn instant(&self) -> Option<i64> {
        self.check().ok()?;
        let (day, time) = parse(&self.0)?;
        Some(i64::from(day.number()) * MICROS_PER_DAY + time.unwrap_or(0))
    }
}

impl From<Day> for Date {
    fn from(day: Day) -> Self {
        Self(day.to_string())
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const MICROS_PER_DAY: i64 = 86_400_000_000;
const MICROS_PER_SECOND: i64 = 1_000_000;

pub(super) const fn days_in_month(year: i32, month: i32) -> i32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The day as written and, for a date-time, microseconds from that day's midnight in UTC.
fn parse(text: &str) -> Option<(Day, Option<i64>)> {
    let (date, rest) = text.split_at_checked(10)?;
    let mut parts = date.split('-');
    let year = digits(parts.next()?, 4)?;
    let month = digits(parts.next()?, 2)?;
    let day = Day::new(year, month, digits(parts.next()?, 2)?)?;
    if parts.next().is_some() {
        return None;
    }
    if rest.is_empty() {
        return Some((day, None));
    }
    let time = rest.strip_prefix('T')?;
    time_of_day(time).map(|micros| (day, Some(micros)))
}

/// Microseconds of `HH:MM:SS[.fraction](Z|±HH:MM)`, less the offset.
fn time_of_day(text: &str) -> Option<i64> {
    let (clock, rest) = text.split_at_checked(8)?;
    let mut parts = clock.split(':');
    let hour = digits(parts.next()?, 2).filter(|h| *h < 24)?;
    let minute = digits(parts.next()?, 2).filter(|m| *m < 60)?;
    // RFC 3339 allows a leap second; it counts as the second after.
    let second = digits(parts.next()?, 2).filter(|s| *s <= 60)?;
    if parts.next().is_some() {
        return None;
    }
    let (fraction, zone) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(rest) => {
            let len = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (digits, zone) = rest.split_at_checked(len)?;
            let kept = digits.get(..6).unwrap_or(digits);
            let scale = 10_i64.checked_pow(u32::try_from(6 - kept.len()).ok()?)?;
            (kept.parse::<i64>().ok()?.checked_mul(scale)?, zone)
        }
    };
    let seconds = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    Some((seconds - offset(zone)?) * MICROS_PER_SECOND + fraction)
}

/// Seconds east of UTC.
fn offset(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let hours = digits(hours, 2).filter(|h| *h < 24)?;
    let minutes = digits(minutes, 2).filter(|m| *m < 60)?;
    Some(sign * (i64::from(hours) * 3600 + i64::from(minutes) * 60))
}

fn digits(text: &str, len: usize) -> Option<i32> {
    let plain = text.len() == len && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let day = Date::new("2026-03-31");
        let time = Date::new("2026-03-31T23:59:59+01:00");
        assert_eq!(day.day(), time.day(), "the local day counts");
        assert_eq!(day.day().map(|d| d.to_string()).as_deref(), Some("2026-03-31"));
        assert_eq!(time.instant(), Date::new("2026-03-31T22:59:59Z").instant());
        assert_eq!(Date::new("1970-01-01T00:00:00.25Z").instant(), Some(250_000));
        assert!(Date::new("2025-01-23T22:10:19.1234567Z").instant().is_some());
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for bad in [
            "",
            "31/03/2017",
            "2026-02-29",
            "2026-13-01",
            "2026-1-1",
            "2026-03-31 10:00:00",
            "2026-03-31T10:00:00",
            "2026-03-31T24:00:00Z",
            "2026-03-31T10:00:00.Z",
            "2026-03-3é",
            "2026-03-31T10:00:00+1:00",
        ] {
            assert_eq!(Date::new(bad).check(), Err(DateError::Form), "{bad}");
        }
        assert_eq!(Date::new("0207-01-01").check(), Err(DateError::Year));
        assert_eq!(Date::new("2105-01-01").check(), Err(DateError::Year));
        assert_eq!(Date::new("2105-01-01").day(), None);
    }

    #[test]
    fn every_day_of_the_allowed_years_round_trips() {
        let first = Day::new(YEAR_MIN, 1, 1).unwrap();
        let last = Day::new(YEAR_MAX, 12, 31).unwrap();
        assert_eq!(Day::new(1970, 1, 1).map(Day::number), Some(0));
        assert_eq!(last.number() - first.number() + 1, 151 * 365 + 37);
        for number in first.number()..=last.number() {
            let day = Day::from_number(number);
            assert_eq!(day.to_string().parse(), Ok(day));
        }
    }
}
