//! Who reads while it happens: a watcher with a cursor, and a client of a durable consumer. Neither ever gives up.

use std::{
    collections::BTreeMap,
    future::{Future, pending, ready},
    sync::{Arc, Mutex},
};

use calbridge_client::{Access, Connection, Consume, Settled, Watch, Watched};
use calbridge_e2e::{
    system::{System, TENANT},
    v1::{Consumer, WatchTransitionsRequest, consume_response::Item, watch_transitions_response::Entry},
    wait,
};
use tokio::task::JoinSet;

use super::truth::{self, Truth};

const NAME: &str = "crash";
/// In hand at a time: few, so that there are many turns.
const IN_FLIGHT: i32 = 4;
/// Deliveries of an item: no crash makes it a dead letter.
const DELIVERIES: i32 = 100;

/// Positions and bookings, in the order in which they came.
type Seen = Arc<Mutex<Vec<(String, String)>>>;

/// Both, for as long as this lives.
pub(super) struct Readers {
    watched: Seen,
    handled: Seen,
    _tasks: JoinSet<()>,
}

impl Readers {
    pub(super) fn start(system: &System) -> Self {
        let (watched, handled) = (Seen::default(), Seen::default());
        let service = format!("http://{}", system.service.listening().grpc());
        let connection = || Access { service: service.clone(), ..Access::default() }.connection().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(watch(connection(), Arc::clone(&watched)));
        tasks.spawn(consume(connection(), Arc::clone(&handled)));
        Self { watched, handled, _tasks: tasks }
    }

    /// Waits until both have read to the end, and judges what they saw.
    pub(super) async fn have_seen_all(&self, truth: &Truth) {
        let log = truth.log().await;
        truth::is_a_chain(&log);
        let all: Vec<&str> = log.iter().map(|entry| entry.position.as_str()).collect();
        let last = all.last().copied().unwrap_or_default();
        let at_end = || ready(self.watched.lock().unwrap().last().is_some_and(|(at, _)| at == last).then_some(()));
        wait::until("the watcher is told all", at_end).await;
        let watched: Vec<String> = self.watched.lock().unwrap().iter().map(|(at, _)| at.clone()).collect();
        assert_eq!(watched, all, "the watcher is told each once and in order");

        let settled = || async { truth.settled().await.filter(|cursor| cursor.as_str() >= last) };
        wait::until("the consumer settles all", settled).await;
        let handled = self.handled.lock().unwrap();
        let mut at = BTreeMap::<&str, &str>::new();
        for (position, uid) in handled.iter().filter(|(_, uid)| !uid.is_empty()) {
            let before = at.insert(uid, position).unwrap_or_default();
            assert!(before <= position.as_str(), "of {uid} {position} came behind {before}");
        }
        let mut handled: Vec<&str> = handled.iter().map(|(at, _)| at.as_str()).collect();
        handled.sort_unstable();
        handled.dedup();
        assert_eq!(handled, all, "the consumer handles each");
    }
}

async fn watch(connection: Connection, watched: Seen) {
    let request = WatchTransitionsRequest { tenant: TENANT.to_owned(), include_recorded: true, ..Default::default() };
    let mut watch = Watch::new(connection, request);
    while let Some(news) = watch.next().await.unwrap() {
        let seen = match news {
            Watched::Entry(Entry::Transition(made)) => (made.position, made.uid),
            Watched::Entry(Entry::Recorded(kept)) => (kept.position, String::new()),
            Watched::Entry(Entry::Heartbeat(_)) | Watched::Interrupted { .. } => continue,
        };
        watched.lock().unwrap().push(seen);
    }
}

async fn consume(connection: Connection, handled: Seen) {
    let choices = Consumer {
        // The shortest: what is out to a client when a service is killed comes again after it.
        ack_wait: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        max_in_flight: IN_FLIGHT,
        max_deliveries: DELIVERIES,
        include_recorded: true,
        ..Consumer::default()
    };
    let handle = |item: Item| handle(item, &handled);
    Consume::new(connection, TENANT, NAME).made_with(choices).run(&handle, pending()).await.unwrap();
}

fn handle(item: Item, handled: &Seen) -> impl Future<Output = Settled> + Send + use<> {
    let seen = match (item.transition, item.recorded) {
        (Some(made), _) => (made.position, made.uid),
        (None, kept) => (kept.unwrap().position, String::new()),
    };
    handled.lock().unwrap().push(seen);
    ready(Settled::Ack)
}
