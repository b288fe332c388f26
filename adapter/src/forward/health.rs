//! Whether a webhook could be made durable now: the stream is open, and the service says that it serves.

use std::time::Duration;

use calbridge_telemetry::Check;
use tokio::{select, sync::watch, time};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::INGEST_SERVICE;

/// Between two questions while all is well: so old may a `ready` be.
const PAUSE_READY: Duration = Duration::from_secs(1);

/// Between two questions while the service does not serve: a start should not be slower than it is.
const PAUSE_WAITING: Duration = Duration::from_millis(100);

/// For one answer; a service that takes longer takes no webhooks in either.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Keeps the check true to the service until `stop`, and leaves it not ready.
pub(crate) async fn watch(channel: Channel, mut is_open: watch::Receiver<bool>, check: Check, stop: CancellationToken) {
    let mut client = HealthClient::new(channel);
    loop {
        let open = *is_open.borrow_and_update();
        let serves = open && select! { serves = probe(&mut client) => serves, () = stop.cancelled() => false };
        if serves {
            check.ready();
        } else {
            check.not_ready();
        }
        let pause = if serves { PAUSE_READY } else { PAUSE_WAITING };
        select! {
            () = stop.cancelled() => break,
            changed = is_open.changed() => if changed.is_err() { break },
            () = time::sleep(pause) => {}
        }
    }
    check.not_ready();
}

async fn probe(client: &mut HealthClient<Channel>) -> bool {
    let question = HealthCheckRequest { service: INGEST_SERVICE.to_owned() };
    match time::timeout(PROBE_TIMEOUT, client.check(question)).await {
        Ok(Ok(answer)) => answer.get_ref().status() == ServingStatus::Serving,
        Ok(Err(_)) | Err(_) => false,
    }
}
