//! The task that keeps one `SubmitEvents` stream open, to one replica: connects, hands answers to the outbox, and comes
//! back when it breaks.
//!
//! It decides nothing about events: which of them are sent, where, and again, is the outbox's business.

use std::{
    collections::{BTreeSet, hash_map::RandomState},
    hash::{BuildHasher as _, Hasher as _},
    sync::Arc,
    time::Duration,
};

use calbridge_process::{
    Credentials,
    crash::{self, Point},
};
use calbridge_proto::v1::SubmitEventsResponse;
use calbridge_telemetry::{propagation, rpc::code_name, semconv};
use http::{header::AUTHORIZATION, uri::PathAndQuery};
use tokio::{
    select,
    sync::{Notify, watch},
    time::{self, Instant},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tonic::{Code, Request, Status, Streaming, client::Grpc, transport::Channel};
use tracing::{Span, debug, field::Empty, info, info_span, warn};

use super::{
    backoff,
    codec::SubmitCodec,
    health,
    outbox::{Attached, Outbox, Outgoing, Place, StreamId},
};
use crate::{metrics::Metrics, peer::Peer};

/// The method, as spans and metrics name it.
const METHOD: &str = "calbridge.v1.IngestService/SubmitEvents";

/// The method's path on the wire.
const PATH: &str = "/calbridge.v1.IngestService/SubmitEvents";

/// For the service to say that the stream is open: it says so before it has read any event.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);

/// For the service to answer what is left after we ended our side.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// A stream that held this long was no failure when it ends: the next try is made without the waits of the last ones.
const STABLE: Duration = Duration::from_secs(1);

/// Largest answer: two ids, a word and a message for people.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Everything the task needs.
pub(crate) struct Link {
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) place: Place,
    pub(crate) channel: Channel,
    /// Says who we are, each time that a stream is opened.
    pub(crate) credentials: Credentials,
    pub(crate) peer: Arc<Peer>,
    /// The longest that an event waits for its answer.
    pub(crate) patience: Duration,
    pub(crate) metrics: Arc<Metrics>,
    /// Told when the stream ends or does not open: the replica may be elsewhere by now.
    pub(crate) failed: Arc<Notify>,
    /// Ends the stream once all on it is answered, then the task.
    pub(crate) stop: CancellationToken,
}

/// How a stream ended.
enum End {
    /// We ended it, and it is over.
    Stopped,
    /// The service ended it, as it does when it shuts down.
    Closed,
    /// It broke.
    Broken(Status),
}

