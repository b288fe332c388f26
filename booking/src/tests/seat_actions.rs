//! What happens to a uid, action by action, where its event type has seats: one test for each thing that people do to
//! a seat or to all of them, in every order with every duplicate. `seats` has what is peculiar about seats.

use calbridge_proto::v1::{
    BookingPayload, BookingStatus,
    Trigger::{BookingCancelled, BookingCreated, BookingRescheduled},
};

use super::{
    histories::ends,
    seen::{NOON, Seen, TEN, booked, cancelled, leave, seat, seen},
    world::{Told, cancel, moved, person, tell},
};

const A: (&str, &str) = ("a@a.example", "s1");
const B: (&str, &str) = ("b@a.example", "s2");
const C: (&str, &str) = ("c@a.example", "s3");

/// The hour at which each of them sits down: a, b, c in turn.
fn sits(hour: i64, (email, id): (&str, &str)) -> Told {
    let ical_uid = if hour == 1 { "u1@Cal.com".into() } else { format!("never-stored-{hour}@Cal.com") };
    tell(BookingCreated, hour, BookingPayload { ical_uid, ..seat("u1", email, id) })
}

fn with(attendees: &[(&'static str, &'static str)]) -> Seen {
    Seen { attendees: attendees.to_vec(), ..booked("u1") }
}

/// Every seat was given up, one by one.
fn emptied() -> Seen {
    Seen { status: BookingStatus::Cancelled, rule: "no_seat_left", ..with(&[]) }
}

/// One who sits in `u1` moves to a booking two hours later, which may be there already.
fn takes_to_u2((email, id): (&str, &str)) -> BookingPayload {
    BookingPayload {
        seats_per_time_slot: Some(12),
        attendees: vec![person(email)],
        attendee_seat_id: id.into(),
        ical_uid: "minted@Cal.com".into(),
        ..moved("u2", "u1")
    }
}

#[test]
fn second_to_nth_seat_is_taken() {
    let world = ends(&[sits(1, A), sits(2, B), sits(3, C)]);
    assert_eq!(seen(&world, "u1"), with(&[A, B, C]));
    let booking = world.get("u1").booking;
    assert_eq!(booking.ical_uid, "u1@Cal.com", "a later seat's iCalUID was never stored");
    assert_eq!(booking.seats_per_time_slot, Some(12));
    assert_eq!(world.rows.len(), 1, "nor does it name a booking");
}

#[test]
fn seat_leaves_and_is_not_the_last() {
    let world = ends(&[sits(1, A), sits(2, B), sits(3, C), tell(BookingCancelled, 4, leave("u1", B.0))]);
    assert_eq!(seen(&world, "u1"), with(&[A, C]));
    let booking = world.get("u1").booking;
    assert_eq!((booking.cancellation_reason.as_str(), booking.cancelled_by.as_str()), ("", ""), "the leaver's own");
}

#[test]
fn last_seat_leaves_or_host_cancels_all() {
    let told = [sits(1, A), sits(2, B)];
    let leave = |hour, (email, _): (&str, &str)| tell(BookingCancelled, hour, leave("u1", email));
    let world = ends(&[&told[..], &[leave(3, A), leave(4, B)]].concat());
    assert_eq!(seen(&world, "u1"), emptied());
    assert_eq!(world.get("u1").booking.cancellation_reason, "", "the reason is the leaver's");

    let everybody = vec![person(A.0), person(B.0)];
    let end = BookingPayload { attendees: everybody, seats_per_time_slot: Some(12), ..cancel("u1") };
    let world = ends(&[&told[..], &[tell(BookingCancelled, 3, end)]].concat());
    assert_eq!(seen(&world, "u1"), Seen { attendees: vec![A, B], ..cancelled("u1") });
    let booking = world.get("u1").booking;
    assert_eq!((booking.cancellation_reason.as_str(), booking.cancelled_by.as_str()), ("ill", "host@a.example"));
}

#[test]
fn host_moves_a_seated_booking() {
    // An owner's move may drop the iCalUID, or bring one that names no booking.
    for ical_uid in ["u1@Cal.com", "minted@Cal.com", ""] {
        let owner_moves = BookingPayload {
            attendees: vec![person(A.0), person(B.0)],
            seats_per_time_slot: Some(12),
            reschedule_id: None,
            ical_uid: ical_uid.into(),
            ..moved("u1", "u1")
        };
        let world = ends(&[sits(1, A), sits(2, B), tell(BookingRescheduled, 3, owner_moves)]);
        assert_eq!(seen(&world, "u1"), Seen { hours: NOON, hours_before: TEN, ..with(&[A, B]) });
        assert_eq!(world.get("u1").booking.ical_uid, "u1@Cal.com");
        assert_eq!(world.rows.len(), 1);
    }
}

#[test]
fn attendee_moves_own_seat() {
    let target = |attendees: &[(&'static str, &'static str)]| Seen {
        hours: NOON,
        attendees: attendees.to_vec(),
        ..booked("u2")
    };
    let mut told = vec![sits(1, A), sits(2, B), tell(BookingRescheduled, 3, takes_to_u2(("a@a.example", "s5")))];
    let world = ends(&told);
    assert_eq!(seen(&world, "u1"), with(&[B]), "it lives on for the others");
    assert_eq!(seen(&world, "u2"), target(&[("a@a.example", "s5")]), "u2 itself was not moved");

    told.push(tell(BookingRescheduled, 4, takes_to_u2(("b@a.example", "s6"))));
    let world = ends(&told);
    assert_eq!(seen(&world, "u1"), emptied(), "the last one took it along, silently");
    assert_eq!(seen(&world, "u2"), target(&[("a@a.example", "s5"), ("b@a.example", "s6")]));

    let world = ends(&told[2..3]);
    let from_the_move_alone = Seen { attendees: vec![], ..booked("u1") };
    assert_eq!(seen(&world, "u1"), from_the_move_alone);
    assert_eq!(seen(&world, "u2"), target(&[("a@a.example", "s5")]));
}
