//! The one place where the adapter takes the time and draws an id; everything below gets them as arguments.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::{NoContext, Timestamp, Uuid};

/// When a request had been read, and the id it got then.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Wall-clock time of the receipt.
    pub time: SystemTime,
    /// `UUIDv7` of that time.
    pub request_id: Uuid,
}

impl Moment {
    /// This moment. What a running adapter is given; tests give another function.
    #[must_use]
    pub fn now() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the outermost edge: every other place is handed this moment")]
        let time = SystemTime::now();
        Self { time, request_id: id_at(time) }
    }

    /// Microseconds since 1970-01-01T00:00:00Z, zero before that.
    pub(crate) fn micros(&self) -> i64 {
        let since = self.time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }
}

/// The time that so many microseconds since 1970-01-01T00:00:00Z mean.
pub(crate) fn time_of(micros: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// A clock set before 1970 gives an id of 1970: ids must be unique, their order is a convenience.
fn id_at(time: SystemTime) -> Uuid {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Uuid::new_v7(Timestamp::from_unix(NoContext, since.as_secs(), since.subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_carry_their_time_and_differ() {
        let time = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let (one, other) = (id_at(time), id_at(time));
        assert_ne!(one, other);
        assert_eq!(one.get_version_num(), 7);
        assert_eq!(one.get_timestamp().unwrap().to_unix(), (1_700_000_000, 123_000_000));
        assert_eq!(id_at(UNIX_EPOCH - Duration::from_secs(1)).get_timestamp().unwrap().to_unix(), (0, 0));
    }
}
