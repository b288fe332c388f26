//! The spool between two processes: an outage is a delay. Whatever was answered with a 2xx is in the store afterwards,
//! once, whoever was killed meanwhile.

use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path, sync::Arc};

use calbridge_e2e::{
    metrics::Page,
    program::Start,
    system::{Plan, SECRET, System, TENANT, readiness_of},
    wait,
    webhook::{Sender, created, sha256},
};
use tokio::{sync::Semaphore, task::JoinSet};

/// Webhooks that come while the service is away.
const OUTAGE: usize = 1_000;
/// Of the next so many have been answered when the adapter is killed.
const IN_FLOW: u32 = 200;
/// At once.
const SENDERS: usize = 16;
/// Bytes of a large webhook's notes: some hundreds of them are more than one segment.
const NOTES_BYTES: usize = 50_000;
/// Bytes of a segment, and of the room that is made for the next one.
const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

fn large(uid: &str) -> Vec<u8> {
    let mut body: serde_json::Value = serde_json::from_slice(&created(uid)).unwrap();
    body["payload"]["additionalNotes"] = "n".repeat(NOTES_BYTES).into();
    body.to_string().into_bytes()
}

/// Sends so many, several at a time; each that was answered with a 2xx.
async fn send(system: &System, prefix: &str, count: usize) -> Vec<Vec<u8>> {
    send_to(system.adapter.listening().http(), (prefix, created), count, &Arc::new(Semaphore::new(0))).await
}

/// The same with such bodies; each 2xx adds a permit to `accepted`.
async fn send_to(
    edge: SocketAddr,
    (prefix, body_of): (&str, fn(&str) -> Vec<u8>),
    count: usize,
    accepted: &Arc<Semaphore>,
) -> Vec<Vec<u8>> {
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let (prefix, accepted) = (prefix.to_owned(), Arc::clone(accepted));
        senders.spawn(async move {
            let mut kept = Vec::new();
            for number in (sender..count).step_by(SENDERS) {
                let body = body_of(&format!("{prefix}{number}"));
                let answer = Sender::new(edge).try_send(TENANT, SECRET, body.clone()).await;
                if answer.is_ok_and(|answer| answer.status.is_success()) {
                    accepted.add_permits(1);
                    kept.push(body);
                }
            }
            kept
        });
    }
    senders.join_all().await.into_iter().flatten().collect()
}

/// Waits until all of these are stored, and sees to it that none is there twice.
async fn all_arrive_once(system: &System, kept: &[Vec<u8>]) {
    let stored = || async {
        let mut stored = BTreeMap::<Vec<u8>, usize>::new();
        for delivery in system.api().all_deliveries(TENANT).await {
            *stored.entry(delivery.body_sha256).or_default() += 1;
        }
        kept.iter().all(|body| stored.contains_key(&sha256(body)[..])).then_some(stored)
    };
    let stored = wait::until("all that was promised is stored", stored).await;
    assert!(stored.values().all(|count| *count == 1), "a body is stored twice");
    wait::until("the spool is empty", || async { (depth(system).await == 0.0).then_some(()) }).await;
}

async fn depth(system: &System) -> f64 {
    system.adapter_metrics().await.sum("calbridge_spool_depth", &[])
}

#[tokio::test]
async fn an_outage_is_a_delay_even_where_the_adapter_is_killed_in_it() {
    let mut system = Plan::new().returning().with_spool().start().await;
    wait::until("the first is committed", || async {
        (system.sender().send(TENANT, SECRET, created("first")).await.status == 200).then_some(())
    })
    .await;
    system.service.kill();
    let mut kept = send(&system, "before", OUTAGE).await;
    assert_eq!(kept.len(), OUTAGE, "every webhook is answered with a 2xx");
    readiness_of(&system.adapter, 200).await;

    // In full flow: what has no answer was not promised.
    let (edge, accepted) = (system.adapter.listening().http(), Arc::new(Semaphore::new(0)));
    let flows = Arc::clone(&accepted);
    let sending = tokio::spawn(async move { send_to(edge, ("middle", created), OUTAGE, &flows).await });
    wait::within("they flow", accepted.acquire_many(IN_FLOW)).await.unwrap().forget();
    system.adapter.kill();
    let killed = sending.await.unwrap();
    assert!(!killed.is_empty() && killed.len() < OUTAGE, "{} of {OUTAGE}", killed.len());
    kept.extend(killed);
    system.restart_adapter();
    kept.extend(send(&system, "after", 50).await);
    wait::until("what the last process had is there", || async { (depth(&system).await >= 1_200.0).then_some(()) })
        .await;

    system.restart_service();
    // In the middle of the drain, once more.
    let drains = || async {
        let drained = system.adapter_metrics().await.sum("calbridge_spool_drained_total", &[]);
        (drained > 100.0).then_some(())
    };
    wait::until("it drains", drains).await;
    system.adapter.kill();
    system.restart_adapter();
    let late = send(&system, "late", 50).await;
    assert_eq!(late.len(), 50);
    kept.extend(late);
    all_arrive_once(&system, &kept).await;
    system.stop().await;
}

