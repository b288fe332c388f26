//! The spool's disk, with the service away: what the spool does not keep nobody keeps.

use std::{collections::BTreeMap, fs, path::PathBuf};

use calbridge_e2e::{
    chance::{self, Chance},
    disk::{Call, Disk, Fault, Outcome},
    system::{Plan, System, TENANT, readiness_of},
    wait,
    webhook::{SIGNATURE, created},
};
use hyper::Method;
use nix::errno::Errno;

use super::{Books, SOME, flow, said};

/// How often a disk is tried in vain before it works again.
const TRIES: u64 = 3;

/// A system whose service is away, and whose spool is on this disk.
async fn without_service(disk: &Disk) -> System {
    let mut system = Plan::new().returning().spool_on(disk).start().await;
    system.service.kill();
    system
}

/// Segments and how long they are.
fn segments(system: &System) -> BTreeMap<String, u64> {
    let files = fs::read_dir(system.spool()).unwrap().map(Result::unwrap);
    let named = files.map(|file| (file.file_name().into_string().unwrap(), file.metadata().unwrap().len()));
    named.filter(|(name, _)| name.ends_with(".segment")).collect()
}

/// Webhooks flow; the disk fails for a while, which is said and shown; then all goes on by itself.
async fn fails_for_a_while(faults: &[Fault], named: &str) {
    let disk = Disk::new(Chance::new(chance::seed()));
    let mut system = without_service(&disk).await;
    let flow = flow(&system, "w");
    flow.keeps(SOME).await;
    let strikes: Vec<_> = faults.iter().map(|fault| disk.strike(fault)).collect();
    flow.is_refused(SOME).await;
    readiness_of(&system.adapter, 503).await;
    let forged = [("Content-Type", "application/json"), (SIGNATURE, &"0".repeat(64))];
    let path = format!("/webhooks/calcom/{TENANT}");
    let refused = system.sender().request(Method::POST, &path, &forged, created("forged")).await.unwrap();
    assert_eq!(refused.status, 401, "what the disk can't keep for an operator is refused all the same");
    let tried = || std::future::ready((strikes.last().unwrap().hits() >= TRIES).then_some(()));
    wait::until("the disk is tried again", tried).await;
    assert!(!said(&system.adapter).contains("the spool's disk works again"));
    drop(strikes);
    readiness_of(&system.adapter, 200).await;
    flow.keeps(SOME).await;
    let mut books = Books::default();
    books.enter(flow.stop().await);
    let said = said(&system.adapter);
    let place = system.spool().display().to_string();
    for wanted in ["the spool's disk failed", named, &place, "the spool's disk works again"] {
        assert!(said.contains(wanted), "{wanted} is not said: {said}");
    }
    system.restart_service();
    books.close(system).await;
}

#[tokio::test]
async fn a_spool_without_room_promises_nothing_until_there_is_room() {
    fails_for_a_while(&[Fault::of(&[Call::Write], Outcome::Full(100_000))], "No space left on device").await;
}

#[tokio::test]
async fn a_spool_on_a_disk_that_is_read_only_promises_nothing_until_it_is_not() {
    fails_for_a_while(&[Fault::read_only()], "Read-only file system").await;
}

#[tokio::test]
async fn a_spool_that_can_t_name_its_next_segment_promises_nothing_until_it_can() {
    let names = Fault::of(&[Call::SyncFolder], Outcome::Error(Errno::EIO));
    let once = Fault::of(&[Call::SyncFile], Outcome::Error(Errno::EIO)).at(".segment").times(1);
    fails_for_a_while(&[once, names], "Input/output error").await;
}

#[tokio::test]
async fn a_segment_whose_sync_failed_is_not_added_to_again() {
    let seed = chance::seed();
    println!("{}={seed}", chance::SEED);
    let mut disk = Disk::new(Chance::new(seed));
    let mut system = without_service(&disk).await;
    let first = flow(&system, "w");
    first.keeps(SOME).await;
    let before = segments(&system);
    let strike = disk.strike(&Fault::of(&[Call::SyncFile], Outcome::Error(Errno::EIO)).at(".segment").times(1));
    first.is_refused(1).await;
    assert_eq!(strike.hits(), 1);
    readiness_of(&system.adapter, 503).await;
    readiness_of(&system.adapter, 200).await;
    let poisoned = segments(&system);
    first.keeps(SOME).await;
    let mut books = Books::default();
    books.enter(first.stop().await);
    let after = segments(&system);
    for name in before.keys() {
        assert_eq!(after[name], poisoned[name], "{name} was added to after the disk had not kept it");
    }
    assert!(after.len() > before.len(), "{after:?}");
    drop(strike);
    // What the system calls written is not there when the power is back.
    system.adapter.kill();
    said(&system.adapter);
    println!("{:?}", disk.cut_power());
    system.restart_service();
    system.restart_adapter();
    books.close(system).await;
}

#[tokio::test]
async fn a_disk_that_does_things_by_halves_is_asked_for_the_rest() {
    let (spool, data) = (Disk::new(Chance::new(1)), Disk::new(Chance::new(2)));
    let mut system = Plan::new().returning().data_on(&data).spool_on(&spool).start().await;
    let interrupted = Fault::of(&[Call::Write], Outcome::Error(Errno::EINTR)).times(SOME as u64);
    let by_halves = Fault::of(&[Call::Write], Outcome::Half);
    let strikes: Vec<_> =
        [&spool, &data].into_iter().flat_map(|disk| [disk.strike(&interrupted), disk.strike(&by_halves)]).collect();
    let flow = flow(&system, "w");
    flow.keeps(SOME).await;
    system.service.kill();
    flow.keeps(10 * SOME).await;
    system.restart_service();
    flow.keeps(10 * SOME).await;
    assert_eq!(flow.refused(), 0);
    assert!(strikes.iter().all(|strike| strike.hits() > 0), "{strikes:?}");
    let mut books = Books::default();
    books.enter(flow.stop().await);
    books.close(system).await;
    drop(strikes);
    // The record of a disk misses nothing: whoever looked into the database made its log and that log's index.
    let looked_at = |path: &PathBuf| path.ends_with("calbridge.db-wal") || path.ends_with("calbridge.db-shm");
    for mut disk in [spool, data] {
        let otherwise = disk.catch_up();
        assert!(otherwise.iter().all(looked_at), "{otherwise:?}");
    }
}
