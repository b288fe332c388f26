//! Consumers of several services on one `PostgreSQL` server, and what can go wrong with it meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use calbridge_e2e::{
    postgres::{Durability, Postgres},
    wait,
};
use calbridge_proto::v1::Trigger;
use calbridge_service::store::{
    CONSUMERS_MAX, ConsumerChoices, ConsumerCommand, ConsumerOutcome, DeliveryOf, Outgoing, Position, Said, Store,
    StoreError, TurnRequest, postgres::PostgresStore,
};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    consume::{choices, command, create, key, new, say, turn},
    postgres::{Server, raw, somebody_waits},
    support::*,
};

const SECOND: i64 = 1_000_000;

/// What the clients of a consumer have seen together.
#[derive(Default)]
struct Seen {
    /// Bookings that some client works on.
    held: BTreeSet<String>,
    /// By lease, which entry went out and of which booking.
    out: BTreeMap<i64, (Position, String)>,
    settled: Vec<Position>,
}

/// Takes what it gets, gives some of it back once, and settles the rest, until all is settled.
async fn work(store: Arc<PostgresStore>, seen: Arc<Mutex<Seen>>, all: usize) {
    let mut said: Vec<(DeliveryOf, Said)> = Vec::new();
    loop {
        let out = turn(&*store, "c", std::mem::take(&mut said), 5, NOW).await.out;
        let mut seen = seen.lock().unwrap();
        for Outgoing { delivery, deliveries, entry, .. } in &out {
            assert!(seen.held.insert(entry.uid().to_owned()), "one at a time of {}", entry.uid());
            seen.out.insert(delivery.lease, (delivery.position, entry.uid().to_owned()));
            let is_given_back = delivery.position.0 % 7 == 0 && *deliveries == 1;
            said.push((*delivery, if is_given_back { Said::Release } else { Said::Ack }));
        }
        // From here on the next one may have it.
        for Outgoing { entry, .. } in &out {
            seen.held.remove(entry.uid());
        }
        let acked = said.iter().filter(|(_, said)| *said == Said::Ack).map(|(delivery, _)| delivery.position);
        seen.settled.extend(acked);
        if said.is_empty() && seen.settled.len() >= all {
            return;
        }
    }
}

#[tokio::test]
async fn clients_of_several_services_get_each_entry_once_and_in_order() {
    const BOOKINGS: i64 = 12;
    const TOLD: i64 = 10;
    let server = Server::default();
    let replicas = [Arc::new(server.open().await), Arc::new(server.open().await)];
    create(&*replicas[0], "c", ConsumerChoices { max_in_flight: 8, ..choices() }).await;
    for n in 0..TOLD {
        let told = |uid: i64| {
            let title = format!("told {n} times");
            booking(Trigger::BookingCreated, &format!("u{uid}"), n, |payload| payload.title = title)
        };
        commit(&*replicas[0], &(0..BOOKINGS).map(told).collect::<Vec<_>>()).await;
    }
    let all = usize::try_from(BOOKINGS * TOLD).unwrap();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let mut clients = JoinSet::new();
    for replica in replicas.iter().chain(&replicas) {
        clients.spawn(work(Arc::clone(replica), Arc::clone(&seen), all));
    }
    wait::within("all is settled", clients.join_all()).await;

    let seen = std::mem::take(&mut *seen.lock().unwrap());
    let settled: BTreeSet<_> = seen.settled.iter().collect();
    assert_eq!((settled.len(), seen.settled.len()), (all, all), "each was settled once");
    let mut last: BTreeMap<&str, Position> = BTreeMap::new();
    for (position, uid) in seen.out.values() {
        let before = last.insert(uid, *position).unwrap_or_default();
        assert!(before <= *position, "{uid}: {position:?} behind {before:?}");
    }
    let done = replicas[1].consumer(key("c")).await.unwrap().unwrap();
    assert_eq!((done.out, done.waiting), (0, 0));
    assert_eq!(done.consumer.cursor, replicas[1].head().await.unwrap());
}

