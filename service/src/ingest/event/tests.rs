use calbridge_calcom::{golden, type_body};
use calbridge_proto::v1::booking_event::Payload;
use proptest::prelude::*;
use prost::Message;

use super::*;

const NOW: Micros = 1_800_000_000_000_000;

fn event() -> v1::BookingEvent {
    v1::BookingEvent {
        tenant: "acme".to_owned(),
        trigger: v1::Trigger::BookingCreated.into(),
        event_time: Some(Timestamp { seconds: 100, nanos: 5_000 }),
        raw_body: "{}".into(),
        payload: Some(Payload::Booking(v1::BookingPayload { uid: "u1".to_owned(), ..Default::default() })),
        ..Default::default()
    }
}

#[test]
fn a_typed_event_is_known_by_its_body() {
    let delivery = prepare(event(), NOW, "trace".to_owned()).unwrap();
    let hash: [u8; 32] = Sha256::digest(b"{}").into();
    assert_eq!(delivery.key.identity, Identity::Body(hash));
    assert_eq!((&*delivery.key.tenant, delivery.key.time), ("acme", 100_000_005));
    assert_eq!(delivery.booking_uid.as_deref(), Some("u1"));
    assert_eq!(delivery.trace_id, "trace");
    assert_eq!(delivery.event.receive_time, Some(Timestamp { seconds: 1_800_000_000, nanos: 0 }));
    assert_eq!(delivery.facts.len(), 1);
    let again = prepare(v1::BookingEvent { request_id: "other".to_owned(), ..event() }, NOW + 1, String::new());
    assert_eq!(again.unwrap().key, delivery.key, "neither the request nor the time of receipt is part of it");
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

proptest! {
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
