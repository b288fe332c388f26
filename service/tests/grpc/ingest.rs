//! Every outcome, alone and in company.

use std::sync::atomic::Ordering;

use calbridge_e2e::wait;
use calbridge_proto::v1::{self, BookingStatus, SubmitEventsRequest, SubmitOutcome, Trigger};

use crate::{
    events::{created, event, golden, received},
    harness::Harness,
};

#[tokio::test]
async fn an_event_is_committed_and_its_booking_can_be_read_at_once() {
    let service = Harness::start().await;
    let answer = service.submit(created("u1")).await.unwrap();
    assert_eq!(answer.outcome(), SubmitOutcome::Applied);
    let booking = answer.booking.unwrap();
    assert_eq!((booking.uid.as_str(), booking.status()), ("u1", BookingStatus::Scheduled));
    assert_eq!(service.booking("u1").await, booking);
    assert_eq!(booking.position, answer.position);
    let timeline = service.timeline("u1").await;
    assert_eq!(timeline.len(), 1);
    assert_eq!(timeline[0].delivery_id, answer.delivery_id);
    assert!(timeline[0].transition.is_some());
}

#[tokio::test]
async fn each_outcome_has_its_event() {
    let service = Harness::start().await;
    let requested = golden("u1", 0);
    let mut copy = golden("u1", 5);
    copy.metadata.clone_from(&requested.metadata);
    let unparsed = received(b"false".to_vec());
    for (what, event, outcome) in [
        ("the first", event(Trigger::BookingCreated, &requested), SubmitOutcome::Applied),
        ("another subscription's copy", event(Trigger::BookingCreated, &copy), SubmitOutcome::NoChange),
        ("the same bytes", event(Trigger::BookingCreated, &requested), SubmitOutcome::Duplicate),
        ("the test button", event(Trigger::Ping, &golden("u2", 0)), SubmitOutcome::Recorded),
        ("an unknown trigger", event(Trigger::Unspecified, &golden("u2", 0)), SubmitOutcome::Recorded),
        ("a template", unparsed.clone(), SubmitOutcome::Unparsed),
        ("another request with the same bytes", received(b"false".to_vec()), SubmitOutcome::Unparsed),
        ("the same request again", unparsed, SubmitOutcome::Duplicate),
    ] {
        let answer = service.submit(event).await.unwrap();
        assert_eq!(answer.outcome(), outcome, "{what}");
        assert!(!answer.delivery_id.is_empty() && !answer.position.is_empty(), "{what}");
    }
}

#[tokio::test]
async fn a_duplicate_carries_the_first_result_whoever_recognises_it() {
    // Without a cache the store tells it, with one the cache does.
    for (dedupe_keys, confirms) in [(0, 0), (10, 1)] {
        let service = Harness::with(calbridge_service::Settings { dedupe_keys, ..crate::harness::settings() }).await;
        let first = service.submit(created("u1")).await.unwrap();
        service.submit(event(Trigger::BookingCancelled, &golden("u1", 60))).await.unwrap();
        let again = service.submit(created("u1")).await.unwrap();
        assert_eq!(again.outcome(), SubmitOutcome::Duplicate);
        assert_eq!((again.delivery_id, again.position), (first.delivery_id.clone(), first.position));
        assert_eq!(again.booking.unwrap().status(), BookingStatus::Cancelled, "as it is now");
        assert_eq!(service.control.confirms.load(Ordering::Relaxed), confirms);
        // The note of a confirmed duplicate is nobody's to wait for.
        wait::holds("the duplicate is in the timeline", async || service.timeline("u1").await.len() == 3).await;
        let note = service.timeline("u1").await.pop().unwrap();
        assert_eq!((note.outcome(), note.delivery_id), (SubmitOutcome::Duplicate, first.delivery_id));
    }
}

#[tokio::test]
async fn tenants_do_not_share_deliveries() {
    let service = Harness::start().await;
    let ours = created("u1");
    let theirs = v1::BookingEvent { tenant: "other".to_owned(), ..ours.clone() };
    assert_eq!(service.submit(ours).await.unwrap().outcome(), SubmitOutcome::Applied);
    assert_eq!(service.submit(theirs).await.unwrap().outcome(), SubmitOutcome::Applied);
}

