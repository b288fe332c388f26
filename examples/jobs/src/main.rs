//! `jobs`: a job for each booking, tenant by tenant, for whoever plans the day.
//!
//! The small example of a service on calbridge's log: a table, a transaction for each transition, a consumer for each
//! tenant, and nothing that remembers what came before.

mod board;

use std::{
    io::Write as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, anyhow};
use calbridge_client::{
    Access, Consume, Handler, Notice, Settled,
    v1::{Consumer, DeadLetterPolicy, consume_response::Item},
};
use clap::{Args, Parser, Subcommand};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};

use self::board::Board;

/// Keeps a job for each booking, tenant by tenant.
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
    /// Print the jobs: tenant, Cal.com's uid, status, start, title, and which job took its place
    List(Database),
}

#[derive(Args)]
struct Database {
    /// The file of jobs; made where it is not there
    #[arg(long, default_value = "jobs.db", value_name = "FILE")]
    database: PathBuf,
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
    /// The file of the token that is shown to the service; it needs the scopes consume and, for titles, read.pii
    #[arg(long, value_name = "FILE")]
    service_token_file: Option<PathBuf>,
    /// Whose bookings; may be said several times
    #[arg(long = "tenant", default_value = "default", value_name = "TENANT")]
    tenants: Vec<String>,
    /// The durable consumer of each tenant; made where it is not there
    #[arg(long, default_value = "jobs", value_name = "NAME")]
    consumer: String,
    #[command(flatten)]
    database: Database,
}

/// Works off one tenant's consumer.
struct Jobs {
    tenant: String,
    board: Arc<Mutex<Board>>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.command {
        None => tokio::runtime::Runtime::new()?.block_on(arguments.run.run()),
        Some(Command::List(database)) => {
            let lines: String = database.open()?.list()?.into_iter().map(|line| line + "\n").collect();
            std::io::stdout().write_all(lines.as_bytes()).context("stdout is closed")
        }
    }
}

impl Database {
    fn open(&self) -> anyhow::Result<Board> {
        Board::open(&self.database).with_context(|| self.database.display().to_string())
    }
}

impl Run {
    async fn run(self) -> anyhow::Result<()> {
        let read = |file: &PathBuf| std::fs::read_to_string(file).with_context(|| file.display().to_string());
        let access = Access {
            service: self.service.clone(),
            authority: self.service_ca.as_ref().map(read).transpose()?,
            token: self.service_token_file.as_ref().map(read).transpose()?,
        };
        let connection = access.connection()?;
        let board = Arc::new(Mutex::new(self.database.open()?));
        let (stop, stopped) = watch::channel(false);
        let mut tenants = JoinSet::new();
        for tenant in self.tenants {
            // A booking's next transition must not pass one that was given up on: its replay would overwrite it.
            let choices = Consumer { dead_letter_policy: DeadLetterPolicy::Block.into(), ..Consumer::default() };
            let consume = Consume::new(connection.clone(), &tenant, &self.consumer).made_with(choices);
            let jobs = Jobs { tenant, board: Arc::clone(&board) };
            let mut stopped = stopped.clone();
            tenants.spawn(async move {
                // An end of the sender is a stop as well.
                let stop = async { drop(stopped.wait_for(|stop| *stop).await) };
                let ended = consume.run(&jobs, stop).await;
                ended.map_err(|status| anyhow!("tenant {}: {}", jobs.tenant, status.message()))
            });
        }
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut first = Ok(());
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                ended = tenants.join_next() => match ended {
                    None => return first,
                    // One that can't go on is worth a restart of all: somebody looks then.
                    Some(ended) => first = first.and(ended.map_err(anyhow::Error::from).flatten()),
                },
            }
            stop.send_replace(true);
        }
    }
}

impl Handler for Jobs {
    async fn handle(&self, item: Item) -> Settled {
        let Some(made) = item.transition else { return Settled::Skip };
        let board = Arc::clone(&self.board);
        let write = move || board.lock().unwrap_or_else(PoisonError::into_inner).take(&made);
        match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) => Settled::Ack,
            // Without its message, which may repeat what is in the database.
            Ok(Err(why)) => Settled::retry(format!("the database can't be written now: {:?}", why.sqlite_error_code())),
            Err(_) => Settled::retry("the writing broke off"),
        }
    }

    fn notice(&self, notice: Notice) {
        let what = match notice {
            Notice::Opened => "working off the consumer".to_owned(),
            Notice::Interrupted { status, pause } => format!("{}; going on in {pause:?}", status.message()),
            Notice::Paused { pause } => format!("the consumer is paused; asking again in {pause:?}"),
            _ => return,
        };
        // Nobody may be there to read it.
        let _ = writeln!(std::io::stderr(), "{}: {what}", self.tenant);
    }
}
