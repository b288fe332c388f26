//! The HTTP edge of calbridge: takes Cal.com's webhooks in, verifies and types them, and has the booking service commit
//! them over one gRPC stream to each of its replicas.
//!
//! A 2xx means stored: it is answered after the service's commit, or when the spool's disk has the event, and never
//! before. Nothing of a body is read before its
//! signature is verified. Every byte, second and request that a stranger can cost is bounded.

mod answer;
mod body;
mod durable;
mod edge;
mod forward;
#[doc(hidden)]
pub mod fuzzing;
mod labels;
mod metrics;
mod moment;
mod observe;
mod peer;
mod resolve;
mod route;
mod server;
mod settings;
mod signature;
mod spool;
mod throttle;

use std::{net::SocketAddr, sync::Arc};

use calbridge_process::{Config, ConfigError, SpoolSettings, loopback_or, tls::ServerTls};
use calbridge_telemetry::{Check, Readiness};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::{
    durable::Durable,
    spool::{Bounds, Drain, Opening, Spool},
};

pub use self::{
    forward::{AddressError, MAX_EVENT_BYTES},
    moment::Moment,
    resolve::Resolver,
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
    settings: Settings,
    listener: TcpListener,
    readiness: Readiness,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let limits = settings.limits;
    let metrics = Arc::new(metrics::Metrics::new());
    let tls = settings.tls.as_ref().map(ServerTls::open).transpose()?;
    let spool = settings.spool.clone().map(|spool| open_spool(spool, &readiness, &metrics)).transpose()?;
    let service = service_check(&readiness, spool.is_some(), &shutdown);
    let (forwarder, forwarding) = forward::start(&settings, service, &metrics, &shutdown)?;
    let over = CancellationToken::new();
    let draining = spool.clone().map(|spool| {
        let (forwarder, metrics) = (forwarder.clone(), Arc::clone(&metrics));
        tokio::spawn(Drain { spool, forwarder, metrics, moment: settings.moment }.run(over.clone()))
    });
    let durable = Durable { forwarder, spool, ack: settings.ack, metrics: Arc::clone(&metrics), over: over.clone() };
    let edge = edge::Edge::new(settings, durable, metrics);
    let served = server::serve(listener, tls, Arc::new(edge), limits, server::Patience::DEFAULT, shutdown).await;
    // The requests are done. What is not committed yet is in the spool.
    over.cancel();
    if let Some(draining) = draining {
        // A panic of it was said where it happened.
        let _ = draining.await;
    }
    forwarding.stop().await;
    Ok(served?)
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
    readiness: &Readiness,
    metrics: &Arc<metrics::Metrics>,
) -> Result<Spool, SpoolError> {
    let SpoolSettings { directory, bytes, age } = spool;
    Spool::open(Opening {
        directory,
        bounds: Bounds { bytes, age },
        check: readiness.check("spool"),
        metrics: Arc::clone(metrics),
    })
}

/// Refuses an address that other machines can reach while some tenant lets unsigned webhooks in, unless the operator
/// insists.
pub fn check_exposure(config: &Config, address: SocketAddr) -> Result<(), ConfigError> {
    let Some((tenant, _)) = config.tenants.iter().find(|(_, tenant)| tenant.allow_unsigned) else { return Ok(()) };
    let mend = format!(
        "tenant {tenant} has allow_unsigned = true, so anybody could invent its bookings; \
         give it a secret, listen on 127.0.0.1, or say --insecure-unsigned"
    );
    loopback_or(config.insecure_unsigned, "--http", address, &mend)
}

#[cfg(test)]
mod tests {
    use calbridge_process::{Options, Program, Tenant, resolve};

    use super::*;

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
