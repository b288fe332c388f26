//! The edge's side of the stream.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context;
use calbridge_proto::v1::{
    BookingEvent, SubmitEventsRequest, SubmitEventsResponse, SubmitOutcome, ingest_service_client::IngestServiceClient,
};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Endpoint};

/// Webhooks that may wait for the stream: more than the bench has connections.
const UNSENT_MAX: usize = 1_024;

/// One stream to the keeper.
#[derive(Debug)]
pub struct Link {
    requests: mpsc::Sender<SubmitEventsRequest>,
    unanswered: Arc<Unanswered>,
    next: AtomicU64,
}

/// By sequence.
type Unanswered = Mutex<HashMap<u64, oneshot::Sender<SubmitOutcome>>>;

impl Link {
    /// Opens it.
    ///
    /// # Errors
    ///
    /// The keeper is not there.
    pub async fn open(keeper: String) -> anyhow::Result<Self> {
        let channel = Endpoint::from_shared(keeper)?.connect().await.context("no keeper")?;
        let mut client = IngestServiceClient::new(channel);
        let (requests, outgoing) = mpsc::channel(UNSENT_MAX);
        let answers = client.submit_events(ReceiverStream::new(outgoing)).await.context("no stream")?.into_inner();
        let unanswered = Arc::new(Unanswered::default());
        tokio::spawn(hear(answers, Arc::clone(&unanswered)));
        Ok(Self { requests, unanswered, next: AtomicU64::new(0) })
    }

    /// What became of it, once it is kept; nothing where it is not.
    pub async fn keep(&self, event: BookingEvent) -> Option<SubmitOutcome> {
        let sequence = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner).insert(sequence, answer);
        self.requests.send(SubmitEventsRequest { sequence, event: Some(event) }).await.ok()?;
        answered.await.ok()
    }
}

/// Until the stream ends: then nobody who still waits is answered.
async fn hear(mut answers: Streaming<SubmitEventsResponse>, unanswered: Arc<Unanswered>) {
    while let Ok(Some(answer)) = answers.message().await {
        let waiting = unanswered.lock().unwrap_or_else(PoisonError::into_inner).remove(&answer.sequence);
        if let Some(waiting) = waiting {
            // Whoever has gone does not wait.
            let _ = waiting.send(answer.outcome());
        }
    }
    unanswered.lock().unwrap_or_else(PoisonError::into_inner).clear();
}
