//! Redis is a hint. Whatever becomes of it while webhooks flow, every answer is right, nothing is applied twice, and
//! nobody waits for it longer than once.

mod access;
mod room;
mod tls;

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use calbridge_calcom::golden::{self, Golden};
use calbridge_e2e::{
    redis_server::RedisServer,
    system::{Plan, SECRET, System, TENANT},
    v1::Trigger,
    wait,
    webhook::{Sender, created, sha256},
};
use jiff::Timestamp;
use tokio::task::JoinSet;

/// Webhooks of one measurement.
const MANY: usize = 200;
/// What Redis may add to all of them together: one timeout of 50 ms, and a busy machine.
const ADDED: Duration = Duration::from_secs(1);
/// Senders side by side, and what each sends at the least between two misfortunes.
const SENDERS: usize = 4;
const BETWEEN: usize = 40;

async fn start(redis: &RedisServer) -> System {
    let system = Plan::new().service("--redis-url", redis.url()).start().await;
    is_asked(&system).await;
    system
}

/// Waits until Redis is part of the way again: a duplicate is told by it and not by the store alone.
async fn is_asked(system: &System) {
    let ping = golden::body(Trigger::Ping, &Golden::new("ping", 1, Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH));
    let before = told_by_redis(system).await;
    wait::until("Redis tells a duplicate", || async {
        assert_eq!(system.sender().send(TENANT, SECRET, ping.clone()).await.status, 200);
        (told_by_redis(system).await > before).then_some(())
    })
    .await;
}

async fn told_by_redis(system: &System) -> f64 {
    system.service_metrics().await.sum("calbridge_dedupe_hits_total", &["calbridge_dedupe_layer=\"redis\""])
}

async fn is_away(system: &System) -> bool {
    let page = system.service_metrics().await;
    assert!(page.has("calbridge_dedupe_redis_away"));
    page.sum("calbridge_dedupe_redis_away", &[]) > 0.0
}

async fn disagreements(system: &System) -> f64 {
    system.service_metrics().await.sum("calbridge_dedupe_redis_disagreements_total", &[])
}

/// Sends these one after the other, each with this outcome, and says how long all took.
async fn all_are(sender: &Sender, uids: &[String], outcome: &str) -> Duration {
    let began = Instant::now();
    for uid in uids {
        assert_eq!(sender.send(TENANT, SECRET, created(uid)).await.outcome(), outcome, "{uid}");
    }
    began.elapsed()
}

fn uids(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{name}{number:03}")).collect()
}

/// Each booking appeared once, by one delivery.
async fn is_applied_once(system: &System, uids: &[String]) {
    let api = system.api();
    let mut deliveries = BTreeMap::<String, usize>::new();
    for delivery in api.all_deliveries(TENANT).await {
        *deliveries.entry(delivery.booking_uid).or_default() += 1;
    }
    for uid in uids {
        assert_eq!(deliveries.get(uid), Some(&1), "deliveries of {uid}");
        let changes = api.timeline(TENANT, uid).await.iter().filter(|entry| entry.transition.is_some()).count();
        assert_eq!(changes, 1, "transitions of {uid}");
    }
}

#[tokio::test]
async fn a_frozen_redis_costs_one_timeout_and_then_nothing() {
    let redis = RedisServer::start();
    let mut system = start(&redis).await;
    let sender = system.sender();
    let (usual, frozen) = (uids("usual", MANY), uids("frozen", MANY));
    let usually = all_are(&sender, &usual, "applied").await;
    redis.freeze();
    let meanwhile = all_are(&sender, &frozen, "applied").await;
    let again = all_are(&sender, &frozen, "duplicate").await;
    println!("{MANY} webhooks: usually {usually:?}, frozen {meanwhile:?}, their duplicates {again:?}");
    assert!(meanwhile < 2 * usually + ADDED, "usually {usually:?}, with a frozen Redis {meanwhile:?}");
    assert!(again < 2 * usually + ADDED, "usually {usually:?}, duplicates with a frozen Redis {again:?}");
    redis.thaw();
    is_asked(&system).await;
    all_are(&sender, &frozen, "duplicate").await;
    is_applied_once(&system, &[usual, frozen].concat()).await;
    system.stop().await;
}

