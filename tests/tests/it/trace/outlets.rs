//! What goes out to watches and consumers: a span for each part of the log and each word of a client, and how far
//! consumers are behind.

use calbridge_e2e::{
    collector::{Collector, Seen, Span},
    metrics::Page,
    system::{Plan, System, TENANT},
    v1::{
        ConsumeRequest, ConsumeResponse, Consumer, CreateConsumerRequest, DeleteConsumerRequest, NackAction,
        WatchTransitionsRequest,
        consume_request::{Ack, Nack, Open, Request},
        consume_response::{Item, Response},
        consumer_service_client::ConsumerServiceClient,
    },
    wait,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

use super::{created, expect, send};

/// The labels of the consumer of this test.
const LABELS: [&str; 2] = ["calbridge_tenant_id=\"default\"", "messaging_consumer_group_name=\"mails\""];

#[tokio::test]
async fn each_part_of_the_log_that_goes_out_is_a_trace_of_its_own() {
    let collector = Collector::start();
    let mut system = Plan::new().export(collector.grpc()).start().await;
    for uid in ["outletAA", "outletBB"] {
        assert_eq!(send(&system, &created(uid)).await.outcome(), "applied");
    }
    let request =
        WatchTransitionsRequest { tenant: TENANT.to_owned(), stop_at_head: true, ..WatchTransitionsRequest::default() };
    let mut watch = system.api().bookings().watch_transitions(request).await.unwrap().into_inner();
    while watch.message().await.unwrap().is_some() {}
    let sent = collector.wait("what the watch was sent", |seen| batch(seen, "send transitions", None)).await;
    expect::SEND_TO_A_WATCH.is_met_by(&sent, &[]);
    let of_watch = "calbridge.v1.BookingService/WatchTransitions";
    let call = collector.wait(of_watch, |seen| seen.named(of_watch).first().map(|span| (*span).clone())).await;
    assert!(sent.links_to(&call) && sent.trace_id != call.trace_id, "a call may last for days");

    let mut client = Client::open(&system).await;
    let items = [client.item().await, client.item().await];
    client.say(Request::Ack(Ack { ids: items.map(|item| item.id).into() })).await;
    let mails = Some("mails");
    let sent = collector.wait("what the consumer was sent", |seen| batch(seen, "send transitions", mails)).await;
    expect::SEND_TO_A_CONSUMER.is_met_by(&sent, &[]);
    let acked = collector.wait("what its client said", |seen| batch(seen, "ack transitions", mails)).await;
    expect::ACK.is_met_by(&acked, &[]);
    for root in [&sent, &acked] {
        let below = |seen: &Seen| seen.children(root).into_iter().find(|span| span.name == "COMMIT consumers").cloned();
        collector.wait("the command under it", below).await;
    }
    system.stop().await;
}

#[tokio::test]
async fn who_is_behind_is_seen_and_what_was_given_up_on() {
    let mut system = Plan::new().start().await;
    let mut client = Client::open(&system).await;
    is(&system, "calbridge_consumer_lag_seconds", |lag| lag.abs() < f64::EPSILON).await;
    assert_eq!(send(&system, &created("behindAA")).await.outcome(), "applied");
    let item = client.item().await;
    // It is out and not settled, for longer than it was looked at first.
    is(&system, "calbridge_consumer_lag_seconds", |lag| lag > 1.0).await;

    client.say(nack(&item, NackAction::Retry)).await;
    let again = client.item().await;
    assert_eq!(again.delivery_count, 2);
    client.say(nack(&again, NackAction::Park)).await;
    is(&system, "calbridge_deadletters", |letters| (letters - 1.0).abs() < f64::EPSILON).await;
    let page = system.service_metrics().await;
    for (name, wanted) in [
        ("calbridge_consumer_redeliveries_total", 1.0),
        ("calbridge_consumer_parked_total", 1.0),
        ("messaging_client_sent_messages_total", 2.0),
        ("calbridge_consumer_lag_seconds", 0.0),
    ] {
        let found = page.sum(name, &LABELS);
        assert!((found - wanted).abs() < f64::EPSILON, "{name} is {found}, expected {wanted}");
    }
    drop(client);
    let request = DeleteConsumerRequest { tenant: TENANT.to_owned(), name: "mails".to_owned(), etag: String::new() };
    consumers(&system).delete_consumer(request).await.unwrap();
    let gone = || async {
        let page = system.service_metrics().await;
        (!page.text().lines().any(|line| line.starts_with("calbridge_deadletters{"))).then_some(())
    };
    wait::until("the deleted consumer is shown no more", gone).await;
    system.stop().await;
}

/// The span of two messages of this name, of a watch or of a consumer.
fn batch(seen: &Seen, name: &str, consumer: Option<&str>) -> Option<Span> {
    let group = |span: &Span| span.text("messaging.consumer.group.name");
    let meant = |span: &&&Span| {
        span.text("messaging.batch.message_count") == "2" && group(span) == consumer.unwrap_or_default()
    };
    seen.named(name).iter().find(meant).map(|span| (*span).clone())
}

/// Waits until a number of the consumer's is as it is to be.
async fn is(system: &System, name: &str, right: impl Fn(f64) -> bool) {
    let look = || async {
        let page: Page = system.service_metrics().await;
        let told = page.text().lines().any(|line| line.starts_with(name) && line.contains(LABELS[1]));
        (told && right(page.sum(name, &LABELS))).then_some(())
    };
    wait::until(name, look).await;
}

fn consumers(system: &System) -> ConsumerServiceClient<Channel> {
    ConsumerServiceClient::new(system.api().channel())
}

fn nack(item: &Item, action: NackAction) -> Request {
    let at_once = Some(prost_types::Duration::default());
    Request::Nack(Nack { id: item.id.clone(), action: action.into(), delay: at_once, reason: String::new() })
}

/// A client of the consumer `mails`, which is made where it is not there.
struct Client {
    requests: mpsc::Sender<ConsumeRequest>,
    responses: Streaming<ConsumeResponse>,
}

impl Client {
    async fn open(system: &System) -> Self {
        let mails = Consumer { tenant: TENANT.to_owned(), name: "mails".to_owned(), ..Consumer::default() };
        let request = CreateConsumerRequest { consumer: Some(mails), ..CreateConsumerRequest::default() };
        consumers(system).create_consumer(request).await.unwrap();
        let (requests, sent) = mpsc::channel(8);
        let open = Open { tenant: TENANT.to_owned(), consumer: "mails".to_owned(), max_in_flight: 0 };
        requests.send(ConsumeRequest { request: Some(Request::Open(open)) }).await.unwrap();
        let responses = consumers(system).consume(ReceiverStream::new(sent)).await.unwrap().into_inner();
        Self { requests, responses }
    }

    async fn say(&self, request: Request) {
        self.requests.send(ConsumeRequest { request: Some(request) }).await.unwrap();
    }

    async fn item(&mut self) -> Item {
        let item = async {
            loop {
                if let Some(Response::Item(item)) = self.responses.message().await.unwrap().unwrap().response {
                    return item;
                }
            }
        };
        wait::within("an item", item).await
    }
}
