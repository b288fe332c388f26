//! Handing events to the booking service: one multiplexed `SubmitEvents` stream to each replica, which comes back by
//! itself.
//!
//! An event is encoded once, by the request that brings it. It waits in the [`outbox`] until it is answered or given
//! up. What a replica does not answer, because its stream breaks, because it is silent or because it can't, goes to
//! another with the same request id. `Ok` means committed.

mod backoff;
mod codec;
mod health;
mod link;
mod outbox;
mod replicas;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use calbridge_proto::v1::{BookingEvent, SubmitOutcome};
use calbridge_telemetry::Check;
use prost::Message as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Error, Settings, metrics::Metrics};

use self::{
    outbox::Outbox,
    replicas::{Replicas, Target},
};

pub(crate) use self::{backoff::pause, link::random, outbox::Ticket};

/// The service's health name, and the service that the stream calls.
const INGEST_SERVICE: &str = "calbridge.v1.IngestService";

/// Largest encoded event: the greatest body that can be configured and its typed form, which repeats it and grows where
/// the body is nothing but tiny values. The service takes messages of 32 MiB; the stream adds a few bytes to each
/// event.
pub const MAX_EVENT_BYTES: usize = 32 * 1024 * 1024 - 1024;

/// When another try makes sense while the service is away: a restart takes a few seconds.
const RETRY_AFTER_AWAY: Duration = Duration::from_secs(5);

/// When another try makes sense after a momentary shortage.
const RETRY_AFTER_BUSY: Duration = Duration::from_secs(1);

/// An event that the service has committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// What the service made of it.
    pub(crate) outcome: SubmitOutcome,
    /// The delivery; of a duplicate the first one.
    pub(crate) delivery_id: String,
}

/// An event that is not known to be committed. It may be: the answer can have been lost, and sending it again is
/// harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// When another try makes sense.
    pub(crate) retry_after: Duration,
    /// Of low cardinality, for `error.type` and log lines.
    pub(crate) reason: &'static str,
}

impl Refused {
    /// Whether it is a matter of time alone: what is none is another try's business only once somebody has changed
    /// something.
    pub(crate) fn passes(&self) -> bool {
        !matches!(self.reason, "invalid_field" | "scope_missing" | "too_large" | "no_outcome" | "_OTHER")
    }

    /// Whether it may be this event alone that can't be taken: nobody said that all are.
    pub(crate) fn may_be_its_own(&self) -> bool {
        !matches!(self.reason, "service_away" | "shutting_down" | "overloaded")
    }

    pub(crate) fn away(reason: &'static str) -> Self {
        Self { retry_after: RETRY_AFTER_AWAY, reason }
    }

    pub(crate) fn busy(reason: &'static str) -> Self {
        Self { retry_after: RETRY_AFTER_BUSY, reason }
    }
}

/// An address of the service can't be used.
#[derive(Debug, thiserror::Error)]
#[error("--service = {address}: {why}")]
pub struct AddressError {
    address: String,
    why: String,
}

/// A handle on the streams.
#[derive(Clone)]
pub(crate) struct Forwarder {
    outbox: Arc<Outbox>,
    deadline: Duration,
}

/// The tasks behind the handle.
pub(crate) struct Running {
    outbox: Arc<Outbox>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

/// Starts the streams and what watches over them. The check is ready while a replica is that has an open stream, and
/// not any more from `shutdown` on; the streams stay open until [`Running::stop`].
pub(crate) fn start(
    settings: &Settings,
    check: Check,
    metrics: &Arc<Metrics>,
    shutdown: &CancellationToken,
) -> Result<(Forwarder, Running), Error> {
    let credentials = settings.access.open()?;
    let targets =
        settings.services.iter().map(|address| Target::parse(address)).collect::<Result<_, AddressError>>()?;
    let deadline = settings.limits.forward_deadline;
    let outbox = Arc::new(Outbox::new(settings.limits.in_flight, deadline, check));
    let stop = CancellationToken::new();
    let replicas = Replicas::new(
        targets,
        settings.resolver.clone(),
        credentials,
        Arc::clone(&outbox),
        deadline,
        Arc::clone(metrics),
        stop.clone(),
    );
    let mut tasks = JoinSet::new();
    tasks.spawn(replicas.run());
    tasks.spawn(replicas::watch(Arc::clone(&outbox), Arc::clone(metrics), shutdown.clone(), stop.clone()));
    Ok((Forwarder { outbox: Arc::clone(&outbox), deadline }, Running { outbox, tasks, stop }))
}

impl Forwarder {
    /// Sends an encoded event on its way.
    pub(crate) fn submit(&self, event: Bytes) -> Result<Ticket, Refused> {
        self.outbox.submit(event)
    }

    /// How long a new event is given.
    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }
}

/// The bytes of an event, as they go on a stream.
pub(crate) fn encode(event: &BookingEvent) -> Result<Bytes, Refused> {
    encode_with(event, &[])
}

/// The same of an event some fields of which are encoded already.
pub(crate) fn encode_with(event: &BookingEvent, fields: &[u8]) -> Result<Bytes, Refused> {
    // Encoding measures the event as well; asking for its length before would measure it twice.
    let mut encoded = event.encode_to_vec();
    // A message is its fields in any order (protobuf's encoding, "field order").
    encoded.extend_from_slice(fields);
    if encoded.len() > MAX_EVENT_BYTES { Err(Refused::away("too_large")) } else { Ok(encoded.into()) }
}

impl Running {
    /// Ends the streams from our side and waits for their end; the caller has seen to it that no event waits any more.
    pub(crate) async fn stop(mut self) {
        self.outbox.end();
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}
