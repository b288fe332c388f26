//! Following the log over gRPC.

use std::time::Duration;

use calbridge_e2e::wait;
use calbridge_proto::v1::{
    Trigger, WatchTransitionsRequest, WatchTransitionsResponse, watch_transitions_response::Entry,
};
use calbridge_service::store::Retention;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

use crate::{
    events::{created, event, golden},
    harness::{Failure, Harness, settings},
};

fn request() -> WatchTransitionsRequest {
    WatchTransitionsRequest { tenant: "acme".to_owned(), ..WatchTransitionsRequest::default() }
}

async fn watch(
    service: &Harness,
    request: WatchTransitionsRequest,
) -> Result<Streaming<WatchTransitionsResponse>, Status> {
    Ok(service.bookings().watch_transitions(request).await?.into_inner())
}

async fn next(stream: &mut Streaming<WatchTransitionsResponse>) -> Result<Option<Entry>, Status> {
    let message = wait::within("a message", stream.message()).await?;
    Ok(message.map(|message| message.entry.unwrap()))
}

/// The next that is no heartbeat: its position and its uid.
async fn told(stream: &mut Streaming<WatchTransitionsResponse>) -> (String, String) {
    loop {
        match next(stream).await.unwrap().unwrap() {
            Entry::Transition(made) => return (made.position, made.uid),
            Entry::Recorded(recorded) => return (recorded.position, recorded.delivery.unwrap().booking_uid),
            Entry::Heartbeat(_) => {}
        }
    }
}

fn reason(status: &Status) -> (Code, String) {
    (status.code(), status.get_error_details().error_info().unwrap().reason.clone())
}

