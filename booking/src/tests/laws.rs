//! The laws of the merge, over random events with few uids, addresses and times, so that they collide all the time.

use std::collections::BTreeMap;

use calbridge_proto::v1::{
    BookingPayload, CalVideoNoShowPayload, InstantMeetingPayload, MeetingPayload, NoShowPayload, PersonPayload,
    ResponsePayload, TeamPayload, Trigger,
};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{Index, select},
};
use prost_types::Timestamp;

use super::world::{Told, World, answer, at, tell};
use crate::{Row, Subject, subject, transition};

const UIDS: [&str; 4] = ["u1", "u2", "u3", "U1"];
const STATUSES: [&str; 5] = ["", "ACCEPTED", "PENDING", "CANCELLED", "REJECTED"];

fn text(pool: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(pool).prop_map(str::to_owned)
}

fn uid() -> impl Strategy<Value = String> {
    select(&UIDS[..]).prop_map(str::to_owned)
}

fn other_uid() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), uid()]
}

fn ical_uid() -> impl Strategy<Value = String> {
    text(&["", "u1@Cal.com", "u2@Cal.com", "u3@Cal.com", "x@google.com", "@", "no at"])
}

fn time() -> impl Strategy<Value = Option<Timestamp>> {
    option::of(prop_oneof![
        8 => (9i64..13).prop_map(at),
        1 => (any::<i64>(), any::<i32>()).prop_map(|(seconds, nanos)| Timestamp { seconds, nanos }),
    ])
}

fn someone() -> impl Strategy<Value = PersonPayload> {
    let email = text(&["a@x.example", "A@X.example", "b@x.example", "c@x.example", "Email-less", "  "]);
    (email, option::of(0i64..3), text(&["", "N", "M"]), option::of(any::<bool>()), text(&["", "+1"])).prop_map(
        |(email, id, name, no_show, phone_number)| PersonPayload {
            email,
            id,
            username: name.clone(),
            name,
            no_show,
            phone_number,
            ..Default::default()
        },
    )
}

fn people() -> impl Strategy<Value = Vec<PersonPayload>> {
    vec(someone(), 0..4)
}

fn texts() -> impl Strategy<Value = BTreeMap<String, String>> {
    let pair = (text(&["k", "l"]), text(&["", "1", "2"]));
    vec(pair, 0..3).prop_map(|pairs| pairs.into_iter().collect())
}

fn answers() -> impl Strategy<Value = BTreeMap<String, ResponsePayload>> {
    texts().prop_map(|texts| texts.into_iter().map(|(slug, text)| (slug, answer(&text))).collect())
}

fn booking_payload() -> impl Strategy<Value = BookingPayload> {
    let who = (uid(), other_uid(), ical_uid(), text(&STATUSES), people(), option::of(someone()));
    let when = (time(), time(), time(), time());
    let seats = (option::of(0i32..3), text(&["", "s1", "s2"]), text(&["", "a@x.example"]), people());
    let rest = (text(&["", "R", "S"]), option::of(any::<bool>()), option::of(0i64..3), texts(), answers());
    (who, when, seats, rest).prop_map(|(who, when, seats, rest)| {
        let (uid, reschedule_uid, ical_uid, status, attendees, organizer) = who;
        let (start_time, end_time, reschedule_start_time, reschedule_end_time) = when;
        let (seats_per_time_slot, attendee_seat_id, cancelled_by, members) = seats;
        let (words, request_reschedule, number, metadata, responses) = rest;
        BookingPayload {
            uid,
            reschedule_uid,
            ical_uid,
            status,
            attendees,
            organizer,
            start_time,
            end_time,
            reschedule_start_time,
            reschedule_end_time,
            seats_per_time_slot,
            attendee_seat_id,
            cancelled_by,
            team: (!members.is_empty()).then(|| TeamPayload { members, ..Default::default() }),
            title: words.clone(),
            cancellation_reason: words.clone(),
            rejection_reason: words.clone(),
            rescheduled_by: words,
            request_reschedule,
            booking_id: number,
            reschedule_id: number,
            price_minor: number,
            metadata,
            responses,
            ..Default::default()
        }
    })
}

fn meeting_payload() -> impl Strategy<Value = MeetingPayload> {
    let flags = (option::of(any::<bool>()), any::<bool>());
    (uid(), other_uid(), ical_uid(), time(), time(), people(), option::of(someone()), flags).prop_map(
        |(uid, from_reschedule, ical_uid, start_time, end_time, attendees, organizer, (paid, enveloped))| {
            MeetingPayload {
                uid,
                from_reschedule,
                ical_uid,
                start_time,
                end_time,
                attendees,
                organizer,
                paid,
                enveloped,
                ..Default::default()
            }
        },
    )
}

fn absence() -> impl Strategy<Value = CalVideoNoShowPayload> {
    (uid(), people(), people(), time(), time(), text(&["", "a@x.example"]), option::of(any::<bool>())).prop_map(
        |(booking_uid, attendees, guests, start_time, end_time, host_email, no_show_host)| CalVideoNoShowPayload {
            booking_uid,
            attendees,
            guests,
            start_time,
            end_time,
            host_email,
            no_show_host,
            ..Default::default()
        },
    )
}

