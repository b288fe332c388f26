//! The clock over a store: it completes what is past its end, says so once in the log, and is no evidence.

use std::{sync::Arc, time::Duration};

use calbridge_proto::v1::{
    self,
    BookingStatus::{self, Completed, Scheduled, Unspecified},
    SubmitOutcome, TransitionKind, TransitionSource,
};
use calbridge_service::store::{Batch, CLOCK_BOOKINGS_MAX, ClockPolicies, ClockRound, Comparison, Condition, Store};
use prost_types::Timestamp;

use crate::{pages::whole_list, support::*};

/// When the bookings of these tests end, in microseconds since 1970.
const END: i64 = 11_800_000_000;
const GRACE: i64 = 600_000_000;
/// The first moment at which they are over.
const OVER: i64 = END + GRACE;

fn policies() -> Arc<ClockPolicies> {
    let tenants = [("never".to_owned(), None)].into();
    Arc::new(ClockPolicies { otherwise: Some(Duration::from_micros(GRACE.unsigned_abs())), tenants })
}

/// Commits one round at `now`, with the clock.
async fn commit_at(store: &impl Store, now: i64, webhooks: &[Webhook]) -> Vec<SubmitOutcome> {
    let batch = Batch { now, clock: policies(), ..batch(webhooks) };
    outcomes(&store.commit(batch).await.unwrap())
}

/// Lets the clock speak until it has nothing more to say; how many bookings it changed.
async fn hear(store: &impl Store, now: i64, clock: &Arc<ClockPolicies>) -> usize {
    let mut changed = 0;
    loop {
        let keys = store.clock_due(now, Arc::clone(clock), Arc::default()).await.unwrap();
        if keys.is_empty() {
            return changed;
        }
        let round = ClockRound { keys, now, clock: Arc::clone(clock), trace_id: "feed".to_owned() };
        let heard = store.hear_clock(round).await.unwrap().len();
        assert!(heard > 0, "what is due is changed, or it would be due for ever");
        changed += heard;
    }
}

async fn status(store: &impl Store, uid: &str) -> BookingStatus {
    read(store, uid).await.unwrap().status()
}

/// From, to, rule and source of each transition of a booking.
async fn told(store: &impl Store, uid: &str) -> Vec<(BookingStatus, BookingStatus, String, TransitionSource)> {
    let entries = timeline(store, uid).await.into_iter();
    let transitions: Vec<_> = entries.filter_map(|entry| entry.transition).collect();
    assert!(transitions.windows(2).all(|two| two[0].to_status == two[1].from_status), "the log does not jump");
    let told = transitions.iter();
    told.map(|made| (made.from_status(), made.to_status(), made.rule.clone(), made.source())).collect()
}

pub(crate) async fn the_clock_completes_what_is_past_its_end(backend: &impl Backend) {
    let store = backend.open().await;
    commit_at(&store, OVER - 2, &[created("u1", 1)]).await;
    assert_eq!(hear(&store, OVER - 1, &policies()).await, 0);
    assert_eq!(status(&store, "u1").await, BookingStatus::Scheduled);
    assert_eq!(hear(&store, OVER, &policies()).await, 1);
    let booking = read(&store, "u1").await.unwrap();
    assert_eq!(booking.status(), BookingStatus::Completed);
    assert_eq!(hear(&store, OVER + 1, &policies()).await, 0, "it is said once");

    let entries = timeline(&store, "u1").await;
    let last = entries.last().unwrap();
    let made = last.transition.as_ref().unwrap();
    assert_eq!(
        (last.source(), last.delivery_id.as_str(), last.trigger_name.as_str()),
        (TransitionSource::Clock, "", "")
    );
    assert_eq!((last.outcome(), last.receive_time, last.trace_id.as_str()), (SubmitOutcome::Unspecified, None, "feed"));
    assert_eq!((made.kind(), made.source()), (TransitionKind::StatusChanged, TransitionSource::Clock));
    assert_eq!((made.from_status(), made.to_status()), (BookingStatus::Scheduled, BookingStatus::Completed));
    assert_eq!((made.rule.as_str(), made.trace_id.as_str()), ("ended_by_clock", "feed"));
    assert_eq!(made.commit_time, Some(Timestamp { seconds: OVER / 1_000_000, nanos: 0 }));
    assert_eq!(made.booking.as_ref(), Some(&booking), "the log and the booking say the same");
}

pub(crate) async fn what_comes_after_its_end_is_completed_at_once(backend: &impl Backend) {
    let store = backend.open().await;
    assert_eq!(commit_at(&store, OVER, &[created("u1", 1)]).await, [SubmitOutcome::Applied]);
    assert_eq!(status(&store, "u1").await, BookingStatus::Completed);
    assert_eq!(
        told(&store, "u1").await,
        [
            (Unspecified, Scheduled, "accepted".to_owned(), TransitionSource::Webhook),
            (Scheduled, Completed, "ended_by_clock".to_owned(), TransitionSource::Clock),
        ]
    );
    let positions: Vec<_> = timeline(&store, "u1").await.into_iter().map(|entry| entry.position).collect();
    assert_eq!(positions, ["0000000000000001", "0000000000000002"]);
}

