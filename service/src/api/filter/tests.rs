use proptest::prelude::*;

use super::*;
use crate::store::{Comparison::*, Condition::*};

fn conditions(text: &str) -> Vec<Condition> {
    parse(text).unwrap_or_else(|error| panic!("{text:?}: {error:?}")).0
}

#[test]
fn each_condition_is_read() {
    let time = 1_788_220_800_000_000;
    for (text, expected) in [
        ("status = SCHEDULED", Status(Equal, BookingStatus::Scheduled)),
        ("status=BOOKING_STATUS_NO_SHOW", Status(Equal, BookingStatus::NoShow)),
        ("status != \"CANCELLED\"", Status(NotEqual, BookingStatus::Cancelled)),
        ("start_time >= \"2026-09-01T00:00:00Z\"", StartTime(GreaterOrEqual, time)),
        ("start_time<2026-09-01T02:00:00+02:00", StartTime(Less, time)),
        ("update_time <= 2026-09-01T00:00:00.000001Z", UpdateTime(LessOrEqual, time + 1)),
        ("update_time > 2026-09-01T00:00:00Z", UpdateTime(Greater, time)),
        ("start_time = 2026-09-01T00:00:00Z", StartTime(Equal, time)),
        ("start_time != 2026-09-01T00:00:00Z", StartTime(NotEqual, time)),
        ("organizer_email = Mara@x.example", OrganizerEmail("mara@x.example".into())),
        ("attendee_email = \" Tomas@x.example\"", AttendeeEmail("tomas@x.example".into())),
        ("event_type_id = 310", EventTypeId(310)),
        ("event_type_id = -1", EventTypeId(-1)),
        ("metadata.k = v", Metadata("k".into(), "v".into())),
        ("metadata.utm.source = \"a b\"", Metadata("utm.source".into(), "a b".into())),
        ("metadata.\"my \\\"key\\\"\" = \"x\\\\y\"", Metadata("my \"key\"".into(), "x\\y".into())),
        ("metadata.'my \"key\"' = 'it\\'s'", Metadata("my \"key\"".into(), "it's".into())),
        ("metadata.k = O'Brien", Metadata("k".into(), "O'Brien".into())),
        ("metadata.k = \"\"", Metadata("k".into(), String::new())),
        ("metadata.größe = \"zwölf\"", Metadata("größe".into(), "zwölf".into())),
    ] {
        assert_eq!(conditions(text), [expected], "{text}");
    }
}

#[test]
fn conditions_are_joined_by_and_alone() {
    assert_eq!(conditions(" \t "), []);
    assert_eq!(conditions("  event_type_id = 1  AND event_type_id=2 AND  status = REQUESTED ").len(), 3);
    assert_eq!(conditions("metadata.a = \"1\"AND metadata.b = 2").len(), 2, "a quote ends a word as well");
    let many = |count: usize| vec!["event_type_id = 1"; count].join(" AND ");
    assert_eq!(conditions(&many(16)).len(), 16);
    assert!(parse(&many(17)).is_err());
}

#[test]
fn a_refusal_says_where_and_what_was_expected() {
    for (text, character, part) in [
        ("statu = SCHEDULED", 1, "a field"),
        ("= 3", 1, "a field"),
        ("metadata. = 3", 1, "a field"),
        ("status", 7, "a comparison"),
        ("status : SCHEDULED", 8, "a comparison"),
        ("status > SCHEDULED", 8, "= or !="),
        ("status = PLANNED", 10, "a status"),
        ("status = UNSPECIFIED", 10, "a status"),
        ("status =", 9, "a value"),
        ("start_time > yesterday", 14, "a time"),
        ("start_time > 2026-09-01", 14, "a time"),
        ("event_type_id = many", 17, "a whole number"),
        ("organizer_email != a@x.example", 17, "="),
        ("metadata.größe = \"ab", 18, "ends in the quote"),
        ("metadata.größe = \"a\0\"", 20, "without a NUL"),
        ("status = SCHEDULED event_type_id = 3", 20, "AND"),
        ("status = SCHEDULED OR event_type_id = 3", 20, "AND"),
        ("status = SCHEDULED and event_type_id = 3", 20, "AND"),
        ("status = SCHEDULED AND", 23, "a field"),
        ("(status = SCHEDULED)", 1, "a field"),
    ] {
        match parse(text) {
            Err(ApiError::FilterSyntax { character: at, expected }) => {
                assert_eq!(at, character, "{text}");
                assert!(expected.contains(part), "{text}: {expected}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    let long = format!("metadata.k = \"{}\"", "x".repeat(FILTER_BYTES));
    assert!(matches!(parse(&long), Err(ApiError::InvalidField { field: "filter", .. })));
}

proptest! {
    #[test]
    fn no_text_makes_a_panic(text in ".{0,60}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_condition_makes_a_panic(
        text in "(status|start_time|metadata\\.|metadata\\.k|event_type_id|AND|[ =!<>\"\\\\]|SCHEDULED|\u{e9}|x){0,12}",
    ) {
        let _ = parse(&text);
    }

    #[test]
    fn any_key_and_value_can_be_asked_for(key in "[^\\x00\n]{1,20}", value in "[^\\x00\n]{0,20}") {
        let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let text = format!("metadata.{} = {}", quote(&key), quote(&value));
        prop_assert_eq!(conditions(&text), [Metadata(key, value)]);
    }
}