#[tokio::test]
async fn a_turn_that_waits_for_another_gives_whole_leases() {
    let server = Server::default();
    let store = Arc::new(server.open().await);
    create(&*store, "c", choices()).await;
    commit(&*store, &[created("u1", 1)]).await;
    let mut client = raw(&server).await;
    let look = raw(&server).await;
    let other = client.transaction().await.unwrap();
    other.query_one("SELECT cursor FROM consumers FOR UPDATE", &[]).await.unwrap();
    let asked = Instant::now();
    let request = TurnRequest { said: Vec::new(), room: 1, now: NOW, asked: Some(asked), keeps_scan: false };
    let taking = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.command_consumer(key("c"), ConsumerCommand::Turn(request)).await }
    });
    somebody_waits(&look).await;
    let waited = i64::try_from(asked.elapsed().as_micros()).unwrap();
    other.commit().await.unwrap();
    let Ok(ConsumerOutcome::Turned(answer)) = taking.await.unwrap() else { panic!("it is there") };
    let lease = answer.out[0].expires - i64::try_from(choices().ack_wait.as_micros()).unwrap();
    assert!(lease >= NOW + waited, "it began {} µs before the turn did", NOW + waited - lease);
}

#[tokio::test]
async fn two_that_make_a_consumer_together_keep_to_the_bound() {
    const ANOTHER: &str = "INSERT INTO consumers SELECT (jsonb_populate_record(c,
        jsonb_build_object('name', 'at-once'))).* FROM consumers c WHERE name = 'c-0'";
    let server = Server::default();
    let store = Arc::new(server.open().await);
    for number in 0..CONSUMERS_MAX - 1 {
        create(&*store, &format!("c-{number}"), choices()).await;
    }
    let mut client = raw(&server).await;
    let look = raw(&server).await;
    // As another service does it.
    let other = client.transaction().await.unwrap();
    other.query_one("SELECT position FROM head FOR UPDATE", &[]).await.unwrap();
    assert_eq!(other.execute(ANOTHER, &[]).await.unwrap(), 1);
    let making = tokio::spawn({
        let store = Arc::clone(&store);
        let consumer = new("one-more", choices());
        async move { store.command_consumer(key("one-more"), ConsumerCommand::Create(Box::new(consumer))).await }
    });
    somebody_waits(&look).await;
    other.commit().await.unwrap();
    assert_eq!(making.await.unwrap().unwrap(), ConsumerOutcome::Full);
}

#[tokio::test]
async fn a_connection_that_is_cut_in_a_turn_undoes_it() {
    let server = Server::default();
    let store = Arc::new(server.open().await);
    create(&*store, "c", choices()).await;
    commit(&*store, &[created("u1", 1), created("u2", 2)]).await;
    let first = turn(&*store, "c", Vec::new(), 1, NOW).await.out;
    let mut client = raw(&server).await;
    let look = raw(&server).await;
    let other = client.transaction().await.unwrap();
    other.query_one("SELECT cursor FROM consumers FOR UPDATE", &[]).await.unwrap();
    let asked = ConsumerCommand::Turn(TurnRequest {
        said: say(&first, &Said::Ack),
        room: 1,
        now: NOW,
        asked: None,
        keeps_scan: false,
    });
    let taking = tokio::spawn({
        let (store, asked) = (Arc::clone(&store), asked.clone());
        async move { store.command_consumer(key("c"), asked).await }
    });
    somebody_waits(&look).await;
    server.0.cut_connections();
    let failed = taking.await.unwrap();
    assert!(matches!(failed, Err(StoreError::Unavailable { .. })), "{failed:?}");
    let ConsumerOutcome::Turned(again) = command(&*store, "c", asked).await else { panic!("it is there") };
    assert_eq!((again.out[0].entry.uid(), again.lost.len(), again.cursor), ("u2", 0, first[0].delivery.position));
}

