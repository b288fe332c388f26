//! Bodies that nobody sends in good faith, and bodies with a few bytes gone wrong.

use calbridge_proto::v1::{BookingEvent, Trigger};
use proptest::prelude::*;
use prost::Message;

use super::{booking, golden};
use crate::{
    envelope::TRIGGER_NAME_BYTES_MAX,
    golden::{Golden, Path, body as golden_body},
    typed::{Typed, in_any_order, in_order, type_body},
};

#[test]
fn hostile_bodies_stay_small_and_decode() {
    const SIZE: usize = 1024 * 1024;
    let filled = |open: &str, item: &str, close: &str| {
        let items = vec![item; (SIZE - open.len() - close.len()) / (item.len() + 1)].join(",");
        format!(r#"{{"triggerEvent":"BOOKING_CREATED","payload":{{{open}{items}{close}}}}}"#)
    };
    let keys = |open: &str| {
        let entries: Vec<_> = (0..SIZE / 11).map(|index| format!(r#""{index:x}":[]"#)).collect();
        format!(r#"{{"triggerEvent":"BOOKING_CREATED","payload":{{{open}{}}}}}}}"#, entries.join(","))
    };
    for body in [
        filled(r#""attendees":["#, r#"{"id":1}"#, "]"),
        filled(r#""addedHostUserIds":["#, "1", "]"),
        filled(r#""responses":{"q":["#, "0", "]}"),
        filled(r#""responses":{"q":["#, "{}", "]}"),
        filled(r#""metadata":{"q":["#, "0", "]}"),
        keys(r#""responses":{"#),
        keys(r#""metadata":{"#),
        keys(r#""userFieldsResponses":{"#),
    ] {
        let mut event = BookingEvent::default();
        type_body(body.as_bytes()).into_event(&mut event);
        assert!(event.payload.is_some(), "{}", &body[..80]);
        assert!(event.encoded_len() < 2 * SIZE, "{}", &body[..80]);
        let booking = booking(type_body(body.as_bytes()));
        let counts = [
            booking.attendees.len(),
            booking.added_host_user_ids.len(),
            booking.responses.len(),
            booking.user_fields_responses.len(),
            booking.metadata.len(),
        ];
        assert!(counts.into_iter().sum::<usize>() <= 1_000, "{}", &body[..80]);
        assert_eq!(BookingEvent::decode(event.encode_to_vec().as_slice()).expect("decodes"), event);
    }
}

#[test]
fn a_number_beyond_f64_leaves_a_body_unparsed_where_it_is_read() {
    let body = |key: &str| format!(r#"{{"triggerEvent":"BOOKING_CREATED","payload":{{"uid":"u1","{key}":1e400}}}}"#);
    let named = type_body(body("price").as_bytes());
    assert_eq!((named.trigger, named.payload), (Trigger::BookingCreated, None));
    assert_eq!(booking(type_body(body("elsewhere").as_bytes())).uid, "u1");
}

#[test]
fn deep_nesting_is_passed_by() {
    let deep = "{\"a\":".repeat(50_000) + "1" + &"}".repeat(50_000);
    let body =
        format!(r#"{{"x":{deep},"triggerEvent":"BOOKING_CREATED","payload":{{"appsStatus":{deep},"uid":"u1"}}}}"#);
    assert_eq!(booking(type_body(body.as_bytes())).uid, "u1");
    assert_eq!(type_body(deep.as_bytes()), Typed::default());
    assert_eq!(type_body("[".repeat(500_000).as_bytes()), Typed::default());
}

/// A golden body with a few bytes changed, taken out or doubled.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), prop::option::of(any::<u8>()), 0..3_usize);
    (0..=28_i32, 0..4_usize, prop::collection::vec(change, 0..6)).prop_map(|(trigger, path, changes)| {
        let path = [Path::Direct, Path::Confirm, Path::Payment, Path::Queue][path];
        let mut body = golden_body(Trigger::try_from(trigger).unwrap_or_default(), &Golden { path, ..golden() });
        for (index, byte, kind) in changes {
            let at = index.index(body.len());
            match (kind, byte) {
                (0, Some(byte)) => body[at] = byte,
                (1, Some(byte)) => body.insert(at, byte),
                (2, _) => body.insert(at, body[at]),
                _ => drop(body.remove(at)),
            }
        }
        body
    })
}

proptest! {
    #[test]
    fn any_bytes_are_typed_without_panic(raw in prop::collection::vec(any::<u8>(), 0..300)) {
        let typed = type_body(&raw);
        prop_assert!(typed.trigger_name.len() <= TRIGGER_NAME_BYTES_MAX);
    }

    #[test]
    fn a_mutated_body_is_typed_and_survives_the_wire(body in mutated()) {
        let mut event = BookingEvent::default();
        type_body(&body).into_event(&mut event);
        prop_assert_eq!(BookingEvent::decode(event.encode_to_vec().as_slice()).expect("decodes"), event);
        prop_assert_eq!(type_body(&body), type_body(&body));
        if let Some(text) = str::from_utf8(&body).ok()
            && let Some(typed) = in_order(text)
        {
            prop_assert_eq!(typed, in_any_order(text), "one pass finds what two do");
        }
    }

    #[test]
    fn the_order_of_keys_means_nothing(seed in prop::collection::vec(any::<u32>(), 60)) {
        let value: serde_json::Value =
            serde_json::from_slice(&golden_body(Trigger::BookingCreated, &golden())).expect("JSON");
        let payload = value["payload"].as_object().expect("an object");
        let mut entries: Vec<_> = payload.iter().zip(&seed).collect();
        entries.sort_by_key(|(_, order)| **order);
        let entries: Vec<_> =
            entries.into_iter().map(|((key, value), _)| format!("{}:{value}", serde_json::json!(key))).collect();
        prop_assert_eq!(entries.len(), payload.len());
        let shuffled = format!(
            r#"{{"payload":{{{}}},"createdAt":{},"triggerEvent":"BOOKING_CREATED"}}"#,
            entries.join(","),
            value["createdAt"],
        );
        let expected = type_body(&golden_body(Trigger::BookingCreated, &golden()));
        prop_assert_eq!(type_body(shuffled.as_bytes()), expected);
    }
}
