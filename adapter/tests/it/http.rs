//! The table of HTTP answers, row by row, over both protocols.

use bytes::Bytes;
use calbridge_e2e::wait;
use calbridge_proto::v1::{SubmitOutcome, Trigger, booking_event::Payload};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::support::{
    Adapter, SECRET, created, limits,
    sender::{Socket, exchange, post, webhook},
    service::{Act, Service},
    sign,
};

#[tokio::test]
async fn a_committed_webhook_is_answered_with_its_delivery() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    let body = created("uid-1");
    let answer = exchange(adapter.address, webhook(&body)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.header("traceresponse").is_none(), "nothing is traced in this process");
    let said: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let expected = serde_json::json!({
        "status": "processed", "event": "BOOKING_CREATED", "outcome": "applied", "delivery_id": "delivery-1",
    });
    assert_eq!(said, expected);

    let [event] = service.events().try_into().unwrap();
    assert_eq!(event.tenant, "default");
    assert_eq!(event.trigger(), Trigger::BookingCreated);
    assert_eq!(event.raw_body, body);
    assert_eq!(event.secret_id, "env:CALCOM_WEBHOOK_SECRET");
    assert_eq!((event.content_type.as_str(), event.webhook_version.as_str()), ("application/json", "2021-10-20"));
    assert_eq!(event.request_id.len(), 36);
    assert!(event.receive_time.is_some());
    let Some(Payload::Booking(booking)) = event.payload else { panic!("{:?}", event.payload) };
    assert_eq!(booking.uid, "uid-1");
}

#[tokio::test]
async fn headers_of_noise_are_cut_before_they_are_forwarded() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    let body = created("uid");
    let noise = [0xff; 6000];
    let head = format!(
        "POST /webhooks/calcom HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\nX-Cal-Signature-256: {}\r\n",
        body.len(),
        sign(SECRET, &body)
    );
    let request =
        [head.as_bytes(), b"Content-Type: ", &noise, b"\r\nX-Cal-Webhook-Version: ", &noise, b"\r\n\r\n", &body];
    assert_eq!(exchange(adapter.address, request.concat()).await.status, 200);
    let [event] = service.events().try_into().unwrap();
    for text in [event.content_type, event.webhook_version] {
        assert!((1..=256).contains(&text.len()), "{} bytes", text.len());
    }
}

