//! Until when: what people write as the end of a time.
//!
//! A day is meant to its end, in UTC, and a time as it stands. **Invariant:** what has
//! passed is refused. Deliberately absent: what ends then.

use tallystick_protocol::record::{Date, Day};
use tallystick_protocol::time::UnixTime;

use crate::driver::unix_time;
use crate::failure::Failure;

/// The first second after `text`: a day, as 2030-03-31, or a time, as RFC 3339 has it.
///
/// # Errors
/// A [`Failure`] if it is neither, or has passed by the clock of this machine.
pub fn last_moment(text: &str) -> Result<UnixTime, Failure> {
    let wrong = |why: &str| {
        Failure::usage(format!("{text:?} {why}"), "write it as 2030-03-31 or 2030-03-31T17:00:00Z")
    };
    let seconds = match text.parse::<Day>() {
        Ok(day) => (i64::from(day.number()) + 1) * 24 * 60 * 60,
        Err(_) => {
            let instant = Date::new(text).instant().ok_or_else(|| wrong("is no date"))?;
            instant.div_euclid(1_000_000)
        }
    };
    let until = u64::try_from(seconds).map(UnixTime::from_seconds);
    until.ok().filter(|until| *until > unix_time()).ok_or_else(|| wrong("has passed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_with_its_last_second_and_a_time_is_what_it_says() {
        let end = |text| last_moment(text).map(UnixTime::as_seconds);
        assert_eq!(end("2098-12-31").unwrap(), end("2099-01-01T00:00:00Z").unwrap());
        assert_eq!(end("2098-12-31T12:00:00+02:00").unwrap(), end("2098-12-31T10:00:00Z").unwrap());
        assert!(end("2999-12-31").is_ok(), "for as long as anybody may want");
        for wrong in ["2020-01-31", "2020-01-31T12:00:00Z", "tomorrow", ""] {
            assert_eq!(end(wrong).unwrap_err().kind.exit_code(), 2, "{wrong}");
        }
    }
}
