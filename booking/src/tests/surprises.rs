//! Legal but surprising sequences: what Cal.com can send, and what a hand-written handler gets wrong.

use calbridge_proto::v1::{
    BookingPayload, BookingStatus, MeetingPayload, PaymentStatus,
    Trigger::{
        BookingCancelled, BookingCreated, BookingNoShowUpdated, BookingPaid, BookingPaymentInitiated, BookingRejected,
        BookingRequested, BookingRescheduled, MeetingEnded, MeetingStarted,
    },
};

use super::{
    histories::ends,
    seen::{Linked, Seen, booked, cancelled, leave, pending, rejected, rejection, replaced, seat, seen},
    world::{at, cancel, marks, moved, payload, person, tell, timer},
};

#[test]
fn created_twice_by_two_subscriptions() {
    let world = ends(&[tell(BookingCreated, 1, payload("u1")), tell(BookingCreated, 2, payload("u1"))]);
    assert_eq!(world.status("u1"), BookingStatus::Scheduled);
    assert_eq!(world.get("u1").booking.create_time, Some(at(1)));
}

#[test]
fn created_twice_for_two_seats() {
    let world = ends(&[
        tell(BookingCreated, 1, seat("u1", "a@a.example", "s1")),
        tell(BookingCreated, 2, seat("u1", "b@a.example", "s2")),
    ]);
    let both = vec![("a@a.example", "s1"), ("b@a.example", "s2")];
    assert_eq!(seen(&world, "u1"), Seen { attendees: both, ..booked("u1") });
}

#[test]
fn paid_before_created() {
    for status in ["ACCEPTED", "PENDING", ""] {
        let paid = BookingPayload { status: status.into(), ..payload("u1") };
        let world = ends(&[tell(BookingPaid, 1, paid), tell(BookingCreated, 2, payload("u1"))]);
        assert_eq!(seen(&world, "u1"), Seen { payment: PaymentStatus::Paid, ..booked("u1") }, "{status:?}");
    }
}

#[test]
fn paid_or_created_though_no_payment_was_ever_initiated() {
    let paid = ends(&[tell(BookingPaid, 1, payload("u1"))]);
    assert_eq!(seen(&paid, "u1"), Seen { payment: PaymentStatus::Paid, ..booked("u1") });
    let priced = BookingPayload { price_minor: Some(900), ..payload("u1") };
    let created = ends(&[tell(BookingCreated, 1, priced)]);
    assert_eq!(seen(&created, "u1"), booked("u1"), "a price is no payment");
}

#[test]
fn a_meeting_that_was_paid_says_so() {
    let world = ends(&[tell(MeetingStarted, 0, MeetingPayload { paid: Some(true), ..timer("u1") })]);
    assert_eq!(world.get("u1").booking.payment_status(), PaymentStatus::Paid);
    let world = ends(&[tell(MeetingStarted, 0, MeetingPayload { paid: Some(false), ..timer("u1") })]);
    assert_eq!(world.get("u1").booking.payment_status(), PaymentStatus::None);
}

#[test]
fn rescheduled_from_an_unknown_booking() {
    let world = ends(&[tell(BookingRescheduled, 2, moved("u2", "u1"))]);
    let old = world.get("u1");
    assert_eq!((old.booking.status(), old.rule.as_str()), (BookingStatus::Rescheduled, "rescheduled"));
    assert_eq!((old.booking.start_time, old.booking.end_time), (Some(at(10)), Some(at(11))));
    assert_eq!((old.booking.calcom_booking_id, old.booking.title.as_str()), (Some(7), ""));
}

#[test]
fn rescheduled_from_a_cancelled_booking() {
    let world = ends(&[
        tell(BookingCreated, 1, payload("u1")),
        tell(BookingCancelled, 2, cancel("u1")),
        tell(BookingRescheduled, 3, moved("u2", "u1")),
    ]);
    assert_eq!(world.status("u1"), BookingStatus::Rescheduled);
    assert_eq!(world.get("u1").booking.cancellation_reason, "ill");
}