#[tokio::test]
async fn every_outcome_has_its_word() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    for (outcome, word) in [
        (SubmitOutcome::Applied, "applied"),
        (SubmitOutcome::NoChange, "no_change"),
        (SubmitOutcome::Duplicate, "duplicate"),
        (SubmitOutcome::Recorded, "recorded"),
        (SubmitOutcome::Unparsed, "unparsed"),
    ] {
        service.script([Act::Commit(outcome)]);
        let answer = exchange(adapter.address, webhook(&created("uid"))).await;
        assert_eq!(answer.status, 200);
        assert!(answer.body.contains(&format!(r#""outcome":"{word}""#)), "{}", answer.body);
    }
}

#[tokio::test]
async fn what_can_not_be_typed_is_kept_all_the_same() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    let deep = b"[".repeat(100_000);
    let bodies: [&[u8]; 6] = [b"false", b"", b"\xff\xfe\x00", &deep, b"{\"a\":1e999}", b"text of a template"];
    for body in bodies {
        service.script([Act::Commit(SubmitOutcome::Unparsed)]);
        let answer = exchange(adapter.address, webhook(body)).await;
        let expected = r#"{"status":"processed","event":"","outcome":"unparsed","#;
        assert!(answer.status == 200 && answer.body.starts_with(expected), "{answer:?}");
    }
    for (event, body) in service.events().iter().zip(bodies) {
        assert_eq!(event.raw_body, body);
        assert_eq!(event.payload, None);
    }
}

#[tokio::test]
async fn the_name_of_an_unknown_trigger_is_escaped() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    let answer = exchange(adapter.address, webhook(br#"{"triggerEvent":"A\"},{\"\\B","payload":{}}"#)).await;
    let said: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(said["event"], "A\"},{\"\\B");
}

#[tokio::test]
async fn all_paths_of_the_tenant_default_take_webhooks_in() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    let body = created("uid");
    let signature = sign(SECRET, &body);
    for path in [
        "/webhooks/calcom/default",
        "/webhooks/calcom",
        "/api/webhooks/calcom",
        "/api/webhooks/cal-com",
        "/api/calcom-webhook",
        "/webhooks/calcom?token=ignored",
        "/webhooks/calcom/default?",
        "http://hooks.example/webhooks/calcom",
    ] {
        let answer = exchange(adapter.address, post(path, &[("X-Cal-Signature-256", &signature)], &body)).await;
        assert_eq!(answer.status, 200, "{path}");
    }
    assert!(service.events().iter().all(|event| event.tenant == "default"));
}

#[tokio::test]
async fn other_paths_are_not_found() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    for path in ["/", "/webhooks", "/webhooks/calcom/", "/webhooks/calcom/default/", "/metrics", "/healthz", "//"] {
        let answer = exchange(adapter.address, post(path, &[], b"{}")).await;
        assert_eq!((answer.status, answer.body.as_str()), (404, r#"{"error":"Not found"}"#), "{path}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}

#[tokio::test]
async fn other_methods_are_told_which_one_is_allowed() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"] {
        let request = format!("{method} /webhooks/calcom/default HTTP/1.1\r\nhost: h\r\n\r\n");
        let answer = exchange(adapter.address, request).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}");
        assert_eq!(answer.body, r#"{"error":"Method not allowed"}"#);
    }
    let answer = exchange(adapter.address, "GET /nowhere HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(answer.status, 404, "the path is looked at before the method");
}

#[tokio::test]
async fn hyper_answers_what_is_no_request() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    for (request, status) in [
        ("NONSENSE\r\n\r\n", 400),
        ("POST /webhooks/calcom HTTP/9.9\r\n\r\n", 400),
        ("POST /webhooks/calcom HTTP/1.1\r\nno colon here\r\n\r\n", 400),
        ("POST /webhooks/calcom HTTP/1.1\r\nhost: h\r\ncontent-length: nine\r\n\r\n", 400),
        ("POST /webhooks/calcom HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
    ] {
        let answer = exchange(adapter.address, request).await;
        assert_eq!((answer.status, answer.body.as_str()), (status, ""), "{request:?}");
    }
    assert_eq!(exchange(adapter.address, webhook(&created("uid"))).await.status, 200);
}

#[tokio::test]
async fn one_connection_carries_many_webhooks_also_before_their_answers() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    let mut socket = Socket::open(adapter.address).await;
    let uids: Vec<String> = (0..20).map(|at| format!("uid-{at}")).collect();
    let all: Vec<u8> = uids.iter().flat_map(|uid| webhook(&created(uid))).collect();
    socket.send(all).await;
    for at in 1..=20 {
        let answer = socket.answer().await;
        assert_eq!(answer.status, 200);
        assert!(answer.body.contains(&format!(r#""delivery-{at}""#)), "answers come in the order of the requests");
    }
}

#[tokio::test]
async fn a_sender_that_ends_its_side_still_gets_its_answer() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    service.script([Act::Late(std::time::Duration::from_millis(50))]);
    let mut socket = Socket::open(adapter.address).await;
    socket.send(webhook(&created("uid"))).await;
    tokio::io::AsyncWriteExt::shutdown(&mut socket.0).await.unwrap();
    assert_eq!(socket.answer().await.status, 200);
}

#[tokio::test]
async fn the_same_port_speaks_http2() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    let stream = TcpStream::connect(adapter.address).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let ask = |method: &str, path: &str, signature: Option<String>, body: Vec<u8>| {
        let mut request = http::Request::builder().method(method).uri(format!("http://hooks.example{path}"));
        if let Some(signature) = signature {
            request = request.header("x-cal-signature-256", signature);
        }
        let (mut sender, request) = (sender.clone(), request.body(Full::new(Bytes::from(body))).unwrap());
        async move {
            let response = wait::within("an answer", sender.send_request(request)).await.unwrap();
            assert_eq!(response.version(), http::Version::HTTP_2);
            let (head, body) = response.into_parts();
            (head.status.as_u16(), head.headers, body.collect().await.unwrap().to_bytes())
        }
    };
    let tasks: Vec<_> = (0..50)
        .map(|at| {
            let body = created(&format!("uid-{at}"));
            tokio::spawn(ask("POST", "/webhooks/calcom", Some(sign(SECRET, &body)), body))
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().0, 200);
    }
    assert_eq!(service.events().len(), 50);
    let (status, headers, body) = ask("POST", "/webhooks/calcom", None, created("uid")).await;
    assert_eq!((status, &body[..]), (401, &br#"{"error":"Invalid webhook signature"}"#[..]));
    assert_eq!(headers["content-type"], "application/json");
    let (status, headers, _) = ask("GET", "/webhooks/calcom", None, Vec::new()).await;
    assert_eq!((status, headers["allow"].to_str().unwrap()), (405, "POST"));
    assert_eq!(ask("POST", "/webhooks/calcom", None, vec![b'x'; 1024 * 1024 + 1]).await.0, 413);
    let long = format!("/webhooks/calcom/{}", "x".repeat(9000));
    assert_eq!(ask("POST", &long, None, Vec::new()).await.0, 414);
}