#[tokio::test]
async fn a_killed_redis_costs_nothing_and_is_asked_again_when_it_is_back() {
    let mut redis = RedisServer::start();
    let mut system = start(&redis).await;
    let sender = system.sender();
    let (before, during, after) = (uids("before", MANY), uids("during", MANY), uids("after", 20));
    let usually = all_are(&sender, &before, "applied").await;
    // A busy machine may have had it left aside for a moment.
    wait::holds("Redis is there", async || !is_away(&system).await).await;
    redis.kill();
    let meanwhile = all_are(&sender, &during, "applied").await;
    assert!(is_away(&system).await);
    assert!(meanwhile < 2 * usually + ADDED, "usually {usually:?}, without Redis {meanwhile:?}");
    all_are(&sender, &before, "duplicate").await;
    redis.restart();
    is_asked(&system).await;
    all_are(&sender, &after, "applied").await;
    // It is empty: the store knows them.
    all_are(&sender, &during, "duplicate").await;
    is_applied_once(&system, &[before, during, after].concat()).await;
    system.stop().await;
}

#[tokio::test]
async fn a_redis_that_was_never_there_is_away_until_it_comes() {
    let mut redis = RedisServer::start();
    redis.kill();
    let mut system = Plan::new().service("--redis-url", redis.url()).start().await;
    assert!(is_away(&system).await);
    all_are(&system.sender(), &uids("alone", 5), "applied").await;
    redis.restart();
    wait::holds("Redis is there", async || !is_away(&system).await).await;
    system.stop().await;
}

#[tokio::test]
async fn a_flushed_redis_makes_nothing_new_again() {
    let redis = RedisServer::start();
    let mut system = start(&redis).await;
    let sender = system.sender();
    let known = uids("known", 30);
    all_are(&sender, &known, "applied").await;
    redis.flush();
    all_are(&sender, &known, "duplicate").await;
    // Nothing is committed of a duplicate that Redis did not know, but it learns of it.
    all_are(&sender, &known, "duplicate").await;
    is_applied_once(&system, &known).await;
    system.stop().await;
}

/// The key that Redis would have of a body, after the example of a key that it has of another one.
fn key_like(example: &str, of: &[u8], body: &[u8]) -> String {
    let digest = |body: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(&sha256(body)[..16]);
    assert!(example.contains(&digest(of)), "the key holds the beginning of the body's hash");
    example.replace(&digest(of), &digest(body))
}

#[tokio::test]
async fn a_lying_redis_is_not_believed() {
    let redis = RedisServer::start();
    let mut system = start(&redis).await;
    let sender = system.sender();
    let example = created("example");
    let before = redis.keys();
    assert_eq!(sender.send(TENANT, SECRET, example.clone()).await.outcome(), "applied");
    // It is told after the answer.
    let key =
        wait::until("Redis is told", || async { redis.keys().into_iter().find(|key| !before.contains(key)) }).await;
    let (set, list) = (uids("set", 20), uids("list", 5));
    let mut connection = redis.connection();
    for uid in &set {
        let planted = key_like(&key, &example, &created(uid));
        redis::cmd("SET").arg(planted).arg("1").exec(&mut connection).unwrap();
    }
    for uid in &list {
        let planted = key_like(&key, &example, &created(uid));
        redis::cmd("RPUSH").arg(planted).arg("not what belongs here").exec(&mut connection).unwrap();
    }
    let lies = [set, list].concat();
    all_are(&sender, &lies, "applied").await;
    // A Redis that is too slow for a moment is not asked, so on a busy machine not every lie is heard. A list is none.
    let heard = disagreements(&system).await;
    assert!((1.0..=20.0).contains(&heard), "{heard} lies were counted");
    all_are(&sender, &lies, "duplicate").await;
    is_applied_once(&system, &lies).await;
    assert!(redis.keys().iter().all(|key| !key.contains('@') && key.len() < 100), "no key holds a person");
    system.stop().await;
}

