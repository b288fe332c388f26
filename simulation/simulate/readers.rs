//! Whoever follows what happened: watchers with a cursor, and a worker of a durable consumer.

use std::{
    future::{Ready, pending, ready},
    sync::atomic::{AtomicUsize, Ordering},
};

use calbridge_client::{Consume, Settled, Watch, Watched};
use calbridge_proto::v1::{
    Consumer, Transition, WatchTransitionsRequest, consume_response::Item, watch_transitions_response::Entry,
};
use tonic::{Status, transport::Channel};

use crate::{network::channel, plan::Host, seen::Seen, story, world};

/// The worker's consumer.
pub(crate) const CONSUMER: &str = "billing";
/// So long what it was handed is its own: what a dead worker had is handed out again then.
const LEASE: prost_types::Duration = prost_types::Duration { seconds: 4, nanos: 0 };

/// Follows the log of a tenant for ever, behind the cursor that it or another before it has kept.
pub(crate) async fn watch(number: usize, services: usize, seen: Seen) -> turmoil::Result {
    let after_position = seen.with(|seen| seen.heard.get(&number).cloned().unwrap_or_default());
    story::tell(&format!("watcher-{number} begins behind {after_position:?}"));
    let tenant = world::tenant(number);
    let request = WatchTransitionsRequest { tenant, after_position, ..WatchTransitionsRequest::default() };
    let next = AtomicUsize::new(number);
    let mut watch = Watch::new(|| connect(&next, services), request);
    loop {
        match watch.next().await? {
            Some(Watched::Entry(Entry::Transition(made))) => take(number, made, &seen),
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

/// Deals with a transition: from here on it is behind the cursor.
fn take(number: usize, made: Transition, seen: &Seen) {
    let position = made.position.clone();
    story::tell(&format!("watcher-{number} hears of {} at {position}: {:?}", made.uid, made.to_status()));
    if seen.with(|seen| seen.heard.get(&number).is_some_and(|heard| *heard >= position)) {
        seen.broken(format!("watcher-{number} was told of {position} again, or late"));
    }
    seen.with(|seen| {
        seen.heard.insert(number, position);
        seen.watched.entry(number).or_default().push(made);
    });
}

/// Works off a tenant's consumer for ever.
pub(crate) async fn work(services: usize, seen: Seen) -> turmoil::Result {
    story::tell("worker begins");
    let next = AtomicUsize::new(0);
    let handle = |item: Item| {
        if let Some(made) = item.transition {
            story::tell(&format!("worker is handed {} at {}", made.uid, made.position));
            seen.with(|seen| seen.worked.push(made));
        }
        async { Settled::Ack }
    };
    let choices = Consumer { max_in_flight: 4, ack_wait: Some(LEASE), ..Consumer::default() };
    let consume = Consume::new(|| connect(&next, services), world::tenant(0), CONSUMER).made_with(choices);
    Ok(consume.run(&handle, pending()).await?)
}

/// To one service after the other.
fn connect(next: &AtomicUsize, services: usize) -> Ready<Result<Channel, Status>> {
    ready(Ok(channel(Host::Service(next.fetch_add(1, Ordering::Relaxed) % services))))
}
