//! Kept webhooks merged again, one by one and all of them.

use std::{sync::Arc, time::Duration};

use calbridge_calcom::golden::body;
use calbridge_e2e::wait;
use calbridge_proto::v1::{
    self, BookingStatus, RefoldDeliveriesRequest, RefoldDifference, RefoldSummary, ReplayDeliveryRequest,
    SubmitOutcome, TransitionSource, Trigger, refold_deliveries_response::Step,
};
use calbridge_service::{
    Settings,
    store::{Retention, RetentionPolicies},
};
use tonic::Code;

use crate::{
    events::{created, event, golden},
    harness::{Failure, Harness, invalid, one_of_three_damaged, refusal, settings},
};

/// A webhook that an older release could not type.
fn untyped(trigger: Trigger, uid: &str, seconds: i64) -> v1::BookingEvent {
    v1::BookingEvent {
        trigger: Trigger::Unspecified.into(),
        trigger_name: String::new(),
        event_time: None,
        payload: None,
        raw_body: body(trigger, &golden(uid, seconds)).into(),
        ..created(uid)
    }
}

fn replay(delivery_id: &str, dry_run: bool) -> ReplayDeliveryRequest {
    ReplayDeliveryRequest { tenant: "acme".to_owned(), delivery_id: delivery_id.to_owned(), dry_run }
}

/// Everything that a check tells, and how many words on its progress it had.
async fn refold(service: &Harness, tenant: &str) -> (Vec<RefoldDifference>, RefoldSummary, usize) {
    let request = RefoldDeliveriesRequest { tenant: tenant.to_owned() };
    let mut steps = service.deliveries().refold_deliveries(request).await.unwrap().into_inner();
    let (mut differences, mut summary, mut words) = (Vec::new(), None, 0);
    while let Some(step) = steps.message().await.unwrap() {
        assert!(summary.is_none(), "the summary is the last word");
        match step.step.unwrap() {
            Step::Progress(_) => words += 1,
            Step::Difference(difference) => differences.push(difference),
            Step::Summary(last) => summary = Some(last),
        }
    }
    (differences, summary.unwrap(), words)
}

#[tokio::test]
async fn an_unparsed_delivery_becomes_a_booking_after_an_upgrade() {
    let service = Harness::start().await;
    let kept = service.submit(untyped(Trigger::BookingCreated, "u1", 0)).await.unwrap();
    assert_eq!(kept.outcome(), SubmitOutcome::Unparsed);

    let tried = service.deliveries().replay_delivery(replay(&kept.delivery_id, true)).await.unwrap().into_inner();
    assert_eq!((tried.outcome(), tried.transitions.len()), (SubmitOutcome::Applied, 1));
    assert_eq!(tried.transitions[0].position, "");
    assert!(service.timeline("u1").await.is_empty());

    let done = service.deliveries().replay_delivery(replay(&kept.delivery_id, false)).await.unwrap().into_inner();
    assert_eq!(done.outcome(), SubmitOutcome::Applied);
    assert_eq!(done.transitions[0].source(), TransitionSource::Replay);
    let booking = service.booking("u1").await;
    assert_eq!((booking.status(), booking.title.is_empty()), (BookingStatus::Scheduled, false));
    assert_eq!(service.timeline("u1").await[0].source(), TransitionSource::Replay);

    // As if it had been understood at once.
    let other = Harness::start().await;
    other.submit(created("u1")).await.unwrap();
    let learned = |booking: v1::Booking| v1::Booking {
        update_time: None,
        position: String::new(),
        etag: String::new(),
        ..booking
    };
    assert_eq!(learned(booking), learned(other.booking("u1").await));

    let again = service.deliveries().replay_delivery(replay(&kept.delivery_id, false)).await.unwrap().into_inner();
    assert_eq!((again.outcome(), again.transitions.len()), (SubmitOutcome::NoChange, 0));
}

#[tokio::test]
async fn what_cannot_be_replayed_is_refused() {
    let service = Harness::start().await;
    let kept = service.submit(created("u1")).await.unwrap();
    let unknown = service.deliveries().replay_delivery(replay("0190aaaa-0000-7000-8000-000000000000", false)).await;
    let missing = (Code::NotFound, "DELIVERY_NOT_FOUND".to_owned(), None);
    assert_eq!(refusal(&unknown.unwrap_err()), missing);
    let foreign = ReplayDeliveryRequest { tenant: "other".to_owned(), ..replay(&kept.delivery_id, false) };
    assert_eq!(refusal(&service.deliveries().replay_delivery(foreign).await.unwrap_err()), missing);
    let nonsense = service.deliveries().replay_delivery(replay("17", false)).await.unwrap_err();
    assert_eq!(refusal(&nonsense), invalid("delivery_id"));
    service.control.fail(Some(Failure::Unavailable));
    let failed = service.deliveries().replay_delivery(replay(&kept.delivery_id, false)).await.unwrap_err();
    assert_eq!(refusal(&failed), (Code::Unavailable, "STORE_UNAVAILABLE".to_owned(), None));
    let strange = RefoldDeliveriesRequest { tenant: "A B".to_owned() };
    assert_eq!(refusal(&service.deliveries().refold_deliveries(strange).await.unwrap_err()), invalid("tenant"));
}

