//! What is written down about a request: its span and its numbers.
//!
//! Until the signature is verified nothing that the sender chose is shown, but for the path of a tenant that exists,
//! the name of the software that sent it, and a method that HTTP does not know.

use std::net::SocketAddr;

use calbridge_telemetry::{
    propagation,
    sampling::{self, Trace},
    semconv,
};
use http::{StatusCode, header, request::Parts};
use tokio::time::Instant;
use tracing::{Span, field::Empty, info_span};

use crate::{
    labels::{RequestLabels, error_type},
    metrics::{Active, Metrics},
    route::Route,
};

/// `url.path` where there is no route: the path itself may be anything at all.
const NO_ROUTE: &str = "/{unmatched}";

/// How much of the sender's name for its software is kept, in bytes.
const USER_AGENT_MOST: usize = 128;

/// How much of a method that HTTP does not know is kept, in bytes; the longest that is registered has 17.
const METHOD_MOST: usize = 32;

/// The two ends of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
}

/// A request from its head to its answer. It is written down however it ends: the future that serves it is dropped
/// when its client goes away, and when the grace of a shutdown is over.
pub(crate) struct Serving<'a> {
    /// When its head was here.
    pub(crate) started: Instant,
    metrics: &'a Metrics,
    pub(crate) labels: RequestLabels,
    pub(crate) trace: Trace,
    status: Option<StatusCode>,
    _active: Active<'a>,
}

impl<'a> Serving<'a> {
    pub(crate) fn new(metrics: &'a Metrics, labels: RequestLabels, trace: Trace) -> Self {
        Self { started: Instant::now(), metrics, labels, trace, status: None, _active: metrics.requests.active(labels) }
    }

    /// A span in this one, if it is sampled.
    pub(crate) fn child(&self, make: impl FnOnce() -> Span) -> Span {
        if self.trace.span.is_none() { Span::none() } else { make() }
    }

    /// It is answered.
    pub(crate) fn answered(mut self, status: StatusCode) {
        self.status = Some(status);
    }
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        conclude(&self.trace.span, self.status);
        self.metrics.requests.ended(self.labels, self.status, self.started.elapsed());
    }
}

/// Begins the trace of one request.
pub(crate) fn begin(head: &Parts, route: Option<Route<'_>>, tenant_known: bool, ends: Ends) -> Trace {
    sampling::begin(|| server_span(head, route, tenant_known, ends))
}

/// The SERVER span of one request, the root of its trace. What came in as `traceparent` is anybody's claim: a link.
fn server_span(head: &Parts, route: Option<Route<'_>>, tenant_known: bool, ends: Ends) -> Span {
    let labels = RequestLabels::of(head, route, ends.scheme);
    let method = if labels.method == semconv::OTHER { "HTTP" } else { labels.method };
    let name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {}", route.template));
    let path = match route {
        Some(_) if tenant_known => head.uri.path(),
        Some(route) => route.template,
        None => NO_ROUTE,
    };
    let tenant = route.filter(|_| tenant_known).map(|route| route.tenant);
    // What is known now is given now: each `record` costs a search among the names and a lock of its own.
    let span = info_span!(
        parent: None,
        "http server",
        { semconv::otel::NAME } = name,
        { semconv::otel::KIND } = "server",
        { semconv::otel::STATUS_CODE } = Empty,
        { semconv::HTTP_REQUEST_METHOD } = labels.method,
        { semconv::HTTP_REQUEST_METHOD_ORIGINAL } = unknown_method(head, labels),
        { semconv::HTTP_ROUTE } = labels.route,
        { semconv::HTTP_RESPONSE_STATUS_CODE } = Empty,
        { semconv::HTTP_REQUEST_BODY_SIZE } = Empty,
        { semconv::URL_PATH } = path,
        { semconv::URL_SCHEME } = labels.scheme,
        { semconv::NETWORK_PROTOCOL_NAME } = "http",
        { semconv::NETWORK_PROTOCOL_VERSION } = labels.version,
        { semconv::NETWORK_PEER_ADDRESS } = %ends.peer.ip(),
        { semconv::NETWORK_PEER_PORT } = i64::from(ends.peer.port()),
        { semconv::SERVER_ADDRESS } = %ends.local.ip(),
        { semconv::SERVER_PORT } = i64::from(ends.local.port()),
        { semconv::USER_AGENT_ORIGINAL } = user_agent(head),
        { semconv::ERROR_TYPE } = Empty,
        { semconv::TENANT_ID } = tenant,
        { semconv::SECRET_ID } = Empty,
        { semconv::TRIGGER } = Empty,
        { semconv::WEBHOOK_VERSION } = Empty,
        { semconv::DELIVERY_ID } = Empty,
        { semconv::DELIVERY_DISPOSITION } = Empty,
        { semconv::DELIVERY_OUTCOME } = Empty,
    );
    if let Some(traceparent) = head.headers.get(propagation::TRACEPARENT).and_then(|value| value.to_str().ok()) {
        propagation::link(&span, traceparent);
    }
    span
}

/// The span of typing a body.
pub(crate) fn parse_span() -> Span {
    info_span!("parse webhook", { semconv::otel::NAME } = semconv::span::PARSE_WEBHOOK)
}

fn conclude(span: &Span, status: Option<StatusCode>) {
    if let Some(status) = status {
        span.record(semconv::HTTP_RESPONSE_STATUS_CODE, i64::from(status.as_u16()));
    }
    if let Some(error) = error_type(status) {
        span.record(semconv::ERROR_TYPE, error);
        span.record(semconv::otel::STATUS_CODE, "ERROR");
    }
}

fn unknown_method(head: &Parts, labels: RequestLabels) -> Option<&str> {
    (labels.method == semconv::OTHER).then(|| cut(head.method.as_str(), METHOD_MOST))
}

fn user_agent(head: &Parts) -> Option<&str> {
    Some(cut(head.headers.get(header::USER_AGENT)?.to_str().ok()?, USER_AGENT_MOST))
}

fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}
