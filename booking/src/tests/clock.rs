//! The clock policy: what was accepted counts as over when its end, and a grace, have gone by. It is asked anew at each
//! look, so whatever is told later still decides.

use std::time::Duration;

use calbridge_proto::v1::{
    BookingPayload, BookingStatus, MeetingPayload, TransitionKind,
    Trigger::{
        BookingCancelled, BookingCreated, BookingLocationUpdated, BookingNoShowUpdated, BookingPaid,
        BookingPaymentInitiated, BookingRejected, BookingRequested, BookingRescheduled, InstantMeeting, MeetingEnded,
        MeetingStarted,
    },
};
use proptest::{collection::vec, prelude::*};

use super::{
    histories::{ends, permute},
    laws::told,
    seen::{leave, pending, rejection, seat},
    world::{Told, World, at, cancel, instant, marks, moved, payload, person, tell, timer},
};
use crate::{Derived, Horizon, time::micros, transition};

/// The clock says `hour`, and no grace is given.
fn clock(hour: i64) -> Horizon {
    Horizon::at(micros(&at(hour)), Duration::ZERO)
}

fn rule(world: &World, horizon: Horizon) -> &'static str {
    world.find_at("u1", horizon).unwrap().rule.as_str()
}

fn created() -> Told {
    tell(BookingCreated, 1, payload("u1"))
}

fn nobody_came(hour: i64, mark: bool) -> Told {
    tell(BookingNoShowUpdated, hour, marks("u1", &[("guest@a.example", mark)]))
}

#[test]
fn what_is_scheduled_or_in_progress_is_completed_at_its_end() {
    for (told, evident) in [
        (vec![created()], BookingStatus::Scheduled),
        (vec![created(), tell(MeetingStarted, 0, timer("u1"))], BookingStatus::InProgress),
        (vec![tell(MeetingStarted, 0, timer("u1"))], BookingStatus::InProgress),
        (vec![created(), nobody_came(10, true), nobody_came(11, false)], BookingStatus::InProgress),
        (vec![tell(BookingCreated, 1, seat("u1", "a@a.example", "s1"))], BookingStatus::Scheduled),
    ] {
        let world = ends(&told);
        for before in [Horizon::NONE, clock(10)] {
            let derived = world.find_at("u1", before).unwrap();
            assert_eq!((derived.booking.status(), derived.clock_end), (evident, Some(micros(&at(11)))));
        }
        for after in [clock(11), clock(12), Horizon::ALL] {
            let derived = world.find_at("u1", after).unwrap();
            assert_eq!((derived.booking.status(), derived.rule.as_str()), (BookingStatus::Completed, "ended_by_clock"));
            assert_eq!(derived.clock_end, Some(micros(&at(11))), "whether it has passed or not");
        }
    }
}

#[test]
fn what_waits_or_is_off_is_never_completed() {
    let no_seat = [
        tell(BookingCreated, 1, seat("u1", "a@a.example", "s1")),
        tell(BookingCancelled, 2, leave("u1", "a@a.example")),
    ];
    let paid = BookingPayload { status: "PENDING".into(), ..payload("u1") };
    for (told, rule) in [
        (vec![tell(BookingRequested, 1, pending(payload("u1")))], "requested"),
        (vec![tell(BookingPaymentInitiated, 1, payload("u1"))], "requested"),
        (vec![tell(BookingPaymentInitiated, 1, payload("u1")), tell(BookingPaid, 2, paid)], "requested"),
        (vec![tell(InstantMeeting, 1, instant("u1"))], "awaiting_host"),
        (vec![created(), tell(BookingCancelled, 2, cancel("u1"))], "cancelled"),
        (no_seat.to_vec(), "no_seat_left"),
        (vec![tell(BookingRequested, 1, payload("u1")), tell(BookingRejected, 2, rejection("u1"))], "rejected"),
        (vec![created(), tell(BookingRescheduled, 2, moved("u2", "u1"))], "rescheduled"),
        (vec![created(), nobody_came(10, true)], "no_show"),
        (vec![created(), tell(MeetingEnded, 0, timer("u1"))], "ended"),
    ] {
        let world = ends(&told);
        let evident = world.get("u1");
        assert_eq!((evident.rule.as_str(), evident.clock_end), (rule, None));
        for horizon in [clock(11), Horizon::ALL] {
            assert_eq!(world.find_at("u1", horizon), Some(evident.clone()), "{rule}");
        }
    }
}

