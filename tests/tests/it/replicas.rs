//! Two services behind two adapters: one that is killed, stopped, frozen or started under load costs no webhook its
//! 200.
//!
//! Each service has a store of its own here: this is about who talks to whom, and a webhook that both have is no fault.

use std::{collections::BTreeSet, path::Path, time::Duration};

use calbridge_e2e::{
    api::Api,
    fleet::{Fleet, Load, Sent},
    metrics::Page,
    program::Start,
    system::TENANT,
    wait,
    webhook::{self, sha256},
};

const SENDERS: usize = 8;
/// Answers after which something is in full flow.
const ENOUGH: usize = 150;
/// Far above what any answer takes, so that a late one is told from a refused one.
const DEADLINE: &str = "10s";
/// For the slowest answer. What a silent replica costs is half a second, which the adapter's own tests count without a
/// clock; a busy machine's disk adds to it. Left to the keep-alive of its connection it would be eight.
const LEAVING: Duration = Duration::from_secs(5);

/// What the log says when a replica is left, and when it is taken back.
const LEFT: &str = "does not answer; its events go to the others";
const BACK: &str = "answers again";

fn created(sender: usize, number: usize) -> Vec<u8> {
    webhook::created(&format!("fleet{sender}x{number}"))
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

/// How often each adapter's log says this of a service.
fn said(fleet: &Fleet, service: usize, what: &str) -> Vec<usize> {
    let port = fleet.services[service].listening().grpc().port().to_string();
    let count = |text: String| text.lines().filter(|line| line.contains(what) && line.contains(&port)).count();
    fleet.adapters.iter().map(|adapter| count(adapter.stderr())).collect()
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
    let before = said(&fleet, 0, LEFT);
    let more =
        |fleet: &Fleet| said(fleet, 0, LEFT).iter().zip(&before).map(|(now, then)| now - then).collect::<Vec<_>>();
    fleet.services[0].freeze();
    let left = || async { more(&fleet).iter().all(|count| *count > 0).then_some(()) };
    wait::until("it is left", left).await;
    load.flows(ENOUGH).await;
    let rerouted: Vec<f64> = reroutes(&fleet).await;
    load.flows(ENOUGH).await;
    assert_eq!(reroutes(&fleet).await, rerouted, "nothing goes to it any more");
    assert_eq!(more(&fleet), [1, 1], "it is said once");
    let before = said(&fleet, 0, BACK);
    fleet.services[0].thaw();
    let back = || async { said(&fleet, 0, BACK).iter().zip(&before).all(|(now, then)| now > then).then_some(()) };
    wait::until("it is taken back", back).await;
    has_its_share(&fleet, 0, &load).await;
    let sent = load.end().await;
    all_answered(&sent, "SIGSTOP");
    all_stored(&fleet, &sent).await;
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
