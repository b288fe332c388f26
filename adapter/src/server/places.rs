//! Places for connections, and who makes room when all of them are taken: of the source that holds the most, the one
//! whose peer we have been waiting for the longest.
//!
//! Invariant: a connection with a request whose body is here is not cut for another, and a newcomer is never shut out
//! by those who send nothing, or slowly: their connections are what is cut.

use std::{
    cmp::Reverse,
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    select,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::activity::Activity;
use crate::{forward::random, source::network};

/// How many holders are looked at to find who makes room. The sources of so many, drawn by chance, stand for those of
/// all: a look costs the same however many connections there may be.
const LOOKED_AT: usize = 64;

/// Where nobody could make room, whoever was being served a moment ago may.
const AGAIN: Duration = Duration::from_millis(5);

/// The places.
pub(super) struct Places {
    free: Arc<Semaphore>,
    holders: Mutex<Vec<Arc<Holder>>>,
    /// When all are to leave.
    drain: CancellationToken,
}

/// Who has a place.
struct Holder {
    source: IpAddr,
    activity: Arc<Activity>,
    leave: CancellationToken,
    /// Where it stands among the holders.
    at: AtomicUsize,
}

/// A place, until it is dropped.
pub(super) struct Place {
    pub(super) activity: Arc<Activity>,
    /// Fires when it is needed for somebody else, and when all are to leave.
    pub(super) leave: CancellationToken,
    holder: Arc<Holder>,
    places: Arc<Places>,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    /// So many places, until `drain`.
    pub(super) fn new(count: usize, drain: CancellationToken) -> Arc<Self> {
        let free = Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { free, holders: Mutex::new(Vec::new()), drain })
    }

    /// A place for a connection from there, somebody else's where none is free. `crowded` hears of each whom it costs
    /// the connection.
    pub(super) async fn take(self: &Arc<Self>, peer: IpAddr, crowded: impl Fn()) -> Place {
        loop {
            let free = Arc::clone(&self.free);
            if let Ok(permit) = Arc::clone(&free).try_acquire_owned() {
                return self.enter(permit, peer);
            }
            if self.make_room() {
                crowded();
            }
            select! {
                Ok(permit) = free.acquire_owned() => return self.enter(permit, peer),
                () = sleep(AGAIN) => {}
            }
        }
    }

    fn enter(self: &Arc<Self>, permit: OwnedSemaphorePermit, peer: IpAddr) -> Place {
        let (activity, leave) = (Arc::new(Activity::new()), self.drain.child_token());
        let mut holders = self.lock();
        let holder = Arc::new(Holder {
            source: network(peer.to_canonical()),
            activity: Arc::clone(&activity),
            leave: leave.clone(),
            at: AtomicUsize::new(holders.len()),
        });
        holders.push(Arc::clone(&holder));
        drop(holders);
        Place { activity, leave, holder, places: Arc::clone(self), _permit: permit }
    }

    /// Tells somebody to leave, if there is anybody who may be told.
    fn make_room(&self) -> bool {
        let holders = self.lock();
        let all = holders.len();
        let stride = (all / LOOKED_AT).max(1);
        // Evenly over all of them, from anywhere on.
        let first = usize::try_from(random() >> 32).unwrap_or(0);
        let looked_at = (0..all.min(LOOKED_AT)).map(|at| &holders[(first + at * stride) % all]);
        let Some(leaves) = longest_waiting(looked_at) else { return false };
        leaves.leave.cancel();
        true
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Holder>>> {
        // Nothing in there panics half-way through a change.
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut holders = self.places.lock();
        let at = self.holder.at.load(Ordering::Relaxed);
        holders.swap_remove(at);
        if let Some(moved) = holders.get(at) {
            moved.at.store(at, Ordering::Relaxed);
        }
    }
}

/// Of the source that has most of these: the one that keeps us waiting since the earliest moment.
fn longest_waiting<'a>(holders: impl Iterator<Item = &'a Arc<Holder>> + Clone) -> Option<&'a Arc<Holder>> {
    let staying = holders.filter(|holder| !holder.leave.is_cancelled());
    let mut of_source: HashMap<IpAddr, usize> = HashMap::new();
    for holder in staying.clone() {
        *of_source.entry(holder.source).or_default() += 1;
    }
    let waiting = staying.filter_map(|holder| holder.activity.waits_since().map(|since| (holder, since)));
    let order = |(holder, since): &(&Arc<Holder>, Instant)| (Reverse(of_source[&holder.source]), *since);
    waiting.min_by_key(order).map(|(holder, _)| holder)
}

#[cfg(test)]
mod tests;
