//! One event is one trace, a round is another, and the two know each other.

use std::{sync::Arc, time::Duration};

use calbridge_e2e::wait;
use calbridge_proto::v1::{self, SubmitEventsRequest, SubmitOutcome, Trigger};
use calbridge_service::{Settings, store::ClockPolicies};
use calbridge_telemetry::testing::{Recording, attribute, record};
use opentelemetry::trace::{SpanKind, Status};
use opentelemetry_sdk::trace::SpanData;

use crate::{
    events::{PARENT, TRACE, created, ending_in, event, golden},
    harness::{Failure, Harness, redis, settings},
    redis_server::RedisServer,
};

async fn named(recording: &Recording, name: &str, count: usize) -> Vec<SpanData> {
    wait::holds(name, async || recording.named(name).len() >= count).await;
    recording.named(name)
}

fn trace(span: &SpanData) -> String {
    span.span_context.trace_id().to_string()
}

fn links_to(from: &SpanData, to: &SpanData) -> bool {
    from.links.iter().any(|link| link.span_context.span_id() == to.span_context.span_id())
}

#[tokio::test]
async fn an_event_goes_on_with_the_trace_of_its_webhook() {
    let recording = record();
    let service = Harness::start().await;
    let (requests, mut answers) = service.stream().await;
    let moved = golden("u1", 0).moved("u2", 8, golden("u1", 60).created_at, golden("u1", 0).start);
    for (sequence, event) in [created("u1"), event(Trigger::BookingRescheduled, &moved)].into_iter().enumerate() {
        requests.send(SubmitEventsRequest { sequence: sequence as u64, event: Some(event) }).await.unwrap();
        assert!(answers.message().await.unwrap().unwrap().error.is_none());
    }
    drop(requests);
    assert!(answers.message().await.unwrap().is_none());

    let processes = named(&recording, "process bookings", 2).await;
    let rounds = named(&recording, "ingest round", 2).await;
    for (process, round) in processes.iter().zip(&rounds) {
        assert_eq!((trace(process).as_str(), process.parent_span_id.to_string().as_str()), (TRACE, PARENT));
        assert_eq!((&process.span_kind, &process.status), (&SpanKind::Consumer, &Status::Unset));
        assert_eq!(attribute(process, "messaging.system").as_deref(), Some("calbridge"));
        assert_eq!(attribute(process, "messaging.operation.name").as_deref(), Some("process"));
        assert_eq!(attribute(process, "messaging.operation.type").as_deref(), Some("process"));
        assert_eq!(attribute(process, "messaging.destination.name").as_deref(), Some("bookings"));
        assert_eq!(attribute(process, "messaging.message.id").map(|id| id.len()), Some(36));
        assert_eq!(attribute(process, "calbridge.tenant.id").as_deref(), Some("acme"));
        assert_eq!(attribute(process, "calbridge.secret.id").as_deref(), Some("primary"));
        assert_eq!(attribute(process, "calbridge.webhook.version").as_deref(), Some("2021-10-20"));
        assert_eq!(attribute(process, "calbridge.delivery.disposition").as_deref(), Some("accepted"));
        assert_eq!(attribute(process, "calbridge.delivery.outcome").as_deref(), Some("applied"));
        assert_eq!(attribute(process, "calbridge.dedupe.level").as_deref(), Some("none"));
        assert!(attribute(process, "calbridge.delivery.id").is_some());
        assert!(attribute(process, "calbridge.position").is_some());

        assert_ne!(trace(round), TRACE, "a round is a trace of its own");
        assert_eq!(round.parent_span_id, opentelemetry::SpanId::INVALID);
        assert_eq!(attribute(round, "messaging.operation.name").as_deref(), Some("round"));
        assert_eq!(attribute(round, "messaging.batch.message_count").as_deref(), Some("1"));
        assert!(links_to(round, process) && links_to(process, round));
    }
    assert_eq!(attribute(&processes[0], "calbridge.trigger").as_deref(), Some("BOOKING_CREATED"));
    assert_eq!(attribute(&processes[0], "calbridge.booking.uid").as_deref(), Some("u1"));

    let transitions = named(&recording, "record transition", 3).await;
    let of = |process: &SpanData| {
        let below = transitions.iter().filter(|span| span.parent_span_id == process.span_context.span_id());
        below.map(|span| attribute(span, "calbridge.transition.rule").unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(of(&processes[0]), ["accepted"]);
    let mut second = of(&processes[1]);
    second.sort_unstable();
    assert_eq!(second, ["accepted", "rescheduled"]);
    for span in &transitions {
        assert_eq!(attribute(span, "calbridge.source").as_deref(), Some("webhook"));
        assert!(attribute(span, "calbridge.booking.uid").is_some() && attribute(span, "calbridge.position").is_some());
    }

    // The store's work hangs below the round, the stream is one span, and health checks are none.
    let commits = named(&recording, "COMMIT deliveries", 2).await;
    assert_eq!(commits[0].parent_span_id, rounds[0].span_context.span_id());
    assert_eq!(named(&recording, "calbridge.v1.IngestService/SubmitEvents", 1).await.len(), 1);
    no_personal_data(&recording);
}

#[tokio::test]
async fn a_unary_call_is_the_parent_of_an_event_without_one_and_a_link_of_others() {
    let recording = record();
    let service = Harness::start().await;
    let mut alone = created("u1");
    alone.trace_parent.clear();
    service.submit(alone).await.unwrap();
    service.submit(created("u2")).await.unwrap();
    let processes = named(&recording, "process bookings", 2).await;
    let calls = named(&recording, "calbridge.v1.IngestService/SubmitEvent", 2).await;
    assert_eq!(processes[0].parent_span_id, calls[0].span_context.span_id());
    assert_eq!(processes[1].parent_span_id.to_string(), PARENT);
    assert!(links_to(&processes[1], &calls[1]));
}

#[tokio::test]
async fn an_event_that_is_not_sampled_leaves_no_span_and_no_trace_id() {
    let recording = record();
    let service = Harness::start().await;
    let mut event = created("u1");
    event.trace_parent = format!("00-{TRACE}-{PARENT}-00");
    service.submit(event).await.unwrap();
    service.submit(created("u2")).await.unwrap();
    assert_eq!(named(&recording, "process bookings", 1).await.len(), 1);
    assert_eq!(service.timeline("u1").await[0].trace_id, "");
    assert_eq!(service.timeline("u2").await[0].trace_id, TRACE);
}

#[tokio::test]
async fn each_event_is_linked_to_its_round_which_has_no_more_links_than_are_kept() {
    let recording = record();
    let service = Harness::start().await;
    service.control.open.send_replace(false);
    let (requests, mut answers) = service.stream().await;
    for sequence in 0..400 {
        let event = Some(created(&format!("u{sequence}")));
        requests.send(SubmitEventsRequest { sequence, event }).await.unwrap();
    }
    // What names no event is refused at once, when it is its turn: then all before it wait.
    requests.send(SubmitEventsRequest { sequence: 400, event: None }).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().sequence, 400);
    service.control.open.send_replace(true);
    for _ in 0..400 {
        answers.message().await.unwrap().unwrap();
    }
    drop(requests);
    wait::holds("each round has ended", async || {
        recording.named("ingest round").len() == service.control.batches.lock().unwrap().len()
    })
    .await;
    let rounds = recording.named("ingest round");
    let most = rounds.iter().map(|round| round.links.len()).max();
    assert_eq!(most, Some(128));
    let processes = named(&recording, "process bookings", 400).await;
    for process in &processes {
        assert!(rounds.iter().any(|round| links_to(process, round)), "an event without its round");
    }
    assert!(recording.spans().iter().all(|span| span.links.dropped_count == 0));
}

#[tokio::test]
async fn redis_is_seen_below_the_round() {
    let recording = record();
    let server = RedisServer::start();
    let service = Harness::with(redis(&[server.url()])).await;
    let mut tries = 0;
    wait::holds("Redis is told", async || {
        tries += 1;
        service.submit(created(&format!("u{tries}"))).await.unwrap();
        !server.keys().await.is_empty()
    })
    .await;
    let told = named(&recording, "PIPELINE SET", 1).await.remove(0);
    let port = server.port.to_string();
    service.submit(created("v")).await.unwrap();
    wait::holds("Redis knows v", async || recording.named("PIPELINE SET").len() > 1).await;
    assert_eq!(service.submit(created("v")).await.unwrap().outcome(), SubmitOutcome::Duplicate);
    let asked = named(&recording, "MGET", 1).await.remove(0);
    let rounds = recording.named("ingest round");
    for span in [told, asked] {
        assert_eq!(span.span_kind, SpanKind::Client);
        assert_eq!(attribute(&span, "db.system.name").as_deref(), Some("redis"));
        assert_eq!(attribute(&span, "db.namespace").as_deref(), Some("0"));
        assert_eq!(attribute(&span, "server.address").as_deref(), Some("127.0.0.1"));
        assert_eq!(attribute(&span, "server.port"), Some(port.clone()));
        assert!(rounds.iter().any(|round| round.span_context.span_id() == span.parent_span_id), "{}", span.name);
    }
    let duplicate = recording.named("process bookings").pop().unwrap();
    assert_eq!(attribute(&duplicate, "calbridge.dedupe.level").as_deref(), Some("transport"));
    assert_eq!(attribute(&duplicate, "calbridge.dedupe.layer").as_deref(), Some("redis"));
    assert_eq!(attribute(&duplicate, "calbridge.delivery.outcome").as_deref(), Some("duplicate"));
}

#[tokio::test]
async fn a_failure_is_seen_on_the_event_and_on_the_round() {
    let recording = record();
    let service = Harness::start().await;
    service.control.fail(Some(Failure::Unavailable));
    service.submit(created("u1")).await.unwrap_err();
    for name in ["process bookings", "ingest round"] {
        let span = named(&recording, name, 1).await.remove(0);
        assert!(matches!(span.status, Status::Error { .. }), "{name}");
        assert_eq!(attribute(&span, "error.type").as_deref(), Some("STORE_UNAVAILABLE"), "{name}");
    }
}

#[tokio::test]
async fn a_refused_event_is_an_error_that_names_its_reason() {
    let recording = record();
    let service = Harness::start().await;
    let mut event = created("u1");
    event.tenant = "Acme".to_owned();
    service.submit(event).await.unwrap_err();
    let span = named(&recording, "process bookings", 1).await.remove(0);
    assert!(matches!(span.status, Status::Error { .. }));
    assert_eq!(attribute(&span, "error.type").as_deref(), Some("INVALID_FIELD"));
    assert_eq!(attribute(&span, "calbridge.tenant.id"), None, "what was not checked is not repeated");
}

#[tokio::test]
async fn what_the_clock_does_is_a_trace_of_its_own() {
    let recording = record();
    let clock = ClockPolicies { otherwise: Some(Duration::ZERO), ..ClockPolicies::default() };
    let service = Harness::with(Settings { clock: Arc::new(clock), ..settings() }).await;
    // One that is over when it comes, and one that the clock completes by itself.
    service.submit(created("over")).await.unwrap();
    service.submit(ending_in("soon", 1_500)).await.unwrap();
    let root = named(&recording, "complete bookings", 1).await.remove(0);
    assert_eq!(root.parent_span_id, opentelemetry::SpanId::INVALID);
    assert_eq!((&root.span_kind, &root.status), (&SpanKind::Internal, &Status::Unset));
    assert_eq!(attribute(&root, "calbridge.source").as_deref(), Some("clock"));
    let commit = named(&recording, "COMMIT bookings", 1).await.remove(0);
    assert_eq!(commit.parent_span_id, root.span_context.span_id());
    let of_root = |span: &SpanData| span.parent_span_id == root.span_context.span_id();
    let made = named(&recording, "record transition", 3).await.into_iter().find(of_root).unwrap();
    assert_eq!(attribute(&made, "calbridge.transition.rule").as_deref(), Some("ended_by_clock"));
    assert_eq!(attribute(&made, "calbridge.source").as_deref(), Some("clock"));
    assert_eq!(service.timeline("soon").await[1].trace_id, trace(&root));
    let rounds = named(&recording, "ingest round", 1).await;
    assert_eq!(service.timeline("over").await[1].trace_id, trace(&rounds[0]), "said in the round that brought it");
    no_personal_data(&recording);
}

#[tokio::test]
async fn a_replay_goes_on_with_the_trace_of_its_call() {
    let recording = record();
    let service = Harness::start().await;
    let untyped = v1::BookingEvent { payload: None, ..created("u1") };
    let kept = service.submit(untyped).await.unwrap();
    let request =
        v1::ReplayDeliveryRequest { tenant: "acme".to_owned(), delivery_id: kept.delivery_id, dry_run: false };
    service.deliveries().replay_delivery(request).await.unwrap();
    let call = named(&recording, "calbridge.v1.DeliveryService/ReplayDelivery", 1).await.remove(0);
    let made = named(&recording, "record transition", 1).await.remove(0);
    assert_eq!(made.parent_span_id, call.span_context.span_id());
    assert_eq!(attribute(&made, "calbridge.source").as_deref(), Some("replay"));
    assert_eq!(service.timeline("u1").await[0].trace_id, trace(&call));
    no_personal_data(&recording);
}

fn no_personal_data(recording: &Recording) {
    for span in recording.spans() {
        let text = format!("{span:?}");
        for secret in ["@", "Okafor", "Lindqvist", "First talk"] {
            assert!(!text.contains(secret), "{} holds {secret:?}: {text}", span.name);
        }
    }
}
