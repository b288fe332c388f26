//! A cluster as the hint: its nodes die, freeze, hand over and share anew, and no answer changes.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use calbridge_e2e::wait;
use calbridge_process::RedisTls;
use calbridge_proto::v1::{SubmitEventsRequest, SubmitOutcome};
use calbridge_telemetry::testing::{attribute, record};

use super::BOUND;
use crate::{
    events::created,
    harness::{Harness, redis},
    redis_server::cluster::{Cluster, MASTERS},
};

/// Events of one burst: enough for each node to have some.
const BURST: usize = 60;
/// All that calbridge needs of a cluster, as the README says it.
const RIGHTS: &str = "resetchannels ~calbridge:* -@all +exists +set +ping +asking +cluster|slots";
const PASSWORD: &str = "of-the-tests";

/// A service that has found its cluster.
async fn with(cluster: &Cluster) -> Harness {
    let service = Harness::with(redis(&cluster.urls())).await;
    found(&service, "found").await;
    service
}

/// Waits until the cluster recognises a duplicate again, whichever node its key falls upon.
async fn found(service: &Harness, name: &str) {
    let mut tries = 0;
    wait::holds("each node of the cluster is asked", async || {
        tries += 1;
        let names: Vec<String> = (0..BURST).map(|number| format!("{name}-{tries}-{number}")).collect();
        burst(service, &names, SubmitOutcome::Applied).await;
        recognised(service, &names).await
    })
    .await;
}

/// Whether the hint knows all of them within a moment: what was committed is told a little later.
async fn recognised(service: &Harness, names: &[String]) -> bool {
    for _ in 0..3 {
        let before = service.control.confirms.load(Ordering::Relaxed);
        burst(service, names, SubmitOutcome::Duplicate).await;
        if service.control.confirms.load(Ordering::Relaxed) == before + names.len() {
            return true;
        }
    }
    false
}

/// Submits them at once on one stream, so that they share rounds, and looks at each answer.
async fn burst(service: &Harness, names: &[String], outcome: SubmitOutcome) {
    let (requests, mut answers) = service.stream().await;
    for (number, name) in names.iter().enumerate() {
        let sequence = u64::try_from(number).unwrap();
        requests.send(SubmitEventsRequest { sequence, event: Some(created(name)) }).await.unwrap();
    }
    for _ in names {
        let answer = wait::within("an answer", answers.message()).await.unwrap().unwrap();
        assert_eq!((answer.outcome(), answer.error.as_ref()), (outcome, None), "{}", answer.sequence);
    }
}

#[tokio::test]
async fn it_is_asked_and_told_node_by_node() {
    let recording = record();
    let cluster = Cluster::start().await;
    let service = with(&cluster).await;
    let before = cluster.keys().await;
    let names: Vec<String> = (0..BURST).map(|number| format!("u{number}")).collect();
    burst(&service, &names, SubmitOutcome::Applied).await;
    wait::holds("each node knows its keys", async || cluster.keys().await >= before + BURST).await;
    assert!(cluster.least().await > 0, "keys lie on every node");
    assert!(recognised(&service, &names).await);
    let asked = recording.named("PIPELINE EXISTS");
    let most = asked.iter().filter_map(|span| attribute(span, "db.operation.batch.size")?.parse().ok()).max();
    assert!(most > Some(MASTERS), "one operation asks for many keys of many nodes: {most:?}");
    assert!(asked.iter().all(|span| attribute(span, "error.type").is_none()));
}

#[tokio::test]
async fn a_user_with_few_rights_will_do() {
    let cluster = Cluster::start().await;
    for node in &cluster.nodes {
        node.run_all([format!("ACL SETUSER calbridge reset on >{PASSWORD} {RIGHTS}")]).await;
    }
    let urls: Vec<String> =
        cluster.urls().iter().map(|url| url.replace("://", &format!("://calbridge:{PASSWORD}@"))).collect();
    let service = Harness::with(redis(&urls)).await;
    found(&service, "allowed").await;
    // Slots move, and its user may follow.
    for node in &cluster.nodes {
        let () = node.run(&["FLUSHALL"]).await;
    }
    cluster.move_slots(0, 1, 0..1800).await;
    found(&service, "moved").await;
}

