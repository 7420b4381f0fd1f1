//! From when until when a card makes acquaintance.
//!
//! A card that lies about in mailboxes for years names nodes and keys that are
//! long replaced, so it says itself until when it may be used. Both times are
//! claims of whoever made it, and are held against the clock of whoever takes
//! it. Clocks differ: [`limits::CARD_CLOCK_SKEW`] is allowed at both ends, which
//! is a machine set to local time, and little of a card's life.
//!
//! **Invariant:** a [`Validity`] ends after it begins, and at most
//! [`limits::CARD_VALIDITY`] later. Deliberately absent: a clock; and the
//! identity on the card, which does not expire.

use super::CardError;
use crate::limits;
use crate::record::Day;
use crate::time::UnixTime;

const DAY: u64 = 86_400;

/// When a card was made, and until when it may be used to make acquaintance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    issued: UnixTime,
    until: UnixTime,
}

impl Validity {
    /// How many days a card is valid where nobody says otherwise.
    pub const USUAL_DAYS: u16 = 90;
    /// The most days for which a card can be valid.
    pub const MOST_DAYS: u16 = 366;

    /// From `issued` on, for so many days: at least one, at most [`Validity::MOST_DAYS`].
    #[must_use]
    pub fn days(issued: UnixTime, days: u16) -> Self {
        let seconds = u64::from(days.clamp(1, Self::MOST_DAYS)) * DAY;
        let until = UnixTime::from_seconds(issued.as_seconds().saturating_add(seconds));
        Self { issued, until }
    }

    /// As a card claims; `None` if it ends before it begins or lasts too long.
    pub(super) fn claimed(issued: u64, until: u64) -> Option<Self> {
        let lasts = until.checked_sub(issued)?;
        let (issued, until) = (UnixTime::from_seconds(issued), UnixTime::from_seconds(until));
        (1..=limits::CARD_VALIDITY).contains(&lasts).then_some(Self { issued, until })
    }

    /// When the card was made.
    #[must_use]
    pub const fn issued(&self) -> UnixTime {
        self.issued
    }

    /// Until when it may be used.
    #[must_use]
    pub const fn until(&self) -> UnixTime {
        self.until
    }

    /// Whether the card may be used at `now`, by the clock of whoever takes it.
    ///
    /// # Errors
    /// [`CardError::Expired`] or [`CardError::Future`].
    pub const fn check(&self, now: UnixTime) -> Result<(), CardError> {
        let now = now.as_seconds();
        if now > self.until.as_seconds().saturating_add(limits::CARD_CLOCK_SKEW) {
            return Err(CardError::Expired { until: self.until });
        }
        if now.saturating_add(limits::CARD_CLOCK_SKEW) < self.issued.as_seconds() {
            return Err(CardError::Future { issued: self.issued });
        }
        Ok(())
    }
}

/// The day of a point in time, in UTC.
pub(super) fn day(at: UnixTime) -> Day {
    Day::from_number(i32::try_from(at.as_seconds() / DAY).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUED: u64 = 1_750_000_000;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_seconds(seconds)
    }

    #[test]
    fn an_expired_card_and_one_from_the_future_are_refused_but_for_a_days_skew() {
        let card = Validity::days(at(ISSUED), Validity::USUAL_DAYS);
        let end = ISSUED + 90 * DAY;
        assert_eq!((card.issued(), card.until()), (at(ISSUED), at(end)));
        for now in [ISSUED - DAY, ISSUED, end, end + DAY] {
            assert_eq!(card.check(at(now)), Ok(()), "{now}");
        }
        let expired = Err(CardError::Expired { until: at(end) });
        assert_eq!(card.check(at(end + DAY + 1)), expired);
        assert_eq!(card.check(at(u64::MAX)), expired);
        let future = Err(CardError::Future { issued: at(ISSUED) });
        assert_eq!(card.check(at(ISSUED - DAY - 1)), future);
        assert_eq!(card.check(at(0)), future);
    }

    #[test]
    fn the_refusals_say_the_day() {
        let card = Validity::days(at(ISSUED), 1);
        let says = |now| card.check(at(now)).unwrap_err().to_string();
        assert_eq!(says(ISSUED + 3 * DAY), "the card expired on 2025-06-16");
        assert_eq!(says(0), "the card was made on 2025-06-15, which lies in the future");
    }

    #[test]
    fn no_card_is_valid_for_ever_or_backwards() {
        let most = limits::CARD_VALIDITY;
        assert_eq!(most, u64::from(Validity::MOST_DAYS) * DAY);
        assert!(Validity::claimed(ISSUED, ISSUED + most).is_some());
        for until in [0, ISSUED - 1, ISSUED, ISSUED + most + 1, u64::MAX] {
            assert_eq!(Validity::claimed(ISSUED, until), None, "{until}");
        }
        assert_eq!(Validity::days(at(ISSUED), 0), Validity::days(at(ISSUED), 1));
        let most = Validity::days(at(ISSUED), Validity::MOST_DAYS);
        assert_eq!(Validity::days(at(ISSUED), u16::MAX), most);
    }
}
