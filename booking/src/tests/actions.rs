//! What happens to a uid, action by action: one test for each thing that people do to a booking without seats, with the
//! webhooks that Cal.com sends for it (those of 2025 and those of 2026 where they differ), in every order with every
//! duplicate. `seat_actions` has the actions on seats.

use calbridge_proto::v1::{
    BookingPayload, BookingStatus, PaymentStatus, TeamPayload,
    Trigger::{
        BookingCancelled, BookingCreated, BookingLocationUpdated, BookingPaid, BookingPaymentInitiated,
        BookingReassigned, BookingRejected, BookingRequested, BookingRescheduled, InstantMeeting,
        InstantMeetingAccepted,
    },
};

use super::{
    histories::ends,
    seen::{
        Linked, NOON, Seen, TEN, booked, cancelled, confirmed, pending, rejected, rejection, replaced, seen, waiting,
    },
    world::{Told, World, at, cancel, instant, moved, payload, person, tell},
};
use crate::leaves_siblings_silent;

/// With a price, as every payload about payment has it.
fn priced(payload: BookingPayload) -> BookingPayload {
    BookingPayload { payment_id: Some(5), price_minor: Some(900), currency: "eur".into(), ..payload }
}

/// `u2`, which took the place of `u1` two hours later.
fn in_place_of_u1(seen: Seen) -> Seen {
    Seen { before: Linked::Named("u1"), origin: "u1", hours: NOON, hours_before: TEN, ..seen }
}

#[test]
fn booked_without_approval_for_free() {
    let world = ends(&[tell(BookingCreated, 1, payload("u1"))]);
    assert_eq!(seen(&world, "u1"), booked("u1"));
    assert_eq!(world.get("u1").booking.create_time, Some(at(1)));
}

#[test]
fn attendee_or_host_reschedules_without_approval() {
    for by in ["guest@a.example", "host@a.example"] {
        let new = BookingPayload { rescheduled_by: by.into(), ..moved("u2", "u1") };
        let world = ends(&[tell(BookingCreated, 1, payload("u1")), tell(BookingRescheduled, 2, new)]);
        assert_eq!(seen(&world, "u1"), replaced("u1", Linked::Named("u2")));
        assert_eq!(seen(&world, "u2"), in_place_of_u1(booked("u2")));
        let (old, new) = (world.get("u1").booking, world.get("u2").booking);
        assert_eq!((old.calcom_booking_id, new.calcom_booking_id), (Some(7), Some(8)));
        assert_eq!((old.rescheduled_by.as_str(), new.rescheduled_by.as_str()), ("", by));
        assert_eq!(old.cancellation_reason, "", "nobody cancelled it");
    }
}

#[test]
fn attendee_reschedules_an_approval_event() {
    let approval = BookingPayload { start_time: Some(at(12)), end_time: Some(at(13)), ..confirmed("u2") };
    let refusal = BookingPayload { start_time: Some(at(12)), end_time: Some(at(13)), ..rejection("u2") };
    let mut told = vec![
        tell(BookingRequested, 1, pending(payload("u1"))),
        tell(BookingCreated, 2, confirmed("u1")),
        tell(BookingRequested, 3, pending(moved("u2", "u1"))),
    ];
    let world = ends(&told);
    assert_eq!(seen(&world, "u1"), replaced("u1", Linked::Named("u2")), "dead at the request already");
    assert_eq!(seen(&world, "u2"), in_place_of_u1(waiting("u2")));

    told.push(tell(BookingCreated, 4, approval));
    let world = ends(&told);
    assert_eq!(seen(&world, "u1"), replaced("u1", Linked::Named("u2")));
    assert_eq!(seen(&world, "u2"), in_place_of_u1(booked("u2")), "the approval names no old booking");

    told[3] = tell(BookingRejected, 4, refusal);
    let world = ends(&told);
    assert_eq!(seen(&world, "u1"), replaced("u1", Linked::Named("u2")));
    assert_eq!(seen(&world, "u2"), in_place_of_u1(rejected("u2")));
}

