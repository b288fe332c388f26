//! The end: everything that was taken in is answered, nobody who watches holds it up.

use std::time::{Duration, Instant};

use calbridge_e2e::wait;
use calbridge_proto::v1::{SubmitEventsRequest, SubmitOutcome};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::{events::created, harness::Harness};

#[tokio::test]
async fn what_was_taken_in_is_answered_before_the_end() {
    let service = Harness::start().await;
    wait::holds("it is ready", async || service.readiness.is_ready()).await;
    let mut health = HealthClient::new(service.channel.clone());
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);

    service.control.open.send_replace(false);
    let (requests, mut answers) = service.stream().await;
    for sequence in 0..100 {
        let event = Some(created(&format!("u{sequence}")));
        requests.send(SubmitEventsRequest { sequence, event }).await.unwrap();
    }
    let taken = async || service.control.batches.lock().unwrap().iter().map(|(events, _)| events).sum::<usize>() > 0;
    wait::holds("a round is under way", taken).await;
    let (control, shutdown) = (std::sync::Arc::clone(&service.control), service.shutdown.clone());
    let ended = tokio::spawn(service.stop());
    shutdown.cancelled().await;
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    control.open.send_replace(true);

    let (mut kept, mut refused) = (0, 0);
    while let Some(answer) = wait::within("an answer", answers.message()).await.unwrap() {
        match answer.error {
            None => {
                assert_eq!(answer.outcome(), SubmitOutcome::Applied);
                kept += 1;
            }
            Some(error) => {
                assert_eq!(error.reason, "SHUTTING_DOWN");
                refused += 1;
            }
        }
    }
    assert!(kept > 0);
    assert_eq!(kept + refused, 100, "each event got its answer");
    assert!(wait::within("the end of the watch", watch.message()).await.unwrap().is_none(), "who watches is let go");
    wait::within("the end", ended).await.unwrap().unwrap();
    // The client's side of the stream was open all the time.
    drop(requests);
}

#[tokio::test]
async fn a_caller_who_reads_nothing_cannot_hold_the_end_up() {
    let settings =
        calbridge_service::Settings { shutdown_grace: Duration::from_millis(500), ..crate::harness::settings() };
    let service = Harness::with(settings).await;
    service.submit(created("u1")).await.unwrap();
    service.control.open.send_replace(false);
    let (requests, _answers) = service.stream().await;
    requests.send(SubmitEventsRequest { sequence: 1, event: Some(created("u2")) }).await.unwrap();
    wait::holds("a round is under way", async || service.control.batches.lock().unwrap().len() > 1).await;
    let begun = Instant::now();
    service.stop().await.unwrap();
    let took = begun.elapsed();
    assert!((Duration::from_millis(500)..Duration::from_secs(3)).contains(&took), "{took:?}");
}
