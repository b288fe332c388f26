use calbridge_proto::v1::{BookingPayload, Trigger, booking_event::Payload};
use jiff::Timestamp;
use serde_json::Value;

use super::{Cancellation, Golden, Path, Person, body};
use crate::type_body;

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn golden() -> Golden {
    Golden::new("uX7hTq2", 41, time("2026-10-01T08:30:00.125Z"), time("2026-10-09T10:00:00Z"))
}

fn json(trigger: Trigger, golden: &Golden) -> Value {
    serde_json::from_slice(&body(trigger, golden)).expect("JSON")
}

fn booking(trigger: Trigger, golden: &Golden) -> BookingPayload {
    match type_body(&body(trigger, golden)).payload {
        Some(Payload::Booking(booking)) => booking,
        other => panic!("no booking: {other:?}"),
    }
}

#[test]
fn envelopes_have_the_senders_key_order() {
    for trigger in (0..=28).map(|number| Trigger::try_from(number).expect("a trigger")) {
        for path in [Path::Direct, Path::Confirm, Path::Payment, Path::Queue] {
            let text = String::from_utf8(body(trigger, &Golden { path, ..golden() })).expect("UTF-8");
            let name = super::trigger_name(trigger);
            let envelope = format!(r#"{{"triggerEvent":"{name}","createdAt":"2026-10-01T08:30:00.125Z","payload":{{"#);
            let flat = format!(r#"{{"triggerEvent":"{name}","#);
            let spread = format!(r#","triggerEvent":"{name}","createdAt":"2026-10-01T08:30:00.125Z","payload":{{"#);
            match (trigger, path) {
                (_, Path::Queue) => assert!(text.starts_with(&envelope), "{text}"),
                (Trigger::MeetingStarted | Trigger::MeetingEnded, _) => {
                    assert!(text.starts_with(&flat) && !text.contains("\"payload\":{"), "{text}");
                }
                (Trigger::FormSubmitted, _) => assert!(text.contains(&spread) && !text.starts_with(&flat), "{text}"),
                _ => assert!(text.starts_with(&envelope), "{text}"),
            }
        }
    }
}

#[test]
fn each_path_has_its_time_format() {
    for (trigger, path, start) in [
        (Trigger::BookingCreated, Path::Direct, "2026-10-09T10:00:00Z"),
        (Trigger::BookingRescheduled, Path::Direct, "2026-10-09T10:00:00Z"),
        (Trigger::BookingCreated, Path::Confirm, "2026-10-09T10:00:00.000Z"),
        (Trigger::BookingCreated, Path::Payment, "2026-10-09T10:00:00.000Z"),
        (Trigger::BookingRejected, Path::Direct, "2026-10-09T10:00:00.000Z"),
        (Trigger::BookingRequested, Path::Queue, "2026-10-09T10:00:00.000Z"),
        (Trigger::BookingCancelled, Path::Direct, "2026-10-09T10:00:00+00:00"),
        (Trigger::BookingCancelled, Path::Queue, "2026-10-09T10:00:00Z"),
    ] {
        let golden = Golden { path, ..golden() };
        assert_eq!(json(trigger, &golden)["payload"]["startTime"], start, "{trigger:?} {path:?}");
    }
    assert_eq!(json(Trigger::MeetingStarted, &golden())["startTime"], "2026-10-09T10:00:00.000Z");
}

#[test]
fn what_a_path_leaves_out_is_left_out() {
    let absent = |trigger, path, key: &str| {
        let value = json(trigger, &Golden { path, ..golden() });
        let object = value.get("payload").unwrap_or(&value);
        assert!(object.get(key).is_none(), "{trigger:?} {path:?} {key}");
    };
    absent(Trigger::BookingRequested, Path::Payment, "status");
    absent(Trigger::BookingRequested, Path::Payment, "eventTypeId");
    absent(Trigger::BookingCreated, Path::Confirm, "iCalUID");
    absent(Trigger::BookingCreated, Path::Payment, "iCalUID");
    absent(Trigger::BookingPaid, Path::Direct, "iCalUID");
    absent(Trigger::BookingRejected, Path::Direct, "metadata");
    absent(Trigger::BookingCancelled, Path::Direct, "metadata");
    absent(Trigger::BookingCancelled, Path::Direct, "cancellationReason");
    absent(Trigger::MeetingEnded, Path::Confirm, "status");
    absent(Trigger::MeetingEnded, Path::Confirm, "createdAt");
    absent(Trigger::MeetingEnded, Path::Confirm, "user");
    absent(Trigger::RecordingReady, Path::Queue, "uid");
    absent(Trigger::InstantMeeting, Path::Queue, "uid");
    absent(Trigger::Ping, Path::Direct, "uid");
}

#[test]
fn a_moved_booking_names_the_one_it_replaces() {
    let first = golden();
    let second = first.moved("uY8", 42, time("2026-10-02T08:30:00Z"), time("2026-10-12T11:00:00Z"));
    let moved = booking(Trigger::BookingRescheduled, &second);
    assert_eq!((moved.uid.as_str(), moved.reschedule_uid.as_str()), ("uY8", "uX7hTq2"));
    assert_eq!((moved.reschedule_id, moved.ical_uid.as_str()), (Some(41), "uX7hTq2@Cal.com"));
    assert_eq!(moved.reschedule_start_time, booking(Trigger::BookingCreated, &first).start_time);
    assert_eq!(moved.rescheduled_by, "tomas@lighthouse.example");
    let third = second.moved("uZ9", 43, second.created_at, second.start);
    assert_eq!(booking(Trigger::BookingRequested, &third).ical_uid, "uX7hTq2@Cal.com");
}

#[test]
fn a_cancel_means_one_of_three_things() {
    let guest = Person::new("Ines", "ines@lighthouse.example");
    let attendees = golden().attendees.into_iter().chain([guest]).collect();
    let whole = Golden { attendees, seats_per_time_slot: Some(8), reason: Some("ill".to_owned()), ..golden() };
    let cancelled = booking(Trigger::BookingCancelled, &whole);
    assert_eq!((cancelled.cancelled_by.as_str(), cancelled.attendees.len()), ("mara@harbour-studio.example", 2));
    assert_eq!((cancelled.status.as_str(), cancelled.cancellation_reason.as_str()), ("CANCELLED", "ill"));
    assert_eq!((cancelled.recurring, cancelled.request_reschedule, cancelled.price_minor), (false, None, None));

    let left = booking(Trigger::BookingCancelled, &Golden { cancellation: Cancellation::SeatLeft, ..whole.clone() });
    assert_eq!((left.cancelled_by.as_str(), left.attendees.len()), ("", 1));
    assert_eq!((left.attendee_seat_id.as_str(), left.seats_per_time_slot), ("", Some(8)));

    let asked = Golden { cancellation: Cancellation::HostRequestsReschedule, ..whole };
    let old = booking(Trigger::BookingCancelled, &asked);
    assert_eq!((old.status.as_str(), old.request_reschedule), ("", None));
    let new = booking(Trigger::BookingCancelled, &Golden { path: Path::Queue, ..asked });
    assert_eq!((new.status.as_str(), new.request_reschedule), ("CANCELLED", Some(true)));

    assert!(booking(Trigger::BookingCancelled, &Golden { recurring: true, ..golden() }).recurring);
}

#[test]
fn marks_are_those_of_the_test() {
    let marks = |golden: &Golden| {
        let Some(Payload::NoShow(no_show)) = type_body(&body(Trigger::BookingNoShowUpdated, golden)).payload else {
            panic!("a no-show");
        };
        no_show.attendees.into_iter().map(|person| (person.email, person.no_show)).collect::<Vec<_>>()
    };
    assert_eq!(marks(&golden()), [("tomas@lighthouse.example".to_owned(), Some(true))]);
    let no_shows = vec![("a@x.example".to_owned(), false), ("b@x.example".to_owned(), true)];
    let expected = [("a@x.example".to_owned(), Some(false)), ("b@x.example".to_owned(), Some(true))];
    assert_eq!(marks(&Golden { no_shows, ..golden() }), expected);
}

#[test]
fn a_payment_has_its_own_metadata() {
    let metadata = [("crm".to_owned(), "x1".to_owned())].into();
    let golden = Golden { metadata, price_minor: 4_200, payment_id: Some(9), ..golden() };
    let paid = booking(Trigger::BookingPaid, &golden);
    assert_eq!((paid.payment_id, paid.price_minor, paid.status.as_str()), (Some(9), Some(4_200), "ACCEPTED"));
    assert!(paid.metadata.contains_key("externalId") && !paid.metadata.contains_key("crm"));
    assert_eq!(booking(Trigger::BookingCreated, &golden).metadata["crm"], "x1");
    let pending = Golden { status: Some("PENDING".to_owned()), ..golden };
    assert_eq!(booking(Trigger::BookingPaid, &pending).status, "PENDING");
}

#[test]
fn texts_are_escaped_as_json_stringify_does() {
    let notes = "quote \" backslash \\ newline \n é 😀 \u{7f} \u{1}".to_owned();
    let text = String::from_utf8(body(Trigger::BookingCreated, &Golden { notes, ..golden() })).expect("UTF-8");
    let printed = "\"description\":\"quote \\\" backslash \\\\ newline \\n é 😀 \u{7f} \\u0001\"";
    assert!(text.contains(printed), "{text}");
}
