//! The loops of `client/`, and its examples.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use calbridge_client::{Access, Connection, Consume, Handler, Notice, Settled};
use calbridge_e2e::{
    program::Start,
    system::{Plan, System, TENANT},
    v1::{
        Consumer, ListDeadLettersRequest, PauseConsumerRequest, ResumeConsumerRequest, SeekConsumerRequest, Trigger,
        consume_response::Item, seek_consumer_request::To,
    },
    wait,
};
use tokio::{
    sync::{Notify, oneshot},
    time::sleep,
};
use tonic::Code;

use super::{consumer, consumers, golden, send, service, settled};

const NAME: &str = "c";

fn connection(system: &System) -> Connection {
    Access { service: service(system), ..Access::default() }.connection().unwrap()
}

async fn book(system: &System, uids: &[&str]) {
    for uid in uids {
        send(system, Trigger::BookingCreated, &golden(uid)).await;
    }
}

/// Notes what it is given, and answers by the uid and how often it came.
#[derive(Default)]
struct Scripted {
    seen: Mutex<BTreeMap<String, Vec<i32>>>,
    notices: Mutex<Vec<String>>,
    in_hand: AtomicUsize,
    /// What it waits for with a booking whose uid begins with "slow".
    go_on: Notify,
}

impl Scripted {
    /// The delivery counts of a booking's items, in the order in which they came.
    fn deliveries(&self, uid: &str) -> Vec<i32> {
        self.seen.lock().unwrap().get(uid).cloned().unwrap_or_default()
    }

    async fn noticed(&self, what: &str, times: usize) {
        let count = || self.notices.lock().unwrap().iter().filter(|notice| *notice == what).count();
        wait::until(what, || async { (count() >= times).then_some(()) }).await;
    }

    async fn has_in_hand(&self, count: usize) {
        let has = || async { (self.in_hand.load(Ordering::SeqCst) == count).then_some(()) };
        wait::until("items are in hand", has).await;
    }
}

impl Handler for Scripted {
    async fn handle(&self, item: Item) -> Settled {
        let uid = item.transition.unwrap().uid;
        self.seen.lock().unwrap().entry(uid.clone()).or_default().push(item.delivery_count);
        if uid.starts_with("slow") {
            self.in_hand.fetch_add(1, Ordering::SeqCst);
            self.go_on.notified().await;
            self.in_hand.fetch_sub(1, Ordering::SeqCst);
        }
        match uid.as_str() {
            "retried" if item.delivery_count == 1 => {
                Settled::Retry { delay: Some(Duration::ZERO), reason: "not yet".to_owned() }
            }
            "parked" => Settled::park("told so by the test"),
            "skipped" => Settled::Skip,
            _ => Settled::Ack,
        }
    }

    fn notice(&self, notice: Notice) {
        let name = match notice {
            Notice::Opened => "opened",
            Notice::Interrupted { .. } => "interrupted",
            Notice::Paused { .. } => "paused",
            Notice::LeasesLost { .. } => "leases lost",
            Notice::Unheard => "unheard",
            _ => "unknown",
        };
        self.notices.lock().unwrap().push(name.to_owned());
    }
}

/// The consumer with leases of a second, the shortest.
fn consume(system: &System) -> Consume<Connection> {
    let ack_wait = Some(prost_types::Duration { seconds: 2, nanos: 0 });
    Consume::new(connection(system), TENANT, NAME).made_with(Consumer { ack_wait, ..Consumer::default() })
}

#[tokio::test]
async fn what_a_handler_answers_is_what_becomes_of_an_item() {
    let mut system = Plan::new().start().await;
    book(&system, &["acked", "retried", "parked", "skipped"]).await;
    let (scripted, (stop, stopped)) = (Scripted::default(), oneshot::channel::<()>());
    let consume = consume(&system);
    let (ran, ()) = tokio::join!(consume.run(&scripted, async { drop(stopped.await) }), async {
        scripted.noticed("opened", 1).await;
        settled(&system, TENANT, NAME).await;
        stop.send(()).unwrap();
    });
    ran.unwrap();
    assert_eq!(scripted.deliveries("retried"), [1, 2]);
    for once in ["acked", "parked", "skipped"] {
        assert_eq!(scripted.deliveries(once), [1], "{once}");
    }
    let request = ListDeadLettersRequest { tenant: TENANT.to_owned(), consumer: NAME.to_owned(), ..Default::default() };
    let letters = consumers(&system.api()).list_dead_letters(request).await.unwrap().into_inner().dead_letters;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].reason, "told so by the test");
    system.stop().await;
}

