//! Bodies: whatever they are, they are typed without a panic, twice to the same, and to little more than they are.

use calbridge_calcom::{created_at, first_trigger, type_body};
use calbridge_proto::v1::BookingEvent;
use prost::Message as _;
use serde::de::IgnoredAny;

use crate::seeds;

/// A typed event is at most so many times as long as its body: the most that a short item of a list or a map grows by
/// on the wire.
const GROWTH: usize = 8;
/// And so many bytes more, for what stands in every event.
const GROWTH_BYTES: usize = 64;
/// The longest name of a trigger that is kept.
const TRIGGER_NAME_BYTES: usize = 128;
/// The key of it.
const TRIGGER_KEY: &[u8] = b"triggerEvent";
/// What begins a character by its number.
const JSON_ESCAPE: &[u8] = b"\\u";

pub(crate) fn judge(body: &[u8]) {
    let typed = type_body(body);
    assert_eq!(typed, type_body(body), "the same body says the same");
    assert!(typed.trigger_name.len() <= TRIGGER_NAME_BYTES);
    if typed.event_time.is_some() {
        assert_eq!(typed.event_time, created_at(body), "the time under which a delivery is kept");
    }
    let has_escapes = count(body, JSON_ESCAPE) > 0;
    let (trigger, name) = first_trigger(body);
    assert!(name.len() <= TRIGGER_NAME_BYTES);
    if typed.payload.is_some() && count(body, TRIGGER_KEY) == 1 && !has_escapes {
        assert_eq!((trigger, &name), (typed.trigger, &typed.trigger_name), "its beginning says the same");
    }
    if typed.payload.is_some() && !has_escapes {
        serde_json::from_slice::<IgnoredAny>(body).expect("what was typed is JSON");
    }
    if has_escapes {
        let shown = format!("{typed:?}").replace("\\\\", "");
        assert!(!shown.contains("\\0"), "no text holds a NUL: {shown}");
    }
    let mut event = BookingEvent { raw_body: body.to_vec().into(), ..BookingEvent::default() };
    typed.into_event(&mut event);
    assert_eq!(event.raw_body, body, "the raw bytes are kept");
    let encoded = event.encode_to_vec();
    assert!(encoded.len() <= (GROWTH + 1) * body.len() + GROWTH_BYTES, "{} of {}", encoded.len(), body.len());
    assert_eq!(BookingEvent::decode(encoded.as_slice()).expect("it decodes"), event);
}

fn count(body: &[u8], what: &[u8]) -> usize {
    body.windows(what.len()).filter(|bytes| *bytes == what).count()
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = seeds::bodies();
    seeds.push(b"false".to_vec());
    seeds.push(
        b"{\"triggerEvent\":\"BOOKING_CREATED\",\"payload\":{\"uid\":\"\\ud83d\\u0000\",\"price\":1e400}}".to_vec(),
    );
    seeds
}
