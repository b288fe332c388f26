//! The table of HTTP answers: every one of ours, in one place. Each is small, fixed JSON and says nothing of the
//! request.
//!
//! There is no 3xx and no 410 here: Cal.com counts the one as a failure and switches the webhook off on the other.

use std::time::Duration;

use bytes::Bytes;
use calbridge_proto::v1::SubmitOutcome;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;

/// What a request is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Committed by the service.
    Processed {
        /// `triggerEvent` as sent; empty where the body names none.
        event: String,
        /// What the service made of it.
        outcome: SubmitOutcome,
        /// The delivery; of a duplicate the first one.
        delivery_id: String,
    },
    /// In the spool; the service has it later.
    Accepted {
        /// `triggerEvent` as sent; empty where the body names none.
        event: String,
    },
    /// Unsigned, forged, of no tenant: the same bytes for each.
    InvalidSignature,
    /// No such path.
    NotFound,
    /// Not POST.
    MethodNotAllowed,
    /// More body than the limit.
    BodyTooLarge,
    /// The body was not there in time.
    BodyTooSlow,
    /// The body was cut off or its chunks are malformed: not HTTP, so answered as hyper answers a malformed head.
    BodyBroken,
    /// The request line is over the limit.
    UriTooLong,
    /// The headers together are over the limit.
    HeadersTooLarge,
    /// Can't be made durable now.
    Unavailable {
        /// When another try makes sense.
        retry_after: Duration,
    },
    /// More than may come, where the operator wants it said like that.
    TooManyRequests {
        /// When another try makes sense.
        retry_after: Duration,
    },
}

/// The body of the answers that hyper gives by itself where it is the one that notices: none at all.
const EMPTY: &str = "";

impl Answer {
    /// The status line's number.
    pub(crate) fn status(&self) -> StatusCode {
        self.parts().0
    }

    /// Whether the rest of the request is not worth waiting for.
    fn closes(&self) -> bool {
        matches!(
            self,
            Self::BodyTooLarge | Self::BodyTooSlow | Self::BodyBroken | Self::UriTooLong | Self::HeadersTooLarge
        )
    }

    /// The whole response. `keeps_alive` is whether this version of HTTP has a `Connection` header at all.
    pub(crate) fn into_response(self, has_connection_header: bool) -> Response<Full<Bytes>> {
        let (status, error) = self.parts();
        let body = match &self {
            Self::Processed { event, outcome, delivery_id } => processed(event, *outcome, delivery_id),
            Self::Accepted { event } => accepted(event),
            _ => Bytes::from_static(error.as_bytes()),
        };
        let empty = body.is_empty();
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        if !empty {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if self.closes() && has_connection_header {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        match self {
            Self::MethodNotAllowed => {
                headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
            }
            Self::Unavailable { retry_after } | Self::TooManyRequests { retry_after } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(retry_after)));
            }
            _ => {}
        }
        response
    }

    fn parts(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Processed { .. } => (StatusCode::OK, EMPTY),
            Self::Accepted { .. } => (StatusCode::ACCEPTED, EMPTY),
            Self::InvalidSignature => (StatusCode::UNAUTHORIZED, r#"{"error":"Invalid webhook signature"}"#),
            Self::NotFound => (StatusCode::NOT_FOUND, r#"{"error":"Not found"}"#),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, r#"{"error":"Method not allowed"}"#),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, r#"{"error":"Body too large"}"#),
            Self::BodyTooSlow => (StatusCode::REQUEST_TIMEOUT, r#"{"error":"Body too slow"}"#),
            Self::BodyBroken => (StatusCode::BAD_REQUEST, EMPTY),
            Self::UriTooLong => (StatusCode::URI_TOO_LONG, EMPTY),
            Self::HeadersTooLarge => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, EMPTY),
            Self::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, r#"{"error":"Temporarily unavailable"}"#),
            Self::TooManyRequests { .. } => (StatusCode::TOO_MANY_REQUESTS, r#"{"error":"Too many requests"}"#),
        }
    }
}

/// The outcome as the answer and the spans spell it.
pub(crate) fn outcome_word(outcome: SubmitOutcome) -> &'static str {
    match outcome {
        SubmitOutcome::Applied => "applied",
        SubmitOutcome::NoChange => "no_change",
        SubmitOutcome::Duplicate => "duplicate",
        SubmitOutcome::Recorded | SubmitOutcome::Unspecified => "recorded",
        SubmitOutcome::Unparsed => "unparsed",
    }
}

/// The body of a 2xx. The event's name and the id come from elsewhere: they are escaped.
#[derive(Serialize)]
struct Taken<'a> {
    status: &'static str,
    event: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_id: Option<&'a str>,
}

fn processed(event: &str, outcome: SubmitOutcome, delivery_id: &str) -> Bytes {
    let outcome = Some(outcome_word(outcome));
    json(&Taken { status: "processed", event, outcome, delivery_id: Some(delivery_id) })
}

fn accepted(event: &str) -> Bytes {
    json(&Taken { status: "accepted", event, outcome: None, delivery_id: None })
}

fn json(taken: &Taken<'_>) -> Bytes {
    // Texts alone: nothing in it can fail.
    serde_json::to_vec(taken).unwrap_or_default().into()
}

/// `Retry-After` counts whole seconds: rounded up, and never "at once".
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests;
