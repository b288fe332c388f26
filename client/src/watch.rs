//! Following the log with a cursor that outlives the connection: each entry comes once, in order, however often the
//! service goes away between two of them.

use std::time::Duration;

use calbridge_proto::v1::{
    WatchTransitionsRequest, WatchTransitionsResponse, booking_service_client::BookingServiceClient,
    watch_transitions_response::Entry,
};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tonic::{Status, Streaming};

use crate::{CALL_TIMEOUT, Connect, MAX_MESSAGE, SILENCE_MAX, passes, pauses::Pauses};

/// A watch that resumes. Whoever wants it to outlive the process too keeps the position of the last entry that was
/// dealt with, and begins behind it.
#[derive(Debug)]
pub struct Watch<C> {
    connect: C,
    /// What the next call will say: its `after_position` is the cursor.
    request: WatchTransitionsRequest,
    stream: Option<Streaming<WatchTransitionsResponse>>,
    pauses: Pauses,
    /// Not before this, after an interruption.
    resume: Instant,
    /// When the stream last gave a sign of life.
    heard: Instant,
}

/// What a watch has to tell.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "nearly all are entries, each moved once from the stream to its reader")]
pub enum Watched {
    /// An entry of the log, or a heartbeat: the cursor is behind it now.
    Entry(Entry),
    /// The service went away; the watch goes on behind its cursor by itself.
    Interrupted {
        /// Why.
        status: Status,
        /// It is asked again after this.
        pause: Duration,
    },
}

impl<C: Connect> Watch<C> {
    /// Nothing is asked before the first [`Self::next`].
    #[must_use]
    pub fn new(connect: C, request: WatchTransitionsRequest) -> Self {
        let now = Instant::now();
        Self { connect, request, stream: None, pauses: Pauses::new(), resume: now, heard: now }
    }

    /// Behind the last entry that was handed out: where another watch would go on.
    #[must_use]
    pub fn cursor(&self) -> &str {
        &self.request.after_position
    }

    /// The next there is to tell; nothing at the end, which comes only where `stop_at_head` asked for it. May be
    /// cancelled: what it has not handed out comes with the next call.
    ///
    /// # Errors
    ///
    /// What no waiting mends: a filter that is not understood, a cursor behind which the log is purged, a scope that
    /// the caller does not have.
    pub async fn next(&mut self) -> Result<Option<Watched>, Status> {
        loop {
            let status = match self.try_next().await {
                Ok(Some(WatchTransitionsResponse { entry: Some(entry) })) => {
                    self.move_behind(&entry);
                    return Ok(Some(Watched::Entry(entry)));
                }
                Ok(Some(WatchTransitionsResponse { entry: None })) => continue,
                Ok(None) => return Ok(None),
                Err(status) => status,
            };
            self.stream = None;
            if !passes(&status) {
                return Err(status);
            }
            let pause = self.pauses.next();
            self.resume = Instant::now() + pause;
            return Ok(Some(Watched::Interrupted { status, pause }));
        }
    }

    async fn try_next(&mut self) -> Result<Option<WatchTransitionsResponse>, Status> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            stream => {
                sleep_until(self.resume).await;
                let begun = timeout(CALL_TIMEOUT, begin(&self.connect, &self.request)).await;
                self.heard = Instant::now();
                stream.insert(begun.map_err(|_| Status::deadline_exceeded("the booking service does not answer"))??)
            }
        };
        let message = timeout_at(self.heard + SILENCE_MAX, stream.message()).await;
        self.heard = Instant::now();
        message.map_err(|_| Status::unavailable("the booking service fell silent"))?
    }

    fn move_behind(&mut self, entry: &Entry) {
        let position = match entry {
            Entry::Transition(made) => &made.position,
            Entry::Heartbeat(heartbeat) => &heartbeat.position,
            Entry::Recorded(recorded) => &recorded.position,
        };
        position.clone_into(&mut self.request.after_position);
        self.request.from_head = false;
        self.pauses.reset();
    }
}

async fn begin<C: Connect>(
    connect: &C,
    request: &WatchTransitionsRequest,
) -> Result<Streaming<WatchTransitionsResponse>, Status> {
    let service = connect.connect().await?;
    let mut client = BookingServiceClient::new(service).max_decoding_message_size(MAX_MESSAGE);
    Ok(client.watch_transitions(request.clone()).await?.into_inner())
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use futures_util::{StreamExt as _, stream};
    use http_body_util::StreamBody;
    use prost::Message as _;
    use tonic::{body::Body, codegen::Bytes};

    use super::*;
    use calbridge_proto::v1::Heartbeat;

    /// A message as gRPC frames it.
    fn frame(response: &WatchTransitionsResponse) -> Bytes {
        let message = response.encode_to_vec();
        let length = u32::try_from(message.len()).unwrap();
        [&[0][..], &length.to_be_bytes(), &message].concat().into()
    }

    /// A service that answers each watch with a heartbeat, and is silent from then on.
    async fn answer_once(_: http::Request<Body>) -> Result<http::Response<Body>, Infallible> {
        let position = "07".to_owned();
        let heartbeat = WatchTransitionsResponse { entry: Some(Entry::Heartbeat(Heartbeat { position })) };
        let first = stream::iter([Ok::<_, Infallible>(http_body::Frame::data(frame(&heartbeat)))]);
        let body = Body::new(StreamBody::new(first.chain(stream::pending())));
        Ok(http::Response::builder().header("content-type", "application/grpc").body(body).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_falls_silent_is_left() {
        let connections = AtomicUsize::new(0);
        let connect = || {
            connections.fetch_add(1, Ordering::SeqCst);
            async { Ok(tower::service_fn(answer_once)) }
        };
        let mut watch = Watch::new(connect, WatchTransitionsRequest::default());
        for round in 1..=2 {
            assert!(matches!(watch.next().await, Ok(Some(Watched::Entry(Entry::Heartbeat(_))))));
            assert_eq!((watch.cursor(), connections.load(Ordering::SeqCst)), ("07", round));
            let heard = Instant::now();
            let told = watch.next().await;
            let Ok(Some(Watched::Interrupted { status, .. })) = told else { unreachable!("it went on: {told:?}") };
            assert_eq!((status.code(), heard.elapsed().as_secs()), (tonic::Code::Unavailable, SILENCE_MAX.as_secs()));
        }
    }
}
