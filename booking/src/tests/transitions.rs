//! What a change is called, and what is none.

use calbridge_proto::v1::{
    BookingPayload, BookingStatus, TransitionKind,
    Trigger::{
        BookingCancelled, BookingCreated, BookingLocationUpdated, BookingNoShowUpdated, BookingPaid, BookingRequested,
        BookingRescheduled,
    },
};

use super::world::{Told, World, at, cancel, marks, moved, payload, person, tell};
use crate::{Change, Derived, transition};

/// The changes of `uid` that `told` makes one by one.
fn changes(uid: &str, told: &[Told]) -> Vec<Option<Change>> {
    let mut world = World::default();
    let mut before: Option<Derived> = None;
    let mut changes = Vec::new();
    for told in told {
        world.merge(&told.facts());
        let after = world.find(uid);
        changes.push(after.as_ref().and_then(|after| transition(before.as_ref(), after)));
        before = after;
    }
    changes
}

fn kinds(told: &[Told]) -> Vec<Option<TransitionKind>> {
    changes("u1", told).into_iter().map(|change| change.map(|change| change.kind)).collect()
}

#[test]
fn a_change_names_its_weightiest_part_both_ends_and_the_rule() {
    let told = [tell(BookingRequested, 1, payload("u1")), tell(BookingCancelled, 2, cancel("u1"))];
    assert_eq!(
        changes("u1", &told)[1],
        Some(Change {
            kind: TransitionKind::StatusChanged,
            from: BookingStatus::Requested,
            to: BookingStatus::Cancelled,
            rule: crate::Rule::Cancelled,
        })
    );
    let appeared = changes("u1", &told)[0].unwrap();
    assert_eq!((appeared.kind, appeared.from), (TransitionKind::Appeared, BookingStatus::Unspecified));
}

#[test]
fn each_kind_of_change() {
    use TransitionKind::{
        Appeared, DetailsChanged, Moved, NoShowChanged, PaymentChanged, PeopleChanged, StatusChanged,
    };

    let place = BookingPayload { location: "Main Street 1".into(), ..payload("u1") };
    let time = BookingPayload { start_time: Some(at(20)), end_time: Some(at(21)), ..place.clone() };
    let guest = BookingPayload { attendees: vec![person("guest@a.example"), person("b@a.example")], ..time.clone() };
    let told = [
        tell(BookingCreated, 1, payload("u1")),
        tell(BookingLocationUpdated, 2, place),
        tell(BookingLocationUpdated, 3, time),
        tell(BookingLocationUpdated, 4, guest.clone()),
        tell(BookingPaid, 5, guest),
        tell(BookingNoShowUpdated, 22, marks("u1", &[("b@a.example", false)])),
        tell(BookingNoShowUpdated, 23, marks("u1", &[("b@a.example", true)])),
        tell(BookingNoShowUpdated, 24, marks("u1", &[("b@a.example", false)])),
    ];
    assert_eq!(
        kinds(&told),
        [
            Some(Appeared),
            Some(DetailsChanged),
            Some(Moved),
            Some(PeopleChanged),
            Some(PaymentChanged),
            Some(StatusChanged),
            Some(NoShowChanged),
            Some(NoShowChanged),
        ]
    );
}

#[test]
fn a_second_subscriptions_copy_is_no_change_whichever_comes_first() {
    for (first, second) in [(1, 2), (2, 1)] {
        let told = [tell(BookingCreated, first, payload("u1")), tell(BookingCreated, second, payload("u1"))];
        assert_eq!(kinds(&told), [Some(TransitionKind::Appeared), None]);
    }
}

#[test]
fn a_duplicate_and_a_late_older_event_are_no_change() {
    let created = tell(BookingCreated, 2, payload("u1"));
    let request = tell(BookingRequested, 1, payload("u1"));
    assert_eq!(kinds(&[created.clone(), created, request]), [Some(TransitionKind::Appeared), None, None]);
}

#[test]
fn an_invisible_change_still_advances_the_row() {
    let first = tell(BookingCreated, 1, payload("u1"));
    let copy = tell(BookingCreated, 2, payload("u1"));
    assert_ne!(World::of([&first]).bytes(), World::of([&first, &copy]).bytes());
}

#[test]
fn a_reschedule_changes_two_bookings() {
    let told = [tell(BookingCreated, 1, payload("u1")), tell(BookingRescheduled, 2, moved("u2", "u1"))];
    assert_eq!(kinds(&told), [Some(TransitionKind::Appeared), Some(TransitionKind::StatusChanged)]);
    assert_eq!(changes("u2", &told)[1].map(|change| change.kind), Some(TransitionKind::Appeared));
}

#[test]
fn a_hint_about_an_unknown_booking_is_no_change() {
    let hint = BookingPayload { ical_uid: "u1@Cal.com".into(), ..payload("u2") };
    let told = [tell(BookingCreated, 1, hint), tell(BookingCreated, 0, payload("u1"))];
    assert_eq!(kinds(&told), [None, Some(TransitionKind::Appeared)]);
}
