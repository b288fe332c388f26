use std::sync::Arc;

use calbridge_e2e::{
    postgres::{Durability, Postgres},
    redis_server::RedisServer,
};
use calbridge_proto::v1::SubmitOutcome::{Applied, Duplicate};
use jiff::Timestamp;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::{Keeps, Link, keeper::serve_on};
use crate::webhooks::{
    body::{Bodies, Mix, Traffic},
    limits::event,
};

/// Whole lives of bookings: created, moved to another one, ended.
const WEBHOOKS: u64 = 3_000;
const SENT_AT_ONCE: u64 = 100;

/// Sends all three times: what is kept the first time is known to Redis the second, and to the store the third.
async fn keep_all(keeps: Keeps) {
    let redis = RedisServer::start();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let keeper = tokio::spawn(serve_on(listener, keeps, redis.url()));
    let link = Arc::new(Link::open(address).await.unwrap());
    let bodies = Bodies::new(Timestamp::UNIX_EPOCH, Traffic { mix: Mix::Life, copies_per_thousand: 0 });
    for (expected, forgets) in [(Applied, false), (Duplicate, true), (Duplicate, false)] {
        for first in (0..WEBHOOKS).step_by(usize::try_from(SENT_AT_ONCE).unwrap()) {
            let one = |number| {
                let (mut body, link) = (Vec::new(), Arc::clone(&link));
                bodies.write(number, &mut body);
                async move { link.keep(event(body.into())).await }
            };
            let outcomes = futures_util::future::join_all((first..first + SENT_AT_ONCE).map(one)).await;
            assert!(outcomes.iter().all(|outcome| *outcome == Some(expected)), "{outcomes:?}");
        }
        if forgets {
            redis.flush();
        }
    }
    keeper.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_each_webhook_once() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("plain.db");
    keep_all(Keeps::Sqlite(file.clone())).await;
    let database = Connection::open(file).unwrap();
    let counts = database.query_row(COUNTS, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)));
    assert_eq!(counts.unwrap(), (3_000, 3_000, 3_000, 2_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_each_webhook_once() {
    let server = Postgres::start(Durability::Unsynced);
    keep_all(Keeps::Postgres(server.url())).await;
    assert_eq!(server.query(COUNTS).trim(), "3000|3000|3000|2000");
}

const COUNTS: &str = "SELECT (SELECT count(*) FROM deliveries), (SELECT count(*) FROM bodies),
    (SELECT count(*) FROM transitions), (SELECT count(*) FROM bookings)";
