use std::sync::atomic::{AtomicI64, Ordering};

use calbridge_calcom::golden::{Golden, body};
use calbridge_proto::v1::{Delivery, Trigger};
use sha2::{Digest, Sha256};

use super::*;
use crate::{
    clock::new_id,
    retype::retype,
    store::{
        Batch, Consumer, ConsumerChoices, ConsumerCommand, ConsumerOutcome, Micros, NewDelivery, PURGE_ROWS_MAX,
        Retention, Said, TurnRequest, Watermarks,
        memory::{Memory, MemoryStore},
        sqlite::{self, SqliteStore},
    },
};

const NOW: Micros = 1_767_225_600_000_000;
const DAY: Micros = 86_400_000_000;

const fn days(days: u64) -> Duration {
    Duration::from_hours(24 * days)
}

fn created(tenant: &str, uid: &str, now: Micros) -> NewDelivery {
    let time = jiff::Timestamp::from_second(1_760_000_000).unwrap();
    let raw_body = body(Trigger::BookingCreated, &Golden::new(uid, 7, time, time));
    let kept = Delivery {
        tenant: tenant.to_owned(),
        delivery_id: new_id(now).to_string(),
        body_sha256: Sha256::digest(&raw_body).to_vec(),
        raw_body,
        ..Delivery::default()
    };
    retype(kept, String::new()).unwrap()
}

/// Takes in a booking of each tenant so many days ago.
async fn commit(store: &Arc<MemoryStore>, days: Micros, tenants: &[&str]) {
    take_in(store, days, tenants.iter().map(|tenant| (*tenant, format!("u{days}")))).await;
}

/// Takes in these bookings so many days ago.
async fn take_in<S: Store>(store: &Arc<S>, days: Micros, bookings: impl Iterator<Item = (&str, String)>) {
    let now = NOW - days * DAY;
    let deliveries = bookings.map(|(tenant, uid)| created(tenant, &uid, now)).collect();
    store.commit(Batch { deliveries, now, ..Batch::default() }).await.unwrap();
}

/// All keep as the default says, but `long` its log for 500 days and `ever` for ever.
fn purging<S>(store: &Arc<S>, clock: Clock) -> Purging<S> {
    let own = |transitions| Retention { transitions, ..Retention::DEFAULT };
    let tenants = [("long".to_owned(), own(Some(days(500)))), ("ever".to_owned(), own(None))].into();
    let policies = Arc::new(RetentionPolicies { otherwise: Retention::DEFAULT, tenants });
    Purging { store: Arc::clone(store), clock, policies, metrics: Arc::new(Metrics::new()) }
}

/// The one consumer of `a`, which reads transitions alone, has read so far.
async fn read_to<S: Store>(store: &Arc<S>, cursor: Position) {
    let key = (Arc::from("a"), "c".to_owned());
    let choices = ConsumerChoices {
        filter_text: String::new(),
        filter: Arc::default(),
        recorded: false,
        max_in_flight: 1,
        ack_wait: days(1),
        backoff: Vec::new(),
        max_deliveries: 1,
        blocks: false,
    };
    let (paused, scanned, lease, etag) = (false, cursor, 0, 1);
    let (create_time, update_time) = (NOW, NOW);
    let consumer =
        Consumer { key: key.clone(), choices, paused, cursor, scanned, lease, etag, create_time, update_time };
    store.command_consumer(key.clone(), ConsumerCommand::Create(Box::new(consumer))).await.unwrap();
    store.command_consumer(key, ConsumerCommand::Seek(cursor, NOW)).await.unwrap();
}

async fn run_once<S: Store>(of: Purging<S>) -> [u64; 3] {
    run(of, &mut Walks::new()).await
}

/// What a run takes away.
async fn run<S: Store>(of: Purging<S>, walks: &mut Walks) -> [u64; 3] {
    let stopping = CancellationToken::new();
    let mut run = Run::begin(&of, &stopping, (of.clock)());
    run.purge_all(walks).await.unwrap();
    [run.gone.bodies, run.gone.deliveries, run.gone.transitions]
}