#[tokio::test]
async fn it_may_speak_tls() {
    let cluster = Cluster::with_tls().await;
    let mut settings = redis(&cluster.urls());
    // Nobody vouches for it: it counts as away.
    let service = Harness::with(settings.clone()).await;
    let names: Vec<String> = (0..BURST).map(|number| format!("u{number}")).collect();
    burst(&service, &names, SubmitOutcome::Applied).await;
    burst(&service, &names, SubmitOutcome::Duplicate).await;
    assert_eq!((cluster.keys().await, service.control.confirms.load(Ordering::Relaxed)), (0, 0));
    if let Some(redis) = &mut settings.redis {
        redis.tls = Some(RedisTls { ca: cluster.certificate.clone(), client: None });
    }
    let service = Harness::with(settings).await;
    found(&service, "behind-tls").await;
    assert!(cluster.least().await > 0);
}

#[tokio::test]
async fn a_node_that_dies_costs_no_answer_and_little_time() {
    let recording = record();
    let mut cluster = Cluster::start().await;
    let service = with(&cluster).await;
    cluster.nodes.remove(1).kill();
    let (asked, begun) = (recording.named("PIPELINE EXISTS").len(), Instant::now());
    for round in 0..10 {
        let names: Vec<String> = (0..BURST).map(|number| format!("dead-{round}-{number}")).collect();
        burst(&service, &names, SubmitOutcome::Applied).await;
        burst(&service, &names, SubmitOutcome::Duplicate).await;
    }
    println!("{} events twice in {:?}", 10 * BURST, begun.elapsed());
    let asks = recording.named("PIPELINE EXISTS").split_off(asked);
    let failed = asks.iter().filter(|span| attribute(span, "error.type").is_some()).count();
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap();
    // The first meets it, unless what was told last does; a trial a second may pass until the cluster notices that a
    // third of it is gone.
    assert!(failed <= 2 + seconds, "{failed} of {} asks failed in {seconds} s", asks.len());
    for ask in &asks {
        let waited = ask.end_time.duration_since(ask.start_time).unwrap();
        assert!(waited < BOUND, "{waited:?}");
    }
}

#[tokio::test]
async fn a_frozen_node_costs_one_timeout_and_then_nothing() {
    let recording = record();
    let cluster = Cluster::start().await;
    let service = with(&cluster).await;
    cluster.nodes[2].freeze();
    let asked = recording.named("PIPELINE EXISTS").len();
    for round in 0..5 {
        let names: Vec<String> = (0..BURST).map(|number| format!("frozen-{round}-{number}")).collect();
        burst(&service, &names, SubmitOutcome::Applied).await;
        burst(&service, &names, SubmitOutcome::Duplicate).await;
    }
    let asks = recording.named("PIPELINE EXISTS").split_off(asked);
    // None where what was told last met it first.
    assert!(asks.len() <= 1, "{} asks", asks.len());
    for ask in asks {
        let waited = ask.end_time.duration_since(ask.start_time).unwrap();
        assert!((Duration::from_millis(40)..BOUND).contains(&waited), "{waited:?}");
    }
    cluster.nodes[2].thaw();
    found(&service, "thawed").await;
}

#[tokio::test]
async fn a_replica_that_takes_over_is_asked_without_a_restart() {
    let mut cluster = Cluster::with_replica().await;
    let service = with(&cluster).await;
    // Told to: master and replica change places.
    cluster.promote(MASTERS).await;
    found(&service, "promoted").await;
    // And by itself, when the one that is master now dies.
    cluster.nodes.remove(MASTERS).kill();
    cluster.is_master(0).await;
    found(&service, "failed-over").await;
}

#[tokio::test]
async fn slots_that_move_are_found_again() {
    let recording = record();
    let cluster = Cluster::start().await;
    let service = with(&cluster).await;
    for node in &cluster.nodes {
        let () = node.run(&["FLUSHALL"]).await;
    }
    // A third of the first node's, and the service, which is told nothing, goes on.
    cluster.move_slots(0, 1, 0..1800).await;
    let before = cluster.nodes[1].keys().await.len();
    let asked = recording.named("PIPELINE EXISTS").len();
    found(&service, "moved").await;
    assert!(cluster.nodes[1].keys().await.len() > before);
    // Only the keys of the two nodes went without a hint meanwhile.
    let asks = recording.named("PIPELINE EXISTS").split_off(asked);
    assert!(asks.iter().all(|ask| attribute(ask, "error.type").is_none()));
}
