//! One call, one span, whatever way the call ends.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt, Empty, StreamBody};
use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry_sdk::trace::SpanData;
use tower::ServiceExt;

use super::*;
use crate::testing::{Recording, attribute, record};

const METHODS: &[&str] = &["calbridge.v1.IngestService/SubmitEvent", "calbridge.v1.IngestService/SubmitEvents"];
const UNARY: &str = "/calbridge.v1.IngestService/SubmitEvent";

type Frames = Vec<Result<Frame<Bytes>, Infallible>>;

fn trailers(status: &'static str) -> Frames {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    vec![Ok(Frame::data(Bytes::from_static(b"answer"))), Ok(Frame::trailers(trailers))]
}

/// Of a caller who is known.
fn request(path: &str) -> Request<Empty<Bytes>> {
    Request::post(path).extension(Known).body(Empty::new()).unwrap()
}

/// Calls a service that answers with these frames, and reads them all.
async fn call(request: Request<Empty<Bytes>>, frames: Frames) {
    let mut frames = Some(frames);
    let service = rpc_layer(METHODS).layer(tower::service_fn(move |_| {
        let frames = frames.take().expect("called once");
        async { Ok::<_, Infallible>(Response::new(StreamBody::new(tokio_stream::iter(frames)))) }
    }));
    let response = service.oneshot(request).await.unwrap();
    let _ = response.into_body().collect().await.unwrap();
}

fn only(recording: &Recording) -> SpanData {
    let mut spans = recording.spans();
    assert_eq!(spans.len(), 1, "{spans:#?}");
    spans.remove(0)
}