#[test]
fn the_end_and_the_grace_count_to_the_microsecond() {
    let mut end = at(11);
    end.nanos = 123_456_789;
    let world = ends(&[tell(BookingCreated, 1, BookingPayload { end_time: Some(end), ..payload("u1") })]);
    let micro = micros(&at(11)) + 123_456;
    let grace = Duration::from_mins(15);
    let over = micro + 900_000_000;
    assert_eq!(rule(&world, Horizon::at(over - 1, grace)), "accepted");
    assert_eq!(rule(&world, Horizon::at(over, grace)), "ended_by_clock");
    assert_eq!(rule(&world, Horizon::at(micro - 1, Duration::ZERO)), "accepted");
    assert_eq!(rule(&world, Horizon::at(micro, Duration::ZERO)), "ended_by_clock");
    assert_eq!(rule(&world, Horizon::at(i64::MAX, Duration::MAX)), "accepted", "a grace without end");
}

#[test]
fn where_no_end_is_known_nothing_is_completed() {
    let timeless = BookingPayload { start_time: None, end_time: None, ..payload("u1") };
    let started = BookingPayload { end_time: None, ..payload("u1") };
    for told in [
        tell(BookingCreated, 1, timeless),
        tell(BookingCreated, 1, started),
        tell(MeetingStarted, 0, MeetingPayload { end_time: None, ..timer("u1") }),
        nobody_came(10, false),
    ] {
        let world = ends(&[told]);
        let evident = world.get("u1");
        assert_eq!(evident.clock_end, None);
        assert_eq!(world.find_at("u1", Horizon::ALL), Some(evident));
    }
}

#[test]
fn a_later_move_puts_the_end_off() {
    let moves = BookingPayload { seats_per_time_slot: Some(12), ..moved("u1", "u1") };
    let edits = BookingPayload { start_time: Some(at(12)), end_time: Some(at(13)), ..payload("u1") };
    let seated = tell(BookingCreated, 1, seat("u1", "guest@a.example", ""));
    for (first, later) in
        [(seated, tell(BookingRescheduled, 12, moves)), (created(), tell(BookingLocationUpdated, 12, edits))]
    {
        let before = World::of([&first]).find_at("u1", clock(12)).unwrap();
        let world = ends(&[first.clone(), later.clone()]);
        let after = world.find_at("u1", clock(12)).unwrap();
        assert_eq!((before.rule.as_str(), after.rule.as_str()), ("ended_by_clock", "accepted"));
        let change = transition(Some(&before), &after).unwrap();
        assert_eq!((change.kind, change.to), (TransitionKind::StatusChanged, BookingStatus::Scheduled));
        assert_eq!(rule(&world, clock(13)), "ended_by_clock");

        let world = ends(&[first, later, tell(MeetingEnded, 0, timer("u1"))]);
        assert_eq!(rule(&world, clock(12)), "accepted", "nor does the timer of the old end complete it");
        assert_eq!(rule(&world, clock(13)), "ended_by_clock");
    }
}

#[test]
fn what_is_told_after_the_clock_decides() {
    let clocked = World::of([&created()]).find_at("u1", clock(12)).unwrap();
    let then = |told: &[Told]| -> (&'static str, Option<TransitionKind>) {
        let world = ends(&[&[created()], told].concat());
        let after = world.find_at("u1", clock(12)).unwrap();
        (after.rule.as_str(), transition(Some(&clocked), &after).map(|change| change.kind))
    };
    let changed = Some(TransitionKind::StatusChanged);
    assert_eq!(then(&[tell(BookingCancelled, 12, cancel("u1"))]), ("cancelled", changed));
    assert_eq!(then(&[tell(BookingRescheduled, 12, moved("u2", "u1"))]), ("rescheduled", changed));
    assert_eq!(then(&[tell(MeetingEnded, 0, timer("u1"))]), ("ended", None), "COMPLETED it stays");
    assert_eq!(then(&[tell(MeetingStarted, 0, timer("u1"))]), ("ended_by_clock", None));
    assert_eq!(then(&[nobody_came(12, true)]), ("no_show", changed));
    assert_eq!(then(&[nobody_came(12, true), nobody_came(13, false)]), ("ended_by_clock", None));
}