impl Link {
    /// Runs until stopped.
    pub(crate) async fn run(self) {
        let (open, is_open) = watch::channel(None);
        let _asking = AbortOnDropHandle::new(tokio::spawn(health::watch(
            self.channel.clone(),
            is_open,
            Arc::clone(&self.outbox),
        )));
        let counted = self.metrics.link(&self.peer);
        let mut failures = 0_u32;
        let mut said = BTreeSet::new();
        while !self.stop.is_cancelled() {
            let span = self.stream_span();
            let began = Instant::now();
            let Attached { id, outgoing, over } = self.place.attach();
            let opened = select! {
                opened = self.open(outgoing, &span) => opened,
                () = self.stop.cancelled() => break,
            };
            let end = match opened {
                Ok(answers) => {
                    self.outbox.opened(id);
                    open.send_replace(Some(id));
                    counted.set(true);
                    self.say_open(failures + 1);
                    let end = self.serve(id, answers, &over).await;
                    open.send_replace(None);
                    self.place.close();
                    counted.set(false);
                    if began.elapsed() >= STABLE {
                        failures = 0;
                        said.clear();
                    }
                    end
                }
                Err(status) => End::Broken(status),
            };
            let code = self.conclude(&span, &end, began, failures, &mut said);
            if matches!(end, End::Stopped) {
                break;
            }
            self.metrics.reconnect(code);
            self.failed.notify_one();
            failures = failures.saturating_add(1);
            select! {
                () = time::sleep(backoff::pause(failures, random())) => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    /// Connects where necessary and opens a stream.
    async fn open(&self, outgoing: Outgoing, span: &Span) -> Result<Streaming<SubmitEventsResponse>, Status> {
        let opening = async {
            let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
            grpc.ready().await.map_err(|why| Status::unavailable(why.to_string()))?;
            let mut request = Request::new(outgoing);
            propagation::inject(request.metadata_mut(), span);
            if let Some(authorization) = self.credentials.authorization() {
                request.metadata_mut().as_mut().insert(AUTHORIZATION, authorization);
            }
            let answers = grpc.streaming(request, PathAndQuery::from_static(PATH), SubmitCodec).await?;
            Ok(answers.into_inner())
        };
        let too_late = || Status::deadline_exceeded("the service did not open the stream in time");
        time::timeout(OPEN_TIMEOUT, opening).await.unwrap_or_else(|_| Err(too_late()))
    }

    /// Hands answers on until the stream is over.
    async fn serve(&self, id: StreamId, mut answers: Streaming<SubmitEventsResponse>, over: &CancellationToken) -> End {
        loop {
            let answer = select! {
                answer = answers.message() => answer,
                () = over.cancelled() => return End::Broken(Status::deadline_exceeded("the service does not answer")),
                () = self.stop.cancelled() => break,
            };
            match answer {
                Ok(Some(answer)) => self.hand_on(id, answer),
                Ok(None) => return End::Closed,
                Err(status) => return End::Broken(status),
            }
        }
        self.place.drain();
        let rest = async {
            while let Ok(Some(answer)) = answers.message().await {
                self.hand_on(id, answer);
            }
        };
        // Nobody waits for an answer any longer than that.
        if time::timeout(self.patience.max(END_TIMEOUT), rest).await.is_err() {
            debug!("the booking service did not end the stream in time");
        }
        End::Stopped
    }

    fn hand_on(&self, id: StreamId, answer: SubmitEventsResponse) {
        crash::at(Point::ForwardAnswered);
        if self.outbox.answer(id, answer) {
            let Peer { host, port } = &*self.peer;
            info!(
                { semconv::SERVER_ADDRESS } = %host,
                { semconv::SERVER_PORT } = port,
                "the booking service answers again; it gets events as before"
            );
        }
    }

    fn say_open(&self, attempts: u32) {
        let Peer { host, port } = &*self.peer;
        info!(
            { semconv::SERVER_ADDRESS } = %host,
            { semconv::SERVER_PORT } = port,
            attempts,
            "the stream to the booking service is open"
        );
    }

    /// One span for the whole stream, in a trace of its own: the events on it belong to theirs.
    fn stream_span(&self) -> Span {
        info_span!(
            parent: None,
            "stream",
            { semconv::otel::NAME } = METHOD,
            { semconv::otel::KIND } = "client",
            { semconv::RPC_SYSTEM_NAME } = semconv::RPC_SYSTEM_GRPC,
            { semconv::RPC_METHOD } = METHOD,
            { semconv::SERVER_ADDRESS } = &*self.peer.host,
            { semconv::SERVER_PORT } = i64::from(self.peer.port),
            { semconv::RPC_STATUS_CODE } = Empty,
            { semconv::ERROR_TYPE } = Empty,
            { semconv::otel::STATUS_CODE } = Empty,
        )
    }

    /// Writes down how the stream ended; its code's name. What was `said` of this outage is not said again.
    fn conclude(
        &self,
        span: &Span,
        end: &End,
        began: Instant,
        failures: u32,
        said: &mut BTreeSet<&'static str>,
    ) -> &'static str {
        let code = match end {
            End::Stopped | End::Closed => Code::Ok,
            End::Broken(status) => status.code(),
        };
        let name = code_name(code);
        span.record(semconv::RPC_STATUS_CODE, name);
        if code != Code::Ok {
            span.record(semconv::ERROR_TYPE, name);
            span.record(semconv::otel::STATUS_CODE, "ERROR");
        }
        self.metrics.stream_ended(METHOD, &self.peer, name, began.elapsed());
        let _inside = span.enter();
        let Peer { host, port } = &*self.peer;
        match end {
            End::Stopped => {
                info!(
                    { semconv::SERVER_ADDRESS } = %host,
                    { semconv::SERVER_PORT } = port,
                    "the stream to the booking service is closed"
                );
            }
            // An outage is told when it begins, and once for each cause that shows later: what is left when a service
            // is there may be our token. The tries in between are for whoever looks closer.
            End::Closed | End::Broken(_) if !said.insert(name) => {
                debug!(
                    { semconv::SERVER_ADDRESS } = %host,
                    { semconv::SERVER_PORT } = port,
                    { semconv::RPC_STATUS_CODE } = name,
                    failures,
                    "no stream to the booking service"
                );
            }
            End::Closed => {
                warn!(
                    { semconv::SERVER_ADDRESS } = %host,
                    { semconv::SERVER_PORT } = port,
                    "the booking service ended the stream; opening another"
                );
            }
            End::Broken(status) => {
                warn!(
                    { semconv::SERVER_ADDRESS } = %host,
                    { semconv::SERVER_PORT } = port,
                    { semconv::RPC_STATUS_CODE } = name,
                    why = status.message(),
                    "no stream to the booking service; trying again"
                );
            }
        }
        name
    }
}

/// Spread for the waits, which is all the randomness that the adapter needs: a fresh hasher's seed.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
