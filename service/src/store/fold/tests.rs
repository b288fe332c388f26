use std::{fmt::Write as _, time::Duration};

use calbridge_proto::v1::{BookingPayload, SubmitOutcome, Trigger, booking_event::Payload};
use proptest::{collection::vec, prelude::*, sample::select};
use prost_types::Timestamp;
use uuid::Uuid;

use super::*;
use crate::store::{DeliveryKey, Identity, PackedBody};

const NOW: Micros = 1_000_000;
const GRACE: Duration = Duration::from_secs(1);

/// One event about `uid`, which replaces `from` where that is not empty.
fn delivery(trigger: Trigger, uid: &str, from: &str, created: u8) -> NewDelivery {
    let title = "One and the same".into();
    let payload = BookingPayload { uid: uid.into(), title, reschedule_uid: from.into(), ..Default::default() };
    let event = v1::BookingEvent {
        trigger: trigger.into(),
        event_time: Some(Timestamp { seconds: created.into(), nanos: 0 }),
        payload: Some(Payload::Booking(payload)),
        ..Default::default()
    };
    let body_sha256 = [created; 32];
    NewDelivery {
        key: DeliveryKey { tenant: "acme".into(), time: created.into(), identity: Identity::Body(body_sha256) },
        delivery_id: Uuid::from_u128(created.into()),
        facts: calbridge_booking::facts(&event, &body_sha256),
        is_typed: true,
        event: Box::new(event),
        body_sha256,
        booking_uid: Some(uid.into()),
        leaves_siblings_silent: false,
        packed: PackedBody::default(),
        trace_id: String::new(),
    }
}

fn folded(deliveries: &[NewDelivery], rows: &LoadedRows, head: i64) -> Folded {
    folded_at(NOW, deliveries, rows, head)
}

fn folded_at(now: Micros, deliveries: &[NewDelivery], rows: &LoadedRows, head: i64) -> Folded {
    let clock = ClockPolicies { otherwise: Some(GRACE), ..ClockPolicies::default() };
    fold(&deliveries.iter().collect::<Vec<_>>(), rows, &occasion(now, head, &clock)).unwrap()
}

fn occasion(now: Micros, head: i64, clock: &ClockPolicies) -> Occasion<'_> {
    Occasion { head: Position(head), now, clock, source: TransitionSource::Webhook, trace_id: "" }
}

/// The rows as the next round loads them.
fn kept(rows: &mut LoadedRows, folded: Folded) {
    let row =
        |booking: FoldedBooking| (booking.key, LoadedRow { state: booking.state, clock_told: booking.clock_told });
    rows.extend(folded.bookings.into_iter().map(row));
}

#[test]
fn each_transition_takes_a_position_and_so_does_a_delivery_without_one() {
    let deliveries = [
        delivery(Trigger::BookingCreated, "u1", "", 1),
        delivery(Trigger::BookingCreated, "u1", "", 2),
        delivery(Trigger::BookingRescheduled, "u2", "u1", 3),
        delivery(Trigger::RecordingReady, "u2", "", 4),
    ];
    let folded = folded(&deliveries, &LoadedRows::new(), 10);
    let mut told = String::new();
    for delivery in &folded.deliveries {
        write!(told, "{}{:?}", delivery.position.0, delivery.outcome).unwrap();
        for mention in &delivery.mentions {
            write!(told, " {}@{}{:?}", mention.uid, mention.position.0, mention.outcome).unwrap();
        }
        told.push('\n');
    }
    assert_eq!(
        told,
        "11Applied u1@11Applied\n12NoChange u1@12NoChange\n14Applied u2@13Applied u1@14Applied\n\
        15Recorded u2@15Recorded\n"
    );
    assert_eq!(folded.head, Position(15));
}

#[test]
fn each_transition_has_the_booking_as_it_was_after_it() {
    let deliveries = [
        delivery(Trigger::BookingCreated, "u1", "", 2),
        // All that changes is when the booking was first told of: no transition says so.
        delivery(Trigger::BookingCreated, "u1", "", 1),
        delivery(Trigger::BookingCancelled, "u1", "", 3),
    ];
    let folded = folded(&deliveries, &LoadedRows::new(), 10);
    let told = folded.deliveries.iter().flat_map(|delivery| &delivery.transitions);
    let told = told.map(|told| {
        let made = told.whole();
        let booking = made.booking.as_ref().unwrap();
        assert_eq!((booking.uid.as_str(), &booking.position), ("u1", &told.position.to_token()));
        assert_eq!((booking.status, booking.update_time), (made.to_status, made.commit_time));
        (told.position.0, booking.create_time.unwrap().seconds)
    });
    assert_eq!(told.collect::<Vec<_>>(), [(11, 2), (13, 1)]);
}

