//! Whether a connection has a request at the moment, and since when it has none.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{select, sync::Notify, time};

/// The requests of one connection.
pub(crate) struct Activity {
    requests: AtomicUsize,
    changed: Notify,
}

/// One request that is being served, however it ends.
pub(crate) struct Busy(Arc<Activity>);

impl Activity {
    pub(crate) fn new() -> Self {
        Self { requests: AtomicUsize::new(0), changed: Notify::new() }
    }

    /// Counts a request for as long as the guard lives.
    pub(crate) fn busy(activity: &Arc<Self>) -> Busy {
        activity.requests.fetch_add(1, Ordering::AcqRel);
        activity.changed.notify_one();
        Busy(Arc::clone(activity))
    }

    /// Waits until there has been no request for `most`.
    pub(crate) async fn idle_for(&self, most: Duration) {
        loop {
            let idle = self.requests.load(Ordering::Acquire) == 0;
            select! {
                // A change that came before we waited is kept by `Notify`, so none is missed.
                () = self.changed.notified() => {}
                () = time::sleep(most), if idle => return,
            }
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn idling_counts_from_the_end_of_the_last_request() {
        let activity = Arc::new(Activity::new());
        let started = time::Instant::now();
        let request = Activity::busy(&activity);
        let task = tokio::spawn({
            let activity = Arc::clone(&activity);
            async move { activity.idle_for(MOST).await }
        });
        time::sleep(MOST * 3).await;
        assert!(!task.is_finished(), "a request is being served");
        drop(request);
        time::sleep(MOST / 2).await;
        drop(Activity::busy(&activity));
        task.await.unwrap();
        assert_eq!(started.elapsed(), MOST * 3 + MOST / 2 + MOST);
    }
}
