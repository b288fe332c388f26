//! Emptying a spool without serving: for an adapter that is gone for good, or is not to start yet.

use std::sync::Arc;

use calbridge_process::{Access, Ack, SpoolSettings};
use calbridge_telemetry::Readiness;
use tokio::{select, time};
use tokio_util::sync::CancellationToken;

use super::{Bounds, Drain, Opening, Spool};
use crate::{Error, Settings, forward, metrics::Metrics};

/// How often it is told how far it has come.
const TOLD: time::Duration = time::Duration::from_secs(1);
/// And looked whether it is through.
const LOOK: time::Duration = time::Duration::from_millis(20);

/// How far the emptying of a spool has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Emptied {
    /// Events that are still in it.
    pub left: usize,
    /// Of those, events that the service will not take.
    pub refused: usize,
    /// A booking service answers.
    pub is_linked: bool,
}

/// Sends what is in a spool to the booking service until nothing is left but what that will not take, or `stop`. `told`
/// hears every second how far it has come.
///
/// # Errors
///
/// Another process has the spool, or it can't be used; an address of the service is none.
pub async fn empty_spool(
    spool: SpoolSettings,
    services: Vec<String>,
    access: Access,
    stop: CancellationToken,
    mut told: impl FnMut(Emptied),
) -> Result<Emptied, Error> {
    let (readiness, metrics) = (Readiness::new(), Arc::new(Metrics::new()));
    let linked = readiness.check("service");
    let SpoolSettings { directory, bytes, age } = spool;
    let spool = Spool::open(Opening {
        directory,
        bounds: Bounds { bytes, age },
        check: readiness.check("spool"),
        metrics: Arc::clone(&metrics),
    })?;
    let settings = Settings::sending(services, access);
    let (forwarder, forwarding) = forward::start(&settings, linked.clone(), &metrics, &CancellationToken::new())?;
    let over = CancellationToken::new();
    let (spool_of, moment) = (spool.clone(), settings.moment);
    let drain = Drain { spool: spool_of, forwarder, metrics, moment, ack: Ack::Committed };
    let draining = tokio::spawn(drain.run(over.clone()));
    let look = || {
        let amount = spool.amount();
        Emptied { left: amount.records, refused: amount.aside, is_linked: linked.is_ready() }
    };
    let (mut looks, mut tells) = (time::interval(LOOK), time::interval(TOLD));
    // The first tick comes at once.
    tells.tick().await;
    let emptied = loop {
        select! {
            _ = looks.tick() => {
                let emptied = look();
                if emptied.left == emptied.refused {
                    break emptied;
                }
            }
            _ = tells.tick() => told(look()),
            () = stop.cancelled() => break look(),
        }
    };
    over.cancel();
    // A panic of it was said where it happened.
    let _ = draining.await;
    forwarding.stop().await;
    Ok(emptied)
}
