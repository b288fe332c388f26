//! What is written down about a webhook: spans, metrics, log lines; and what never is.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use calbridge_e2e::wait;
use calbridge_process::Limits;
use calbridge_proto::v1::SubmitError;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry::{
    Key, Value,
    trace::{SpanId, SpanKind, Status, TraceId, TracerProvider as _},
};
use opentelemetry_sdk::{
    metrics::{
        InMemoryMetricExporter, PeriodicReader, SdkMeterProvider,
        data::{ResourceMetrics, ScopeMetrics},
    },
    trace::{InMemorySpanExporter, SdkTracerProvider, SpanData},
};
use tokio::net::TcpStream;
use tracing::{level_filters::LevelFilter, subscriber::DefaultGuard};
use tracing_subscriber::{Layer as _, fmt::MakeWriter, layer::SubscriberExt as _};

use crate::support::{
    ACME, Adapter, SECRET, created, limits,
    sender::{exchange, post, webhook},
    service::{Act, Service},
    sign,
};

/// Everything that this thread, on which the adapter runs, writes down.
struct Record {
    spans: InMemorySpanExporter,
    provider: SdkTracerProvider,
    lines: Lines,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Record {
    fn start() -> Self {
        let (spans, lines) = (InMemorySpanExporter::default(), Lines::default());
        let provider = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
        let ours = || tracing_subscriber::filter::Targets::new().with_target("calbridge", LevelFilter::TRACE);
        let exported = tracing_opentelemetry::layer().with_tracer(provider.tracer("calbridge")).with_location(false);
        let exported = exported.with_threads(false).with_tracked_inactivity(false).with_target(false);
        let written = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(lines.clone());
        let written = written.with_filter(LevelFilter::TRACE);
        let subscriber = tracing_subscriber::registry().with(exported.with_filter(ours())).with(written);
        Self { spans, provider, lines, _guard: tracing::subscriber::set_default(subscriber) }
    }

    fn spans(&self) -> Vec<SpanData> {
        self.provider.force_flush().unwrap();
        self.spans.get_finished_spans().unwrap()
    }

    fn lines(&self) -> String {
        String::from_utf8(self.lines.0.lock().unwrap().clone()).unwrap()
    }
}

fn named<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    let mut found = spans.iter().filter(|span| span.name == name);
    let span = found.next().unwrap_or_else(|| panic!("no {name}: {:?}", names(spans)));
    assert!(found.next().is_none(), "more than one {name}");
    span
}

fn names(spans: &[SpanData]) -> Vec<&str> {
    let mut names: Vec<&str> = spans.iter().map(|span| span.name.as_ref()).collect();
    names.sort_unstable();
    names
}

/// The attributes as text, without those that differ from run to run.
fn attributes(span: &SpanData) -> BTreeMap<&str, String> {
    let differing = ["network.peer.port", "server.port", "messaging.message.id"];
    span.attributes
        .iter()
        .map(|attribute| (attribute.key.as_str(), attribute.value.to_string()))
        .filter(|(key, _)| !differing.contains(key))
        .collect()
}

fn owned<'a>(attributes: &[(&'a str, &str)]) -> BTreeMap<&'a str, String> {
    attributes.iter().map(|(key, value)| (*key, (*value).to_owned())).collect()
}

fn attribute(span: &SpanData, key: &'static str) -> Option<Value> {
    let key = Key::from_static_str(key);
    span.attributes.iter().find(|attribute| attribute.key == key).map(|attribute| attribute.value.clone())
}

#[tokio::test]
async fn an_accepted_webhook_is_one_trace() {
    let record = Record::start();
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    let body = created("uid-1");
    let signature = sign(ACME[1], &body);
    let headers = [
        ("X-Cal-Signature-256", &*signature),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ];
    let answer = exchange(adapter.address, post("/webhooks/calcom/acme", &headers, &body)).await;
    assert_eq!(answer.status, 200);

    let spans = record.spans();
    assert_eq!(names(&spans), ["POST /webhooks/calcom/{tenant}", "parse webhook", "send ingest", "verify signature"]);
    let root = named(&spans, "POST /webhooks/calcom/{tenant}");
    assert_eq!((root.span_kind.clone(), root.parent_span_id), (SpanKind::Server, SpanId::INVALID));
    assert_eq!(root.status, Status::Unset);
    let [link] = root.links.links.as_slice() else { panic!("{:?}", root.links) };
    let foreign = TraceId::from_hex("0af7651916cd43dd8448eb211c80319c").unwrap();
    assert_eq!(link.span_context.trace_id(), foreign);
    assert_ne!(root.span_context.trace_id(), foreign, "what strangers send is no parent");
    for (name, kind) in [
        ("verify signature", SpanKind::Internal),
        ("parse webhook", SpanKind::Internal),
        ("send ingest", SpanKind::Client),
    ] {
        let child = named(&spans, name);
        assert_eq!(child.span_kind, kind, "{name}");
        assert_eq!(child.parent_span_id, root.span_context.span_id(), "{name}");
        assert_eq!(child.span_context.trace_id(), root.span_context.trace_id(), "{name}");
        assert_eq!(child.status, Status::Unset, "{name}");
    }
    let context = |span: &SpanData| format!("00-{}-{}-01", span.span_context.trace_id(), span.span_context.span_id());
    assert_eq!(service.events()[0].trace_parent, context(named(&spans, "send ingest")));
    assert_eq!(answer.header("traceresponse"), Some(context(root).as_str()));
}

