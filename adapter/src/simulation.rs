//! What the simulation reaches of this room (`simulation/`). No part of its interface: nothing else may use it, but for
//! this room's own tests.
//!
//! Nothing here does anything of its own: what is simulated is what runs.

use calbridge_process::Listener;
use calbridge_telemetry::Readiness;
use tokio_util::sync::CancellationToken;

use crate::{Error, Settings};

pub use crate::{resolve::Wire, spool::Disk};

/// As [`crate::run`], on a disk and a network of the simulation's. The services' network is the resolver's.
///
/// # Errors
///
/// As [`crate::run`].
pub async fn run<L: Listener>(
    settings: Settings,
    disk: Disk,
    listener: L,
    readiness: Readiness,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    crate::run_on(settings, disk, listener, readiness, shutdown).await
}
