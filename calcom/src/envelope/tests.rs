use calbridge_proto::v1::booking_event::Payload;
use proptest::prelude::*;
use prost_types::Timestamp;

use super::*;
use crate::{
    golden::{Golden, body},
    type_body,
};

fn at(seconds: i64, nanos: i32) -> Timestamp {
    Timestamp { seconds, nanos }
}

/// These answers are stored: a change here would make new deliveries of old bodies.
#[test]
fn the_time_of_a_body_is_its_outermost_created_at() {
    for (body, time) in [
        (r#"{"triggerEvent":"PING","createdAt":"2026-01-01T00:00:00.000Z","payload":{}}"#, Some(at(1_767_225_600, 0))),
        (
            r#"{"payload":{"createdAt":"2020-01-01T00:00:00Z"},"createdAt":"2026-01-01T01:00:00+01:00"}"#,
            Some(at(1_767_225_600, 0)),
        ),
        (r#"{"createdAt":"2026-01-01T00:00:00.123456789Z"}"#, Some(at(1_767_225_600, 123_456_789))),
        (r#"{"createdAt":"1969-12-31T23:59:59.5Z"}"#, Some(at(-1, 500_000_000))),
        (r#"{"createdAt":"2020-01-01T00:00:00Z","createdAt":"2026-01-01T00:00:00Z"}"#, Some(at(1_767_225_600, 0))),
        (r#"{"createdAt":"2020-01-01T00:00:00Z","createdAt":null}"#, None),
        (r#"{"a":"\ud83d","createdAt":"2026-01-01T00:00:00Z","\ud83d":"\u0000"}"#, Some(at(1_767_225_600, 0))),
        (r#"{"payload":{"createdAt":"2026-01-01T00:00:00Z"}}"#, None),
        (r#"{"createdAt":1767225600}"#, None),
        (r#"{"createdAt":"yesterday"}"#, None),
        (r#"[{"createdAt":"2026-01-01T00:00:00Z"}]"#, None),
        (r#"{"created\u0041t":"2020-01-01T00:00:00Z","createdAt":"2026-01-01T00:00:00Z"}"#, Some(at(1_767_225_600, 0))),
        (r#"{"createdAt":"2020-01-01T00:00:00Z","created\u0041t":"2026-01-01T00:00:00Z"}"#, Some(at(1_767_225_600, 0))),
        (r#"{"createdAt":null,"payload":{}}"#, None),
        ("false", None),
        ("", None),
    ] {
        assert_eq!(created_at(body.as_bytes()), time, "{body}");
    }
    assert_eq!(created_at(b"{\"\xff\":1,\"createdAt\":\"2026-01-01T00:00:00Z\"}"), None);
}

#[test]
fn it_is_what_typing_finds_where_there_is_an_envelope_and_the_row_s_where_there_is_none() {
    let time = jiff::Timestamp::from_second(1_790_000_000).unwrap();
    for trigger in (0..=i32::from(Trigger::Ping)).filter_map(|number| Trigger::try_from(number).ok()) {
        let raw = body(trigger, &Golden::new("u1", 7, time, time));
        let typed = type_body(&raw);
        let wanted = match &typed.payload {
            Some(Payload::Meeting(meeting)) if !meeting.enveloped => meeting.row_create_time,
            _ => typed.event_time,
        };
        assert!(wanted.is_some(), "{trigger:?}");
        assert_eq!(created_at(&raw), wanted, "{trigger:?}");
        let text = str::from_utf8(&raw).unwrap();
        assert_eq!(
            wanted,
            from_json::<CreatedAt>(text).unwrap(),
            "its beginning says what the whole says: {trigger:?}"
        );
    }
}

#[test]
fn the_first_trigger_of_a_body_is_what_typing_finds() {
    let time = jiff::Timestamp::from_second(1_790_000_000).unwrap();
    for trigger in (0..=i32::from(Trigger::Ping)).filter_map(|number| Trigger::try_from(number).ok()) {
        let raw = body(trigger, &Golden::new("u1", 7, time, time));
        let typed = type_body(&raw);
        assert_eq!(first_trigger(&raw), (typed.trigger, typed.trigger_name), "{trigger:?}");
    }
    let long = format!("{{\"triggerEvent\":\"x{}\",\"payload\":{{}}}}", "é".repeat(TRIGGER_NAME_BYTES_MAX));
    for raw in [
        r#"{"payload":{"triggerEvent":"PING"},"triggerEvent":"BOOKING_PAID"}"#,
        r#"{"triggerEvent":7,"payload":{}}"#,
        r#"["triggerEvent"]"#,
        r#""triggerEvent""#,
        "false",
        "",
        &long,
    ] {
        let typed = type_body(raw.as_bytes());
        assert_eq!(first_trigger(raw.as_bytes()), (typed.trigger, typed.trigger_name), "{raw}");
    }
    assert_eq!(first_trigger(br#"{"triggerEvent":"\ud83d PING","payload":{}}"#), Default::default());
    // What stands behind it is not read.
    let paid = (Trigger::BookingPaid, "BOOKING_PAID".to_owned());
    for raw in [r#"{"triggerEvent":"BOOKING_PAID","triggerEvent":"PING"}"#, r#"{"triggerEvent":"BOOKING_PAID",!"#] {
        assert_eq!(first_trigger(raw.as_bytes()), paid, "{raw}");
    }
}

proptest! {
    #[test]
    fn any_bytes_have_a_time_or_none(raw in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = first_trigger(&raw);
        let _ = created_at(&raw);
    }
}

#[test]
fn a_trigger_is_found_by_its_name_and_by_no_other() {
    for trigger in (0..10 * TRIGGERS_MOST).filter_map(|number| Trigger::try_from(number).ok()) {
        let name = trigger.as_str_name().strip_prefix("TRIGGER_").unwrap();
        assert_eq!(super::trigger(name), trigger);
        for other in [trigger.as_str_name().to_owned(), name.to_lowercase(), format!("{name} ")] {
            assert_eq!(super::trigger(&other), Trigger::Unspecified, "{other}");
        }
    }
}