#[test]
fn host_reschedules_own_approval_event() {
    let new = BookingPayload { rescheduled_by: "host@a.example".into(), ..moved("u2", "u1") };
    let world = ends(&[
        tell(BookingRequested, 1, pending(payload("u1"))),
        tell(BookingCreated, 2, confirmed("u1")),
        tell(BookingRescheduled, 3, new),
    ]);
    assert_eq!(seen(&world, "u1"), replaced("u1", Linked::Named("u2")));
    assert_eq!(seen(&world, "u2"), in_place_of_u1(booked("u2")), "the host needs nobody's approval");
}

#[test]
fn attendee_reschedules_an_already_paid_event() {
    let world = ends(&[
        tell(BookingPaymentInitiated, 1, priced(confirmed("u1"))),
        tell(BookingCreated, 2, confirmed("u1")),
        tell(BookingPaid, 3, priced(confirmed("u1"))),
        tell(BookingRequested, 4, pending(moved("u2", "u1"))),
    ]);
    assert_eq!(seen(&world, "u1"), Seen { payment: PaymentStatus::Paid, ..replaced("u1", Linked::Named("u2")) });
    assert_eq!(seen(&world, "u2"), in_place_of_u1(waiting("u2")), "nothing is charged again");
}

#[test]
fn host_requests_a_reschedule() {
    let of_2026 = BookingPayload { request_reschedule: Some(true), ..cancel("u1") };
    let of_2025 = BookingPayload { status: String::new(), event_type_id: None, ..cancel("u1") };
    for ask in [of_2026, of_2025] {
        let mut told = vec![tell(BookingCreated, 1, payload("u1")), tell(BookingCancelled, 2, ask)];
        let asked = Seen { reschedule_requested: true, ..cancelled("u1") };
        let world = ends(&told);
        assert_eq!(seen(&world, "u1"), asked);
        let booking = world.get("u1").booking;
        assert_eq!((booking.cancelled_by.as_str(), booking.cancellation_reason.as_str()), ("host@a.example", "ill"));

        told.push(tell(BookingRescheduled, 3, moved("u2", "u1")));
        let world = ends(&told);
        let answered = Seen { reschedule_requested: true, ..replaced("u1", Linked::Named("u2")) };
        assert_eq!(seen(&world, "u1"), answered);
        assert_eq!(seen(&world, "u2"), in_place_of_u1(booked("u2")));

        told[2] = tell(BookingRequested, 3, pending(moved("u2", "u1")));
        let world = ends(&told);
        assert_eq!(seen(&world, "u1"), answered);
        assert_eq!(seen(&world, "u2"), in_place_of_u1(waiting("u2")));
    }
    for (status, request_reschedule) in [("CANCELLED", None), ("CANCELLED", Some(false)), ("", Some(false))] {
        let plain = BookingPayload { status: status.into(), request_reschedule, ..cancel("u1") };
        assert_eq!(seen(&ends(&[tell(BookingCancelled, 2, plain)]), "u1"), cancelled("u1"));
    }
}

#[test]
fn request_is_approved() {
    let world = ends(&[tell(BookingRequested, 1, pending(payload("u1"))), tell(BookingCreated, 2, confirmed("u1"))]);
    assert_eq!(seen(&world, "u1"), booked("u1"));
    assert_eq!(world.get("u1").booking.ical_uid, "u1@Cal.com", "the approval leaves it out and erases nothing");
}

#[test]
fn request_is_declined() {
    let world = ends(&[tell(BookingRequested, 1, pending(payload("u1"))), tell(BookingRejected, 2, rejection("u1"))]);
    assert_eq!(seen(&world, "u1"), rejected("u1"));
    assert_eq!(world.get("u1").booking.rejection_reason, "no time");
}

#[test]
fn request_is_withdrawn() {
    let withdrawal = BookingPayload { cancelled_by: "guest@a.example".into(), ..cancel("u1") };
    let world = ends(&[tell(BookingRequested, 1, pending(payload("u1"))), tell(BookingCancelled, 2, withdrawal)]);
    assert_eq!(seen(&world, "u1"), cancelled("u1"));
    assert_eq!(world.get("u1").booking.cancelled_by, "guest@a.example");
}

