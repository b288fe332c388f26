//! One connected trace for each webhook, across both programs: its spans, their names, kinds, parents, links and
//! attributes, as the semantic conventions and the design have them, into a real receiver.

mod expect;
mod logs;
mod metrics;
mod outage;
mod outlets;

use calbridge_calcom::golden::{self, Golden};
use calbridge_e2e::{
    collector::{self, Collector, Kind, Link, Seen, Span, Value},
    redis_server::RedisServer,
    system::{self, Plan, SECRET, System, TENANT},
    v1::{GetBookingRequest, SubmitEventRequest, Trigger},
    wait,
    webhook::{Answer, SIGNATURE, Sender, sign},
};
use hyper::Method;
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tonic::Request;

use self::expect::Expected;

/// A context from the internet, sampled.
const FOREIGN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// Webhooks of one round, more than a span may have links.
const BURST: u32 = 500;
/// Links that a span may have.
const LINKS: usize = 128;
const FOREIGN_TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const FOREIGN_SPAN: &str = "00f067aa0ba902b7";

fn golden(uid: &str) -> Golden {
    let second = |second| Timestamp::from_second(second).unwrap();
    Golden::new(uid, 7_001, second(1_790_000_000), second(1_790_090_000))
}

fn created(uid: &str) -> Vec<u8> {
    golden::body(Trigger::BookingCreated, &golden(uid))
}

/// Sends with a foreign `traceparent`.
async fn send(system: &System, body: &[u8]) -> Answer {
    let signature = sign(SECRET, body);
    let headers = [
        (SIGNATURE, signature.as_str()),
        ("Content-Type", "application/json"),
        ("X-Cal-Webhook-Version", "2021-10-20"),
        ("user-agent", "node"),
        ("traceparent", FOREIGN),
    ];
    let path = format!("/webhooks/calcom/{TENANT}");
    system.sender().request(Method::POST, &path, &headers, body.to_vec()).await.unwrap()
}

/// The whole trace of the webhook that became this delivery, with this outcome, once all its spans are there.
async fn trace_of(collector: &Collector, answer: &Answer, spans: usize) -> Vec<Span> {
    let (delivery, outcome) = (answer.delivery_id(), answer.outcome());
    let what = format!("{spans} spans of the {outcome} webhook");
    collector
        .wait(&what, |seen| {
            let about = |span: &&Span| {
                span.kind == Kind::Server
                    && span.text("calbridge.delivery.id") == delivery
                    && span.text("calbridge.delivery.outcome") == outcome
            };
            let root = seen.spans.iter().find(about)?;
            let trace: Vec<Span> = seen.trace(&root.trace_id).into_iter().cloned().collect();
            (trace.len() == spans).then_some(trace)
        })
        .await
}

/// The round that a `process bookings` links to, with its children.
async fn round_of(collector: &Collector, process: &Span, spans: usize) -> Vec<Span> {
    let Some(Link { trace_id, .. }) = process.links.first().cloned() else { panic!("no link to a round: {process:?}") };
    let whole = |seen: &Seen| {
        let trace: Vec<Span> = seen.trace(&trace_id).into_iter().cloned().collect();
        (trace.len() == spans).then_some(trace)
    };
    collector.wait(&format!("{spans} spans of a round"), whole).await
}

fn only<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "spans named {name}");
    found[0]
}

/// Every span stands in the table, no line of the table is missing, and everything about each is as it says.
fn are_as_expected(spans: &[Span], expected: &[Expected]) {
    let mut names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    let mut wanted: Vec<_> = expected.iter().map(|line| line.name).collect();
    names.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(names, wanted);
    for line in expected {
        for span in spans.iter().filter(|span| span.name == line.name) {
            line.is_met_by(span, spans);
        }
    }
}

