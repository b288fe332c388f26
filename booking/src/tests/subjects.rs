//! What an event is to the bookings, and whether others than its own may have changed with it.

use calbridge_proto::v1::{
    BookingEvent, BookingPayload, FormPayload, MeetingPayload, RecordingPayload,
    Trigger::{
        self, BookingCancelled, BookingCreated, BookingLocationUpdated, BookingNoShowUpdated, BookingPaid,
        BookingPaymentInitiated, BookingReassigned, BookingRejected, BookingRequested, BookingRescheduled,
        FormSubmitted, InstantMeeting, InstantMeetingAccepted, MeetingStarted, RecordingReady,
    },
    UnknownPayload,
    booking_event::Payload,
};

use super::world::{instant, marks, payload, tell, timer};
use crate::{Subject, facts, leaves_siblings_silent, subject};

#[test]
fn what_states_nothing_is_recorded_or_unparsed() {
    let event = |trigger: i32, payload| BookingEvent { trigger, payload, ..Default::default() };
    let recording = Payload::Recording(RecordingPayload { uid: "u1".into(), ..Default::default() });
    let unknown = Payload::Unknown(UnknownPayload { booking_uid: "u1".into() });
    let booking = Payload::Booking(payload("u1"));
    for (event, expected) in [
        (event(RecordingReady.into(), Some(recording.clone())), Subject::Recorded { uid: Some("u1") }),
        (event(FormSubmitted.into(), Some(Payload::Form(FormPayload::default()))), Subject::Recorded { uid: None }),
        (event(0, Some(unknown)), Subject::Recorded { uid: Some("u1") }),
        (event(BookingCreated.into(), None), Subject::Unparsed),
        (event(BookingCreated.into(), Some(Payload::Booking(payload("")))), Subject::Recorded { uid: None }),
        (event(BookingCreated.into(), Some(recording)), Subject::Recorded { uid: Some("u1") }),
        (event(RecordingReady.into(), Some(booking.clone())), Subject::Recorded { uid: Some("u1") }),
        (event(9_999, Some(booking.clone())), Subject::Recorded { uid: Some("u1") }),
        (event(BookingCreated.into(), Some(booking)), Subject::States { uid: "u1" }),
    ] {
        assert_eq!(subject(&event), expected);
        assert_eq!(facts(&event, &[0; 32]).is_empty(), !matches!(expected, Subject::States { .. }));
    }
}

#[test]
fn a_series_is_answered_or_ended_with_one_webhook() {
    let of_series = || BookingPayload { recurring: true, ..payload("u1") };
    for trigger in [BookingCreated, BookingRejected, BookingCancelled] {
        assert!(leaves_siblings_silent(&tell(trigger, 1, of_series()).event), "{trigger:?}");
        assert!(!leaves_siblings_silent(&tell(trigger, 1, payload("u1")).event), "{trigger:?} of a single booking");
    }
    let one_by_one: [Trigger; 7] = [
        BookingRequested,
        BookingRescheduled,
        BookingPaymentInitiated,
        BookingPaid,
        BookingLocationUpdated,
        BookingReassigned,
        InstantMeetingAccepted,
    ];
    for trigger in one_by_one {
        assert!(!leaves_siblings_silent(&tell(trigger, 1, of_series()).event), "{trigger:?}");
    }
}

#[test]
fn only_a_bookings_own_payload_tells_of_a_series() {
    let timer = MeetingPayload { enveloped: true, ..timer("u1") };
    for told in [
        tell(MeetingStarted, 1, timer.clone()),
        tell(BookingCancelled, 1, timer),
        tell(BookingNoShowUpdated, 1, marks("u1", &[])),
        tell(InstantMeeting, 1, instant("u1")),
    ] {
        assert!(!leaves_siblings_silent(&told.event), "{:?}", told.event.trigger());
    }
    let unparsed = BookingEvent { trigger: BookingCancelled.into(), ..Default::default() };
    assert!(!leaves_siblings_silent(&unparsed));
}
