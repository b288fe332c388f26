//! `consumer`: durable readers of the log.

use std::time::Duration;

use anyhow::Context as _;
use calbridge_proto::v1::{
    Consumer, CreateConsumerRequest, DeadLetterPolicy, DeleteConsumerRequest, GetConsumerRequest, ListConsumersRequest,
    ListConsumersResponse, PauseConsumerRequest, ResumeConsumerRequest, SeekConsumerRequest, UpdateConsumerRequest,
    seek_consumer_request::To,
};
use clap::{Args, Subcommand, ValueEnum};
use prost_types::FieldMask;

use crate::{
    client::{MAX_PAGES, PAGE_SIZE, Reader, refused},
    output::{Format, or_dash, print, print_json, row, table},
    time::{moment, shown},
};

/// `calbridge consumer`.
#[derive(Args)]
pub(crate) struct ConsumerCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Make a consumer
    Create(Create),
    /// Show one
    Get(Named),
    /// List a tenant's
    List(List),
    /// Change what was chosen
    Update(Update),
    /// Delete one, with its cursor and its dead letters
    Delete(Named),
    /// Move its cursor: what was out or waited is forgotten
    Seek(Seek),
    /// Hand nothing out until it is resumed
    Pause(Named),
    /// Go on
    Resume(Named),
}

#[derive(Args)]
struct Named {
    /// The consumer
    name: String,
    #[command(flatten)]
    reader: Reader,
}

#[derive(Args)]
struct List {
    #[command(flatten)]
    reader: Reader,
}

#[derive(Args)]
struct Create {
    /// 1 to 64 characters of a-z, 0-9, - and _
    name: String,
    /// Where it begins: `now`, `beginning`, or behind a position
    #[arg(long, default_value = "beginning", value_name = "POSITION")]
    from: String,
    #[command(flatten)]
    choices: Choices,
    #[command(flatten)]
    reader: Reader,
}

#[derive(Args)]
struct Update {
    /// The consumer
    name: String,
    #[command(flatten)]
    choices: Choices,
    #[command(flatten)]
    reader: Reader,
}

#[derive(Args)]
struct Seek {
    /// The consumer
    name: String,
    /// `now`, `beginning`, a position, or a time like 2026-09-01T00:00:00Z
    #[arg(long, value_name = "PLACE")]
    to: String,
    #[command(flatten)]
    reader: Reader,
}

#[derive(Args)]
struct Choices {
    /// Conditions joined by AND, as in `kind = STATUS_CHANGED AND status = CANCELLED`
    #[arg(long, value_name = "FILTER")]
    filter: Option<String>,
    /// Hand out also webhooks that are kept and change no booking
    #[arg(long, value_name = "true|false")]
    recorded: Option<bool>,
    /// Entries that are out at a time [default: 100]
    #[arg(long, value_name = "COUNT")]
    max_in_flight: Option<i32>,
    /// How long an entry may be out [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    ack_wait: Option<Duration>,
    /// Pauses before the next delivery, joined by commas [default: 1s,5s,30s,2min,10min]
    #[arg(long, value_name = "TIMES", value_delimiter = ',', value_parser = humantime::parse_duration)]
    backoff: Option<Vec<Duration>>,
    /// Deliveries of one entry [default: 10]
    #[arg(long, value_name = "COUNT")]
    max_deliveries: Option<i32>,
    /// What a dead letter does to its booking [default: continue]
    #[arg(long, value_enum)]
    dead_letters: Option<Policy>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Policy {
    /// Later entries go out.
    Continue,
    /// They wait.
    Block,
}

impl ConsumerCommand {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self.what {
            What::Create(of) => of.run().await,
            What::Get(of) => of.get().await,
            What::List(of) => of.run().await,
            What::Update(of) => of.run().await,
            What::Delete(of) => of.delete().await,
            What::Seek(of) => of.run().await,
            What::Pause(of) => of.pause(true).await,
            What::Resume(of) => of.pause(false).await,
        }
    }
}

impl Create {
    async fn run(self) -> anyhow::Result<()> {
        let mut client = self.reader.connect_to_consumers().await?;
        let mut consumer = Consumer { tenant: self.reader.tenant(), name: self.name, ..Consumer::default() };
        self.choices.choose(&mut consumer)?;
        let from_head = self.from == "now";
        let after_position = if from_head || self.from == "beginning" { String::new() } else { self.from };
        let request = CreateConsumerRequest { consumer: Some(consumer), after_position, from_head };
        let answer = client.create_consumer(request).await.map_err(|status| refused(&status))?.into_inner();
        show(&self.reader, answer.consumer)
    }
}

impl Update {
    async fn run(self) -> anyhow::Result<()> {
        let mut client = self.reader.connect_to_consumers().await?;
        let mut consumer = Consumer { tenant: self.reader.tenant(), name: self.name, ..Consumer::default() };
        let paths = self.choices.choose(&mut consumer)?;
        anyhow::ensure!(!paths.is_empty(), "nothing is to be changed: name what, as in --max-in-flight 50");
        let paths = paths.into_iter().map(str::to_owned).collect();
        let request = UpdateConsumerRequest { consumer: Some(consumer), update_mask: Some(FieldMask { paths }) };
        let answer = client.update_consumer(request).await.map_err(|status| refused(&status))?.into_inner();
        show(&self.reader, answer.consumer)
    }
}

