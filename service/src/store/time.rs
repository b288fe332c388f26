//! Between the schema's timestamps and the store's microseconds. Nothing is refused: a time beyond the range of an
//! `i64` of microseconds becomes the nearest that fits, so that one odd webhook can't stop a round.

use prost_types::Timestamp;

use super::Micros;

const MICROS_PER_SECOND: i64 = 1_000_000;
const NANOS_PER_MICRO: i32 = 1_000;

/// What is finer than a microsecond is cut off.
pub(crate) fn micros(time: &Timestamp) -> Micros {
    time.seconds.saturating_mul(MICROS_PER_SECOND).saturating_add(i64::from(time.nanos / NANOS_PER_MICRO))
}

pub(crate) fn timestamp(micros: Micros) -> Timestamp {
    let nanos = i32::try_from(micros.rem_euclid(MICROS_PER_SECOND)).unwrap_or_default() * NANOS_PER_MICRO;
    Timestamp { seconds: micros.div_euclid(MICROS_PER_SECOND), nanos }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn micros_survive_the_way_there_and_back(time in i64::MIN..=i64::MAX) {
            let stamp = timestamp(time);
            prop_assert!((0..1_000_000_000).contains(&stamp.nanos));
            // At the very ends a whole second does not fit, so the nearest is answered.
            prop_assert!(micros(&stamp).abs_diff(time) == 0 || time < i64::MIN + MICROS_PER_SECOND);
        }

        #[test]
        fn no_timestamp_overflows(seconds in any::<i64>(), nanos in any::<i32>()) {
            let _ = micros(&Timestamp { seconds, nanos });
        }
    }
}
