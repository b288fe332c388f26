//! `deadletter`: what consumers gave up on.

use calbridge_proto::v1::{
    DeadLetter, DeleteDeadLettersRequest, ListDeadLettersRequest, ListDeadLettersResponse, ReplayDeadLettersRequest,
};
use clap::{Args, Subcommand};

use crate::{
    client::{Consumers, MAX_PAGES, PAGE_SIZE, Reader, refused},
    output::{Format, or_dash, print, print_json, row, table},
    time::shown,
    timeline::change,
};

/// `calbridge deadletter`.
#[derive(Args)]
pub(crate) struct DeadLetterCommand {
    #[command(subcommand)]
    what: Letters,
}

#[derive(Subcommand)]
enum Letters {
    /// List what a consumer gave up on, oldest first
    List(Named),
    /// Hand dead letters out again
    Replay(Chosen),
    /// Forget dead letters
    Delete(Chosen),
}

#[derive(Args)]
struct Chosen {
    /// The consumer
    name: String,
    /// By their positions
    #[arg(required_unless_present = "all", value_name = "POSITION")]
    positions: Vec<String>,
    /// All of them
    #[arg(long, conflicts_with = "positions")]
    all: bool,
    #[command(flatten)]
    reader: Reader,
}

#[derive(Args)]
struct Named {
    /// The consumer
    name: String,
    #[command(flatten)]
    reader: Reader,
}

impl DeadLetterCommand {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self.what {
            Letters::List(of) => of.run().await,
            Letters::Replay(of) => of.run(true).await,
            Letters::Delete(of) => of.run(false).await,
        }
    }
}

impl Chosen {
    /// A command of the service takes a thousand at the most, so all of many need several.
    async fn run(self, replays: bool) -> anyhow::Result<()> {
        let mut client = self.reader.connect_to_consumers().await?;
        let mut all = 0;
        for _ in 0..MAX_PAGES {
            let count = self.step(&mut client, replays).await?;
            all += count;
            if count == 0 || !self.all {
                break;
            }
        }
        print(format_args!("{all} dead letters {}", if replays { "go out again" } else { "deleted" }))
    }

    async fn step(&self, client: &mut Consumers, replays: bool) -> anyhow::Result<i32> {
        let (tenant, consumer, positions) = (self.reader.tenant(), self.name.clone(), self.positions.clone());
        if replays {
            let request = ReplayDeadLettersRequest { tenant, consumer, positions };
            let answer = client.replay_dead_letters(request).await.map_err(|status| refused(&status))?;
            return Ok(answer.into_inner().replayed);
        }
        let request = DeleteDeadLettersRequest { tenant, consumer, positions };
        let answer = client.delete_dead_letters(request).await.map_err(|status| refused(&status))?;
        Ok(answer.into_inner().deleted)
    }
}

impl Named {
    async fn run(self) -> anyhow::Result<()> {
        let mut client = self.reader.connect_to_consumers().await?;
        let mut listed = ListDeadLettersResponse::default();
        for _ in 0..MAX_PAGES {
            let request = ListDeadLettersRequest {
                tenant: self.reader.tenant(),
                consumer: self.name.clone(),
                page_size: PAGE_SIZE,
                page_token: listed.next_page_token,
            };
            let page = client.list_dead_letters(request).await.map_err(|status| refused(&status))?.into_inner();
            listed.dead_letters.extend(page.dead_letters);
            listed.next_page_token = page.next_page_token;
            if listed.next_page_token.is_empty() {
                break;
            }
        }
        match self.reader.output {
            Format::Json => print_json("ListDeadLettersResponse", &listed),
            Format::Table => print(letters_table(&listed.dead_letters)),
        }
    }
}

fn letters_table(letters: &[DeadLetter]) -> comfy_table::Table {
    let mut lines = table(["position", "given up", "deliveries", "uid", "what", "reason"]);
    for letter in letters {
        let (uid, what) = match (&letter.transition, &letter.recorded) {
            (Some(made), _) => (made.uid.clone(), change(made)),
            (None, Some(recorded)) => {
                let delivery = recorded.delivery.clone().unwrap_or_default();
                (or_dash(&delivery.booking_uid), format!("recorded: {}", delivery.trigger_name))
            }
            (None, None) => (or_dash(""), or_dash("")),
        };
        lines.add_row(row([
            letter.position.clone(),
            shown(letter.create_time.as_ref()),
            letter.delivery_count.to_string(),
            uid,
            what,
            or_dash(&letter.reason),
        ]));
    }
    lines
}
