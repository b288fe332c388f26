//! The laws on `PostgreSQL`, and what can go wrong with a server.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use calbridge_e2e::{
    postgres::{Durability, Postgres},
    wait,
};
use calbridge_proto::v1::{BookingStatus, PersonPayload, SubmitOutcome::*, Trigger};
use calbridge_service::store::{
    Position, Purgeable, Store, StoreError,
    postgres::{OpenError, Options, PostgresStore},
};
use tokio::task::JoinSet;

use crate::{
    laws,
    retention::{commit_aged, purge, purge_log},
    support::*,
};

/// A server of its own, gone after the test.
pub(crate) struct Server(pub(crate) Postgres);

impl Default for Server {
    fn default() -> Self {
        Self(Postgres::start(Durability::Unsynced))
    }
}

impl Backend for Server {
    type Store = PostgresStore;

    async fn open(&self) -> PostgresStore {
        PostgresStore::open(&self.0.url(), Options::default()).await.unwrap()
    }

    async fn states(&self) -> BTreeMap<String, Vec<(String, Vec<u8>)>> {
        let told = self.0.query("SELECT tenant, uid, encode(state, 'hex') FROM bookings ORDER BY tenant, uid");
        let mut states: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for line in told.lines() {
            let [tenant, uid, state] = line.split('|').collect::<Vec<_>>().try_into().unwrap();
            states.entry(tenant.to_owned()).or_default().push((uid.to_owned(), hex::decode(state).unwrap()));
        }
        states
    }
}

laws!(Server);

