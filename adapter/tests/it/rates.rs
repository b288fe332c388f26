//! Rates at the edge: who comes too often is told so, without a cost to anybody else.

use std::{num::NonZeroU32, time::Duration};

use calbridge_adapter::Settings;
use calbridge_e2e::wait;
use calbridge_process::{Limits, Rate, RateStatus};
use tokio::time;

use crate::support::{
    ACME, Adapter, SECRET, created, limits,
    sender::{Answer, Socket, exchange, post, webhook},
    service::Service,
    settings, sign,
};

/// One in a second: two exchanges on one machine are nearer to each other than that, now or at the next try.
const ONE: Option<Rate> = Some(Rate { per_second: NonZeroU32::MIN, burst: NonZeroU32::MIN });

async fn start(service: &Service, limits: Limits, proxies: &[&str]) -> Adapter {
    let trusted_proxies = proxies.iter().map(|network| network.parse().unwrap()).collect();
    let settings = settings(&[format!("http://{}", service.address)], limits);
    let adapter = Adapter::start_with(Settings { trusted_proxies, ..settings }).await;
    wait::holds("the adapter is ready", async || adapter.readiness.is_ready()).await;
    adapter
}

/// Sends it again and again until it is refused for its rate.
async fn refused(adapter: &Adapter, request: &[u8]) -> Answer {
    let refused = async {
        loop {
            let answer = exchange(adapter.address, request).await;
            if [429, 503].contains(&answer.status) {
                return answer;
            }
        }
    };
    wait::within("too many", refused).await
}

fn acme() -> Vec<u8> {
    let body = created("uid");
    post("/webhooks/calcom/acme", &[("Cal-Signature", &sign(ACME[0], &body))], &body)
}

#[tokio::test]
async fn a_source_that_comes_too_often_is_told_before_its_body_is_here() {
    let service = Service::start().await;
    let adapter = start(&service, Limits { source_rate: ONE, ..limits() }, &[]).await;
    assert_eq!(exchange(adapter.address, webhook(&created("uid"))).await.status, 200);
    let answer = refused(&adapter, &webhook(&created("uid"))).await;
    assert_eq!((answer.status, answer.body.as_str()), (503, r#"{"error":"Temporarily unavailable"}"#));
    assert_eq!(answer.header("retry-after"), Some("1"));
    // The budget is spent: the next one is refused at its head, or waits for a body that does not come.
    let at_its_head = async {
        loop {
            let mut spending = Socket::open(adapter.address).await;
            let mut socket = Socket::open(adapter.address).await;
            spending.send(post("/webhooks/calcom", &[], b"")).await;
            spending.answer().await;
            socket.send("POST /webhooks/calcom HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\n").await;
            if let Ok(answer) = time::timeout(Duration::from_millis(500), socket.answer()).await {
                return answer;
            }
        }
    };
    assert_eq!(wait::within("an answer to a head", at_its_head).await.status, 503);
}

#[tokio::test]
async fn a_forger_does_not_use_a_tenants_budget_up() {
    let service = Service::start().await;
    let adapter = start(&service, Limits { tenant_rate: ONE, ..limits() }, &[]).await;
    let body = created("uid");
    let forged = post("/webhooks/calcom", &[("Cal-Signature", &sign("guessed", &body))], &body);
    for _ in 0..20 {
        assert_eq!(exchange(adapter.address, &forged).await.status, 401);
    }
    assert_eq!(exchange(adapter.address, webhook(&body)).await.status, 200);
    let answer = refused(&adapter, &webhook(&body)).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(answer.header("traceresponse"), None);
    assert_eq!(exchange(adapter.address, acme()).await.status, 200, "another tenant has its own");
    assert_eq!(exchange(adapter.address, &forged).await.status, 401, "what is forged is told as ever");
}

#[tokio::test]
async fn an_operator_may_want_it_said_plainly() {
    let service = Service::start().await;
    let limits = Limits { tenant_rate: ONE, rate_status: RateStatus::TooManyRequests, ..limits() };
    let adapter = start(&service, limits, &[]).await;
    let answer = refused(&adapter, &webhook(&created("uid"))).await;
    assert_eq!((answer.status, answer.body.as_str()), (429, r#"{"error":"Too many requests"}"#));
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn behind_a_proxy_each_sender_is_a_source_and_the_proxy_is_none() {
    let service = Service::start().await;
    let adapter = start(&service, Limits { source_rate: ONE, ..limits() }, &["127.0.0.0/8"]).await;
    let body = created("uid");
    let signature = sign(SECRET, &body);
    let from =
        |header: &str, chain: &str| post("/webhooks/calcom", &[("Cal-Signature", &signature), (header, chain)], &body);
    assert_eq!(refused(&adapter, &from("X-Forwarded-For", "203.0.113.9, 192.0.2.1")).await.status, 503);
    for (header, chain) in [("X-Forwarded-For", "192.0.2.1, 192.0.2.2"), ("Forwarded", "for=192.0.2.3;proto=https")] {
        assert_eq!(exchange(adapter.address, from(header, chain)).await.status, 200, "{chain}");
    }
    for _ in 0..20 {
        let answer = exchange(adapter.address, webhook(&body)).await;
        assert_eq!(answer.status, 200, "the proxy itself is counted for nobody");
    }
}

#[tokio::test]
async fn whoever_is_no_trusted_proxy_can_not_choose_its_source() {
    let service = Service::start().await;
    let adapter = start(&service, Limits { source_rate: ONE, ..limits() }, &["10.0.0.0/8"]).await;
    let mut number = 0;
    let refused = async {
        loop {
            number += 1;
            let chain = format!("192.0.2.{}", number % 256);
            let request = post("/webhooks/calcom", &[("X-Forwarded-For", &chain)], b"{}");
            if exchange(adapter.address, request).await.status == 503 {
                return;
            }
        }
    };
    wait::within("too many", refused).await;
}