/// How far the room for the next segment has come, by the files' lengths.
#[derive(Clone, Copy, Debug)]
enum Room {
    /// It is being made, or has just been.
    Begun,
    /// It waits for its turn.
    Waiting,
    /// It is the segment that is written to.
    Used,
}

impl Room {
    /// Of a spool that had so many segments before.
    fn has_come(self, spool: &Path, before: usize) -> bool {
        let spare = fs::metadata(spool.join("spare")).map(|spare| spare.len());
        match self {
            Self::Begun => spare.is_ok(),
            Self::Waiting => spare.is_ok_and(|length| length == SEGMENT_BYTES),
            Self::Used => segments(spool) > before + 1,
        }
    }
}

fn segments(spool: &Path) -> usize {
    let names = fs::read_dir(spool).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| path.extension().is_some_and(|extension| extension == "segment")).count()
}

#[tokio::test]
async fn an_adapter_that_is_killed_amid_a_change_of_segments_has_lost_nothing() {
    let mut system = Plan::new().returning().with_spool().start().await;
    system.service.kill();
    let spool = system.spool();
    let mut kept = Vec::new();
    for room in [Room::Begun, Room::Waiting, Room::Used] {
        readiness_of(&system.adapter, 200).await;
        let (edge, before) = (system.adapter.listening().http(), segments(&spool));
        let prefix = format!("{room:?}");
        let sending =
            tokio::spawn(async move { send_to(edge, (&prefix, large), OUTAGE, &Arc::new(Semaphore::new(0))).await });
        wait::holds(&format!("{room:?}"), async || room.has_come(&spool, before)).await;
        system.adapter.kill();
        let answered = sending.await.unwrap();
        assert!(!answered.is_empty() && answered.len() < OUTAGE, "{room:?}: {} of {OUTAGE}", answered.len());
        kept.extend(answered);
        system.restart_adapter();
    }
    system.restart_service();
    all_arrive_once(&system, &kept).await;
    system.stop().await;
}

#[tokio::test]
async fn a_service_that_hangs_is_waited_for_and_then_caught_up_with() {
    let mut system = Plan::new().with_spool().start().await;
    let mut kept = send(&system, "before", 20).await;
    system.service.freeze();
    let hung = send(&system, "hung", 100).await;
    assert_eq!(hung.len(), 100, "each is answered with a 2xx");
    kept.extend(hung);
    system.service.thaw();
    kept.extend(send(&system, "after", 20).await);
    all_arrive_once(&system, &kept).await;
    let twice = system.api().all_deliveries(TENANT).await.iter().filter(|kept| kept.duplicate_count > 0).count();
    println!("{twice} of {} were sent twice", kept.len());
    system.stop().await;
}

#[tokio::test]
async fn one_process_has_one_spool_and_says_where() {
    let folder = tempfile::TempDir::new().unwrap();
    let adapter = || {
        Start::new("calbridge-adapter")
            .flag("--http", "127.0.0.1:0")
            .flag("--admin", "127.0.0.1:0")
            .flag("--service", "http://127.0.0.1:9")
            .flag("--data-dir", folder.path())
            .env("CALCOM_WEBHOOK_SECRET", SECRET)
    };
    let mut first = adapter().serve();
    readiness_of(&first, 200).await;
    assert!(folder.path().join("spool").is_dir());
    let second = adapter().run().await;
    assert_ne!(second.code, Some(0));
    let place = folder.path().join("spool").display().to_string();
    assert!(second.stderr.contains(&place) && second.stderr.contains("--spool-dir none"), "{}", second.stderr);
    let shown = || async {
        let page = Page::read(first.listening().admin()).await;
        let names = ["calbridge_spool_depth", "calbridge_spool_bytes_bytes", "calbridge_spool_oldest_age_seconds"];
        names.iter().all(|name| page.has(name)).then_some(())
    };
    wait::until("its numbers are on the page", shown).await;
    first.stop().await;
}

