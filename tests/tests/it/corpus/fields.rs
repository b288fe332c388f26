//! A booking's fields against a plain look-up in the bodies that spoke of it.

use std::collections::BTreeMap;

use calbridge_e2e::v1::{Attendee, Booking, Organizer};
use prost_types::{Timestamp, value::Kind};
use serde_json::Value;

/// Microseconds since 1970.
pub(super) fn microseconds(time: Timestamp) -> i64 {
    time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000
}

/// The instant that a text names, in microseconds since 1970, whatever its format and offset.
pub(super) fn instant(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_microsecond()
}

/// `about` are the triggers and bodies about this booking, in the order of their sending: the last BOOKING_* that has a
/// field decides it, and a MEETING_* only where no BOOKING_* does.
pub(super) fn are_right(booking: &Booking, about: &[(&str, &Value)]) {
    let writes: Vec<&Value> =
        about.iter().filter(|(trigger, _)| writes(trigger)).map(|(_, json)| &json["payload"]).collect();
    let fills: Vec<&Value> =
        about.iter().filter(|(trigger, _)| !writes_anything(trigger)).map(|(_, json)| row(json)).collect();
    let look = |key: &str| {
        let found = writes.iter().rev().chain(fills.iter().rev()).find(|body| is_said(&body[key]));
        found.map_or(&Value::Null, |body| &body[key])
    };
    texts_are_right(booking, &look);
    times_are_right(booking, &look);
    numbers_are_right(booking, &look);
    organizer_is_right(booking.organizer.as_ref(), look("organizer"));
    if booking.seats_per_time_slot.is_none() && look("attendees").is_array() {
        attendees_are_right(&booking.attendees, look("attendees"));
    }
    let own_metadata =
        about.iter().filter(|(trigger, _)| *trigger != "BOOKING_PAID").map(|(_, json)| &row(json)["metadata"]);
    metadata_is_right(booking, own_metadata);
    let told = writes.iter().filter_map(|body| body["responses"].as_object()).flatten();
    responses_are_right(booking, told.filter(|(_, answer)| is_said(&answer["value"])).collect());
}

/// A booking that we know only because another one replaced it.
pub(super) fn replaced_is_right(booking: &Booking, by: &Value) {
    assert_eq!(booking.start_time.map(microseconds), by["rescheduleStartTime"].as_str().map(instant));
    assert_eq!(booking.end_time.map(microseconds), by["rescheduleEndTime"].as_str().map(instant));
    assert_eq!(booking.calcom_booking_id, by["rescheduleId"].as_i64());
    assert_eq!(booking.rescheduled_to_uid, by["uid"].as_str().unwrap());
}

fn writes(trigger: &str) -> bool {
    trigger.starts_with("BOOKING_") && trigger != "BOOKING_NO_SHOW_UPDATED" || trigger == "INSTANT_MEETING_ACCEPTED"
}

/// These tell no details, or in another shape.
fn writes_anything(trigger: &str) -> bool {
    writes(trigger) || trigger == "BOOKING_NO_SHOW_UPDATED" || trigger == "INSTANT_MEETING"
}

fn row(json: &Value) -> &Value {
    if json["payload"].is_object() { &json["payload"] } else { json }
}

/// Left out, null or empty says nothing.
fn is_said(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

/// NUL can't be stored by every database; it is U+FFFD in typed values.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().replace('\0', "\u{FFFD}")
}

fn texts_are_right<'a>(booking: &Booking, look: &impl Fn(&str) -> &'a Value) {
    let Booking { uid, .. } = booking;
    for (key, found) in [
        ("title", &booking.title),
        ("description", &booking.description),
        ("location", &booking.location),
        ("currency", &booking.currency),
        ("rescheduledBy", &booking.rescheduled_by),
        ("rejectionReason", &booking.rejection_reason),
        ("rescheduleUid", &booking.rescheduled_from_uid),
    ] {
        let own_move = key == "rescheduleUid" && text(look(key)) == *uid;
        if is_said(look(key)) && !own_move {
            assert_eq!(*found, text(look(key)), "{uid}: {key}");
        }
    }
    if look("seatsPerTimeSlot").is_null() {
        assert_eq!(booking.cancellation_reason, text(look("cancellationReason")), "{uid}: cancellationReason");
        assert_eq!(booking.cancelled_by, text(look("cancelledBy")), "{uid}: cancelledBy");
        if is_said(look("iCalUID")) {
            assert_eq!(booking.ical_uid, text(look("iCalUID")), "{uid}: iCalUID");
        }
    }
    if is_said(look("type")) {
        assert_eq!(booking.event_type_slug, text(look("type")), "{uid}: type");
    }
    let reason = &look("responses")["rescheduleReason"]["value"];
    if is_said(look("rescheduleUid")) && is_said(reason) {
        assert_eq!(booking.reschedule_reason, text(reason), "{uid}: rescheduleReason");
    }
}

