//! A booking service that keeps what it gets and answers as the test says.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use calbridge_e2e::wait;
use calbridge_proto::v1::{
    BookingEvent, SubmitError, SubmitEventRequest, SubmitEventResponse, SubmitEventsRequest, SubmitEventsResponse,
    SubmitOutcome,
    ingest_service_server::{IngestService, IngestServiceServer},
};
use futures_util::{Stream, StreamExt as _};
use http::HeaderMap;
use tokio::{net::TcpListener, runtime::Runtime, sync::mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

/// What becomes of one event.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// It is committed, with this outcome.
    Commit(SubmitOutcome),
    /// It is not committed.
    Refuse(SubmitError),
    /// It is never answered.
    Ignore,
    /// The stream breaks.
    Break,
    /// It is committed after a while.
    Late(Duration),
}

/// One event as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    /// Counts the streams, from one.
    pub(crate) stream: usize,
    pub(crate) sequence: u64,
    pub(crate) event: BookingEvent,
}

#[derive(Default)]
struct Shared {
    arrivals: Vec<Arrival>,
    /// What becomes of the next events; afterwards they are committed.
    script: VecDeque<Act>,
    /// The body of events that are never committed, and why.
    refused: Option<(Vec<u8>, SubmitError)>,
    streams: usize,
    streams_ended: usize,
    metadata: Option<HeaderMap>,
    authority: Option<String>,
}

/// A running service. Dropping it is a `kill -9`: its sockets close, whatever is in flight.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    health: tonic_health::server::HealthReporter,
    runtime: Option<Runtime>,
}

impl Service {
    pub(crate) async fn start() -> Self {
        Self::start_on("127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn start_on(address: SocketAddr) -> Self {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_serving::<IngestServiceServer<Ingest>>().await;
        let listener = wait::within("the port is free", bind(address)).await;
        let address = listener.local_addr().unwrap();
        // A runtime of its own can be dropped with all that runs on it.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let ingest = IngestServiceServer::new(Ingest(Arc::clone(&shared))).max_decoding_message_size(32 * 1024 * 1024);
        let listener = listener.into_std().unwrap();
        let seen = Arc::clone(&shared);
        let look = move |request: &http::Request<()>| {
            seen.lock().unwrap().authority = request.uri().authority().map(ToString::to_string);
            tracing::Span::none()
        };
        runtime.spawn(async move {
            let incoming = TcpListenerStream::new(TcpListener::from_std(listener).unwrap());
            Server::builder()
                .trace_fn(look)
                .add_service(health_service)
                .add_service(ingest)
                .serve_with_incoming(incoming)
                .await
        });
        Self { address, shared, health, runtime: Some(runtime) }
    }

    /// What becomes of the next events.
    pub(crate) fn script(&self, acts: impl IntoIterator<Item = Act>) {
        self.shared.lock().unwrap().script.extend(acts);
    }

    /// From now on no event with this body is committed.
    pub(crate) fn refuse_always(&self, body: Vec<u8>, error: SubmitError) {
        self.shared.lock().unwrap().refused = Some((body, error));
    }

    /// From now on events are committed.
    pub(crate) fn forget_script(&self) {
        self.shared.lock().unwrap().script.clear();
    }

    /// Whom the newest call was meant for.
    pub(crate) fn authority(&self) -> Option<String> {
        self.shared.lock().unwrap().authority.clone()
    }

    /// Everything that arrived, in order.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.shared.lock().unwrap().arrivals.clone()
    }

    /// The events that arrived, each request once.
    pub(crate) fn events(&self) -> Vec<BookingEvent> {
        let mut events: Vec<BookingEvent> = self.arrivals().into_iter().map(|arrival| arrival.event).collect();
        events.dedup_by(|one, other| one.request_id == other.request_id);
        events
    }

    pub(crate) fn streams(&self) -> usize {
        self.shared.lock().unwrap().streams
    }

    /// Streams that the client has ended.
    pub(crate) fn streams_ended(&self) -> usize {
        self.shared.lock().unwrap().streams_ended
    }

    /// The metadata of the newest stream.
    pub(crate) fn metadata(&self) -> Option<HeaderMap> {
        self.shared.lock().unwrap().metadata.clone()
    }

    pub(crate) async fn set_serving(&self, serves: bool) {
        if serves {
            self.health.set_serving::<IngestServiceServer<Ingest>>().await;
        } else {
            self.health.set_not_serving::<IngestServiceServer<Ingest>>().await;
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The port of a service just killed may be busy for a moment.
async fn bind(address: SocketAddr) -> TcpListener {
    wait::until("the port of the killed service is free", async || TcpListener::bind(address).await.ok()).await
}

pub(crate) struct Ingest(Arc<Mutex<Shared>>);

#[tonic::async_trait]
impl IngestService for Ingest {
    type SubmitEventsStream = Pin<Box<dyn Stream<Item = Result<SubmitEventsResponse, Status>> + Send>>;

    async fn submit_event(&self, _: Request<SubmitEventRequest>) -> Result<Response<SubmitEventResponse>, Status> {
        Err(Status::unimplemented("the adapter has a stream"))
    }

    async fn submit_events(
        &self,
        request: Request<Streaming<SubmitEventsRequest>>,
    ) -> Result<Response<Self::SubmitEventsStream>, Status> {
        let stream = {
            let mut shared = self.0.lock().unwrap();
            shared.streams += 1;
            shared.metadata = Some(request.metadata().clone().into_headers());
            shared.streams
        };
        let (answers, receiver) = mpsc::channel(64);
        tokio::spawn(answer_all(Arc::clone(&self.0), stream, request.into_inner(), answers));
        Ok(Response::new(ReceiverStream::new(receiver).boxed()))
    }
}

type Answers = mpsc::Sender<Result<SubmitEventsResponse, Status>>;

async fn answer_all(
    shared: Arc<Mutex<Shared>>,
    stream: usize,
    mut events: Streaming<SubmitEventsRequest>,
    answers: Answers,
) {
    while let Ok(Some(SubmitEventsRequest { sequence, event })) = events.message().await {
        let act = {
            let mut shared = shared.lock().unwrap();
            let event = event.unwrap();
            let refused = shared.refused.as_ref().filter(|(body, _)| event.raw_body == body);
            let refused = refused.map(|(_, error)| Act::Refuse(error.clone()));
            shared.arrivals.push(Arrival { stream, sequence, event });
            refused.or_else(|| shared.script.pop_front()).unwrap_or(Act::Commit(SubmitOutcome::Applied))
        };
        let answer = match act {
            Act::Commit(outcome) => committed(sequence, outcome),
            Act::Refuse(error) => SubmitEventsResponse { sequence, error: Some(error), ..Default::default() },
            Act::Ignore => continue,
            Act::Break => {
                let _ = answers.send(Err(Status::internal("told to break"))).await;
                return;
            }
            Act::Late(wait) => {
                let answers = answers.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(wait).await;
                    let _ = answers.send(Ok(committed(sequence, SubmitOutcome::Applied))).await;
                });
                continue;
            }
        };
        if answers.send(Ok(answer)).await.is_err() {
            return;
        }
    }
    shared.lock().unwrap().streams_ended += 1;
}

fn committed(sequence: u64, outcome: SubmitOutcome) -> SubmitEventsResponse {
    SubmitEventsResponse {
        sequence,
        outcome: outcome.into(),
        delivery_id: format!("delivery-{sequence}"),
        position: "p".to_owned(),
        error: None,
    }
}
