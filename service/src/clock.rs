//! Where time and randomness enter the service: everything below takes them as arguments.

use std::time::{SystemTime, UNIX_EPOCH};

use uuid::{NoContext, Timestamp, Uuid};

use crate::store::Micros;

/// Tells the time. A test passes its own.
pub type Clock = fn() -> Micros;

/// The time of this machine.
#[must_use]
pub fn system_clock() -> Micros {
    #[expect(clippy::disallowed_methods, reason = "the one place of the service that reads the machine's clock")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).map_or(0, |since| Micros::try_from(since.as_micros()).unwrap_or(Micros::MAX))
}

/// A fresh `UUIDv7` of that time.
pub(crate) fn new_id(now: Micros) -> Uuid {
    let seconds = u64::try_from(now.div_euclid(1_000_000)).unwrap_or(0);
    let nanos = u32::try_from(now.rem_euclid(1_000_000) * 1000).unwrap_or(0);
    Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_carries_the_time_it_was_made_from() {
        let (seconds, nanos) = new_id(1_700_000_000_123_456).get_timestamp().unwrap().to_unix();
        assert_eq!((seconds, nanos / 1_000_000), (1_700_000_000, 123));
        assert_ne!(new_id(0), new_id(0));
        assert_eq!(new_id(-5).get_timestamp().unwrap().to_unix().0, 0, "a clock before 1970 makes no panic");
    }
}
