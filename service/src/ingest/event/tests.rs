use calbridge_calcom::{golden, type_body};
use calbridge_proto::v1::booking_event::Payload;
use proptest::prelude::*;
use prost::Message;

use super::*;

const NOW: Micros = 1_800_000_000_000_000;

/// Made at second 200; the event of these tests says 100.
const BODY: &str = r#"{"createdAt":"1970-01-01T00:03:20.000005Z"}"#;

fn event() -> v1::BookingEvent {
    v1::BookingEvent {
        tenant: "acme".to_owned(),
        trigger: v1::Trigger::BookingCreated.into(),
        event_time: Some(Timestamp { seconds: 100, nanos: 5_000 }),
        raw_body: BODY.into(),
        payload: Some(Payload::Booking(v1::BookingPayload { uid: "u1".to_owned(), ..Default::default() })),
        ..Default::default()
    }
}

#[test]
fn a_typed_event_is_known_by_its_body() {
    let delivery = prepare(event(), NOW, "trace".to_owned()).unwrap();
    let hash: [u8; 32] = Sha256::digest(BODY).into();
    assert_eq!(delivery.key.identity, Identity::Body(hash));
    assert_eq!((&*delivery.key.tenant, delivery.key.time), ("acme", 200_000_005));
    assert_eq!(delivery.booking_uid.as_deref(), Some("u1"));
    assert_eq!(delivery.trace_id, "trace");
    assert_eq!(delivery.event.receive_time, Some(Timestamp { seconds: 1_800_000_000, nanos: 0 }));
    assert_eq!(delivery.facts.len(), 1);
    let again = prepare(v1::BookingEvent { request_id: "other".to_owned(), ..event() }, NOW + 1, String::new());
    assert_eq!(again.unwrap().key, delivery.key, "neither the request nor the time of receipt is part of it");
}

#[test]
fn what_is_read_later_is_read_alike() {
    let read_at_once = prepare(event(), NOW, String::new()).unwrap();
    let mut later = identify(Box::new(event()), NOW, String::new()).unwrap();
    assert!(later.facts.is_empty() && later.event.payload.is_some());
    assert_eq!((&later.key, &later.booking_uid), (&read_at_once.key, &read_at_once.booking_uid));
    for _ in 0..2 {
        read(&mut later);
        assert_eq!((&later.facts, &later.event), (&read_at_once.facts, &read_at_once.event));
    }
}

#[test]
fn what_is_much_longer_than_its_body_does_not_wait_unread() {
    let told = |title: String| v1::BookingPayload { uid: "u1".to_owned(), title, ..Default::default() };
    let of = |told| {
        let event = v1::BookingEvent { payload: Some(Payload::Booking(told)), ..event() };
        identify(Box::new(event), NOW, String::new()).unwrap()
    };
    assert!(may_wait_unread(&of(told(String::new()))));
    assert!(!may_wait_unread(&of(told("x".repeat(BODY.len() * UNREAD_TIMES)))));
}

#[test]
fn an_event_without_a_payload_is_known_by_its_request() {
    let id = new_id(1_700_000_000_123_000);
    let unparsed = v1::BookingEvent { payload: None, request_id: id.to_string(), raw_body: "false".into(), ..event() };
    let delivery = prepare(unparsed.clone(), NOW, String::new()).unwrap();
    assert_eq!(delivery.key.identity, Identity::Request(id));
    assert_eq!(delivery.key.time, 1_700_000_000_123_000);
    assert!(delivery.facts.is_empty() && delivery.booking_uid.is_none());
    let other = v1::BookingEvent { request_id: new_id(NOW).to_string(), ..unparsed.clone() };
    assert_ne!(prepare(other, NOW, String::new()).unwrap().key, delivery.key);
    let empty = v1::BookingEvent { raw_body: Vec::new().into(), ..unparsed };
    assert!(prepare(empty, NOW, String::new()).is_ok(), "an empty signed body is a delivery, too");
}

