//! The spool: what the service does not commit in time is answered 202, kept, and sent on.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use calbridge_adapter::{Settings, inspect_spool, simulation::Disk};
use calbridge_e2e::wait;
use calbridge_process::{Ack, Limits, SpoolSettings};
use calbridge_proto::v1::SubmitError;
use tempfile::TempDir;

use crate::support::{
    Adapter, created, limits,
    sender::{exchange, webhook},
    service::{Act, Service},
    settings,
};

/// The deadline of these tests' adapters for a commit.
const SHORT: Duration = Duration::from_secs(1);

fn with_spool(service: SocketAddr, folder: &Path) -> Settings {
    let spool = SpoolSettings { directory: folder.join("spool"), bytes: 1 << 30, age: Duration::from_mins(1) };
    let limits = Limits { forward_deadline: SHORT, ..limits() };
    Settings { spool: Some(spool), ..settings(&[format!("http://{service}")], limits) }
}

/// A spool that takes nothing.
fn with_full_spool(service: SocketAddr, folder: &Path) -> Settings {
    let mut settings = with_spool(service, folder);
    settings.spool.as_mut().unwrap().bytes = 0;
    settings
}

async fn start(settings: Settings) -> Adapter {
    let adapter = Adapter::start_with(settings).await;
    wait::holds("the adapter is ready", async || adapter.readiness.is_ready()).await;
    adapter
}

async fn stop(adapter: Adapter) {
    adapter.shutdown.cancel();
    wait::within("the adapter ends", adapter.running).await.unwrap().unwrap();
}

async fn status(adapter: &Adapter, uid: &str) -> u16 {
    exchange(adapter.address, webhook(&created(uid))).await.status
}

/// Below and above 64 KiB.
const LARGE: [usize; 2] = [60_000, 100_000];

/// A webhook of at least so many bytes.
fn large(bytes: usize) -> Vec<u8> {
    let mut body = created("uid-large");
    let end = body.len() - 1;
    body.splice(end..end, format!(",\"more\":\"{}\"", "x".repeat(bytes)).into_bytes());
    body
}

fn unable() -> SubmitError {
    SubmitError { code: 14, reason: "STORE_UNAVAILABLE".to_owned(), ..SubmitError::default() }
}

/// An address at which nobody listens, and somebody may later.
async fn nobody() -> SocketAddr {
    Service::start().await.address
}

#[tokio::test]
async fn what_comes_while_the_service_is_away_is_kept_and_sent_when_it_is_back() {
    let (folder, address) = (TempDir::new().unwrap(), nobody().await);
    let adapter = start(with_spool(address, folder.path())).await;
    let answer = exchange(adapter.address, webhook(&created("uid-1"))).await;
    let accepted = r#"{"status":"accepted","event":"BOOKING_CREATED"}"#;
    assert_eq!((answer.status, answer.body.as_str()), (202, accepted));
    assert!(adapter.readiness.is_ready(), "it can make webhooks durable");
    // The next process knows of it.
    stop(adapter).await;
    let adapter = start(with_spool(address, folder.path())).await;
    assert_eq!(status(&adapter, "uid-2").await, 202);

    let service = Service::start_on(address).await;
    wait::holds("both have arrived", async || service.arrivals().len() == 2).await;
    let events = service.events();
    // The second may still have been on its way when the service came, and is then the first.
    let arrived: BTreeSet<Vec<u8>> = events.iter().map(|event| event.raw_body.to_vec()).collect();
    assert_eq!(arrived, ["uid-1", "uid-2"].map(created).into());
    assert!(events.iter().all(|event| !event.request_id.is_empty() && event.payload.is_some()), "as they were typed");
    assert_eq!(status(&adapter, "uid-3").await, 200, "new ones go straight there");
    stop(adapter).await;

    let adapter = start(with_spool(address, folder.path())).await;
    assert_eq!(status(&adapter, "uid-4").await, 200);
    stop(adapter).await;
    assert_eq!(service.arrivals().len(), 4, "what was committed is not sent again");
}

#[tokio::test]
async fn a_commit_that_comes_late_is_a_202_and_is_not_asked_for_twice() {
    let (folder, service) = (TempDir::new().unwrap(), Service::start().await);
    let adapter = start(with_spool(service.address, folder.path())).await;
    assert_eq!(status(&adapter, "uid-1").await, 200);
    service.script([Act::Late(SHORT * 3)]);
    assert_eq!(status(&adapter, "uid-2").await, 202);
    let spool = folder.path().join("spool");
    wait::holds("the late answer settles it", async || inspect_spool(&spool, |_| {}).unwrap().events() == 0).await;
    assert_eq!(status(&adapter, "uid-3").await, 200);
    stop(adapter).await;
    let adapter = start(with_spool(service.address, folder.path())).await;
    assert_eq!(status(&adapter, "uid-4").await, 200);
    stop(adapter).await;
    assert_eq!(service.arrivals().len(), 4);
}

