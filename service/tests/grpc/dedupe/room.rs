//! A Redis without room: it evicts what it knew, or takes no more. Both make it forgetful, and nothing else.

use std::sync::atomic::Ordering;

use calbridge_e2e::wait;
use calbridge_proto::v1::SubmitOutcome;
use calbridge_telemetry::testing::{attribute, record};

use super::{found, knows, with};
use crate::{
    events::created,
    harness::{Harness, redis},
    redis_server::RedisServer,
};

/// Events that are far more than a tiny Redis remembers.
const MANY: usize = 300;

#[tokio::test]
async fn a_redis_that_evicts_forgets_and_the_store_does_not() {
    let server = RedisServer::start_with(&["--maxmemory-policy", "allkeys-lru"]);
    let service = with(&server).await;
    // Little more than what it has: it has to evict soon.
    let info: String = server.run(&["INFO", "memory"]).await;
    let used: u64 = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim().parse().unwrap();
    let most = (used + 8 * 1024).to_string();
    let () = server.run(&["CONFIG", "SET", "maxmemory", &most]).await;
    for index in 0..MANY {
        let uid = format!("u{index}");
        assert_eq!(service.submit(created(&uid)).await.unwrap().outcome(), SubmitOutcome::Applied, "{uid}");
    }
    wait::holds("it evicts", async || evicted(&server).await > 0).await;
    for index in 0..MANY {
        let uid = format!("u{index}");
        assert_eq!(service.submit(created(&uid)).await.unwrap().outcome(), SubmitOutcome::Duplicate, "{uid}");
    }
    let confirms = service.control.confirms.load(Ordering::Relaxed);
    assert!(confirms < MANY, "it forgot some of them: {confirms} hits");
    let committed: usize = service.control.batches.lock().unwrap().iter().map(|(new, _)| new).sum();
    assert!(committed > MANY, "the store told those duplicates");
}

async fn evicted(server: &RedisServer) -> u64 {
    let info: String = server.run(&["INFO", "stats"]).await;
    info.lines().find_map(|line| line.strip_prefix("evicted_keys:")).unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn a_full_redis_is_asked_for_what_it_knows() {
    let recording = record();
    let server = RedisServer::start();
    let service = with(&server).await;
    let known = server.keys().await.len();
    service.submit(created("known")).await.unwrap();
    knows(&server, known + 1).await;
    let () = server.run(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let refused = || {
        let told = recording.named("PIPELINE SET").into_iter();
        told.filter(|span| attribute(span, "error.type").as_deref() == Some("full")).collect::<Vec<_>>()
    };
    for index in 0..5 {
        let uid = format!("u{index}");
        assert_eq!(service.submit(created(&uid)).await.unwrap().outcome(), SubmitOutcome::Applied);
        assert_eq!(service.submit(created(&uid)).await.unwrap().outcome(), SubmitOutcome::Duplicate);
    }
    wait::holds("it refused keys", async || refused().len() >= 5).await;
    assert_eq!(attribute(&refused()[0], "db.response.status_code").as_deref(), Some("OOM"));
    let confirms = service.control.confirms.load(Ordering::Relaxed);
    assert_eq!(service.submit(created("known")).await.unwrap().outcome(), SubmitOutcome::Duplicate);
    assert_eq!(service.control.confirms.load(Ordering::Relaxed), confirms + 1, "it is asked all the same");
    let () = server.run(&["CONFIG", "SET", "maxmemory", "0"]).await;
    found(&service, &server).await;
}

#[tokio::test]
async fn a_redis_that_is_full_from_the_start_is_used() {
    let server = RedisServer::start();
    let teacher = with(&server).await;
    let known = server.keys().await.len();
    teacher.submit(created("lie")).await.unwrap();
    knows(&server, known + 1).await;
    let () = server.run(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let service = Harness::with(redis(&[server.url()])).await;
    // What it says of this store is not true, so each hit is a question to the store.
    wait::holds("its hint is heard", async || {
        service.submit(created("lie")).await.unwrap();
        service.control.confirms.load(Ordering::Relaxed) > 0
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_only_reads_is_left_aside_until_it_is_a_master() {
    let server = RedisServer::start();
    let service = with(&server).await;
    let master = RedisServer::start();
    let () = server.run(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]).await;
    for index in 0..5 {
        let uid = format!("u{index}");
        assert_eq!(service.submit(created(&uid)).await.unwrap().outcome(), SubmitOutcome::Applied);
        assert_eq!(service.submit(created(&uid)).await.unwrap().outcome(), SubmitOutcome::Duplicate);
    }
    let () = server.run(&["REPLICAOF", "NO", "ONE"]).await;
    found(&service, &server).await;
}
