//! By what time something counts as too old to be kept.
//!
//! Invariant: a clock that jumps ahead, and is set right within a day, makes nothing old. What is thrown away by a
//! wrong clock does not come back with the right one; what is kept for a day too long goes then.

use std::time::Duration;

/// In microseconds: clocks that are kept right by small steps are believed at once.
const STEP_MOST: i64 = 60_000_000;

/// A clock that has been further ahead for so long is right, and was wrong before: somebody would have noticed, or the
/// machine was asleep.
const DOUBTED_FOR: Duration = Duration::from_hours(24);

/// Tells the time by the wall's clock, beside one that never jumps.
#[derive(Debug)]
pub struct Ages {
    /// How far ahead of the other the wall's clock is, as far as it is believed, in microseconds.
    believed: i64,
    /// Since when it is further ahead.
    doubted_since: Option<Duration>,
}

impl Ages {
    /// Begins with the time that the wall's clock says, in microseconds since 1970-01-01T00:00:00Z: there is no other.
    #[must_use]
    pub fn begin(wall: i64) -> Self {
        Self { believed: wall, doubted_since: None }
    }

    /// The time by which something is too old, after so long a time by the clock that never jumps.
    pub fn now(&mut self, wall: i64, elapsed: Duration) -> i64 {
        let micros = i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX);
        let ahead = wall.saturating_sub(micros);
        if ahead.saturating_sub(self.believed) <= STEP_MOST {
            (self.believed, self.doubted_since) = (ahead, None);
        } else {
            let since = *self.doubted_since.get_or_insert(elapsed);
            if elapsed.saturating_sub(since) >= DOUBTED_FOR {
                (self.believed, self.doubted_since) = (ahead, None);
            }
        }
        self.believed.saturating_add(micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const HOUR: Duration = Duration::from_hours(1);
    const YEARS: i64 = 10 * 365 * 24 * 3600 * SECOND;
    const NOW: i64 = 1_790_000_000 * SECOND;

    /// After so many hours of both clocks.
    fn at(hours: u32) -> (i64, Duration) {
        let elapsed = HOUR * hours;
        (NOW + i64::try_from(elapsed.as_micros()).unwrap(), elapsed)
    }

    #[test]
    fn a_clock_that_goes_as_it_should_is_the_time() {
        let mut ages = Ages::begin(NOW);
        for hours in [0, 1, 2, 1000] {
            let (wall, elapsed) = at(hours);
            let corrected = wall + 30 * SECOND * i64::from(hours % 2);
            assert_eq!(ages.now(corrected, elapsed), corrected);
        }
    }

    #[test]
    fn a_jump_ahead_is_believed_after_a_day_and_a_jump_back_at_once() {
        let mut ages = Ages::begin(NOW);
        let (wall, elapsed) = at(1);
        assert_eq!(ages.now(wall + YEARS, elapsed), wall);
        assert_eq!(ages.now(wall, elapsed), wall, "it was set right");
        for hours in 2..26 {
            let (wall, elapsed) = at(hours);
            assert_eq!(ages.now(wall + YEARS, elapsed), wall, "{hours}");
        }
        let (wall, elapsed) = at(26);
        assert_eq!(ages.now(wall + YEARS, elapsed), wall + YEARS);
        assert_eq!(ages.now(wall - YEARS, elapsed), wall - YEARS);
        assert_eq!(ages.now(wall, elapsed), wall - YEARS, "the way back is a jump ahead");
    }

    #[test]
    fn no_time_is_beyond_it() {
        for (begin, wall) in [(i64::MIN, i64::MAX), (i64::MAX, i64::MIN), (0, i64::MAX)] {
            let mut ages = Ages::begin(begin);
            ages.now(wall, Duration::MAX);
            ages.now(wall, Duration::ZERO);
        }
    }
}
