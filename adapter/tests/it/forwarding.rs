//! The stream to the service: it breaks, the service dies, answers late or not at all; no 2xx is ever wrong.

use std::{collections::BTreeSet, time::Duration};

use calbridge_e2e::wait;
use calbridge_process::Limits;
use calbridge_proto::v1::SubmitError;

use crate::support::{
    Adapter, created, limits,
    sender::{Answer, Socket, exchange, webhook},
    service::{Act, Service},
};

/// A deadline that a test can wait out.
const SHORT: Duration = Duration::from_millis(300);

fn unavailable(answer: &Answer) -> u64 {
    assert_eq!((answer.status, answer.body.as_str()), (503, r#"{"error":"Temporarily unavailable"}"#));
    answer.header("retry-after").unwrap().parse().unwrap()
}

#[tokio::test]
async fn answers_find_their_requests_in_whatever_order_they_come() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    service.script((1..=10).rev().map(|at| Act::Late(Duration::from_millis(20 * at))));
    let tasks: Vec<_> =
        (0..10).map(|at| tokio::spawn(exchange(adapter.address, webhook(&created(&format!("uid-{at}")))))).collect();
    let mut ids = Vec::new();
    for task in tasks {
        let answer = task.await.unwrap();
        assert_eq!(answer.status, 200);
        ids.push(serde_json::from_str::<serde_json::Value>(&answer.body).unwrap()["delivery_id"].to_string());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 10, "each has an answer of its own");
}

#[tokio::test]
async fn a_stream_that_breaks_costs_time_alone() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    service.script([Act::Ignore, Act::Break]);
    let mut waiting = Socket::open(adapter.address).await;
    waiting.send(webhook(&created("uid-1"))).await;
    wait::holds("the first has arrived", async || service.arrivals().len() == 1).await;
    assert_eq!(exchange(adapter.address, webhook(&created("uid-2"))).await.status, 200);
    assert_eq!(waiting.answer().await.status, 200);
    assert_eq!(service.streams(), 2);
    let arrivals = service.arrivals();
    assert_eq!(arrivals.iter().map(|arrival| arrival.stream).collect::<Vec<_>>(), [1, 1, 2, 2]);
    for at in 0..2 {
        assert_eq!(arrivals[at].event, arrivals[at + 2].event, "the same request, byte for byte, in the same order");
        assert_eq!(arrivals[at].sequence, arrivals[at + 2].sequence);
    }
}

#[tokio::test]
async fn a_service_that_is_killed_and_comes_back_gets_what_it_had_not_answered() {
    let service = Service::start().await;
    let address = service.address;
    let adapter = Adapter::ready(&service, limits()).await;
    service.script([Act::Ignore]);
    let mut waiting = Socket::open(adapter.address).await;
    waiting.send(webhook(&created("uid-1"))).await;
    wait::holds("it has arrived", async || service.arrivals().len() == 1).await;
    let [before] = service.events().try_into().unwrap();
    drop(service);
    wait::holds("the adapter notices", async || !adapter.readiness.is_ready()).await;
    let service = Service::start_on(address).await;
    assert_eq!(waiting.answer().await.status, 200);
    assert_eq!(service.events(), [before]);
    wait::holds("the adapter is ready again", async || adapter.readiness.is_ready()).await;
}

