//! The words that spans and metrics tell of a request: each from a small set, whatever a sender makes up.

use calbridge_calcom::Typed;
use calbridge_proto::v1::Trigger;
use calbridge_telemetry::semconv;
use http::{Method, StatusCode, Version, request::Parts};

use crate::route::Route;

/// What may be told of a request without telling anything that its sender chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestLabels {
    /// `POST`, …, or `_OTHER`.
    pub(crate) method: &'static str,
    /// The template; none where there is no route.
    pub(crate) route: Option<&'static str>,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// `1.0`, `1.1` or `2`.
    pub(crate) version: &'static str,
}

impl RequestLabels {
    /// What metrics may tell of the request.
    pub(crate) fn of(head: &Parts, route: Option<Route<'_>>, scheme: &'static str) -> Self {
        Self {
            method: method_label(&head.method),
            route: route.map(|route| route.template),
            scheme,
            version: version_label(head.version),
        }
    }
}

/// The method, if it is one that HTTP defines: a sender can make up others without end.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::CONNECT => "CONNECT",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        Method::PATCH => "PATCH",
        _ => semconv::OTHER,
    }
}

/// `network.protocol.version` of a request.
fn version_label(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}

/// What kind of error an end is, if it is one. A refusal is the sender's affair; only what we failed at is an error,
/// and what ended without an answer.
pub(crate) fn error_type(status: Option<StatusCode>) -> Option<String> {
    match status {
        None => Some(semconv::CLIENT_GONE.to_owned()),
        Some(status) => status.is_server_error().then(|| status.as_str().to_owned()),
    }
}

/// The trigger, if it is one of the schema's: a signed body may still name anything.
pub(crate) fn trigger_label(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Unspecified => semconv::OTHER,
        known => known.as_str_name().trim_start_matches("TRIGGER_"),
    }
}

/// How the body was taken where it was answered before anybody looked into it.
pub(crate) const UNTYPED: &str = "untyped";

/// How the body was taken: typed or not.
pub(crate) fn disposition_label(typed: &Typed) -> &'static str {
    if typed.payload.is_some() { "accepted" } else { "unparsed" }
}