#[test]
fn a_booking_that_names_itself_as_replaced_links_nothing() {
    let world = ends(&[tell(BookingCreated, 1, payload("u1")), tell(BookingRescheduled, 2, moved("u1", "u1"))]);
    let booking = world.get("u1").booking;
    assert_eq!(booking.status(), BookingStatus::Scheduled);
    assert_eq!((booking.rescheduled_from_uid.as_str(), booking.rescheduled_to_uid.as_str()), ("", ""));
    assert_eq!((booking.start_time, booking.previous_start_time), (Some(at(12)), Some(at(10))));
}

#[test]
fn rescheduled_from_a_booking_that_lives_on() {
    let mover = BookingPayload {
        reschedule_uid: "u1".into(),
        ical_uid: "u1@Cal.com".into(),
        ..seat("u2", "a@a.example", "s3")
    };
    let world = ends(&[
        tell(BookingCreated, 1, seat("u1", "a@a.example", "s1")),
        tell(BookingCreated, 2, seat("u1", "b@a.example", "s2")),
        tell(BookingRescheduled, 3, mover),
        tell(MeetingStarted, 0, timer("u1")),
    ]);
    let lives = Seen { status: BookingStatus::InProgress, rule: "started", ..booked("u1") };
    assert_eq!(seen(&world, "u1"), Seen { attendees: vec![("b@a.example", "s2")], ..lives });
    assert_eq!(seen(&world, "u2"), Seen { attendees: vec![("a@a.example", "s3")], ..booked("u2") });
}

#[test]
fn an_older_request_that_comes_after_the_approval_changes_nothing() {
    let request = BookingPayload { status: "PENDING".into(), title: "Old".into(), ..payload("u1") };
    let world = ends(&[tell(BookingCreated, 2, payload("u1")), tell(BookingRequested, 1, request)]);
    let booking = world.get("u1").booking;
    assert_eq!((booking.status(), booking.title.as_str()), (BookingStatus::Scheduled, "Tea"));
}

#[test]
fn cancelled_while_it_waits_for_payment_or_approval() {
    let paid = BookingPayload { status: "CANCELLED".into(), ..payload("u1") };
    for (trigger, payment) in
        [(BookingRequested, PaymentStatus::None), (BookingPaymentInitiated, PaymentStatus::Initiated)]
    {
        let waits = tell(trigger, 1, pending(payload("u1")));
        let world = ends(&[waits.clone(), tell(BookingCancelled, 2, cancel("u1"))]);
        assert_eq!(seen(&world, "u1"), Seen { payment, ..cancelled("u1") });
        let world = ends(&[waits, tell(BookingPaid, 2, paid.clone())]);
        let reason = "PAID alone may tell of the cancel";
        assert_eq!(seen(&world, "u1"), Seen { payment: PaymentStatus::Paid, ..cancelled("u1") }, "{reason}");
    }
}

#[test]
fn seats_are_taken_after_one_or_the_last_was_given_up() {
    let mut told = vec![
        tell(BookingCreated, 1, seat("u1", "a@a.example", "s1")),
        tell(BookingCancelled, 2, leave("u1", "A@a.example")),
    ];
    assert_eq!(ends(&told).get("u1").rule.as_str(), "no_seat_left");
    told.push(tell(BookingCreated, 3, seat("u1", "b@a.example", "s2")));
    let second = ("b@a.example", "s2");
    assert_eq!(seen(&ends(&told), "u1"), Seen { attendees: vec![second], ..booked("u1") });
    told.push(tell(BookingCreated, 4, seat("u1", "a@a.example", "s9")));
    assert_eq!(seen(&ends(&told), "u1"), Seen { attendees: vec![("a@a.example", "s9"), second], ..booked("u1") });
}

#[test]
fn a_timer_that_rings_after_the_cancel() {
    for trigger in [MeetingStarted, MeetingEnded] {
        let world = ends(&[
            tell(BookingCreated, 1, payload("u1")),
            tell(BookingCancelled, 2, cancel("u1")),
            tell(trigger, 0, timer("u1")),
        ]);
        assert_eq!(world.status("u1"), BookingStatus::Cancelled);
    }
}

#[test]
fn ended_before_the_no_show_mark() {
    let world = ends(&[
        tell(BookingCreated, 1, payload("u1")),
        tell(MeetingEnded, 0, timer("u1")),
        tell(BookingNoShowUpdated, 12, marks("u1", &[("guest@a.example", true)])),
    ]);
    assert_eq!(world.status("u1"), BookingStatus::NoShow);
}

