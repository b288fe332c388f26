//! What the small Cal.com tells, told to us: in any order, any number of times, in parts and with losses.
//!
//! Invariant: what is expected comes from the model's own database, never from our merge.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use calbridge_proto::v1::{BookingStatus, Trigger, booking_event::Payload};
use proptest::{
    collection::vec,
    prelude::*,
    sample::Index,
    strategy::ValueTree,
    test_runner::{TestCaseError, TestRunner},
};
use prost_types::Timestamp;

use super::{
    cal_com::{Booking, CalCom, Details, Form, Script, Shown, script},
    oracle::each_register_is_the_last_of_its_tellings,
    world::{Told, World, at, cancel, moved, tell},
};
use crate::{Derived, Horizon, Row, transition};

fn played() -> impl Strategy<Value = CalCom> {
    script().prop_map(|script: Script| CalCom::play(&script))
}

/// Everything once, in an order that `order` makes, and some of it once more.
fn shuffled<'a>(told: &'a [Told], order: &[Index]) -> Vec<&'a Told> {
    let mut all: Vec<&Told> = told.iter().collect();
    for place in (1..all.len()).rev() {
        if let Some(index) = order.get(place % order.len().max(1)) {
            all.swap(place, index.index(place + 1));
        }
    }
    let again: Vec<&Told> = order.iter().filter(|_| !told.is_empty()).map(|index| index.get(told)).collect();
    all.splice(all.len() / 2..all.len() / 2, again);
    all
}

fn minutes(time: Option<Timestamp>) -> i64 {
    time.map_or(i64::MIN, |time| (time.seconds - at(0).seconds) / 60)
}

fn micros(minute: i64) -> i64 {
    (at(0).seconds + minute * 60) * 1_000_000
}

fn details(derived: &Derived) -> Details {
    let booking = &derived.booking;
    let organizer = booking.organizer.clone().unwrap_or_default();
    let mut attendees: Vec<_> = booking
        .attendees
        .iter()
        .map(|attendee| {
            let seat = Some(attendee.seat_uid.clone()).filter(|seat| !seat.is_empty());
            (attendee.email.to_lowercase(), seat, attendee.no_show)
        })
        .collect();
    attendees.sort();
    Details {
        times: (minutes(booking.start_time), minutes(booking.end_time)),
        location: Some(booking.location.clone()),
        organizer: (organizer.email, organizer.no_show),
        attendees,
    }
}

/// What we show, of that which `expected` knows.
fn shown(derived: &Derived, expected: &Shown) -> Shown {
    let booking = &derived.booking;
    let ours = details(derived);
    Shown {
        status: booking.status(),
        payment: booking.payment_status(),
        asked_again: booking.reschedule_requested,
        replaced_by: booking.rescheduled_to_uid.clone(),
        replaces: booking.rescheduled_from_uid.clone(),
        details: expected
            .details
            .as_ref()
            .map(|known| Details { location: ours.location.filter(|_| known.location.is_some()), ..ours }),
    }
}

fn tells_the_truth(cal_com: &CalCom, world: &World, horizon: Horizon) -> Result<(), TestCaseError> {
    for booking in &cal_com.bookings {
        let expected = booking.shown(cal_com.clock, |end| horizon.passed(micros(end)));
        let derived = world.find_at(&booking.uid, horizon);
        let ours = derived.map(|derived| shown(&derived, &expected));
        prop_assert_eq!(ours, Some(expected), "{}", booking.uid);
    }
    Ok(())
}

