//! Dates as publishers write them, read as days of the calendar.
//!
//! | form | example |
//! |---|---|
//! | ISO 8601 day or date-time, `T` or a space, any offset or none | `2026-03-31T23:59:59+01:00` |
//! | day first, with `/`, `-` or `.`, two or four digits of year | `31/03/2017 00:00` |
//! | month by name, in either order, ordinals and weekdays | `Friday 31st March 2017`, `31-Mar-17` |
//! | eight digits | `20170331` |
//!
//! **Invariant:** the day is the one that is written. `23:59:59+01:00` is not
//! turned into UTC, so no contract ends a day early. A month-first date is
//! never guessed: `03/31/2017` is unreadable, since `03/04/2017` would silently
//! be another day. Years outside 1950 to 2100 are typing errors (`0207`).
//!
//! Deliberately absent: spreadsheet serial numbers and dates without a day.

use tallystick_protocol::record::date::{Date, DateError, Day, YEAR_MAX, YEAR_MIN};

use super::text::is_placeholder;

/// Why a text gives no day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// None of the forms above.
    #[error("is no date that can be read with certainty")]
    Form,
    /// A form above, and no day of the calendar.
    #[error("is no day of the calendar")]
    NoSuchDay,
    /// A year that can only be a typing error.
    #[error("has a year outside {YEAR_MIN} to {YEAR_MAX}")]
    Year,
}

/// The day that `raw` names; `None` for an empty cell or `N/A`, `TBC` and the like.
///
/// # Errors
/// [`Unreadable`], to be shown beside the text itself.
pub fn day(raw: &str) -> Result<Option<Day>, Unreadable> {
    let text = raw.trim();
    if is_placeholder(text) {
        return Ok(None);
    }
    let (year, month, day) = civil(date_part(text)).ok_or(Unreadable::Form)?;
    let found = Day::new(year, month, day).ok_or(Unreadable::NoSuchDay)?;
    if (YEAR_MIN..=YEAR_MAX).contains(&year) { Ok(Some(found)) } else { Err(Unreadable::Year) }
}

/// A moment with its time where the text is a full RFC 3339 date-time, else its day.
///
/// For publication dates, whose order counts to the second. `None` if unreadable.
#[must_use]
pub fn moment(raw: &str) -> Option<Date> {
    let text = raw.trim();
    let full = Date::new(text.replacen(' ', "T", 1));
    match full.check() {
        Ok(()) => Some(full),
        Err(DateError::Year) => None,
        Err(_) => day(text).ok().flatten().map(Date::from),
    }
}

/// The text before a time of day.
fn date_part(text: &str) -> &str {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    for (at, byte) in bytes.iter().enumerate() {
        let before = at.checked_sub(1).is_some_and(digit);
        let after_t = *byte == b'T' && before && digit(at + 1);
        let clock = |at: usize| {
            digit(at) && (bytes.get(at + 1) == Some(&b':') || bytes.get(at + 2) == Some(&b':'))
        };
        let after_space = (*byte == b' ' || *byte == b',') && clock(at + 1);
        if after_t || after_space {
            return text.get(..at).unwrap_or(text).trim_end_matches([',', ' ']);
        }
    }
    text
}

/// Year, month and day in whichever order the form has.
fn civil(text: &str) -> Option<(i32, i32, i32)> {
    let tokens: Vec<&str> = text
        .split([' ', '/', '-', '.', ',', '\u{a0}'])
        .filter(|t| !t.is_empty() && !is_filler(t))
        .collect();
    match tokens.as_slice() {
        [compact] if compact.len() == 8 => {
            let (year, rest) = compact.split_at_checked(4)?;
            let (month, day) = rest.split_at_checked(2)?;
            Some((number(year)?, number(month)?, number(day)?))
        }
        [a, b, c] => match (month_by_name(a), month_by_name(b)) {
            (None, None) if a.len() == 4 => Some((number(a)?, number(b)?, number(c)?)),
            (None, None) => Some((year(c)?, number(b)?, number(a)?)),
            (Some(month), None) => Some((year(c)?, month, ordinal(b)?)),
            (None, Some(month)) if a.len() == 4 && number(a).is_some() => {
                Some((number(a)?, month, ordinal(c)?))
            }
            (None, Some(month)) => Some((year(c)?, month, ordinal(a)?)),
            (Some(_), Some(_)) => None,
        },
        _ => None,
    }
}

/// Weekdays and `of`, `the`.
fn is_filler(token: &str) -> bool {
    const DAYS: [&str; 7] =
        ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let token = token.to_ascii_lowercase();
    token == "of"
        || token == "the"
        || (token.len() >= 3 && DAYS.iter().any(|d| d.starts_with(&token)))
}