#[tokio::test]
async fn an_accepted_webhook_has_the_attributes_of_the_conventions() {
    let record = Record::start();
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    let body = created("uid-1");
    let signature = sign(ACME[1], &body);
    let headers =
        [("X-Cal-Signature-256", &*signature), ("X-Cal-Webhook-Version", "2021-10-20"), ("User-Agent", "node")];
    exchange(adapter.address, post("/webhooks/calcom/acme?secret=query", &headers, &body)).await;
    let spans = record.spans();
    let root = named(&spans, "POST /webhooks/calcom/{tenant}");
    let size = body.len().to_string();
    let expected = [
        ("http.request.method", "POST"),
        ("http.route", "/webhooks/calcom/{tenant}"),
        ("http.response.status_code", "200"),
        ("http.request.body.size", &size),
        ("url.path", "/webhooks/calcom/acme"),
        ("url.scheme", "http"),
        ("network.protocol.name", "http"),
        ("network.protocol.version", "1.1"),
        ("network.peer.address", "127.0.0.1"),
        ("server.address", "127.0.0.1"),
        ("user_agent.original", "node"),
        ("calbridge.tenant.id", "acme"),
        ("calbridge.secret.id", "file:new"),
        ("calbridge.trigger", "BOOKING_CREATED"),
        ("calbridge.webhook.version", "2021-10-20"),
        ("calbridge.delivery.id", "delivery-1"),
        ("calbridge.delivery.disposition", "accepted"),
        ("calbridge.delivery.outcome", "applied"),
    ];
    assert_eq!(attributes(root), owned(&expected));
    assert_eq!(attribute(root, "http.response.status_code"), Some(Value::I64(200)));
    assert_eq!(attribute(root, "server.port"), Some(Value::I64(adapter.address.port().into())));
    let send = named(&spans, "send ingest");
    let expected = [
        ("messaging.system", "calbridge"),
        ("messaging.operation.name", "send"),
        ("messaging.operation.type", "send"),
        ("messaging.destination.name", "ingest"),
        ("messaging.message.body.size", &size),
        ("server.address", "127.0.0.1"),
    ];
    assert_eq!(attributes(send), owned(&expected));
    assert_eq!(attribute(send, "server.port"), Some(Value::I64(service.address.port().into())));
    let id = Value::from(service.events()[0].request_id.clone());
    assert_eq!(attribute(send, "messaging.message.id"), Some(id));
}

