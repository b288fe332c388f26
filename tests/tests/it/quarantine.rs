//! The quarantine between built programs: a wrong secret is a delay. What was authentic comes in by one command, once;
//! what was forged never does, and costs what it may.

use std::{collections::BTreeMap, net::IpAddr};

use calbridge_e2e::{
    program::{Ended, Start},
    system::{Plan, SECRET, System, TENANT},
    v1::{BookingStatus, DeliveryDisposition},
    wait,
    webhook::{Sender, created, sha256},
};
use jiff::Timestamp;
use serde_json::Value;
use tokio::task::JoinSet;

/// What the operator typed instead of the secret.
const WRONG: &str = "whsec_of_another_webhook";
/// Whoever forges has another address.
const STRANGER: [u8; 4] = [127, 0, 0, 2];
/// At once.
const SENDERS: usize = 16;

/// A system whose adapter has the wrong secret, and keeps as many of one address as a test likes to send.
async fn misconfigured() -> System {
    Plan::new().tenant(TENANT, WRONG).with_spool().adapter("--quarantine-rate", "1000").start().await
}

/// Sends so many, several at a time; each is refused.
async fn refused(sender: &Sender, tenant: &str, secret: &str, prefix: &str, count: usize) -> Vec<Vec<u8>> {
    let mut senders = JoinSet::new();
    for first in 0..SENDERS {
        let (sender, tenant, secret, prefix) =
            (sender.clone(), tenant.to_owned(), secret.to_owned(), prefix.to_owned());
        senders.spawn(async move {
            let mut sent = Vec::new();
            for number in (first..count).step_by(SENDERS) {
                let body = created(&format!("{prefix}{number}"));
                assert_eq!(sender.send(&tenant, &secret, body.clone()).await.status, 401);
                sent.push(body);
            }
            sent
        });
    }
    senders.join_all().await.into_iter().flatten().collect()
}

async fn holds(system: &System, webhooks: u32) {
    wait::until("so many are in quarantine", || async {
        let depth = system.adapter_metrics().await.sum("calbridge_quarantine_depth", &[]);
        ((depth - f64::from(webhooks)).abs() < 0.5).then_some(())
    })
    .await;
}

/// Of how many refused webhooks that became which this word says; of all without a word.
async fn counted(system: &System, result: &str) -> f64 {
    let label = if result.is_empty() { String::new() } else { format!("=\"{result}\"") };
    system.adapter_metrics().await.sum("calbridge_quarantine_refused_total", &[&label])
}

fn command(system: &System, words: &[&str]) -> Start {
    let start = words.iter().fold(Start::new("calbridge").arg("quarantine"), |start, word| start.arg(*word));
    start.flag("--spool-dir", system.spool()).flag("--config", system.config())
}

async fn verdicts(system: &System) -> BTreeMap<String, Value> {
    let ended = command(system, &["verify", "--output", "json"]).run().await;
    let verdicts: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}", ended.stderr));
    verdicts.into_iter().map(|of| (of["tenant"].as_str().unwrap().to_owned(), of)).collect()
}

fn replay(system: &System) -> Start {
    command(system, &["replay"]).flag("--service", format!("http://{}", system.service.listening().grpc()))
}

async fn replayed(system: &System) -> Ended {
    let ended = replay(system).run().await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    ended
}

/// Each of these bodies is in the store once, with its booking, and was recovered; nothing else is.
async fn all_are_recovered(system: &System, bodies: &[Vec<u8>]) {
    let deliveries = system.api().all_deliveries(TENANT).await;
    let mut stored: Vec<_> = deliveries.iter().map(|delivery| delivery.body_sha256.clone()).collect();
    let mut sent: Vec<_> = bodies.iter().map(|body| sha256(body)).collect();
    stored.sort();
    sent.sort();
    assert!(stored == sent, "{} are stored, {} were sent", stored.len(), sent.len());
    assert!(deliveries.iter().all(|delivery| delivery.disposition() == DeliveryDisposition::Recovered));
    let bookings = system.api().all_bookings(TENANT).await;
    assert_eq!(bookings.len(), bodies.len());
    assert!(bookings.iter().all(|booking| booking.status() == BookingStatus::Scheduled));
}