impl Choices {
    /// Sets what was said, and names its fields.
    fn choose(self, consumer: &mut Consumer) -> anyhow::Result<Vec<&'static str>> {
        let mut paths = Vec::new();
        let pause = |pause: Duration| prost_types::Duration::try_from(pause).context("a time is too long");
        if let Some(filter) = self.filter {
            consumer.filter = filter;
            paths.push("filter");
        }
        if let Some(recorded) = self.recorded {
            consumer.include_recorded = recorded;
            paths.push("include_recorded");
        }
        if let Some(count) = self.max_in_flight {
            consumer.max_in_flight = count;
            paths.push("max_in_flight");
        }
        if let Some(wait) = self.ack_wait {
            consumer.ack_wait = Some(pause(wait)?);
            paths.push("ack_wait");
        }
        if let Some(backoff) = self.backoff {
            consumer.backoff = backoff.into_iter().map(pause).collect::<Result<_, _>>()?;
            paths.push("backoff");
        }
        if let Some(count) = self.max_deliveries {
            consumer.max_deliveries = count;
            paths.push("max_deliveries");
        }
        if let Some(policy) = self.dead_letters {
            let policy = match policy {
                Policy::Continue => DeadLetterPolicy::Continue,
                Policy::Block => DeadLetterPolicy::Block,
            };
            consumer.dead_letter_policy = policy.into();
            paths.push("dead_letter_policy");
        }
        Ok(paths)
    }
}

impl Named {
    async fn get(self) -> anyhow::Result<()> {
        let mut client = self.reader.connect_to_consumers().await?;
        let request = GetConsumerRequest { tenant: self.reader.tenant(), name: self.name };
        let answer = client.get_consumer(request).await.map_err(|status| refused(&status))?.into_inner();
        show(&self.reader, answer.consumer)
    }

    async fn delete(self) -> anyhow::Result<()> {
        let mut client = self.reader.connect_to_consumers().await?;
        let request = DeleteConsumerRequest { tenant: self.reader.tenant(), name: self.name, etag: String::new() };
        let answer = client.delete_consumer(request).await.map_err(|status| refused(&status))?.into_inner();
        match self.reader.output {
            Format::Json => print_json("DeleteConsumerResponse", &answer),
            Format::Table => print("deleted"),
        }
    }

    async fn pause(self, paused: bool) -> anyhow::Result<()> {
        let mut client = self.reader.connect_to_consumers().await?;
        let (tenant, name) = (self.reader.tenant(), self.name);
        let consumer = if paused {
            let request = PauseConsumerRequest { tenant, name };
            client.pause_consumer(request).await.map_err(|status| refused(&status))?.into_inner().consumer
        } else {
            let request = ResumeConsumerRequest { tenant, name };
            client.resume_consumer(request).await.map_err(|status| refused(&status))?.into_inner().consumer
        };
        show(&self.reader, consumer)
    }
}

impl List {
    async fn run(self) -> anyhow::Result<()> {
        let mut client = self.reader.connect_to_consumers().await?;
        let mut listed = ListConsumersResponse::default();
        for _ in 0..MAX_PAGES {
            let (tenant, page_token) = (self.reader.tenant(), listed.next_page_token);
            let request = ListConsumersRequest { tenant, page_size: PAGE_SIZE, page_token };
            let page = client.list_consumers(request).await.map_err(|status| refused(&status))?.into_inner();
            listed.consumers.extend(page.consumers);
            listed.next_page_token = page.next_page_token;
            if listed.next_page_token.is_empty() {
                break;
            }
        }
        match self.reader.output {
            Format::Json => print_json("ListConsumersResponse", &listed),
            Format::Table => print(consumers_table(&listed.consumers)),
        }
    }
}

impl Seek {
    async fn run(self) -> anyhow::Result<()> {
        let mut client = self.reader.connect_to_consumers().await?;
        let to = match self.to.as_str() {
            "now" => To::Head(true),
            "beginning" => To::Beginning(true),
            place => moment(place).map_or_else(|| To::AfterPosition(place.to_owned()), To::Time),
        };
        let request = SeekConsumerRequest { tenant: self.reader.tenant(), name: self.name, to: Some(to) };
        let answer = client.seek_consumer(request).await.map_err(|status| refused(&status))?.into_inner();
        show(&self.reader, answer.consumer)
    }
}

fn show(reader: &Reader, consumer: Option<Consumer>) -> anyhow::Result<()> {
    let consumer = consumer.unwrap_or_default();
    match reader.output {
        Format::Json => print_json("Consumer", &consumer),
        Format::Table => print(consumers_table(std::slice::from_ref(&consumer))),
    }
}

fn consumers_table(consumers: &[Consumer]) -> comfy_table::Table {
    let mut lines = table(["consumer", "cursor", "behind since", "out", "waiting", "dead letters", "filter", "state"]);
    for consumer in consumers {
        lines.add_row(row([
            consumer.name.clone(),
            consumer.cursor.clone(),
            shown(consumer.behind_since_time.as_ref()),
            format!("{} of {}", consumer.in_flight, consumer.max_in_flight),
            consumer.waiting.to_string(),
            consumer.dead_letters.to_string(),
            or_dash(&consumer.filter),
            if consumer.paused { "paused" } else { "open" }.to_owned(),
        ]));
    }
    lines
}
