//! Two services behind two adapters: one that is killed, stopped, frozen or started under load costs no webhook its
//! 200.
//!
//! Each service has a store of its own here: this is about who talks to whom, and a webhook that both have is no fault.

use std::{collections::BTreeSet, path::Path, time::Duration};

use calbridge_calcom::golden::{self, Golden};
use calbridge_e2e::{
    api::Api,
    fleet::{Fleet, Load, Sent},
    metrics::Page,
    program::Start,
    system::TENANT,
    v1::Trigger,
    wait,
    webhook::sha256,
};
use jiff::Timestamp;

const SENDERS: usize = 8;
/// Answers after which something is in full flow.
const ENOUGH: usize = 150;
/// Above what any answer may take here, so that all are answered 200, and below what the grace of a stop allows for.
const DEADLINE: &str = "2900ms";
/// What a replica that stops answering may cost whoever waits for it: half a second until it is left, and what the
/// machine is late by.
const LEAVING: Duration = Duration::from_secs(2);

fn created(sender: usize, number: usize) -> Vec<u8> {
    let second = |second| Timestamp::from_second(second).unwrap();
    let uid = format!("fleet{sender}x{number}");
    golden::body(Trigger::BookingCreated, &Golden::new(&uid, 6_001, second(1_790_000_000), second(1_790_090_000)))
}

fn sqlite(number: usize, folder: &Path) -> String {
    format!("sqlite://{}", folder.join(format!("store{number}.db")).display())
}

/// Every webhook was answered 200 and within the bound.
fn all_answered(sent: &[Sent], what: &str) {
    let longest = sent.iter().map(|sent| sent.took).max().unwrap();
    println!("{what}: {} webhooks, the longest answer took {longest:?}", sent.len());
    let refused: Vec<u16> = sent.iter().map(|sent| sent.status).filter(|status| *status != 200).collect();
    assert_eq!(refused, [0; 0], "of {}", sent.len());
    assert!(longest < LEAVING, "{longest:?}");
}

/// Everything that was answered is in one of the stores.
async fn all_stored(fleet: &Fleet, sent: &[Sent]) {
    let mut stored = BTreeSet::new();
    for service in &fleet.services {
        let deliveries = Api::new(service.listening().grpc()).all_deliveries(TENANT).await;
        stored.extend(deliveries.into_iter().map(|delivery| delivery.body_sha256));
    }
    assert!(sent.iter().all(|sent| stored.contains(&sha256(&sent.body))), "an answered webhook is in no store");
}

/// How often the adapters' logs say this, each.
fn said(fleet: &Fleet, what: &str) -> Vec<usize> {
    fleet.adapters.iter().map(|adapter| adapter.stderr().matches(what).count()).collect()
}

/// Waits until a service commits what comes to it now.
async fn has_its_share(fleet: &Fleet, service: usize, load: &Load) {
    let before = [fleet.committed(0).await, fleet.committed(1).await];
    load.flows(ENOUGH).await;
    let more = [fleet.committed(0).await - before[0], fleet.committed(1).await - before[1]];
    let share = more[service] / (more[0] + more[1]);
    println!("service {service} has {share:.2} of the load");
    assert!(share > 0.25, "{share}");
}

#[tokio::test]
async fn a_service_that_is_killed_costs_no_webhook() {
    let mut fleet = Fleet::start(2, 2, DEADLINE, sqlite).await;
    let load = Load::start(&fleet, SENDERS, created);
    load.flows(ENOUGH).await;
    fleet.services[0].kill();
    load.flows(ENOUGH).await;
    fleet.restart(0);
    fleet.linked(0, true).await;
    has_its_share(&fleet, 0, &load).await;
    let sent = load.end().await;
    all_answered(&sent, "kill -9");
    all_stored(&fleet, &sent).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_service_that_is_told_to_stop_costs_no_webhook() {
    let mut fleet = Fleet::start(2, 2, DEADLINE, sqlite).await;
    let load = Load::start(&fleet, SENDERS, created);
    load.flows(ENOUGH).await;
    fleet.services[1].stop().await;
    load.flows(ENOUGH).await;
    fleet.restart(1);
    fleet.linked(1, true).await;
    // The rest of a rolling restart.
    load.flows(ENOUGH).await;
    fleet.services[0].stop().await;
    load.flows(ENOUGH).await;
    fleet.restart(0);
    fleet.linked(0, true).await;
    has_its_share(&fleet, 0, &load).await;
    let sent = load.end().await;
    all_answered(&sent, "SIGTERM");
    all_stored(&fleet, &sent).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_service_that_hangs_is_left_within_a_second_and_taken_back() {
    let mut fleet = Fleet::start(2, 2, DEADLINE, sqlite).await;
    let load = Load::start(&fleet, SENDERS, created);
    load.flows(ENOUGH).await;
    fleet.services[0].freeze();
    let left =
        || async { said(&fleet, "does not answer; its events go to the others").iter().all(|c| *c > 0).then_some(()) };
    wait::until("it is left", left).await;
    load.flows(ENOUGH).await;
    let rerouted: Vec<f64> = reroutes(&fleet).await;
    load.flows(ENOUGH).await;
    assert_eq!(reroutes(&fleet).await, rerouted, "nothing goes to it any more");
    fleet.services[0].thaw();
    let back = || async { said(&fleet, "answers again").iter().all(|count| *count > 0).then_some(()) };
    wait::until("it is taken back", back).await;
    has_its_share(&fleet, 0, &load).await;
    let sent = load.end().await;
    all_answered(&sent, "SIGSTOP");
    all_stored(&fleet, &sent).await;
    assert_eq!(said(&fleet, "does not answer; its events go to the others"), [1, 1], "it is said once");
    assert_eq!(said(&fleet, "answers again"), [1, 1], "and so is its return");
    fleet.stop().await;
}

#[tokio::test]
async fn a_service_that_comes_gets_its_share_and_readers_take_whichever_is_there() {
    let mut fleet = Fleet::start(2, 2, DEADLINE, sqlite).await;
    fleet.services[1].kill();
    fleet.linked(1, false).await;
    let load = Load::start(&fleet, SENDERS, created);
    load.flows(ENOUGH).await;
    let [here, away] = [0, 1].map(|service| format!("http://{}", fleet.services[service].listening().grpc()));
    let read = Start::new("calbridge").arg("get").arg("fleet0x0").flag("--service", format!("{away},{here}"));
    let read = read.run().await;
    assert_eq!(read.code, Some(0), "{}", read.stderr);
    fleet.restart(1);
    fleet.linked(1, true).await;
    has_its_share(&fleet, 1, &load).await;
    let sent = load.end().await;
    all_answered(&sent, "one more");
    all_stored(&fleet, &sent).await;
    fleet.stop().await;
}

/// Events that each adapter has sent on to another replica.
async fn reroutes(fleet: &Fleet) -> Vec<f64> {
    let mut counts = Vec::new();
    for adapter in &fleet.adapters {
        counts.push(Page::read(adapter.listening().admin()).await.sum("calbridge_forward_reroutes_total", &[]));
    }
    counts
}
