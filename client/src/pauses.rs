//! How long to wait before the service is asked again: twice as long after each failure, and never the same for all
//! clients, or those that lost it together would come back together.

use std::time::Duration;

/// After the first failure: a replica that restarts is back within a second.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// And no longer than this: so late a client learns at the most that the service is back.
const PAUSE_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub(crate) struct Pauses {
    longest: Duration,
}

impl Pauses {
    pub(crate) fn new() -> Self {
        Self { longest: PAUSE_MIN }
    }

    /// The service was there: the next failure is a first one.
    pub(crate) fn reset(&mut self) {
        *self = Self::new();
    }

    pub(crate) fn next(&mut self) -> Duration {
        let pause = spread(self.longest, fastrand::f64());
        self.longest = (self.longest * 2).min(PAUSE_MAX);
        pause
    }
}

/// Between half of a pause and all of it, in whole milliseconds for those who read of it.
fn spread(pause: Duration, part: f64) -> Duration {
    let spread = pause.mul_f64(0.5 + part.clamp(0.0, 1.0) / 2.0);
    Duration::from_millis(u64::try_from(spread.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let mut pauses = Pauses::new();
        let longest: Vec<Duration> = (0..8)
            .map(|_| {
                let (longest, pause) = (pauses.longest, pauses.next());
                assert!(longest / 2 <= pause && pause <= longest, "{pause:?} of {longest:?}");
                longest
            })
            .collect();
        assert_eq!(longest[..3], [250, 500, 1_000].map(Duration::from_millis));
        assert_eq!(longest[7], PAUSE_MAX);
        pauses.reset();
        assert!(pauses.next() <= PAUSE_MIN);
    }

    #[test]
    fn a_pause_is_spread_over_its_second_half() {
        let pause = Duration::from_secs(1);
        assert_eq!([0.0, 0.5, 1.0].map(|part| spread(pause, part).as_millis()), [500, 750, 1_000]);
    }
}