#[tokio::test]
async fn a_journal_that_was_folded_well_shows_no_difference() {
    let service = Harness::start().await;
    for n in 0..20 {
        let uid = format!("u{n}");
        let first = golden(&uid, n);
        let moved = first.moved(&format!("v{n}"), 9, golden("x", n + 50).created_at, golden("x", 5_000).start);
        service.submit(event(Trigger::BookingCreated, &first)).await.unwrap();
        service.submit(event(Trigger::BookingRescheduled, &moved)).await.unwrap();
        service.submit(event(Trigger::BookingCreated, &first)).await.unwrap();
    }
    service.submit(v1::BookingEvent { tenant: "other".to_owned(), ..created("w1") }).await.unwrap();
    for (tenant, deliveries, bookings) in [("", 41, 41), ("acme", 40, 40), ("other", 1, 1), ("nobody", 0, 0)] {
        let (differences, summary, words) = refold(&service, tenant).await;
        assert_eq!(differences, [], "{tenant}");
        assert_eq!(
            summary,
            RefoldSummary { deliveries, bookings, differences: 0, unchecked: 0, not_checkable: 0 },
            "{tenant}"
        );
        assert!(words > 0, "long work says how far it has come");
    }
}

#[tokio::test]
async fn a_journal_tells_each_booking_that_would_differ() {
    let service = Harness::start().await;
    service.submit(created("same")).await.unwrap();
    // An older release understood only the first of two webhooks, and none of a third.
    service.submit(created("changed")).await.unwrap();
    service.submit(untyped(Trigger::BookingCancelled, "changed", 5)).await.unwrap();
    let third = service.submit(untyped(Trigger::BookingCreated, "new", 0)).await.unwrap();
    let before = service.timeline("changed").await;

    let (differences, summary, _) = refold(&service, "acme").await;
    assert_eq!(summary, RefoldSummary { deliveries: 4, bookings: 3, differences: 2, unchecked: 0, not_checkable: 0 });
    let told: Vec<_> = differences.iter().map(|of| (of.tenant.as_str(), of.uid.as_str())).collect();
    assert_eq!(told, [("acme", "changed"), ("acme", "new")]);
    let [changed, new] = &differences[..] else { panic!("two differ") };
    assert_eq!(changed.stored.as_ref().unwrap().status(), BookingStatus::Scheduled);
    assert_eq!(changed.refolded.as_ref().unwrap().status(), BookingStatus::Cancelled);
    assert!(changed.fields.iter().any(|field| field == "status"), "{:?}", changed.fields);
    assert_eq!((&new.stored, new.refolded.as_ref().unwrap().status()), (&None, BookingStatus::Scheduled));
    assert_eq!(service.timeline("changed").await, before, "a check changes nothing");

    // What was replayed differs no more.
    service.deliveries().replay_delivery(replay(&third.delivery_id, false)).await.unwrap();
    let (differences, summary, _) = refold(&service, "").await;
    assert_eq!((differences.len(), summary.differences), (1, 1));
}

#[tokio::test]
async fn a_check_goes_past_what_is_damaged_and_tells_it() {
    let service = one_of_three_damaged().await;
    let (differences, summary, _) = refold(&service, "").await;
    assert_eq!(summary, RefoldSummary { deliveries: 3, bookings: 3, differences: 1, unchecked: 0, not_checkable: 0 });
    assert_eq!((differences[0].uid.as_str(), &differences[0].stored), ("u2", &None));
    assert_eq!(differences[0].refolded.as_ref().unwrap().status(), BookingStatus::Scheduled);
}

/// A webhook of some 200 KB.
fn large(uid: &str, seconds: i64) -> v1::BookingEvent {
    let mut told = golden(uid, seconds);
    told.notes = "n".repeat(100_000);
    event(Trigger::BookingCreated, &told)
}

