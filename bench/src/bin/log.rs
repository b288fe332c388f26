//! How quickly the log is read: how late a watch hears of a transition at a fixed rate, and how many a durable consumer
//! moves, beside how many the service takes in.
//!
//! One service on `SQLite`, spoken to over gRPC as adapters and internal services do. It decides nothing.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use calbridge_bench::webhooks::latency::Latency;
use calbridge_calcom::{
    golden::{self, Golden},
    type_body,
};
use calbridge_e2e::program::{Program, Start};
use calbridge_proto::v1::{
    BookingEvent, ConsumeRequest, Consumer, CreateConsumerRequest, SubmitEventsRequest, Trigger,
    WatchTransitionsRequest,
    booking_service_client::BookingServiceClient,
    consume_request::{Ack, Open, Request},
    consume_response::Response,
    consumer_service_client::ConsumerServiceClient,
    ingest_service_client::IngestServiceClient,
    watch_transitions_response::Entry,
};
use clap::Parser;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::{
    sync::{Semaphore, mpsc},
    time::{interval, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

/// What the service allocates with.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// 2026-09-21T00:00:00Z, in seconds: when the first webhook is.
const BEGIN: i64 = 1_790_000_000;
const TENANT: &str = "acme";
/// Events on the stream and not answered.
const IN_FLIGHT: usize = 256;
/// For anything that is waited for.
const PATIENCE: Duration = Duration::from_mins(1);

/// How quickly the log is read.
///
/// Build the programs first: `cargo build --release --workspace`.
#[derive(Parser)]
struct Arguments {
    /// The folder for all data meanwhile; on the disk that is meant, not in memory
    #[arg(long, default_value = "target/bench")]
    data: PathBuf,
    /// Transitions that are taken in, and then consumed
    #[arg(long, default_value_t = 50_000)]
    transitions: u64,
    /// Out to the consumer's client at a time
    #[arg(long, default_value_t = 100)]
    max_in_flight: i32,
    /// Transitions a second while a watch listens
    #[arg(long, default_value_t = 1_000)]
    rate: u64,
    /// Seconds of that
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.data).with_context(|| arguments.data.display().to_string())?;
    let folder = TempDir::with_prefix_in("log-", &arguments.data)?;
    let mut service = serve(&folder).await?;
    let channel = Endpoint::from_shared(format!("http://{}", service.listening().grpc()))?.connect().await?;

    let taken_in = take_in(&channel, arguments.transitions).await?;
    let consumed = consume(&channel, &arguments).await?;
    println!("taken in: {taken_in:.0}/s");
    println!(
        "consumed, {} out at a time: {consumed:.0}/s, {:.2} of what was taken in",
        arguments.max_in_flight,
        consumed / taken_in
    );
    let latency = watch(&channel, &arguments).await?.percentiles();
    println!(
        "heard by a watch at {}/s, after the commit: p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms",
        arguments.rate, latency.p50, latency.p99, latency.p999
    );
    service.stop().await;
    Ok(())
}

async fn serve(folder: &TempDir) -> anyhow::Result<Program> {
    let start = Start::new("calbridge-service").flag("--grpc", "127.0.0.1:0").flag("--admin", "127.0.0.1:0");
    start.flag("--data-dir", folder.path()).try_serve().await.map_err(|why| anyhow!("the service: {why}"))
}

/// What an adapter would make of a webhook that says that a booking was made.
fn event(number: u64) -> anyhow::Result<BookingEvent> {
    let second = i64::try_from(number / 1_000)?;
    let (made, start) = (Timestamp::from_second(BEGIN + second)?, Timestamp::from_second(BEGIN + second + 86_400)?);
    let booking = Golden::new(&format!("log{number}"), i64::try_from(number)?, made, start);
    let raw = golden::body(Trigger::BookingCreated, &booking);
    let mut event = BookingEvent { tenant: TENANT.to_owned(), ..BookingEvent::default() };
    type_body(&raw).into_event(&mut event);
    event.raw_body = raw.into();
    Ok(event)
}

/// Transitions a second.
async fn take_in(channel: &Channel, transitions: u64) -> anyhow::Result<f64> {
    let events: Vec<BookingEvent> = (0..transitions).map(event).collect::<anyhow::Result<_>>()?;
    let room = std::sync::Arc::new(Semaphore::new(IN_FLIGHT));
    let (begun, permits) = (Instant::now(), std::sync::Arc::clone(&room));
    let requests = stream::iter((0..).zip(events)).then(move |(sequence, event)| {
        let permits = std::sync::Arc::clone(&permits);
        async move {
            if let Ok(permit) = permits.acquire().await {
                permit.forget();
            }
            SubmitEventsRequest { sequence, event: Some(event) }
        }
    });
    let mut answers = IngestServiceClient::new(channel.clone()).submit_events(requests).await?.into_inner();
    while let Some(answer) = timeout(PATIENCE, answers.message()).await?? {
        anyhow::ensure!(answer.error.is_none(), "an event was refused: {:?}", answer.error);
        room.add_permits(1);
    }
    Ok(rate(transitions, begun))
}

#[expect(clippy::disallowed_methods, reason = "the service's commit time is of this machine's clock")]
fn now() -> Timestamp {
    Timestamp::now()
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(count: u64, begun: Instant) -> f64 {
    count as f64 / begun.elapsed().as_secs_f64()
}

/// Transitions a second that one client acks one by one.
async fn consume(channel: &Channel, arguments: &Arguments) -> anyhow::Result<f64> {
    let mut client = ConsumerServiceClient::new(channel.clone());
    let consumer = Consumer {
        tenant: TENANT.to_owned(),
        name: "bench".to_owned(),
        max_in_flight: arguments.max_in_flight,
        ..Consumer::default()
    };
    client.create_consumer(CreateConsumerRequest { consumer: Some(consumer), ..Default::default() }).await?;
    let (requests, sent) = mpsc::channel(1_024);
    let open = Open { tenant: TENANT.to_owned(), consumer: "bench".to_owned(), max_in_flight: 0 };
    requests.send(ConsumeRequest { request: Some(Request::Open(open)) }).await?;
    let begun = Instant::now();
    let mut responses = client.consume(ReceiverStream::new(sent)).await?.into_inner();
    let mut seen = 0;
    while seen < arguments.transitions {
        let message = timeout(PATIENCE, responses.message()).await??.context("the stream has ended")?;
        if let Some(Response::Item(item)) = message.response {
            requests.send(ConsumeRequest { request: Some(Request::Ack(Ack { ids: vec![item.id] })) }).await?;
            seen += 1;
        }
    }
    Ok(rate(seen, begun))
}

/// From the commit to the watch, by the one clock of this machine.
async fn watch(channel: &Channel, arguments: &Arguments) -> anyhow::Result<Latency> {
    let request = WatchTransitionsRequest { tenant: TENANT.to_owned(), from_head: true, ..Default::default() };
    let mut entries = BookingServiceClient::new(channel.clone()).watch_transitions(request).await?.into_inner();
    let (requests, sent) = mpsc::channel(1_024);
    let mut answers =
        IngestServiceClient::new(channel.clone()).submit_events(ReceiverStream::new(sent)).await?.into_inner();
    let many = arguments.rate * arguments.seconds;
    let (first, pause) = (arguments.transitions, Duration::from_secs(1) / u32::try_from(arguments.rate)?);
    let sender = tokio::spawn(async move {
        let mut ticks = interval(pause);
        for sequence in 0..many {
            ticks.tick().await;
            requests.send(SubmitEventsRequest { sequence, event: Some(event(first + sequence)?) }).await?;
        }
        anyhow::Ok(())
    });
    let reader = tokio::spawn(async move { while let Ok(Some(_)) = answers.message().await {} });
    let mut latency = Latency::new();
    while latency.count() < many {
        let message = timeout(PATIENCE, entries.message()).await??.context("the watch has ended")?;
        if let Some(Entry::Transition(made)) = message.entry {
            let commit = made.commit_time.context("a transition without a time")?;
            let commit = Timestamp::new(commit.seconds, commit.nanos)?;
            latency.record(Duration::try_from(now().duration_since(commit)).unwrap_or_default());
        }
    }
    sender.await??;
    reader.await?;
    Ok(latency)
}
