//! What holds of the list itself. Where the lives end is for the tests of those who fold them.

use std::collections::BTreeSet;

use calbridge_proto::v1::Trigger;

use super::all;
use crate::{golden::body, type_body};

#[test]
fn names_and_bodies_are_apart() {
    let lives = all();
    let names: BTreeSet<_> = lives.iter().map(|life| &life.name).collect();
    assert_eq!(names.len(), lives.len());
    for life in &lives {
        let of_name = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        assert!(life.name.bytes().all(of_name) && life.name.len() <= 48, "{}", life.name);
        let bodies: BTreeSet<_> = life.steps.iter().map(|(trigger, told)| body(*trigger, told)).collect();
        assert_eq!(bodies.len(), life.steps.len(), "{}: no step is a copy of another", life.name);
        assert!(life.steps.is_sorted_by(|(_, a), (_, b)| a.created_at < b.created_at), "{}", life.name);
    }
}

#[test]
fn every_body_is_typed_and_every_booking_has_an_end() {
    for life in all() {
        let ends: BTreeSet<_> = life.ends.iter().map(|(uid, ..)| *uid).collect();
        assert_eq!(ends.len(), life.ends.len(), "{}", life.name);
        for (trigger, told) in &life.steps {
            let typed = type_body(&body(*trigger, told));
            assert_eq!(typed.trigger, *trigger, "{}", life.name);
            let uid = typed.payload.as_ref().and_then(|payload| payload.booking_uid());
            assert!(uid.is_some_and(|uid| ends.contains(uid)), "{}: {uid:?}", life.name);
        }
    }
}

#[test]
fn every_trigger_about_a_booking_is_told_and_no_life_is_too_long() {
    let lives = all();
    let told: BTreeSet<_> =
        lives.iter().flat_map(|life| &life.steps).map(|(trigger, _)| trigger.as_str_name()).collect();
    for trigger in [
        Trigger::BookingCreated,
        Trigger::BookingRequested,
        Trigger::BookingRescheduled,
        Trigger::BookingCancelled,
        Trigger::BookingRejected,
        Trigger::BookingPaymentInitiated,
        Trigger::BookingPaid,
        Trigger::BookingNoShowUpdated,
        Trigger::MeetingStarted,
        Trigger::MeetingEnded,
        Trigger::BookingLocationUpdated,
        Trigger::BookingReassigned,
        Trigger::InstantMeeting,
        Trigger::InstantMeetingAccepted,
        Trigger::AfterHostsCalVideoNoShow,
        Trigger::AfterGuestsCalVideoNoShow,
        Trigger::RecordingReady,
    ] {
        assert!(told.contains(trigger.as_str_name()), "{trigger:?}");
    }
    for length in 1..=7 {
        assert!(lives.iter().any(|life| life.steps.len() == length), "none of {length} events");
    }
    assert!(lives.iter().all(|life| life.steps.len() <= 7));
}
