//! What one booking may have of each thing, however much is told of it.

use std::collections::BTreeSet;

use calbridge_proto::v1::{
    BookingPayload, BookingStatus, NoShowPayload, PersonPayload, TeamPayload,
    Trigger::{BookingCancelled, BookingCreated, BookingNoShowUpdated, BookingRescheduled},
};
use prost::Message as _;

use super::{
    histories::ends,
    seen::seat,
    world::{Told, World, answer, cancel, marks, moved, payload, person, tell},
};
use crate::register::{Email, Key};

#[test]
fn one_event_adds_a_bounded_number_of_registers() {
    let crowd = BookingPayload {
        attendees: (0..5_000).map(|place| person(&format!("p{place}@a.example"))).collect(),
        metadata: (0..5_000).map(|place| (format!("k{place:04}"), "v".to_owned())).collect(),
        responses: (0..5_000).map(|place| (format!("q{place:04}"), answer("v"))).collect(),
        ..payload("u1")
    };
    let booking = ends(&[tell(BookingCreated, 1, crowd)]).get("u1").booking;
    assert_eq!(booking.attendees.len(), 1_000);
    assert_eq!((booking.metadata.len(), booking.responses.unwrap().fields.len()), (256, 256));
    assert!(booking.metadata.contains_key("k0000"));
}

#[test]
fn what_many_events_add_is_bounded_whatever_their_order() {
    let told = |hour: i64| {
        let keys = (0..200).map(|place| format!("{}", 3 * place + hour));
        let (metadata, responses) = keys.map(|key| ((key.clone(), "v".to_owned()), (key, answer("v")))).unzip();
        tell(BookingCreated, hour, BookingPayload { metadata, responses, ..payload("u1") })
    };
    let world = ends(&[told(1), told(2), told(3)]);
    let booking = world.get("u1").booking;
    let mut least: Vec<String> = (1..=600).map(|key| key.to_string()).collect();
    least.sort();
    least.truncate(256);
    assert_eq!(booking.metadata.keys().collect::<Vec<_>>(), least.iter().collect::<Vec<_>>());
    assert_eq!(booking.responses.unwrap().fields.keys().collect::<Vec<_>>(), least.iter().collect::<Vec<_>>());
}

#[test]
fn people_of_many_events_are_bounded_whatever_their_order() {
    let crowd = |event: i64| (0..1_000).map(move |place| person(&format!("{:04}@a.example", 8 * place + event)));
    let told = (0..8).flat_map(|event| {
        let sit = BookingPayload { attendees: crowd(event).collect(), ..seat("u1", "", "") };
        let marked = crowd(event).map(|guest| PersonPayload { no_show: Some(true), ..guest });
        let marks = NoShowPayload { attendees: marked.collect(), ..marks("u1", &[]) };
        [tell(BookingCreated, event, sit), tell(BookingNoShowUpdated, event, marks)]
    });
    let world = both_ways(&told.collect::<Vec<_>>());
    let booking = world.get("u1").booking;
    let seats = booking.attendees.iter().map(|guest| guest.email.as_str());
    assert!(seats.eq((0..4_096).map(|place| format!("{place:04}@a.example"))), "the least stay");
    assert_eq!(booking.attendees.iter().filter(|guest| guest.no_show).count(), 4_096);
    assert!(world.rows["u1"].registers().count() < 2 * 4_096 + 16_384 + 256);
}

#[test]
fn seats_that_were_left_are_bounded_whatever_their_order() {
    let told = (0..5).map(|event| {
        let crowd = (0..1_000).map(|place| person(&format!("{:04}@a.example", 5 * place + event)));
        let reschedule_uid = "u1".into();
        let move_on = BookingPayload { attendees: crowd.collect(), reschedule_uid, ..seat("u2", "", "") };
        tell(BookingRescheduled, event, move_on)
    });
    let world = both_ways(&told.collect::<Vec<_>>());
    let row = &world.rows["u1"];
    let kept = row.registers().filter_map(|(key, _)| if let Key::SeatLeft(email) = key { Some(email) } else { None });
    assert!(kept.map(Email::as_str).eq((0..4_096).map(|place| format!("{place:04}@a.example"))));
}

