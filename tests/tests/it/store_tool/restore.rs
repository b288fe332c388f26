//! A backup in the middle of a burst, the service killed, and a service on what was restored.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
};

use calbridge_e2e::{
    postgres,
    system::{SECRET, System, TENANT},
    v1::Booking,
    wait,
    webhook::Sender,
};
use prost::Message as _;
use tokio::{sync::Semaphore, task::JoinSet};

use super::{FIRST, Kind, back_up, cancelled, created, told, tool};

const SENDERS: usize = 6;
/// Lives that each sender tells: a booking that is made, and every second time cancelled.
const EACH: usize = 40;
/// 2xx answers before the backup begins, and between its end and the kill.
const ENOUGH: usize = 60;
/// Where the restored store is.
const RESTORED: &str = "restored";
/// How far the head of a restored one is moved: further than this test hands positions out.
const STEP: u64 = 1_000_000;

/// What was sent, and in which order it was answered with a 2xx.
#[derive(Default)]
struct Told {
    sent: Mutex<Vec<Vec<u8>>>,
    kept: Mutex<Vec<Vec<u8>>>,
}

fn burst(system: &System, told: &Arc<Told>, accepted: &Arc<Semaphore>) -> JoinSet<()> {
    let edge = system.adapter.listening().http();
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let (told, accepted) = (Arc::clone(told), Arc::clone(accepted));
        senders.spawn(async move {
            let client = Sender::new(edge);
            for number in 0..EACH {
                let uid = uid(sender, number);
                let cancel = (number % 2 == 1).then(|| cancelled(&uid));
                for body in [Some(created(&uid)), cancel].into_iter().flatten() {
                    told.sent.lock().unwrap().push(body.clone());
                    let answer = client.try_send(TENANT, SECRET, body.clone()).await;
                    if answer.is_ok_and(|answer| answer.status.is_success()) {
                        told.kept.lock().unwrap().push(body);
                        accepted.add_permits(1);
                    }
                }
            }
        });
    }
    senders
}

fn uid(sender: usize, number: usize) -> String {
    format!("life{sender}x{number}")
}

fn uids() -> impl Iterator<Item = String> {
    (0..SENDERS).flat_map(|sender| (0..EACH).map(move |number| uid(sender, number)))
}

async fn enough(accepted: &Semaphore) {
    let permits = accepted.acquire_many(u32::try_from(ENOUGH).unwrap());
    wait::within("the burst flows", permits).await.unwrap().forget();
}

/// Every booking that is known, as it is read.
async fn bookings(system: &System) -> BTreeMap<String, Booking> {
    let mut known = BTreeMap::new();
    for uid in uids() {
        if let Some(booking) = system.api().booking(TENANT, &uid).await {
            known.insert(uid, booking);
        }
    }
    known
}

/// As the README says it.
fn restore(kind: &Kind, backup: &Path) {
    match kind {
        Kind::Sqlite(_) => {
            let place = kind.file(RESTORED);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::copy(backup, &place).unwrap();
        }
        Kind::Postgres(server) => {
            let _ = server.query(&format!("CREATE DATABASE {RESTORED}"));
            let mut command = Command::new(postgres::program("pg_restore"));
            command.args(["--no-owner", "--exit-on-error", "--dbname", &server.url_of(RESTORED)]).arg(backup);
            let restored = command.output().unwrap();
            assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
        }
    }
}

#[tokio::test]
async fn a_backup_under_load_is_restored_whole() {
    for kind in Kind::both() {
        backed_up_and_restored(&kind).await;
    }
}

async fn backed_up_and_restored(kind: &Kind) {
    let folder = tempfile::TempDir::new().unwrap();
    let backup = folder.path().join("backup");
    let mut system = kind.system(FIRST).await;
    let (told_all, accepted) = (Arc::new(Told::default()), Arc::new(Semaphore::new(0)));
    let mut burst = burst(&system, &told_all, &accepted);
    enough(&accepted).await;
    let before = told_all.kept.lock().unwrap().clone();
    let made = back_up(&kind.url(FIRST), &backup).await;
    let cut = made["position"].as_str().unwrap().to_owned();
    assert_eq!(made["bytes"].as_u64().unwrap(), fs::metadata(&backup).unwrap().len());
    enough(&accepted).await;
    let then = bookings(&system).await;
    system.service.kill();
    burst.shutdown().await;
    drop(system.adapter);

    restore(kind, &backup);
    let url = kind.url(RESTORED);
    assert_eq!(told(tool(&url, "stats").arg("--exact")).await["position"], cut.as_str());
    let moved = told(tool(&url, "advance-head").flag("--by", STEP.to_string())).await;
    assert_eq!(moved["position_before"], cut.as_str());
    let system = kind.system(RESTORED).await;
    as_before(&system, &then, &cut).await;
    told_again(&system, &told_all, &before, moved["position_after"].as_str().unwrap()).await;
    let mut system = system;
    system.stop().await;
}

/// What last changed up to the cut is there, byte for byte; what changed behind it is as old as the cut, or not there.
async fn as_before(system: &System, then: &BTreeMap<String, Booking>, cut: &str) {
    let now = bookings(system).await;
    let mut same = 0;
    for (uid, booking) in then {
        let restored = now.get(uid);
        if booking.position.as_str() <= cut {
            assert_eq!(restored.unwrap().encode_to_vec(), booking.encode_to_vec(), "{uid}");
            same += 1;
        } else {
            assert!(restored.is_none_or(|restored| restored.position.as_str() <= cut), "{uid}");
        }
    }
    println!("{same} of {} bookings are the same, {} were restored", then.len(), now.len());
    assert!(same > 0 && then.len() > same, "the backup was made in the middle");
}

/// Cal.com's copies: what the backup has is a duplicate, all else is applied and lies behind every position of before.
async fn told_again(system: &System, told: &Told, before: &[Vec<u8>], moved: &str) {
    let sender = system.sender();
    let sent = told.sent.lock().unwrap().clone();
    let mut applied = 0;
    for body in &sent {
        let outcome = sender.send(TENANT, SECRET, body.clone()).await.outcome();
        let kept = before.contains(body);
        assert!(outcome == "duplicate" || !kept && outcome == "applied", "{outcome}, kept before the backup: {kept}");
        applied += usize::from(outcome == "applied");
    }
    assert!(applied > 0);
    let behind = |position: &str| position > moved;
    let deliveries = system.api().all_deliveries(TENANT).await;
    assert_eq!(deliveries.len(), sent.len(), "each is there once");
    assert_eq!(deliveries.iter().filter(|delivery| behind(&delivery.position)).count(), applied);
    let changed = bookings(system).await;
    assert!(changed.values().any(|booking| behind(&booking.position)));
}
