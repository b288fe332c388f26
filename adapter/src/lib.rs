//! The HTTP edge of calbridge: takes Cal.com's webhooks in, verifies and types them, and has the booking service commit
//! them over one gRPC stream to each of its replicas.
//!
//! A 2xx means stored: it is answered after the service's commit, or when the spool's disk has the event, and never
//! before. Nothing of a body is read before its
//! signature is verified. Every byte, second and request that a stranger can cost is bounded.

mod answer;
mod body;
mod copies;
mod durable;
mod edge;
mod forward;
#[doc(hidden)]
pub mod fuzzing;
mod keys;
mod labels;
mod meter;
mod metrics;
mod moment;
mod observe;
mod peer;
mod quarantine;
mod rates;
mod resolve;
mod rotation;
mod route;
mod segment;
mod server;
mod settings;
mod signature;
#[doc(hidden)]
pub mod simulation;
mod source;
mod spool;
mod throttle;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use calbridge_process::{
    Config, ConfigError, Listener, SpoolSettings, Tenant, loopback_or, most_open_files, tls::ServerTls,
};
use calbridge_telemetry::{Check, Readiness, meter};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::{
    durable::Durable,
    keys::Keys,
    quarantine::Quarantine,
    rotation::Rotation,
    spool::{Bounds, Disk, Drain, Opening, Spool},
};

pub use self::{
    forward::{AddressError, MAX_EVENT_BYTES},
    moment::Moment,
    quarantine::{
        InQuarantine, QuarantineError, QuarantineSummary, Replayed, Verdicts, Verified, inspect_quarantine,
        replay_quarantine, verify_quarantine,
    },
    resolve::Resolver,
    rotation::Reload,
    settings::Settings,
    spool::{Emptied, SpoolError, SpoolSummary, SpooledEvent, empty_spool, inspect_spool},
};

/// Why the adapter can't run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address of the service is to be corrected.
    #[error(transparent)]
    Service(#[from] AddressError),
    /// A certificate or a token can't be used any more: it could be a moment ago.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The spool's directory is to be another, or to be mended.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The quarantine can't be replayed just now, or its files can't be used.
    #[error(transparent)]
    Quarantine(#[from] QuarantineError),
    /// The listener does not know its own address, so it is of no use.
    #[error("the HTTP listener can't be used: {0}")]
    Listener(#[from] std::io::Error),
}

/// Serves webhooks on the listener until `shutdown`, then finishes what it has accepted, within the grace; what the
/// service has not committed by then is in the spool.
///
/// Registers the readiness checks `service`, ready while a stream is open to a replica that says that it serves, and,
/// with a spool, `spool`, ready while its disk works; then `service` is ready all the time.
pub async fn run(
    mut settings: Settings,
    listener: TcpListener,
    readiness: Readiness,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    settings.limits.connections = connections(settings.limits.connections, most_open_files());
    run_on(settings, Disk::REAL, listener, readiness, shutdown).await
}

/// The same on any disk and any network.
async fn run_on<L: Listener>(
    mut settings: Settings,
    disk: Disk,
    listener: L,
    readiness: Readiness,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let limits = settings.limits;
    let address = listener.local_addr()?;
    let metrics = Arc::new(metrics::Metrics::new());
    let tls = settings.tls.as_ref().map(ServerTls::open).transpose()?;
    let spool = settings.spool.clone().map(|spool| open_spool(spool, disk, &readiness, &metrics)).transpose()?;
    let quarantine = settings.quarantine.clone().filter(|_| spool.is_some());
    let opened = quarantine.map(|quarantine| Quarantine::open(quarantine, settings.moment, Arc::clone(&metrics)));
    let (quarantine, keeping) = opened.transpose()?.unzip();
    let service = service_check(&readiness, spool.is_some(), &shutdown);
    let (forwarder, forwarding) = forward::start(&settings, service, &metrics, &shutdown)?;
    let over = CancellationToken::new();
    let draining = spool.clone().map(|spool| {
        let (forwarder, metrics) = (forwarder.clone(), Arc::clone(&metrics));
        let (moment, ack) = (settings.moment, settings.ack);
        let drain = Drain { spool, forwarder, metrics, moment, ack };
        tokio::spawn(drain.run(over.clone()))
    });
    let durable = Durable { forwarder, spool, ack: settings.ack, metrics: Arc::clone(&metrics), over: over.clone() };
    let tenants = std::mem::take(&mut settings.tenants);
    let keys = Arc::new(Keys::new(&tenants));
    keys::show(&keys, &meter(), settings.moment);
    let rotation = Rotation {
        keys: Arc::clone(&keys),
        tenants,
        reload: settings.reload.take(),
        address,
        moment: settings.moment,
        metrics: Arc::clone(&metrics),
    };
    tokio::spawn(rotation.run(over.clone()));
    let edge = edge::Edge::new(settings, keys, durable, quarantine, metrics);
    let served = server::serve(listener, tls, Arc::new(edge), limits, server::Patience::DEFAULT, shutdown).await;
    // The requests are done. What is not committed yet is in the spool.
    over.cancel();
    if let Some(draining) = draining {
        // A panic of it was said where it happened.
        let _ = draining.await;
    }
    if let Some(keeping) = keeping {
        keeping.stop().await;
    }
    forwarding.stop().await;
    Ok(served?)
}

/// Files that are not connections of senders: the spool's and the quarantine's, the streams to the service, the log's
/// export, the admin listener and whoever asks it; and in a process that is the service as well its database and its
/// callers.
const OTHER_FILES: usize = 256;

/// As many connections as are wanted, unless the system would not let us open them all: where files run out nobody is
/// let in any more, and what was let in can't be kept.
fn connections(wanted: usize, files: Option<usize>) -> usize {
    let most = files.map_or(usize::MAX, |files| files.saturating_sub(OTHER_FILES).max(1));
    if wanted > most {
        warn!(wanted, most, "the system lets this process open too few files (ulimit -n) for as many --connections");
    }
    wanted.min(most)
}

/// What the streams report to. With a spool a webhook is made durable whether or not the service is there, so the
/// process is ready until it ends.
fn service_check(readiness: &Readiness, has_spool: bool, shutdown: &CancellationToken) -> Check {
    let check = readiness.check("service");
    if !has_spool {
        return check;
    }
    check.ready();
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        shutdown.cancelled().await;
        check.not_ready();
    });
    Readiness::new().check("service")
}

