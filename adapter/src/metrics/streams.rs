//! How many streams are open to each replica that there is: none is told as 0, and one that is gone not at all.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use calbridge_telemetry::{
    meter,
    semconv::{metric, unit},
};

use super::replica;
use crate::peer::Peer;

/// The links that there are, and whether the stream of each is open.
#[derive(Debug, Clone, Default)]
pub(crate) struct Streams {
    links: Arc<Mutex<Links>>,
}

#[derive(Debug, Default)]
struct Links {
    /// By a number of their own.
    all: BTreeMap<u64, (Arc<Peer>, bool)>,
    next: u64,
}

/// One link: counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    streams: Streams,
    number: u64,
}

impl Streams {
    /// Has the instrument read them.
    pub(super) fn shown() -> Self {
        let streams = Self::default();
        let read = streams.clone();
        // The instrument lives in the meter provider, which keeps the callback.
        let _ = meter()
            .i64_observable_up_down_counter(metric::FORWARD_STREAMS)
            .with_unit(unit::STREAMS)
            .with_description("Open streams to the service, one to each replica")
            .with_callback(move |counter| {
                for (key, open) in read.by_replica() {
                    counter.observe(open, &replica(&Peer { host: key.0, port: key.1 }));
                }
            })
            .build();
        streams
    }

    /// A link to this replica begins, without a stream.
    pub(crate) fn link(&self, peer: &Arc<Peer>) -> Counted {
        let mut links = self.lock();
        let number = links.next;
        links.next += 1;
        links.all.insert(number, (Arc::clone(peer), false));
        Counted { streams: self.clone(), number }
    }

    fn by_replica(&self) -> BTreeMap<(Arc<str>, u16), i64> {
        let mut open = BTreeMap::new();
        for (peer, is_open) in self.lock().all.values() {
            *open.entry((Arc::clone(&peer.host), peer.port)).or_default() += i64::from(*is_open);
        }
        open
    }

    fn lock(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    /// Its stream is open, or no more.
    pub(crate) fn set(&self, is_open: bool) {
        if let Some((_, open)) = self.streams.lock().all.get_mut(&self.number) {
            *open = is_open;
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.streams.lock().all.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_counts_while_there_is_a_link_to_it() {
        let peer = |host: &str| Arc::new(Peer { host: host.into(), port: 1 });
        let streams = Streams::default();
        let told = || streams.by_replica().into_iter().map(|((host, _), open)| (host.to_string(), open)).collect();
        let expect = |expected: &[(&str, i64)]| {
            let told: Vec<(String, i64)> = told();
            assert_eq!(told, expected.iter().map(|(host, open)| ((*host).to_owned(), *open)).collect::<Vec<_>>());
        };
        let (one, again, other) = (streams.link(&peer("a")), streams.link(&peer("a")), streams.link(&peer("b")));
        expect(&[("a", 0), ("b", 0)]);
        one.set(true);
        again.set(true);
        expect(&[("a", 2), ("b", 0)]);
        again.set(false);
        drop(other);
        expect(&[("a", 1)]);
        drop((one, again));
        expect(&[]);
    }
}
