//! A collector that is away or frozen: nothing waits for it, and what it costs is known.

use std::net::TcpListener;

use tokio::runtime::Runtime;

use super::*;
use crate::LogFormat;
use crate::config::Signal;

/// How much longer than its bound a shutdown may take on a busy machine.
const SLACK: Duration = Duration::from_secs(2);

fn settings() -> Settings {
    Settings {
        service_name: "calbridge-test",
        service_version: "0",
        log_format: LogFormat::Json,
        log_filter: None,
        environment: |_| None,
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Telemetry towards `endpoint` with one span made: how long the span took, how long the shutdown, and what was lost.
fn run(protocol: &str, endpoint: &str) -> (Duration, Duration, Arc<Lost>) {
    let runtime = runtime();
    let _entered = runtime.enter();
    let config = Config::from_environment(&|name| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(endpoint.to_owned()),
        "OTEL_EXPORTER_OTLP_PROTOCOL" => Some(protocol.to_owned()),
        _ => None,
    })
    .unwrap();
    let (telemetry, lost) = build(&config, &settings()).unwrap();
    let subscriber = tracing_subscriber::registry().with(telemetry.traces.as_ref().map(span_layer));
    let started = Instant::now();
    tracing::subscriber::with_default(subscriber, || tracing::info_span!("work").in_scope(|| ()));
    let spanned = started.elapsed();
    let started = Instant::now();
    telemetry.shutdown();
    (spanned, started.elapsed(), lost)
}

fn lost_spans(lost: &Lost) -> u64 {
    lost.counts().into_iter().find(|(signal, _)| *signal == Signal::Traces).unwrap().1
}

#[test]
fn a_dead_collector_costs_its_spans_and_little_time() {
    // Bound and closed again: nothing listens there.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for protocol in ["grpc", "http/protobuf"] {
        let (spanned, shut_down, lost) = run(protocol, &format!("http://{address}"));
        assert!(spanned < Duration::from_secs(1), "{protocol}: a span never waits ({spanned:?})");
        assert!(shut_down < SHUTDOWN_TIMEOUT + SLACK, "{protocol}: {shut_down:?}");
        assert_eq!(lost_spans(&lost), 1, "{protocol}");
    }
}

#[test]
fn a_frozen_collector_is_left_behind() {
    // The kernel accepts, nobody ever answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let runs = ["grpc", "http/protobuf"].map(|protocol| {
        let endpoint = endpoint.clone();
        std::thread::spawn(move || run(protocol, &endpoint))
    });
    for run in runs {
        let (spanned, shut_down, _) = run.join().unwrap();
        assert!(spanned < Duration::from_secs(1), "a span never waits ({spanned:?})");
        assert!(shut_down < SHUTDOWN_TIMEOUT + SLACK, "{shut_down:?}");
    }
}

#[test]
fn what_never_ends_is_left_behind() {
    let (never, waits) = mpsc::channel::<()>();
    let (ran, has_run) = mpsc::channel();
    let started = Instant::now();
    let stuck = Box::new(move || assert!(waits.recv().is_err(), "nothing is ever sent"));
    run_within(vec![stuck, Box::new(move || ran.send(()).unwrap())], Duration::from_millis(50));
    assert!(started.elapsed() < SLACK, "{:?}", started.elapsed());
    has_run.recv_timeout(SLACK).expect("the other one is not held up");
    drop(never);
}

#[test]
fn spans_exist_without_an_exporter() {
    let config = Config::from_environment(&|_| None).unwrap();
    let (telemetry, _) = build(&config, &settings()).unwrap();
    assert_eq!(telemetry.export_target(), None);
    let subscriber = tracing_subscriber::registry().with(telemetry.traces.as_ref().map(span_layer));
    tracing::subscriber::with_default(subscriber, || {
        assert_eq!(crate::propagation::trace_id(&tracing::info_span!("work")).len(), 32);
    });
    telemetry.shutdown();
}

#[test]
fn disabled_means_no_spans_and_no_metrics() {
    let config = Config::from_environment(&|name| (name == "OTEL_SDK_DISABLED").then(|| "true".to_owned())).unwrap();
    let (telemetry, _) = build(&config, &settings()).unwrap();
    assert!(telemetry.traces.is_none() && telemetry.metrics.is_none() && telemetry.logs.is_none());
    assert_eq!(telemetry.metrics_page().render(), "");
    telemetry.shutdown();
}

#[test]
fn outside_a_runtime_there_is_an_error_not_a_panic() {
    assert!(matches!(init(&settings()), Err(InitError::NoRuntime)));
}