#[tokio::test]
async fn a_refused_webhook_shows_nothing_that_its_sender_chose() {
    let record = Record::start();
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    let body = created("uid-of-a-stranger");
    let forged = sign("guessed", &body);
    for (path, known) in [("/webhooks/calcom/nobody-we-know", false), ("/webhooks/calcom/acme", true)] {
        let headers = [("X-Cal-Signature-256", forged.as_str()), ("X-Cal-Webhook-Version", "chosen")];
        let answer = exchange(adapter.address, post(path, &headers, &body)).await;
        assert_eq!((answer.status, answer.header("traceresponse")), (401, None));
        let spans = record.spans();
        record.spans.reset();
        assert_eq!(names(&spans), ["POST /webhooks/calcom/{tenant}", "verify signature"]);
        let root = named(&spans, "POST /webhooks/calcom/{tenant}");
        assert_eq!(root.status, Status::Unset);
        let shown = attributes(root);
        assert_eq!(shown.get("calbridge.tenant.id").map(String::as_str), known.then_some("acme"));
        assert_eq!(shown["url.path"], if known { path } else { "/webhooks/calcom/{tenant}" });
        assert_eq!(shown["http.response.status_code"], "401");
        for absent in ["error.type", "calbridge.trigger", "calbridge.secret.id", "calbridge.webhook.version"] {
            assert!(!shown.contains_key(absent), "{absent}");
        }
    }
    exchange(adapter.address, "GET /some/secret/path HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let spans = record.spans();
    let shown = attributes(named(&spans, "GET"));
    assert!(!shown.values().any(|value| value.contains("secret")), "{shown:?}");
    assert!(!shown.contains_key("http.request.method_original"), "HTTP knows it");
}

#[tokio::test]
async fn the_beginning_of_an_unknown_method_is_kept_on_the_span_alone() {
    let record = Record::start();
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    let method = format!("BREW{}", "X".repeat(100));
    let request = format!("{method} /webhooks/calcom HTTP/1.1\r\nhost: h\r\n\r\n");
    assert_eq!(exchange(adapter.address, request).await.status, 405);
    let spans = record.spans();
    let shown = attributes(named(&spans, "HTTP /webhooks/calcom"));
    assert_eq!(shown["http.request.method"], "_OTHER");
    assert_eq!(shown["http.request.method_original"], method[..32]);
}

/// Sends a webhook over HTTP/2 and goes away once the service has it and says nothing.
async fn go_away(adapter: &Adapter, service: &Service) {
    service.script([Act::Ignore]);
    let stream = TcpStream::connect(adapter.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let body = created("uid-of-one-who-goes");
    let request = http::Request::post("http://hooks.example/webhooks/calcom")
        .header("x-cal-signature-256", sign(SECRET, &body))
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    let (before, asking) = (service.arrivals().len(), tokio::spawn(sender.send_request(request)));
    wait::holds("the service has it", async || service.arrivals().len() > before).await;
    asking.abort();
    drop(sender);
    wait::within("the connection ends", connection).await.unwrap().unwrap();
}

#[tokio::test]
async fn who_goes_away_before_the_answer_is_written_down() {
    let record = Record::start();
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    go_away(&adapter, &service).await;
    let (server, send) = ("POST /webhooks/calcom", "send ingest");
    wait::holds("both spans are ended", async || {
        let spans = record.spans();
        [server, send].iter().all(|name| names(&spans).contains(name))
    })
    .await;
    let spans = record.spans();
    for name in [server, send] {
        let span = named(&spans, name);
        assert_eq!(attributes(span)["error.type"], "client_gone", "{name}");
        assert!(matches!(span.status, Status::Error { .. }), "{name}");
        assert!(!attributes(span).contains_key("http.response.status_code"), "{name}");
    }
}

#[tokio::test]
async fn what_could_not_be_made_durable_is_an_error_of_ours() {
    let record = Record::start();
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    let error = SubmitError { code: 14, reason: "STORE_UNAVAILABLE".to_owned(), ..SubmitError::default() };
    service.script([Act::Refuse(error)]);
    assert_eq!(exchange(adapter.address, webhook(&created("uid"))).await.status, 503);
    let spans = record.spans();
    for (name, error) in [("POST /webhooks/calcom/{tenant}", "503"), ("send ingest", "store_unavailable")] {
        let span = named(&spans, name);
        assert!(matches!(span.status, Status::Error { .. }), "{name}");
        assert_eq!(attributes(span)["error.type"], error);
    }
    assert!(record.lines().contains("a webhook could not be made durable"));
}

#[tokio::test]
async fn the_stream_is_one_call_in_a_trace_of_its_own() {
    let record = Record::start();
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    for uid in ["uid-1", "uid-2"] {
        assert_eq!(exchange(adapter.address, webhook(&created(uid))).await.status, 200);
    }
    adapter.shutdown.cancel();
    wait::within("the adapter ends", adapter.running).await.unwrap().unwrap();
    let spans = record.spans();
    let stream = named(&spans, "calbridge.v1.IngestService/SubmitEvents");
    assert_eq!((stream.span_kind.clone(), stream.parent_span_id), (SpanKind::Client, SpanId::INVALID));
    assert_eq!(stream.status, Status::Unset);
    let expected = [
        ("rpc.system.name", "grpc"),
        ("rpc.method", "calbridge.v1.IngestService/SubmitEvents"),
        ("rpc.response.status_code", "OK"),
        ("server.address", "127.0.0.1"),
    ];
    assert_eq!(attributes(stream), owned(&expected));
    let metadata = service.metadata().unwrap();
    let carried = metadata["traceparent"].to_str().unwrap();
    assert!(carried.contains(&stream.span_context.span_id().to_string()), "{carried}");
    let roots = spans.iter().filter(|span| span.name.starts_with("POST"));
    assert!(roots.into_iter().all(|root| root.span_context.trace_id() != stream.span_context.trace_id()));
}

#[tokio::test]
async fn no_line_and_no_span_has_a_secret_an_address_or_a_body() {
    let record = Record::start();
    let service = Service::start().await;
    let limits = Limits { body_bytes: 4000, ..limits() };
    let adapter = Adapter::ready(&service, limits).await;
    let body = created("uid");
    let refusal = SubmitError { code: 14, reason: "tomas@lighthouse.example".to_owned(), ..SubmitError::default() };
    service.script([Act::Ignore, Act::Break, Act::Refuse(refusal)]);
    let forged = sign("guessed", &body);
    let mut statuses = Vec::new();
    for request in [
        webhook(&body),
        webhook(&body),
        webhook(br#"{"triggerEvent":"tomas@lighthouse.example","payload":{"uid":"tomas@lighthouse.example"}}"#),
        post("/webhooks/calcom", &[("X-Cal-Signature-256", &forged)], &body),
        post("/webhooks/calcom/tomas@lighthouse.example", &[("X-Cal-Signature-256", &forged)], &body),
        post("/tomas@lighthouse.example?email=tomas@lighthouse.example", &[], &body),
        post("/webhooks/calcom?email=tomas@lighthouse.example", &[], &body),
        webhook(&[&body[..], &[b' '; 4000]].concat()),
    ] {
        statuses.push(tokio::spawn(exchange(adapter.address, request)));
    }
    for status in statuses {
        assert!([200, 401, 404, 413, 503].contains(&status.await.unwrap().status));
    }
    adapter.shutdown.cancel();
    wait::within("the adapter ends", adapter.running).await.unwrap().unwrap();
    let written = format!("{}\n{:?}", record.lines(), record.spans());
    assert!(written.contains("the stream to the booking service is open") && written.contains("send ingest"));
    for hidden in [SECRET, ACME[0], ACME[1], "tomas", "Tomas", "lighthouse", "mara@", &forged, &sign(SECRET, &body)] {
        assert!(!written.contains(hidden), "{hidden} in {written}");
    }
}

#[tokio::test]
async fn the_numbers_have_their_names_and_few_labels() {
    let exporter = InMemoryMetricExporter::default();
    let provider = SdkMeterProvider::builder().with_reader(PeriodicReader::builder(exporter.clone()).build()).build();
    opentelemetry::global::set_meter_provider(provider.clone());
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    let body = created("uid");
    for request in [
        webhook(&body),
        webhook(b"false"),
        webhook(br#"{"triggerEvent":"CHOSEN_BY_A_SENDER","payload":{}}"#),
        post("/webhooks/calcom/chosen-by-a-sender", &[], &body),
        post("/chosen-by-a-sender", &[], &body),
        "CHOSEN /webhooks/calcom HTTP/1.1\r\nhost: h\r\n\r\n".into(),
    ] {
        exchange(adapter.address, request).await;
    }
    go_away(&adapter, &service).await;
    adapter.shutdown.cancel();
    wait::within("the adapter ends", adapter.running).await.unwrap().unwrap();
    provider.force_flush().unwrap();
    let collected = exporter.get_finished_metrics().unwrap();
    let metrics = || collected.iter().flat_map(ResourceMetrics::scope_metrics).flat_map(ScopeMetrics::metrics);
    for name in
        ["http.server.request.duration", "messaging.client.sent.messages", "messaging.client.operation.duration"]
    {
        let found: Vec<String> = metrics().filter(|one| one.name() == name).map(|one| format!("{one:?}")).collect();
        assert!(found.iter().any(|shown| shown.contains("client_gone")), "{name} knows nobody who went: {found:?}");
    }
    let shown = format!("{collected:?}");
    for name in [
        "http.server.request.duration",
        "http.server.active_requests",
        "http.server.request.body.size",
        "calbridge.ingest.accepted",
        "calbridge.ingest.ack.duration",
        "calbridge.signature.verifications",
        "calbridge.signature.unsigned_tenants",
        "rpc.client.call.duration",
        "BOOKING_CREATED",
        "unparsed",
        "_OTHER",
        "missing",
    ] {
        assert!(shown.contains(&format!("\"{name}\"")), "{name} is not in {shown}");
    }
    assert!(!shown.to_lowercase().contains("chosen"), "{shown}");
}