/// Whoever waits for a late answer holds the event, and nothing counts those.
#[tokio::test]
async fn of_a_large_event_no_late_answer_is_waited_for() {
    let (folder, service) = (TempDir::new().unwrap(), Service::start().await);
    let settings = with_spool(service.address, folder.path());
    let limits = Limits { body_bytes: 1 << 20, in_flight_bytes: 1 << 24, ..settings.limits };
    let adapter = start(Settings { limits, ..settings }).await;
    for (bytes, arrivals) in LARGE.into_iter().zip([1, 3]) {
        service.script([Act::Late(SHORT * 3)]);
        assert_eq!(exchange(adapter.address, webhook(&large(bytes))).await.status, 202);
        let spool = folder.path().join("spool");
        wait::holds("it is settled", async || inspect_spool(&spool, |_| {}).unwrap().events() == 0).await;
        assert_eq!(service.arrivals().len(), arrivals, "the larger one is sent again");
    }
    stop(adapter).await;
}

#[tokio::test]
async fn what_the_service_will_not_take_holds_nobody_up_and_is_kept() {
    let (folder, service) = (TempDir::new().unwrap(), Service::start().await);
    let adapter = start(with_spool(service.address, folder.path())).await;
    assert_eq!(status(&adapter, "uid-1").await, 200);
    let missing = || SubmitError { code: 7, reason: "SCOPE_MISSING".to_owned(), ..SubmitError::default() };
    // By the edge, and once by the drain.
    service.script([Act::Refuse(missing()), Act::Refuse(missing())]);
    assert_eq!(status(&adapter, "uid-2").await, 202, "an operator's mistake is a delay");
    wait::holds("it was tried again", async || service.arrivals().len() == 3).await;
    service.script([Act::Refuse(SubmitError { reason: "OVERLOADED".to_owned(), ..missing() })]);
    assert_eq!(status(&adapter, "uid-3").await, 202);
    wait::holds("the other has gone on", async || service.arrivals().len() == 5).await;
    stop(adapter).await;
    let adapter = start(with_spool(service.address, folder.path())).await;
    wait::holds("the one is tried when the process starts", async || service.arrivals().len() == 6).await;
    assert_eq!(service.arrivals()[5].event.raw_body, created("uid-2"));
    stop(adapter).await;
}

/// As where a booking's row can't be read: the service has nothing against the others.
#[tokio::test]
async fn what_can_not_be_committed_again_and_again_holds_nobody_up() {
    let (folder, address) = (TempDir::new().unwrap(), nobody().await);
    let adapter = start(with_spool(address, folder.path())).await;
    for uid in ["uid-bad", "uid-1", "uid-2"] {
        assert_eq!(status(&adapter, uid).await, 202);
    }
    let service = Service::start_on(address).await;
    service.refuse_always(created("uid-bad"), unable());
    let arrived = |uid: &str| service.events().iter().any(|event| event.raw_body == created(uid));
    wait::holds("the others have gone on", async || arrived("uid-1") && arrived("uid-2")).await;
    let spool = folder.path().join("spool");
    wait::holds("it alone is left", async || inspect_spool(&spool, |_| {}).unwrap().events() == 1).await;
    stop(adapter).await;
}

/// The others of their tenant are not to wait for each of them.
#[tokio::test]
async fn however_many_can_not_be_committed_the_others_go_on() {
    let (folder, address) = (TempDir::new().unwrap(), nobody().await);
    let adapter = start(with_spool(address, folder.path())).await;
    for _ in 0..100 {
        assert_eq!(status(&adapter, "uid-bad").await, 202);
    }
    assert_eq!(status(&adapter, "uid-1").await, 202);
    let service = Service::start_on(address).await;
    service.refuse_always(created("uid-bad"), unable());
    let arrived = |uid: &str| service.events().iter().any(|event| event.raw_body == created(uid));
    wait::holds("the other has gone on", async || arrived("uid-1")).await;
    let tries = service.arrivals().len();
    assert!(tries < 400, "{tries} tries of others went before");
    stop(adapter).await;
}

/// A file is much larger than what of it is not taken.
#[tokio::test]
async fn what_the_service_will_not_take_does_not_fill_the_spool() {
    let (folder, service) = (TempDir::new().unwrap(), Service::start().await);
    let settings = with_spool(service.address, folder.path());
    let limits = Limits { body_bytes: 1 << 22, in_flight_bytes: 1 << 24, ..settings.limits };
    let adapter = start(Settings { ack: Ack::Spooled, limits, ..settings }).await;
    let missing = SubmitError { code: 7, reason: "SCOPE_MISSING".to_owned(), ..SubmitError::default() };
    let large = "x".repeat(1 << 19);
    for bad in ["uid-bad", "uid-worse"] {
        service.refuse_always(created(bad), missing.clone());
        assert_eq!(status(&adapter, bad).await, 202);
        // More than a file holds.
        for number in 0..36 {
            assert_eq!(status(&adapter, &format!("{large}-{bad}-{number}")).await, 202);
        }
    }
    let spool = folder.path().join("spool");
    let look = || inspect_spool(&spool, |_| {}).unwrap();
    // They stand in the file that is added to, which is left for as long as there is room.
    wait::holds("they are left in one file", async || look().events() == 2 && look().bytes <= 1 << 24).await;
    stop(adapter).await;
}