#[tokio::test]
async fn a_lease_lasts_as_long_as_the_work_and_a_stop_finishes_it() {
    let mut system = Plan::new().start().await;
    book(&system, &["slow1", "slow2"]).await;
    let (scripted, (stop, stopped)) = (Scripted::default(), oneshot::channel::<()>());
    let consume = consume(&system).max_in_flight(2);
    let (ran, ()) = tokio::join!(consume.run(&scripted, async { drop(stopped.await) }), async {
        scripted.has_in_hand(2).await;
        // Longer than two leases: the time itself is what is tested.
        sleep(Duration::from_secs(5)).await;
        scripted.go_on.notify_one();
        scripted.has_in_hand(1).await;
        wait::until("the first is settled while the other is worked on", || async {
            let consumer = consumer(&system, TENANT, NAME).await?;
            (consumer.in_flight == 1 && consumer.waiting == 0).then_some(())
        })
        .await;
        // From now on it takes nothing more, and lets what is in hand come to its end, beyond a lease again.
        stop.send(()).unwrap();
        book(&system, &["late"]).await;
        sleep(Duration::from_secs(3)).await;
        scripted.go_on.notify_one();
    });
    ran.unwrap();
    for uid in ["slow1", "slow2"] {
        assert_eq!(scripted.deliveries(uid), [1], "{uid}");
    }
    assert_eq!(scripted.deliveries("late"), Vec::<i32>::new());
    assert_eq!(*scripted.notices.lock().unwrap(), ["opened"]);
    let left = consumer(&system, TENANT, NAME).await.unwrap();
    assert_eq!(left.in_flight, 0, "all was settled before the end");
    system.stop().await;
}

#[tokio::test]
async fn it_goes_on_when_the_service_comes_back() {
    let mut system = Plan::new().returning().start().await;
    book(&system, &["slow1", "before"]).await;
    let (scripted, (stop, stopped)) = (Scripted::default(), oneshot::channel::<()>());
    let consume = consume(&system);
    let (ran, mut system) = tokio::join!(consume.run(&scripted, async { drop(stopped.await) }), async {
        scripted.has_in_hand(1).await;
        system.service.kill();
        system.restart_service();
        // What is in hand comes to its end before another connection is opened.
        scripted.go_on.notify_one();
        scripted.noticed("interrupted", 1).await;
        scripted.noticed("opened", 2).await;
        scripted.has_in_hand(1).await;
        scripted.go_on.notify_one();
        system.ready().await;
        book(&system, &["after"]).await;
        settled(&system, TENANT, NAME).await;
        stop.send(()).unwrap();
        system
    });
    ran.unwrap();
    assert_eq!(scripted.deliveries("slow1").len(), 2, "its answer was lost with the connection");
    assert_eq!(scripted.deliveries("after"), [1]);
    system.stop().await;
}

#[tokio::test]
async fn a_paused_consumer_is_waited_for_and_a_lost_lease_is_told() {
    let mut system = Plan::new().start().await;
    let named = || (TENANT.to_owned(), NAME.to_owned());
    let (scripted, (stop, stopped)) = (Scripted::default(), oneshot::channel::<()>());
    let consume = consume(&system);
    let (ran, ()) = tokio::join!(consume.run(&scripted, async { drop(stopped.await) }), async {
        scripted.noticed("opened", 1).await;
        book(&system, &["slow1"]).await;
        scripted.has_in_hand(1).await;
        let (tenant, name) = named();
        let request = SeekConsumerRequest { tenant, name, to: Some(To::Head(true)) };
        consumers(&system.api()).seek_consumer(request).await.unwrap();
        scripted.go_on.notify_one();
        scripted.noticed("leases lost", 1).await;
        stop.send(()).unwrap();
    });
    ran.unwrap();

    let (tenant, name) = named();
    consumers(&system.api()).pause_consumer(PauseConsumerRequest { tenant, name }).await.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let (ran, ()) = tokio::join!(consume.run(&scripted, async { drop(stopped.await) }), async {
        scripted.noticed("paused", 1).await;
        let (tenant, name) = named();
        consumers(&system.api()).resume_consumer(ResumeConsumerRequest { tenant, name }).await.unwrap();
        scripted.noticed("opened", 2).await;
        book(&system, &["resumed"]).await;
        settled(&system, TENANT, NAME).await;
        stop.send(()).unwrap();
    });
    ran.unwrap();
    assert_eq!(scripted.deliveries("resumed"), [1]);

    let absent = Consume::new(connection(&system), TENANT, "absent").run(&scripted, std::future::pending()).await;
    assert_eq!(absent.unwrap_err().code(), Code::NotFound);
    system.stop().await;
}

#[tokio::test]
async fn the_examples_do_what_they_say() {
    let mut system = Plan::new().start().await;
    let submit = Start::new("examples/submit").arg(service(&system)).arg("imported1");
    let submit = submit.arg("2026-09-01T08:00:00Z").arg("2026-10-01T14:00:00Z");
    for outcome in ["SUBMIT_OUTCOME_APPLIED: imported1\n", "SUBMIT_OUTCOME_DUPLICATE: imported1\n"] {
        let ended = submit.run().await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), outcome), "{}", ended.stderr);
    }
    let readers = [
        Start::new("examples/watch").arg(service(&system)),
        Start::new("examples/consume").arg(service(&system)).arg(NAME),
    ];
    for reader in readers {
        let mut program = reader.spawn();
        let tells = || async { program.stdout().contains("imported1 BOOKING_STATUS_SCHEDULED\n").then_some(()) };
        wait::until("it tells of the booking", tells).await;
        program.kill();
    }
    system.stop().await;
}
