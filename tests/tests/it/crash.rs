//! `kill -9` in the middle of a burst: whatever was answered with a 2xx is there afterwards, once, and what was away
//! comes back without anybody's help.

use std::{collections::BTreeMap, sync::Arc};

use calbridge_e2e::{
    system::{self, Plan, SECRET, System, TENANT, readiness_of},
    wait,
    webhook::{Sender, created, sha256},
};
use tokio::{sync::Semaphore, task::JoinSet};

const SENDERS: usize = 8;
/// Webhooks of each sender.
const EACH: usize = 60;
/// 2xx answers after which the kill comes: the burst is in full flow.
const ENOUGH: usize = 80;

/// The bodies of a burst, and whether each was answered with a 2xx.
type Burst = JoinSet<Vec<(Vec<u8>, bool)>>;

/// Senders that give up on nothing; each 2xx adds a permit to `accepted`.
fn burst(system: &System, accepted: &Arc<Semaphore>) -> Burst {
    let edge = system.adapter.listening().http();
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let accepted = Arc::clone(accepted);
        senders.spawn(async move {
            let mut sent = Vec::new();
            for number in 0..EACH {
                let body = created(&format!("burst{sender}x{number}"));
                // Without an answer nothing is promised.
                let answer = Sender::new(edge).try_send(TENANT, SECRET, body.clone()).await;
                let kept = answer.is_ok_and(|answer| answer.status.is_success());
                if kept {
                    accepted.add_permits(1);
                }
                sent.push((body, kept));
            }
            sent
        });
    }
    senders
}

async fn in_full_flow(accepted: &Semaphore) {
    let permits = accepted.acquire_many(u32::try_from(ENOUGH).unwrap());
    wait::within("the burst flows", permits).await.unwrap().forget();
}

async fn collect(mut burst: Burst) -> Vec<(Vec<u8>, bool)> {
    let mut sent = Vec::new();
    while let Some(sender) = burst.join_next().await {
        sent.extend(sender.unwrap());
    }
    sent
}

/// Everything that was answered with a 2xx is there, and nothing is there twice.
async fn all_is_there_once(system: &System, sent: &[(Vec<u8>, bool)]) {
    let mut stored = BTreeMap::<Vec<u8>, usize>::new();
    for delivery in system.api().all_deliveries(TENANT).await {
        *stored.entry(delivery.body_sha256).or_default() += 1;
    }
    let kept = sent.iter().filter(|(_, kept)| *kept).count();
    println!("{kept} of {} were answered with a 2xx, {} are stored", sent.len(), stored.len());
    assert!(kept >= ENOUGH);
    for (body, kept) in sent {
        let count = stored.get(&sha256(body)).copied().unwrap_or(0);
        assert!(count <= 1, "a body is stored {count} times");
        assert!(count == 1 || !kept, "a body that was answered with a 2xx is gone");
    }
    // Whatever had no answer is sent again, as Cal.com would: then all of it is there.
    let sender = system.sender();
    for (body, kept) in sent {
        let answer = sender.send(TENANT, SECRET, body.clone()).await;
        assert_eq!(answer.status, 200);
        assert!(answer.outcome() == "duplicate" || !kept && answer.outcome() == "applied", "{}", answer.outcome());
    }
    assert_eq!(system.api().all_deliveries(TENANT).await.len(), sent.len());
    assert_eq!(system.api().all_bookings(TENANT).await.len(), sent.len());
}

#[tokio::test]
async fn a_service_that_is_killed_in_a_burst_loses_nothing_it_promised() {
    let mut system = Plan::new().returning().start().await;
    let accepted = Arc::new(Semaphore::new(0));
    let burst = burst(&system, &accepted);
    in_full_flow(&accepted).await;
    system.service.kill();
    system.restart_service();
    in_full_flow(&accepted).await;
    let sent = collect(burst).await;
    system.ready().await;
    all_is_there_once(&system, &sent).await;
    system.stop().await;
}

