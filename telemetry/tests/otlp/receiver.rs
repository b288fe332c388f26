//! A collector in memory that speaks OTLP by gRPC and by HTTP on ports of its own, and what a process sends to it.
//!
//! Telemetry is installed once in a process, so each protocol has a test program of its own around this file.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use calbridge_telemetry::{LogFormat, SHUTDOWN_TIMEOUT, Settings, init, meter, propagation, semconv};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;

/// What has arrived.
#[derive(Clone, Debug, Default)]
struct Received(Arc<Mutex<Requests>>);

#[derive(Debug, Default)]
struct Requests {
    traces: Vec<ExportTraceServiceRequest>,
    metrics: Vec<ExportMetricsServiceRequest>,
    logs: Vec<ExportLogsServiceRequest>,
}

/// `OTEL_EXPORTER_OTLP_ENDPOINT` and `_PROTOCOL` of this process; settings take a plain function.
static COLLECTOR: OnceLock<(String, &'static str)> = OnceLock::new();

/// Sends one span with a child, a link and an attribute, one log line and one count, and checks what arrives.
pub(crate) fn everything_arrives(protocol: &'static str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let received = Received::default();
    let address = runtime.block_on(listen(protocol, received.clone()));
    COLLECTOR.set((format!("http://{address}"), protocol)).unwrap();

    let telemetry = {
        let _entered = runtime.enter();
        init(&settings()).unwrap()
    };
    assert_eq!(telemetry.export_target(), Some(format!("http://{address} ({protocol})")));
    let page = telemetry.metrics_page();
    let trace_id = runtime.block_on(async {
        meter().u64_counter(semconv::metric::INGEST_ACCEPTED).build().add(2, &[]);
        work()
    });
    assert!(page.render().contains("calbridge_ingest_accepted_total 2"), "{}", page.render());

    let started = Instant::now();
    telemetry.shutdown();
    assert!(started.elapsed() < SHUTDOWN_TIMEOUT, "a living collector is flushed to at once");

    let received = received.0.lock().unwrap();
    check_traces(&received.traces, &trace_id);
    check_logs(&received.logs, &trace_id);
    check_metrics(&received.metrics);
}

fn settings() -> Settings {
    Settings {
        service_name: "calbridge-test",
        service_version: "1.2.3",
        log_format: LogFormat::Json,
        log_filter: None,
        environment: |name| {
            let (endpoint, protocol) = COLLECTOR.get()?;
            match name {
                "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(endpoint.clone()),
                "OTEL_EXPORTER_OTLP_PROTOCOL" => Some((*protocol).to_owned()),
                "OTEL_RESOURCE_ATTRIBUTES" => Some("deployment.environment.name=test".to_owned()),
                _ => None,
            }
        },
    }
}

fn work() -> String {
    let root = tracing::info_span!(
        target: "calbridge_test",
        "root",
        { semconv::otel::KIND } = "server",
        { semconv::TENANT_ID } = "default"
    );
    propagation::link(&root, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let _entered = root.enter();
    tracing::info_span!(target: "calbridge_test", "child").in_scope(|| {
        tracing::warn!(target: "calbridge_test", count = 3, "something to tell");
    });
    propagation::trace_id(&root)
}

fn check_traces(requests: &[ExportTraceServiceRequest], trace_id: &str) {
    let resources: Vec<_> = requests.iter().flat_map(|request| &request.resource_spans).collect();
    check_resource(resources[0].resource.as_ref());
    let scopes: Vec<_> = resources.iter().flat_map(|resource| &resource.scope_spans).collect();
    assert!(scopes.iter().all(|scope| scope.schema_url == semconv::SCHEMA_URL), "{scopes:#?}");
    let spans: Vec<_> = scopes.iter().flat_map(|scope| &scope.spans).collect();
    assert_eq!(spans.len(), 2, "ours and no others: {spans:#?}");
    let root = spans.iter().find(|span| span.name == "root").unwrap();
    let child = spans.iter().find(|span| span.name == "child").unwrap();
    assert_eq!(hex::encode(&root.trace_id), trace_id);
    assert_eq!(child.trace_id, root.trace_id);
    assert_eq!(child.parent_span_id, root.span_id);
    assert_eq!(root.parent_span_id, Vec::<u8>::new());
    assert_eq!(root.kind, 2, "server");
    assert_eq!(hex::encode(&root.links[0].trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(text(&root.attributes, semconv::TENANT_ID).as_deref(), Some("default"));
    assert_eq!(root.attributes.len(), 1, "no attribute that nobody named: {:?}", root.attributes);
}

fn check_logs(requests: &[ExportLogsServiceRequest], trace_id: &str) {
    let resources: Vec<_> = requests.iter().flat_map(|request| &request.resource_logs).collect();
    check_resource(resources[0].resource.as_ref());
    let records: Vec<_> =
        resources.iter().flat_map(|resource| &resource.scope_logs).flat_map(|scope| &scope.log_records).collect();
    assert_eq!(records.len(), 1, "{records:#?}");
    assert_eq!(hex::encode(&records[0].trace_id), trace_id);
    assert_eq!(records[0].severity_text, "WARN");
    let body = records[0].body.clone().and_then(|body| body.value);
    assert_eq!(body, Some(Value::StringValue("something to tell".to_owned())));
}

fn check_metrics(requests: &[ExportMetricsServiceRequest]) {
    let resources: Vec<_> = requests.iter().flat_map(|request| &request.resource_metrics).collect();
    check_resource(resources[0].resource.as_ref());
    let names: Vec<_> = resources
        .iter()
        .flat_map(|resource| &resource.scope_metrics)
        .flat_map(|scope| &scope.metrics)
        .map(|metric| metric.name.as_str())
        .collect();
    assert!(names.contains(&semconv::metric::INGEST_ACCEPTED), "{names:?}");
    assert!(names.contains(&semconv::metric::TELEMETRY_LOST), "{names:?}");
}

fn check_resource(resource: Option<&Resource>) {
    let attributes = &resource.unwrap().attributes;
    assert_eq!(text(attributes, semconv::SERVICE_NAME).as_deref(), Some("calbridge-test"));
    assert_eq!(text(attributes, semconv::SERVICE_VERSION).as_deref(), Some("1.2.3"));
    assert_eq!(text(attributes, semconv::SERVICE_NAMESPACE).as_deref(), Some("calbridge"));
    assert_eq!(text(attributes, semconv::SERVICE_INSTANCE_ID).map(|id| id.len()), Some(36));
    assert_eq!(text(attributes, "deployment.environment.name").as_deref(), Some("test"));
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value?;
    match value {
        Value::StringValue(text) => Some(text),
        other => Some(format!("{other:?}")),
    }
}

async fn listen(protocol: &str, received: Received) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    if protocol == "grpc" {
        let server = tonic::transport::Server::builder()
            .timeout(Duration::from_secs(5))
            .add_service(TraceServiceServer::new(received.clone()))
            .add_service(MetricsServiceServer::new(received.clone()))
            .add_service(LogsServiceServer::new(received));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    } else {
        tokio::spawn(serve_http(listener, received));
    }
    address
}

async fn serve_http(listener: TcpListener, received: Received) {
    while let Ok((stream, _)) = listener.accept().await {
        let received = received.clone();
        let service = service_fn(move |request| {
            let received = received.clone();
            async move { Ok::<_, Infallible>(take(request, &received).await) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn take(request: Request<Incoming>, received: &Received) -> Response<Full<Bytes>> {
    assert_eq!(request.headers()["content-type"], "application/x-protobuf");
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut requests = received.0.lock().unwrap();
    match path.as_str() {
        "/v1/traces" => requests.traces.push(Message::decode(body).unwrap()),
        "/v1/metrics" => requests.metrics.push(Message::decode(body).unwrap()),
        "/v1/logs" => requests.logs.push(Message::decode(body).unwrap()),
        _ => return Response::builder().status(StatusCode::NOT_FOUND).body(Full::default()).unwrap(),
    }
    Response::new(Full::default())
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.0.lock().unwrap().traces.push(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Received {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, tonic::Status> {
        self.0.lock().unwrap().metrics.push(request.into_inner());
        Ok(tonic::Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Received {
    async fn export(
        &self,
        request: tonic::Request<ExportLogsServiceRequest>,
    ) -> Result<tonic::Response<ExportLogsServiceResponse>, tonic::Status> {
        self.0.lock().unwrap().logs.push(request.into_inner());
        Ok(tonic::Response::new(ExportLogsServiceResponse::default()))
    }
}
