//! `store`: what an operator does with the database itself, without asking the service: numbers, a backup, room given
//! back, and a head that is moved on after a restore.

mod show;

use std::{path::PathBuf, process::ExitCode};

use calbridge_process::{Database, environment};
use calbridge_service::store::{
    HEAD_STEP,
    maintain::{self, Advanced, Backup, Programs, Vacuumed},
};
use clap::{Args, Subcommand};
use secrecy::SecretString;
use serde_json::json;
use tokio::{
    select,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use crate::output::{Format, plain, print, print_value};

/// `calbridge store`.
#[derive(Args)]
pub(crate) struct Store {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
#[allow(clippy::doc_markdown, reason = "these comments are the help text of a terminal")]
enum Command {
    /// Show how many rows there are and what room they take
    Stats(Stats),
    /// Copy the store as it is now into a file, beside a running service
    Backup(BackUp),
    /// Give the room of removed rows back; a SQLite file must not be in use
    Vacuum(Vacuum),
    /// Move positions on after a restore, beyond those that were handed out before; a SQLite file must not be in use
    AdvanceHead(AdvanceHead),
}

/// Which store, and how to print.
#[derive(Args)]
struct Place {
    /// The store [default: sqlite://DATA_DIR/calbridge.db]
    #[arg(long, env = "CALBRIDGE_DATABASE_URL", value_name = "sqlite://…|postgres://…", hide_env_values = true)]
    #[allow(clippy::doc_markdown, rustdoc::bare_urls, reason = "this comment is the help text of a terminal")]
    database_url: Option<SecretString>,
    /// Where data lies [default: the platform's data directory]
    #[arg(long, env = "CALBRIDGE_DATA_DIR", value_name = "PATH")]
    data_dir: Option<PathBuf>,
    /// The config file; of it only `database_url` and `data_dir` count here
    #[arg(long, env = "CALBRIDGE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

#[derive(Args)]
struct Stats {
    /// Count every row, and measure every table of a SQLite file; reads all of it
    #[arg(long)]
    #[allow(clippy::doc_markdown, reason = "this comment is the help text of a terminal")]
    exact: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
struct BackUp {
    /// The file to make; it must not be there yet
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// The `pg_dump` to use [default: the first on PATH, or of Debian's, that is not older than the server]
    #[arg(long, value_name = "PATH")]
    pg_dump: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
struct Vacuum {
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
struct AdvanceHead {
    /// By how many positions
    #[arg(long, value_name = "COUNT", default_value_t = HEAD_STEP)]
    by: u64,
    #[command(flatten)]
    place: Place,
}

impl Store {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Stats(command) => command.run().await?,
            Command::Backup(command) => command.run().await?,
            Command::Vacuum(command) => command.run().await?,
            Command::AdvanceHead(command) => command.run().await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Place {
    /// The database, and how to print what comes of it.
    fn read(self) -> anyhow::Result<(Database, Format)> {
        Ok((calbridge_process::store(self.data_dir, self.database_url, self.config)?, self.output))
    }
}

impl Stats {
    async fn run(self) -> anyhow::Result<()> {
        let (database, output) = self.place.read()?;
        let stats = maintain::stats(&database, self.exact).await?;
        match output {
            Format::Json => print_value(&show::as_json(&stats)),
            Format::Table => show::as_tables(&stats),
        }
    }
}

impl BackUp {
    async fn run(self) -> anyhow::Result<()> {
        let (database, output) = self.place.read()?;
        let search = environment("PATH").unwrap_or_default();
        let programs = Programs { named: self.pg_dump.as_deref(), search: &search };
        let stop = CancellationToken::new();
        let backup = maintain::backup(&database, &self.to, programs, &stop);
        let Backup { head, bytes } = until_stopped(backup, &stop).await?;
        let (to, head) = (self.to.display().to_string(), head.to_token());
        match output {
            Format::Json => print_value(&json!({ "file": to, "bytes": bytes, "position": head })),
            Format::Table => print(format_args!("{}: {bytes} bytes, everything up to position {head}", plain(&to))),
        }
    }
}

impl Vacuum {
    async fn run(self) -> anyhow::Result<()> {
        let (database, output) = self.place.read()?;
        let Vacuumed { before, after } = maintain::vacuum(&database).await?;
        match output {
            Format::Json => print_value(&json!({ "bytes_before": before, "bytes_after": after })),
            Format::Table => print(format_args!("{before} bytes before, {after} bytes after")),
        }
    }
}

impl AdvanceHead {
    async fn run(self) -> anyhow::Result<()> {
        let (database, output) = self.place.read()?;
        let Advanced { from, to } = maintain::advance_head(&database, self.by).await?;
        let (from, to) = (from.to_token(), to.to_token());
        match output {
            Format::Json => print_value(&json!({ "position_before": from, "position_after": to })),
            Format::Table => print(format_args!("the head was at {from} and is at {to}")),
        }
    }
}

/// Runs work to its end, which SIGINT and SIGTERM make an early and clean one.
async fn until_stopped<T, E: Into<anyhow::Error>>(
    work: impl Future<Output = Result<T, E>>,
    stop: &CancellationToken,
) -> anyhow::Result<T> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut work = std::pin::pin!(work);
    select! {
        done = &mut work => return done.map_err(Into::into),
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    stop.cancel();
    work.await.map_err(Into::into)
}