fn times_are_right<'a>(booking: &Booking, look: &impl Fn(&str) -> &'a Value) {
    for (key, found) in [
        ("startTime", booking.start_time),
        ("endTime", booking.end_time),
        ("rescheduleStartTime", booking.previous_start_time),
        ("rescheduleEndTime", booking.previous_end_time),
    ] {
        assert_eq!(found.map(microseconds), look(key).as_str().map(instant), "{}: {key}", booking.uid);
    }
}

fn numbers_are_right<'a>(booking: &Booking, look: &impl Fn(&str) -> &'a Value) {
    for (key, found) in [
        ("bookingId", booking.calcom_booking_id),
        ("eventTypeId", booking.event_type_id),
        ("price", booking.price_minor),
        ("paymentId", booking.payment_id),
        ("seatsPerTimeSlot", booking.seats_per_time_slot.map(i64::from)),
    ] {
        let row_id = if key == "bookingId" { look("id").as_i64() } else { None };
        let told = look(key).as_i64().or(row_id);
        if told.is_some() {
            assert_eq!(found, told, "{}: {key}", booking.uid);
        }
    }
}

fn organizer_is_right(found: Option<&Organizer>, told: &Value) {
    if !told.is_object() {
        return;
    }
    let found = found.unwrap();
    assert_eq!(found.email, text(&told["email"]));
    assert_eq!(found.name, text(&told["name"]));
    assert_eq!(found.time_zone, text(&told["timeZone"]));
    assert_eq!(found.language, text(&told["language"]["locale"]));
    assert!(!told["username"].is_string() || found.username == text(&told["username"]));
    assert!(!told["id"].is_i64() || found.id == told["id"].as_i64());
}

fn attendees_are_right(found: &[Attendee], told: &Value) {
    let told = told.as_array().unwrap();
    let emails: Vec<_> = found.iter().map(|attendee| attendee.email.clone()).collect();
    assert_eq!(emails, told.iter().map(|one| text(&one["email"])).collect::<Vec<_>>());
    for (found, told) in found.iter().zip(told) {
        assert_eq!(found.name, text(&told["name"]));
        assert_eq!(found.time_zone, text(&told["timeZone"]));
        let locale = if told["language"].is_object() { &told["language"]["locale"] } else { &told["locale"] };
        assert_eq!(found.language, text(locale));
        let offset = told["utcOffset"].as_i64();
        assert!(offset.is_none() || found.utc_offset_minutes.map(i64::from) == offset, "{told}");
        assert!(!is_said(&told["phoneNumber"]) || found.phone_number == text(&told["phoneNumber"]));
    }
}

fn metadata_is_right<'a>(booking: &Booking, told: impl Iterator<Item = &'a Value>) {
    let mut expected = BTreeMap::new();
    for (key, value) in told.filter_map(Value::as_object).flatten().filter(|(_, value)| is_said(value)) {
        let printed = if value.is_string() { text(value) } else { value.to_string() };
        expected.insert(key.replace('\0', "\u{FFFD}"), printed);
    }
    for (key, value) in expected {
        assert_eq!(booking.metadata.get(&key), Some(&value), "{}: metadata.{key}", booking.uid);
    }
}

/// `told` holds the newest answer to each question.
fn responses_are_right(booking: &Booking, told: BTreeMap<&String, &Value>) {
    for (slug, told) in told {
        let found = booking.responses.as_ref().and_then(|responses| responses.fields.get(slug));
        let found = found.unwrap_or_else(|| panic!("{}: responses.{slug} is absent", booking.uid));
        assert_eq!(without_nul(&plain(found)), without_nul(&told["value"]), "{}: responses.{slug}", booking.uid);
    }
}

fn without_nul(value: &Value) -> Value {
    serde_json::from_str(&value.to_string().replace("\\u0000", "\u{FFFD}")).unwrap()
}

/// A protobuf value as JSON; whole numbers as integers, as the sender prints them.
fn plain(value: &prost_types::Value) -> Value {
    match value.kind.as_ref() {
        None | Some(Kind::NullValue(_)) => Value::Null,
        #[expect(clippy::cast_possible_truncation, reason = "only whole numbers of this size are cast")]
        Some(Kind::NumberValue(number)) if number.fract() == 0.0 && number.abs() < 9e15 => (*number as i64).into(),
        Some(Kind::NumberValue(number)) => (*number).into(),
        Some(Kind::StringValue(text)) => text.as_str().into(),
        Some(Kind::BoolValue(flag)) => (*flag).into(),
        Some(Kind::StructValue(map)) => map.fields.iter().map(|(key, value)| (key.clone(), plain(value))).collect(),
        Some(Kind::ListValue(list)) => list.values.iter().map(plain).collect(),
    }
}
