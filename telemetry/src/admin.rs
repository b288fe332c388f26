//! The admin listener: `GET /healthz`, `/readyz` and `/metrics`, for orchestrators and Prometheus.
//!
//! It shows no personal data and takes no input, so it may listen anywhere; every connection answers one request and
//! lives for seconds, whatever its client does.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{MetricsPage, Readiness};

/// Connections at a time: a few probes and scrapers, with room; the next one waits in the listener's backlog.
const CONNECTIONS_MAX: usize = 64;

/// How long a client may take over its headers. It is a machine on a near network.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a whole connection may last, the reading of a large metrics page included. More than [`HEADER_TIMEOUT`].
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);

/// The room for one request's headers; hyper's least is 8 KiB.
const HEADER_BYTES_MAX: usize = 8 * 1024;

/// The wait after a failed `accept` (out of file descriptors, mostly): trying again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long the answers under way may take once the process stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON_TYPE: &str = "application/json";
const ALLOWED: &str = "GET, HEAD";

/// Serves until `shutdown`, then lets the answers under way end.
pub async fn serve(listener: TcpListener, readiness: Readiness, metrics: MetricsPage, shutdown: CancellationToken) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = async {
            // The semaphore is never closed; were it, there would be nothing left to accept.
            let permit = Arc::clone(&connections).acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accepted => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the admin listener can't accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (readiness, metrics) = (readiness.clone(), metrics.clone());
        let service = service_fn(move |request| {
            let response = answer(&request, &readiness, &metrics);
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(HEADER_BYTES_MAX)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that went away or was too slow is its own affair.
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
            drop(permit);
        });
    }
    drop(listener);
    // What does not end in time ends with the runtime.
    let _ = tokio::time::timeout(SHUTDOWN_GRACE, graceful.shutdown()).await;
}

fn answer<B>(request: &Request<B>, readiness: &Readiness, metrics: &MetricsPage) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if !matches!(path, "/healthz" | "/readyz" | "/metrics") {
        return response(StatusCode::NOT_FOUND, JSON_TYPE, r#"{"error":"Not found"}"#);
    }
    // hyper leaves out the body of an answer to HEAD.
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = response(StatusCode::METHOD_NOT_ALLOWED, JSON_TYPE, r#"{"error":"Method not allowed"}"#);
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static(ALLOWED));
        return refused;
    }
    match path {
        "/healthz" => response(StatusCode::OK, JSON_TYPE, r#"{"status":"alive"}"#),
        "/readyz" if readiness.is_ready() => response(StatusCode::OK, JSON_TYPE, r#"{"status":"ready"}"#),
        "/readyz" => {
            let waiting_for = serde_json::json!({ "status": "not ready", "waiting_for": readiness.waiting_for() });
            response(StatusCode::SERVICE_UNAVAILABLE, JSON_TYPE, waiting_for.to_string())
        }
        _ => response(StatusCode::OK, METRICS_TYPE, metrics.render()),
    }
}

fn response(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
