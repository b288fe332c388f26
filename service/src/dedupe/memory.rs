//! The hint of a single process: the keys that were committed or met last, at most a configured number.

use std::{
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
};

use lru::LruCache;

use crate::store::DeliveryKey;

/// A bounded set of keys that forgets the one met longest ago.
#[derive(Debug)]
pub(crate) struct Memory {
    /// None: it remembers nothing.
    keys: Option<Mutex<LruCache<DeliveryKey, ()>>>,
}

impl Memory {
    /// Room for so many keys, about 150 bytes each; taken as they come.
    pub(crate) fn new(keys: usize) -> Self {
        // Grown as needed: a capacity given to the map would be allocated at the start.
        let cache = |most: NonZeroUsize| {
            let mut cache = LruCache::unbounded();
            cache.resize(most);
            Mutex::new(cache)
        };
        Self { keys: NonZeroUsize::new(keys).map(cache) }
    }

    pub(super) fn ask(&self, keys: &[DeliveryKey]) -> Vec<bool> {
        let Some(cache) = &self.keys else { return vec![false; keys.len()] };
        let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
        keys.iter().map(|key| cache.get(key).is_some()).collect()
    }

    pub(super) fn tell(&self, keys: Vec<DeliveryKey>) {
        let Some(cache) = &self.keys else { return };
        let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            cache.put(key, ());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::Identity;

    fn key(tenant: &str, body: u8) -> DeliveryKey {
        DeliveryKey { tenant: Arc::from(tenant), time: 0, identity: Identity::Body([body; 32]) }
    }

    #[test]
    fn what_was_told_is_known_and_nothing_else() {
        let memory = Memory::new(10);
        memory.tell(vec![key("a", 1), key("a", 2)]);
        assert_eq!(memory.ask(&[key("a", 2), key("b", 2), key("a", 3), key("a", 1)]), [true, false, false, true]);
    }

    #[test]
    fn the_bound_holds_and_the_key_met_last_stays() {
        let memory = Memory::new(2);
        memory.tell(vec![key("a", 1), key("a", 2)]);
        assert_eq!(memory.ask(&[key("a", 1)]), [true]);
        memory.tell(vec![key("a", 3)]);
        assert_eq!(memory.ask(&[key("a", 1), key("a", 2), key("a", 3)]), [true, false, true]);
    }

    #[test]
    fn no_room_means_no_hint() {
        let memory = Memory::new(0);
        memory.tell(vec![key("a", 1)]);
        assert_eq!(memory.ask(&[key("a", 1)]), [false]);
    }
}
