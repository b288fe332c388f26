use std::net::SocketAddr;

use bytes::Bytes;
use calbridge_process::{Access, Ack, RateStatus};
use calbridge_telemetry::Readiness;
use http_body_util::Empty;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::{Moment, Resolver, Settings, durable::Durable, forward, keys::Keys, metrics::Metrics};

/// A bound that these tests wait for.
const SHORT: Duration = Duration::from_millis(100);

/// Far beyond the bounds: when it is over, what is waited for does not come.
const LONG: Duration = Duration::from_secs(20);

fn limits() -> Limits {
    Limits {
        body_bytes: 1024,
        header_bytes: 16 * 1024,
        header_count: 100,
        header_timeout: LONG,
        body_timeout: LONG,
        connections: 8,
        in_flight: 8,
        in_flight_bytes: 8 * 1024,
        tenant_rate: None,
        source_rate: None,
        rate_status: RateStatus::Unavailable,
        forward_deadline: LONG,
        shutdown_grace: LONG,
    }
}

/// An edge whose service is not there: it still answers what needs none.
async fn start(limits: Limits, patience: Patience) -> (SocketAddr, CancellationToken) {
    let settings = Settings {
        tenants: [].into(),
        reload: None,
        trusted_proxies: Vec::new(),
        tls: None,
        services: vec!["http://127.0.0.1:9".to_owned()],
        access: Access::default(),
        resolver: Resolver::system(),
        spool: None,
        quarantine: None,
        ack: Ack::Committed,
        limits,
        moment: Moment::now,
    };
    let (shutdown, metrics) = (CancellationToken::new(), Arc::new(Metrics::new()));
    let check = Readiness::new().check("service");
    let (forwarder, running) = forward::start(&settings, check, &metrics, &shutdown).unwrap();
    let (spool, ack, over) = (None, Ack::Committed, CancellationToken::new());
    let durable = Durable { forwarder, spool, ack, metrics: Arc::clone(&metrics), over };
    let keys = Arc::new(Keys::new(&settings.tenants));
    let edge = Arc::new(Edge::new(settings, keys, durable, None, metrics));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        serve(listener, None, edge, limits, patience, stop).await.unwrap();
        running.stop().await;
    });
    (address, shutdown)
}

type Sender = hyper::client::conn::http2::SendRequest<Empty<Bytes>>;

/// An HTTP/2 connection with this window for each answer, and the task that ends with it.
async fn connect(address: SocketAddr, window: u32) -> (Sender, tokio::task::JoinHandle<()>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    // However it ends: a peer that never closes can only be cut.
    let task = tokio::spawn(async move { drop(connection.await) });
    (sender, task)
}

fn nowhere() -> Request<Empty<Bytes>> {
    Request::post("http://hooks.example/nope").body(Empty::new()).unwrap()
}

#[tokio::test]
async fn a_peer_that_opens_no_window_for_its_answers_is_cut() {
    for drained in [false, true] {
        let idle = if drained { LONG } else { SHORT };
        let (address, shutdown) = start(limits(), Patience { idle, ending: SHORT }).await;
        let (mut sender, ended) = connect(address, 0).await;
        let answer = sender.send_request(nowhere()).await.unwrap();
        assert_eq!(answer.status(), 404, "the head of an answer needs no window");
        if drained {
            shutdown.cancel();
        }
        time::timeout(LONG / 2, ended).await.expect("the connection is cut").unwrap();
        drop((answer, shutdown));
    }
}

#[tokio::test]
async fn a_request_on_its_way_is_not_cut_with_its_connection() {
    let (address, shutdown) = start(limits(), Patience { idle: LONG, ending: SHORT }).await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = "POST /webhooks/calcom HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut socket, head.as_bytes()).await.unwrap();
    let (mut other, cut) = connect(address, 0).await;
    // Another connection's answer shows that the first one's head has been read; its end, that the patience is over.
    let answer = other.send_request(nowhere()).await.unwrap();
    shutdown.cancel();
    time::timeout(LONG / 2, cut).await.expect("the other connection is cut").unwrap();
    drop(answer);
    tokio::io::AsyncWriteExt::write_all(&mut socket, b"body").await.unwrap();
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut socket, &mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}

#[tokio::test]
async fn bounds_without_measure_are_no_harm() {
    let most = Limits {
        header_bytes: usize::MAX,
        header_count: usize::MAX,
        connections: usize::MAX,
        in_flight: usize::MAX,
        in_flight_bytes: usize::MAX,
        ..limits()
    };
    let (address, _shutdown) = start(most, Patience::DEFAULT).await;
    for headers in ["", &"a: b\r\n".repeat(4000)] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let request = format!("POST /nope HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{headers}\r\n");
        tokio::io::AsyncWriteExt::write_all(&mut socket, request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut socket, &mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }
    let (mut sender, _ended) = connect(address, 1024).await;
    assert_eq!(sender.send_request(nowhere()).await.unwrap().status(), 404);
}
