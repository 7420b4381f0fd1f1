//! A node's own clock: where it started, how fast it goes, and its jumps.
//!
//! The machine sees nothing else. **Invariant:** a clock only goes forward, as
//! the monotonic clock of a driver does; a jump is time during which the node
//! did not run (a suspended virtual machine).

use tallystick_protocol::time::Timestamp;

const MILLION: i128 = 1_000_000;

/// One clock.
#[derive(Clone, Debug)]
pub struct Clock {
    /// Virtual time at which `reads` was right.
    since: u64,
    reads: u64,
    /// How much faster than virtual time it goes, in parts per million.
    drift: i64,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(0, 0, 0)
    }
}

impl Clock {
    /// A clock that reads `reads` microseconds at virtual time `now`, and goes
    /// faster by `drift` parts per million.
    #[must_use]
    pub const fn new(now: u64, reads: u64, drift: i64) -> Self {
        Self { since: now, reads, drift }
    }

    /// What it reads at virtual time `now`.
    #[must_use]
    pub fn read(&self, now: u64) -> Timestamp {
        let passed = i128::from(now.saturating_sub(self.since));
        let passed = passed * (MILLION + i128::from(self.drift)) / MILLION;
        Timestamp::from_micros(self.reads + u64::try_from(passed).unwrap_or(0))
    }

    /// Jumps forward.
    pub fn jump(&mut self, now: u64, by: u64) {
        *self = Self::new(now, self.read(now).as_micros() + by, self.drift);
    }

    /// The first virtual time, not before `now`, at which it reads at least `due`.
    #[must_use]
    pub fn when(&self, now: u64, due: Timestamp) -> u64 {
        let wanted = i128::from(due.as_micros().saturating_sub(self.reads)) * MILLION;
        let rate = MILLION + i128::from(self.drift);
        let passed = (wanted + rate - 1) / rate;
        (self.since + u64::try_from(passed).unwrap_or(0)).max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_reached_exactly_when_the_clock_says_so() {
        for drift in [-50_000, -7, 0, 3, 200, 50_000] {
            let clock = Clock::new(1_000, 77, drift);
            for due in [0, 77, 78, 1_000, 999_999, 123_456_789] {
                let due = Timestamp::from_micros(due);
                let at = clock.when(1_000, due);
                assert!(clock.read(at) >= due, "drift {drift}");
                assert!(at == 1_000 || clock.read(at - 1) < due, "drift {drift}: too late");
            }
        }
    }

    #[test]
    fn a_jump_moves_the_clock_forward_and_keeps_its_rate() {
        let mut clock = Clock::new(0, 0, 1_000);
        clock.jump(1_000_000, 5_000_000);
        assert_eq!(clock.read(1_000_000).as_micros(), 6_001_000);
        assert_eq!(clock.read(2_000_000).as_micros(), 7_002_000);
    }
}