fn merged(mut row: Row, other: &Row) -> Row {
    row.merge(other);
    row
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn order_and_number_do_not_show(cal_com in played(), order in vec(any::<Index>(), 1..40), now in 0..3_000_i64) {
        let in_order = World::of(&cal_com.sent);
        let world = World::of(shuffled(&cal_com.sent, &order));
        prop_assert_eq!(world.bytes(), in_order.bytes());
        for horizon in [Horizon::NONE, Horizon::ALL, Horizon::at(micros(now), Duration::from_mins(10))] {
            for uid in in_order.rows.keys() {
                prop_assert_eq!(world.find_at(uid, horizon), in_order.find_at(uid, horizon));
            }
        }
    }

    #[test]
    fn replicas_that_saw_parts_of_one_history_agree(cal_com in played(), parts in vec(0..3_usize, 1..40)) {
        let part = |number| {
            let mine = cal_com.sent.iter().zip(parts.iter().cycle()).filter(move |(_, part)| **part == number);
            World::of(mine.map(|(told, _)| told)).rows
        };
        let (left, right, third, whole) = (part(0), part(1), part(2), World::of(&cal_com.sent).rows);
        for (uid, whole) in &whole {
            let of = |rows: &BTreeMap<String, Row>| rows.get(uid).cloned().unwrap_or_default();
            let (a, b, c) = (of(&left), of(&right), of(&third));
            prop_assert_eq!(merged(a.clone(), &b), merged(b.clone(), &a), "commutative");
            let one_way = merged(merged(a.clone(), &b), &c);
            prop_assert_eq!(&one_way, &merged(a.clone(), &merged(b, &c)), "associative");
            prop_assert_eq!(merged(a.clone(), &a), a, "idempotent");
            prop_assert_eq!(merged(one_way.clone(), whole), one_way.clone(), "the whole adds nothing to its parts");
            prop_assert_eq!(one_way.encode(), whole.encode());
        }
    }

    #[test]
    fn each_register_holds_the_last_that_the_history_told_of_it(cal_com in played()) {
        each_register_is_the_last_of_its_tellings(&cal_com.sent)?;
    }

    #[test]
    fn what_is_shown_is_what_the_database_holds(cal_com in played()) {
        tells_the_truth(&cal_com, &World::of(&cal_com.sent), Horizon::NONE)?;
    }

    #[test]
    fn a_task_that_runs_again_with_newer_data_takes_nothing_back(
        played in played(), again in vec(any::<usize>(), 1..10), order in vec(any::<Index>(), 1..40),
    ) {
        let mut cal_com = played;
        for task in again {
            cal_com.run_again(task);
        }
        tells_the_truth(&cal_com, &World::of(shuffled(&cal_com.sent, &order)), Horizon::NONE)?;
    }

    #[test]
    fn at_any_hour_the_clock_completes_what_the_database_holds_as_accepted(cal_com in played(), now in 0..3_000_i64) {
        let world = World::of(&cal_com.sent);
        let horizon = Horizon::at(micros(now), Duration::ZERO);
        tells_the_truth(&cal_com, &world, horizon)?;
        for uid in world.rows.keys() {
            let (Some(evident), Some(at_now)) = (world.find(uid), world.find_at(uid, horizon)) else { continue };
            if evident.rule != at_now.rule {
                prop_assert_eq!(at_now.rule.as_str(), "ended_by_clock");
                let before = evident.booking.status();
                prop_assert!(matches!(before, BookingStatus::Scheduled | BookingStatus::InProgress), "{:?}", before);
            }
        }
    }

    #[test]
    fn a_later_cancel_or_move_takes_the_clocks_word_back(cal_com in played()) {
        let world = World::of(&cal_com.sent);
        let later = (cal_com.clock + 60) / 60;
        for uid in world.rows.keys() {
            let Some(over) = world.find_at(uid, Horizon::ALL).filter(|found| found.rule.as_str() == "ended_by_clock")
            else { continue };
            let mut cancelled = world.clone();
            cancelled.merge(&tell(Trigger::BookingCancelled, later, cancel(uid)).facts());
            let off = cancelled.find_at(uid, Horizon::ALL).map(|off| off.booking.status());
            prop_assert_eq!(off, Some(BookingStatus::Cancelled));
            if over.booking.seats_per_time_slot.is_none() {
                let mut replaced = world.clone();
                replaced.merge(&tell(Trigger::BookingRescheduled, later, moved("later", uid)).facts());
                let gone = replaced.find_at(uid, Horizon::ALL).map(|gone| gone.booking.status());
                prop_assert_eq!(gone, Some(BookingStatus::Rescheduled));
            }
        }
    }

    #[test]
    fn another_subscriptions_copy_is_no_change(cal_com in played(), again in any::<Index>()) {
        let mut world = World::of(&cal_com.sent);
        let before = world.clone();
        if !cal_com.sent.is_empty() {
            world.merge(&again.get(&cal_com.sent).facts());
        }
        prop_assert_eq!(world.bytes(), before.bytes());
        for uid in world.rows.keys() {
            if let Some(after) = world.find(uid) {
                prop_assert_eq!(transition(before.find(uid).as_ref(), &after), None);
            }
        }
    }

    #[test]
    fn what_was_lost_leaves_only_what_was_true_once(
        cal_com in played(), kept in vec(any::<bool>(), 1..40), order in vec(any::<Index>(), 1..40),
    ) {
        let arrived = cal_com.sent.iter().zip(kept.iter().cycle()).filter(|(_, kept)| **kept);
        let arrived: Vec<Told> = arrived.map(|(told, _)| told.clone()).collect();
        let world = World::of(shuffled(&arrived, &order));
        prop_assert_eq!(world.bytes(), World::of(&arrived).bytes());
        for uid in world.rows.keys() {
            let Some(derived) = world.find(uid) else { continue };
            let booking = cal_com.bookings.iter().find(|booking| booking.uid == *uid);
            let Some(booking) = booking else {
                return Err(TestCaseError::fail(format!("{uid} is nobody's and shown")));
            };
            was_true_once(booking, &derived)?;
            let seats_are_told = derived.booking.seats_per_time_slot.is_some();
            prop_assert!(status_was_true_once(booking, &derived, seats_are_told), "{:#?}\n{:#?}", derived, booking);
        }
    }
}

