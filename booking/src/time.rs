//! Instants inside the domain: microseconds since 1970, always within what a protobuf `Timestamp` may hold.

use prost_types::Timestamp;

/// 0001-01-01T00:00:00Z, the least instant of a protobuf `Timestamp`.
const LEAST: i64 = -62_135_596_800_000_000;
/// The last microsecond of the year 9999, the greatest one.
const GREATEST: i64 = 253_402_300_799_999_999;

const MICROS: i64 = 1_000_000;

/// Finer than microseconds is cut off; outside the years 1 to 9999 the nearest instant inside is taken.
pub(crate) fn micros(time: &Timestamp) -> i64 {
    let part = i64::from(time.nanos.clamp(0, 999_999_999)) / 1_000;
    time.seconds.saturating_mul(MICROS).saturating_add(part).clamp(LEAST, GREATEST)
}

/// The other way.
pub(crate) fn timestamp(micros: i64) -> Timestamp {
    let micros = micros.clamp(LEAST, GREATEST);
    let nanos = i32::try_from(micros.rem_euclid(MICROS) * 1_000).unwrap_or_default();
    Timestamp { seconds: micros.div_euclid(MICROS), nanos }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_survive_both_ways() {
        for time in [
            Timestamp { seconds: 0, nanos: 0 },
            Timestamp { seconds: -1, nanos: 999_999_000 },
            Timestamp { seconds: 1_790_000_000, nanos: 12_000_000 },
            Timestamp { seconds: 253_402_300_799, nanos: 999_999_000 },
            Timestamp { seconds: -62_135_596_800, nanos: 0 },
        ] {
            assert_eq!(timestamp(micros(&time)), time);
        }
    }

    #[test]
    fn what_no_timestamp_may_hold_becomes_the_nearest_that_one_may() {
        assert_eq!(micros(&Timestamp { seconds: i64::MAX, nanos: i32::MAX }), GREATEST);
        assert_eq!(micros(&Timestamp { seconds: i64::MIN, nanos: i32::MIN }), LEAST);
        assert_eq!(micros(&Timestamp { seconds: 1, nanos: -5 }), MICROS);
    }
}