#[tokio::test]
async fn the_age_of_what_waits_is_shown() {
    let mut system = Plan::new().returning().with_spool().start().await;
    system.service.kill();
    assert_eq!(send(&system, "old", 1).await.len(), 1);
    let aged = || async {
        let age = system.adapter_metrics().await.sum("calbridge_spool_oldest_age_seconds", &[]);
        (age > 1.0).then_some(())
    };
    wait::until("it grows older", aged).await;
    system.restart_service();
    all_arrive_once(&system, &[created("old0")]).await;
    system.stop().await;
}

#[tokio::test]
async fn what_the_spool_sends_is_counted_as_sent() {
    let mut system = Plan::new().with_spool().adapter("--ack", "spooled").start().await;
    let kept = send(&system, "first", 5).await;
    all_arrive_once(&system, &kept).await;
    let page = system.adapter_metrics().await;
    let counted = ["sent_messages_total", "operation_duration_seconds_count"];
    let counted = counted.map(|name| page.sum(&format!("messaging_client_{name}"), &[]).to_string());
    assert_eq!(counted, ["5", "5"], "{}", page.text());
    system.stop().await;
}

#[tokio::test]
async fn an_operator_sees_what_waits_and_sends_it_on_without_an_adapter() {
    let mut system = Plan::new().returning().with_spool().start().await;
    let service = format!("http://{}", system.service.listening().grpc());
    system.service.kill();
    let kept = send(&system, "waits", 20).await;
    let directory = system.spool();
    let run = async |arguments: &[&str]| {
        let start = arguments.iter().fold(Start::new("calbridge").arg("spool"), |start, word| start.arg(*word));
        start.flag("--spool-dir", &directory).run().await
    };
    let status = run(&["status", "--output", "json"]).await;
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!((&status["events"], &status["in_use"], &status["unreadable"]), (&20.into(), &true.into(), &0.into()));
    assert_eq!(status["tenants"][0]["tenant"], TENANT);
    let table = run(&["status"]).await.stdout;
    assert!(table.contains("20 webhooks wait") && table.contains("an adapter sends them on"), "{table}");
    let listed = run(&["inspect", "--output", "json"]).await.stdout;
    assert!(!listed.contains('@') && !listed.contains("waits"), "nobody's data is shown: {listed}");
    let listed: Vec<serde_json::Value> = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.len(), 20);
    assert!(listed.iter().all(|event| event["trigger_name"] == "BOOKING_CREATED" && event["body_bytes"] != 0));
    let cut = run(&["inspect", "--limit", "3"]).await.stdout;
    assert!(cut.contains("and 17 more"), "{cut}");
    let busy = run(&["drain", "--service", &service]).await;
    assert!(busy.code == Some(1) && busy.stderr.contains("another calbridge has this spool"), "{}", busy.stderr);

    system.adapter.kill();
    let drain = Start::new("calbridge").arg("spool").arg("drain").flag("--spool-dir", &directory);
    let mut waiting = drain.flag("--service", &service).spawn();
    let why = async || waiting.stderr().contains("no stream to the booking service").then_some(());
    wait::until("it says why nothing is taken", why).await;
    waiting.kill();
    system.restart_service();
    let drained = run(&["drain", "--service", &service]).await;
    assert_eq!((drained.code, drained.stdout.trim()), (Some(0), "20 sent, 0 left"), "{}", drained.stderr);
    assert_eq!(run(&["drain", "--service", &service]).await.stdout.trim(), "0 sent, 0 left");
    system.restart_adapter();
    all_arrive_once(&system, &kept).await;
    let none = Start::new("calbridge").arg("spool").arg("status").flag("--data-dir", "nowhere").run().await;
    assert!(none.code == Some(1) && none.stderr.contains("--spool-dir"), "{}", none.stderr);
    system.stop().await;
}
