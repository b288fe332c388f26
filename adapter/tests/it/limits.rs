//! What a stranger can cost: each bound at the socket, with its documented answer and no second one.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use calbridge_e2e::wait;
use calbridge_process::Limits;
use futures_util::StreamExt as _;
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::support::{
    Adapter, created, limits,
    sender::{Socket, exchange, post, webhook},
    service::{Act, Service},
};

/// Short enough to wait for, long enough for a busy machine to do what is not meant to run into it.
const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, Limits { header_timeout: SHORT, ..limits() }).await;
    for start in ["", "P", "PRI * HTTP/2.0\r\n\r\nSM\r\n", "POST /webhooks/calcom HT", "POST / HTTP/1.1\r\nhost: h\r\n"]
    {
        let mut socket = Socket::open(adapter.address).await;
        socket.send(start).await;
        assert_eq!(socket.rest().await, b"", "{start:?}");
    }
}

#[tokio::test]
async fn headers_one_by_one_do_not_hold_a_connection() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, Limits { header_timeout: SHORT, ..limits() }).await;
    let mut socket = Socket::open(adapter.address).await;
    socket.send("POST /webhooks/calcom HTTP/1.1\r\n").await;
    let (mut reader, mut writer) = socket.0.into_split();
    let drip = tokio::spawn(async move {
        while tokio::io::AsyncWriteExt::write_all(&mut writer, b"a: b\r\n").await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
    });
    let mut rest = Vec::new();
    let _ = wait::within("it is closed", tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut rest)).await;
    assert_eq!(rest, b"");
    wait::within("the sender notices", drip).await.unwrap();
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, Limits { header_timeout: SHORT, ..limits() }).await;
    let mut socket = Socket::open(adapter.address).await;
    service.script([Act::Late(SHORT * 3)]);
    socket.send(webhook(&created("uid"))).await;
    assert_eq!(socket.answer().await.status, 200, "the time for headers is not the time for an answer");
    assert_eq!(socket.rest().await, b"");
}

#[tokio::test]
async fn a_slow_body_is_told_so() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, Limits { body_timeout: SHORT, ..limits() }).await;
    for head in ["content-length: 100\r\n\r\nhalf of", "transfer-encoding: chunked\r\n\r\n5\r\nhalf \r\n"] {
        let mut socket = Socket::open(adapter.address).await;
        socket.send(format!("POST /webhooks/calcom HTTP/1.1\r\nhost: h\r\n{head}")).await;
        let answer = socket.answer().await;
        assert_eq!((answer.status, answer.body.as_str()), (408, r#"{"error":"Body too slow"}"#));
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(socket.rest().await, b"");
    }
}

#[tokio::test]
async fn a_slow_body_is_told_so_over_http2_without_harm_to_its_connection() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, Limits { body_timeout: SHORT, ..limits() }).await;
    let stream = TcpStream::connect(adapter.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..2 {
        let first = futures_util::stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"half")))]);
        let body = StreamBody::new(first.chain(futures_util::stream::pending()));
        let request = http::Request::post("http://hooks.example/webhooks/calcom").body(body).unwrap();
        let response = wait::within("an answer", sender.send_request(request)).await.unwrap();
        assert_eq!(response.status(), 408);
        assert!(!response.headers().contains_key("connection"), "HTTP/2 has no such header");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    let declared = "POST /webhooks/calcom HTTP/1.1\r\nhost: h\r\ncontent-length: 1048577\r\n\r\n";
    let mut socket = Socket::open(adapter.address).await;
    socket.send(declared).await;
    let answer = socket.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (413, r#"{"error":"Body too large"}"#));
    assert_eq!(answer.header("connection"), Some("close"));
    // With `Expect` the sender is never asked for the body.
    let expecting = declared.replace("host: h", "host: h\r\nexpect: 100-continue");
    assert_eq!(exchange(adapter.address, expecting).await.status, 413);
    let endless = "POST /webhooks/calcom HTTP/1.1\r\nhost: h\r\ncontent-length: 99999999999999999999\r\n\r\n";
    assert!([400, 413].contains(&exchange(adapter.address, endless).await.status));
}

#[tokio::test]
async fn a_sender_that_writes_on_still_reads_the_413() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    let mut socket = Socket::open(adapter.address).await;
    socket.try_send("POST /webhooks/calcom HTTP/1.1\r\nhost: h\r\ncontent-length: 8388608\r\n\r\n").await;
    for _ in 0..128 {
        socket.try_send(vec![b'x'; 65536]).await;
    }
    assert_eq!(socket.answer().await.status, 413);
}

