//! The hint: which deliveries are probably kept already. It saves work and decides nothing.
//!
//! It is told after the commit, so a hit means *done*; still the store has the last word on every hit, and a hint that
//! is empty, away or wrong changes nothing but the time an answer takes.

mod breaker;
mod memory;
mod redis;

use std::sync::Arc;

use calbridge_process::RedisSettings;
use tracing::Span;

use crate::{metrics::Metrics, store::DeliveryKey};

pub(crate) use memory::Memory;
pub use redis::RedisError;
pub(crate) use redis::{Redis, check};

/// Where to look first.
#[derive(Debug)]
pub(crate) enum Hint {
    /// A bounded cache in this process.
    Memory(Memory),
    /// A Redis that every replica shares.
    Redis(Redis),
}

impl Hint {
    /// Redis where one is configured, else a cache of that many keys.
    ///
    /// # Errors
    ///
    /// A URL that is none. Whether Redis answers is no condition of the start.
    pub(crate) fn open(redis: Option<&RedisSettings>, keys: usize, metrics: Arc<Metrics>) -> Result<Self, RedisError> {
        match redis {
            Some(settings) => Ok(Self::Redis(Redis::open(settings, metrics)?)),
            None => Ok(Self::Memory(Memory::new(keys))),
        }
    }

    /// Which of the keys are probably kept, in order. All false where the hint can't say in time.
    pub(crate) async fn ask(&self, keys: &[DeliveryKey]) -> Vec<bool> {
        match self {
            Self::Memory(memory) => memory.ask(keys),
            Self::Redis(redis) => redis.ask(keys).await,
        }
    }

    /// These are kept. Returns at once; what can't be noted is forgotten. The round is the span it happens under.
    pub(crate) fn tell(&self, keys: Vec<DeliveryKey>, round: &Span) {
        match self {
            Self::Memory(memory) => memory.tell(keys),
            Self::Redis(redis) => redis.tell(&keys, round),
        }
    }

    /// Its name in metrics and spans.
    pub(crate) fn layer(&self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
            Self::Redis(_) => "redis",
        }
    }
}
