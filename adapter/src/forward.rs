//! Handing events to the booking service: one multiplexed `SubmitEvents` stream that comes back by itself.
//!
//! An event is encoded once, by the request that brings it. It waits in the [`outbox`] until it is answered or given
//! up, and is sent again, with the same request id, on every stream that opens in between. `Ok` means committed.

mod backoff;
mod codec;
mod health;
mod link;
mod outbox;

use std::{sync::Arc, time::Duration};

use calbridge_proto::v1::{BookingEvent, SubmitOutcome};
use calbridge_telemetry::Check;
use prost::Message as _;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use crate::{metrics::Metrics, peer::Peer};

use self::{link::Link, outbox::Outbox};

/// The service's health name, and the service that the stream calls.
const INGEST_SERVICE: &str = "calbridge.v1.IngestService";

/// Largest encoded event: the greatest body that can be configured and its typed form, which repeats it and grows where
/// the body is nothing but tiny values. The service takes messages of 32 MiB; the stream adds a few bytes to each
/// event.
pub const MAX_EVENT_BYTES: usize = 32 * 1024 * 1024 - 1024;

/// A service on the same continent answers a connect in well under a second; a dead one should not hold the next try
/// up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Between two pings of a connection, also of an idle one: a peer that vanished without a word is found this soon.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// For the answer to a ping; then the connection counts as dead and everything unanswered goes to a new one.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);

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
    fn away(reason: &'static str) -> Self {
        Self { retry_after: RETRY_AFTER_AWAY, reason }
    }

    fn busy(reason: &'static str) -> Self {
        Self { retry_after: RETRY_AFTER_BUSY, reason }
    }
}

/// The service's address can't be used.
#[derive(Debug, thiserror::Error)]
#[error("--service = {address}: {why}")]
pub struct AddressError {
    address: String,
    why: String,
}

/// A handle on the stream.
#[derive(Clone)]
pub(crate) struct Forwarder {
    outbox: Arc<Outbox>,
    deadline: Duration,
    peer: Arc<Peer>,
}

/// The tasks behind the handle.
pub(crate) struct Running {
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

/// Starts the stream and the health check. `waiting_most` bounds the events that wait for an answer. The check is not
/// ready any more from `shutdown` on; the stream stays open until [`Running::stop`].
pub(crate) fn start(
    address: &str,
    deadline: Duration,
    waiting_most: usize,
    check: Check,
    metrics: &Arc<Metrics>,
    shutdown: &CancellationToken,
) -> Result<(Forwarder, Running), AddressError> {
    let (channel, peer) = connect(address)?;
    let outbox = Arc::new(Outbox::new(waiting_most));
    let forwarder = Forwarder { outbox: Arc::clone(&outbox), deadline, peer: Arc::new(peer) };
    let stop = CancellationToken::new();
    let (open, is_open) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let link = Link {
        outbox,
        channel: channel.clone(),
        peer: Arc::clone(&forwarder.peer),
        open,
        patience: deadline,
        metrics: Arc::clone(metrics),
        stop: stop.clone(),
    };
    tasks.spawn(link.run());
    tasks.spawn(health::watch(channel, is_open, check, shutdown.clone()));
    Ok((forwarder, Running { tasks, stop }))
}

impl Forwarder {
    /// Has the service commit the event, or says that it did not within the deadline.
    pub(crate) async fn forward(&self, event: &BookingEvent) -> Result<Accepted, Refused> {
        // Encoding measures the event as well; asking for its length before would measure it twice.
        let encoded = event.encode_to_vec();
        if encoded.len() > MAX_EVENT_BYTES {
            return Err(Refused::away("too_large"));
        }
        let ticket = self.outbox.submit(encoded.into())?;
        tokio::time::timeout(self.deadline, ticket.answer()).await.unwrap_or(Err(Refused::away("deadline_exceeded")))
    }

    /// Where the events go.
    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl Running {
    /// Ends the stream from our side and waits for its end; the caller has seen to it that no event waits any more.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// A channel that connects when it is first used, and again whenever it must.
fn connect(address: &str) -> Result<(Channel, Peer), AddressError> {
    let refuse = |why: &str| AddressError { address: address.to_owned(), why: why.to_owned() };
    let uri: http::Uri = address.parse().map_err(|_| refuse("must be http://HOST:PORT"))?;
    if uri.scheme_str() != Some("http") {
        return Err(refuse("must begin with http://"));
    }
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| refuse("names no host"))?.to_owned();
    let port = uri.port_u16().ok_or_else(|| refuse("names no port"))?;
    let endpoint = Endpoint::from(uri)
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    Ok((endpoint.connect_lazy(), Peer { host, port }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_scheme_a_host_and_a_port() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _inside = runtime.enter();
        for address in
            ["", "127.0.0.1:50051", "https://127.0.0.1:50051", "http://127.0.0.1", "http://", "not an address"]
        {
            let why = connect(address).expect_err(address).to_string();
            assert!(why.starts_with("--service = "), "{why}");
        }
        let (_, peer) = connect("http://ingest.internal:50051").unwrap();
        assert_eq!((peer.host.as_str(), peer.port), ("ingest.internal", 50051));
        let (_, peer) = connect("http://[::1]:50051").unwrap();
        assert_eq!((peer.host.as_str(), peer.port), ("[::1]", 50051));
    }
}
