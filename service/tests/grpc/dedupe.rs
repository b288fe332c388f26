//! Redis as the hint: it saves a commit while it is right, and whatever it does, no answer changes.

mod cluster;
mod room;

use std::{
    sync::{OnceLock, atomic::Ordering},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use calbridge_e2e::wait;
use calbridge_proto::v1::{BookingStatus, SubmitEventRequest, SubmitOutcome};
use calbridge_telemetry::testing::{Recording, attribute, record};
use opentelemetry_sdk::metrics::{
    InMemoryMetricExporter, PeriodicReader, SdkMeterProvider,
    data::{AggregatedMetrics, MetricData, ResourceMetrics, ScopeMetrics, SumDataPoint},
};
use sha2::{Digest, Sha256};

use crate::{
    events::created,
    fake_redis::{Answer, FakeRedis},
    harness::{Harness, redis},
    redis_server::RedisServer,
};

/// One timeout, and what a loaded machine adds to a commit.
const BOUND: Duration = Duration::from_secs(1);

/// A service that has found its Redis.
async fn with(server: &RedisServer) -> Harness {
    let service = Harness::with(redis(&[server.url()])).await;
    found(&service, server).await;
    service
}

/// Waits until Redis is used: until it is told of what is committed.
async fn found(service: &Harness, server: &RedisServer) {
    let mut tries = 0;
    let before = server.keys().await.len();
    wait::holds("Redis is told of commits", async || {
        tries += 1;
        service.submit(created(&format!("try-{before}-{tries}"))).await.unwrap();
        server.keys().await.len() > before
    })
    .await;
}

async fn knows(server: &RedisServer, keys: usize) {
    wait::holds("Redis was told", async || server.keys().await.len() >= keys).await;
}

#[tokio::test]
async fn a_duplicate_is_recognised_before_the_commit() {
    let server = RedisServer::start();
    let service = with(&server).await;
    let known = server.keys().await.len();
    let first = service.submit(created("u1")).await.unwrap();
    knows(&server, known + 1).await;
    let deliveries = async || service.control.batches.lock().unwrap().iter().map(|(new, _)| new).sum::<usize>();
    let committed = deliveries().await;
    let again = service.submit(created("u1")).await.unwrap();
    assert_eq!((again.outcome(), again.delivery_id), (SubmitOutcome::Duplicate, first.delivery_id));
    assert_eq!(service.control.confirms.load(Ordering::Relaxed), 1, "the store had the last word");
    assert_eq!(deliveries().await, committed, "and nothing to insert");
    assert_eq!(service.timeline("u1").await.len(), 2, "a read behind the answer sees it");
}

#[tokio::test]
async fn a_copy_that_the_timeline_tells_is_answered_once_it_is_noted_and_one_beyond_at_once() {
    let server = RedisServer::start();
    let service = with(&server).await;
    let known = server.keys().await.len();
    service.submit(created("u1")).await.unwrap();
    knows(&server, known + 1).await;
    let noting = || service.control.batches.lock().unwrap().iter().filter(|(_, notes)| *notes > 0).count();
    service.control.open.send_replace(false);
    let mut ingest = service.ingest();
    let copy = SubmitEventRequest { event: Some(created("u1")) };
    let copy = tokio::spawn(async move { ingest.submit_event(copy).await });
    wait::holds("it is being noted", async || noting() == 1).await;
    service.booking("u1").await;
    assert!(!copy.is_finished());
    service.control.open.send_replace(true);
    assert_eq!(copy.await.unwrap().unwrap().into_inner().outcome(), SubmitOutcome::Duplicate);

    for copies in 2..=32 {
        service.submit(created("u1")).await.unwrap();
        assert_eq!(service.timeline("u1").await.len(), copies + 1);
    }
    service.control.open.send_replace(false);
    assert_eq!(service.submit(created("u1")).await.unwrap().outcome(), SubmitOutcome::Duplicate);
    service.control.open.send_replace(true);
    assert_eq!(service.timeline("u1").await.len(), 33);
}

#[tokio::test]
async fn keys_hold_no_personal_data_and_expire() {
    let server = RedisServer::start();
    let service = with(&server).await;
    service.submit(created("someone")).await.unwrap();
    for key in server.keys().await {
        let rest = key.strip_prefix("calbridge:acme:b:").unwrap();
        assert_eq!(rest.len(), 22, "{key}");
        let ttl: i64 = server.run(&["TTL", &key]).await;
        assert!((1..=600).contains(&ttl), "{ttl}");
    }
}

#[tokio::test]
async fn a_redis_that_is_away_at_the_start_is_found_later() {
    let server = RedisServer::start();
    let url = server.url();
    let port = server.kill();
    let service = Harness::with(redis(&[url])).await;
    assert_eq!(service.submit(created("u1")).await.unwrap().outcome(), SubmitOutcome::Applied);
    assert_eq!(service.submit(created("u1")).await.unwrap().outcome(), SubmitOutcome::Duplicate);
    let server = RedisServer::at(port, &[]).expect("the port is still free");
    found(&service, &server).await;
}

#[tokio::test]
async fn a_redis_that_dies_or_restarts_changes_no_answer() {
    let server = RedisServer::start();
    let service = with(&server).await;
    service.submit(created("u1")).await.unwrap();
    let port = server.kill();
    for uid in ["u2", "u3"] {
        assert_eq!(service.submit(created(uid)).await.unwrap().outcome(), SubmitOutcome::Applied);
    }
    for uid in ["u1", "u2", "u3"] {
        assert_eq!(service.submit(created(uid)).await.unwrap().outcome(), SubmitOutcome::Duplicate);
    }
    let server = RedisServer::at(port, &[]).expect("the port is still free");
    found(&service, &server).await;
    assert_eq!(service.submit(created("u1")).await.unwrap().outcome(), SubmitOutcome::Duplicate);
}

#[tokio::test]
async fn a_frozen_redis_costs_one_timeout_and_then_nothing() {
    let recording = record();
    let server = RedisServer::start();
    let service = with(&server).await;
    server.freeze();
    let asked = recording.named("MGET").len();
    let begun = Instant::now();
    assert_eq!(service.submit(created("u1")).await.unwrap().outcome(), SubmitOutcome::Applied);
    let first = begun.elapsed();
    assert!(first < BOUND, "{first:?}");
    for index in 0..20 {
        let uid = format!("frozen-{index}");
        assert_eq!(service.submit(created(&uid)).await.unwrap().outcome(), SubmitOutcome::Applied);
    }
    let asks = recording.named("MGET").split_off(asked);
    assert_eq!(asks.len(), 1, "after its first silence it is not asked");
    assert_eq!(attribute(&asks[0], "error.type").as_deref(), Some("timeout"));
    let waited = asks[0].end_time.duration_since(asks[0].start_time).unwrap();
    assert!((Duration::from_millis(49)..BOUND).contains(&waited), "{waited:?}");
    server.thaw();
    found(&service, &server).await;
    for uid in ["u1", "frozen-0", "frozen-19"] {
        assert_eq!(service.submit(created(uid)).await.unwrap().outcome(), SubmitOutcome::Duplicate);
    }
}

#[tokio::test]
async fn a_flushed_redis_forgets_and_nothing_is_applied_twice() {
    let server = RedisServer::start();
    let service = with(&server).await;
    let first = service.submit(created("u1")).await.unwrap();
    let () = server.run(&["FLUSHALL"]).await;
    let again = service.submit(created("u1")).await.unwrap();
    assert_eq!((again.outcome(), again.delivery_id), (SubmitOutcome::Duplicate, first.delivery_id));
    // And is told again, for the next copy.
    knows(&server, 1).await;
}

#[tokio::test]
async fn a_lying_redis_is_found_out() {
    let metrics = metrics();
    let server = RedisServer::start();
    let service = with(&server).await;
    let () = server.run(&["SET", &key_of("lie-1"), "1"]).await;
    // One of another type, which some commands answer with an error; it is no hint.
    let _: i64 = server.run(&["LPUSH", &key_of("lie-2"), "x"]).await;
    let before = disagreements(metrics);
    for uid in ["lie-1", "lie-2"] {
        let answer = service.submit(created(uid)).await.unwrap();
        assert_eq!(answer.outcome(), SubmitOutcome::Applied, "{uid}");
        assert_eq!(answer.booking.unwrap().status(), BookingStatus::Scheduled);
        assert_eq!(service.submit(created(uid)).await.unwrap().outcome(), SubmitOutcome::Duplicate, "{uid}");
    }
    assert!(disagreements(metrics) > before);
}

/// The key that an event will have.
fn key_of(uid: &str) -> String {
    let hash = Sha256::digest(created(uid).raw_body);
    format!("calbridge:acme:b:{}", BASE64_URL_SAFE_NO_PAD.encode(&hash[..16]))
}

/// Submits for so long and says how often Redis was asked meanwhile.
async fn asks_during(service: &Harness, recording: &Recording, time: Duration) -> usize {
    let begun = Instant::now();
    let mut index = 0;
    while begun.elapsed() < time {
        index += 1;
        let uid = format!("u{index}");
        assert_eq!(service.submit(created(&uid)).await.unwrap().outcome(), SubmitOutcome::Applied);
        assert_eq!(service.submit(created(&uid)).await.unwrap().outcome(), SubmitOutcome::Duplicate);
    }
    assert!(index > 10, "{index} events in {time:?}");
    recording.named("MGET").len()
}

#[tokio::test]
async fn a_redis_that_may_not_be_asked_is_never_used() {
    let silent: Answer = |name, _| (name != "MGET").then_some("+OK\r\n");
    let forbidden: Answer = |name, _| Some(if name == "MGET" { "-NOPERM no\r\n" } else { "+OK\r\n" });
    for answer in [silent, forbidden] {
        let recording = record();
        let server = FakeRedis::start(answer).await;
        let service = Harness::with(redis(&[server.url()])).await;
        wait::holds("it was tried", async || server.connections() > 0).await;
        let asked = asks_during(&service, &recording, Duration::from_secs(2)).await;
        assert_eq!(asked, 0, "its trial fails");
        assert!(server.connections() <= 4, "{} connections", server.connections());
    }
}

#[tokio::test]
async fn a_redis_that_passes_its_trial_and_fails_the_events_costs_less_and_less() {
    let recording = record();
    let answer: Answer = |name, before| match (name, before) {
        ("MGET", 0) => Some("*1\r\n$1\r\n1\r\n"),
        ("MGET", _) => None,
        _ => Some("+OK\r\n"),
    };
    let server = FakeRedis::start(answer).await;
    let service = Harness::with(redis(&[server.url()])).await;
    wait::holds("it is asked", async || {
        service.submit(created("first")).await.unwrap();
        !recording.named("MGET").is_empty()
    })
    .await;
    // From here on it is tried again after 1, 2 and 4 seconds.
    let asked = asks_during(&service, &recording, Duration::from_secs(5)).await;
    assert!((2..=4).contains(&asked), "asked {asked} times");
    assert!(server.connections() <= 4, "{} connections", server.connections());
}

/// Metrics are global to a process: the first test that wants them installs them.
fn metrics() -> &'static (InMemoryMetricExporter, SdkMeterProvider) {
    static METRICS: OnceLock<(InMemoryMetricExporter, SdkMeterProvider)> = OnceLock::new();
    METRICS.get_or_init(|| {
        let exporter = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(exporter.clone()).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        opentelemetry::global::set_meter_provider(provider.clone());
        (exporter, provider)
    })
}

fn disagreements((exporter, provider): &(InMemoryMetricExporter, SdkMeterProvider)) -> u64 {
    exporter.reset();
    provider.force_flush().unwrap();
    let collected = exporter.get_finished_metrics().unwrap();
    let metrics = collected.iter().flat_map(ResourceMetrics::scope_metrics).flat_map(ScopeMetrics::metrics);
    let sums = metrics.filter(|metric| metric.name() == "calbridge.dedupe.redis_disagreements").map(|metric| {
        match metric.data() {
            AggregatedMetrics::U64(MetricData::Sum(sum)) => sum.data_points().map(SumDataPoint::value).sum(),
            _ => 0,
        }
    });
    sums.last().unwrap_or(0)
}
