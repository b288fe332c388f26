//! Following a log that another process writes.

use std::time::{Duration, Instant};

use calbridge_e2e::wait;
use calbridge_service::store::{Position, Store};

use crate::{
    postgres::{Server, raw},
    support::*,
};

/// The connections that follow the log.
const FOLLOWING: &str = "SELECT pid FROM pg_stat_activity WHERE application_name = 'calbridge-service'
    AND (query LIKE 'LISTEN%' OR query = 'SELECT position FROM head')";

/// So many commits of another replica are heard of long before anybody would have looked by himself.
#[tokio::test]
async fn what_another_replica_commits_is_told_at_once() {
    let server = Server::default();
    let (store, other) = (server.open().await, server.open().await);
    let mut through = store.follow();
    let begun = Instant::now();
    for n in 1..=20 {
        commit(&other, &[created(&format!("u{n}"), n)]).await;
        let head = other.head().await.unwrap();
        let told = through.wait_for(|through| *through >= head);
        tokio::time::timeout(Duration::from_secs(10), told).await.unwrap().unwrap();
    }
    // A look a second, which is the fallback, would take ten at the least.
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[tokio::test]
async fn a_lost_connection_is_made_again_and_nothing_is_missed() {
    let server = Server::default();
    let (store, other) = (server.open().await, server.open().await);
    let look = raw(&server).await;
    let mut through = store.follow();
    for n in 1..=3 {
        commit(&other, &[created(&format!("u{n}"), n)]).await;
        let head = other.head().await.unwrap();
        through.wait_for(|through| *through >= head).await.unwrap();
        let listens = wait::until("it listens", async || look.query(FOLLOWING, &[]).await.unwrap().pop()).await;
        look.execute("SELECT pg_terminate_backend($1)", &[&listens.get::<_, i32>(0)]).await.unwrap();
    }
    commit(&other, &[created("last", 9)]).await;
    let head = other.head().await.unwrap();
    through.wait_for(|through| *through >= head).await.unwrap();
    assert!(head > Position(0));
}

#[tokio::test]
async fn while_nobody_follows_nobody_asks() {
    let server = Server::default();
    let store = server.open().await;
    let look = raw(&server).await;
    let listening = async || look.query(FOLLOWING, &[]).await.unwrap().len();
    assert_eq!(listening().await, 0);
    let through = store.follow();
    wait::until("it listens", async || (listening().await > 0).then_some(())).await;
    drop(through);
    wait::until("it is gone", async || (listening().await == 0).then_some(())).await;
}