#[tokio::test]
async fn pages_that_end_early_hide_no_row_from_a_check() {
    let service = Harness::start().await;
    for n in 0..100 {
        service.submit(large(&format!("u{n:03}"), n)).await.unwrap();
    }
    // One that differs stands before all of them, so that the two lists are cut at other rows.
    service.submit(untyped(Trigger::BookingCreated, "a000", 500)).await.unwrap();
    let (differences, summary, _) = refold(&service, "").await;
    assert_eq!(differences.iter().map(|of| of.uid.as_str()).collect::<Vec<_>>(), ["a000"]);
    assert_eq!(
        summary,
        RefoldSummary { deliveries: 101, bookings: 101, differences: 1, unchecked: 0, not_checkable: 0 }
    );
}

#[tokio::test]
async fn a_check_that_is_given_up_is_in_nobodys_way() {
    let service = Harness::start().await;
    for n in 0..40 {
        service.submit(large(&format!("u{n:03}"), n)).await.unwrap();
    }
    let request = || RefoldDeliveriesRequest { tenant: String::new() };
    for round in 0..20 {
        let mut given_up = None;
        wait::holds("the place is free", async || {
            given_up = service.deliveries().refold_deliveries(request()).await.ok();
            given_up.is_some()
        })
        .await;
        let mut steps = given_up.unwrap().into_inner();
        for _ in 0..round % 3 {
            steps.message().await.unwrap();
        }
    }
    // The last of them is still being removed, and the next waits for its place.
    wait::holds("the place is free", async || {
        let Ok(steps) = service.deliveries().refold_deliveries(request()).await else { return false };
        let mut steps = steps.into_inner();
        let mut last = None;
        while let Some(step) = steps.message().await.unwrap() {
            last = step.step;
        }
        let whole = RefoldSummary { deliveries: 40, bookings: 40, differences: 0, unchecked: 0, not_checkable: 0 };
        assert_eq!(last, Some(Step::Summary(whole)));
        true
    })
    .await;
}

#[tokio::test]
async fn one_check_runs_at_a_time_and_another_after_it() {
    let service = Harness::start().await;
    service.submit(created("u1")).await.unwrap();
    let request = || RefoldDeliveriesRequest { tenant: String::new() };
    let first = service.deliveries().refold_deliveries(request()).await.unwrap();
    let second = service.deliveries().refold_deliveries(request()).await.unwrap_err();
    assert_eq!(refusal(&second), (Code::ResourceExhausted, "OVERLOADED".to_owned(), None));
    // Whoever goes away in the middle leaves nothing behind.
    drop(first);
    wait::holds("the place is free", async || service.deliveries().refold_deliveries(request()).await.is_ok()).await;
}

/// Starts again, and waits until the bodies of these deliveries are purged.
async fn purged(service: Harness, deliveries: &[&str]) -> Harness {
    let otherwise = Retention { bodies: Some(Duration::ZERO), ..Retention::default() };
    let retention = Arc::new(RetentionPolicies { otherwise, ..RetentionPolicies::default() });
    let service = Harness::over(service.leave().await, Settings { retention, ..settings() }).await;
    for id in deliveries {
        let request = || v1::GetDeliveryRequest {
            tenant: "acme".to_owned(),
            delivery_id: (*id).to_owned(),
            include_raw_body: true,
        };
        wait::holds("its body is purged", async || {
            let answer = service.deliveries().get_delivery(request()).await.unwrap().into_inner();
            let delivery = answer.delivery.unwrap();
            assert_eq!(delivery.raw_body_purged, delivery.raw_body.is_empty());
            delivery.raw_body_purged
        })
        .await;
    }
    service
}

#[tokio::test]
async fn a_booking_whose_bodies_are_purged_is_not_checkable_and_is_no_difference() {
    let service = Harness::start().await;
    let old = service.submit(created("old")).await.unwrap();
    // Spoken of by a webhook that was understood only later.
    let early = service.submit(untyped(Trigger::BookingCreated, "late", 0)).await.unwrap();
    service.deliveries().replay_delivery(replay(&early.delivery_id, false)).await.unwrap();
    let service = purged(service, &[&old.delivery_id, &early.delivery_id]).await;
    service.submit(created("new")).await.unwrap();
    // One of two bodies is as good as none.
    service.submit(event(Trigger::BookingCancelled, &golden("old", 9))).await.unwrap();

    let (differences, summary, _) = refold(&service, "acme").await;
    assert_eq!(differences, []);
    assert_eq!(summary, RefoldSummary { deliveries: 2, bookings: 1, differences: 0, unchecked: 0, not_checkable: 2 });
    assert_eq!(service.booking("old").await.status(), BookingStatus::Cancelled);
    let refused = service.deliveries().replay_delivery(replay(&old.delivery_id, false)).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::FailedPrecondition, "BODY_PURGED".to_owned(), None));
}
