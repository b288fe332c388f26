//! Refusals: each with its code, reason and details, and nothing committed.

use calbridge_e2e::wait;
use calbridge_proto::v1::{self, SubmitEventsRequest, SubmitOutcome};
use futures_util::{FutureExt, future::select_all};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{
    events::{created, received},
    harness::{Failure, Harness},
};

fn reason(status: &Status) -> (Code, String) {
    let details = status.check_error_details().unwrap();
    let info = details.error_info().unwrap();
    assert_eq!(info.domain, "calbridge");
    (status.code(), info.reason.clone())
}

#[tokio::test]
async fn an_invalid_event_is_refused_by_its_field() {
    let service = Harness::start().await;
    for (field, event) in [
        ("event.tenant", Some(v1::BookingEvent { tenant: "Acme!".to_owned(), ..created("u1") })),
        ("event.request_id", Some(v1::BookingEvent { request_id: "7".to_owned(), ..received(b"false".to_vec()) })),
        ("event.trigger", Some(v1::BookingEvent { trigger: 4711, ..created("u1") })),
        ("event", None),
    ] {
        let status = service.ingest().submit_event(v1::SubmitEventRequest { event: event.clone() }).await.unwrap_err();
        assert_eq!(reason(&status), (Code::InvalidArgument, "INVALID_FIELD".to_owned()));
        let details = status.get_error_details();
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, field);
        assert!(details.retry_info().is_none(), "another try makes no sense");

        let (requests, mut answers) = service.stream().await;
        requests.send(SubmitEventsRequest { sequence: 9, event }).await.unwrap();
        let answer = answers.message().await.unwrap().unwrap();
        let error = answer.error.unwrap();
        assert_eq!((answer.sequence, error.reason.as_str()), (9, "INVALID_FIELD"));
        assert_eq!(error.code, i32::from(Code::InvalidArgument));
        assert!(error.message.starts_with(field), "{}", error.message);
    }
    assert!(service.control.batches.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_store_that_fails_refuses_and_recovers() {
    let service = Harness::start().await;
    service.submit(created("u0")).await.unwrap();
    service.control.fail(Some(Failure::Unavailable));
    let status = service.submit(created("u1")).await.unwrap_err();
    assert_eq!(reason(&status), (Code::Unavailable, "STORE_UNAVAILABLE".to_owned()));
    assert!(status.get_error_details().retry_info().is_some());
    let read = v1::GetBookingRequest { tenant: "acme".to_owned(), uid: "u0".to_owned(), ..Default::default() };
    let status = service.bookings().get_booking(read).await.unwrap_err();
    assert_eq!(reason(&status), (Code::Unavailable, "STORE_UNAVAILABLE".to_owned()));
    service.control.fail(None);
    // The hint was told of nothing: the event is new, not a duplicate.
    assert_eq!(service.submit(created("u1")).await.unwrap().outcome(), SubmitOutcome::Applied);
}

#[tokio::test]
async fn a_committed_event_is_acknowledged_though_its_booking_cannot_be_read() {
    let service = Harness::start().await;
    service.control.fail(Some(Failure::Damaged("another")));
    let answer = service.submit(created("u1")).await.unwrap();
    assert_eq!(answer.outcome(), SubmitOutcome::Applied);
}

#[tokio::test]
async fn a_damaged_booking_takes_its_neighbours_with_it_once_at_most() {
    let service = Harness::start().await;
    service.control.fail(Some(Failure::Damaged("bad")));
    let (requests, mut answers) = service.stream().await;
    let mut send = async |uids: &[&str]| {
        let mut refused = Vec::new();
        service.control.open.send_replace(false);
        for (sequence, uid) in uids.iter().enumerate() {
            let request = SubmitEventsRequest { sequence: sequence as u64, event: Some(created(uid)) };
            requests.send(request).await.unwrap();
        }
        service.control.open.send_replace(true);
        for _ in uids {
            let answer = answers.message().await.unwrap().unwrap();
            if let Some(error) = answer.error {
                assert_eq!(error.reason, "STORE_UNAVAILABLE");
                refused.push(uids[usize::try_from(answer.sequence).unwrap()].to_owned());
            }
        }
        refused
    };
    assert!(send(&["a", "bad", "b"]).await.contains(&"bad".to_owned()));
    for _ in 0..3 {
        assert_eq!(send(&["a", "bad", "b", "c"]).await, ["bad"]);
    }
}

#[tokio::test]
async fn too_many_waiting_events_are_refused_and_the_rest_is_kept() {
    // Beyond queue, rounds and streams; each stream is read up to its bound.
    const STREAMS: u64 = 6;
    const EVENTS: u64 = 1024;
    let service = Harness::start().await;
    service.control.open.send_replace(false);
    let mut streams = Vec::new();
    for stream in 0..STREAMS {
        let (requests, answers) = service.stream().await;
        for event in 0..EVENTS {
            let event = created(&format!("u{stream}-{event}"));
            requests.send(SubmitEventsRequest { sequence: 0, event: Some(event) }).await.unwrap();
        }
        streams.push((requests, answers));
    }
    // Nothing is committed, so whatever is answered first is a refusal.
    let any = streams.iter_mut().map(|(_, answers)| answers.message().boxed());
    let error = select_all(any).await.0.unwrap().unwrap().error.unwrap();
    assert_eq!((error.code, error.reason.as_str()), (i32::from(Code::ResourceExhausted), "OVERLOADED"));
    assert!(error.retry_delay.is_some());
    let status = service.submit(created("one-more")).await.unwrap_err();
    assert_eq!(reason(&status), (Code::ResourceExhausted, "OVERLOADED".to_owned()));

    service.control.open.send_replace(true);
    let (mut kept, mut refused) = (0, 1);
    for (requests, mut answers) in streams {
        drop(requests);
        while let Some(answer) = answers.message().await.unwrap() {
            if answer.error.is_some() { refused += 1 } else { kept += 1 }
        }
    }
    assert_eq!(kept + refused, STREAMS * EVENTS);
    assert!(kept >= 4096, "{kept} kept");
}

/// As many of the longest bodies as make 256 MiB; beyond them nothing is taken in, and the queue has room.
#[tokio::test]
async fn more_bytes_than_may_wait_are_refused() {
    const FIT: u64 = 64;
    let service = Harness::start().await;
    service.control.open.send_replace(false);
    let (requests, mut answers) = service.stream().await;
    for sequence in 1..=FIT + 1 {
        let event = Some(received(vec![b'x'; 4 * 1024 * 1024]));
        requests.send(SubmitEventsRequest { sequence, event }).await.unwrap();
    }
    // Nothing is committed, so whatever is answered first is a refusal.
    let refused = wait::within("a refusal", answers.message()).await.unwrap().unwrap();
    assert_eq!((refused.sequence, refused.error.unwrap().reason.as_str()), (FIT + 1, "OVERLOADED"));
    service.control.open.send_replace(true);
    drop(requests);
    let mut kept = 0;
    while let Some(answer) = answers.message().await.unwrap() {
        assert_eq!(answer.outcome(), SubmitOutcome::Unparsed, "{answer:?}");
        kept += 1;
    }
    assert_eq!(kept, FIT, "what they held is given back as they are answered");
    service.submit(created("u1")).await.unwrap();
}

#[tokio::test]
async fn a_caller_who_leaves_takes_nothing_back() {
    let service = Harness::start().await;
    service.control.open.send_replace(false);
    let (requests, answers) = service.stream().await;
    requests.send(SubmitEventsRequest { sequence: 1, event: Some(created("u1")) }).await.unwrap();
    wait::holds("the event is in a round", async || !service.control.batches.lock().unwrap().is_empty()).await;
    drop((requests, answers));
    service.control.open.send_replace(true);
    wait::holds("the booking is there", async || !service.timeline("u1").await.is_empty()).await;
}