#[tokio::test]
async fn a_killed_server_loses_nothing_of_what_was_handed_out() {
    let mut server = Server(Postgres::start(Durability::Synced));
    let store = server.open().await;
    create(&store, "c", choices()).await;
    commit(&store, &(0..20).map(|n| created(&format!("u{n:02}"), n)).collect::<Vec<_>>()).await;
    let (mut seen, mut now, mut had) = (BTreeSet::new(), NOW, Vec::new());
    for stop in [Postgres::stop_immediately, Postgres::kill] {
        had = turn(&store, "c", say(&had, &Said::Ack), 5, now).await.out;
        seen.extend(had.iter().map(|out| out.entry.uid().to_owned()));
        stop(&mut server.0);
        let asked =
            ConsumerCommand::Turn(TurnRequest { said: Vec::new(), room: 5, now, asked: None, keeps_scan: false });
        assert!(store.command_consumer(key("c"), asked).await.is_err());
        server.0.restart();
        now += 31 * SECOND;
    }
    // Whatever the server had forgotten of it: what nobody settled comes again.
    let mut said = Vec::new();
    loop {
        let answer = turn(&store, "c", said, 100, now).await;
        if answer.out.is_empty() {
            break;
        }
        seen.extend(answer.out.iter().map(|out| out.entry.uid().to_owned()));
        said = say(&answer.out, &Said::Ack);
    }
    assert_eq!(seen.len(), 20);
    let done = store.consumer(key("c")).await.unwrap().unwrap();
    assert_eq!((done.out, done.waiting, done.consumer.cursor), (0, 0, store.head().await.unwrap()));
}

#[tokio::test]
async fn rounds_and_turns_do_not_wait_for_each_other() {
    let server = Server::default();
    let store = server.open().await;
    create(&store, "c", choices()).await;
    commit(&store, &[created("u1", 1)]).await;
    let mut client = raw(&server).await;
    let round = client.transaction().await.unwrap();
    round.query_one("SELECT position FROM head FOR UPDATE", &[]).await.unwrap();
    let out = turn(&store, "c", Vec::new(), 10, NOW).await.out;
    assert_eq!(out.len(), 1);
    round.rollback().await.unwrap();
    let other = client.transaction().await.unwrap();
    other.query_one("SELECT cursor FROM consumers FOR UPDATE", &[]).await.unwrap();
    commit(&store, &[created("u2", 2)]).await;
    assert_eq!(store.consumers(Some(TENANT.to_owned()), None, 10).await.unwrap().len(), 1, "nor do readers");
    other.rollback().await.unwrap();
    assert_eq!(turn(&store, "c", say(&out, &Said::Ack), 10, NOW).await.out.len(), 1);
}

#[tokio::test]
async fn turns_do_not_wait_for_the_disk_and_other_commands_do() {
    let server = Server::default();
    let _ = server.0.query("ALTER DATABASE postgres SET synchronous_commit = off");
    let store = server.open().await;
    let _ = server.0.query(
        "CREATE TABLE told (what TEXT);
        CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO told VALUES (TG_OP || ' ' || current_setting('synchronous_commit'));
            RETURN NULL; END $$;
        CREATE TRIGGER told AFTER INSERT OR UPDATE OR DELETE ON consumers FOR EACH ROW EXECUTE FUNCTION told()",
    );
    create(&store, "c", choices()).await;
    commit(&store, &[created("u1", 1)]).await;
    assert_eq!(turn(&store, "c", Vec::new(), 10, NOW).await.out.len(), 1);
    let _ = command(&store, "c", ConsumerCommand::Pause(true, NOW)).await;
    let _ = command(&store, "c", ConsumerCommand::Delete(None)).await;
    let told = server.0.query("SELECT what FROM told");
    assert_eq!(told.lines().collect::<Vec<_>>(), ["INSERT on", "UPDATE off", "UPDATE on", "DELETE on"]);
}

#[tokio::test]
async fn a_reason_that_a_server_cannot_hold_is_kept_without_its_nuls() {
    let server = Server::default();
    let store = server.open().await;
    create(&store, "c", choices()).await;
    commit(&store, &[created("u1", 1)]).await;
    let out = turn(&store, "c", Vec::new(), 10, NOW).await.out;
    let _ = turn(&store, "c", say(&out, &Said::Park("a\0b".to_owned())), 10, NOW).await;
    let letters = store.dead_letters(key("c"), Position(0), 10).await.unwrap();
    assert_eq!(letters[0].reason, "a\u{FFFD}b");
}
