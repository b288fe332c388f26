//! The end of a call's time: a tower layer that answers what takes longer than its caller, or this service, waits.
//!
//! tonic ends such calls by itself, outside of all layers: the call is then given up within, told as one that its
//! caller cancelled, and refused without an `ErrorInfo`. This layer is asked before it, and its time began before.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, Request, Response};
use tokio::time::timeout;
use tower::{Layer, Service};

use crate::{api::out_of_time, settings::CALL_TIMEOUT};

/// Makes the layer of a server.
#[derive(Debug, Clone)]
pub(super) struct Deadline;

/// A server whose answers begin in time.
#[derive(Debug, Clone)]
pub(super) struct Timed<S> {
    inner: S,
}

impl<S> Layer<S> for Deadline {
    type Service = Timed<S>;

    fn layer(&self, inner: S) -> Timed<S> {
        Timed { inner }
    }
}

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for Timed<S>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>>,
    S::Future: Send + 'static,
    ResponseBody: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let most = asked(request.headers()).map_or(CALL_TIMEOUT, |asked| asked.min(CALL_TIMEOUT));
        let answer = timeout(most, self.inner.call(request));
        Box::pin(async { answer.await.unwrap_or_else(|_| Ok(out_of_time().into_http())) })
    }
}

/// What the caller grants: at most eight digits and a unit (gRPC over HTTP/2, `grpc-timeout`). Anything else is not a
/// bound, as it is none for tonic.
fn asked(headers: &HeaderMap) -> Option<Duration> {
    let told = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = told.split_at_checked(told.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let amount = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_hours(amount)),
        "M" => Some(Duration::from_mins(amount)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::pending};

    use calbridge_telemetry::{
        rpc::rpc_layer,
        semconv,
        testing::{attribute, record},
    };
    use tokio::time::Instant;
    use tonic::{Code, Status};
    use tonic_types::StatusExt;
    use tower::{ServiceBuilder, ServiceExt, service_fn};

    use super::*;

    const METHOD: &str = "/calbridge.v1.BookingService/GetBooking";

    fn request(timeout: &str) -> Request<()> {
        Request::post(METHOD).header("grpc-timeout", timeout).body(()).unwrap()
    }

    #[test]
    fn a_bound_is_digits_and_a_unit() {
        let asked = |told: &str| asked(request(told).headers());
        for (told, expected) in [
            ("1H", Duration::from_hours(1)),
            ("2M", Duration::from_mins(2)),
            ("3S", Duration::from_secs(3)),
            ("99999999m", Duration::from_millis(99_999_999)),
            ("5u", Duration::from_micros(5)),
            ("0n", Duration::ZERO),
        ] {
            assert_eq!(asked(told), Some(expected), "{told}");
        }
        for told in ["", "S", "1", "123456789S", "+1S", "1 S", "1s", "-1S"] {
            assert_eq!(asked(told), None, "{told}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_longer_is_refused_with_a_reason_and_told_so() {
        let recording = record();
        let never = service_fn(|_: Request<()>| pending::<Result<Response<()>, Infallible>>());
        let layers = ServiceBuilder::new().layer(rpc_layer(&["calbridge.v1.BookingService/GetBooking"]));
        let mut server = layers.layer(Deadline).service(never);
        for (told, most) in [("70m", Duration::from_millis(70)), ("9H", CALL_TIMEOUT), ("soon", CALL_TIMEOUT)] {
            let began = Instant::now();
            let response = server.ready().await.unwrap().call(request(told)).await.unwrap();
            assert_eq!(began.elapsed(), most, "{told}");
            let status = Status::from_header_map(response.headers()).unwrap();
            let info = status.get_details_error_info().unwrap();
            assert_eq!((status.code(), info.reason.as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
        }
        let spans = recording.spans();
        assert_eq!(spans.len(), 3);
        for span in spans {
            assert_eq!(attribute(&span, semconv::RPC_STATUS_CODE).as_deref(), Some("DEADLINE_EXCEEDED"));
        }
    }
}
