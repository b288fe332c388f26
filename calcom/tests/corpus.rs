//! Recorded webhooks of Cal.com, typed, against a plain look-up in the same body.
//!
//! `CALBRIDGE_CORPUS` names a folder of `NNN-name.json`; without it these tests say that they were skipped.

use std::{collections::BTreeSet, fs, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use calbridge_calcom::type_body;
use calbridge_proto::v1::{
    BookingEvent, BookingPayload, MeetingPayload, PersonPayload, Trigger, booking_event::Payload,
};
use jiff::Timestamp;
use prost::Message;
use serde_json::Value;

/// One recorded webhook.
struct Recorded {
    name: String,
    body: Vec<u8>,
}

impl Recorded {
    /// The body as JSON, NULs and lone surrogates replaced by a cruder hand than the library's: a pair of surrogates
    /// Cal.com never prints as escapes.
    fn json(&self) -> Option<Value> {
        let mut text = str::from_utf8(&self.body).ok()?.replace("\\u0000", "\u{fffd}");
        for start in ["\\ud8", "\\ud9", "\\uda", "\\udb", "\\udc", "\\udd", "\\ude", "\\udf"] {
            while let Some(at) = text.find(start) {
                text.replace_range(at..at + "\\ud83d".len(), "\u{fffd}");
            }
        }
        serde_json::from_str(&text).ok()
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own switch; the library reads no environment")]
fn corpus() -> Option<Vec<Recorded>> {
    let Ok(folder) = std::env::var("CALBRIDGE_CORPUS") else {
        eprintln!("skipped: CALBRIDGE_CORPUS names no folder of recorded webhooks");
        return None;
    };
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    assert!(!paths.is_empty(), "CALBRIDGE_CORPUS holds no recorded webhooks");
    let read = |path: PathBuf| {
        let file: Value = serde_json::from_slice(&fs::read(&path).expect("readable")).expect("JSON");
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        file["body_base64"].as_str().map(|body| Recorded { name, body: STANDARD.decode(body).expect("base64") })
    };
    Some(paths.into_iter().filter_map(read).collect())
}

/// Where the typed fields stand: an envelope's payload, or the whole body of a flat `MEETING_*`.
fn fields(json: &Value) -> Option<&Value> {
    let trigger = json.get("triggerEvent")?.as_str()?;
    match json.get("payload") {
        Some(payload) if payload.is_object() => Some(payload),
        None if trigger.starts_with("MEETING_") => Some(json),
        _ => None,
    }
}

fn instant(time: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    time.map(|time| Timestamp::new(time.seconds, time.nanos).expect("in range"))
}

fn time_at(fields: &Value, key: &str) -> Option<Timestamp> {
    fields[key].as_str().and_then(|text| text.parse().ok())
}

fn text_at<'a>(fields: &'a Value, key: &str) -> &'a str {
    fields[key].as_str().unwrap_or_default()
}

fn emails_at<'a>(fields: &'a Value, key: &str) -> Vec<&'a str> {
    fields[key].as_array().map_or_else(Vec::new, |list| list.iter().map(|person| text_at(person, "email")).collect())
}

fn emails(people: &[PersonPayload]) -> Vec<&str> {
    people.iter().map(|person| person.email.as_str()).collect()
}

fn keys_at(fields: &Value, key: &str) -> BTreeSet<String> {
    let entries = fields[key].as_object().into_iter().flatten();
    entries.filter(|(_, value)| !value.is_null()).map(|(key, _)| key.clone()).collect()
}

#[test]
fn what_has_no_envelope_is_unparsed_and_everything_else_is_typed() {
    let Some(corpus) = corpus() else { return };
    for recorded in corpus {
        let typed = type_body(&recorded.body);
        let json = recorded.json();
        let fields = json.as_ref().and_then(fields);
        assert_eq!(typed.payload.is_some(), fields.is_some(), "{}", recorded.name);
        let (Some(json), Some(fields)) = (&json, fields) else { continue };

        assert_eq!(typed.trigger_name, text_at(json, "triggerEvent"), "{}", recorded.name);
        let known = Trigger::from_str_name(&format!("TRIGGER_{}", typed.trigger_name));
        assert_eq!(typed.trigger, known.unwrap_or_default(), "{}", recorded.name);
        let sent = if std::ptr::eq(fields, json) { None } else { time_at(json, "createdAt") };
        assert_eq!(instant(typed.event_time.as_ref()), sent, "{}", recorded.name);
    }
}

#[test]
fn every_payload_says_what_its_body_says() {
    let Some(corpus) = corpus() else { return };
    let mut compared = 0;
    for recorded in corpus {
        let Some(json) = recorded.json() else { continue };
        let (Some(fields), Some(payload)) = (fields(&json), type_body(&recorded.body).payload) else { continue };
        compare(&recorded.name, fields, &payload);
        compared += 1;
    }
    assert!(compared > 0, "nothing was compared");
}