#[tokio::test]
async fn a_call_is_a_server_span_below_its_caller() {
    let recording = record();
    let mut request = request(UNARY);
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    request.headers_mut().insert("traceparent", HeaderValue::from_static(parent));
    call(request, trailers("0")).await;
    let span = only(&recording);
    assert_eq!(span.name, "calbridge.v1.IngestService/SubmitEvent");
    assert_eq!(span.span_kind, SpanKind::Server);
    assert_eq!(span.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert_eq!(span.status, Status::Unset);
    let mut attributes: Vec<_> =
        span.attributes.iter().map(|attribute| (attribute.key.as_str(), attribute.value.to_string())).collect();
    attributes.sort();
    assert_eq!(
        attributes,
        [
            ("rpc.method", "calbridge.v1.IngestService/SubmitEvent".to_owned()),
            ("rpc.response.status_code", "OK".to_owned()),
            ("rpc.system.name", "grpc".to_owned()),
        ]
    );
}

#[tokio::test]
async fn a_stranger_chooses_neither_trace_nor_words() {
    let recording = record();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for path in [UNARY, "/Tomas/is.mine"] {
        call(Request::post(path).header("traceparent", parent).body(Empty::new()).unwrap(), trailers("16")).await;
    }
    for span in recording.spans() {
        assert_eq!(span.parent_span_id, SpanId::INVALID);
        assert_ne!(span.span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(!format!("{span:?}").contains("Tomas"), "{span:?}");
    }
    assert_eq!(recording.spans().len(), 2);
}

#[tokio::test]
async fn only_the_servers_own_faults_are_errors() {
    for (status, name, error) in [
        ("5", "NOT_FOUND", false),
        ("9", "FAILED_PRECONDITION", false),
        ("13", "INTERNAL", true),
        ("14", "UNAVAILABLE", true),
    ] {
        let recording = record();
        call(request(UNARY), trailers(status)).await;
        let span = only(&recording);
        assert_eq!(attribute(&span, semconv::RPC_STATUS_CODE).as_deref(), Some(name));
        assert_eq!(attribute(&span, semconv::ERROR_TYPE).as_deref(), error.then_some(name));
        assert_eq!(matches!(span.status, Status::Error { .. }), error, "{name}");
    }
}

#[tokio::test]
async fn a_status_in_the_headers_counts() {
    let recording = record();
    let service = rpc_layer(METHODS).layer(tower::service_fn(|_| async {
        let response = Response::builder().header("grpc-status", "16").body(Empty::<Bytes>::new());
        Ok::<_, Infallible>(response.unwrap())
    }));
    let response = service.oneshot(request(UNARY)).await.unwrap();
    // hyper does not poll a body that says it has ended.
    drop(response);
    assert_eq!(attribute(&only(&recording), semconv::RPC_STATUS_CODE).as_deref(), Some("UNAUTHENTICATED"));
}

#[tokio::test]
async fn an_answer_without_a_status_is_broken() {
    let recording = record();
    call(request(UNARY), vec![Ok(Frame::data(Bytes::from_static(b"half")))]).await;
    assert_eq!(attribute(&only(&recording), semconv::ERROR_TYPE).as_deref(), Some("UNKNOWN"));
}

#[tokio::test]
async fn a_call_given_up_is_cancelled() {
    // Before the answer ...
    let recording = record();
    let waiting = tower::service_fn(|_| std::future::pending::<Result<Response<Empty<Bytes>>, Infallible>>());
    let answer = rpc_layer(METHODS).layer(waiting).oneshot(request(UNARY));
    assert!(tokio::time::timeout(std::time::Duration::ZERO, answer).await.is_err());
    assert_eq!(attribute(&only(&recording), semconv::RPC_STATUS_CODE).as_deref(), Some("CANCELLED"));

    // ... and in the middle of a stream.
    let recording = record();
    let streaming = tower::service_fn(|_| async {
        let frames = tokio_stream::pending::<Result<Frame<Bytes>, Infallible>>();
        Ok::<_, Infallible>(Response::new(StreamBody::new(frames)))
    });
    let response = rpc_layer(METHODS).layer(streaming).oneshot(request(UNARY)).await.unwrap();
    assert_eq!(recording.spans(), [], "a stream's span lasts as long as the stream");
    drop(response);
    let span = only(&recording);
    assert_eq!(attribute(&span, semconv::RPC_STATUS_CODE).as_deref(), Some("CANCELLED"));
    assert_eq!(span.status, Status::Unset);
}

#[tokio::test]
async fn unknown_methods_share_one_name() {
    let recording = record();
    let long = format!("/some.Service/{}", "é".repeat(200));
    call(Request::post("/").body(Empty::new()).unwrap(), trailers("12")).await;
    assert_eq!(recording.spans()[0].name, "grpc");
    drop(recording);

    let recording = record();
    let layer = rpc_layer(METHODS);
    drop(layer.begin(&long, &HeaderMap::new(), Some(Known)));
    let span = only(&recording);
    assert_eq!(span.name, "grpc");
    assert_eq!(attribute(&span, semconv::RPC_METHOD).as_deref(), Some("_OTHER"));
    let original = attribute(&span, semconv::RPC_METHOD_ORIGINAL).unwrap();
    assert!(original.len() <= UNKNOWN_METHOD_BYTES_MAX && original.starts_with("some.Service/éé"), "{original}");
}

#[tokio::test]
async fn health_and_reflection_leave_no_trace() {
    let recording = record();
    call(request("/grpc.health.v1.Health/Check"), trailers("0")).await;
    call(request("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"), trailers("0")).await;
    assert_eq!(recording.spans(), []);
}

#[tokio::test]
async fn spans_of_the_handler_are_children() {
    let recording = record();
    let service = rpc_layer(METHODS).layer(tower::service_fn(|_| async {
        tracing::info_span!("child").in_scope(|| ());
        Ok::<_, Infallible>(Response::new(StreamBody::new(tokio_stream::iter(trailers("0")))))
    }));
    let response = service.oneshot(request(UNARY)).await.unwrap();
    let _ = response.into_body().collect().await.unwrap();
    let (child, server) = (&recording.named("child")[0], &recording.named(METHODS[0])[0]);
    assert_eq!(child.parent_span_id, server.span_context.span_id());
}

#[test]
fn names_are_those_of_grpc() {
    for number in 0..=16 {
        let code = Code::from_i32(number);
        // tonic spells them in camel case.
        let words: Vec<_> =
            code_name(code).split('_').map(|word| word[..1].to_owned() + &word[1..].to_lowercase()).collect();
        assert_eq!(words.concat(), format!("{code:?}"));
    }
}