#[tokio::test]
async fn a_redis_that_outlived_the_store_is_not_believed() {
    let redis = RedisServer::start();
    let mut system = start(&redis).await;
    let known = uids("restored", 10);
    all_are(&system.sender(), &known, "applied").await;
    let keys = redis.keys().len();
    wait::until("Redis knows them all", || async { (redis.keys().len() >= keys.max(known.len())).then_some(()) }).await;
    // A store that was restored from an older copy, here from nothing.
    system.service.kill();
    fs::remove_dir_all(system.data()).unwrap();
    let mut anew = Plan::new().service("--redis-url", redis.url()).start().await;
    wait::until("Redis is asked", || async {
        let ping = golden::body(Trigger::Ping, &Golden::new("p", 1, Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH));
        assert_eq!(anew.sender().send(TENANT, SECRET, ping).await.status, 200);
        (told_by_redis(&anew).await > 0.0).then_some(())
    })
    .await;
    all_are(&anew.sender(), &known, "applied").await;
    is_applied_once(&anew, &known).await;
    anew.stop().await;
}

#[tokio::test]
async fn a_service_starts_without_redis_and_finds_it_later() {
    let mut redis = RedisServer::start();
    redis.kill();
    let mut system = Plan::new().service("--redis-url", redis.url()).start().await;
    let early = uids("early", 10);
    all_are(&system.sender(), &early, "applied").await;
    all_are(&system.sender(), &early, "duplicate").await;
    redis.restart();
    is_asked(&system).await;
    is_applied_once(&system, &early).await;
    system.stop().await;
}

/// Sends each webhook twice at the same time, until it is told to stop. Exactly one of the two is new.
async fn flow(edge: Sender, name: String, sent: Arc<AtomicUsize>, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut uids = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let uid = format!("{name}x{}", uids.len());
        let body = created(&uid);
        let (one, other) =
            tokio::join!(edge.send(TENANT, SECRET, body.clone()), edge.send(TENANT, SECRET, body.clone()));
        let mut outcomes = [one.outcome(), other.outcome()];
        outcomes.sort();
        assert_eq!(outcomes, ["applied", "duplicate"], "{uid}");
        assert_eq!(one.delivery_id(), other.delivery_id(), "{uid}");
        uids.push(uid);
        sent.fetch_add(1, Ordering::Relaxed);
    }
    uids
}

#[tokio::test]
async fn everything_at_once_while_webhooks_flow() {
    let mut redis = RedisServer::start();
    let mut system = start(&redis).await;
    let (sent, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let mut senders = JoinSet::new();
    for number in 0..SENDERS {
        senders.spawn(flow(system.sender(), format!("flow{number}"), Arc::clone(&sent), Arc::clone(&stop)));
    }
    let misfortunes: [fn(&mut RedisServer); 7] = [
        |redis| redis.freeze(),
        |redis| redis.thaw(),
        |redis| redis.flush(),
        RedisServer::kill,
        RedisServer::restart,
        |redis| redis.freeze(),
        RedisServer::kill,
    ];
    for misfortune in misfortunes {
        let from = sent.load(Ordering::Relaxed);
        let flowed = || async { (sent.load(Ordering::Relaxed) >= from + BETWEEN).then_some(()) };
        wait::until("webhooks flow", flowed).await;
        misfortune(&mut redis);
    }
    redis.restart();
    is_asked(&system).await;
    stop.store(true, Ordering::Relaxed);
    let mut uids = Vec::new();
    while let Some(sender) = senders.join_next().await {
        uids.extend(sender.unwrap());
    }
    println!("{} webhooks flowed, each twice", uids.len());
    is_applied_once(&system, &uids).await;
    system.stop().await;
}
