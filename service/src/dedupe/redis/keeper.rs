//! Makes the link to Redis, and a new one after a failure, aside from any event's way.
//!
//! A link that fails soon after its trial makes the next pause twice as long, up to a bound, and from the second such
//! failure in a row on nothing more is said until one holds: whatever Redis does, it costs few timeouts and few lines.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use calbridge_telemetry::semconv;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::{Shared, failure::Failure, link::Client};
use crate::settings::{REDIS_PAUSE_MAX, REDIS_STEADY, REDIS_TRIAL_INTERVAL, REDIS_TRIAL_TIMEOUT};

/// Whether the failure of a link is worth a line.
#[derive(Debug, Default)]
pub(super) struct Voice {
    quiet: AtomicBool,
}

/// How long to wait after the next failure.
#[derive(Debug)]
struct Pause {
    next: Duration,
}

impl Voice {
    pub(super) fn is_loud(&self) -> bool {
        !self.quiet.load(Ordering::Relaxed)
    }

    fn set_quiet(&self, quiet: bool) {
        self.quiet.store(quiet, Ordering::Relaxed);
    }
}

impl Pause {
    fn new() -> Self {
        Self { next: REDIS_TRIAL_INTERVAL }
    }

    fn take(&mut self) -> Duration {
        let pause = self.next;
        self.next = (2 * pause).min(REDIS_PAUSE_MAX);
        pause
    }
}

/// Runs for as long as it is polled. The first refusal of an outage is said, once.
pub(super) async fn run(shared: Arc<Shared>, client: Client) {
    let mut pause = Pause::new();
    let mut said = false;
    loop {
        let trial = timeout(REDIS_TRIAL_TIMEOUT, client.connect()).await.unwrap_or(Err(Failure::Timeout));
        match trial {
            Ok(link) => {
                shared.breaker.close(link);
                said = true;
                if watch(&shared).await {
                    pause = Pause::new();
                }
                let wait = pause.take();
                if wait > REDIS_TRIAL_INTERVAL && shared.voice.is_loud() {
                    shared.voice.set_quiet(true);
                    warn!("Redis passes its trial and fails soon after; nothing more is said until it holds");
                }
                sleep(wait).await;
            }
            Err(failure) => {
                if !said {
                    warn!(
                        { semconv::ERROR_TYPE } = failure.name(),
                        "Redis is away ({failure}); the store alone recognises duplicates"
                    );
                    said = true;
                }
                // Nobody waits for a trial: it needs no longer pauses.
                sleep(REDIS_TRIAL_INTERVAL).await;
            }
        }
    }
}

/// Waits for the link's failure, and says whether it held for a while before.
async fn watch(shared: &Shared) -> bool {
    let answers = || info!("Redis answers and is asked for duplicates");
    if shared.voice.is_loud() {
        answers();
    }
    if timeout(REDIS_STEADY, shared.breaker.opened()).await.is_ok() {
        return false;
    }
    if !shared.voice.is_loud() {
        shared.voice.set_quiet(false);
        answers();
    }
    shared.breaker.opened().await;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound() {
        let mut pause = Pause::new();
        let pauses: Vec<u64> = (0..8).map(|_| pause.take().as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 32, 32]);
    }
}
