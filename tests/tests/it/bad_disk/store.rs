//! `SQLite`'s disk. There is no spool behind it here: what the store does not keep is refused.

use std::time::Duration;

use calbridge_e2e::{
    chance::{self, Chance},
    disk::{Call, Disk, Fault, Outcome},
    system::{Plan, SECRET, System, TENANT, readiness_of},
    v1::{
        ConsumeRequest, Consumer, CreateConsumerRequest, ListBookingsRequest, WatchTransitionsRequest,
        consume_request::{Open, Request},
        consume_response::Response,
        consumer_service_client::ConsumerServiceClient,
        watch_transitions_response::Entry,
    },
    wait,
    webhook::created,
};
use nix::errno::Errno;
use tokio::time::timeout;
use tokio_stream::StreamExt as _;

use super::{Books, SOME, flow, said};

/// Ends a program whose disk did not take what it was to keep.
const EXIT_DISK: i32 = 74;

async fn on(disk: &Disk) -> System {
    Plan::new().returning().data_on(disk).adapter("--forward-deadline", "2s").start().await
}

/// Webhooks flow; the disk fails for a while, which is shown; then all goes on by itself.
async fn fails_for_a_while(fault: Fault) {
    fails(fault, true).await;
}

async fn fails(fault: Fault, shows: bool) {
    let disk = Disk::new(Chance::new(chance::seed()));
    let system = on(&disk).await;
    let flow = flow(&system, "w");
    flow.keeps(SOME).await;
    let strike = disk.strike(&fault);
    flow.is_refused(SOME).await;
    if shows {
        readiness_of(&system.service, 503).await;
        readiness_of(&system.adapter, 503).await;
    }
    assert!(strike.hits() > 0);
    drop(strike);
    readiness_of(&system.service, 200).await;
    system.ready().await;
    flow.keeps(SOME).await;
    let mut books = Books::default();
    books.enter(flow.stop().await);
    books.close(system).await;
}

#[tokio::test]
async fn a_store_without_room_keeps_nothing_until_there_is_room() {
    // What is small, as a probe's write is, may still find room in a log that begins anew.
    fails(Fault::of(&[Call::Write], Outcome::Full(300_000)), false).await;
}

#[tokio::test]
async fn a_store_on_a_disk_that_is_read_only_keeps_nothing_until_it_is_not() {
    fails_for_a_while(Fault::read_only()).await;
}

#[tokio::test]
async fn a_log_that_can_t_be_written_keeps_nothing_until_it_can() {
    fails_for_a_while(Fault::of(&[Call::Write], Outcome::Error(Errno::EIO)).at("-wal")).await;
}

#[tokio::test]
async fn a_database_that_can_t_be_read_is_read_again_when_it_can() {
    let disk = Disk::new(Chance::new(chance::seed()));
    let system = on(&disk).await;
    let flow = flow(&system, "w");
    flow.keeps(SOME).await;
    let strike = disk.strike(&Fault::of(&[Call::Read], Outcome::Error(Errno::EIO)));
    let list = || async {
        let request = ListBookingsRequest { tenant: TENANT.to_owned(), ..ListBookingsRequest::default() };
        system.api().bookings().list_bookings(request).await.map(drop).map_err(|status| status.code())
    };
    let refused = || async { (list().await == Err(tonic::Code::Unavailable)).then_some(()) };
    wait::until("a read is refused", refused).await;
    assert!(strike.hits() > 0);
    drop(strike);
    wait::until("reads are answered", || async { list().await.ok() }).await;
    readiness_of(&system.service, 200).await;
    flow.keeps(SOME).await;
    let mut books = Books::default();
    books.enter(flow.stop().await);
    books.close(system).await;
}

#[tokio::test]
async fn a_database_that_can_t_be_written_costs_no_webhook_while_its_log_can() {
    let disk = Disk::new(Chance::new(1));
    let system = on(&disk).await;
    let flow = flow(&system, "w");
    flow.keeps(SOME).await;
    let strike = disk.strike(&Fault::of(&[Call::Write], Outcome::Error(Errno::EIO)).at("calbridge.db"));
    flow.keeps(10 * SOME).await;
    assert!(strike.hits() > 0);
    assert_eq!(flow.refused(), 0);
    drop(strike);
    flow.keeps(SOME).await;
    let mut books = Books::default();
    books.enter(flow.stop().await);
    books.close(system).await;
}