#[test]
fn each_field_that_cannot_be_taken_is_named() {
    const LONG: usize = TEXT_BYTES + 1;
    type Spoil = fn(&mut v1::BookingEvent);
    let spoils: [(&str, Spoil); 18] = [
        ("event.tenant", |event| event.tenant.clear()),
        ("event.tenant", |event| event.tenant = "Acme".to_owned()),
        ("event.tenant", |event| event.tenant = "a/b".to_owned()),
        ("event.tenant", |event| event.tenant = "a".repeat(TENANT_BYTES + 1)),
        ("event.raw_body", |event| event.raw_body = vec![b' '; BODY_BYTES + 1].into()),
        ("event.raw_body", |event| event.raw_body.clear()),
        ("event.trigger", |event| event.trigger = 9999),
        ("event.trigger", |event| event.trigger = -1),
        ("event.trigger_name", |event| event.trigger_name = "x".repeat(LONG)),
        ("event.content_type", |event| event.content_type = "x".repeat(LONG)),
        ("event.webhook_version", |event| event.webhook_version = "x".repeat(LONG)),
        ("event.secret_id", |event| event.secret_id = "x".repeat(LONG)),
        ("event.request_id", |event| event.request_id = "x".repeat(LONG)),
        ("event.trace_parent", |event| event.trace_parent = "x".repeat(LONG)),
        ("event.request_id", |event| event.payload = None),
        ("event.request_id", |event| {
            event.payload = None;
            event.request_id = "17".to_owned();
        }),
        ("event.event_time", |event| event.event_time = Some(Timestamp { seconds: i64::MAX, nanos: 0 })),
        ("event.receive_time", |event| event.receive_time = Some(Timestamp { seconds: 0, nanos: -1 })),
    ];
    for (field, spoil) in spoils {
        let mut event = event();
        spoil(&mut event);
        assert_eq!(prepare(event, NOW, String::new()).unwrap_err().field, field);
    }
    let longest = v1::BookingEvent { tenant: "a".repeat(TENANT_BYTES), ..event() };
    assert!(prepare(longest, NOW, String::new()).is_ok());
}

#[test]
fn a_uid_beyond_what_a_store_indexes_names_no_booking() {
    let about = |uid: usize| {
        let payload = v1::RecordingPayload { uid: "u".repeat(uid), ..Default::default() };
        let trigger = v1::Trigger::RecordingReady.into();
        let event = v1::BookingEvent { trigger, payload: Some(Payload::Recording(payload)), ..event() };
        prepare(event, NOW, String::new()).unwrap().booking_uid.map(|uid| uid.len())
    };
    assert_eq!(about(0), None);
    assert_eq!(about(256), Some(256));
    assert_eq!(about(257), None);
}

/// The encoded event of a golden body of that trigger.
fn encoded(trigger: i32) -> Vec<u8> {
    let trigger = v1::Trigger::try_from(trigger).unwrap();
    let at = jiff::Timestamp::from_second(1_790_000_000).unwrap();
    let raw = golden::body(trigger, &golden::Golden::new("u1", 7, at, at));
    let mut event = v1::BookingEvent { tenant: "acme".to_owned(), ..Default::default() };
    type_body(&raw).into_event(&mut event);
    event.raw_body = raw.into();
    event.encode_to_vec()
}

/// A body, and the rest of an event as any caller may fill it.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let golden = (1..=i32::from(v1::Trigger::Ping), 0..4_000_000_000_i64).prop_map(|(trigger, seconds)| {
        let trigger = v1::Trigger::try_from(trigger).unwrap_or_default();
        let at = jiff::Timestamp::from_second(seconds).unwrap();
        golden::body(trigger, &golden::Golden::new("u1", 7, at, at))
    });
    prop_oneof![golden, prop::collection::vec(any::<u8>(), 1..50)]
}

prop_compose! {
    fn said_of(raw: Vec<u8>)(
        event_time in prop::option::of((0..4_000_000_000_i64, 0..1_000_000_000)),
        receive_time in prop::option::of(0..4_000_000_000_i64),
        trigger in 0..=i32::from(v1::Trigger::Ping),
        text in "[a-z]{0,8}",
        uid in "[a-z]{0,8}",
    ) -> v1::BookingEvent {
        v1::BookingEvent {
            tenant: "acme".to_owned(),
            trigger,
            trigger_name: text.clone(),
            event_time: event_time.map(|(seconds, nanos)| Timestamp { seconds, nanos }),
            receive_time: receive_time.map(|seconds| Timestamp { seconds, nanos: 0 }),
            webhook_version: text.clone(),
            content_type: text.clone(),
            secret_id: text.clone(),
            request_id: text,
            raw_body: raw.clone().into(),
            payload: Some(Payload::Booking(v1::BookingPayload { uid, ..Default::default() })),
            ..Default::default()
        }
    }
}

proptest! {
    #[test]
    fn equal_bodies_have_equal_keys_whatever_else_is_said(
        (one, other) in bodies().prop_flat_map(|raw| (said_of(raw.clone()), said_of(raw))),
        now: i64,
    ) {
        let one = prepare(one, now, String::new()).unwrap();
        let other = prepare(other, NOW, "trace".to_owned()).unwrap();
        prop_assert_eq!(one.key, other.key);
    }

    #[test]
    fn a_message_of_any_bytes_is_taken_or_refused(
        trigger in 0..=i32::from(v1::Trigger::Ping),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        now: i64,
    ) {
        let mut bytes = encoded(trigger);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(event) = v1::BookingEvent::decode(bytes.as_slice()) {
            // What comes of it does not matter here: that it comes does, whatever the times and numbers say.
            let _ = prepare(event, now, String::new());
        }
    }
}
