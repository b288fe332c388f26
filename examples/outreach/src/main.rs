//! `outreach`: works off a consumer until it is told to stop; `seed` and `show` are there to try it with.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail};
use calbridge_client::{Access, Consume, reason};
use calbridge_example_outreach::{
    handler::{Outreach, choices},
    pipeline::Pipeline,
    seed::{self, Seed},
    show,
};
use clap::{Args, Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

/// A sales outreach pipeline that lives on calbridge's log.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Subcommand)]
enum Command {
    /// Write a prospect, a contact and a sequence of three steps
    Seed(SeedArguments),
    /// Show what a booking has made of the pipeline
    Show(ShowArguments),
}

#[derive(Args)]
struct Database {
    /// The pipeline's file; made where it is not there
    #[arg(long, default_value = "outreach.db", value_name = "FILE")]
    database: PathBuf,
    /// Whose bookings
    #[arg(long, default_value = "default", value_name = "TENANT")]
    tenant: String,
}

#[derive(Args)]
struct Run {
    /// The booking service
    #[arg(long, default_value = "http://127.0.0.1:50051", value_name = "http://HOST:PORT")]
    service: String,
    /// Who vouches for a service at https://, in PEM form [default: the public authorities]
    #[arg(long, value_name = "FILE")]
    #[allow(rustdoc::bare_urls, reason = "this comment is the help text of a terminal")]
    service_ca: Option<PathBuf>,
    /// The file of the token that is shown to the service; it needs the scopes consume and read.pii
    #[arg(long, value_name = "FILE")]
    service_token_file: Option<PathBuf>,
    /// The durable consumer; made where it is not there
    #[arg(long, default_value = "outreach", value_name = "NAME")]
    consumer: String,
    #[command(flatten)]
    database: Database,
}

#[derive(Args)]
struct SeedArguments {
    /// The sequence: metadata.outreachSequenceId of a booking
    #[arg(long, default_value = "s-17", value_name = "ID")]
    sequence: String,
    /// The contact: metadata.contactId of a booking
    #[arg(long, default_value = "c-9", value_name = "ID")]
    contact: String,
    /// Whom the contact is of
    #[arg(long, default_value = "lighthouse", value_name = "ID")]
    prospect: String,
    /// The contact's address
    #[arg(long, default_value = "tomas@lighthouse.example", value_name = "ADDRESS")]
    email: String,
    /// The contact's name
    #[arg(long, default_value = "Tomas Okafor", value_name = "NAME")]
    name: String,
    #[command(flatten)]
    database: Database,
}

#[derive(Args)]
struct ShowArguments {
    /// The booking
    uid: String,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
    #[command(flatten)]
    database: Database,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.command {
        None => tokio::runtime::Runtime::new()?.block_on(arguments.run.run()),
        Some(Command::Seed(seed)) => seed.run(),
        Some(Command::Show(show)) => show.run(),
    }
}

impl Database {
    fn open(&self) -> anyhow::Result<Pipeline> {
        Pipeline::open(&self.database, &self.tenant).with_context(|| self.database.display().to_string())
    }
}

impl Run {
    async fn run(self) -> anyhow::Result<()> {
        let access = Access {
            service: self.service.clone(),
            authority: self.service_ca.as_deref().map(read).transpose()?,
            token: self.service_token_file.as_deref().map(read).transpose()?,
        };
        let handler = Outreach::new(self.database.open()?);
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let consume = Consume::new(access.connection()?, &self.database.tenant, &self.consumer).made_with(choices());
        consume.run(&handler, stop).await.map_err(|status| match reason(&status) {
            Some(reason) => anyhow!("{} ({reason})", status.message()),
            None => anyhow!("{}", status.message()),
        })
    }
}

impl SeedArguments {
    fn run(self) -> anyhow::Result<()> {
        let Self { sequence, contact, prospect, email, name, database } = self;
        seed::seed(&mut database.open()?, &Seed { sequence, contact, prospect, email, name })?;
        Ok(())
    }
}

impl ShowArguments {
    fn run(self) -> anyhow::Result<()> {
        let Some(states) = show::states(&mut self.database.open()?, &self.uid)? else {
            bail!("no transition of {} was heard", self.uid);
        };
        let shown = if self.output == Format::Json { format!("{states:#}\n") } else { show::table(&states) };
        std::io::stdout().write_all(shown.as_bytes()).context("stdout is closed")
    }
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| file.display().to_string())
}