#[test]
fn no_show_needs_every_attendee_and_a_list() {
    let two =
        BookingPayload { attendees: vec![person("guest@a.example"), person("second@a.example")], ..payload("u1") };
    let one = tell(BookingNoShowUpdated, 12, marks("u1", &[("guest@a.example", true)]));
    let both = tell(BookingNoShowUpdated, 13, marks("u1", &[("second@a.example", true)]));
    let created = tell(BookingCreated, 1, two);
    assert_eq!(ends(&[created.clone(), one.clone()]).status("u1"), BookingStatus::InProgress);
    assert_eq!(ends(&[created, one.clone(), both]).status("u1"), BookingStatus::NoShow);
    let world = ends(&[one]);
    assert_eq!(world.status("u1"), BookingStatus::InProgress, "who else was invited is not known");
    assert_eq!(world.attendees("u1"), ["guest@a.example"]);
}

#[test]
fn whoever_a_mark_names_besides_the_list_is_shown() {
    let world = ends(&[
        tell(BookingCreated, 1, payload("u1")),
        tell(BookingNoShowUpdated, 12, marks("u1", &[("Late@a.example", true)])),
    ]);
    assert_eq!(world.attendees("u1"), ["guest@a.example", "Late@a.example"]);
    assert_eq!(world.status("u1"), BookingStatus::InProgress);
}

#[test]
fn a_leaked_mark_is_no_mark() {
    let mut leaked = payload("u1");
    leaked.attendees[0].no_show = Some(true);
    let world = ends(&[tell(BookingCreated, 1, leaked)]);
    assert_eq!(world.status("u1"), BookingStatus::Scheduled);
}

#[test]
fn a_timer_set_before_the_move_says_nothing() {
    let move_later = BookingPayload { reschedule_uid: "u1".into(), ..moved("u1", "u1") };
    let moved_booking = [tell(BookingCreated, 1, payload("u1")), tell(BookingRescheduled, 2, move_later)];
    for (trigger, late_status) in
        [(MeetingStarted, BookingStatus::InProgress), (MeetingEnded, BookingStatus::Completed)]
    {
        let mut told = moved_booking.to_vec();
        told.push(tell(trigger, 0, timer("u1")));
        assert_eq!(ends(&told).status("u1"), BookingStatus::Scheduled);
        let right = MeetingPayload { start_time: Some(at(12)), end_time: Some(at(13)), ..timer("u1") };
        told.push(tell(trigger, 0, right));
        assert_eq!(ends(&told).status("u1"), late_status);
    }
    let timeless = MeetingPayload { start_time: None, end_time: None, ..timer("u1") };
    let mut told = moved_booking.to_vec();
    told.push(tell(MeetingStarted, 0, timeless));
    assert_eq!(ends(&told).status("u1"), BookingStatus::InProgress, "a timer without a time rang for any");
}

#[test]
fn a_reschedule_that_is_declined_leaves_nothing_that_stands() {
    let world = ends(&[
        tell(BookingCreated, 1, payload("u1")),
        tell(BookingRequested, 2, pending(moved("u2", "u1"))),
        tell(BookingRejected, 3, rejection("u2")),
    ]);
    assert_eq!(seen(&world, "u1"), replaced("u1", Linked::Named("u2")), "dead since the request");
    let declined = Seen { before: Linked::Named("u1"), origin: "u1", hours_before: Some((10, 11)), ..rejected("u2") };
    assert_eq!(seen(&world, "u2"), declined);
}