#[tokio::test]
async fn a_chunked_body_is_refused_when_it_grows_over_the_limit() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, Limits { body_bytes: 1000, ..limits() }).await;
    let head = "POST /webhooks/calcom HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = format!("1f4\r\n{}\r\n", "x".repeat(500));
    let mut socket = Socket::open(adapter.address).await;
    socket.send([head, &chunk, &chunk].concat()).await;
    socket.send("0\r\n\r\n").await;
    assert_eq!(socket.answer().await.status, 401, "exactly the limit is read and judged");
    let mut socket = Socket::open(adapter.address).await;
    socket.send([head, &chunk, &chunk, "1\r\nx\r\n"].concat()).await;
    let answer = socket.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (413, Some("close")));
    assert_eq!(socket.rest().await, b"");
}

#[tokio::test]
async fn heads_over_the_limits_are_refused_without_a_body() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    let many = "a: b\r\n".repeat(101);
    let large = format!("a: {}\r\n", "x".repeat(17 * 1024));
    let huge = format!("a: {}\r\n", "x".repeat(1024 * 1024));
    for (target, headers, status) in [
        ("/webhooks/calcom", many.as_str(), 431),
        ("/webhooks/calcom", large.as_str(), 431),
        ("/webhooks/calcom", huge.as_str(), 431),
        (&format!("/webhooks/calcom?{}", "x".repeat(9000)), "host: h\r\n", 414),
        (&format!("/{}", "x".repeat(100_000)), "host: h\r\n", 414),
    ] {
        let mut socket = Socket::open(adapter.address).await;
        socket.try_send(format!("POST {target} HTTP/1.1\r\n{headers}\r\n")).await;
        let answer = socket.answer().await;
        assert_eq!((answer.status, answer.body.as_str()), (status, ""), "{}", &target[..20.min(target.len())]);
        assert_eq!(socket.rest().await, b"", "the connection is over");
    }
    let enough = "a: b\r\n".repeat(98);
    let request = format!("POST /webhooks/calcom HTTP/1.1\r\nhost: h\r\n{enough}content-length: 0\r\n\r\n");
    assert_eq!(exchange(adapter.address, request).await.status, 401, "a hundred headers are taken");
}

#[tokio::test]
async fn a_body_that_is_cut_off_is_no_webhook() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    let whole = webhook(&created("uid"));
    let mut socket = Socket::open(adapter.address).await;
    socket.send(&whole[..whole.len() - 1]).await;
    tokio::io::AsyncWriteExt::shutdown(&mut socket.0).await.unwrap();
    let rest = String::from_utf8(socket.rest().await).unwrap();
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 400 "), "{rest}");
    let mut socket = Socket::open(adapter.address).await;
    socket.send("POST /webhooks/calcom HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nnot a size\r\n").await;
    let answer = socket.answer().await;
    assert_eq!((answer.status, answer.body.as_str(), answer.header("connection")), (400, "", Some("close")));
    assert_eq!(answer.header("content-type"), None);
    assert_eq!(socket.rest().await, b"");
    assert!(service.arrivals().is_empty());
}

#[tokio::test]
async fn more_requests_than_places_are_sent_away_with_a_time() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, Limits { in_flight: 1, ..limits() }).await;
    service.script([Act::Late(SHORT)]);
    let mut first = Socket::open(adapter.address).await;
    first.send(webhook(&created("uid-1"))).await;
    wait::holds("the first is in flight", async || service.arrivals().len() == 1).await;
    let second = exchange(adapter.address, webhook(&created("uid-2"))).await;
    assert_eq!((second.status, second.body.as_str()), (503, r#"{"error":"Temporarily unavailable"}"#));
    assert_eq!(second.header("retry-after"), Some("1"));
    assert_eq!(first.answer().await.status, 200);
    assert_eq!(exchange(adapter.address, webhook(&created("uid-2"))).await.status, 200, "the place is free again");
}

/// Large bodies are verified one by one: those that wait must not have everybody else sent away.
#[tokio::test]
async fn a_flood_of_large_bodies_leaves_places_for_others() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, Limits { in_flight: 16, ..limits() }).await;
    let mut forged = vec![b'x'; 200_000];
    forged.push(b'\n');
    let forged = post("/webhooks/calcom", &[("x-cal-signature-256", &"0".repeat(64))], &forged);
    let mut flood = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let (address, forged) = (adapter.address, forged.clone());
        flood.spawn(async move {
            loop {
                let status = exchange(address, &forged).await.status;
                assert!([401, 503].contains(&status), "{status}");
            }
        });
    }
    for number in 0..50 {
        assert_eq!(exchange(adapter.address, webhook(&created(&format!("uid-{number}")))).await.status, 200);
    }
    assert!(flood.try_join_next().is_none(), "nobody of the flood has given up");
}

