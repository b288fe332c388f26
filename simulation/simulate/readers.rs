//! Whoever follows what happened: watchers with a cursor, and a worker of a durable consumer.

use std::{
    cell::Cell,
    future::pending,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use calbridge_client::{Consume, Settled, Watch, Watched};
use calbridge_proto::v1::{
    Consumer, Transition, WatchTransitionsRequest, consume_response::Item, watch_transitions_response::Entry,
};
use tonic::transport::Channel;

use crate::{network::channel, plan::Host, seen::Seen, story, world};

/// The worker's consumer.
pub(crate) const CONSUMER: &str = "billing";

/// Follows the log of a tenant for ever. Its cursor is kept where it is handed what it hears: a watcher that begins anew
/// goes on there.
pub(crate) async fn watch(number: usize, services: usize, seen: Seen) -> turmoil::Result {
    let request = WatchTransitionsRequest { tenant: world::tenant(number), ..WatchTransitionsRequest::default() };
    let next = AtomicUsize::new(number);
    let connect = || {
        let service = Host::Service(next.fetch_add(1, Ordering::Relaxed) % services);
        async move { Ok::<Channel, tonic::Status>(channel(service)) }
    };
    let mut watch = Watch::new(connect, request);
    let last = Cell::new(None::<String>);
    loop {
        match watch.next().await? {
            Some(Watched::Entry(Entry::Transition(made))) => {
                story::tell(&format!(
                    "watcher-{number} hears of {} at {}: {:?}",
                    made.uid,
                    made.position,
                    made.to_status()
                ));
                if last.take().is_some_and(|last| last >= made.position) {
                    seen.broken(format!("watcher-{number} was told of {} again, or late", made.position));
                }
                last.set(Some(made.position.clone()));
                seen.with(|seen| {
                    seen.heard.insert(number, made.position.clone());
                    seen.watched.entry(number).or_default().push(made);
                });
            }
            Some(Watched::Entry(Entry::Heartbeat(heartbeat))) => {
                seen.with(|seen| seen.heard.insert(number, heartbeat.position));
            }
            Some(Watched::Entry(Entry::Recorded(_))) => seen.broken(format!("watcher-{number} asked for no webhooks")),
            Some(Watched::Interrupted { status, .. }) => {
                story::tell(&format!("watcher-{number} is interrupted: {}", status.code()));
            }
            None => return Err("a watch ended by itself".into()),
        }
    }
}

/// Works off a tenant's consumer for ever.
pub(crate) async fn work(services: usize, seen: Seen) -> turmoil::Result {
    let next = AtomicUsize::new(0);
    let connect = || {
        let service = Host::Service(next.fetch_add(1, Ordering::Relaxed) % services);
        async move { Ok::<Channel, tonic::Status>(channel(service)) }
    };
    let handed = Mutex::new(Vec::<Transition>::new());
    let handle = |item: Item| {
        if let (Some(made), Ok(mut handed)) = (item.transition, handed.lock()) {
            story::tell(&format!("worker is handed {} at {}", made.uid, made.position));
            handed.push(made);
        }
        async { Settled::Ack }
    };
    let choices = Consumer { max_in_flight: 4, ..Consumer::default() };
    let consume = Consume::new(connect, world::tenant(0), CONSUMER).made_with(choices);
    let gather = async {
        loop {
            tokio::time::sleep(world::GLANCE).await;
            if let Ok(mut handed) = handed.lock() {
                seen.with(|seen| seen.worked.append(&mut handed));
            }
        }
    };
    tokio::select! {
        ended = consume.run(&handle, pending()) => Ok(ended?),
        () = gather => Ok(()),
    }
}
