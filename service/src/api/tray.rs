//! Between the task that serves a client of a consumer and the client's connection: the one puts responses here, the
//! other takes them when the client has room. So what a client says is heard also while it takes nothing.

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

use crate::store::DeliveryOf;

/// The task's side.
#[derive(Debug)]
pub(super) struct Tray {
    lies: Mutex<Lies>,
    /// The connection waits for more.
    wants: Notify,
    /// Something was put here.
    put: Notify,
    /// The connection is gone.
    left: CancellationToken,
}

/// What lies here.
#[derive(Debug)]
struct Lies {
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
        let lies = Mutex::new(Lies { responses, lost: 0, is_wanted: false, taken_at, end: None });
        let left = CancellationToken::new();
        let tray = Arc::new(Self { lies, wants: Notify::new(), put: Notify::new(), left: left.clone() });
        let stream = stream::unfold((Arc::clone(&tray), left.drop_guard()), step);
        (tray, stream)
    }

    /// Lays responses down, in order.
    pub(super) fn put(&self, responses: impl IntoIterator<Item = Laid>) {
        let mut lies = self.lies();
        for laid in responses {
            lies.lost += lost(&laid.0);
            lies.responses.push_back(laid);
        }
        if !lies.responses.is_empty() {
            lies.is_wanted = false;
            drop(lies);
            self.put.notify_one();
        }
    }

    /// Takes back the deliveries that the connection has not taken.
    pub(super) fn withdraw(&self) -> Vec<DeliveryOf> {
        let mut withdrawn = Vec::new();
        self.lies().responses.retain(|Laid(_, delivery)| {
            withdrawn.extend(*delivery);
            delivery.is_none()
        });
        withdrawn
    }

    /// Ends the stream behind what lies here.
    pub(super) fn end(&self, end: Result<(), Status>) {
        self.lies().end = Some(end);
        self.put.notify_one();
    }

    /// The connection has taken all, and waits.
    pub(super) fn is_wanted(&self) -> bool {
        self.lies().is_wanted
    }

    /// Ids of lost leases that were not taken.
    pub(super) fn lost(&self) -> usize {
        self.lies().lost
    }

    /// When something was taken last.
    pub(super) fn taken_at(&self) -> Instant {
        self.lies().taken_at
    }

    /// Until the connection waits for more than lay here. One task may wait for it.
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
                let mut lies = self.lies();
                if let Some(Laid(response, _)) = lies.responses.pop_front() {
                    lies.lost -= lost(&response);
                    lies.taken_at = Instant::now();
                    return Some(Ok(response));
                }
                if let Some(end) = &mut lies.end {
                    return mem::replace(end, Ok(())).err().map(Err);
                }
                lies.is_wanted = true;
            }
            self.wants.notify_one();
            self.put.notified().await;
        }
    }

    fn lies(&self) -> MutexGuard<'_, Lies> {
        self.lies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn step(side: (Arc<Tray>, DropGuard)) -> Option<(Result<Response, Status>, (Arc<Tray>, DropGuard))> {
    let taken = side.0.take().await?;
    Some((taken, side))
}

fn lost(response: &Response) -> usize {
    match response {
        Response::LeasesLost(LeasesLost { ids }) => ids.len(),
        Response::Item(_) | Response::Heartbeat(_) => 0,
    }
}

#[cfg(test)]
mod tests {
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
        let lost = LeasesLost { ids: vec!["l".to_owned(), "m".to_owned()] };
        tray.put([item(1), Laid(Response::LeasesLost(lost), None), item(2)]);
        assert!(!tray.is_wanted());
        assert_eq!(id(stream.next().await.unwrap()), "1");
        assert!(!tray.is_wanted() && tray.wanted().now_or_never().is_none(), "there is more here");
        assert_eq!((tray.lost(), tray.withdraw()), (2, vec![item(2).1.unwrap()]));
        tray.put([Laid(Response::Heartbeat(Heartbeat { position: "h".to_owned() }), None)]);
        tray.end(Err(Status::aborted("the end")));
        assert_eq!(id(stream.next().await.unwrap()), "lm");
        assert_eq!(id(stream.next().await.unwrap()), "h");
        assert_eq!(tray.lost(), 0);
        assert!(tray.left().now_or_never().is_none());
        let end = stream.next().await.unwrap().unwrap_err();
        assert_eq!(end.message(), "the end");
        assert!(stream.next().await.is_none());
        tray.left().now_or_never().unwrap();
    }

    #[tokio::test]
    async fn nobody_who_waits_is_forgotten() {
        let (tray, stream) = Tray::new();
        let taking = tokio::spawn(async move { Box::pin(stream).map(id).collect().await });
        for position in 0..100 {
            tray.wanted().await;
            tray.put([item(position)]);
        }
        tray.end(Ok(()));
        let taken: Vec<String> = taking.await.unwrap();
        assert_eq!(taken, (0..100).map(|position| position.to_string()).collect::<Vec<_>>());
    }
}