#[tokio::test]
async fn requests_whose_bodies_do_not_come_take_no_places() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, Limits { in_flight: 1, ..limits() }).await;
    let stream = TcpStream::connect(adapter.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let open = |path: &str| {
        let body = StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>());
        http::Request::post(format!("http://hooks.example{path}")).body(body).unwrap()
    };
    let waiting: Vec<_> = (0..16).map(|_| tokio::spawn(sender.send_request(open("/webhooks/calcom")))).collect();
    // It comes after the others, so they have been met once it is answered.
    assert_eq!(wait::within("an answer", sender.send_request(open("/nope"))).await.unwrap().status(), 404);
    assert_eq!(exchange(adapter.address, webhook(&created("uid"))).await.status, 200);
    assert!(waiting.iter().all(|request| !request.is_finished()), "they still wait for their bodies");
}

#[tokio::test]
async fn bodies_together_stay_within_their_budget() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, Limits { body_bytes: 4000, in_flight_bytes: 4000, ..limits() }).await;
    let mut first = Socket::open(adapter.address).await;
    let unsigned = post("/webhooks/calcom", &[], &[b'x'; 3999]);
    first.send(&unsigned[..unsigned.len() - 1]).await;
    let full = async {
        // The first body takes its time from the socket to the budget.
        while exchange(adapter.address, post("/webhooks/calcom", &[], &[b'x'; 1000])).await.status != 503 {}
    };
    wait::within("the budget is spent", full).await;
    first.send(&unsigned[unsigned.len() - 1..]).await;
    assert_eq!(first.answer().await.status, 401, "who was let in is served");
    assert_eq!(exchange(adapter.address, post("/webhooks/calcom", &[], &[b'x'; 4000])).await.status, 401);
}

#[tokio::test]
async fn a_connection_over_the_bound_takes_the_place_of_one_that_is_waited_for() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, Limits { connections: 1, ..limits() }).await;
    let head = "POST /webhooks/calcom HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\n";
    for waited_for in ["", "POST /webhooks/calcom HT", head, &format!("{head}bod"), &format!("{head}body")] {
        let mut first = Socket::open(adapter.address).await;
        first.send(waited_for).await;
        if waited_for.ends_with("body") {
            assert_eq!(first.answer().await.status, 401, "it idles from here on");
        }
        let answer = exchange(adapter.address, webhook(&created("uid"))).await;
        assert_eq!(answer.status, 200, "beside {waited_for:?}");
        assert_eq!(first.rest().await, b"", "it made room: {waited_for:?}");
    }
}

#[tokio::test]
async fn a_connection_over_the_bound_waits_for_those_that_are_served() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, Limits { connections: 1, ..limits() }).await;
    service.script([Act::Late(SHORT)]);
    let mut first = Socket::open(adapter.address).await;
    first.send(webhook(&created("uid-1"))).await;
    wait::holds("the first is in flight", async || service.arrivals().len() == 1).await;
    let second = exchange(adapter.address, webhook(&created("uid-2"))).await;
    assert_eq!((first.answer().await.status, second.status), (200, 200));
    let events = service.events();
    let order: Vec<_> = events.iter().map(|event| String::from_utf8_lossy(&event.raw_body).contains("uid-2")).collect();
    assert_eq!(order, [false, true], "the second was not served before");
}

#[tokio::test]
async fn sixty_four_connections_at_full_speed_are_all_served() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    let tasks: Vec<_> = (0..64)
        .map(|connection| {
            let address = adapter.address;
            tokio::spawn(async move {
                let mut socket = Socket::open(address).await;
                for at in 0..25 {
                    socket.send(webhook(&created(&format!("uid-{connection}-{at}")))).await;
                    assert_eq!(socket.answer().await.status, 200);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(service.arrivals().len(), 64 * 25);
    assert_eq!(service.streams(), 1, "all of it went over one stream");
}
