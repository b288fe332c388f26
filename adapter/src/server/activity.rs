//! Whether a connection has a request at the moment, and since when we wait for its peer.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{self, Instant};

/// The requests of one connection.
pub(crate) struct Activity {
    requests: AtomicUsize,
    /// Of these, those whose bodies are not here yet.
    coming: AtomicUsize,
    began: Instant,
    /// When a request was answered last, in microseconds since it began; zero before the first.
    answered: AtomicU64,
}

/// One request that is being served, however it ends.
pub(crate) struct Busy(Arc<Activity>);

/// A body of which the activity knows for how long it is coming.
pub(crate) struct Coming<B> {
    body: B,
    activity: Option<Arc<Activity>>,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self {
            requests: AtomicUsize::new(0),
            coming: AtomicUsize::new(0),
            began: Instant::now(),
            answered: AtomicU64::new(0),
        }
    }

    /// Counts a request for as long as the guard lives.
    pub(crate) fn busy(activity: &Arc<Self>) -> Busy {
        activity.requests.fetch_add(1, Ordering::AcqRel);
        Busy(Arc::clone(activity))
    }

    /// Counts a request's body as coming until its end has come, or nobody wants it any more.
    pub(crate) fn coming<B>(activity: &Arc<Self>, body: B) -> Coming<B> {
        activity.coming.fetch_add(1, Ordering::AcqRel);
        Coming { body, activity: Some(Arc::clone(activity)) }
    }

    /// Since when the peer is the one who has to do something: a connection's beginning, or its last answer. `None`
    /// while there is a request whose body is here.
    pub(crate) fn waits_since(&self) -> Option<Instant> {
        let waits = self.requests.load(Ordering::Acquire) == self.coming.load(Ordering::Acquire);
        waits.then(|| self.answered())
    }

    /// Waits until there has been no request for `most`. It looks when that may be so, and is not told of requests: in
    /// a connection that is used there are thousands between two looks.
    pub(crate) async fn idle_for(&self, most: Duration) {
        let mut since = Instant::now();
        loop {
            time::sleep_until(since + most).await;
            let idles = self.requests.load(Ordering::Acquire) == 0;
            let now = Instant::now();
            // A request that is being served ends now at the earliest.
            since = if idles { since.max(self.answered()) } else { now };
            if since + most <= now {
                return;
            }
        }
    }

    /// When a request was answered last; when the connection began, before the first.
    fn answered(&self) -> Instant {
        self.began + Duration::from_micros(self.answered.load(Ordering::Relaxed))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let now = u64::try_from(self.0.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.0.answered.store(now, Ordering::Relaxed);
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<B> Coming<B> {
    fn is_here(&mut self) {
        if let Some(activity) = self.activity.take() {
            activity.coming.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl<B> Drop for Coming<B> {
    fn drop(&mut self) {
        self.is_here();
    }
}

impl<B: Body + Unpin> Body for Coming<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let coming = self.get_mut();
        let frame = ready!(Pin::new(&mut coming.body).poll_frame(context));
        if frame.is_none() {
            coming.is_here();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Full};

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

    #[tokio::test(start_paused = true)]
    async fn a_peer_is_waited_for_until_its_body_is_here_and_from_the_answer_on() {
        let activity = Arc::new(Activity::new());
        let began = time::Instant::now();
        time::sleep(MOST).await;
        let request = Activity::busy(&activity);
        let mut body = Activity::coming(&activity, Full::new(Bytes::from_static(b"body")));
        assert_eq!(activity.waits_since(), Some(began), "a head alone is no request");
        assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
        assert_eq!(activity.waits_since(), Some(began), "nor is a body whose end has not come");
        assert!(body.frame().await.is_none());
        assert_eq!(activity.waits_since(), None);
        drop(body);
        time::sleep(MOST).await;
        assert_eq!(activity.waits_since(), None);
        drop(request);
        assert_eq!(activity.waits_since(), Some(began + MOST * 2));
    }
}