#[tokio::test]
async fn a_watch_catches_up_and_then_hears_what_comes() {
    let service = Harness::start().await;
    for uid in ["u1", "u2"] {
        service.submit(created(uid)).await.unwrap();
    }
    let mut stream = watch(&service, request()).await.unwrap();
    let mut uids = vec![told(&mut stream).await.1, told(&mut stream).await.1];
    for n in 3..50 {
        let uid = format!("u{n}");
        service.submit(created(&uid)).await.unwrap();
        uids.push(told(&mut stream).await.1);
    }
    assert_eq!(uids, (1..50).map(|n| format!("u{n}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_cursor_goes_on_behind_what_it_names_also_in_another_process() {
    let service = Harness::start().await;
    for uid in ["u1", "u2", "u3"] {
        service.submit(created(uid)).await.unwrap();
    }
    let mut stream = watch(&service, request()).await.unwrap();
    let (first, _) = told(&mut stream).await;
    drop(stream);
    let service = Harness::over(service.leave().await, settings()).await;
    let mut stream = watch(&service, WatchTransitionsRequest { after_position: first, ..request() }).await.unwrap();
    assert_eq!([told(&mut stream).await.1, told(&mut stream).await.1], ["u2", "u3"]);
}

#[tokio::test]
async fn it_ends_at_the_head_where_asked_to() {
    let service = Harness::start().await;
    let at_head = WatchTransitionsRequest { stop_at_head: true, ..request() };
    let mut empty = watch(&service, at_head.clone()).await.unwrap();
    assert_eq!(next(&mut empty).await.unwrap(), None);
    service.submit(created("u1")).await.unwrap();
    service.submit(created("u2")).await.unwrap();
    let mut stream = watch(&service, at_head).await.unwrap();
    service.submit(created("u3")).await.unwrap();
    assert_eq!([told(&mut stream).await.1, told(&mut stream).await.1], ["u1", "u2"]);
    assert_eq!(next(&mut stream).await.unwrap(), None);
}

#[tokio::test]
async fn before_it_ends_it_says_how_far_it_came() {
    let service = Harness::start().await;
    service.submit(created("u1")).await.unwrap();
    let head = service.booking("u1").await.position;
    let filter = "kind = STATUS_CHANGED".to_owned();
    let left_out = WatchTransitionsRequest { filter, stop_at_head: true, ..request() };
    let mut stream = watch(&service, left_out.clone()).await.unwrap();
    let Some(Entry::Heartbeat(end)) = next(&mut stream).await.unwrap() else { unreachable!("all is left out") };
    assert_eq!((end.position.as_str(), next(&mut stream).await.unwrap()), (head.as_str(), None));
    // Whoever goes on from there has nothing more to hear.
    let mut again = watch(&service, WatchTransitionsRequest { after_position: head, ..left_out }).await.unwrap();
    assert_eq!(next(&mut again).await.unwrap(), None);
    // What is another tenant's alone is no word to one that means all of its own.
    let of_nobody = WatchTransitionsRequest { tenant: "nobody".to_owned(), stop_at_head: true, ..request() };
    let mut of_nobody = watch(&service, of_nobody).await.unwrap();
    assert_eq!(next(&mut of_nobody).await.unwrap(), None);
}

#[tokio::test]
async fn from_the_head_only_what_comes_is_told() {
    let service = Harness::start().await;
    service.submit(created("u1")).await.unwrap();
    let from_head = WatchTransitionsRequest { from_head: true, ..request() };
    let mut stream = watch(&service, from_head.clone()).await.unwrap();
    let Some(Entry::Heartbeat(begin)) = next(&mut stream).await.unwrap() else { unreachable!("first a heartbeat") };
    service.submit(created("u2")).await.unwrap();
    let (position, uid) = told(&mut stream).await;
    assert_eq!(uid, "u2");
    assert!(begin.position < position);
    let both = WatchTransitionsRequest { after_position: begin.position, ..from_head };
    let refused = watch(&service, both).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::InvalidArgument, "INVALID_FIELD".to_owned()));
}

#[tokio::test]
async fn a_heartbeat_moves_the_cursor_past_what_a_filter_leaves_out() {
    let service = Harness::start().await;
    let filter = "kind = STATUS_CHANGED".to_owned();
    let mut stream = watch(&service, WatchTransitionsRequest { filter, ..request() }).await.unwrap();
    service.submit(created("u1")).await.unwrap();
    let position = service.booking("u1").await.position;
    loop {
        let Some(Entry::Heartbeat(heartbeat)) = next(&mut stream).await.unwrap() else { unreachable!("left out") };
        if heartbeat.position >= position {
            break;
        }
    }
    service.submit(event(Trigger::BookingCancelled, &golden("u1", 9))).await.unwrap();
    assert_eq!(told(&mut stream).await.1, "u1");
}

#[tokio::test]
async fn recorded_deliveries_come_typed_and_without_their_bytes() {
    let service = Harness::start().await;
    service.submit(created("u1")).await.unwrap();
    service.submit(event(Trigger::RecordingReady, &golden("u1", 5))).await.unwrap();
    service.submit(created("u2")).await.unwrap();
    let with = WatchTransitionsRequest { include_recorded: true, stop_at_head: true, ..request() };
    let mut stream = watch(&service, with).await.unwrap();
    assert_eq!(told(&mut stream).await.1, "u1");
    let Some(Entry::Recorded(recorded)) = next(&mut stream).await.unwrap() else { unreachable!("it is recorded") };
    let (delivery, typed) = (recorded.delivery.unwrap(), recorded.event.unwrap());
    assert_eq!((delivery.trigger(), delivery.raw_body.len()), (Trigger::RecordingReady, 0));
    assert_eq!((typed.trigger(), typed.raw_body.len(), typed.payload.is_some()), (Trigger::RecordingReady, 0, true));
    assert_eq!(told(&mut stream).await.1, "u2");
    let mut without = watch(&service, WatchTransitionsRequest { stop_at_head: true, ..request() }).await.unwrap();
    assert_eq!([told(&mut without).await.1, told(&mut without).await.1], ["u1", "u2"]);
}

#[tokio::test]
async fn what_can_not_be_followed_is_refused_and_says_why() {
    let service = Harness::start().await;
    service.submit(created("u1")).await.unwrap();
    let refusal = async |request| reason(&watch(&service, request).await.unwrap_err());
    let invalid = (Code::InvalidArgument, "INVALID_FIELD".to_owned());
    for after in ["1", "the beginning", "7fffffffffffffff"] {
        let after_position = after.to_owned();
        assert_eq!(refusal(WatchTransitionsRequest { after_position, ..request() }).await, invalid, "{after}");
    }
    let tenant = "No tenant".to_owned();
    assert_eq!(refusal(WatchTransitionsRequest { tenant, ..request() }).await, invalid);
    let syntax = (Code::InvalidArgument, "FILTER_SYNTAX".to_owned());
    let filter = "title = x".to_owned();
    assert_eq!(refusal(WatchTransitionsRequest { filter, ..request() }).await, syntax);
    let mut nobody =
        watch(&service, WatchTransitionsRequest { tenant: "nobody".to_owned(), ..request() }).await.unwrap();
    assert!(matches!(next(&mut nobody).await, Ok(Some(Entry::Heartbeat(_)))), "an unknown tenant has an empty log");
}

#[tokio::test]
async fn a_cursor_behind_which_something_is_purged_has_expired() {
    let service = Harness::start().await;
    for uid in ["u1", "u2"] {
        service.submit(created(uid)).await.unwrap();
    }
    let mut stream = watch(&service, request()).await.unwrap();
    let (first, _) = told(&mut stream).await;
    let (last, _) = told(&mut stream).await;
    let at_once = Some(Duration::ZERO);
    let service = service.keeping(Retention { transitions: at_once, ..Retention::default() }).await;
    wait::holds("the log is purged", async || service.timeline("u2").await[0].transition.is_none()).await;

    let expired = watch(&service, WatchTransitionsRequest { after_position: first, ..request() }).await.unwrap_err();
    assert_eq!(reason(&expired), (Code::OutOfRange, "CURSOR_EXPIRED".to_owned()));
    let details = expired.get_error_details();
    assert_eq!(details.error_info().unwrap().metadata["earliest_position"], last);
    for after_position in [last, String::new()] {
        let mut stream = watch(&service, WatchTransitionsRequest { after_position, ..request() }).await.unwrap();
        assert!(matches!(next(&mut stream).await, Ok(Some(Entry::Heartbeat(_)))));
    }
}

#[tokio::test]
async fn a_cursor_behind_which_deliveries_are_purged_has_expired_for_who_reads_those() {
    let service = Harness::start().await;
    for uid in ["u1", "u2"] {
        service.submit(created(uid)).await.unwrap();
    }
    let mut stream = watch(&service, request()).await.unwrap();
    let (first, _) = told(&mut stream).await;
    let at_once = Some(Duration::ZERO);
    let service = service.keeping(Retention { bodies: at_once, deliveries: at_once, transitions: None }).await;
    wait::holds("they are purged", async || service.timeline("u2").await[0].delivery_id.is_empty()).await;

    let behind =
        |include_recorded| WatchTransitionsRequest { after_position: first.clone(), include_recorded, ..request() };
    let expired = watch(&service, behind(true)).await.unwrap_err();
    assert_eq!(reason(&expired), (Code::OutOfRange, "CURSOR_EXPIRED".to_owned()));
    told(&mut watch(&service, behind(false)).await.unwrap()).await;
    // No delivery that changes nothing has a status: it reads none of what is gone.
    let none_of_them = WatchTransitionsRequest { filter: "status != CANCELLED".to_owned(), ..behind(true) };
    told(&mut watch(&service, none_of_them).await.unwrap()).await;
}

#[tokio::test]
async fn a_watch_ends_with_the_service_and_with_its_store() {
    let service = Harness::start().await;
    service.submit(created("u1")).await.unwrap();
    let mut failing = watch(&service, request()).await.unwrap();
    told(&mut failing).await;
    service.control.fail(Some(Failure::Unavailable));
    let mut begun = watch(&service, WatchTransitionsRequest { from_head: true, ..request() }).await.unwrap();
    let Ok(Some(Entry::Heartbeat(_))) = next(&mut begun).await else { unreachable!("it begins") };
    assert_eq!(reason(&next(&mut begun).await.unwrap_err()), (Code::Unavailable, "STORE_UNAVAILABLE".to_owned()));
    service.control.fail(None);

    let ended = tokio::spawn(service.stop());
    let status = loop {
        match next(&mut failing).await {
            Ok(Some(Entry::Heartbeat(_))) => {}
            other => break other.unwrap_err(),
        }
    };
    assert_eq!(reason(&status), (Code::Unavailable, "SHUTTING_DOWN".to_owned()));
    wait::within("the end", ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn who_reads_slowly_misses_nothing() {
    let service = Harness::start().await;
    let mut stream = watch(&service, request()).await.unwrap();
    let (requests, mut answers) = service.stream().await;
    let many = 3_000;
    tokio::spawn(async move {
        for sequence in 0..many {
            let event = Some(created(&format!("u{sequence}")));
            requests.send(calbridge_proto::v1::SubmitEventsRequest { sequence, event }).await.unwrap();
        }
    });
    for _ in 0..many {
        assert!(wait::within("an answer", answers.message()).await.unwrap().unwrap().error.is_none());
    }
    let mut before = String::new();
    for n in 0..many {
        let (position, uid) = told(&mut stream).await;
        assert!(position > before);
        assert_eq!(uid, format!("u{n}"));
        before = position;
    }
}