fn month_by_name(token: &str) -> Option<i32> {
    const MONTHS: [(&str, i32); 12] = [
        ("january", 1),
        ("february", 2),
        ("march", 3),
        ("april", 4),
        ("may", 5),
        ("june", 6),
        ("july", 7),
        ("august", 8),
        ("september", 9),
        ("october", 10),
        ("november", 11),
        ("december", 12),
    ];
    let token = token.to_ascii_lowercase();
    let known = |name: &str| name.starts_with(&token) || (token == "sept" && name == "september");
    (token.len() >= 3)
        .then(|| MONTHS.iter().find(|(name, _)| known(name)).map(|(_, number)| *number))
        .flatten()
}

fn ordinal(token: &str) -> Option<i32> {
    let token = token.to_ascii_lowercase();
    number(token.trim_end_matches(|c: char| "stndrh".contains(c)))
}

/// Four digits, or two that mean 1950 to 2049.
fn year(token: &str) -> Option<i32> {
    match token.len() {
        4 => number(token),
        2 => number(token).map(|n| if n < 50 { 2000 + n } else { 1900 + n }),
        _ => None,
    }
}

fn number(token: &str) -> Option<i32> {
    let plain = (1..=4).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| token.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(raw: &str) -> String {
        match day(raw) {
            Ok(Some(day)) => day.to_string(),
            Ok(None) => "none".to_owned(),
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn every_form_gives_its_day() {
        for raw in [
            "2017-03-31",
            "2017-03-31T00:00:00Z",
            "2017-03-31T23:59:59+01:00",
            "2017-03-31T00:30:00.000+01:00",
            "2017-03-31T12:00",
            "2017-03-31 23:59:59",
            "2017/03/31",
            "31/03/2017",
            "31/03/2017 00:00",
            "31/3/2017 9:30",
            "31/03/17",
            "31-03-2017",
            "31.03.2017",
            "31 March 2017",
            "31st March 2017",
            "31 Mar 2017",
            "31-Mar-17",
            "March 31, 2017",
            "Friday 31 March 2017",
            "Fri, 31st of March 2017",
            "20170331",
            " 31/03/2017, 10:00 ",
        ] {
            assert_eq!(read(raw), "2017-03-31", "{raw}");
        }
        assert_eq!(read("1 Sept 2026"), "2026-09-01");
        assert_eq!(read("29/02/2024"), "2024-02-29");
        assert_eq!(read("01/02/99"), "1999-02-01");
    }

    #[test]
    fn what_is_not_certain_is_refused() {
        for raw in [
            "42825",
            "Mar-17",
            "March 2017",
            "03/31/2017x",
            "Ongoing",
            "31/03",
            "2017",
            "rolling",
            "31/03/2017 to 31/03/2018",
            "1/2/3/4",
            "31 Smarch 2017",
            "é",
            "T12",
            "12345678901",
        ] {
            assert_eq!(read(raw), "Form", "{raw}");
        }
        for raw in ["03/31/2017", "2017-02-29", "31 April 2017", "2017-00-10", "20171301"] {
            assert_eq!(read(raw), "NoSuchDay", "{raw}");
        }
        for raw in ["0207-03-31", "2105-03-31T00:00:00Z", "31/03/0207", "9999-12-31", "1900-01-01"]
        {
            assert_eq!(read(raw), "Year", "{raw}");
        }
        for raw in ["", " ", "n/a", "TBC", "-"] {
            assert_eq!(read(raw), "none", "{raw:?}");
        }
    }

    #[test]
    fn moments_keep_their_time() {
        let text = |raw| moment(raw).map(|d| d.as_str().to_owned()).unwrap_or_default();
        assert_eq!(text("2020-06-04T12:18:00Z"), "2020-06-04T12:18:00Z");
        assert_eq!(text("2020-06-04 12:18:00+01:00"), "2020-06-04T12:18:00+01:00");
        assert_eq!(text("2020-06-04T12:18:00"), "2020-06-04");
        assert_eq!(text("04/06/2020"), "2020-06-04");
        assert_eq!(text("0207-06-04"), "");
        assert_eq!(text("soon"), "");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(raw in any::<String>()) {
            let _ = (day(&raw), moment(&raw));
        }

        #[test]
        fn days_survive_every_way_of_writing_them(y in 1950_i32..=2100, m in 1_i32..=12, d in 1_i32..=28) {
            let expected = Day::new(y, m, d);
            for raw in [
                format!("{y:04}-{m:02}-{d:02}"),
                format!("{d:02}/{m:02}/{y:04}"),
                format!("{y:04}-{m:02}-{d:02}T23:59:59+01:00"),
                format!("{y:04}{m:02}{d:02}"),
            ] {
                prop_assert_eq!(day(&raw).ok().flatten(), expected);
            }
        }
    }
}