#[tokio::test]
async fn a_webhook_is_one_trace_across_both_programs() {
    let collector = Collector::start();
    let redis = RedisServer::start();
    let mut system = Plan::new().export(collector.grpc()).service("--redis-url", redis.url()).start().await;
    redis_is_asked(&system).await;

    let body = created("traceAAA");
    let answer = send(&system, &body).await;
    assert_eq!(answer.outcome(), "applied");
    let trace = trace_of(&collector, &answer, 6).await;
    are_as_expected(&trace, expect::APPLIED);
    let server = only(&trace, "POST /webhooks/calcom/{tenant}");
    assert_eq!(server.parent_id, "", "what the internet claims is no parent");
    assert_ne!(server.trace_id, FOREIGN_TRACE);
    let traced = answer.headers["traceresponse"].to_str().unwrap();
    assert!(traced.starts_with(&format!("00-{}-{}-", server.trace_id, server.span_id)), "the sender learns of it");
    let foreign = Link { trace_id: FOREIGN_TRACE.to_owned(), span_id: FOREIGN_SPAN.to_owned() };
    assert_eq!(server.links, [foreign]);
    let entry = system.api().timeline(TENANT, "traceAAA").await.remove(0);
    assert_eq!(entry.trace_id, server.trace_id, "the timeline leads to the trace");
    let process = only(&trace, "process bookings");
    let round = round_of(&collector, process, 4).await;
    are_as_expected(&round, expect::ROUND);
    assert!(only(&round, "ingest round").links_to(process) && process.links_to(only(&round, "ingest round")));

    let again = send(&system, &body).await;
    assert_eq!(again.outcome(), "duplicate");
    let trace = trace_of(&collector, &again, 5).await;
    are_as_expected(&trace, expect::DUPLICATE);
    let round = round_of(&collector, only(&trace, "process bookings"), 4).await;
    are_as_expected(&round, expect::ROUND_OF_A_DUPLICATE);
    system.stop().await;
}

/// Until the first link to Redis stands, a round does without it.
async fn redis_is_asked(system: &System) {
    let asked = || async {
        let body = golden::body(Trigger::Ping, &golden("warm"));
        assert_eq!(system.sender().send(TENANT, SECRET, body).await.status, 200);
        let page = system.service_metrics().await;
        let labels = ["db_system_name=\"redis\""];
        (page.sum("db_client_operation_duration_seconds_count", &labels) > 0.0).then_some(())
    };
    wait::until("Redis is asked", asked).await;
}

#[tokio::test]
async fn a_webhook_that_changes_two_bookings_has_a_span_for_each() {
    let collector = Collector::start();
    let mut system = Plan::new().export(collector.http()).start().await;
    let first = golden("pairAAAA");
    let second = first.moved("pairBBBB", 7_002, first.created_at, first.start);
    send(&system, &golden::body(Trigger::BookingCreated, &first)).await;
    let answer = send(&system, &golden::body(Trigger::BookingRescheduled, &second)).await;
    let trace = trace_of(&collector, &answer, 7).await;
    let process = only(&trace, "process bookings");
    let mut changes: Vec<_> = trace.iter().filter(|span| span.name == "record transition").collect();
    changes.sort_by_key(|span| span.text("calbridge.booking.uid"));
    let rules: Vec<_> = changes.iter().map(|span| span.text("calbridge.transition.rule")).collect();
    assert_eq!(rules, ["rescheduled", "accepted"]);
    assert!(changes.iter().all(|span| span.parent_id == process.span_id));
    assert_ne!(changes[0].text("calbridge.position"), changes[1].text("calbridge.position"));
    system.stop().await;
}

#[tokio::test]
async fn a_forged_webhook_shows_nothing_that_its_sender_chose() {
    let collector = Collector::start();
    let mut system = Plan::new().export(collector.grpc()).start().await;
    let sender = system.sender();
    for (tenant, known) in [(TENANT, true), ("nobody", false)] {
        let answer = sender.send(tenant, "not the secret", created("forgedAA")).await;
        assert_eq!(answer.status, 401);
        assert!(!answer.headers.contains_key("traceresponse"), "a forger learns nothing");
        let trace = collector
            .wait("the trace of a forged webhook", |seen| {
                let root = seen.spans.iter().find(|span| {
                    span.text("http.response.status_code") == "401"
                        && span.attributes.contains_key("calbridge.tenant.id") == known
                })?;
                let trace: Vec<Span> = seen.trace(&root.trace_id).into_iter().cloned().collect();
                (trace.len() == 2).then_some(trace)
            })
            .await;
        are_as_expected(&trace, if known { expect::FORGED } else { expect::UNKNOWN_TENANT });
    }
    system.stop().await;
    assert!(collector.seen().named("process bookings").is_empty(), "the service never heard of them");
}