pub(crate) async fn the_clock_speaks_before_a_webhook_that_comes_late(backend: &impl Backend) {
    let store = backend.open().await;
    commit_at(&store, OVER - 1, &[created("u1", 1)]).await;
    // Nobody asked the clock meanwhile.
    let renamed = booking(v1::Trigger::BookingReassigned, "u1", 2, |payload| payload.title = "Another".into());
    assert_eq!(commit_at(&store, OVER, &[renamed]).await, [SubmitOutcome::Applied]);
    let told = told(&store, "u1").await;
    let ends: Vec<_> = told.iter().map(|(from, to, _, source)| (*from, *to, *source)).collect();
    assert_eq!(
        ends,
        [
            (Unspecified, Scheduled, TransitionSource::Webhook),
            (Scheduled, Completed, TransitionSource::Clock),
            (Completed, Completed, TransitionSource::Webhook),
        ]
    );
    assert_eq!(hear(&store, OVER, &policies()).await, 0);
}

pub(crate) async fn the_clock_and_a_delivery_stand_side_by_side_in_a_timeline(backend: &impl Backend) {
    let store = backend.open().await;
    let seat = |email: &str, created| {
        booking(v1::Trigger::BookingCreated, "u1", created, |payload| {
            payload.seats_per_time_slot = Some(3);
            payload.attendee_seat_id = format!("seat of {email}");
            payload.attendees = vec![v1::PersonPayload { email: email.to_owned(), ..Default::default() }];
        })
    };
    commit_at(&store, OVER - 1, &[seat("a@x.example", 1), seat("b@x.example", 2)]).await;
    // It changes its own booking, says nothing new of the seated one, and of that one the clock has to speak.
    let hinting = booking(v1::Trigger::BookingCreated, "u2", 5, |payload| payload.ical_uid = "u1@Cal.com".into());
    assert_eq!(commit_at(&store, OVER, &[hinting]).await, [SubmitOutcome::Applied]);
    let entries = timeline(&store, "u1").await;
    let said: Vec<_> = entries[2..].iter().map(|entry| (entry.source(), entry.booking_uid.as_str())).collect();
    assert_eq!(said, [(TransitionSource::Webhook, "u2"), (TransitionSource::Clock, "")]);
    assert_eq!(status(&store, "u1").await, BookingStatus::Completed);
}

pub(crate) async fn a_later_move_or_cancellation_simply_changes_it(backend: &impl Backend) {
    let store = backend.open().await;
    commit_at(&store, OVER, &[created("u1", 1), created("u2", 1), created("u3", 1)]).await;
    let later = booking(v1::Trigger::BookingLocationUpdated, "u1", 2, |payload| {
        payload.start_time = Some(Timestamp { seconds: 20_000, nanos: 0 });
        payload.end_time = Some(Timestamp { seconds: 21_800, nanos: 0 });
    });
    let ended = meeting_ended("u3", END / 1_000_000);
    let outcomes = commit_at(&store, OVER, &[later, cancelled("u2", 2), ended]).await;
    assert_eq!(outcomes, [SubmitOutcome::Applied, SubmitOutcome::Applied, SubmitOutcome::NoChange]);
    assert_eq!(status(&store, "u1").await, BookingStatus::Scheduled);
    assert_eq!(status(&store, "u2").await, BookingStatus::Cancelled);
    assert_eq!(status(&store, "u3").await, BookingStatus::Completed, "the timer says what the clock said");
    // The clock has nothing to take back of the cancelled one and of the one whose timer rang.
    assert_eq!(hear(&store, OVER, &Arc::default()).await, 0);
    assert_eq!(hear(&store, 21_800_000_000 + GRACE, &policies()).await, 1);
    assert_eq!(told(&store, "u1").await.len(), 4);
}

pub(crate) async fn only_what_was_accepted_is_completed(backend: &impl Backend) {
    let store = backend.open().await;
    let requested = booking(v1::Trigger::BookingRequested, "asked", 1, |_| {});
    let endless = booking(v1::Trigger::BookingCreated, "endless", 1, |payload| payload.end_time = None);
    let foreign = Webhook { tenant: "never", ..created("theirs", 1) };
    commit_at(&store, OVER, &[requested, endless, cancelled("off", 1), foreign]).await;
    assert_eq!(hear(&store, i64::MAX, &policies()).await, 0);
    assert_eq!(status(&store, "asked").await, BookingStatus::Requested);
    assert_eq!(status(&store, "endless").await, BookingStatus::Scheduled);
    let theirs = store.booking("never", "theirs", false).await.unwrap().unwrap();
    assert_eq!(theirs.status(), BookingStatus::Scheduled, "the policy is the tenant's");
}