fn open_spool(
    spool: SpoolSettings,
    disk: Disk,
    readiness: &Readiness,
    metrics: &Arc<metrics::Metrics>,
) -> Result<Spool, SpoolError> {
    let SpoolSettings { directory, bytes, age } = spool;
    let (bounds, check, metrics) = (Bounds { bytes, age }, readiness.check("spool"), Arc::clone(metrics));
    Spool::open_on(Opening { directory, bounds, check, metrics }, disk)
}

/// Refuses an address that other machines can reach while some tenant lets unsigned webhooks in, unless the operator
/// insists.
pub fn check_exposure(config: &Config, address: SocketAddr) -> Result<(), ConfigError> {
    check_unsigned(&config.tenants, config.insecure_unsigned, address)
}

fn check_unsigned(tenants: &BTreeMap<String, Tenant>, insists: bool, address: SocketAddr) -> Result<(), ConfigError> {
    let Some((tenant, _)) = tenants.iter().find(|(_, tenant)| tenant.allow_unsigned) else { return Ok(()) };
    let mend = format!(
        "tenant {tenant} has allow_unsigned = true, so anybody could invent its bookings; \
         give it a secret, listen on 127.0.0.1, or say --insecure-unsigned"
    );
    loopback_or(insists, "--http", address, &mend)
}

#[cfg(test)]
mod tests {
    use calbridge_process::{Options, Program, Tenant, resolve};

    use super::*;

    #[test]
    fn connections_leave_files_for_the_rest() {
        assert_eq!(connections(1024, None), 1024);
        assert_eq!(connections(1024, Some(1280)), 1024);
        assert_eq!(connections(1024, Some(1024)), 768);
        assert_eq!(connections(1024, Some(16)), 1);
    }

    #[test]
    fn unsigned_webhooks_stay_on_this_machine_unless_somebody_insists() {
        let environment = |name: &str| (name == "CALCOM_WEBHOOK_SECRET").then(|| "secret".to_owned());
        let options = Options { data_dir: Some("unused".into()), ..Options::default() };
        let mut config = resolve(options, Program::Adapter, &environment).unwrap();
        let [loopback, anywhere] = ["127.0.0.1:8080", "0.0.0.0:8080"].map(|address| address.parse().unwrap());
        assert!(check_exposure(&config, anywhere).is_ok(), "signed webhooks may come from anywhere");
        config.tenants.insert("open".to_owned(), Tenant { secrets: Vec::new(), allow_unsigned: true });
        assert!(check_exposure(&config, loopback).is_ok());
        let why = check_exposure(&config, anywhere).unwrap_err().to_string();
        assert!(why.contains("tenant open") && why.contains("--insecure-unsigned"), "{why}");
        config.insecure_unsigned = true;
        assert!(check_exposure(&config, anywhere).is_ok());
    }
}
