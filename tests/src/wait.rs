//! Waiting for a condition itself, never for a length of time.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep};

/// How long anything may take that is expected to happen at all: a debug build on a busy machine is slow.
pub const PATIENCE: Duration = Duration::from_mins(1);
/// Between two looks at a condition that can't tell us by itself.
const LOOK: Duration = Duration::from_millis(10);

/// Looks until `look` answers something, and fails the test with `what` when [`PATIENCE`] is over.
pub async fn until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    patiently(what, PATIENCE, look).await
}

/// The same with a patience of its own, for what is long by its nature.
pub async fn patiently<T>(what: &str, patience: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + patience;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < end, "waited {patience:?} in vain: {what}");
        sleep(LOOK).await;
    }
}

/// Looks until it is so, and fails the test with `what` when [`PATIENCE`] is over.
pub async fn holds(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    until(what, async || is_so().await.then_some(())).await;
}

/// Waits for a future that must end by itself, and fails the test with `what` when [`PATIENCE`] is over.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(PATIENCE, future).await.ok();
    ended.unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain: {what}"))
}