/// Whoever takes seats and gives them up again must not end the booking for the others.
#[test]
fn a_row_full_of_seats_that_were_given_up_is_no_cancelled_booking() {
    let crowd = |event: i64| (0..1_000).map(move |place| person(&format!("{event}{place:04}@a.example")));
    let mut told = Vec::new();
    for event in 0..5 {
        let sit = BookingPayload { attendees: crowd(event).collect(), ..seat("u1", "", "") };
        let reschedule_uid = "u1".into();
        let move_on = BookingPayload { attendees: crowd(event).collect(), reschedule_uid, ..seat("u2", "", "") };
        told.extend([tell(BookingCreated, event, sit), tell(BookingRescheduled, 9, move_on)]);
    }
    told.push(tell(BookingCreated, 3, seat("u1", "z@a.example", "s1")));
    assert_eq!(both_ways(&told).status("u1"), BookingStatus::Scheduled);
}

#[test]
fn of_the_bookings_that_replaced_one_the_newest_stay_whatever_their_order() {
    let mut told: Vec<_> =
        (0..600).map(|hour| tell(BookingRescheduled, hour, moved(&format!("v{hour}"), "u1"))).collect();
    told.push(tell(BookingRescheduled, -1, moved("v700", "u1")));
    let world = both_ways(&told);
    assert_eq!(world.get("u1").booking.rescheduled_to_uid, "v599");
    let kept = world.rows["u1"].registers().filter_map(|(key, _)| match key {
        Key::Successor(uid) => Some(uid.clone()),
        _ => None,
    });
    assert_eq!(kept.collect::<BTreeSet<_>>(), (344..600).map(|hour| format!("v{hour}")).collect());
}

/// The state that `told` ends in, told in this order and in the other.
fn both_ways(told: &[Told]) -> World {
    let (forth, back) = (World::of(told), World::of(told.iter().rev()));
    assert!(forth.bytes() == back.bytes(), "the order of telling shows");
    forth
}

/// Whoever books may name as much as they like, on each seat anew: no reader of the log may be stopped by it.
#[test]
fn no_booking_is_larger_than_what_a_client_takes() {
    let (long, name) = ("x".repeat(300 * 1024), "x".repeat(300));
    let mut told: Vec<Told> = (0..4)
        .map(|event| {
            let crowd = (0..250).map(|place| PersonPayload {
                name: name.clone(),
                time_zone: name.clone(),
                phone_number: name.clone(),
                language: name.clone(),
                seat_uid: name.clone(),
                ..person(&format!("{event}{place}{name}"))
            });
            let members = (0..1_000).map(|place| PersonPayload {
                name: name.clone(),
                username: name.clone(),
                ..person(&format!("host{place}{name}"))
            });
            let booking = BookingPayload {
                attendees: crowd.collect(),
                team: Some(TeamPayload { members: members.collect(), ..Default::default() }),
                title: long.clone(),
                location: long.clone(),
                description: long.clone(),
                currency: long.clone(),
                metadata: (0..256).map(|key| (format!("{event}{key}"), long[..20_000].to_owned())).collect(),
                responses: (0..4).map(|key| (format!("{event}{key}"), answer(&long))).collect(),
                ..seat("u1", "", "")
            };
            tell(BookingCreated, event, booking)
        })
        .collect();
    told.push(tell(BookingCancelled, 9, BookingPayload { cancellation_reason: long, ..cancel("u1") }));
    let mut booking = World::of(&told).get("u1").booking;
    assert_eq!(booking.attendees.len(), 1_000, "nobody is left out");
    let answers = booking.responses.as_ref().unwrap().fields.len();
    assert_eq!((booking.metadata.len(), answers), (31, 4), "what fits is shown, and a short one behind it");
    assert!(booking.encoded_len() < 7 * 512 * 1024, "{} bytes", booking.encoded_len());
    booking.metadata.retain(|_, text| text.len() != 16 * 1024);
    assert!(booking.metadata.is_empty(), "each is as long as may be");
}
