//! The clock: `MEETING_ENDED` reaches only some receivers, so an accepted booking counts as over some time after its
//! end.
//!
//! Invariant: time comes in as an argument, and what the clock adds is no evidence: it is never merged, and a later
//! move or cancellation simply changes it.

use std::time::Duration;

/// Up to which instant the ends of bookings count as past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Horizon(Option<i64>);

impl Horizon {
    /// No end has passed: what the evidence alone says.
    pub const NONE: Self = Self(None);

    /// Every end has passed: for a booking of which it is known that its end has.
    pub const ALL: Self = Self(Some(i64::MAX));

    /// At `now`, in microseconds since 1970, where a booking counts as over when `grace` has gone by since its end.
    #[must_use]
    pub fn at(now: i64, grace: Duration) -> Self {
        let grace = i64::try_from(grace.as_micros()).unwrap_or(i64::MAX);
        Self(Some(now.saturating_sub(grace)))
    }

    /// Ends up to `instant`, in microseconds since 1970, have passed.
    #[must_use]
    pub fn up_to(instant: i64) -> Self {
        Self(Some(instant))
    }

    /// The last instant that counts as past, in microseconds since 1970; `None` where none does.
    #[must_use]
    pub fn instant(self) -> Option<i64> {
        self.0
    }

    /// Whether `end`, in microseconds since 1970, counts as past.
    #[must_use]
    pub fn passed(self, end: i64) -> bool {
        self.0.is_some_and(|instant| end <= instant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_has_passed_when_the_grace_is_over() {
        let horizon = Horizon::at(1_000_000, Duration::from_millis(400));
        assert_eq!(horizon.instant(), Some(600_000));
        assert!(horizon.passed(600_000) && horizon.passed(i64::MIN) && !horizon.passed(600_001));
        assert!(!Horizon::NONE.passed(i64::MIN) && Horizon::ALL.passed(i64::MAX));
        assert!(!Horizon::at(i64::MIN, Duration::MAX).passed(i64::MIN + 1), "no grace overflows");
    }
}