#[tokio::test]
async fn what_a_wrong_secret_refused_comes_in_by_one_command() {
    let mut system = misconfigured().await;
    let edge = system.adapter.listening().http();
    let authentic = refused(&system.sender(), TENANT, SECRET, "authentic", 60).await;
    refused(&Sender::from(IpAddr::from(STRANGER), edge), TENANT, "guessed", "forged", 20).await;
    refused(&system.sender(), "nobody", SECRET, "unknown", 5).await;
    holds(&system, 80).await;
    assert!((counted(&system, "unknown_tenant").await - 5.0).abs() < 0.5);
    let said = || async { system.adapter.stderr().contains("calbridge quarantine replay").then_some(()) };
    wait::until("the log says what mends it", said).await;
    assert!(!system.adapter.stderr().contains('@'), "nobody's data is in a line: {}", system.adapter.stderr());
    let status: Value =
        serde_json::from_str(&command(&system, &["status", "--output", "json"]).run().await.stdout).unwrap();
    let sources = status["sources"].as_array().unwrap();
    let of = |at: usize| (sources[at]["source"].as_str().unwrap(), sources[at]["webhooks"].as_u64().unwrap());
    assert_eq!((&status["webhooks"], of(0), of(1)), (&80.into(), ("127.0.0.1", 60), ("127.0.0.2", 20)));
    assert_eq!(verdicts(&system).await[TENANT]["unverified"], 80, "the secret is still the wrong one");

    system.change_secret(TENANT, SECRET);
    system.adapter.stop().await;
    system.restart_adapter();
    system.ready().await;
    let verdict = &verdicts(&system).await[TENANT];
    assert_eq!((&verdict["verified"]["literal:1"], &verdict["unverified"]), (&60.into(), &20.into()));
    assert!(system.api().all_deliveries(TENANT).await.is_empty(), "nothing is changed by looking");
    assert_eq!(replayed(&system).await.stdout.trim(), "60 admitted (0 were known already), 20 do not verify and stay");
    all_are_recovered(&system, &authentic).await;
    let deliveries = system.api().all_deliveries(TENANT).await;
    let received = deliveries.iter().map(|delivery| delivery.receive_time.unwrap());
    let mut received: Vec<_> = received.map(|time| Timestamp::new(time.seconds, time.nanos).unwrap()).collect();
    received.sort_unstable();
    let said = |name: &str| sources[0][name].as_str().unwrap().parse::<Timestamp>().unwrap();
    let ends = [said("oldest_receive_time"), said("newest_receive_time")];
    assert_eq!([received[0], received[59]], ends, "they were received when they came");
    assert_eq!(replayed(&system).await.stdout.trim(), "0 admitted (0 were known already), 20 do not verify and stay");
    holds(&system, 20).await;
    // What Cal.com sends from now on is as if nothing had been.
    assert_eq!(system.sender().send(TENANT, SECRET, authentic[0].clone()).await.outcome(), "duplicate");
    assert_eq!(system.sender().send(TENANT, SECRET, created("later")).await.outcome(), "applied");
    system.stop().await;
}

#[tokio::test]
async fn a_replay_that_is_killed_loses_nothing_and_brings_nothing_twice() {
    let mut system = misconfigured().await;
    let authentic = refused(&system.sender(), TENANT, SECRET, "authentic", 2_000).await;
    holds(&system, 2_000).await;
    // The adapter still has the wrong secret: it is the operator's command that has the right one.
    system.change_secret(TENANT, SECRET);
    let mut first = replay(&system).spawn();
    let stored = || async { system.api().all_deliveries(TENANT).await.len() };
    let begun = || async { system.api().booking(TENANT, "authentic150").await };
    wait::until("it has begun", begun).await;
    first.freeze();
    let busy = replay(&system).run().await;
    first.kill();
    assert!(busy.code == Some(1) && busy.stderr.contains("another process"), "{}{}", busy.stdout, busy.stderr);
    let before = stored().await;
    assert!(before < 2_000, "it was through before it was killed");
    let left = verdicts(&system).await[TENANT]["verified"]["literal:1"].as_u64().unwrap();
    println!("{before} were stored, {left} not marked");
    assert!(left < 2_000, "what was committed is marked");
    let second = replayed(&system).await.stdout;
    assert!(second.starts_with(&format!("{left} admitted")) && second.contains(" 0 do not verify"), "{second}");
    all_are_recovered(&system, &authentic).await;
    holds(&system, 0).await;
    system.stop().await;
}

#[tokio::test]
async fn a_flood_is_bounded_and_leaves_room_for_others() {
    let plan = Plan::new().tenant("loud", "whsec_that_nobody_guesses").tenant("quiet", WRONG);
    let mut system = plan.with_spool().start().await;
    let edge = system.adapter.listening().http();
    refused(&system.sender(), "loud", "guessed", "warm", 100).await;
    let memory = system.adapter.resident_bytes();
    let mut floods = JoinSet::new();
    for (tenant, prefix) in [("loud", "one"), ("loud", "two"), ("nobody", "three")] {
        let sender = Sender::from(IpAddr::from(STRANGER), edge);
        floods.spawn(async move { refused(&sender, tenant, "guessed", prefix, 1_000).await });
    }
    let authentic = refused(&system.sender(), "quiet", SECRET, "quiet", 100).await;
    floods.join_all().await;
    let all = || async { (counted(&system, "").await > 3_199.0).then_some(()) };
    wait::until("the keeper has seen them all", all).await;
    assert!(counted(&system, "over_budget").await > 1_000.0, "most of the flood is only counted");
    let grown = system.adapter.resident_bytes().saturating_sub(memory);
    assert!(grown < 48 * 1024 * 1024, "the adapter grew by {grown} bytes");
    assert_eq!(system.sender().send(TENANT, SECRET, created("meanwhile")).await.outcome(), "applied");

    system.change_secret("quiet", SECRET);
    let verdicts = verdicts(&system).await;
    assert_eq!(verdicts["quiet"]["verified"]["literal:1"], authentic.len(), "{verdicts:?}");
    let loud = verdicts["loud"]["unverified"].as_u64().unwrap();
    assert!((200..1_500).contains(&loud), "{loud} of 2,100");
    assert!(!verdicts.contains_key("nobody"));
    system.stop().await;
}

#[tokio::test]
async fn without_a_spool_nothing_is_kept() {
    let mut system = Plan::new().start().await;
    refused(&system.sender(), TENANT, WRONG, "refused", 3).await;
    assert!(!system.spool().exists());
    let none = command(&system, &["verify"]).run().await;
    assert!(none.code == Some(1) && none.stderr.contains("no quarantine is at"), "{}{}", none.stdout, none.stderr);
    system.stop().await;
}