/// What the service has committed is answered, whatever becomes of the disk.
#[tokio::test]
async fn a_commit_that_comes_while_the_disk_hangs_is_an_answer() {
    let (folder, service) = (TempDir::new().unwrap(), Service::start().await);
    let disk = Disk::simulated(|_| Ok(()), || Duration::from_hours(1));
    let adapter = Adapter::start_on(disk, with_spool(service.address, folder.path())).await;
    wait::holds("the adapter is ready", async || adapter.readiness.is_ready()).await;
    service.script([Act::Late(SHORT * 2)]);
    let began = Instant::now();
    assert_eq!(status(&adapter, "uid-1").await, 200);
    assert!(began.elapsed() < Duration::from_secs(10), "the disk is waited for so long where nobody commits");
    stop(adapter).await;
}

/// Cal.com tries again a few times at the most: a full spool must not cost what the service would commit.
#[tokio::test]
async fn what_the_spool_does_not_take_the_service_may_commit() {
    let (folder, service) = (TempDir::new().unwrap(), Service::start().await);
    let adapter = start(Settings { ack: Ack::Spooled, ..with_full_spool(service.address, folder.path()) }).await;
    assert_eq!(status(&adapter, "uid-1").await, 200);
    let events = service.events();
    assert!(events.len() == 1 && events[0].payload.is_some(), "it is typed all the same");
    service.script([Act::Refuse(unable())]);
    assert_eq!(status(&adapter, "uid-2").await, 503, "neither takes it");
    stop(adapter).await;
}

#[tokio::test]
async fn a_commit_is_waited_for_longer_where_the_spool_does_not_take_it() {
    let (folder, service) = (TempDir::new().unwrap(), Service::start().await);
    let adapter = start(with_full_spool(service.address, folder.path())).await;
    service.script([Act::Late(SHORT * 2)]);
    assert_eq!(status(&adapter, "uid-1").await, 200);
    assert_eq!(service.arrivals().len(), 1);
    stop(adapter).await;
}

#[tokio::test]
async fn everything_goes_by_the_spool_where_that_is_asked_for() {
    let (folder, service) = (TempDir::new().unwrap(), Service::start().await);
    let spooled = || Settings { ack: Ack::Spooled, ..with_spool(service.address, folder.path()) };
    let adapter = start(spooled()).await;
    for number in 0..20 {
        assert_eq!(status(&adapter, &format!("uid-{number}")).await, 202);
    }
    wait::holds("all have arrived", async || service.arrivals().len() == 20).await;
    assert!(service.events().iter().all(|event| event.payload.is_some()), "they are typed on the way");
    stop(adapter).await;
    let adapter = start(spooled()).await;
    assert_eq!(status(&adapter, "uid-20").await, 202);
    wait::holds("the next has arrived", async || service.arrivals().len() == 21).await;
    stop(adapter).await;
}

/// What is too large to be typed later is typed at once, and nobody sees a difference.
#[tokio::test]
async fn a_large_body_goes_by_the_spool_as_well() {
    let (folder, service) = (TempDir::new().unwrap(), Service::start().await);
    let settings = with_spool(service.address, folder.path());
    let limits = Limits { body_bytes: 1 << 20, in_flight_bytes: 1 << 24, ..settings.limits };
    let adapter = start(Settings { ack: Ack::Spooled, limits, ..settings }).await;
    for (index, bytes) in LARGE.into_iter().enumerate() {
        let answer = exchange(adapter.address, webhook(&large(bytes))).await;
        let accepted = r#"{"status":"accepted","event":"BOOKING_CREATED"}"#;
        assert_eq!((answer.status, answer.body.as_str()), (202, accepted));
        wait::holds("it has arrived", async || service.arrivals().len() > index).await;
        let event = service.events().pop().unwrap();
        assert!(event.payload.is_some() && event.event_time.is_some());
        assert_eq!(event.raw_body, large(bytes));
    }
    stop(adapter).await;
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_no_start() {
    let (folder, address) = (TempDir::new().unwrap(), nobody().await);
    let adapter = start(with_spool(address, folder.path())).await;
    let second = Adapter::start_with(with_spool(address, folder.path())).await;
    let why = wait::within("the second ends", second.running).await.unwrap().unwrap_err().to_string();
    assert!(why.starts_with("--spool-dir = ") && why.contains("another calbridge"), "{why}");
    stop(adapter).await;
}
