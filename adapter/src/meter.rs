//! How often something may come: so many at once, then one in each interval. Pure.
//!
//! A leaky bucket as a meter (the "generic cell rate algorithm"): of each key one moment is kept, at which all that it
//! has taken is made good again. How far that lies ahead of now decides.

use std::time::Duration;

/// A rate and its burst.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meter {
    /// One costs so much time.
    cost: Duration,
    /// So far ahead of now may the moment be before another one is taken.
    ahead_most: Duration,
}

impl Meter {
    /// So many in a second, and so many at once.
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let cost = Duration::from_secs(1) / per_second.max(1);
        Self { cost, ahead_most: cost * burst.saturating_sub(1) }
    }

    /// Takes one where the moment lies so far ahead of now: how far it lies then, or how long until there is room for
    /// one again. Who is refused pays nothing, or a sender that never rests would never get through.
    pub(crate) fn take(self, ahead: Duration) -> Result<Duration, Duration> {
        match ahead.checked_sub(self.ahead_most).filter(|wait| !wait.is_zero()) {
            Some(wait) => Err(wait),
            None => Ok(ahead + self.cost),
        }
    }
}
