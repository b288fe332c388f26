//! Databases that are a copy of another one, only follow one, or are not the one that is meant.

use std::time::Duration;

use calbridge_e2e::wait;
use calbridge_proto::v1::SubmitOutcome::*;
use calbridge_service::store::{
    HEAD_STEP, Position, Store,
    postgres::{OpenError, Options, PostgresStore},
};

use crate::{postgres::Server, support::*};

const STEP: i64 = HEAD_STEP.cast_signed();
const AT_ONCE: Options = Options { readers: 2, patience: Duration::ZERO };

async fn head_of(url: &str) -> i64 {
    let store = PostgresStore::open(url, AT_ONCE).await.unwrap();
    store.head().await.unwrap().0
}

async fn refusal(url: &str) -> String {
    PostgresStore::open(url, AT_ONCE).await.map(drop).unwrap_err().to_string()
}

#[tokio::test]
async fn a_copy_of_a_database_hands_out_positions_of_its_own() {
    let server = Server::default();
    let store = server.open().await;
    commit(&store, &[created("u1", 1), created("u2", 2)]).await;
    let before = store.head().await.unwrap().0;
    store.close().await;
    let _ = server
        .0
        .query_in("template1", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres'");
    let _ = server.0.query_in("template1", "CREATE DATABASE copy TEMPLATE postgres");
    assert_eq!(head_of(&server.0.url()).await, before, "the first goes on where it was");
    let copy = server.0.url_of("copy");
    for _ in 0..2 {
        assert_eq!(head_of(&copy).await, before + STEP, "the copy goes on behind a step, once");
    }
}

#[tokio::test]
async fn a_standby_that_was_promoted_hands_out_positions_of_its_own() {
    let mut server = Server::default();
    let store = server.open().await;
    commit(&store, &[created("u1", 1)]).await;
    let before = store.head().await.unwrap();
    // What follows a server that is gone is a standby like any other.
    server.0.stop_immediately();
    let _ = server.0.keep_file("standby.signal", "");
    server.0.restart();
    assert!(refusal(&server.0.url()).await.contains("it is a standby"));
    let following = store.booking(TENANT, "u1", false).await.unwrap_err().to_string();
    assert!(following.contains("it is a standby"), "what it shows may be old: {following}");

    assert_eq!(server.0.query("SELECT pg_promote()"), "t");
    let committed = async || store.commit(batch(&[created("u2", 2)])).await.ok();
    let committed = wait::until("it takes writes", committed).await;
    assert_eq!(outcomes(&committed), [Applied]);
    assert!(store.head().await.unwrap() > Position(before.0 + STEP), "{before:?}");
    assert_eq!(store.follow().borrow().0, store.head().await.unwrap().0, "and who follows goes on there");
}

#[tokio::test]
async fn a_database_that_can_t_keep_every_text_is_refused() {
    let server = Server::default();
    let _ = server.0.query("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
    let refused = refusal(&server.0.url_of("latin")).await;
    assert!(refused.contains("LATIN1") && refused.contains("UTF8"), "{refused}");
}

#[tokio::test]
async fn a_schema_that_hides_the_store_is_named() {
    let server = Server::default();
    drop(server.open().await);
    let _ = server.0.query("CREATE SCHEMA postgres");
    let refused = PostgresStore::open(&server.0.url(), AT_ONCE).await.map(drop).unwrap_err();
    let OpenError::Elsewhere { here, there, .. } = &refused else { panic!("{refused}") };
    assert_eq!((here.as_str(), there.as_str()), ("postgres", "public"));
    let url = format!("{}?options=-csearch_path%3Dpublic", server.0.url());
    head_of(&url).await;
}

#[tokio::test]
async fn what_a_server_says_is_told_though_another_is_not_there() {
    let server = Server::default();
    // Nobody listens at port 1.
    let both = server.0.address().to_string() + ",127.0.0.1:1";
    let url = server.0.url_of("nowhere").replacen(&server.0.address().to_string(), &both, 1);
    let refused = refusal(&url).await;
    assert!(refused.contains("\"nowhere\" does not exist") && refused.contains(&both), "{refused}");
}
