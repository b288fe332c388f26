//! Between the task that serves a client of a consumer and the client's connection: the one puts responses here, the
//! other takes them when the client reads. So what a client says is heard also while it reads nothing.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use calbridge_proto::v1::consume_response::{LeasesLost, Response};
use futures_util::{Stream, stream};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;

use crate::{settings::CONSUME_HEARD, store::DeliveryOf};

/// What both sides share.
#[derive(Debug)]
pub(super) struct Tray {
    held: Mutex<Held>,
    /// The connection waits for more, or has made room.
    wants: Notify,
    /// Something was put here.
    put: Notify,
    /// The connection is gone.
    left: CancellationToken,
}

/// What lies here.
#[derive(Debug)]
struct Held {
    responses: VecDeque<Laid>,
    /// Ids among them of leases that were lost.
    lost: usize,
    /// All was taken, and the connection waits for more.
    is_wanted: bool,
    /// When something was taken last.
    taken_at: Instant,
    /// Nothing more comes; how the stream ends, until it was told.
    end: Option<Result<(), Status>>,
}

/// A response, with the delivery that it is, if it is one.
#[derive(Debug)]
pub(super) struct Laid(pub(super) Response, pub(super) Option<DeliveryOf>);

impl Tray {
    /// An empty one, and what its connection takes.
    pub(super) fn new() -> (Arc<Self>, impl Stream<Item = Result<Response, Status>> + Send + use<>) {
        let (responses, taken_at) = (VecDeque::new(), Instant::now());
        let held = Mutex::new(Held { responses, lost: 0, is_wanted: false, taken_at, end: None });
        let left = CancellationToken::new();
        let tray = Arc::new(Self { held, wants: Notify::new(), put: Notify::new(), left: left.clone() });
        let stream = stream::unfold((Arc::clone(&tray), left.drop_guard()), step);
        (tray, stream)
    }

    /// Lays responses down, in order.
    pub(super) fn put(&self, responses: impl IntoIterator<Item = Laid>) {
        let mut held = self.held();
        for laid in responses {
            held.lost += ids_of(&laid.0);
            held.responses.push_back(laid);
        }
        if !held.responses.is_empty() {
            held.is_wanted = false;
            drop(held);
            self.put.notify_one();
        }
    }

    /// Takes back the deliveries that the connection has not taken.
    pub(super) fn withdraw(&self) -> Vec<DeliveryOf> {
        let mut withdrawn = Vec::new();
        self.held().responses.retain(|Laid(_, delivery)| {
            withdrawn.extend(*delivery);
            delivery.is_none()
        });
        withdrawn
    }

    /// Ends the stream behind what lies here.
    pub(super) fn end(&self, end: Result<(), Status>) {
        self.held().end = Some(end);
        self.put.notify_one();
    }

    /// The connection has taken all, and waits.
    pub(super) fn is_wanted(&self) -> bool {
        self.held().is_wanted
    }

    /// So many ids of lost leases lie here that nothing more may be said.
    pub(super) fn is_full(&self) -> bool {
        self.held().is_full()
    }

    /// When something was taken last.
    pub(super) fn taken_at(&self) -> Instant {
        self.held().taken_at
    }

    /// Until the connection waits for more than lay here, or this is full no more. One task may wait for it.
    pub(super) async fn wanted(&self) {
        self.wants.notified().await;
    }

    /// Until the connection is gone.
    pub(super) async fn left(&self) {
        self.left.cancelled().await;
    }

    /// The next response, when it is there; none at the end.
    async fn take(&self) -> Option<Result<Response, Status>> {
        loop {
            {
                let mut held = self.held();
                if let Some(Laid(response, _)) = held.responses.pop_front() {
                    let was_full = held.is_full();
                    held.lost -= ids_of(&response);
                    held.taken_at = Instant::now();
                    if was_full && !held.is_full() {
                        self.wants.notify_one();
                    }
                    return Some(Ok(response));
                }
                if let Some(end) = &mut held.end {
                    return mem::replace(end, Ok(())).err().map(Err);
                }
                held.is_wanted = true;
            }
            self.wants.notify_one();
            self.put.notified().await;
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn step(side: (Arc<Tray>, DropGuard)) -> Option<(Result<Response, Status>, (Arc<Tray>, DropGuard))> {
    let taken = side.0.take().await?;
    Some((taken, side))
}

impl Held {
    fn is_full(&self) -> bool {
        self.lost >= CONSUME_HEARD
    }
}

/// How many leases it tells as lost.
fn ids_of(response: &Response) -> usize {
    match response {
        Response::LeasesLost(LeasesLost { ids }) => ids.len(),
        Response::Item(_) | Response::Heartbeat(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use calbridge_proto::v1::{Heartbeat, consume_response::Item};
    use futures_util::{FutureExt, StreamExt};

    use super::*;
    use crate::store::Position;

    fn item(position: i64) -> Laid {
        let delivery = DeliveryOf { position: Position(position), lease: 1 };
        Laid(Response::Item(Item { id: position.to_string(), ..Item::default() }), Some(delivery))
    }

    fn id(taken: Result<Response, Status>) -> String {
        match taken.unwrap() {
            Response::Item(item) => item.id,
            Response::LeasesLost(lost) => lost.ids.concat(),
            Response::Heartbeat(at) => at.position,
        }
    }

    #[tokio::test]
    async fn what_was_not_taken_is_taken_back_and_the_rest_comes_before_the_end() {
        let (tray, stream) = Tray::new();
        let mut stream = Box::pin(stream);
        assert!(!tray.is_wanted(), "nobody has asked yet");
        assert!(stream.next().now_or_never().is_none());
        assert!(tray.is_wanted() && tray.wanted().now_or_never().is_some());
        let ids = vec!["l".to_owned(); CONSUME_HEARD];
        tray.put([item(1), Laid(Response::LeasesLost(LeasesLost { ids }), None), item(2)]);
        assert!(!tray.is_wanted());
        assert_eq!(id(stream.next().await.unwrap()), "1");
        assert!(!tray.is_wanted() && tray.wanted().now_or_never().is_none(), "there is more here");
        assert!(tray.is_full());
        assert_eq!(tray.withdraw(), [item(2).1.unwrap()]);
        tray.put([Laid(Response::Heartbeat(Heartbeat { position: "h".to_owned() }), None)]);
        tray.end(Err(Status::aborted("the end")));
        assert_eq!(id(stream.next().await.unwrap()), "l".repeat(CONSUME_HEARD));
        assert!(!tray.is_full() && tray.wanted().now_or_never().is_some(), "there is room again");
        assert_eq!(id(stream.next().await.unwrap()), "h");
        assert!(tray.left().now_or_never().is_none());
        let end = stream.next().await.unwrap().unwrap_err();
        assert_eq!(end.message(), "the end");
        assert!(stream.next().await.is_none());
        tray.left().now_or_never().unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nobody_who_waits_is_forgotten() {
        const ITEMS: i64 = 10_000;
        let (tray, stream) = Tray::new();
        let taking = tokio::spawn(async move { Box::pin(stream).map(id).collect().await });
        let laying = async {
            for position in 0..ITEMS {
                tray.wanted().await;
                tray.put([item(position)]);
            }
            tray.end(Ok(()));
            taking.await.unwrap()
        };
        let taken: Vec<String> = tokio::time::timeout(Duration::from_mins(1), laying).await.unwrap();
        assert!(taken.into_iter().eq((0..ITEMS).map(|position| position.to_string())));
    }
}
