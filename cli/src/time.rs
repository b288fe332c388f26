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

/// A time as RFC 3339 has it.
pub(crate) fn moment(text: &str) -> Option<Timestamp> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() })
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
        assert_eq!(shown(moment("2026-09-01T02:00:00+02:00").as_ref()), "2026-09-01 00:00:00Z");
        assert_eq!(moment("000000000000002a"), None, "a position is no time");
    }
}