/// A connection behind the store's back.
pub(crate) async fn raw(server: &Server) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(&server.0.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Waits until some connections of the store wait for a lock.
pub(crate) async fn somebody_waits(client: &tokio_postgres::Client) {
    const WAITING: &str = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    wait::until("a writer waits", async || client.query_opt(WAITING, &[]).await.unwrap()).await;
}

/// What a reader that follows positions sees behind its cursor.
async fn seen(store: &PostgresStore, after: i64) -> Vec<i64> {
    let page = store.journal(None, Position(after), 100).await.unwrap();
    page.iter().map(|(position, _)| position.0).collect()
}

#[tokio::test]
async fn a_position_is_seen_only_when_every_one_before_it_is() {
    let server = Server::default();
    let (store, other) = (Arc::new(server.open().await), server.open().await);
    commit(&other, &[created("u0", 1)]).await;

    // Another replica, in the middle of its round: it has taken a position and is slow to commit.
    let mut slow = raw(&server).await;
    let look = raw(&server).await;
    let round = slow.transaction().await.unwrap();
    let head: i64 = round.query_one("SELECT position FROM head FOR UPDATE", &[]).await.unwrap().get(0);
    assert_eq!(head, 1);
    round
        .batch_execute(
            "CREATE TEMP TABLE d ON COMMIT DROP AS SELECT * FROM deliveries;
            UPDATE d SET position = 2, delivery_id = gen_random_uuid(), key_time = 9;
            INSERT INTO deliveries SELECT * FROM d;
            INSERT INTO bodies SELECT 2, encoding, body FROM bodies;
            UPDATE head SET position = 2",
        )
        .await
        .unwrap();

    let quick = tokio::spawn({
        let store = Arc::clone(&store);
        async move { commit(&*store, &[created("u1", 1)]).await }
    });
    somebody_waits(&look).await;
    assert_eq!(seen(&store, 1).await, [] as [i64; 0], "nothing overtakes the slow one");
    assert_eq!(store.head().await.unwrap(), Position(1));
    round.commit().await.unwrap();
    assert_eq!(quick.await.unwrap()[0].first.position, Position(3));
    assert_eq!(seen(&store, 1).await, [2, 3]);
}

#[tokio::test]
async fn replicas_that_write_at_once_agree_and_leave_no_gap() {
    const ROUNDS: i64 = 30;
    let server = Server::default();
    let replicas = [Arc::new(server.open().await), Arc::new(server.open().await)];
    let mut writers = JoinSet::new();
    for replica in &replicas {
        // Both hear all of it, in rounds of other sizes and from other ends.
        for (backwards, size) in [(false, 3), (true, 2)] {
            let replica = Arc::clone(replica);
            writers.spawn(async move {
                let mut history: Vec<_> = (0..ROUNDS)
                    .flat_map(|n| [created(&format!("u{}", n % 7), n), cancelled(&format!("u{}", n % 5), 100 + n)])
                    .collect();
                if backwards {
                    history.reverse();
                }
                let mut told = Vec::new();
                for round in history.chunks(size) {
                    told.extend(commit(&*replica, round).await);
                }
                told
            });
        }
    }
    let follower = tokio::spawn({
        let replica = Arc::clone(&replicas[0]);
        async move {
            let (mut cursor, mut followed) = (0, Vec::new());
            let all = usize::try_from(2 * ROUNDS).unwrap();
            wait::within("the follower sees all", async {
                while followed.len() < all {
                    let page = seen(&replica, cursor).await;
                    cursor = page.last().copied().unwrap_or(cursor);
                    followed.extend(page);
                }
            })
            .await;
            followed
        }
    });
    let told = writers.join_all().await;
    let new = told.iter().flatten().filter(|told| told.outcome != Duplicate).count();
    assert_eq!(new, usize::try_from(2 * ROUNDS).unwrap(), "each delivery was new to one of the four");
    let mut written: Vec<i64> =
        told.iter().flatten().filter(|told| told.outcome != Duplicate).map(|told| told.first.position.0).collect();
    written.sort_unstable();
    assert_eq!(follower.await.unwrap(), written, "each was followed once, in order");
    for uid in (0..7).map(|n| format!("u{n}")) {
        let [one, other] = [read(&*replicas[0], &uid).await, read(&*replicas[1], &uid).await];
        assert_eq!(one, other);
    }
}

#[tokio::test]
async fn replicas_that_start_at_once_make_one_schema() {
    let server = Server::default();
    let url = server.0.url();
    let opened = (0..4).map(|_| {
        let url = url.clone();
        tokio::spawn(async move { PostgresStore::open(&url, Options::default()).await })
    });
    for store in opened.collect::<Vec<_>>() {
        store.await.unwrap().unwrap().probe().await.unwrap();
    }
    assert_eq!(server.0.query("SELECT count(*), max(version) FROM calbridge_schema"), "1|6");
    assert_eq!(server.0.query("SELECT count FROM probe"), "4");
}

#[tokio::test]
async fn what_cannot_be_opened_says_why_and_repeats_no_password() {
    let impatient = Options { patience: Duration::ZERO, ..Options::default() };
    let why = async |url: &str| PostgresStore::open(url, impatient).await.unwrap_err();
    let server = Server::default();
    drop(server.open().await);
    let _ = server.0.query("UPDATE calbridge_schema SET version = 99");
    let newer = why(&server.0.url()).await;
    assert!(matches!(newer, OpenError::Newer { found: 99, .. }), "{newer}");
    assert!(newer.to_string().contains("newer release"), "{newer}");

    let _ = server.0.query("CREATE DATABASE shared");
    let mut shared = server.0.url_of("shared");
    let (client, connection) = tokio_postgres::connect(&shared, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("CREATE TABLE bookings (id INTEGER)").await.unwrap();
    assert!(matches!(why(&shared).await, OpenError::Foreign { .. }));

    shared = server.0.url_of("absent").replace("postgres@", "postgres:hunter2@");
    let absent = why(&shared).await.to_string();
    assert!(absent.contains("absent") && absent.contains("--database-url"), "{absent}");
    let nobody = why("postgres://u:hunter2@127.0.0.1:1/d").await.to_string();
    assert!(nobody.contains("127.0.0.1:1"), "{nobody}");
    assert!(![absent, nobody].concat().contains("hunter2"));
}

#[tokio::test]
async fn a_server_that_starts_later_is_waited_for() {
    let mut server = Server::default();
    server.0.kill();
    let url = server.0.url();
    let opening = tokio::spawn(async move { PostgresStore::open(&url, Options::default()).await });
    server.0.restart();
    wait::within("the store opens", opening).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_that_is_killed_undoes_the_round_and_is_found_again() {
    let mut server = Server(Postgres::start(Durability::Synced));
    let store = server.open().await;
    commit(&store, &[created("u1", 1)]).await;
    for stop in [Postgres::stop_immediately, Postgres::kill] {
        stop(&mut server.0);
        let failed = store.commit(batch(&[cancelled("u1", 2)])).await;
        assert!(matches!(failed, Err(StoreError::Unavailable { .. })), "{failed:?}");
        assert!(store.probe().await.is_err() && store.booking(TENANT, "u1", false).await.is_err());
        server.0.restart();
        assert_eq!(read(&store, "u1").await.unwrap().status(), BookingStatus::Scheduled);
        store.probe().await.unwrap();
    }
    assert_eq!(outcomes(&commit(&store, &[created("u1", 1), cancelled("u1", 2)]).await), [Duplicate, Applied]);
}

#[tokio::test]
async fn a_connection_that_is_cut_in_a_round_undoes_it() {
    let server = Server::default();
    let store = Arc::new(server.open().await);
    commit(&*store, &[created("u1", 1)]).await;
    let mut client = raw(&server).await;
    let look = raw(&server).await;
    let round = client.transaction().await.unwrap();
    round.query_one("SELECT position FROM head FOR UPDATE", &[]).await.unwrap();
    let writing = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.commit(batch(&[cancelled("u1", 2)])).await }
    });
    somebody_waits(&look).await;
    server.0.cut_connections();
    let failed = writing.await.unwrap();
    assert!(matches!(failed, Err(StoreError::Unavailable { .. })), "{failed:?}");
    assert_eq!(outcomes(&commit(&*store, &[cancelled("u1", 2)]).await), [Applied]);
}

