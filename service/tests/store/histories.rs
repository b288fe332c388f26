//! Random histories of a store: rounds, replays and the clock, at times that go back and forth under policies that come
//! and go. Whatever happens, the log of a booking never jumps, and what is read is what the log says last.

use std::{sync::Arc, time::Duration};

use calbridge_proto::v1::{self, BookingStatus, PersonPayload, Trigger};
use calbridge_service::store::{Batch, ClockPolicies, ClockRound, Comparison, Condition, NewDelivery, Replay, Store};
use prost_types::Timestamp;
use uuid::Uuid;

use crate::{chance::Chance, pages::whole_list, support::*};

const HISTORIES: u64 = 150;
const STEPS: usize = 12;
const UIDS: [&str; 3] = ["u1", "u2", "u3"];

fn seat(uid: &str, created: i64, email: &str, from: &str) -> Webhook {
    let trigger = if from.is_empty() { Trigger::BookingCreated } else { Trigger::BookingRescheduled };
    booking(trigger, uid, created, |payload| {
        payload.seats_per_time_slot = Some(3);
        payload.title = format!("{email} at {created}");
        from.clone_into(&mut payload.reschedule_uid);
        payload.attendees = vec![PersonPayload { email: email.to_owned(), ..Default::default() }];
    })
}

fn any_webhook(chance: &mut Chance) -> Webhook {
    let (uid, other, created) = (chance.of(&UIDS), chance.of(&UIDS), chance.seconds(40));
    let end = 10_500 + chance.seconds(6) * 1_700;
    let email = chance.of(&["a@x.example", "b@x.example"]);
    let replaced = if uid == other { "u0" } else { other };
    match chance.below(8) {
        0 => cancelled(uid, created),
        1 => rescheduled(uid, replaced, created),
        2 => meeting_ended(uid, end),
        3 => seat(uid, created, email, ""),
        4 => seat(uid, created, email, replaced),
        5 => booking(Trigger::BookingCreated, uid, created, |payload| payload.ical_uid = format!("{replaced}@Cal.com")),
        6 => recording(uid, created),
        _ => booking(Trigger::BookingCreated, uid, created, |payload| {
            payload.title = format!("until {end}");
            payload.end_time = Some(Timestamp { seconds: end, nanos: 0 });
            payload.attendees = vec![PersonPayload { email: email.to_owned(), ..Default::default() }];
        }),
    }
}

/// A policy, and a time at which some of these bookings are over.
fn any_moment(chance: &mut Chance) -> (i64, Arc<ClockPolicies>) {
    let now = (9_000 + chance.seconds(8) * 1_500 + chance.seconds(3) * 31) * 1_000_000;
    let otherwise = chance.of(&[None, Some(Duration::ZERO), Some(Duration::from_mins(10))]);
    (now, Arc::new(ClockPolicies { otherwise, ..ClockPolicies::default() }))
}

pub(crate) async fn the_log_never_jumps_and_says_what_is_read(backend: &impl Backend) {
    let store = backend.open().await;
    for history in 1..=HISTORIES {
        let tenant: &'static str = format!("history-{history}").leak();
        let mut chance = Chance::new(history);
        let mut kept: Vec<(Webhook, Uuid)> = Vec::new();
        for _ in 0..STEPS {
            let (now, clock) = any_moment(&mut chance);
            if kept.is_empty() || chance.below(4) > 0 {
                let round: Vec<_> =
                    (0..=chance.below(3)).map(|_| Webhook { tenant, ..any_webhook(&mut chance) }).collect();
                let committed = store.commit(Batch { now, clock: Arc::clone(&clock), ..batch(&round) }).await.unwrap();
                kept.extend(round.into_iter().zip(committed).map(|(webhook, done)| (webhook, done.first.delivery_id)));
            } else {
                let at = usize::try_from(chance.below(kept.len() as u64)).unwrap();
                let delivery = NewDelivery { delivery_id: kept[at].1, ..kept[at].0.delivery() };
                store.replay(Replay { delivery, dry_run: false, now, clock: Arc::clone(&clock) }).await.unwrap();
            }
            hear(&store, now, clock).await;
        }
        agrees(&store, tenant).await;
    }
}

/// Lets the clock speak; at one moment it has nothing more to say after that.
async fn hear(store: &impl Store, now: i64, clock: Arc<ClockPolicies>) {
    for said in [false, true] {
        let keys = store.clock_due(now, Arc::clone(&clock), Arc::default()).await.unwrap();
        if keys.is_empty() {
            return;
        }
        // Other histories of this store ran by other policies: their bookings are due as well.
        assert!(!said || keys.len() == 256, "{keys:?} is due again");
        store.hear_clock(ClockRound { keys, now, clock: Arc::clone(&clock), trace_id: String::new() }).await.unwrap();
    }
}

async fn agrees(store: &impl Store, tenant: &'static str) {
    for uid in UIDS {
        let Some(read) = store.booking(tenant, uid, false).await.unwrap() else { continue };
        let entries = store.timeline(tenant, uid, calbridge_service::store::Position(0), 1_000).await.unwrap();
        let mut at = BookingStatus::Unspecified;
        let mut last = None;
        for made in entries.into_iter().filter_map(|(_, entry)| entry.transition) {
            assert_eq!(made.from_status(), at, "{tenant} {uid}: the log jumps");
            at = made.to_status();
            last = made.booking;
        }
        assert_eq!((at, last.as_ref().map(shown)), (read.status(), Some(shown(&read))), "{tenant} {uid}");

        let mut conditions = vec![Condition::Status(Comparison::Equal, read.status())];
        conditions.extend(read.attendees.first().map(|person| Condition::AttendeeEmail(person.email.clone())));
        let query = calbridge_service::store::BookingQuery { tenant: tenant.into(), ..by_start(conditions) };
        assert!(whole_list(store, query).await.contains(&read), "{tenant} {uid} is not found");
    }
}

/// A booking without what is known only when it is read, and without its first mention, which is no change.
fn shown(booking: &v1::Booking) -> v1::Booking {
    v1::Booking {
        etag: String::new(),
        origin_uid: String::new(),
        rescheduled_from_uid: String::new(),
        rescheduled_from_evidence: 0,
        create_time: None,
        ..booking.clone()
    }
}