#[tokio::test]
async fn an_adapter_that_is_killed_in_a_burst_loses_nothing_it_promised() {
    let mut system = Plan::new().start().await;
    let accepted = Arc::new(Semaphore::new(0));
    let burst = burst(&system, &accepted);
    in_full_flow(&accepted).await;
    system.adapter.kill();
    let sent = collect(burst).await;
    system.restart_adapter();
    system.ready().await;
    all_is_there_once(&system, &sent).await;
    system.stop().await;
}

#[tokio::test]
async fn nothing_is_promised_while_the_service_is_away() {
    let mut system = Plan::new().returning().adapter("--forward-deadline", "1s").start().await;
    let sender = system.sender();
    assert_eq!(sender.send(TENANT, SECRET, created("first")).await.outcome(), "applied");
    system.service.kill();
    readiness_of(&system.adapter, 503).await;
    let answer = sender.send(TENANT, SECRET, created("second")).await;
    assert_eq!(answer.status, 503);
    let retry_after: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&retry_after));
    assert_eq!(answer.headers["content-type"], "application/json");
    system.restart_service();
    system.ready().await;
    assert_eq!(sender.send(TENANT, SECRET, created("first")).await.outcome(), "duplicate");
    assert_eq!(sender.send(TENANT, SECRET, created("third")).await.outcome(), "applied");
    system.stop().await;
}

#[tokio::test]
async fn a_service_that_hangs_costs_the_deadline_and_no_promise() {
    let mut system = Plan::new().adapter("--forward-deadline", "1s").start().await;
    let sender = system.sender();
    system.service.freeze();
    let answer = sender.send(TENANT, SECRET, created("hung")).await;
    assert_eq!(answer.status, 503);
    system.service.thaw();
    system.ready().await;
    // The first try may have been committed after its deadline, unseen: then this one is a duplicate.
    let again = sender.send(TENANT, SECRET, created("hung")).await;
    assert!(["applied", "duplicate"].contains(&again.outcome().as_str()));
    assert_eq!(system.api().all_deliveries(TENANT).await.len(), 1);
    system.stop().await;
}

#[tokio::test]
async fn a_store_that_can_not_write_is_said_and_survived() {
    let mut system = Plan::new().start().await;
    let sender = system.sender();
    assert_eq!(sender.send(TENANT, SECRET, created("first")).await.outcome(), "applied");
    let blocked = system.block_the_store();
    let answer = sender.send(TENANT, SECRET, created("second")).await;
    assert_eq!(answer.status, 503);
    assert!(answer.headers.contains_key("retry-after"));
    readiness_of(&system.service, 503).await;
    readiness_of(&system.adapter, 503).await;
    assert!(system.api().booking(TENANT, "first").await.is_some(), "reading goes on");
    drop(blocked);
    system.ready().await;
    readiness_of(&system.service, 200).await;
    assert_eq!(sender.send(TENANT, SECRET, created("first")).await.outcome(), "duplicate");
    assert_eq!(sender.send(TENANT, SECRET, created("second")).await.outcome(), "applied");
    assert_eq!(system.api().all_deliveries(TENANT).await.len(), 2);
    system.stop().await;
}

#[tokio::test]
async fn up_is_killed_and_starts_again_on_the_same_data() {
    let folder = tempfile::TempDir::new().unwrap();
    let up = system::up(folder.path()).env("CALCOM_WEBHOOK_SECRET", SECRET);
    let mut first = up.serve();
    let sender = Sender::new(first.listening().http());
    assert_eq!(sender.send(TENANT, SECRET, created("survives")).await.outcome(), "applied");
    first.kill();
    let mut second = up.serve();
    let sender = Sender::new(second.listening().http());
    assert_eq!(sender.send(TENANT, SECRET, created("survives")).await.outcome(), "duplicate");
    second.stop().await;
}

#[tokio::test]
async fn two_services_never_share_their_data() {
    let mut system = Plan::new().start().await;
    let second = system.service_plan().run().await;
    assert_ne!(second.code, Some(0));
    let data = system.data().display().to_string();
    assert!(second.stderr.contains(&data), "the refusal names the data: {}", second.stderr);
    assert!(!second.stdout.contains("listening"), "{}", second.stdout);
    assert_eq!(system.sender().send(TENANT, SECRET, created("first")).await.outcome(), "applied");
    system.stop().await;
}
