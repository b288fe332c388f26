//! What is handed out where nobody hears of it.

use std::time::Duration;

use calbridge_e2e::wait;
use calbridge_proto::v1::{
    BookingEvent, Consumer, Trigger,
    consume_request::{Ack, Extend, Request},
    consume_response::Item,
};
use tonic::{Code, transport::Endpoint};

use super::{Worker, look, make, named, reason, seconds, uid};
use crate::{
    events::{created, event, golden},
    harness::Harness,
};

/// A service with one entry for a consumer, which nobody is told of though it is handed out.
async fn untold() -> Harness {
    let service = Harness::start().await;
    let ack_wait = seconds(600);
    make(&service, Consumer { ack_wait, ..named("c") }).await.unwrap();
    service.submit(created("u1")).await.unwrap();
    service.control.telling.send_replace(false);
    service
}

async fn told_to_another(service: &Harness) {
    service.control.telling.send_replace(true);
    let mut other = Worker::open(service, "c", 1).await;
    let item = wait::within("the entry, before its lease has ended", other.item()).await;
    assert_eq!((uid(&item), item.delivery_count), ("u1", 1), "nobody had it before");
}

#[tokio::test]
async fn what_is_handed_to_a_client_that_has_gone_meanwhile_goes_to_others_at_once() {
    let service = untold().await;
    let gone = Worker::open(&service, "c", 1).await;
    wait::holds("it is out", async || look(&service, "c").await.in_flight == 1).await;
    drop(gone);
    // On the same connection: the service hears of the end first.
    for _ in 0..20 {
        look(&service, "c").await;
    }
    told_to_another(&service).await;
}

#[tokio::test]
async fn what_is_handed_out_after_the_time_of_a_read_goes_to_others_at_once() {
    let service = untold().await;
    let mut late = Worker::open(&service, "c", 1).await;
    let refused = late.next().await.unwrap_err();
    assert_eq!(reason(&refused), (Code::Unavailable, "STORE_UNAVAILABLE".to_owned()));
    told_to_another(&service).await;
}

/// A consumer that finds nothing writes nothing down for it, and yet has caught up.
#[tokio::test]
async fn whoever_means_none_of_it_is_not_behind() {
    let service = Harness::start().await;
    make(&service, Consumer { filter: "status = CANCELLED".to_owned(), ..named("c") }).await.unwrap();
    let _worker = Worker::open(&service, "c", 1).await;
    service.submit(created("u1")).await.unwrap();
    let theirs = BookingEvent { tenant: "other".to_owned(), ..created("u2") };
    let head = service.submit(theirs).await.unwrap().position;
    wait::holds("it has caught up", async || {
        let consumer = look(&service, "c").await;
        consumer.behind_since_time.is_none() && consumer.cursor >= head
    })
    .await;
}

/// A booking whose text is so long.
fn wordy(number: usize, text_bytes: u32) -> BookingEvent {
    let mut booking = golden(&format!("u{number}"), 0);
    booking.notes = "n".repeat(text_bytes as usize);
    event(Trigger::BookingCreated, &booking)
}

/// So many entries for a consumer, and a connection that takes little in where nobody reads.
async fn narrow(text_bytes: u32, count: usize, consumer: Consumer) -> Harness {
    let mut service = Harness::start().await;
    let channel = Endpoint::from_shared(format!("http://{}", service.address)).unwrap();
    service.channel = channel.initial_stream_window_size(text_bytes).connect_lazy();
    let max_in_flight = i32::try_from(count).unwrap();
    make(&service, Consumer { max_in_flight, ..consumer }).await.unwrap();
    let booked = (0..count).map(|number| service.submit(wordy(number, text_bytes)));
    futures_util::future::try_join_all(booked.collect::<Vec<_>>()).await.unwrap();
    service
}