#[test]
fn what_did_not_change_for_one_booking_stands_at_the_last_position_of_its_delivery() {
    let moved = delivery(Trigger::BookingRescheduled, "u2", "u1", 3);
    let mut rows = LoadedRows::new();
    let made = folded(std::slice::from_ref(&moved), &rows, 0);
    kept(&mut rows, made);
    // As if the row of the new booking had been lost: only that one changes.
    rows.retain(|key, _| key.1 == "u1");
    let again = folded(&[moved], &rows, 20);
    let mentions = &again.deliveries[0].mentions;
    let told: Vec<_> = mentions.iter().map(|told| (told.uid.as_str(), told.position.0, told.outcome)).collect();
    assert_eq!(told, [("u2", 21, SubmitOutcome::Applied), ("u1", 21, SubmitOutcome::NoChange)]);
}

#[test]
fn a_row_is_written_unless_its_bytes_are_equal() {
    let mut rows = LoadedRows::new();
    let first = delivery(Trigger::BookingCreated, "u1", "", 1);
    let made = folded(std::slice::from_ref(&first), &rows, 0);
    kept(&mut rows, made);

    let newer = folded(&[delivery(Trigger::BookingCreated, "u1", "", 2)], &rows, 1);
    assert_eq!(newer.deliveries[0].outcome, SubmitOutcome::NoChange);
    assert_eq!(newer.bookings.len(), 1, "its keys advance");
    assert!(matches!(newer.bookings[0].shows, Shows::AsBefore));

    assert!(folded(&[first], &rows, 1).bookings.is_empty());
}

#[test]
fn the_rows_that_are_needed_are_named_once() {
    let deliveries =
        [delivery(Trigger::BookingRescheduled, "u2", "u1", 1), delivery(Trigger::BookingCreated, "u1", "", 2)];
    let uids: Vec<_> = touched(&deliveries).into_iter().map(|(_, uid)| uid).collect();
    assert_eq!(uids, ["u1", "u2"]);
}

#[test]
fn bytes_that_are_no_row_are_damage() {
    let row = LoadedRow { state: b"not a row".to_vec(), clock_told: false };
    let rows = LoadedRows::from([(("acme".into(), "u1".to_owned()), row)]);
    let clock = ClockPolicies::default();
    let failed = fold(&[&delivery(Trigger::BookingCreated, "u1", "", 1)], &rows, &occasion(NOW, 0, &clock));
    assert!(matches!(failed.err(), Some(StoreError::Damaged { what: "booking", .. })));
}

proptest! {
    /// Where a round ends is of no account: positions, outcomes, transitions and rows are those of one large round.
    #[test]
    fn rounds_of_any_size_fold_alike(
        told in vec((
            select(vec![Trigger::BookingCreated, Trigger::BookingCancelled, Trigger::BookingRescheduled]),
            select(vec!["u1", "u2", "u3"]), select(vec!["", "u1", "u2"]), 1..9_u8,
        ), 1..12),
        size in 1..5_usize,
    ) {
        let deliveries: Vec<_> =
            told.iter().map(|(trigger, uid, from, at)| delivery(*trigger, uid, from, *at)).collect();
        let (mut rows, mut head, mut apart) = (LoadedRows::new(), 0, Vec::new());
        for round in deliveries.chunks(size) {
            let mut folded = folded(round, &rows, head);
            head = folded.head.0;
            apart.append(&mut folded.deliveries);
            kept(&mut rows, folded);
        }
        let together = folded(&deliveries, &LoadedRows::new(), 0);
        prop_assert_eq!(head, together.head.0);
        for (one, other) in apart.iter().zip(&together.deliveries) {
            prop_assert_eq!((one.position, one.outcome), (other.position, other.outcome));
            let whole = |delivery: &FoldedDelivery| delivery.transitions.iter().map(Told::whole).collect::<Vec<_>>();
            prop_assert_eq!(whole(one), whole(other));
        }
        let mut all = LoadedRows::new();
        kept(&mut all, together);
        prop_assert_eq!(rows, all);
    }
}