/// Compares what a booking's state is made of.
fn compare(name: &str, fields: &Value, payload: &Payload) {
    let uid = ["uid", "bookingUid"].map(|key| text_at(fields, key)).into_iter().find(|uid| !uid.is_empty());
    let uid = uid.or_else(|| fields["booking"]["uid"].as_str());
    let names_none = matches!(
        payload,
        Payload::Form(_) | Payload::OutOfOffice(_) | Payload::DelegationCredential(_) | Payload::Ping(_)
    );
    assert_eq!(payload.booking_uid(), uid.filter(|_| !names_none), "{name}");
    match payload {
        Payload::Booking(booking) => compare_booking(name, fields, booking),
        Payload::Meeting(meeting) => compare_meeting(name, fields, meeting),
        Payload::NoShow(no_show) => {
            let marks: Vec<_> = no_show.attendees.iter().map(|person| person.no_show).collect();
            let expected = fields["attendees"].as_array().expect("attendees");
            let expected: Vec<_> = expected.iter().map(|person| person["noShow"].as_bool()).collect();
            assert_eq!(marks, expected, "{name}");
            assert_eq!(emails(&no_show.attendees), emails_at(fields, "attendees"), "{name}");
        }
        Payload::CalVideoNoShow(no_show) => {
            assert_eq!(no_show.booking_id, fields["bookingId"].as_i64(), "{name}");
            assert_eq!(no_show.host_email, text_at(fields, "hostEmail"), "{name}");
            assert_eq!(no_show.guests.len(), fields["guests"].as_array().map_or(0, Vec::len), "{name}");
            assert_eq!(no_show.webhook_id, text_at(&fields["webhook"], "id"), "{name}");
        }
        Payload::Form(form) => {
            assert_eq!(form.form_id, text_at(fields, "formId"), "{name}");
            assert!(form.responses.keys().eq(&keys_at(fields, "responses")), "{name}");
        }
        _ => {}
    }
}

fn compare_booking(name: &str, fields: &Value, booking: &BookingPayload) {
    assert_eq!(instant(booking.start_time.as_ref()), time_at(fields, "startTime"), "{name}");
    assert_eq!(instant(booking.end_time.as_ref()), time_at(fields, "endTime"), "{name}");
    let old_start = time_at(fields, "rescheduleStartTime");
    assert_eq!(instant(booking.reschedule_start_time.as_ref()), old_start, "{name}");
    for (typed, key) in [
        (&booking.status, "status"),
        (&booking.title, "title"),
        (&booking.event_type_slug, "type"),
        (&booking.location, "location"),
        (&booking.description, "description"),
        (&booking.ical_uid, "iCalUID"),
        (&booking.reschedule_uid, "rescheduleUid"),
        (&booking.rescheduled_by, "rescheduledBy"),
        (&booking.cancelled_by, "cancelledBy"),
        (&booking.cancellation_reason, "cancellationReason"),
        (&booking.rejection_reason, "rejectionReason"),
        (&booking.attendee_seat_id, "attendeeSeatId"),
        (&booking.currency, "currency"),
    ] {
        assert_eq!(typed, text_at(fields, key), "{name} {key}");
    }
    for (typed, key) in [
        (booking.booking_id, "bookingId"),
        (booking.price_minor, "price"),
        (booking.payment_id, "paymentId"),
        (booking.event_type_id, "eventTypeId"),
        (booking.reschedule_id, "rescheduleId"),
        (booking.ical_sequence, "iCalSequence"),
        (booking.seats_per_time_slot.map(i64::from), "seatsPerTimeSlot"),
        (booking.length_minutes.map(i64::from), "length"),
    ] {
        assert_eq!(typed, fields[key].as_i64(), "{name} {key}");
    }
    assert_eq!(emails(&booking.attendees), emails_at(fields, "attendees"), "{name}");
    let host = booking.organizer.as_ref().map_or("", |host| host.email.as_str());
    assert_eq!(host, text_at(&fields["organizer"], "email"), "{name}");
    assert_eq!(booking.request_reschedule, fields["requestReschedule"].as_bool(), "{name}");
    assert_eq!(booking.recurring, fields["recurringEvent"].is_object(), "{name}");
    assert!(booking.metadata.keys().eq(&keys_at(fields, "metadata")), "{name}");
    assert!(booking.responses.keys().eq(&keys_at(fields, "responses")), "{name}");
}

fn compare_meeting(name: &str, fields: &Value, meeting: &MeetingPayload) {
    assert_eq!(instant(meeting.start_time.as_ref()), time_at(fields, "startTime"), "{name}");
    assert_eq!(instant(meeting.end_time.as_ref()), time_at(fields, "endTime"), "{name}");
    assert_eq!(instant(meeting.row_create_time.as_ref()), time_at(fields, "createdAt"), "{name}");
    assert_eq!(meeting.booking_id, fields["id"].as_i64(), "{name}");
    assert_eq!(meeting.status, text_at(fields, "status"), "{name}");
    assert_eq!(meeting.from_reschedule, text_at(fields, "fromReschedule"), "{name}");
    assert_eq!(meeting.paid, fields["paid"].as_bool(), "{name}");
    assert_eq!(emails(&meeting.attendees), emails_at(fields, "attendees"), "{name}");
    let host = meeting.organizer.as_ref().map_or("", |host| host.email.as_str());
    assert_eq!(host, text_at(&fields["user"], "email"), "{name}");
    assert!(meeting.responses.keys().eq(&keys_at(fields, "responses")), "{name}");
}

#[test]
fn every_typed_body_survives_the_wire() {
    let Some(corpus) = corpus() else { return };
    for recorded in corpus {
        let mut event = BookingEvent::default();
        type_body(&recorded.body).into_event(&mut event);
        let decoded = BookingEvent::decode(event.encode_to_vec().as_slice()).expect("decodes");
        assert_eq!(decoded, event, "{}", recorded.name);
    }
}
