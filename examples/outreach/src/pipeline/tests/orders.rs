//! Of one booking transitions come in order, of two in any: wherever they meet, the pipeline ends in the same state.

use std::collections::BTreeSet;

use calbridge_client::v1::BookingStatus::{Completed, InProgress, NoShow};
use proptest::prelude::*;

use super::*;

/// A booking's transitions, in order.
type Life = Vec<Snapshot>;

/// How a booking may be told of, whether another takes its place or not.
const LIVES: [&[BookingStatus]; 8] = [
    &[Scheduled],
    &[Requested, Scheduled],
    &[Requested],
    &[Requested, Rejected],
    &[Scheduled, Cancelled],
    &[Scheduled, InProgress, Completed],
    &[Scheduled, NoShow, Scheduled],
    // Seats: the last one left, and another was taken.
    &[Scheduled, Cancelled, Scheduled],
];

/// Who says that a booking took another's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Both,
    TheOld,
    TheNew,
}

#[derive(Debug, Clone)]
struct Booking {
    life: usize,
    /// Of its metadata: both ids, the sequence alone, or neither.
    names: usize,
    told: Told,
}

/// A lineage: each booking took the place of the one before it, whose life ends by that.
fn lineage(name: &str, bookings: &[Booking]) -> Vec<Life> {
    let uid = |number: usize| format!("{name}{}", "i".repeat(number));
    let link = |there: bool, number: usize| there.then(|| uid(number));
    bookings
        .iter()
        .enumerate()
        .map(|(number, booking)| {
            let mut statuses = LIVES[booking.life].to_vec();
            let next = bookings.get(number + 1);
            if next.is_some() {
                statuses.push(Rescheduled);
            }
            let snapshot = |(at, status): (usize, &BookingStatus)| {
                let named = told(&uid(number), at, *status);
                // Whoever names nobody is somebody new.
                let named = if booking.names < 2 { named } else { stranger(named) };
                let sequence = named.sequence.clone();
                let contact = named.contact.clone().filter(|_| booking.names < 1);
                let to = next.filter(|next| *status == Rescheduled && next.told != Told::TheNew);
                let from = number > 0 && booking.told != Told::TheOld;
                let (from, to) = (from.then(|| uid(number - 1)), link(to.is_some(), number + 1));
                Snapshot { sequence, contact, from, to, ..named }
            };
            statuses.iter().enumerate().map(snapshot).collect()
        })
        .collect()
}

/// The state after telling them in an order: each entry says whose next transition it is.
fn after(lives: &[Life], order: impl IntoIterator<Item = usize>) -> Vec<String> {
    let mut pipeline = seeded();
    let mut next = vec![0; lives.len()];
    for life in order {
        apply(&mut pipeline, &lives[life][next[life]]);
        next[life] += 1;
    }
    assert!(lives.iter().zip(next).all(|(life, next)| life.len() == next));
    dump(&mut pipeline)
}

fn one_after_the_other(lives: &[Life]) -> Vec<usize> {
    lives.iter().enumerate().flat_map(|(number, life)| vec![number; life.len()]).collect()
}

/// All orders that keep each booking's own.
fn every_order(mut left: Vec<usize>) -> BTreeSet<Vec<usize>> {
    fn extend(left: &mut [usize], order: &mut Vec<usize>, found: &mut BTreeSet<Vec<usize>>) {
        if left.iter().all(|left| *left == 0) {
            found.insert(order.clone());
        }
        for life in 0..left.len() {
            if left[life] > 0 {
                left[life] -= 1;
                order.push(life);
                extend(left, order, found);
                order.pop();
                left[life] += 1;
            }
        }
    }
    let mut found = BTreeSet::new();
    extend(&mut left, &mut Vec::new(), &mut found);
    found
}

#[test]
fn every_order_of_a_reschedule_ends_alike() {
    let mut orders = 0;
    for told in [Told::Both, Told::TheOld, Told::TheNew] {
        for (first, second) in (0..LIVES.len()).flat_map(|first| (0..LIVES.len()).map(move |second| (first, second))) {
            let of = |life| Booking { life, names: 0, told };
            let lives = lineage("u", &[of(first), of(second)]);
            let straight = after(&lives, one_after_the_other(&lives));
            for order in every_order(lives.iter().map(Vec::len).collect()) {
                assert_eq!(after(&lives, order.iter().copied()), straight, "{order:?} of {lives:#?}");
                orders += 1;
            }
        }
    }
    assert!(orders > 1_000, "{orders}");
}

fn a_booking() -> impl Strategy<Value = Booking> {
    let told = prop_oneof![Just(Told::Both), Just(Told::TheOld), Just(Told::TheNew)];
    (0..LIVES.len(), 0..3_usize, told).prop_map(|(life, names, told)| Booking { life, names, told })
}

fn a_lineage() -> impl Strategy<Value = Vec<Booking>> {
    prop::collection::vec(a_booking(), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Two lineages of the same people; wherever the log is told again from, what was applied is known.
    #[test]
    fn any_order_with_redeliveries_ends_alike(
        (first, second) in (a_lineage(), a_lineage()),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 64),
    ) {
        let mut lives = lineage("u", &first);
        lives.extend(lineage("other", &second));
        let straight = after(&lives, one_after_the_other(&lives));
        let mut pipeline = seeded();
        let mut next = vec![0; lives.len()];
        let mut picks = picks.iter().cycle();
        loop {
            let open: Vec<usize> = (0..lives.len()).filter(|life| next[*life] < lives[*life].len()).collect();
            let (Some(pick), false) = (picks.next(), open.is_empty()) else { break };
            let life = open[pick.index(open.len())];
            apply(&mut pipeline, &lives[life][next[life]]);
            next[life] += 1;
            // As a cursor that was moved back has it: each again, from some place on.
            let again = &lives[life][..next[life]];
            for told in &again[pick.index(again.len())..] {
                prop_assert_eq!(pipeline.apply(told).unwrap(), Applied::Before);
            }
        }
        prop_assert_eq!(dump(&mut pipeline), straight);
    }
}