#[test]
fn a_mark_on_some_leaves_it_completed() {
    let two = BookingPayload { attendees: vec![person("guest@a.example"), person("b@a.example")], ..payload("u1") };
    let world = ends(&[tell(BookingCreated, 1, two), nobody_came(12, true)]);
    assert_eq!((rule(&world, Horizon::NONE), rule(&world, clock(12))), ("started", "ended_by_clock"));
}

#[test]
fn completing_is_a_change_of_status_with_the_clocks_rule() {
    let world = World::of([&created()]);
    let change = transition(world.find("u1").as_ref(), &world.find_at("u1", clock(11)).unwrap()).unwrap();
    assert_eq!((change.from, change.to), (BookingStatus::Scheduled, BookingStatus::Completed));
    assert_eq!((change.kind, change.rule.as_str()), (TransitionKind::StatusChanged, "ended_by_clock"));
}

#[test]
fn a_frozen_end_decides_only_where_no_written_one_is_known() {
    for (start, end) in [(at(5), at(6)), (at(20), at(21))] {
        let frozen = MeetingPayload { start_time: Some(start), end_time: Some(end), enveloped: true, ..timer("u1") };
        let frozen = tell(MeetingStarted, 9, frozen);
        let world = ends(std::slice::from_ref(&frozen));
        assert_eq!(world.get("u1").clock_end, Some(micros(&end)));
        let world = ends(&[created(), frozen]);
        assert_eq!(world.get("u1").clock_end, Some(micros(&at(11))));
    }
}

#[test]
fn at_one_horizon_all_orders_agree() {
    let moves = BookingPayload { seats_per_time_slot: Some(12), ..moved("u1", "u1") };
    let told = [
        tell(BookingRequested, 1, pending(payload("u1"))),
        tell(BookingCreated, 2, seat("u1", "guest@a.example", "s1")),
        tell(BookingRescheduled, 3, moves),
        tell(MeetingEnded, 0, timer("u1")),
        nobody_came(12, false),
    ];
    for horizon in [Horizon::NONE, clock(11), clock(12), clock(13), Horizon::ALL] {
        let expected = World::of(&told).find_at("u1", horizon);
        permute(&[0, 1, 2, 3, 4], &mut |order| {
            let world = World::of(order.iter().map(|place| &told[*place]));
            assert_eq!(world.find_at("u1", horizon), expected, "{order:?}");
        });
    }
}

/// `derived` as it was before the clock looked at it.
fn unclocked(derived: Derived, evident: &Derived) -> Derived {
    let mut derived = derived;
    derived.booking.status = evident.booking.status;
    derived.rule = evident.rule;
    derived
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_clock_changes_the_status_alone_and_nothing_in_the_row(told in vec(told(), 1..8), hour in 8i64..14) {
        let world = World::of(&told);
        let bytes = world.bytes();
        for uid in world.rows.keys() {
            let Some(evident) = world.find(uid) else {
                prop_assert_eq!(world.find_at(uid, Horizon::ALL), None, "the clock shows no hint");
                continue;
            };
            let clocked = world.find_at(uid, clock(hour)).unwrap();
            let accepted = [BookingStatus::Scheduled, BookingStatus::InProgress];
            let end = evident.booking.end_time.as_ref().map(micros);
            prop_assert_eq!(evident.clock_end, end.filter(|_| accepted.contains(&evident.booking.status())));
            let completed = evident.clock_end.is_some_and(|end| end <= micros(&at(hour)));
            prop_assert_eq!(clocked.rule.as_str() == "ended_by_clock", completed);
            prop_assert_eq!(unclocked(clocked, &evident), evident);
        }
        prop_assert_eq!(world.bytes(), bytes);
    }
}