#[tokio::test]
async fn a_grpc_caller_is_the_parent_of_its_call() {
    let collector = Collector::start();
    let mut system = Plan::new().export(collector.grpc()).start().await;
    let api = system.api();
    let mut request =
        Request::new(GetBookingRequest { tenant: TENANT.to_owned(), uid: "nobody".to_owned(), ..Default::default() });
    request.metadata_mut().insert("traceparent", FOREIGN.parse().unwrap());
    request.metadata_mut().insert("tracestate", "vendor=value".parse().unwrap());
    api.bookings().get_booking(request).await.unwrap_err();
    let mut event = calbridge_e2e::v1::BookingEvent { tenant: TENANT.to_owned(), ..Default::default() };
    event.raw_body = b"false".to_vec().into();
    event.request_id = "01890a5d-ac96-774b-bcce-b302099a8057".to_owned();
    let mut request = Request::new(SubmitEventRequest { event: Some(event) });
    request.metadata_mut().insert("traceparent", FOREIGN.parse().unwrap());
    api.ingest().submit_event(request).await.unwrap();

    let name = "calbridge.v1.BookingService/GetBooking";
    let call = collector.wait(name, |seen| seen.named(name).first().map(|span| (*span).clone())).await;
    expect::GET_BOOKING.is_met_by(&call, &[]);
    assert_eq!((call.trace_id.as_str(), call.parent_id.as_str()), (FOREIGN_TRACE, FOREIGN_SPAN));
    assert_eq!(call.trace_state, "vendor=value");
    assert_eq!(call.status, 0, "NOT_FOUND is the caller's affair");

    let name = "calbridge.v1.IngestService/SubmitEvent";
    let call = collector.wait(name, |seen| seen.named(name).first().map(|span| (*span).clone())).await;
    assert_eq!((call.trace_id.as_str(), call.kind), (FOREIGN_TRACE, Kind::Server));
    let child = |seen: &Seen| seen.children(&call).into_iter().find(|span| span.name == "process bookings").cloned();
    collector.wait("the event under its call", child).await;
    system.stop().await;
    let seen = collector.seen();
    assert!(seen.spans.iter().all(|span| !span.name.contains("grpc.health")), "nobody traces health checks");
}

#[tokio::test]
async fn the_stream_is_one_span_on_either_side() {
    let collector = Collector::start();
    let mut system = Plan::new().export(collector.grpc()).start().await;
    for number in 0..5 {
        assert_eq!(send(&system, &created(&format!("stream{number}"))).await.status, 200);
    }
    system.stop().await;
    let seen = collector.seen();
    let mut streams = seen.named("calbridge.v1.IngestService/SubmitEvents");
    streams.sort_by_key(|span| span.service());
    let kinds: Vec<_> = streams.iter().map(|span| (span.service(), span.kind)).collect();
    let expected = [("calbridge-adapter".to_owned(), Kind::Client), ("calbridge-service".to_owned(), Kind::Server)];
    assert_eq!(kinds, expected);
    assert_eq!(streams[1].parent_id, streams[0].span_id, "the service's side stands under the adapter's");
    expect::STREAM_CLIENT.is_met_by(streams[0], &[]);
    expect::STREAM_SERVER.is_met_by(streams[1], &[]);
}

#[tokio::test]
async fn a_large_round_and_its_webhooks_link_to_each_other_within_the_limit() {
    let collector = Collector::start();
    let mut system = Plan::new().export(collector.grpc()).start().await;
    // Whatever comes while a commit waits is one round when it is through.
    let blocked = system.block_the_store();
    let mut senders = JoinSet::new();
    for number in 0..BURST {
        let sender = system.sender();
        senders.spawn(async move { sender.send(TENANT, SECRET, created(&format!("burst{number}"))).await });
    }
    let taken_in = || async {
        let page = system.service_metrics().await;
        let waiting = page.sum("calbridge_ingest_queue_depth", &[]);
        let answered = page.sum("messaging_client_consumed_messages_total", &[]);
        (waiting + answered >= f64::from(BURST)).then_some(())
    };
    wait::until("every webhook waits, or waited too long", taken_in).await;
    drop(blocked);
    while let Some(answer) = senders.join_next().await {
        // The first of them may have waited longer for the store than it is given.
        assert!([200, 503].contains(&answer.unwrap().status.as_u16()));
    }
    system.stop().await;
    let seen = collector.seen();
    let (rounds, processed) = (seen.named("ingest round"), seen.named("process bookings"));
    assert_eq!(processed.len(), usize::try_from(BURST).unwrap());
    let sizes: Vec<_> = rounds.iter().map(|round| (count(round), round.links.len())).collect();
    assert!(sizes.iter().any(|(_, links)| *links == LINKS), "one round was large: {sizes:?}");
    let counted: i64 = rounds.iter().map(|round| count(round)).sum();
    assert_eq!(counted, i64::from(BURST), "each webhook was in one round");
    for process in &processed {
        assert!(rounds.iter().any(|round| process.links_to(round)), "each event knows its round");
    }
    for round in rounds {
        let linked: Vec<_> = processed.iter().filter(|process| round.links_to(process)).collect();
        assert_eq!(linked.len(), LINKS.min(usize::try_from(count(round)).unwrap()));
        assert!(linked.iter().all(|process| process.links_to(round)), "a link goes both ways");
    }
}

