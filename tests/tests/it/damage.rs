//! Disks that give back other things than were written: whoever watches the metrics sees it, with what is lost and what
//! can be restored.

use std::{fs, path::Path};

use calbridge_e2e::{
    system::{Plan, SECRET, System, TENANT},
    v1::{GetBookingRequest, Trigger},
    wait, webhook,
};
use tonic::Code;

/// The default of `--spool-bytes`.
const LIMIT: f64 = 2_147_483_648.0;

/// Metrics are no integers.
fn is(value: f64, count: f64) -> bool {
    (value - count).abs() < 0.5
}

async fn send(system: &System, trigger: Trigger, uid: &str) -> u16 {
    system.sender().send(TENANT, SECRET, webhook::of(trigger, uid)).await.status.into()
}

/// Changes a byte of the first of these words in the only segment of a spool.
fn spoil(spool: &Path, word: &str) {
    let paths = fs::read_dir(spool).unwrap().map(|entry| entry.unwrap().path());
    let segments: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "segment")).collect();
    let [segment] = segments.as_slice() else { unreachable!("one segment: {segments:?}") };
    let mut bytes = fs::read(segment).unwrap();
    let place = bytes.windows(word.len()).position(|window| window == word.as_bytes()).unwrap();
    bytes[place] ^= 1;
    fs::write(segment, bytes).unwrap();
}

#[tokio::test]
async fn what_a_spool_has_lost_is_counted_and_the_others_arrive() {
    let mut system = Plan::new().returning().with_spool().start().await;
    system.service.kill();
    for uid in ["first", "spoiled", "third"] {
        assert_eq!(send(&system, Trigger::BookingCreated, uid).await, 202, "{uid}");
    }
    let shows = async |name, count| is(system.adapter_metrics().await.sum(name, &[]), count);
    assert!(shows("calbridge_spool_damaged_total", 0.0).await && shows("calbridge_spool_limit_bytes", LIMIT).await);
    system.adapter.kill();
    spoil(&system.spool(), "spoiled");
    system.restart_adapter();
    let damaged = async || system.adapter_metrics().await.sum("calbridge_spool_damaged_total", &[]);
    wait::holds("the metric tells it", async || damaged().await >= 1.0).await;
    assert!(is(damaged().await, 1.0));
    system.restart_service();
    wait::holds("the others are there", async || system.api().all_bookings(TENANT).await.len() == 2).await;
    system.stop().await;
}

#[tokio::test]
async fn what_a_store_gives_back_otherwise_is_counted() {
    let mut system = Plan::new().returning().with_spool().start().await;
    for uid in ["first", "spoiled"] {
        wait::holds("it is stored", async || send(&system, Trigger::BookingCreated, uid).await == 200).await;
    }
    system.service.kill();
    let database = rusqlite::Connection::open(system.data().join("calbridge.db")).unwrap();
    let spoiled = "UPDATE bookings SET state = x'ff00ff' WHERE uid = 'spoiled'";
    assert_eq!(database.execute(spoiled, []).unwrap(), 1);
    database.close().unwrap();
    system.restart_service();
    let met = async || system.service_metrics().await.sum("calbridge_store_damaged_total", &[]);
    for _ in 0..2 {
        assert_eq!(system.api().all_bookings(TENANT).await.len(), 1);
        assert!(is(met().await, 1.0), "each booking that lists leave out counts once");
    }
    let asked =
        GetBookingRequest { tenant: TENANT.to_owned(), uid: "spoiled".to_owned(), ..GetBookingRequest::default() };
    assert_eq!(system.api().bookings().get_booking(asked).await.unwrap_err().code(), Code::Unavailable);
    assert!(is(met().await, 2.0), "and each read of one by itself");
    assert_eq!(send(&system, Trigger::BookingCancelled, "spoiled").await, 202, "the spool has it");
    wait::holds("a round that was refused counts, too", async || met().await >= 3.0).await;
    system.stop().await;
}
