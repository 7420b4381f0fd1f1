//! Whether a performance note may be shared: the supplier's chance to reply.
//!
//! A note that says something against a supplier is shared only after it was
//! sent to the supplier, and with its reply or after the time for one is over.
//! The last day of the reply window is the supplier's. Today comes as an
//! argument. Deliberately absent: whether the note really was sent, which is the
//! author's word and signed by it; and sharing without the chance
//! ([`Performance::shared_without_reply`]), which is for the author to decide.

use super::date::Day;
use super::performance::{Performance, Rating};
use super::span::Span;

/// Why a note may not be shared yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfair {
    /// The supplier has not been sent it.
    #[error("the supplier has not been sent this note")]
    NotSent,
    /// It says that it is sent on a day that has not come.
    #[error("the note is to be sent to the supplier on {0}, which is not today or earlier")]
    SentLater(Day),
    /// There is no reply, and no time is set for one.
    #[error("there is no reply of the supplier, and the note says no time for one")]
    NoWindow,
    /// The supplier may still reply.
    #[error("the supplier may still reply, until the end of {last}")]
    WindowOpen {
        /// The last day on which it may.
        last: Day,
    },
}

impl Performance {
    /// Whether it says something against the supplier, or may: a rating that is
    /// not `good`, a failure, a remedy, an opinion.
    #[must_use]
    pub fn is_adverse(&self) -> bool {
        let rated = |rating: &Rating| *rating != Rating::Good;
        self.kpis.iter().filter_map(|kpi| kpi.rating.as_ref()).any(rated)
            || !self.performance_failures.is_empty()
            || !self.remedies.is_empty()
            || self.opinion.is_some()
    }

    /// The last day on which the supplier may reply; `None` if it was not sent,
    /// or says no valid time for a reply.
    #[must_use]
    pub fn reply_until(&self) -> Option<Day> {
        let window: Span = self.reply_window.as_deref()?.parse().ok()?;
        window.last_day(self.sent_to_supplier.as_ref()?.day()?)
    }

    /// Whether it may be shared on the day `today`.
    ///
    /// # Errors
    /// [`Unfair`]: why not yet.
    pub fn may_be_shared(&self, today: Day) -> Result<(), Unfair> {
        if !self.is_adverse() {
            return Ok(());
        }
        let sent = self.sent_to_supplier.as_ref().and_then(super::Date::day);
        match (sent, &self.supplier_reply, self.reply_until()) {
            (None, ..) => Err(Unfair::NotSent),
            (Some(sent), ..) if sent > today => Err(Unfair::SentLater(sent)),
            (Some(_), Some(_), _) => Ok(()),
            (Some(_), None, None) => Err(Unfair::NoWindow),
            (Some(_), None, Some(last)) if today <= last => Err(Unfair::WindowOpen { last }),
            (Some(_), None, Some(_)) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::performance::{Kpi, PerformanceFailure, Remedy};
    use super::super::{Date, part};
    use super::*;

    fn note(sent: Option<&str>, window: Option<&str>, reply: Option<&str>) -> Performance {
        Performance {
            supplier: Some(part::Organisation::named("Kestrel Grounds Ltd")),
            opinion: Some("Too slow.".into()),
            sent_to_supplier: sent.map(Date::new),
            reply_window: window.map(str::to_owned),
            supplier_reply: reply.map(str::to_owned),
            ..Performance::default()
        }
    }

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    #[test]
    fn the_last_day_of_the_window_is_the_suppliers() {
        for (sent, window, last, first) in [
            ("2026-03-01", "P30D", "2026-03-31", "2026-04-01"),
            ("2026-03-01", "P2W", "2026-03-15", "2026-03-16"),
            ("2028-01-31", "P1M", "2028-02-29", "2028-03-01"),
            ("2026-01-31", "P1M", "2026-02-28", "2026-03-01"),
            ("2026-03-01T23:59:59+01:00", "P1D", "2026-03-02", "2026-03-03"),
        ] {
            let note = note(Some(sent), Some(window), None);
            let open = Err(Unfair::WindowOpen { last: day(last) });
            assert_eq!(note.reply_until(), Some(day(last)));
            assert_eq!(note.may_be_shared(day(last)), open, "{sent} {window}");
            assert_eq!(note.may_be_shared(day(first)), Ok(()), "{sent} {window}");
        }
    }

    #[test]
    fn a_reply_ends_the_waiting_and_nothing_else_does() {
        let today = day("2026-03-02");
        let judged = |sent, window, reply| note(sent, window, reply).may_be_shared(today);
        assert_eq!(judged(Some("2026-03-02"), Some("P30D"), Some("We disagree.")), Ok(()));
        assert_eq!(judged(Some("2026-03-02"), None, Some("We disagree.")), Ok(()));
        assert_eq!(judged(None, Some("P30D"), Some("We disagree.")), Err(Unfair::NotSent));
        assert_eq!(judged(None, None, None), Err(Unfair::NotSent));
        assert_eq!(judged(Some("2020-01-01"), None, None), Err(Unfair::NoWindow));
        assert_eq!(judged(Some("2020-01-01"), Some("a month"), None), Err(Unfair::NoWindow));
        let tomorrow = Err(Unfair::SentLater(day("2026-03-03")));
        assert_eq!(judged(Some("2026-03-03"), Some("P1D"), Some("Agreed.")), tomorrow);
    }

    #[test]
    fn praise_needs_no_reply_and_everything_else_does() {
        let today = day("2026-03-02");
        let rated = |rating: &str| Performance {
            kpis: vec![Kpi { rating: Some(rating.into()), ..Kpi::default() }],
            ..Performance::default()
        };
        assert_eq!(rated("good").may_be_shared(today), Ok(()));
        assert_eq!(Performance::default().may_be_shared(today), Ok(()));
        for rating in ["approachingTarget", "requiresImprovement", "inadequate", "other", "poor"] {
            assert_eq!(rated(rating).may_be_shared(today), Err(Unfair::NotSent), "{rating}");
        }
        let failed = Performance {
            performance_failures: vec![PerformanceFailure::default()],
            ..rated("good")
        };
        assert_eq!(failed.may_be_shared(today), Err(Unfair::NotSent));
        let remedied = Performance { remedies: vec![Remedy::default()], ..rated("good") };
        assert_eq!(remedied.may_be_shared(today), Err(Unfair::NotSent));
    }
}