fn count(round: &Span) -> i64 {
    match round.attributes["messaging.batch.message_count"] {
        Value::Int(count) => count,
        ref other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_process_makes_the_same_trace() {
    let collector = Collector::start();
    let folder = TempDir::new().unwrap();
    let start = system::up(folder.path()).env("CALCOM_WEBHOOK_SECRET", SECRET);
    let variables =
        collector.grpc().into_iter().chain(collector::prompt().map(|(name, value)| (name, value.to_owned())));
    let mut up = variables.fold(start, |start, (name, value)| start.env(name, value)).serve();
    let target = &collector.grpc()[0].1;
    let told = || async { up.stdout().contains(&format!("telemetry: sent to {target}")).then_some(()) };
    wait::until("it says where traces go", told).await;
    let sender = Sender::new(up.listening().http());
    let answer = sender.send(TENANT, SECRET, created("traceAAA")).await;
    let trace = trace_of(&collector, &answer, 6).await;
    assert!(trace.iter().all(|span| span.service() == "calbridge"));
    let process = only(&trace, "process bookings");
    assert_eq!(process.parent_id, only(&trace, "send ingest").span_id);
    assert_eq!(only(&trace, "record transition").parent_id, process.span_id);
    up.stop().await;
}

#[tokio::test]
async fn what_waits_for_export_is_sent_when_the_programs_are_told_to_stop() {
    let collector = Collector::start();
    // Ten minutes, so that only the stop can bring anything.
    let slow = [
        ("OTEL_BSP_SCHEDULE_DELAY", "600000"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "600000"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "600000"),
    ];
    let mut system = Plan::new().env(collector.grpc()).env(slow).start().await;
    assert_eq!(send(&system, &created("flushAAA")).await.status, 200);
    assert!(collector.seen().spans.is_empty());
    system.stop().await;
    let seen = collector.seen();
    assert_eq!(seen.named("POST /webhooks/calcom/{tenant}").len(), 1);
    assert_eq!(seen.named("process bookings").len(), 1);
    for service in ["calbridge-adapter", "calbridge-service"] {
        assert!(
            !seen.logs.is_empty()
                && seen.metrics.iter().any(|metric| metric.resource["service.name"].to_string() == service)
        );
    }
}

#[tokio::test]
async fn every_program_says_who_it_is() {
    let collector = Collector::start();
    let plan = Plan::new().export(collector.http());
    let given = [("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,team=bookings")];
    let mut system = plan.env(given).start().await;
    assert_eq!(send(&system, &created("whoisAAA")).await.status, 200);
    system.stop().await;
    let seen = collector.seen();
    let mut instances = Vec::new();
    for service in ["calbridge-adapter", "calbridge-service"] {
        let span = seen.spans.iter().find(|span| span.service() == service).unwrap();
        expect::is_resource(&span.resource);
        instances.push(span.resource["service.instance.id"].to_string());
        assert_eq!(span.resource["team"].to_string(), "bookings");
        let metric = seen.metrics.iter().find(|metric| metric.resource["service.name"].to_string() == service).unwrap();
        assert_eq!(metric.resource, span.resource, "one process, one resource");
    }
    assert_ne!(instances[0], instances[1]);
    assert!(seen.spans.iter().all(|span| span.scope == "calbridge" && span.schema_url == expect::SCHEMA_URL));
}

#[tokio::test]
async fn nothing_is_traced_where_the_sampler_says_so() {
    let collector = Collector::start();
    let off = [("OTEL_TRACES_SAMPLER", "always_off")];
    let mut system = Plan::new().export(collector.grpc()).env(off).start().await;
    assert_eq!(send(&system, &created("untraced")).await.outcome(), "applied");
    assert_eq!(system.api().timeline(TENANT, "untraced").await[0].trace_id, "");
    system.stop().await;
    assert!(collector.seen().spans.is_empty());
}

#[tokio::test]
async fn what_is_answered_first_and_typed_when_it_is_sent_is_one_trace() {
    let collector = Collector::start();
    let plan = Plan::new().export(collector.grpc()).with_spool().adapter("--ack", "spooled");
    let mut system = plan.start().await;
    let answer = send(&system, &created("traceAAA")).await;
    assert_eq!(answer.status, 202);
    let traced = answer.headers["traceresponse"].to_str().unwrap().split('-').nth(1).unwrap().to_owned();
    let whole = |seen: &Seen| {
        let trace: Vec<Span> = seen.trace(&traced).into_iter().cloned().collect();
        (trace.len() == expect::SPOOLED.len()).then_some(trace)
    };
    let trace = collector.wait("the spans of a webhook that was spooled first", whole).await;
    are_as_expected(&trace, expect::SPOOLED);
    system.stop().await;
}