#[tokio::test]
async fn many_events_share_few_commits() {
    const EVENTS: u64 = 500;
    let service = Harness::start().await;
    // The first round is held, so that the rest gathers behind it.
    service.control.open.send_replace(false);
    let (requests, mut answers) = service.stream().await;
    for sequence in 0..EVENTS {
        let event = created(&format!("u{sequence}"));
        requests.send(SubmitEventsRequest { sequence, event: Some(event) }).await.unwrap();
    }
    let (_, mut more) = service.stream().await;
    wait::holds("a round is under way", async || !service.control.batches.lock().unwrap().is_empty()).await;
    service.control.open.send_replace(true);
    let mut seen = vec![false; usize::try_from(EVENTS).unwrap()];
    for _ in 0..EVENTS {
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!(answer.outcome(), SubmitOutcome::Applied);
        assert!(!std::mem::replace(&mut seen[usize::try_from(answer.sequence).unwrap()], true), "answered twice");
    }
    let batches = service.control.batches.lock().unwrap().clone();
    assert_eq!(batches.iter().map(|(deliveries, _)| deliveries).sum::<usize>(), seen.len());
    assert!(batches.len() < 60, "{} rounds for {EVENTS} events", batches.len());
    drop(requests);
    assert!(answers.message().await.unwrap().is_none(), "the stream ends with the client's side");
    assert!(more.message().await.unwrap().is_none());
}

#[tokio::test]
async fn the_same_body_twice_in_one_round_is_one_delivery() {
    let service = Harness::start().await;
    service.control.open.send_replace(false);
    let (requests, mut answers) = service.stream().await;
    for sequence in 0..10 {
        requests.send(SubmitEventsRequest { sequence, event: Some(created("u1")) }).await.unwrap();
    }
    service.control.open.send_replace(true);
    let mut outcomes = Vec::new();
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..10 {
        let answer = answers.message().await.unwrap().unwrap();
        outcomes.push(answer.outcome());
        ids.insert(answer.delivery_id);
    }
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == SubmitOutcome::Applied).count(), 1, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == SubmitOutcome::Duplicate).count(), 9, "{outcomes:?}");
    assert_eq!(ids.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_at_the_same_time_over_many_streams_are_applied_once() {
    const STREAMS: u64 = 4;
    const EVENTS: u64 = 300;
    let service = Harness::start().await;
    let mut streams = tokio::task::JoinSet::new();
    for _ in 0..STREAMS {
        let (requests, mut answers) = service.stream().await;
        streams.spawn(async move {
            for sequence in 0..EVENTS {
                let event = Some(created(&format!("u{sequence}")));
                requests.send(SubmitEventsRequest { sequence, event }).await.unwrap();
            }
            drop(requests);
            let mut results = Vec::new();
            while let Some(answer) = answers.message().await.unwrap() {
                assert!(answer.error.is_none(), "{answer:?}");
                results.push((answer.sequence, answer.delivery_id.clone(), answer.outcome()));
            }
            results
        });
    }
    let results = streams.join_all().await.concat();
    for sequence in 0..EVENTS {
        let of = results.iter().filter(|(of, ..)| *of == sequence);
        let ids: std::collections::BTreeSet<&String> = of.clone().map(|(_, id, _)| id).collect();
        assert_eq!(ids.len(), 1, "each copy is told of the same delivery");
        let applied = of.clone().filter(|(.., outcome)| *outcome == SubmitOutcome::Applied).count();
        let again = of.filter(|(.., outcome)| *outcome == SubmitOutcome::Duplicate).count();
        assert_eq!((applied, again), (1, 3));
    }
}

#[tokio::test]
async fn large_bodies_go_the_same_way() {
    let service = Harness::start().await;
    let mut long = golden("u1", 0);
    long.notes = "n".repeat(700_000);
    let answer = service.submit(event(Trigger::BookingCreated, &long)).await.unwrap();
    assert_eq!(answer.outcome(), SubmitOutcome::Applied);
    assert_eq!(
        service.submit(event(Trigger::BookingCreated, &long)).await.unwrap().outcome(),
        SubmitOutcome::Duplicate
    );
}

#[tokio::test]
async fn a_store_that_never_confirms_is_not_waited_for() {
    let service = Harness::start().await;
    let first = service.submit(created("u1")).await.unwrap();
    service.control.confirming.send_replace(false);
    let again = wait::within("the answer", service.submit(created("u1"))).await.unwrap();
    assert_eq!((again.outcome(), again.delivery_id), (SubmitOutcome::Duplicate, first.delivery_id));
    assert_eq!(service.control.confirms.load(Ordering::Relaxed), 1, "it was asked");
    assert_eq!(
        wait::within("the next", service.submit(created("u2"))).await.unwrap().outcome(),
        SubmitOutcome::Applied
    );
}