#[tokio::test]
async fn what_is_on_its_way_to_the_disk_is_told_to_nobody() {
    /// Longer than a service waits before it looks whether a consumer has something new.
    const LOOK: Duration = Duration::from_secs(2);
    let disk = Disk::new(Chance::new(1));
    let plan = Plan::new().data_on(&disk).adapter("--forward-deadline", "20s").adapter("--shutdown-grace", "30s");
    let system = plan.start().await;
    let consumer = Consumer { tenant: TENANT.to_owned(), name: "c".to_owned(), ..Consumer::default() };
    let mut consumers = ConsumerServiceClient::new(system.api().channel());
    let made = CreateConsumerRequest { consumer: Some(consumer), from_head: true, ..CreateConsumerRequest::default() };
    consumers.create_consumer(made).await.unwrap();
    let open = Open { tenant: TENANT.to_owned(), consumer: "c".to_owned(), max_in_flight: 0 };
    let open = ConsumeRequest { request: Some(Request::Open(open)) };
    let requests = tokio_stream::iter([open]).chain(tokio_stream::pending());
    let handed_out = consumers.consume(requests).await.unwrap().into_inner();
    let mut handed_out = handed_out.filter_map(|answer| match answer.unwrap().response {
        Some(Response::Item(item)) => Some(item.transition.unwrap().uid),
        _ => None,
    });
    let stall = disk.strike(&Fault::of(&[Call::SyncFile], Outcome::Stall).at("-wal"));
    let sender = system.sender();
    let sending = tokio::spawn(async move { sender.send(TENANT, SECRET, created("u1")).await.outcome() });
    wait::until("it is written", || std::future::ready((stall.hits() > 0).then_some(()))).await;
    let request = WatchTransitionsRequest { tenant: TENANT.to_owned(), ..WatchTransitionsRequest::default() };
    let watched = system.api().bookings().watch_transitions(request).await.unwrap().into_inner();
    let mut watched = watched.filter_map(|answer| match answer.unwrap().entry {
        Some(Entry::Transition(transition)) => Some(transition.uid),
        _ => None,
    });
    let told = timeout(LOOK, async {
        tokio::select! { uid = watched.next() => uid, uid = handed_out.next() => uid }
    });
    assert!(told.await.is_err() && !sending.is_finished(), "a power cut could still take it back");
    drop(stall);
    assert_eq!(wait::within("its answer", sending).await.unwrap(), "applied");
    assert_eq!(wait::within("the watch", watched.next()).await.as_deref(), Some("u1"));
    assert_eq!(wait::within("the consumer", handed_out.next()).await.as_deref(), Some("u1"));
}

/// The disk does not take what it is to keep, once, and says so. The service ends and says why. Whoever starts it again
/// finds all that was promised, and so it is when the power is cut then.
async fn is_not_believed_again(of: &'static str) {
    let seed = chance::seed();
    println!("{}={seed}", chance::SEED);
    let mut disk = Disk::new(Chance::new(seed));
    let mut system = on(&disk).await;
    let mut books = Books::default();
    let first = flow(&system, "first");
    first.keeps(SOME).await;
    let failing = Fault::of(&[Call::SyncFile], Outcome::Error(Errno::EIO));
    let strike = disk.strike(&failing.clone().at(of).times(1));
    let status = system.service.exit().await;
    assert_eq!(status.code(), Some(EXIT_DISK));
    assert_eq!(strike.hits(), 1);
    let said = said(&system.service);
    assert!(said.contains("the disk failed") && said.contains("the next one reads the write-ahead log anew"), "{said}");
    first.is_refused(1).await;
    books.enter(first.stop().await);
    drop(strike);
    disk.catch_up();
    let strike = disk.strike(&failing);
    let ended = system.service_plan().run().await;
    let place = system.data().join("calbridge.db-wal").display().to_string();
    assert!(ended.code != Some(0) && ended.stderr.contains(&place), "the disk fails still: {ended:?}");
    drop(strike);
    disk.catch_up();

    system.restart_service();
    system.ready().await;
    books.compare(&system.data(), "after the disk failed");
    let second = flow(&system, "second");
    second.keeps(SOME).await;
    system.service.kill();
    books.enter(second.stop().await);
    println!("{:?}", disk.cut_power());
    system.restart_service();
    system.ready().await;
    books.compare(&system.data(), "after the power cut");
    books.close(system).await;
}

#[tokio::test]
async fn a_log_that_the_disk_did_not_take_is_not_believed_again() {
    is_not_believed_again("-wal").await;
}

#[tokio::test]
async fn a_database_that_the_disk_did_not_take_is_not_believed_again() {
    is_not_believed_again("calbridge.db").await;
}
