//! Taking events in: one by one, or many over a stream whose answers come as the commits do.

use std::pin::Pin;

use calbridge_process::{
    Scope,
    crash::{self, Point},
};
use calbridge_proto::v1::{
    BookingEvent, SubmitEventRequest, SubmitEventResponse, SubmitEventsRequest, SubmitEventsResponse,
    ingest_service_server::IngestService,
};
use futures_util::{
    FutureExt, Stream, StreamExt,
    future::BoxFuture,
    stream::{self, FuturesUnordered},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, async_trait};
use tracing::Span;

use super::{Api, ending, errors::ApiError, mask, open, read};
use crate::{
    auth::Caller,
    ingest::{Answer, Ingest, check_tenant},
    settings::STREAM_IN_FLIGHT,
    store::Store,
};

/// What a stream of answers is to tonic.
type Answers = Pin<Box<dyn Stream<Item = Result<SubmitEventsResponse, Status>> + Send>>;

#[async_trait]
impl<S: Store> IngestService for Api<S> {
    type SubmitEventsStream = Answers;

    async fn submit_event(
        &self,
        request: Request<SubmitEventRequest>,
    ) -> Result<Response<SubmitEventResponse>, Status> {
        let (caller, request) = open(request);
        let event = Box::new(request.event.ok_or(NO_EVENT)?);
        may_submit(&caller, &event.tenant)?;
        let tenant = event.tenant.clone();
        let answer = self.ingest.submit(event, &Span::current()).await.map_err(ApiError::from)?;
        let booking = match &answer.booking_uid {
            // The event is committed: a read that fails takes nothing back, and the answer does without.
            Some(uid) if caller.has(Scope::Read) => {
                let booking = read(self.store.booking(&tenant, uid, false)).await.ok().flatten();
                booking.map(|booking| mask::shown(&caller, booking))
            }
            _ => None,
        };
        Ok(Response::new(SubmitEventResponse {
            outcome: answer.outcome.into(),
            delivery_id: answer.delivery_id.to_string(),
            position: answer.position.to_token(),
            booking,
        }))
    }

    async fn submit_events(
        &self,
        request: Request<Streaming<SubmitEventsRequest>>,
    ) -> Result<Response<Self::SubmitEventsStream>, Status> {
        let (caller, requests) = open(request);
        let conversation = Conversation {
            caller,
            requests,
            reading: true,
            broken: None,
            unanswered: FuturesUnordered::new(),
            ingest: self.ingest.clone(),
            stopping: self.stopping.clone(),
        };
        let answers = stream::unfold(conversation, |mut conversation| async move {
            let answer = conversation.next().await?;
            Some((answer, conversation))
        });
        Ok(Response::new(answers.boxed()))
    }
}

const NO_EVENT: ApiError = ApiError::InvalidField { field: "event", why: "must be set" };

/// One stream. It lives inside the response that tonic polls, so it ends when the client goes; a client that does not
/// read its answers is not read either.
struct Conversation {
    /// Let in once, when the stream was opened; for whom he submits is looked at with each event.
    caller: Caller,
    requests: Streaming<SubmitEventsRequest>,
    /// Requests may still come.
    reading: bool,
    /// What the stream ends with instead of OK.
    broken: Option<Status>,
    unanswered: FuturesUnordered<BoxFuture<'static, SubmitEventsResponse>>,
    ingest: Ingest,
    stopping: CancellationToken,
}

impl Conversation {
    /// The next answer; none at the end.
    async fn next(&mut self) -> Option<Result<SubmitEventsResponse, Status>> {
        while self.reading || !self.unanswered.is_empty() {
            tokio::select! {
                Some(answer) = self.unanswered.next() => {
                    crash::at(Point::IngestAnswer);
                    return Some(Ok(answer));
                }
                request = self.requests.message(), if self.reading && self.unanswered.len() < STREAM_IN_FLIGHT => {
                    self.take(request);
                }
                () = self.stopping.cancelled(), if self.reading => self.stop(),
            }
        }
        self.broken.take().map(Err)
    }

    fn take(&mut self, request: Result<Option<SubmitEventsRequest>, Status>) {
        match request {
            Ok(Some(SubmitEventsRequest { sequence, event })) => {
                let event = event.ok_or(NO_EVENT).and_then(|event| {
                    may_submit(&self.caller, &event.tenant)?;
                    // Kilobytes, which the future below would have in each of its states.
                    Ok(Box::new(event))
                });
                self.unanswered.push(submit(self.ingest.clone(), sequence, event).boxed());
            }
            Ok(None) => self.reading = false,
            Err(status) => {
                self.reading = false;
                self.broken = Some(ending(status));
            }
        }
    }

    /// What has arrived already is answered as well: the queue refuses it, and the client need not guess.
    fn stop(&mut self) {
        for _ in 0..STREAM_IN_FLIGHT {
            let Some(Ok(Some(request))) = self.requests.message().now_or_never() else { break };
            self.take(Ok(Some(request)));
        }
        self.reading = false;
    }
}

/// That the caller may submit for this tenant. A name that is none is told as such to everybody.
fn may_submit(caller: &Caller, tenant: &str) -> Result<(), ApiError> {
    if caller.knows(tenant) {
        return Ok(());
    }
    check_tenant(tenant, "event.tenant")?;
    Err(ApiError::ScopeMissing { scopes: &[Scope::Ingest], what: "an event of this tenant" })
}

async fn submit(ingest: Ingest, sequence: u64, event: Result<Box<BookingEvent>, ApiError>) -> SubmitEventsResponse {
    let result = match event {
        Ok(event) => ingest.submit(event, &Span::none()).await.map_err(ApiError::from),
        Err(refused) => Err(refused),
    };
    match result {
        Ok(Answer { outcome, delivery_id, position, .. }) => SubmitEventsResponse {
            sequence,
            outcome: outcome.into(),
            delivery_id: delivery_id.to_string(),
            position: position.to_token(),
            error: None,
        },
        Err(error) => SubmitEventsResponse { sequence, error: Some((&error).into()), ..Default::default() },
    }
}