#[test]
fn pays_without_approval() {
    let initiated = tell(BookingPaymentInitiated, 1, priced(confirmed("u1")));
    let world = ends(std::slice::from_ref(&initiated));
    let unpaid = Seen { payment: PaymentStatus::Initiated, ..waiting("u1") };
    assert_eq!(seen(&world, "u1"), unpaid, "ACCEPTED in that webhook is not yet true");
    // In 2025 CREATED goes out before PAID, in 2026 after it.
    for (created, paid) in [(2, 3), (3, 2)] {
        let world = ends(&[
            initiated.clone(),
            tell(BookingCreated, created, confirmed("u1")),
            tell(BookingPaid, paid, priced(confirmed("u1"))),
        ]);
        assert_eq!(seen(&world, "u1"), Seen { payment: PaymentStatus::Paid, ..booked("u1") });
        let booking = world.get("u1").booking;
        let price = (booking.payment_id, booking.price_minor, booking.currency.as_str());
        assert_eq!(price, (Some(5), Some(900), "eur"));
    }
}

#[test]
fn pays_with_approval() {
    let initiated = tell(BookingPaymentInitiated, 1, priced(confirmed("u1")));
    let paid = tell(BookingPaid, 2, priced(pending(confirmed("u1"))));
    let requested = tell(BookingRequested, 3, BookingPayload { status: String::new(), ..confirmed("u1") });
    let created = tell(BookingCreated, 4, confirmed("u1"));
    let of_2025 = vec![initiated.clone(), requested.clone()];
    let of_2026 = vec![initiated, paid, requested];
    for (mut told, payment) in [(of_2025, PaymentStatus::Initiated), (of_2026, PaymentStatus::Paid)] {
        assert_eq!(seen(&ends(&told), "u1"), Seen { payment, ..waiting("u1") });
        told.push(created.clone());
        assert_eq!(seen(&ends(&told), "u1"), Seen { payment, ..booked("u1") });
    }
}

#[test]
fn host_approves_before_payment() {
    let initiated = tell(BookingPaymentInitiated, 1, priced(confirmed("u1")));
    let of_2025 = ends(std::slice::from_ref(&initiated));
    let known = Seen { payment: PaymentStatus::Initiated, ..waiting("u1") };
    assert_eq!(seen(&of_2025, "u1"), known, "neither the approval nor the payment was told");
    let of_2026 = ends(&[initiated, tell(BookingPaid, 2, priced(confirmed("u1")))]);
    assert_eq!(seen(&of_2026, "u1"), Seen { payment: PaymentStatus::Paid, ..booked("u1") });
}

#[test]
fn never_pays() {
    let world = ends(&[tell(BookingPaymentInitiated, 1, priced(confirmed("u1")))]);
    assert_eq!(seen(&world, "u1"), Seen { payment: PaymentStatus::Initiated, ..waiting("u1") });
    assert_eq!(world.get("u1").clock_end, None, "it waits for ever: no clock completes it");
}

#[test]
fn books_a_recurring_series() {
    let second = BookingPayload { start_time: Some(at(12)), end_time: Some(at(13)), ..payload("u2") };
    for (trigger, series, expected) in [
        (BookingCreated, [payload("u1"), second.clone()], [booked("u1"), booked("u2")]),
        (BookingRequested, [pending(payload("u1")), pending(second)], [waiting("u1"), waiting("u2")]),
    ] {
        let told = series.map(|occurrence| tell(trigger, 1, occurrence));
        let world = ends(&told);
        let [first, second] = expected;
        assert_eq!(seen(&world, "u1"), first);
        assert_eq!(seen(&world, "u2"), Seen { hours: NOON, ..second }, "each is a booking of its own");
        assert_eq!(world.rows.len(), 2);
        assert!(!told.iter().any(|told| leaves_siblings_silent(&told.event)), "each occurrence was told");
    }
}

#[test]
fn approves_or_declines_a_series() {
    let siblings = ["u1", "u2"].map(|uid| tell(BookingRequested, 1, pending(payload(uid))));
    for (trigger, answer, expected) in
        [(BookingCreated, confirmed("u1"), booked("u1")), (BookingRejected, rejection("u1"), rejected("u1"))]
    {
        let answer = tell(trigger, 2, BookingPayload { recurring: true, ..answer });
        assert!(leaves_siblings_silent(&answer.event));
        let world = ends(&[siblings[0].clone(), siblings[1].clone(), answer]);
        assert_eq!(seen(&world, "u1"), expected);
        assert_eq!(seen(&world, "u2"), waiting("u2"), "its change was silent: reconciliation finds it");
    }
}

