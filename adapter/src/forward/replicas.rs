//! Which replicas there are: every address that was said, and every address of every name that was said, looked up
//! again and again.
//!
//! Each has a [`Link`] of its own for as long as it is known. One that is gone from its name's answer finishes what it
//! has; a name that can't be looked up, or has no address, keeps the ones it had.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use calbridge_process::{Credentials, is_https};
use calbridge_telemetry::semconv;
use futures_util::future::join_all;
use http::Uri;
use tokio::{
    select,
    sync::Notify,
    task::{AbortHandle, JoinHandle, JoinSet},
    time::{self, Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;
use tracing::{info, warn};

use super::{
    AddressError,
    link::Link,
    outbox::{Outbox, REPLICAS_MOST, TICK},
};
use crate::{Resolver, metrics::Metrics, peer::Peer};

/// A service on the same continent answers a connect in well under a second; a dead one should not hold the next try
/// up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Between two pings of a connection, also of an idle one: a peer that vanished without a word is found this soon.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// For the answer to a ping; then the connection counts as dead and everything unanswered goes to a new one.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Between two look-ups of a name while all is well: so late at most is a new replica noticed.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(5);

/// Between two look-ups at the least, however often streams break.
const LOOKUP_PAUSE: Duration = Duration::from_millis(250);

/// That a round waits for a look-up; another name must not wait for a name server that is gone. The system's resolver
/// goes on in a thread, to the second server or until it gives up, half a minute at the most.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// One address of the service as the operator wrote it.
#[derive(Debug)]
pub(crate) struct Target {
    /// Whom every request names, whichever address it goes to.
    origin: Uri,
    /// It speaks TLS; whoever is at one of its addresses must show that it is this host.
    secured: bool,
    host: Host,
    port: u16,
    /// The newest answer; of a literal address itself.
    addresses: Vec<SocketAddr>,
    /// The newest look-up gave no address.
    failing: bool,
    /// One under way. Behind a name server that is dead it takes longer than a round waits for it; given up and begun
    /// anew it would never end.
    asked: Option<JoinHandle<io::Result<Vec<SocketAddr>>>>,
}

#[derive(Debug)]
enum Host {
    Literal,
    Name(String),
}

/// The task that keeps one link to each replica.
pub(crate) struct Replicas {
    targets: Vec<Target>,
    resolver: Resolver,
    credentials: Credentials,
    outbox: Arc<Outbox>,
    deadline: Duration,
    metrics: Arc<Metrics>,
    /// A stream ended or did not open.
    failed: Arc<Notify>,
    known: BTreeMap<SocketAddr, Known>,
    links: JoinSet<()>,
    stop: CancellationToken,
    /// There are more replicas than places; said once.
    crowded: bool,
}

struct Known {
    drain: CancellationToken,
    task: AbortHandle,
}

impl Target {
    pub(crate) fn parse(address: &str) -> Result<Self, AddressError> {
        let refuse = |why: &str| AddressError { address: address.to_owned(), why: why.to_owned() };
        let origin: Uri = address.parse().map_err(|_| refuse("must be http://HOST:PORT or https://HOST:PORT"))?;
        if !matches!(origin.scheme_str(), Some("http" | "https")) {
            return Err(refuse("must begin with http:// or https://"));
        }
        let secured = is_https(address);
        let host = origin.host().filter(|host| !host.is_empty()).ok_or_else(|| refuse("names no host"))?;
        let port = origin.port_u16().ok_or_else(|| refuse("names no port"))?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let (host, addresses) = match bare.parse::<IpAddr>() {
            Ok(ip) => (Host::Literal, vec![SocketAddr::new(ip, port)]),
            Err(_) => (Host::Name(host.to_owned()), Vec::new()),
        };
        Ok(Self { origin, secured, host, port, addresses, failing: false, asked: None })
    }

    /// Asks for the name's addresses again.
    async fn look_up(&mut self, resolver: &Resolver) {
        let Host::Name(name) = &self.host else { return };
        let asked = self.asked.get_or_insert_with(|| {
            let (resolver, name, port) = (resolver.clone(), name.clone(), self.port);
            tokio::spawn(async move { resolver.lookup(&name, port).await })
        });
        let answer = time::timeout(LOOKUP_TIMEOUT, asked).await;
        if answer.is_ok() {
            self.asked = None;
        }
        let why = match answer.map(|done| done.unwrap_or_else(|ended| Err(ended.into()))) {
            Ok(Ok(found)) if !found.is_empty() => {
                // In one order, so that of too many the same ones are taken every time.
                let found: BTreeSet<SocketAddr> = found.into_iter().collect();
                self.addresses = found.into_iter().take(REPLICAS_MOST).collect();
                if std::mem::take(&mut self.failing) {
                    info!(name, "the booking service's name has addresses again");
                }
                return;
            }
            Ok(Ok(_)) => "it has no address".to_owned(),
            Ok(Err(why)) => why.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        if !std::mem::replace(&mut self.failing, true) {
            let kept = self.addresses.len();
            warn!(name, why, kept, "the booking service's name can't be looked up; its known addresses are kept");
        }
    }
}

impl Replicas {
    pub(crate) fn new(
        targets: Vec<Target>,
        resolver: Resolver,
        credentials: Credentials,
        outbox: Arc<Outbox>,
        deadline: Duration,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Self {
        let (failed, known, links) = (Arc::default(), BTreeMap::new(), JoinSet::new());
        Self { targets, resolver, credentials, outbox, deadline, metrics, failed, known, links, stop, crowded: false }
    }

    /// Runs until stopped, and until every link has ended.
    pub(crate) async fn run(mut self) {
        let named = self.targets.iter().any(|target| matches!(target.host, Host::Name(_)));
        while !self.stop.is_cancelled() {
            let looked = Instant::now();
            select! {
                _ = join_all(self.targets.iter_mut().map(|target| target.look_up(&self.resolver))) => {}
                () = self.stop.cancelled() => break,
            }
            self.reconcile();
            let again = async {
                if !named {
                    pending::<()>().await;
                }
                // A stream that ends says sooner than the clock that addresses may have changed.
                let _ = time::timeout(LOOKUP_INTERVAL, self.failed.notified()).await;
            };
            select! {
                () = self.stop.cancelled() => break,
                Some(_) = self.links.join_next() => {}
                () = again => {}
            }
            select! {
                () = self.stop.cancelled() => break,
                () = time::sleep_until(looked + LOOKUP_PAUSE) => {}
            }
        }
        while self.links.join_next().await.is_some() {}
    }

    /// Links to all that there are, and to no others.
    fn reconcile(&mut self) {
        self.known.retain(|_, known| !known.task.is_finished());
        let mut wanted = BTreeMap::new();
        for target in &self.targets {
            for address in &target.addresses {
                wanted.entry(*address).or_insert_with(|| (target.origin.clone(), target.secured));
            }
        }
        for (address, known) in &self.known {
            if !wanted.contains_key(address) && !known.drain.is_cancelled() {
                info!(%address, "a replica of the booking service is gone from its name; it finishes what it has");
                known.drain.cancel();
            }
        }
        // One that is back while it still finishes is linked anew once it has.
        wanted.retain(|address, _| !self.known.contains_key(address));
        for (address, (origin, secured)) in wanted {
            if !self.link(address, &origin, secured) {
                break;
            }
        }
    }

    /// Starts a link; whether there was a place for it.
    fn link(&mut self, address: SocketAddr, origin: &Uri, secured: bool) -> bool {
        let connector = origin.host().filter(|_| secured).map(|host| self.credentials.connector(host));
        let channel = match connector {
            None => self.resolver.channel(&endpoint(address, origin), address),
            Some(Some(connector)) => endpoint(address, origin).connect_with_connector_lazy(connector),
            // No certificate can be for such a host, so nobody can show one.
            Some(None) => {
                warn!(%origin, "the booking service's host is no name that a certificate can have; it is not used");
                return true;
            }
        };
        let peer = Arc::new(Peer::from(address));
        let Some(place) = self.outbox.add(Arc::clone(&peer)) else {
            if !std::mem::replace(&mut self.crowded, true) {
                warn!(most = REPLICAS_MOST, "the booking service has more replicas than this adapter talks to");
            }
            return false;
        };
        let drain = self.stop.child_token();
        let link = Link {
            outbox: Arc::clone(&self.outbox),
            place,
            channel,
            credentials: self.credentials.clone(),
            peer,
            patience: self.deadline,
            metrics: Arc::clone(&self.metrics),
            failed: Arc::clone(&self.failed),
            stop: drain.clone(),
        };
        let task = self.links.spawn(link.run());
        self.known.insert(address, Known { drain, task });
        true
    }
}

/// Finds replicas that don't answer, until `stop`; from `shutdown` on the adapter is not ready any more.
pub(crate) async fn watch(
    outbox: Arc<Outbox>,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
    stop: CancellationToken,
) {
    let mut ticks = time::interval(TICK);
    // After a pause of this process the time that nobody could answer in does not count.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut leaving = false;
    loop {
        select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled(), if !leaving => {
                leaving = true;
                outbox.stay_unready();
                continue;
            }
            () = stop.cancelled() => break,
        }
        let ticked = outbox.tick();
        metrics.rerouted(ticked.moved);
        for peer in ticked.abandoned {
            let Peer { host, port } = &*peer;
            warn!(
                { semconv::SERVER_ADDRESS } = %host,
                { semconv::SERVER_PORT } = port,
                "a replica of the booking service does not answer; its events go to the others"
            );
        }
    }
    outbox.stay_unready();
}

/// How this address is spoken to.
fn endpoint(address: SocketAddr, origin: &Uri) -> Endpoint {
    // Always without TLS as far as tonic is concerned: the connector has seen to that.
    let to = Uri::builder().scheme("http").authority(address.to_string()).path_and_query("/").build();
    // An address and a port are an authority; the origin would do as well where it is literal.
    Endpoint::from(to.unwrap_or_else(|_| origin.clone()))
        .origin(origin.clone())
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_scheme_a_host_and_a_port() {
        for address in
            ["", "127.0.0.1:50051", "ftp://127.0.0.1:50051", "http://127.0.0.1", "https://", "not an address"]
        {
            let why = Target::parse(address).expect_err(address).to_string();
            assert!(why.starts_with("--service = "), "{why}");
        }
        for (address, addresses) in [
            ("http://ingest.internal:50051", vec![]),
            ("http://127.0.0.1:50051/", vec!["127.0.0.1:50051".parse().unwrap()]),
            ("http://[::1]:50051", vec!["[::1]:50051".parse().unwrap()]),
        ] {
            let secured = address.replace("http:", "https:");
            assert!(!Target::parse(address).unwrap().secured && Target::parse(&secured).unwrap().secured);
            let target = Target::parse(address).unwrap();
            assert_eq!((target.port, target.addresses), (50051, addresses));
        }
        assert_eq!(&*Peer::from("[::1]:1".parse::<SocketAddr>().unwrap()).host, "::1");
    }
}
