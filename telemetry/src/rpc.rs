//! The SERVER span and the duration of every gRPC call, as a tower layer for tonic's server.
//!
//! One call is one span, a stream's too: it ends when the response's body has ended or was given up. Health checks
//! and reflection make none. Method names come from a fixed list, so a caller can't invent new ones.
//!
//! Only a caller who is [`Known`] says which trace his call belongs to, and so whether it is sampled, and has words of
//! his own in a span.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use http::{HeaderMap, Request, Response};
use hyper::body::{Body, Frame, SizeHint};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Histogram;
use tonic::Code;
use tower::{Layer, Service};
use tracing::{Instrument, Span, field};

use crate::{meter, propagation, semconv};

/// Services that orchestrators and tools call all day long, and nobody traces.
const UNTRACED: [&str; 2] = ["grpc.health.", "grpc.reflection."];

/// How much of an unknown method's name is kept, in bytes.
const UNKNOWN_METHOD_BYTES_MAX: usize = 128;

/// Makes the span and the `rpc.server.call.duration` of each call. `methods` are the fully qualified names that the
/// server knows (`calbridge.v1.IngestService/SubmitEvent`); any other is `_OTHER`. To be called after
/// [`crate::init`].
#[must_use]
pub fn rpc_layer(methods: &'static [&'static str]) -> RpcLayer {
    let duration = meter()
        .f64_histogram(semconv::metric::RPC_SERVER_CALL_DURATION)
        .with_unit(semconv::unit::SECONDS)
        .with_description("Duration of gRPC calls, streams included, until their last byte")
        .with_boundaries(semconv::bucket::DURATION.to_vec())
        .build();
    RpcLayer { methods, duration }
}

/// See [`rpc_layer`].
#[derive(Clone, Debug)]
pub struct RpcLayer {
    methods: &'static [&'static str],
    duration: Histogram<f64>,
}

/// To be put into the extensions of a request by whoever knows its sender.
#[derive(Clone, Copy, Debug)]
pub struct Known;

/// The service that [`RpcLayer`] makes.
#[derive(Clone, Debug)]
pub struct RpcService<S> {
    layer: RpcLayer,
    inner: S,
}

/// The body of a call's response; the call ends with it.
#[derive(Debug)]
pub struct RpcBody<B> {
    inner: B,
    call: Option<Call>,
}

impl<S> Layer<S> for RpcLayer {
    type Service = RpcService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RpcService { layer: self.clone(), inner }
    }
}

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for RpcService<S>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>>,
    S::Future: Send + 'static,
{
    type Response = Response<RpcBody<ResponseBody>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let known = request.extensions().get::<Known>().copied();
        let Some(mut call) = self.layer.begin(request.uri().path(), request.headers(), known) else {
            let untraced = self.inner.call(request);
            return Box::pin(async { Ok(untraced.await?.map(|inner| RpcBody { inner, call: None })) });
        };
        let span = call.span.clone();
        let answer = span.in_scope(|| self.inner.call(request)).instrument(span);
        Box::pin(async move {
            // Given up before the answer, `call` is dropped here and says so.
            match answer.await {
                Ok(response) => {
                    call.read_status(response.headers());
                    Ok(response.map(|inner| RpcBody { inner, call: Some(call) }))
                }
                Err(error) => {
                    call.end_badly();
                    Err(error)
                }
            }
        })
    }
}

impl<B: Body + Unpin> Body for RpcBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Self { inner, call } = &mut *self;
        let Some(call) = call else { return Pin::new(inner).poll_frame(context) };
        let polled = call.span.in_scope(|| Pin::new(inner).poll_frame(context));
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    call.read_status(trailers);
                }
            }
            Poll::Ready(Some(Err(_)) | None) => call.end_badly(),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl RpcLayer {
    fn begin(&self, path: &str, headers: &HeaderMap, sender: Option<Known>) -> Option<Call> {
        let called = path.strip_prefix('/').unwrap_or(path);
        if UNTRACED.iter().any(|service| called.starts_with(service)) {
            return None;
        }
        let known = self.methods.iter().copied().find(|method| *method == called);
        let method = known.unwrap_or(semconv::OTHER);
        let span = tracing::info_span!(
            "rpc",
            { semconv::otel::NAME } = known.unwrap_or(semconv::RPC_SYSTEM_GRPC),
            { semconv::otel::KIND } = "server",
            { semconv::otel::STATUS_CODE } = field::Empty,
            { semconv::RPC_SYSTEM_NAME } = semconv::RPC_SYSTEM_GRPC,
            { semconv::RPC_METHOD } = method,
            { semconv::RPC_METHOD_ORIGINAL } = field::Empty,
            { semconv::RPC_STATUS_CODE } = field::Empty,
            { semconv::ERROR_TYPE } = field::Empty,
        );
        let Some(Known) = sender else { return Some(self.call(span, method)) };
        if known.is_none() {
            span.record(semconv::RPC_METHOD_ORIGINAL, &called[..called.floor_char_boundary(UNKNOWN_METHOD_BYTES_MAX)]);
        }
        if let Some(parent) = propagation::extract(headers) {
            propagation::adopt_context(&span, parent);
        }
        Some(self.call(span, method))
    }

    fn call(&self, span: Span, method: &'static str) -> Call {
        Call { span, method, started: Instant::now(), duration: self.duration.clone(), status: None }
    }
}

/// A call under way. It ends when this is dropped, wherever that happens.
#[derive(Debug)]
struct Call {
    span: Span,
    method: &'static str,
    started: Instant,
    duration: Histogram<f64>,
    status: Option<Code>,
}

impl Call {
    fn read_status(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get("grpc-status") {
            self.status = Some(Code::from_bytes(status.as_bytes()));
        }
    }

    /// The answer is over: without a status it is a broken one.
    fn end_badly(&mut self) {
        self.status.get_or_insert(Code::Unknown);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // No status means that the caller went away before there was one.
        let code = self.status.unwrap_or(Code::Cancelled);
        let name = code_name(code);
        self.span.record(semconv::RPC_STATUS_CODE, name);
        let mut attributes = vec![
            KeyValue::new(semconv::RPC_SYSTEM_NAME, semconv::RPC_SYSTEM_GRPC),
            KeyValue::new(semconv::RPC_METHOD, self.method),
            KeyValue::new(semconv::RPC_STATUS_CODE, name),
        ];
        if is_server_error(code) {
            self.span.record(semconv::otel::STATUS_CODE, "ERROR");
            self.span.record(semconv::ERROR_TYPE, name);
            attributes.push(KeyValue::new(semconv::ERROR_TYPE, name));
        }
        self.duration.record(self.started.elapsed().as_secs_f64(), &attributes);
    }
}

/// Which statuses are the server's fault, by the semantic conventions.
#[must_use]
pub fn is_server_error(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// The status as `rpc.response.status_code` and `error.type` have it.
#[must_use]
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests;
