//! Replicas that come and go: four at once on an empty database, one more under load, one that is killed.

use std::{
    net::{SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use calbridge_e2e::{
    fleet::{Fleet, Load, Plan},
    metrics::Page,
    port,
    postgres::{Durability, Postgres},
    program::Start,
    redis_server::RedisServer,
    system::readiness_of,
    wait,
    webhook::Sender,
};
use tokio::net::TcpStream;

use super::{DEADLINE, ENOUGH, SENDERS, bodies, created, errors, is_there_once, services_say, told};

/// Far above what any answer takes, so that a late one is told from a refused one.
const PATIENT: &str = "10s";
/// How long one try at a connection lasts.
const SILENCE: Duration = Duration::from_secs(2);

#[tokio::test]
async fn four_services_that_start_at_once_make_one_schema() {
    let postgres = Postgres::start(Durability::Unsynced);
    let mut fleet = Fleet::of(Plan::new(4, 2, DEADLINE), |_, _| postgres.url()).await;
    services_say(&fleet, 200).await;
    for service in &fleet.services {
        // Of one machine.
        let page = Page::read(service.listening().admin()).await;
        assert!(page.has("calbridge_store_clock_ahead_seconds"));
        let ahead = page.sum("calbridge_store_clock_ahead_seconds", &[]);
        assert!(ahead.abs() < 0.001, "{ahead} seconds");
    }
    let tables = postgres.query("SELECT count(*) FROM pg_tables WHERE tablename = 'calbridge_schema'");
    let rows = postgres.query("SELECT count(*), min(version) = max(version) FROM calbridge_schema");
    assert_eq!((tables.as_str(), rows.as_str()), ("1", "1|t"));
    let load = Load::start(&fleet, SENDERS, created);
    load.flows(2 * ENOUGH).await;
    let sent = load.end().await;
    told(&sent, "four services at once");
    is_there_once(&fleet, &postgres, &sent).await;
    let migrations = fleet.services.iter().map(|service| service.stderr().matches("brought up to date").count());
    let steps = postgres.query("SELECT version FROM calbridge_schema");
    assert_eq!(migrations.sum::<usize>().to_string(), steps, "each step is taken once");
    fleet.stop().await;
    for program in fleet.services.iter().chain(&fleet.adapters) {
        assert_eq!(errors(&program.stderr()), [""; 0]);
    }
}

/// How much each service that is there has committed.
async fn committed(fleet: &Fleet, services: &[usize]) -> Vec<f64> {
    let mut all = Vec::new();
    for service in services {
        all.push(fleet.committed(*service).await);
    }
    all
}

/// Of what is committed from now on, the share of each of these.
async fn shares(fleet: &Fleet, services: &[usize], load: &Load) -> Vec<f64> {
    let before = committed(fleet, services).await;
    load.flows(5 * ENOUGH).await;
    let after = committed(fleet, services).await;
    let more: Vec<f64> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
    let all: f64 = more.iter().sum();
    more.iter().map(|more| more / all).collect()
}

#[tokio::test]
async fn a_service_more_and_one_less_under_load_cost_nothing() {
    let (postgres, redis) = (Postgres::start(Durability::Synced), RedisServer::start());
    let plan = Plan::new(3, 2, PATIENT).service("--redis-url", redis.url());
    let mut fleet = Fleet::of(plan, |_, _| postgres.url()).await;
    fleet.services[2].kill();
    fleet.linked(2, false).await;
    let load = Load::start(&fleet, SENDERS, created);
    println!("two services: {:.2?}", shares(&fleet, &[0, 1], &load).await);
    fleet.restart(2);
    fleet.linked(2, true).await;
    let three = shares(&fleet, &[0, 1, 2], &load).await;
    println!("a third one: {three:.2?}");
    assert!(three.iter().all(|share| *share > 0.15), "{three:?}");
    fleet.services[0].kill();
    let two = shares(&fleet, &[1, 2], &load).await;
    println!("one killed: {two:.2?}");
    assert!(two.iter().all(|share| *share > 0.25), "{two:?}");
    fleet.restart(0);
    fleet.linked(0, true).await;
    let sent = load.end().await;
    told(&sent, "one more, one less");
    assert!(sent.iter().all(|sent| sent.status == 200));
    let fresh = sent.iter().filter(|sent| sent.outcome == "applied").count();
    println!("{fresh} of {} were applied, the others had been when their replica died", bodies(&sent).len());
    is_there_once(&fleet, &postgres, &sent).await;
    fleet.stop().await;
}

/// A probe must tell a start that takes its time from one that hangs, and whoever ends it must not wait.
#[tokio::test]
async fn a_start_that_waits_for_a_silent_database_is_seen_and_can_be_ended() {
    let (silent, folder) = (TcpListener::bind("127.0.0.1:0").unwrap(), tempfile::TempDir::new().unwrap());
    let admin = SocketAddr::from(([127, 0, 0, 1], port::free()));
    let mut service = Start::new("calbridge-service")
        .flag("--grpc", "127.0.0.1:0")
        .flag("--admin", admin.to_string())
        .flag("--data-dir", folder.path())
        .flag("--database-url", format!("postgres://postgres@{}/postgres", silent.local_addr().unwrap()))
        .spawn();
    let listens = || async { TcpStream::connect(admin).await.ok() };
    wait::until("the admin listener is there", listens).await;
    let page = Sender::new(admin);
    assert_eq!(page.get("/healthz").await.status, 200);
    let ready = page.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(String::from_utf8_lossy(&ready.body).contains("store"), "{:?}", ready.body);
    let told = Instant::now();
    service.stop().await;
    assert!(told.elapsed() < SILENCE, "{:?}", told.elapsed());
}

#[tokio::test]
async fn a_database_that_takes_nobody_in_yet_is_waited_for() {
    let postgres = Postgres::start(Durability::Unsynced);
    let _ = postgres.query("CREATE ROLE keeper LOGIN CONNECTION LIMIT 0");
    let folder = tempfile::TempDir::new().unwrap();
    let mut service = Start::new("calbridge-service")
        .flag("--grpc", "127.0.0.1:0")
        .flag("--admin", "127.0.0.1:0")
        .flag("--data-dir", folder.path())
        .flag("--database-url", postgres.url().replace("postgres@", "keeper@"))
        .spawn();
    let waits = || std::future::ready(service.stderr().contains("waiting for it").then_some(()));
    wait::until("the service waits", waits).await;
    let _ = postgres.query("ALTER ROLE keeper SUPERUSER CONNECTION LIMIT -1");
    service.await_listening();
    readiness_of(&service, 200).await;
    service.stop().await;
}