fn booking_trigger() -> impl Strategy<Value = Trigger> {
    select(
        &[
            Trigger::BookingCreated,
            Trigger::BookingRequested,
            Trigger::BookingRescheduled,
            Trigger::BookingCancelled,
            Trigger::BookingRejected,
            Trigger::BookingPaymentInitiated,
            Trigger::BookingPaid,
            Trigger::BookingLocationUpdated,
            Trigger::BookingReassigned,
            Trigger::InstantMeetingAccepted,
            Trigger::RecordingReady,
        ][..],
    )
}

/// Any event that states facts, and now and then one that states none.
pub(super) fn told() -> impl Strategy<Value = Told> {
    let hour = 0i64..4;
    let meetings = select(&[Trigger::MeetingStarted, Trigger::MeetingEnded][..]);
    let absences = select(&[Trigger::AfterHostsCalVideoNoShow, Trigger::AfterGuestsCalVideoNoShow][..]);
    prop_oneof![
        8 => (booking_trigger(), hour.clone(), booking_payload()).prop_map(|(t, h, p)| tell(t, h, p)),
        2 => (meetings, hour.clone(), meeting_payload()).prop_map(|(t, h, p)| tell(t, h, p)),
        2 => (hour.clone(), uid(), people()).prop_map(|(h, booking_uid, attendees)| {
            let marks = NoShowPayload { booking_uid, attendees, ..Default::default() };
            tell(Trigger::BookingNoShowUpdated, h, marks)
        }),
        1 => (absences, hour.clone(), absence()).prop_map(|(t, h, p)| tell(t, h, p)),
        1 => (hour, other_uid(), answers()).prop_map(|(h, uid, responses)| {
            tell(Trigger::InstantMeeting, h, InstantMeetingPayload { uid, responses, ..Default::default() })
        }),
    ]
}

/// A row, as folded from whatever these events say of the first uid.
fn row_of(told: &[Told]) -> Row {
    World::of(told).rows.remove(UIDS[0]).unwrap_or_default()
}

fn merged(mut row: Row, other: &Row) -> Row {
    row.merge(other);
    row
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn order_and_number_do_not_show(told in vec(told(), 1..10), order in vec(any::<Index>(), 0..30)) {
        let in_order = World::of(&told);
        let mut shuffled: Vec<_> = order.iter().map(|index| &told[index.index(told.len())]).collect();
        shuffled.extend(told.iter().rev());
        let world = World::of(shuffled);
        prop_assert_eq!(world.bytes(), in_order.bytes());
        for uid in in_order.rows.keys() {
            prop_assert_eq!(world.find(uid), in_order.find(uid));
        }
    }

    #[test]
    fn replicas_that_saw_parts_agree_when_joined(
        left in vec(told(), 0..6), right in vec(told(), 0..6), third in vec(told(), 0..6),
    ) {
        let (a, b, c) = (row_of(&left), row_of(&right), row_of(&third));
        prop_assert_eq!(merged(a.clone(), &b), merged(b.clone(), &a), "commutative");
        prop_assert_eq!(merged(merged(a.clone(), &b), &c), merged(a.clone(), &merged(b, &c)), "associative");
        prop_assert_eq!(merged(a.clone(), &a), a.clone(), "idempotent");
        prop_assert_eq!(merged(Row::default(), &a), a, "the empty row adds nothing");
    }

    #[test]
    fn an_event_speaks_of_at_most_three_bookings_its_own_first(told in told()) {
        let facts = told.facts();
        match subject(&told.event) {
            Subject::States { uid } => prop_assert_eq!(&facts[0].uid, uid),
            _ => prop_assert!(facts.is_empty()),
        }
        let mut uids: Vec<_> = facts.iter().map(|fact| &fact.uid).collect();
        uids.sort_unstable();
        uids.dedup();
        prop_assert_eq!(uids.len(), facts.len(), "one fact a booking");
        prop_assert!(facts.len() <= 3);
    }

    #[test]
    fn the_same_again_is_no_change(told in vec(told(), 1..8), again in any::<Index>()) {
        let mut world = World::of(&told);
        let before = world.clone();
        world.merge(&told[again.index(told.len())].facts());
        for uid in world.rows.keys() {
            if let Some(after) = world.find(uid) {
                prop_assert_eq!(transition(before.find(uid).as_ref(), &after), None);
            }
        }
    }

    #[test]
    fn a_change_is_told_exactly_when_one_can_be_seen(told in vec(told(), 1..8)) {
        let mut world = World::default();
        for told in &told {
            let before = world.clone();
            world.merge(&told.facts());
            for uid in world.rows.keys() {
                let Some(mut after) = world.find(uid) else {
                    prop_assert!(before.find(uid).is_none(), "nothing that was seen is hidden again");
                    continue;
                };
                let seen = before.find(uid);
                let change = transition(seen.as_ref(), &after);
                let Some(seen) = seen else { continue };
                after.booking.create_time = seen.booking.create_time;
                prop_assert_eq!(change.is_none(), seen.booking == after.booking);
            }
        }
    }
}