pub(crate) async fn a_policy_that_goes_back_takes_its_word_back(backend: &impl Backend) {
    let store = backend.open().await;
    commit_at(&store, OVER, &[created("u1", 1)]).await;
    // A clock that is a little behind takes nothing back.
    assert_eq!(hear(&store, OVER - 1_000_000, &policies()).await, 0);
    assert_eq!(hear(&store, OVER, &Arc::default()).await, 1);
    assert_eq!(status(&store, "u1").await, BookingStatus::Scheduled);
    assert_eq!(hear(&store, OVER, &Arc::default()).await, 0);
    assert_eq!(hear(&store, OVER, &policies()).await, 1);
    assert_eq!(told(&store, "u1").await.len(), 4);
}

pub(crate) async fn the_clock_goes_through_every_tenant_in_bounded_rounds(backend: &impl Backend) {
    let store = backend.open().await;
    let webhooks: Vec<_> = (0..CLOCK_BOOKINGS_MAX + 10)
        .map(|number| Webhook { tenant: ["acme", "beta", "never"][number % 3], ..created(&format!("u{number}"), 1) })
        .collect();
    commit_at(&store, OVER - 1, &webhooks).await;
    let first = store.clock_due(OVER, policies(), Arc::default()).await.unwrap();
    assert_eq!(first.len(), (CLOCK_BOOKINGS_MAX + 10) * 2 / 3 + 1);
    let more: Vec<_> = (0..CLOCK_BOOKINGS_MAX).map(|number| created(&format!("v{number}"), 1)).collect();
    commit_at(&store, OVER - 1, &more).await;
    assert_eq!(store.clock_due(OVER, policies(), Arc::default()).await.unwrap().len(), CLOCK_BOOKINGS_MAX);
    assert_eq!(hear(&store, OVER, &policies()).await, first.len() + CLOCK_BOOKINGS_MAX);
}

pub(crate) async fn what_the_clock_leaves_aside_stands_in_nobodys_way(backend: &impl Backend) {
    let store = backend.open().await;
    let first: Vec<_> = (0..CLOCK_BOOKINGS_MAX + 10).map(|number| created(&format!("u{number}"), 1)).collect();
    commit_at(&store, OVER - 1, &first).await;
    let later = booking(v1::Trigger::BookingCreated, "later", 1, |payload| {
        payload.end_time = Some(Timestamp { seconds: 11_801, nanos: 0 });
    });
    commit_at(&store, OVER - 1, &[later, Webhook { tenant: "beta", ..created("other", 1) }]).await;
    let now = OVER + 1_000_000;
    let aside = (0..first.len()).map(|number| (TENANT.into(), format!("u{number}"))).collect();
    let mut due = store.clock_due(now, policies(), Arc::new(aside)).await.unwrap();
    due.sort_unstable();
    assert_eq!(due, [(TENANT.into(), "later".to_owned()), ("beta".into(), "other".to_owned())]);
}

pub(crate) async fn lists_agree_with_what_the_clock_has_said(backend: &impl Backend) {
    let store = backend.open().await;
    commit_at(&store, OVER, &[created("u1", 1)]).await;
    commit_at(&store, OVER - 1, &[created("u2", 1)]).await;
    for (status, expected) in [(BookingStatus::Completed, "u1"), (BookingStatus::Scheduled, "u2")] {
        let query = by_start(vec![Condition::Status(Comparison::Equal, status)]);
        let listed = whole_list(&store, query).await;
        assert_eq!(listed.iter().map(|booking| booking.uid.as_str()).collect::<Vec<_>>(), [expected]);
        assert_eq!(listed[0], read(&store, expected).await.unwrap());
    }
}

pub(crate) async fn every_order_ends_alike_at_one_now(backend: &impl Backend) {
    let store = backend.open().await;
    let told = |tenant: &'static str| {
        let later = booking(v1::Trigger::BookingLocationUpdated, "u1", 3, |payload| {
            payload.start_time = Some(Timestamp { seconds: 10_100, nanos: 0 });
            payload.end_time = Some(Timestamp { seconds: 11_700, nanos: 0 });
        });
        [created("u1", 1), booking(v1::Trigger::BookingRequested, "u1", 2, |_| {}), later]
            .map(|webhook| Webhook { tenant, ..webhook })
    };
    let orders = [
        ("o0", [0, 1, 2]),
        ("o1", [0, 2, 1]),
        ("o2", [1, 0, 2]),
        ("o3", [1, 2, 0]),
        ("o4", [2, 0, 1]),
        ("o5", [2, 1, 0]),
    ];
    for (tenant, order) in orders {
        for (step, place) in (0..).zip(order) {
            // The clock speaks at another time in each of them.
            let now = OVER - 150_000_000 + i64::from(step) * 100_000_000;
            commit_at(&store, now, &[told(tenant)[place].clone()]).await;
        }
    }
    hear(&store, OVER, &policies()).await;
    let mut ends = Vec::new();
    for (tenant, _) in orders {
        let booking = store.booking(tenant, "u1", false).await.unwrap().unwrap();
        ends.push((booking.status(), booking.end_time, booking.title));
    }
    ends.dedup();
    assert_eq!(ends.len(), 1, "{ends:?}");
    assert_eq!(ends[0].0, BookingStatus::Completed);
}
