//! Whether the service can do its work: it can while the store can write. gRPC health, by service and as a whole, and
//! the readiness check `store` say the same.

use calbridge_proto::v1::{
    booking_service_server, consumer_service_server, delivery_service_server, ingest_service_server,
};
use calbridge_telemetry::{Check, Readiness};
use tokio::time::{sleep, timeout};
use tonic_health::{
    ServingStatus,
    pb::health_server::{Health as HealthRpc, HealthServer},
    server::{HealthReporter, HealthService},
};
use tracing::{error, info};

use crate::{
    settings::{PROBE_INTERVAL, PROBE_TIMEOUT},
    store::{Store, StoreError},
};

/// The names that can be asked for; the empty one is the server as a whole.
const NAMES: [&str; 5] = [
    "",
    ingest_service_server::SERVICE_NAME,
    booking_service_server::SERVICE_NAME,
    consumer_service_server::SERVICE_NAME,
    delivery_service_server::SERVICE_NAME,
];

/// Says how the service is.
#[derive(Debug, Clone)]
pub(super) struct Health {
    reporter: HealthReporter,
    check: Check,
}

impl Health {
    /// Not serving yet.
    pub(super) async fn new(readiness: &Readiness) -> Self {
        let health = Self { reporter: HealthReporter::new(), check: readiness.check("store") };
        health.say(false).await;
        health
    }

    /// The gRPC service that answers.
    pub(super) fn service(&self) -> HealthServer<impl HealthRpc> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }

    /// Probes the store for as long as it is polled. Says each change in the log, once.
    pub(super) async fn watch<S: Store>(&self, store: &S) {
        let mut before = None;
        loop {
            let late = || Err(StoreError::unavailable(format!("a write takes longer than {PROBE_TIMEOUT:?}")));
            let probe = timeout(PROBE_TIMEOUT, store.probe()).await.unwrap_or_else(|_| late());
            let serving = probe.is_ok();
            if before != Some(serving) {
                match &probe {
                    Ok(()) => info!("the store can write: serving"),
                    Err(failure) => error!(error = %failure, "the store can't write: not serving"),
                }
                self.say(serving).await;
                before = Some(serving);
            }
            sleep(PROBE_INTERVAL).await;
        }
    }

    /// The service is about to end.
    pub(super) async fn stop(&self) {
        self.say(false).await;
    }

    /// Ends the streams of those who watch: they would keep their connections open for ever.
    pub(super) async fn release_watchers(&mut self) {
        for name in NAMES {
            self.reporter.clear_service_status(name).await;
        }
    }

    async fn say(&self, serving: bool) {
        if serving {
            self.check.ready();
        } else {
            self.check.not_ready();
        }
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in NAMES {
            self.reporter.set_service_status(name, status).await;
        }
    }
}