#[tokio::test]
async fn whoever_holds_a_lock_for_ever_keeps_nobody_waiting_as_long() {
    let server = Server::default();
    let store = server.open().await;
    commit(&store, &[created("u1", 1)]).await;
    let mut client = raw(&server).await;
    for held in ["SELECT 1 FROM head FOR UPDATE", "LOCK TABLE bookings IN ACCESS EXCLUSIVE MODE"] {
        let round = client.transaction().await.unwrap();
        round.batch_execute(held).await.unwrap();
        let failed = wait::within("the round is given up", store.commit(batch(&[cancelled("u1", 2)]))).await;
        let Err(StoreError::Unavailable { code: Some(code), .. }) = failed else { panic!("{held}: {failed:?}") };
        assert_eq!(code, "55P03", "lock_not_available");
        round.rollback().await.unwrap();
        store.probe().await.unwrap();
    }
    assert_eq!(outcomes(&commit(&store, &[cancelled("u1", 2)]).await), [Applied]);
}

#[tokio::test]
async fn a_replica_that_stops_in_its_round_lets_go_of_the_head() {
    let server = Server::default();
    let store = server.open().await;
    // As a round's connection is told, and then nothing comes any more.
    let stopped = raw(&server).await;
    stopped.batch_execute("SET idle_in_transaction_session_timeout = '200ms'; BEGIN").await.unwrap();
    stopped.query_one("SELECT position FROM head FOR UPDATE", &[]).await.unwrap();
    assert_eq!(outcomes(&commit(&store, &[created("u1", 1)]).await), [Applied]);
    assert!(stopped.batch_execute("COMMIT").await.is_err(), "its round is undone");
}

#[tokio::test]
async fn a_frozen_server_is_given_up_and_what_it_did_is_recognised() {
    let server = Server::default();
    let store = server.open().await;
    commit(&store, &[created("u1", 1)]).await;
    server.0.freeze();
    let failed = wait::within("the round is given up", store.commit(batch(&[cancelled("u1", 2)]))).await;
    assert!(matches!(failed, Err(StoreError::Unavailable { .. })), "{failed:?}");
    server.0.thaw();
    // Whether the server finished the round or not: told again it ends the same.
    let again = commit(&store, &[cancelled("u1", 2)]).await;
    assert!(matches!(again[0].outcome, Applied | Duplicate));
    assert_eq!(read(&store, "u1").await.unwrap().status(), BookingStatus::Cancelled);
    assert_eq!(deliveries(&store).await.len(), 2);
}

#[tokio::test]
async fn texts_that_a_server_cannot_hold_are_kept_without_their_nuls() {
    let server = Server::default();
    let store = server.open().await;
    let hostile = booking(Trigger::BookingCreated, "u1", 1, |payload| {
        payload.title = "a\0b".to_owned();
        payload.organizer = Some(PersonPayload { email: "A\0@x.example".to_owned(), ..Default::default() });
        payload.attendees = vec![PersonPayload { email: "b\0@x.example".to_owned(), ..Default::default() }];
        payload.metadata.insert("k\0".to_owned(), "v\0".to_owned());
        payload.reschedule_uid = "old\0".to_owned();
    });
    let nameless = booking(Trigger::BookingCreated, "u\0", 2, |_| {});
    assert_eq!(outcomes(&commit(&store, &[hostile, nameless]).await), [Applied, Recorded]);
    assert_eq!(read(&store, "u1").await.unwrap().title, "a\0b");
}

