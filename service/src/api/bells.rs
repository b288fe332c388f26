//! What wakes the clients of a consumer within this process.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::watch;

use crate::store::ConsumerKey;

/// Who waits for a consumer in this process: what one client settles may be what another waits for.
#[derive(Debug, Default)]
pub(super) struct Bells(Mutex<HashMap<ConsumerKey, Weak<Bell>>>);

/// It counts how often it was rung.
pub(super) type Bell = watch::Sender<u64>;

impl Bells {
    /// Wakes everybody who waits for this consumer.
    pub(super) fn ring(&self, key: &ConsumerKey) {
        if let Some(bell) = self.lock().get(key).and_then(Weak::upgrade) {
            bell.send_modify(|rung| *rung += 1);
        }
    }

    /// That of one consumer.
    pub(super) fn of(&self, key: &ConsumerKey) -> Arc<Bell> {
        let mut bells = self.lock();
        if let Some(bell) = bells.get(key).and_then(Weak::upgrade) {
            return bell;
        }
        // Those of consumers that nobody waits for any more.
        bells.retain(|_, bell| bell.strong_count() > 0);
        let bell = Arc::new(Bell::new(0));
        bells.insert(key.clone(), Arc::downgrade(&bell));
        bell
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ConsumerKey, Weak<Bell>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
