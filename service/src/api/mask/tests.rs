use prost::Message as _;
use prost_types::Timestamp;

use super::*;

/// In every text that is somebody's.
const PRIVATE: &str = "mara";

fn private(what: &str) -> String {
    format!("{what} of {PRIVATE}@example.com")
}

fn person() -> v1::Organizer {
    v1::Organizer {
        id: Some(7),
        email: private("mail"),
        name: private("name"),
        username: private("username"),
        time_zone: "Europe/Berlin".to_owned(),
        language: "de".to_owned(),
        no_show: true,
    }
}

fn booking() -> v1::Booking {
    let answer = Value { kind: Some(Kind::StringValue(private("answer"))) };
    v1::Booking {
        tenant: "acme".to_owned(),
        uid: "u1".to_owned(),
        title: private("title"),
        location: private("location"),
        organizer: Some(person()),
        attendees: vec![v1::Attendee {
            email: private("mail"),
            name: private("name"),
            time_zone: "Europe/Berlin".to_owned(),
            language: "de".to_owned(),
            utc_offset_minutes: Some(120),
            phone_number: private("phone"),
            seat_uid: "seat".to_owned(),
            no_show: true,
        }],
        ical_uid: private("calendar"),
        start_time: Some(Timestamp { seconds: 1, nanos: 0 }),
        rescheduled_by: private("rescheduled"),
        reschedule_reason: private("reason"),
        description: private("description"),
        hosts: vec![person()],
        cancellation_reason: private("reason"),
        cancelled_by: private("cancelled"),
        rejection_reason: private("reason"),
        metadata: [("contactId".to_owned(), private("value"))].into(),
        responses: Some(Struct { fields: [("notes".to_owned(), answer)].into() }),
        etag: "tag".to_owned(),
        ..Default::default()
    }
}

fn holds_private<M: prost::Message>(message: &M) -> bool {
    message.encode_to_vec().windows(PRIVATE.len()).any(|window| window == PRIVATE.as_bytes())
}

#[test]
fn nothing_personal_is_left_and_the_rest_is() {
    let masked = booking().masked();
    assert!(holds_private(&booking()) && !holds_private(&masked), "{masked:?}");
    let attendee = &masked.attendees[0];
    assert_eq!((attendee.email.as_str(), attendee.time_zone.as_str()), (MASK, "Europe/Berlin"));
    assert_eq!((attendee.seat_uid.as_str(), attendee.no_show), ("seat", true));
    assert_eq!(masked.organizer.as_ref().unwrap().id, Some(7));
    assert_eq!(masked.metadata["contactId"], MASK);
    assert!(masked.responses.unwrap().fields.contains_key("notes"));
    assert_eq!((masked.uid.as_str(), masked.start_time), ("u1", booking().start_time));
}

#[test]
fn every_message_around_a_booking_is_masked_too() {
    let transition = || v1::Transition { booking: Some(booking()), uid: "u1".to_owned(), ..Default::default() };
    let entry = v1::TimelineEntry { transition: Some(transition()), ..Default::default() };
    let difference = v1::RefoldDifference { stored: Some(booking()), refolded: Some(booking()), ..Default::default() };
    let step = v1::RefoldDeliveriesResponse { step: Some(Step::Difference(difference)) };
    let form = v1::FormPayload { form_name: private("form"), ..Default::default() };
    let event = v1::BookingEvent { payload: Some(v1::booking_event::Payload::Form(form)), ..Default::default() };
    let delivery = v1::Delivery { delivery_id: "d1".to_owned(), ..Default::default() };
    let recorded = v1::RecordedDelivery { position: "p".to_owned(), delivery: Some(delivery), event: Some(event) };
    assert!(holds_private(&recorded));
    for entry in [Entry::Recorded(recorded), Entry::Transition(transition())] {
        let masked = v1::WatchTransitionsResponse { entry: Some(entry.masked()) };
        assert!(!holds_private(&masked) && masked.encoded_len() > 0);
    }
    assert!(!holds_private(&transition().masked()));
    assert!(!holds_private(&entry.masked()));
    assert!(!holds_private(&step.masked()));
}

#[test]
fn what_is_empty_stays_so_and_ids_are_shown() {
    let empty = v1::Booking::default().masked();
    assert_eq!(empty, v1::Booking::default());
    for (who, expected) in [
        ("4711", "4711"),
        ("5e0b1f4e-8f0a-4c6e-9a51-2d7a0b3f8e11", "5e0b1f4e-8f0a-4c6e-9a51-2d7a0b3f8e11"),
        ("mara@example.com", MASK),
        ("Mara", MASK),
        ("+491701234567", MASK),
    ] {
        let by = v1::Booking { cancelled_by: who.to_owned(), rescheduled_by: who.to_owned(), ..Default::default() };
        let masked = by.masked();
        assert_eq!((masked.cancelled_by.as_str(), masked.rescheduled_by.as_str()), (expected, expected));
    }
    for (id, expected) in
        [("u1@Cal.com", "u1@Cal.com"), ("u1", "u1"), ("mara@example.com", MASK), ("x@cal.com.example", MASK)]
    {
        let booking = v1::Booking { ical_uid: id.to_owned(), ..Default::default() };
        assert_eq!(booking.masked().ical_uid, expected);
    }
}

#[test]
fn a_tag_tells_states_apart_and_not_what_is_masked() {
    let other = v1::Booking { title: private("another title"), ..booking() };
    assert_eq!(booking().masked().etag, other.masked().etag);
    let moved = v1::Booking { position: "p".to_owned(), ..booking() };
    assert_ne!(booking().masked().etag, moved.masked().etag);
}