#[tokio::test]
async fn what_is_missing_and_was_not_purged_is_damage() {
    let server = Server::default();
    let store = server.open().await;
    let old = commit_aged(&store, 40, &[created("u1", 1)]).await[0].first.delivery_id;
    let young = commit_aged(&store, 1, &[created("u2", 1)]).await[0].first.delivery_id;
    purge(&store, Purgeable::Bodies, 30).await;
    let _ = server.0.query("DELETE FROM bodies");
    assert!(store.delivery(TENANT, old, true).await.unwrap().unwrap().raw_body_purged);
    let missing = store.delivery(TENANT, young, true).await;
    assert!(matches!(missing, Err(StoreError::Damaged { what: "body", .. })), "{missing:?}");
    assert!(store.journal(None, Position::default(), 10).await.is_err());
}

#[tokio::test]
async fn replicas_that_purge_at_once_take_each_row_once_and_leave_nothing() {
    let server = Server::default();
    let (one, other) = (server.open().await, server.open().await);
    let life = [rescheduled("u2", "u1", 2), recording("nowhere", 3), unparsed(b"?")];
    commit_aged(&one, 100, &life).await;
    commit_aged(&one, 99, &life).await;
    for n in 0..10 {
        let round: Vec<_> = (0..100).map(|m| created(&format!("v{}", 100 * n + m), 1)).collect();
        commit_aged(&one, 98, &round).await;
    }
    // One that finds the other about it leaves it alone, so neither has to take all.
    for what in Purgeable::ALL {
        let mut purged = 0;
        while purged < 1_003 {
            let (mine, its) = tokio::join!(purge(&one, what, 90), purge(&other, what, 90));
            purged += mine + its;
        }
        assert_eq!(purged, 1_003, "{what:?}");
    }
    let mut purged = 0;
    while purged < 1_002 {
        let (mine, its) = tokio::join!(purge_log(&one, 90), purge_log(&other, 90));
        purged += mine + its;
    }
    assert_eq!(purged, 1_002);
    let count = |table: &str| server.0.query(&format!("SELECT count(*) FROM {table}"));
    let tables = ["deliveries", "bodies", "duplicates", "mentions", "transitions", "bookings", "retention"];
    assert_eq!(tables.map(count), ["0", "0", "0", "0", "0", "1002", "2"]);
}

#[tokio::test]
async fn a_purge_passes_by_while_another_service_purges() {
    let server = Server::default();
    let store = server.open().await;
    commit_aged(&store, 100, &[created("u1", 1)]).await;
    let mut other = raw(&server).await;
    let about = other.transaction().await.unwrap();
    about.batch_execute("SELECT * FROM retention WHERE tenant = '' FOR UPDATE").await.unwrap();
    assert_eq!((purge(&store, Purgeable::Bodies, 30).await, purge_log(&store, 90).await), (0, 0));
    about.rollback().await.unwrap();
    assert_eq!((purge(&store, Purgeable::Bodies, 30).await, purge_log(&store, 90).await), (1, 1));
}

#[tokio::test]
async fn a_copy_that_meets_the_purge_of_its_delivery_is_noted_nowhere() {
    let server = Server::default();
    let store = Arc::new(server.open().await);
    let first = commit_aged(&*store, 100, &[created("u1", 1)]).await.remove(0).first;
    // A purge, in the middle of its chunk.
    let (mut slow, look) = (raw(&server).await, raw(&server).await);
    let chunk = slow.transaction().await.unwrap();
    chunk.batch_execute("DELETE FROM deliveries; DELETE FROM mentions").await.unwrap();
    let copy = tokio::spawn({
        let store = Arc::clone(&store);
        async move { commit(&*store, &[created("u1", 1)]).await }
    });
    somebody_waits(&look).await;
    chunk.commit().await.unwrap();
    let answered = copy.await.unwrap().remove(0);
    assert_eq!((answered.outcome, answered.first), (Duplicate, first));
    let left = server.0.query("SELECT (SELECT count(*) FROM mentions), (SELECT count(*) FROM duplicates)");
    assert_eq!(left, "0|0");
}