#[tokio::test(start_paused = true)]
async fn a_run_purges_every_tenant_and_each_walk_goes_on_where_it_was() {
    let store = Arc::new(Memory::default().open());
    commit(&store, 100, &["a", "ever", "long"]).await;
    commit(&store, 95, &["b"]).await;
    let old = store.head().await.unwrap();
    commit(&store, 10, &["a"]).await;
    let mut walks = Walks::new();
    assert_eq!(run(purging(&store, || NOW), &mut walks).await, [4, 4, 2]);
    assert_eq!(walks, Walks::from([(days(90), old), (days(500), Position::default())]));
    assert_eq!(store.watermarks("b").await.unwrap(), Watermarks { bodies: old, deliveries: old, transitions: old });
    assert_eq!(store.watermarks("ever").await.unwrap().transitions, Position::default());

    assert_eq!(run(purging(&store, || NOW), &mut walks).await, [0; 3]);
    assert_eq!(run(purging(&store, || NOW + 80 * DAY), &mut walks).await, [1, 1, 1]);
    assert_eq!(walks[&days(90)], store.head().await.unwrap());
    // One that has just started knows no more than the store, and takes nothing twice.
    assert_eq!(run(purging(&store, || NOW + 401 * DAY), &mut Walks::new()).await, [0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_walk_begins_again_before_what_waits_for_its_reader() {
    let store = Arc::new(Memory::default().open());
    for day in [100, 99, 98] {
        commit(&store, day, &["a", "b"]).await;
    }
    let (of, stopping) = (purging(&store, || NOW), CancellationToken::new());
    let walk = async |floor: i64, start: &mut Position| {
        read_to(&store, Position(floor)).await;
        let mut run = Run::begin(&of, &stopping, (of.clock)());
        run.walk(days(90), start).await.unwrap();
        run.gone.transitions
    };
    let mut start = Position::default();
    let transitions = |position| Watermarks { transitions: position, ..Watermarks::default() };
    assert_eq!((walk(0, &mut start).await, start), (3, Position::default()), "those of b, and none of a");
    let head = store.head().await.unwrap();
    assert_eq!(store.watermarks("b").await.unwrap(), transitions(head));
    assert_eq!((walk(head.0, &mut start).await, start), (3, Position(head.0 - 1)), "b's last is gone already");
    assert_eq!(walk(head.0, &mut start).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_comes_while_a_run_lasts_keeps_what_is_there_still() {
    let store = Arc::new(Memory::default().open());
    take_in(&store, 100, (0..PURGE_ROWS_MAX * 2).map(|number| ("a", format!("u{number}")))).await;
    let running = tokio::spawn(run_once(purging(&store, || NOW)));
    while store.watermarks("a").await.unwrap().transitions == Position::default() {
        sleep(Duration::from_millis(1)).await;
    }
    read_to(&store, Position::default()).await;
    let left = store.watermarks("a").await.unwrap();
    running.await.unwrap();
    assert!(left.transitions < store.head().await.unwrap());
    assert_eq!(store.watermarks("a").await.unwrap().transitions, left.transitions);
}

#[tokio::test]
async fn a_run_takes_away_what_a_consumer_that_is_gone_has_left() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(&folder.path().join("calbridge.db"), sqlite::Options::default()).unwrap());
    take_in(&store, 10, (0..PURGE_ROWS_MAX + 9).map(|number| ("a", format!("u{number}")))).await;
    read_to(&store, Position::default()).await;
    let command = async |command| store.command_consumer((Arc::from("a"), "c".to_owned()), command).await.unwrap();
    for _ in 0..PURGE_ROWS_MAX + 9 {
        let request =
            |said, room| ConsumerCommand::Turn(TurnRequest { said, room, now: NOW, ..TurnRequest::default() });
        let ConsumerOutcome::Turned(turned) = command(request(Vec::new(), 1)).await else { break };
        let said = turned.out.iter().map(|out| (out.delivery, Said::Park(String::new()))).collect();
        command(request(said, 0)).await;
    }
    assert!(matches!(command(ConsumerCommand::Delete(None)).await, ConsumerOutcome::Done(_)));
    run_once(purging(&store, || NOW)).await;
    assert_eq!(store.purge_letters().await.unwrap(), Purged::default());
}

/// A clock that somebody sets.
static WALL: AtomicI64 = AtomicI64::new(NOW);

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_ahead_takes_nothing_away_until_it_has_stood_for_a_day() {
    const YEAR: Micros = 365 * DAY;
    let store = Arc::new(Memory::default().open());
    commit(&store, 10, &["a"]).await;
    let stopping = CancellationToken::new();
    let running = tokio::spawn(purging(&store, || WALL.load(Ordering::Relaxed)).run(stopping.clone()));
    let gone = async |hours: u32| {
        time::sleep(PURGE_INTERVAL * hours).await;
        store.watermarks("a").await.unwrap() != Watermarks::default()
    };
    assert!(!gone(2).await);
    WALL.store(NOW + YEAR, Ordering::Relaxed);
    assert!(!gone(20).await, "it may be wrong");
    WALL.store(NOW, Ordering::Relaxed);
    assert!(!gone(2).await, "it was");
    WALL.store(NOW + YEAR, Ordering::Relaxed);
    assert!(!gone(20).await);
    assert!(gone(6).await, "it was not");
    stopping.cancel();
    running.await.unwrap();
}
