//! Notices when the wall clock and the monotonic clock come apart.
//!
//! They do when a machine was suspended, put back to an earlier state, or had
//! its time set. Only the difference counts: a loop that was late sees both
//! clocks move alike. Deliberately absent: which of the three it was.

use std::time::{Duration, Instant, SystemTime};

use tallystick_protocol::time::UnixTime;

/// How often to look.
pub(super) const PERIOD: Duration = Duration::from_secs(1);
/// More than this is no correction by a time service, which goes in small steps.
const JUMP: Duration = Duration::from_secs(5);

/// Seconds since the Unix epoch; 0 if the clock stands before it.
pub(crate) fn unix_time() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    UnixTime::from_seconds(since.unwrap_or_default().as_secs())
}

/// Both clocks as they were seen last.
#[derive(Debug)]
pub(super) struct Clock {
    steady: Instant,
    wall: SystemTime,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { steady: Instant::now(), wall: SystemTime::now() }
    }

    /// By how much the clocks came apart since the last look, if it is a jump.
    pub(super) fn jump(&mut self) -> Option<Duration> {
        let now = Self::new();
        let passed = now.steady.duration_since(self.steady);
        let apart = deviation(self.wall + passed, now.wall);
        *self = now;
        Some(apart).filter(|apart| *apart > JUMP)
    }
}

fn deviation(expected: SystemTime, wall: SystemTime) -> Duration {
    wall.duration_since(expected).unwrap_or_else(|behind| behind.duration())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_go_alike_do_not_jump() {
        let mut clock = Clock::new();
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(clock.jump(), None);
    }

    #[test]
    fn a_wall_clock_that_goes_ahead_or_back_jumps_once() {
        for ahead in [true, false] {
            let mut clock = Clock::new();
            let hour = Duration::from_secs(3600);
            if ahead {
                clock.wall -= hour;
            } else {
                clock.wall += hour;
            }
            let jump = clock.jump().unwrap();
            assert!(jump.abs_diff(hour) < Duration::from_secs(2), "{jump:?}");
            assert_eq!(clock.jump(), None);
        }
    }
}
