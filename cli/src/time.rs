//! Times for people: UTC, to the second.

use prost_types::Timestamp;

/// `2026-09-08 14:00:00Z`; a dash where there is none.
pub(crate) fn shown(time: Option<&Timestamp>) -> String {
    time.and_then(instant).map_or_else(|| "-".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// The same instant, if it is one that a calendar can hold.
pub(crate) fn instant(time: &Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::new(time.seconds, time.nanos).ok()
}

/// Now: the program's only look at the clock.
#[expect(clippy::disallowed_methods, reason = "a command starts here; everything below is handed the time")]
pub(crate) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_shown_in_utc() {
        assert_eq!(shown(Some(&Timestamp { seconds: 0, nanos: 5 })), "1970-01-01 00:00:00Z");
        assert_eq!(shown(Some(&Timestamp { seconds: i64::MAX, nanos: 0 })), "-");
        assert_eq!(shown(None), "-");
    }
}