#[test]
fn cancels_all_remaining() {
    let siblings = ["u1", "u2", "u3"].map(|uid| tell(BookingCreated, 1, payload(uid)));
    let end = tell(BookingCancelled, 2, BookingPayload { recurring: true, ..cancel("u2") });
    assert!(leaves_siblings_silent(&end.event));
    let world = ends(&[&siblings[..], &[end]].concat());
    assert_eq!(seen(&world, "u1"), booked("u1"), "it may be over already");
    assert_eq!(seen(&world, "u2"), cancelled("u2"));
    assert_eq!(seen(&world, "u3"), booked("u3"), "cancelled silently: reconciliation finds it");
}

#[test]
fn instant_meeting_is_accepted() {
    let asked = tell(InstantMeeting, 1, instant("u1"));
    let of_2025 = ends(std::slice::from_ref(&asked));
    let waits = Seen {
        status: BookingStatus::AwaitingHost,
        rule: "awaiting_host",
        hours: None,
        attendees: vec![],
        ..booked("u1")
    };
    assert_eq!(seen(&of_2025, "u1"), waits, "that a host joined was not told");
    assert_eq!(of_2025.get("u1").booking.title, "Tea");
    let of_2026 = ends(&[asked, tell(InstantMeetingAccepted, 2, payload("u1"))]);
    assert_eq!(seen(&of_2026, "u1"), booked("u1"));
}

#[test]
fn guests_added_title_or_notes_edited_host_no_show_refunded_or_rated_tells_nothing() {
    let created = tell(BookingCreated, 1, payload("u1"));
    let untold = ends(std::slice::from_ref(&created));
    assert_eq!(seen(&untold, "u1"), booked("u1"));
    // Whatever is sent next has the row as it is by then.
    let next = BookingPayload {
        title: "Tea for two".into(),
        description: "bring cake".into(),
        attendees: vec![person("guest@a.example"), person("added@a.example")],
        ..cancel("u1")
    };
    let world = ends(&[created, tell(BookingCancelled, 2, next)]);
    let both = vec![("guest@a.example", ""), ("added@a.example", "")];
    assert_eq!(seen(&world, "u1"), Seen { attendees: both, ..cancelled("u1") });
    let booking = world.get("u1").booking;
    assert_eq!((booking.title.as_str(), booking.description.as_str()), ("Tea for two", "bring cake"));
}

#[test]
fn location_is_edited_or_host_reassigned() {
    let created = tell(BookingCreated, 1, payload("u1"));
    let place = BookingPayload { location: "Main Street 1".into(), ..payload("u1") };
    let team = |email| Some(TeamPayload { members: vec![person(email)], ..Default::default() });
    let host = BookingPayload {
        organizer: Some(person("other@a.example")),
        team: team("second@a.example"),
        location: String::new(),
        ..payload("u1")
    };
    let of_2025 = ends(std::slice::from_ref(&created)).get("u1").booking;
    assert_eq!(of_2025.location, "integrations:daily", "the edit was not told");

    let world = ends(&[created, tell(BookingLocationUpdated, 2, place), tell(BookingReassigned, 3, host)]);
    assert_eq!(seen(&world, "u1"), booked("u1"));
    let booking = world.get("u1").booking;
    assert_eq!(booking.location, "Main Street 1");
    let hosts: Vec<_> = booking.hosts.iter().map(|host| (host.email.as_str(), host.id)).collect();
    let reason = "the old host's id is not the new host's";
    assert_eq!(hosts, [("other@a.example", None), ("second@a.example", None)], "{reason}");

    for trigger in [BookingLocationUpdated, BookingReassigned] {
        assert_eq!(seen(&ends(&[tell(trigger, 1, payload("u1"))]), "u1"), booked("u1"));
        assert_eq!(seen(&ends(&[tell(trigger, 1, pending(payload("u1")))]), "u1"), waiting("u1"));
    }
}

#[test]
fn booker_on_the_watch_list_is_never_heard_of() {
    let nothing: [Told; 0] = [];
    let world = ends(&nothing);
    assert_eq!(world, World::default());
    assert_eq!(world.find("u1"), None);
}
