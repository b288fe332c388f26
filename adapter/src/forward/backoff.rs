//! How long to wait before the next try to reach the service. Pure: randomness is an argument.

use std::time::Duration;

/// Before the second try: a connection that a deploy cut is back at once.
const FIRST: Duration = Duration::from_millis(50);

/// The longest wait: so much at most is added to an outage.
const LONGEST: Duration = Duration::from_secs(1);

/// Doublings after which the wait is the longest in any case; a bound for the shift.
const DOUBLINGS_MOST: u32 = 8;

/// The wait after `failures` tries in a row that failed: doubling, and between half of it and all of it by `random`, so
/// that many adapters don't come back to a restarted service in step.
pub(crate) fn pause(failures: u32, random: u64) -> Duration {
    let doubled = FIRST * (1 << failures.saturating_sub(1).min(DOUBLINGS_MOST));
    let half = doubled.min(LONGEST) / 2;
    // Whole microseconds below half a second fit into 32 bits.
    let spread = u32::try_from(random % 1_000_000).unwrap_or(0);
    half + half * spread / 1_000_000
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_up_to_a_second() {
        let upper = |failures| pause(failures, 999_999).as_millis();
        assert_eq!([1, 2, 3, 4, 5].map(upper), [49, 99, 199, 399, 799]);
        assert_eq!([6, 7, 100, u32::MAX].map(upper), [999; 4]);
    }

    proptest! {
        #[test]
        fn every_wait_is_bounded(failures: u32, random: u64) {
            let wait = pause(failures, random);
            prop_assert!(wait >= FIRST / 2 && wait <= LONGEST);
        }
    }
}
