//! A collector that is not there, or takes everything and says nothing, costs no webhook anything.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use calbridge_e2e::{
    collector,
    system::{Plan, SECRET, System, TENANT},
    wait,
};
use tokio::net::TcpStream;

use super::created;

const WEBHOOKS: usize = 50;
/// What export may add to all of them together, on a busy machine. One timeout of an exporter is ten seconds.
const ADDED: Duration = Duration::from_secs(4);
/// The flush is bounded: a supervisor kills what has not ended ten seconds after SIGTERM.
const STOP: Duration = Duration::from_secs(9);

#[tokio::test]
async fn a_dead_collector_slows_no_webhook_and_no_stop() {
    survives(collector::dead()).await;
}

#[tokio::test]
async fn a_silent_collector_slows_no_webhook_and_no_stop() {
    let (_silent, endpoint) = silent();
    survives(endpoint).await;
}

#[tokio::test]
async fn a_second_signal_ends_a_flush_that_hangs() {
    let (_silent, endpoint) = silent();
    let mut system = Plan::new().export(endpoint).start().await;
    let admin = system.adapter.listening().admin();
    system.adapter.terminate();
    let is_over = async || TcpStream::connect(admin).await.is_err();
    wait::holds("nothing is left but the flush", is_over).await;
    system.adapter.terminate();
    assert_eq!(system.adapter.exit().await.code(), Some(130));
    system.service.terminate();
    system.service.exit().await;
}

/// Connections stand in its backlog, and nobody ever reads them.
fn silent() -> (TcpListener, [(&'static str, String); 2]) {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let export =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".to_owned())];
    (silent, export)
}

async fn send_all(system: &System) -> Duration {
    let sender = system.sender();
    let began = Instant::now();
    for number in 0..WEBHOOKS {
        let answer = sender.send(TENANT, SECRET, created(&format!("outage{number:02}"))).await;
        assert_eq!(answer.outcome(), "applied");
    }
    began.elapsed()
}

async fn survives(endpoint: [(&'static str, String); 2]) {
    let mut untraced = Plan::new().start().await;
    let usually = send_all(&untraced).await;
    untraced.stop().await;
    let mut system = Plan::new().export(endpoint).start().await;
    let taken = send_all(&system).await;
    assert!(taken < 3 * usually + ADDED, "{WEBHOOKS} webhooks took {taken:?}, without telemetry {usually:?}");
    let began = Instant::now();
    system.adapter.terminate();
    system.service.terminate();
    assert_eq!(system.adapter.exit().await.code(), Some(0));
    assert_eq!(system.service.exit().await.code(), Some(0));
    assert!(began.elapsed() < STOP, "the stop took {:?}", began.elapsed());
}
