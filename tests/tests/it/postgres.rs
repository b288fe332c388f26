//! The built programs on one `PostgreSQL`: several services that write at once, and whatever becomes of the server
//! while webhooks flow. What was answered 200 is there once, and nobody has to restart calbridge.

mod away;
mod disk;
mod replicas;
mod slow;
mod starts;
mod tls;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use calbridge_e2e::{
    api::Api,
    fleet::{self, Fleet, Load, Plan, Sent},
    postgres::Postgres,
    system::{TENANT, readiness_of},
    webhook::{self, Sender, sha256},
};

const SENDERS: usize = 8;
/// Answers of a kind after which it counts as the rule and not as chance.
const ENOUGH: usize = 60;
/// Refusals that show that nothing is taken in.
const REFUSALS: usize = 2 * SENDERS;
/// The adapters' default.
const DEADLINE: &str = "2s";
/// What a busy machine may add to an answer at the deadline.
const LATE: Duration = Duration::from_secs(5);
/// Services behind one adapter; each misfortune comes to both.
const SHAPES: [usize; 2] = [1, 2];

fn created(sender: usize, number: usize) -> Vec<u8> {
    webhook::created(&format!("keep{sender}x{number}"))
}

/// So many services on this server behind one adapter, and senders in full flow.
async fn in_flow(services: usize, postgres: &Postgres) -> (Fleet, Load) {
    let fleet = Fleet::of(Plan::new(services, 1, DEADLINE), |_, _| postgres.url()).await;
    let load = Load::start(&fleet, SENDERS, created);
    load.flows(ENOUGH).await;
    (fleet, load)
}

/// Waits until every service says of itself that it can, or can not, write.
async fn services_say(fleet: &Fleet, status: u16) {
    for service in &fleet.services {
        readiness_of(service, status).await;
    }
}

/// The misfortune is over: by themselves all are ready, webhooks are taken in, and everything is there once.
async fn recovers(mut fleet: Fleet, load: Load, postgres: &Postgres, what: &str) -> Vec<Sent> {
    services_say(&fleet, 200).await;
    fleet.ready().await;
    load.flows(ENOUGH).await;
    let sent = load.end().await;
    told(&sent, &format!("{what}, {} services", fleet.services.len()));
    is_there_once(&fleet, postgres, &sent).await;
    fleet.stop().await;
    sent
}

/// Each answer is a 200, or a 503 that says when to come again and comes in time.
fn told(sent: &[Sent], what: &str) {
    let refused = sent.iter().filter(|sent| sent.status != 200).count();
    let longest = sent.iter().map(|sent| sent.took).max().unwrap();
    println!("{what}: {} webhooks, {refused} refused, the longest answer took {longest:?}", sent.len());
    for sent in sent.iter().filter(|sent| sent.status != 200) {
        assert_eq!(sent.status, 503);
        assert!(sent.retry_after.is_some_and(|seconds| (1..=60).contains(&seconds)), "{:?}", sent.retry_after);
    }
    assert!(longest < LATE, "{longest:?}");
}

/// What was answered 200 is there once, and what was not becomes so when it is sent again, as Cal.com would.
async fn is_there_once(fleet: &Fleet, postgres: &Postgres, sent: &[Sent]) {
    let stored = stored(&fleet.services[0]).await;
    for sent in sent {
        let count = stored.get(&sha256(&sent.body)).copied().unwrap_or(0);
        assert!(count <= 1, "a body is stored {count} times");
        assert!(count == 1 || sent.status != 200, "a body that was answered 200 is gone");
    }
    let edge = Sender::new(fleet.adapters[0].listening().http());
    let mut late = BTreeMap::<String, usize>::new();
    for refused in sent.iter().filter(|sent| sent.status != 200) {
        let again = fleet::send(&edge, refused.body.clone()).await;
        assert_eq!(again.status, 200);
        let was_there = stored.contains_key(&sha256(&refused.body));
        assert_eq!(again.outcome, if was_there { "duplicate" } else { "applied" });
        *late.entry(again.outcome).or_default() += 1;
    }
    println!("  what was refused, sent again: {late:?}");
    for service in &fleet.services {
        let stored = self::stored(service).await;
        assert_eq!(stored.values().sum::<usize>(), sent.len());
        assert_eq!(stored.len(), sent.len());
        assert_eq!(Api::new(service.listening().grpc()).all_bookings(TENANT).await.len(), sent.len());
    }
    let appeared = postgres.query("SELECT count(*), count(DISTINCT uid) FROM transitions WHERE from_status = 0");
    assert_eq!(appeared, format!("{0}|{0}", sent.len()), "each booking appeared once");
    no_deadlock(postgres);
}

/// How often each body is stored, as a service tells it.
async fn stored(service: &calbridge_e2e::program::Program) -> BTreeMap<Vec<u8>, usize> {
    let mut stored = BTreeMap::new();
    for delivery in Api::new(service.listening().grpc()).all_deliveries(TENANT).await {
        *stored.entry(delivery.body_sha256).or_default() += 1;
    }
    stored
}

fn no_deadlock(postgres: &Postgres) {
    assert_eq!(postgres.query("SELECT sum(deadlocks) FROM pg_stat_database"), "0");
}

/// The lines of a program's log that are errors.
fn errors(log: &str) -> Vec<&str> {
    let is_error = |line: &&str| line.contains("\"ERROR\"") || line.contains("panicked");
    log.lines().filter(is_error).collect()
}

/// The distinct bodies of some answers.
fn bodies(sent: &[Sent]) -> BTreeSet<&[u8]> {
    sent.iter().map(|sent| sent.body.as_slice()).collect()
}