#[tokio::test]
async fn no_answer_in_time_is_a_503_with_a_time_to_come_back() {
    let service = Service::start().await;
    // What is answered within it must be so on a machine that has much to do.
    let deadline = Duration::from_secs(2);
    let adapter = Adapter::ready(&service, Limits { forward_deadline: deadline, ..limits() }).await;
    service.script([Act::Ignore, Act::Late(deadline * 5 / 4)]);
    assert!(unavailable(&exchange(adapter.address, webhook(&created("uid-1"))).await) >= 1);
    assert!(unavailable(&exchange(adapter.address, webhook(&created("uid-2"))).await) >= 1);
    // The late answer to the second comes while others wait; it is nobody's.
    service.script([Act::Late(deadline / 2), Act::Late(Duration::ZERO)]);
    for uid in ["uid-3", "uid-4"] {
        let answer = exchange(adapter.address, webhook(&created(uid))).await;
        let sequence = service.arrivals().last().unwrap().sequence;
        assert_eq!(answer.status, 200);
        assert!(answer.body.contains(&format!("delivery-{sequence}")), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_refusal_of_the_service_is_a_503_with_its_time() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    let delay = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
    for (reason, retry_delay, expected) in [
        ("OVERLOADED", delay(3, 0), 3),
        ("OVERLOADED", delay(2, 1), 3),
        ("STORE_UNAVAILABLE", delay(0, 1), 1),
        ("STORE_UNAVAILABLE", delay(-5, 0), 1),
        ("STORE_UNAVAILABLE", None, 1),
        ("OVERLOADED", delay(86_400, 0), 60),
        ("a reason of tomorrow", delay(0, 0), 1),
    ] {
        let error = SubmitError { code: 14, reason: reason.to_owned(), message: String::new(), retry_delay };
        service.script([Act::Refuse(error)]);
        assert_eq!(unavailable(&exchange(adapter.address, webhook(&created("uid"))).await), expected, "{reason}");
    }
    assert_eq!(exchange(adapter.address, webhook(&created("uid"))).await.status, 200);
}

#[tokio::test]
async fn without_a_service_webhooks_wait_for_it_then_are_refused_at_once() {
    let service = Service::start().await;
    let address = service.address;
    drop(service);
    let adapter = Adapter::start(address, Limits { forward_deadline: SHORT, ..limits() }).await;
    assert!(unavailable(&exchange(adapter.address, webhook(&created("uid-1"))).await) >= 1);
    let refused_at_once = async {
        loop {
            let started = tokio::time::Instant::now();
            unavailable(&exchange(adapter.address, webhook(&created("uid-2"))).await);
            if started.elapsed() < SHORT {
                break;
            }
        }
    };
    wait::within("nobody waits for a service that is away", refused_at_once).await;
    assert!(!adapter.readiness.is_ready());
    let service = Service::start_on(address).await;
    wait::holds("the adapter is ready", async || adapter.readiness.is_ready()).await;
    assert_eq!(exchange(adapter.address, webhook(&created("uid-3"))).await.status, 200);
    assert_eq!(service.events().len(), 1, "what was refused is not sent behind its sender's back");
}

#[tokio::test]
async fn a_service_that_takes_connections_and_says_nothing_holds_nobody_up() {
    let frozen = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let adapter = Adapter::start(frozen.local_addr().unwrap(), Limits { forward_deadline: SHORT, ..limits() }).await;
    assert!(unavailable(&exchange(adapter.address, webhook(&created("uid"))).await) >= 1);
    assert!(!adapter.readiness.is_ready());
    adapter.shutdown.cancel();
    wait::within("the adapter ends", adapter.running).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_event_that_breaks_every_stream_is_given_up_before_its_deadline() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, Limits { forward_deadline: Duration::from_mins(1), ..limits() }).await;
    service.script([Act::Break, Act::Break, Act::Break]);
    unavailable(&exchange(adapter.address, webhook(&created("uid-1"))).await);
    assert_eq!(service.arrivals().len(), 3);
    assert_eq!(exchange(adapter.address, webhook(&created("uid-2"))).await.status, 200);
}

#[tokio::test]
async fn ready_means_that_the_service_says_so_itself() {
    let service = Service::start().await;
    service.set_serving(false).await;
    let adapter = Adapter::start(service.address, limits()).await;
    wait::holds("the stream is open", async || service.streams() == 1).await;
    assert_eq!(exchange(adapter.address, webhook(&created("uid"))).await.status, 200, "readiness holds nobody up");
    assert_eq!(adapter.readiness.waiting_for(), ["service"]);
    service.set_serving(true).await;
    wait::holds("the adapter is ready", async || adapter.readiness.is_ready()).await;
    service.set_serving(false).await;
    wait::holds("the adapter is not ready", async || !adapter.readiness.is_ready()).await;
}

#[tokio::test]
async fn a_large_body_goes_through_whole() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    let mut body = br#"{"triggerEvent":"PING","createdAt":"2026-01-01T00:00:00.000Z","payload":{"title":""#.to_vec();
    body.resize(1024 * 1024 - 3, b'x');
    body.extend_from_slice(br#""}}"#);
    assert_eq!(exchange(adapter.address, webhook(&body)).await.status, 200);
    assert_eq!(service.events()[0].raw_body, body);
}

#[tokio::test]
async fn a_copy_is_sent_on_as_the_first_was_however_many_come() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    // To the MAC a line end is nothing; to the body it is.
    let (body, ended) = (created("uid-1"), [created("uid-1"), b"\n".to_vec()].concat());
    for body in [&body, &ended, &body, &ended, &body, &ended, &body] {
        let answer = exchange(adapter.address, webhook(body)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(answer.body.contains(r#""event":"BOOKING_CREATED""#), "{}", answer.body);
    }
    let mut events = service.events();
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event.raw_body, if at % 2 == 0 { &body } else { &ended });
    }
    let ids: BTreeSet<String> = events.iter_mut().map(|event| std::mem::take(&mut event.request_id)).collect();
    assert_eq!(ids.len(), 7, "each request has an id of its own");
    for event in &mut events {
        event.raw_body.clear();
        event.trace_parent.clear();
        event.receive_time = None;
    }
    assert!(events[0].payload.is_some() && events[0].event_time.is_some());
    for event in &events {
        assert_eq!(event, &events[0]);
    }
}
