//! `deadletter`: what consumers gave up on.

use calbridge_proto::v1::{
    DeadLetter, DeleteDeadLettersRequest, DeleteDeadLettersResponse, ListDeadLettersRequest, ListDeadLettersResponse,
    ReplayDeadLettersRequest, ReplayDeadLettersResponse,
};
use clap::{Args, Subcommand};

use crate::{
    client::{Consumers, MAX_PAGES, PAGE_SIZE, Reader, refused},
    output::{Format, or_dash, print, print_json, report, row, table},
    time::shown,
    timeline::change,
};

/// The service takes so many in one command.
const COMMAND_LETTERS: usize = 1000;

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
    /// What is there when it begins, and nothing else: a client that gives up on an entry again at once is not raced.
    async fn run(self, replays: bool) -> anyhow::Result<()> {
        let mut client = self.reader.connect_to_consumers().await?;
        let mut positions = self.positions;
        if self.all {
            let letters =
                |letters: Vec<DeadLetter>| positions.extend(letters.into_iter().map(|letter| letter.position));
            each_page(&mut client, &self.reader, &self.name, letters).await?;
        }
        let mut all = 0;
        for positions in positions.chunks(COMMAND_LETTERS) {
            let (tenant, consumer, positions) = (self.reader.tenant(), self.name.clone(), positions.to_vec());
            all += if replays {
                let request = ReplayDeadLettersRequest { tenant, consumer, positions };
                let answer = client.replay_dead_letters(request).await.map_err(|status| refused(&status))?;
                answer.into_inner().replayed
            } else {
                let request = DeleteDeadLettersRequest { tenant, consumer, positions };
                let answer = client.delete_dead_letters(request).await.map_err(|status| refused(&status))?;
                answer.into_inner().deleted
            };
        }
        match (self.reader.output, replays) {
            (Format::Json, true) => {
                print_json("ReplayDeadLettersResponse", &ReplayDeadLettersResponse { replayed: all })?;
            }
            (Format::Json, false) => {
                print_json("DeleteDeadLettersResponse", &DeleteDeadLettersResponse { deleted: all })?;
            }
            (Format::Table, true) => print(format_args!("{all} dead letters go out again"))?,
            (Format::Table, false) => print(format_args!("{all} dead letters deleted"))?,
        }
        let left = positions.len().saturating_sub(usize::try_from(all).unwrap_or(0));
        if replays && left > 0 {
            report(format_args!("{left} do not: they are none any more, or wait for room; run it again for those"));
        }
        Ok(())
    }
}

impl Named {
    async fn run(self) -> anyhow::Result<()> {
        let mut client = self.reader.connect_to_consumers().await?;
        let mut listed = ListDeadLettersResponse::default();
        each_page(&mut client, &self.reader, &self.name, |letters| listed.dead_letters.extend(letters)).await?;
        match self.reader.output {
            Format::Json => print_json("ListDeadLettersResponse", &listed),
            Format::Table => print(letters_table(&listed.dead_letters)),
        }
    }
}

/// Hands on a consumer's dead letters, page by page, oldest first.
async fn each_page(
    client: &mut Consumers,
    reader: &Reader,
    consumer: &str,
    mut each: impl FnMut(Vec<DeadLetter>),
) -> anyhow::Result<()> {
    let mut page_token = String::new();
    for _ in 0..MAX_PAGES {
        let (tenant, consumer) = (reader.tenant(), consumer.to_owned());
        let request = ListDeadLettersRequest { tenant, consumer, page_size: PAGE_SIZE, page_token };
        let page = client.list_dead_letters(request).await.map_err(|status| refused(&status))?.into_inner();
        each(page.dead_letters);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(())
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