/// Three exceptions to what the name says, all of them about people who come one by one.
fn status_was_true_once(booking: &Booking, derived: &Derived, seats_are_told: bool) -> bool {
    let seated = booking.kind.form == Form::Seated;
    match derived.booking.status() {
        // Marks that were taken back, and guests, may have been lost: then each was missing once, if never all at once.
        BookingStatus::NoShow => true,
        // Who left is known and who stayed is not.
        BookingStatus::Cancelled if seated && booking.ever.left => true,
        // A timer names the booking that the first seat came from; that it was one of seats was lost.
        BookingStatus::Rescheduled if seated => !seats_are_told,
        status => booking.ever.statuses.contains(&status.into()),
    }
}

fn was_true_once(booking: &Booking, derived: &Derived) -> Result<(), TestCaseError> {
    let (shown, ever) = (&derived.booking, &booking.ever);
    prop_assert!(shown.payment_status() <= booking.payment.now);
    prop_assert!(shown.rescheduled_to_uid.is_empty() || shown.status() == BookingStatus::Rescheduled);
    if shown.start_time.is_some() {
        prop_assert!(ever.times.contains(&(minutes(shown.start_time), minutes(shown.end_time))));
    }
    let place = &shown.location;
    prop_assert!(place.is_empty() || place.starts_with("https://meet.example/") || ever.locations.contains(place));
    prop_assert!(shown.hosts.iter().all(|host| ever.hosts.contains(host.email.as_str())));
    for attendee in &shown.attendees {
        let email = attendee.email.to_lowercase();
        prop_assert!(ever.guests.contains(email.as_str()));
        prop_assert!(!attendee.no_show || ever.marked.contains(email.as_str()));
    }
    Ok(())
}

/// A model that never comes somewhere proves nothing there.
#[test]
fn the_model_tells_of_everything() {
    let mut runner = TestRunner::deterministic();
    let mut triggers = BTreeSet::new();
    let mut statuses = BTreeSet::new();
    let (mut silent, mut flat, mut enveloped, mut same_uid, mut webhooks, mut bookings) = (0, 0, 0, 0, 0, 0);
    for _ in 0..400 {
        let cal_com = played().new_tree(&mut runner).unwrap().current();
        webhooks += cal_com.sent.len();
        bookings += cal_com.bookings.len();
        for told in &cal_com.sent {
            triggers.insert(told.event.trigger());
            match &told.event.payload {
                Some(Payload::Meeting(meeting)) if meeting.enveloped => enveloped += 1,
                Some(Payload::Meeting(_)) => flat += 1,
                Some(Payload::Booking(payload)) if payload.uid == payload.reschedule_uid => same_uid += 1,
                _ => {}
            }
        }
        for booking in &cal_com.bookings {
            statuses.insert(booking.shown(cal_com.clock, |_| false).status);
            silent += usize::from(booking.silent);
        }
    }
    println!("{webhooks} webhooks of {bookings} bookings, {silent} changed silently; {flat} flat, {enveloped} not");
    assert_eq!(triggers.len(), 16, "{triggers:?}");
    assert_eq!(statuses.len(), 9, "{statuses:?}");
    assert!([silent, flat, enveloped, same_uid].iter().all(|count| *count > 10));
}
