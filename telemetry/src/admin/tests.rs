//! The listener over a real socket, spoken to in plain text.

use std::net::SocketAddr;

use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;

struct Admin {
    address: SocketAddr,
    readiness: Readiness,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

async fn start(metrics: MetricsPage) -> Admin {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (readiness, shutdown) = (Readiness::new(), CancellationToken::new());
    let task = tokio::spawn(serve(listener, readiness.clone(), metrics, shutdown.clone()));
    Admin { address, readiness, shutdown, task }
}

impl Admin {
    async fn send(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn get(&self, path: &str) -> (u16, String, String) {
        split(&self.send(&format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await)
    }
}

/// Status, lower-case headers, body.
fn split(answer: &str) -> (u16, String, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

#[tokio::test]
async fn alive_is_not_ready() {
    let admin = start(MetricsPage::default()).await;
    assert_eq!(admin.get("/healthz").await.2, r#"{"status":"alive"}"#);

    let store = admin.readiness.check("store");
    let (status, head, body) = admin.get("/readyz").await;
    assert_eq!((status, body.as_str()), (503, r#"{"status":"not ready","waiting_for":["store"]}"#));
    assert!(head.contains("content-type: application/json"), "{head}");

    store.ready();
    let (status, _, body) = admin.get("/readyz").await;
    assert_eq!((status, body.as_str()), (200, r#"{"status":"ready"}"#));

    store.not_ready();
    assert_eq!(admin.get("/readyz").await.0, 503);
    assert_eq!(admin.get("/healthz").await.0, 200);
}

#[tokio::test]
async fn metrics_are_the_page() {
    let page = MetricsPage::default();
    let provider = SdkMeterProvider::builder().with_reader(page.reader().unwrap()).build();
    provider.meter("test").u64_counter("some.thing").build().add(7, &[]);
    let admin = start(page).await;
    let (status, head, body) = admin.get("/metrics").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(body.lines().any(|line| line == "some_thing_total 7"), "{body}");
}

#[tokio::test]
async fn everything_else_is_refused() {
    let admin = start(MetricsPage::default()).await;
    assert_eq!(admin.get("/").await.0, 404);
    assert_eq!(admin.get("/metrics/").await.0, 404);
    let (status, head, _) = split(&admin.send("POST /metrics HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").await);
    assert_eq!(status, 405);
    assert!(head.contains("allow: get, head"), "{head}");
    let (status, _, body) = split(&admin.send("HEAD /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await);
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(admin.send("nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn every_answer_ends_its_connection() {
    let admin = start(MetricsPage::default()).await;
    // `read_to_string` returns, though the request asks for more.
    let answer = admin.send("GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: keep-alive\r\n\r\n").await;
    assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn shutdown_does_not_wait_for_silent_clients() {
    let admin = start(MetricsPage::default()).await;
    let mut silent = TcpStream::connect(admin.address).await.unwrap();
    silent.write_all(b"GET /heal").await.unwrap();
    assert_eq!(admin.get("/healthz").await.0, 200, "served beside a silent one");
    admin.shutdown.cancel();
    tokio::time::timeout(SHUTDOWN_GRACE * 5, admin.task).await.expect("it ends").unwrap();
    assert!(TcpStream::connect(admin.address).await.is_err(), "nobody listens any more");
}

#[tokio::test(start_paused = true)]
async fn silent_connections_give_their_place_back() {
    let admin = start(MetricsPage::default()).await;
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        silent.push(TcpStream::connect(admin.address).await.unwrap());
    }
    // Time is paused and runs ahead as soon as everybody waits: the silent ones are timed out, this one is served.
    let started = tokio::time::Instant::now();
    assert_eq!(admin.get("/healthz").await.0, 200);
    let waited = started.elapsed();
    assert!(waited > HEADER_TIMEOUT / 2, "served beyond the bound: {waited:?}");
    assert!(waited <= HEADER_TIMEOUT, "{waited:?}");
}