#[test]
fn a_chain_whose_middle_link_was_lost_is_joined_again() {
    let third = BookingPayload { ical_uid: "u1@Cal.com".into(), ..moved("u3", "u2") };
    let created = tell(BookingCreated, 1, payload("u1"));
    let world = ends(&[created.clone(), tell(BookingRescheduled, 3, third.clone())]);
    assert_eq!(world.status("u1"), BookingStatus::Rescheduled, "the iCalUID says so");
    assert_eq!(world.get("u1").booking.rescheduled_to_uid, "u3");
    assert_eq!(world.status("u2"), BookingStatus::Rescheduled);
    assert_eq!(world.get("u2").booking.rescheduled_from_uid, "u1", "u2 kept the chain's iCalUID");
    assert_eq!(world.get("u3").booking.rescheduled_from_uid, "u2", "an explicit link outranks the hint");

    let second = tell(BookingRescheduled, 2, moved("u2", "u1"));
    let world = ends(&[created, second, tell(BookingRescheduled, 3, third)]);
    assert_eq!(world.get("u1").booking.rescheduled_to_uid, "u2", "an older explicit link outranks a newer hint");
    assert_eq!(world.get("u2").booking.rescheduled_to_uid, "u3");
}

#[test]
fn the_ical_uid_alone_links_a_booking() {
    let lost = BookingPayload { ical_uid: "u1@Cal.com".into(), ..payload("u2") };
    let created = tell(BookingCreated, 2, lost);
    let world = ends(std::slice::from_ref(&created));
    assert!(world.find("u1").is_none() && world.rows.contains_key("u1"), "hints alone are kept and not shown");
    assert_eq!(world.get("u2").booking.rescheduled_from_uid, "u1");
    let world = ends(&[tell(BookingCreated, 1, payload("u1")), created]);
    assert_eq!(world.status("u1"), BookingStatus::Rescheduled);
}

#[test]
fn from_reschedule_names_the_booking_before_and_the_ical_uid_the_first() {
    let third = MeetingPayload { from_reschedule: "u2".into(), ical_uid: "u1@Cal.com".into(), ..timer("u3") };
    let world = ends(&[tell(MeetingStarted, 0, third), tell(BookingCreated, 1, payload("u1"))]);
    assert_eq!(world.get("u3").booking.rescheduled_from_uid, "u2");
    assert_eq!(world.status("u1"), BookingStatus::Rescheduled);
    assert!(world.find("u2").is_none());
}

#[test]
fn two_bookings_may_replace_one() {
    let world = ends(&[
        tell(BookingRescheduled, 2, moved("u2", "u1")),
        tell(BookingRescheduled, 3, moved("u3", "u1")),
        tell(BookingCancelled, 4, cancel("u2")),
    ]);
    assert_eq!(world.get("u1").booking.rescheduled_to_uid, "u3", "the one named last");
    assert_eq!(world.get("u2").booking.rescheduled_from_uid, "u1");
    assert_eq!(world.get("u3").booking.rescheduled_from_uid, "u1");
}

#[test]
fn two_bookings_that_replace_each_other_do_no_harm() {
    let world = ends(&[tell(BookingRescheduled, 1, moved("u1", "u2")), tell(BookingRescheduled, 2, moved("u2", "u1"))]);
    assert_eq!(world.status("u1"), BookingStatus::Rescheduled);
    assert_eq!(world.status("u2"), BookingStatus::Rescheduled);
}

#[test]
fn uids_are_case_sensitive() {
    let world = ends(&[tell(BookingCreated, 1, payload("u1")), tell(BookingCancelled, 2, cancel("U1"))]);
    assert_eq!(world.status("u1"), BookingStatus::Scheduled);
    assert_eq!(world.status("U1"), BookingStatus::Cancelled);
}

#[test]
fn no_show_is_marked_and_taken_back() {
    let created = tell(BookingCreated, 1, payload("u1"));
    let marked = tell(BookingNoShowUpdated, 12, marks("u1", &[("guest@a.example", true)]));
    let unmarked = tell(BookingNoShowUpdated, 13, marks("u1", &[("GUEST@a.example", false)]));
    let world = ends(&[created.clone(), tell(MeetingEnded, 0, timer("u1")), marked.clone()]);
    assert_eq!((world.status("u1"), world.get("u1").rule.as_str()), (BookingStatus::NoShow, "no_show"));
    assert!(world.get("u1").booking.attendees[0].no_show);
    let world = ends(&[created, marked, unmarked]);
    assert_eq!(world.status("u1"), BookingStatus::InProgress);
    assert!(!world.get("u1").booking.attendees[0].no_show);
    assert_eq!(world.attendees("u1"), ["guest@a.example"], "one person, however spelled");
}