/// Turns follow each other, and the entries of five take the client longer than a lease.
#[tokio::test]
async fn what_a_slow_client_acks_is_heard_while_there_is_more_for_it() {
    const WAITING: usize = 128;
    let ack_wait = seconds(3);
    let service = narrow(64 * 1024, WAITING, Consumer { ack_wait, ..named("c") }).await;
    let mut worker = Worker::open(&service, "c", 0).await;
    for number in 0..WAITING {
        let item = wait::within("an entry", worker.item()).await;
        assert_eq!(item.delivery_count, 1, "{number}: it was acked at once");
        worker.ack(&item).await;
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
}

/// A client that works on its first entry for long, and reads none of the others meanwhile.
struct Busy {
    service: Harness,
    worker: Worker,
    first: Item,
    /// Entries that are out to it.
    out: i32,
}

/// With so many entries, and leases of so many seconds.
async fn busy(lease: i64, count: usize) -> Busy {
    let ack_wait = seconds(lease);
    let consumer = Consumer { ack_wait, max_deliveries: 100, ..named("c") };
    let mut service = narrow(8 * 1024, count, consumer).await;
    let mut worker = Worker::open(&service, "c", 0).await;
    let first = wait::within("an entry", worker.item()).await;
    let mut out = 0;
    wait::holds("much is out", async || {
        out = look(&service, "c").await.in_flight;
        out > 100
    })
    .await;
    service.channel = Endpoint::from_shared(format!("http://{}", service.address)).unwrap().connect_lazy();
    Busy { service, worker, first, out }
}

#[tokio::test]
async fn what_a_client_says_is_heard_while_it_reads_nothing() {
    let Busy { service, worker, first, .. } = busy(600, 300).await;
    worker.ack(&first).await;
    let position = &first.transition.as_ref().unwrap().position;
    wait::holds("it is settled", async || look(&service, "c").await.cursor >= *position).await;
}

#[tokio::test]
async fn a_client_that_has_said_its_last_has_nothing_out_though_it_reads_nothing() {
    let Busy { service, worker, .. } = busy(600, 300).await;
    let Worker { requests, mut responses } = worker;
    drop(requests);
    wait::holds("nothing is out", async || look(&service, "c").await.in_flight == 0).await;
    while wait::within("the end", responses.message()).await.unwrap().is_some() {}
}

/// One that says the same of one delivery over and over, and does not read that it comes too late.
#[tokio::test]
async fn a_client_that_takes_no_answers_is_not_read_for_ever() {
    let Busy { service, worker, first, .. } = busy(600, 300).await;
    let ids = vec![first.id; 1_000];
    let said = Request::Ack(Ack { ids });
    let mut heard = 0;
    let flood = async {
        loop {
            worker.say(said.clone()).await;
            heard += 1;
        }
    };
    tokio::time::timeout(Duration::from_secs(3), flood).await.unwrap_err();
    println!("{heard} requests were taken");
    assert!(heard < 1_000, "{heard}");
    drop(service);
}

#[tokio::test]
async fn what_a_client_does_not_take_goes_to_others_and_what_it_works_on_does_not() {
    const COUNT: usize = 300;
    let Busy { service, worker, first, out } = busy(10, COUNT).await;
    let extend = Request::Extend(Extend { ids: vec![first.id.clone()] });
    let working = tokio::spawn(async move {
        loop {
            worker.say(extend.clone()).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    });
    let mut other = Worker::open(&service, "c", 0).await;
    let mut again = 0;
    for _ in 1..COUNT {
        let item = wait::within("an entry", other.item()).await;
        assert_ne!(uid(&item), uid(&first), "it is worked on");
        again += i32::from(item.delivery_count > 1);
        other.ack(&item).await;
    }
    println!("{again} of {out} had gone to the busy one");
    assert!(again < out / 2, "{again} of {out}");
    wait::holds("all but that one is settled", async || {
        let now = look(&service, "c").await;
        (now.in_flight, now.waiting, now.dead_letters) == (1, 0, 0)
    })
    .await;
    working.abort();
}

/// A lease begins with its turn, however long that has waited.
#[tokio::test]
async fn a_store_that_is_slower_than_a_lease_keeps_nothing_back() {
    let service = Harness::start().await;
    let ack_wait = seconds(1);
    make(&service, Consumer { ack_wait, ..named("c") }).await.unwrap();
    service.submit(created("u1")).await.unwrap();
    *service.control.queue.lock().unwrap() = Duration::from_millis(1_200);
    let mut worker = Worker::open(&service, "c", 1).await;
    assert_eq!(wait::within("the entry", worker.item()).await.delivery_count, 1);
}

/// What a client ends by is parked in the end, and what it never got is not.
#[tokio::test]
async fn what_was_never_sent_uses_up_no_try() {
    const WAITING: usize = 600;
    // Far more together than a connection takes in that nobody reads.
    let service = narrow(8 * 1024, WAITING, named("c")).await;
    for broken in 0..3 {
        let mut worker = Worker::open(&service, "c", 0).await;
        worker.item().await;
        wait::holds("much is out", async || look(&service, "c").await.in_flight > 100).await;
        drop(worker);
        let back = async || look(&service, "c").await.in_flight == 0;
        wait::holds(&format!("all is back after {broken}"), back).await;
    }
    let parked = look(&service, "c").await.dead_letters;
    println!("{parked} of {WAITING} are dead letters");
    assert!((1..WAITING / 3).contains(&usize::try_from(parked).unwrap()), "{parked}");
}
