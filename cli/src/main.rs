//! The `calbridge` program: runs everything on one machine (`up`), plays Cal.com (`send`), reads what is known (`get`,
//! `list`, `lineage`, `timeline`), folds it again (`replay`), looks after the spool (`spool`), the quarantine
//! (`quarantine`) and the store (`store`), and makes tokens (`token`).

mod client;
mod consumer;
mod deadletter;
mod demo;
mod output;
mod quarantine;
mod read;
mod replay;
mod send;
mod spool;
mod store;
mod tail;
mod time;
mod timeline;
mod token;
mod up;
mod webhook;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use calbridge_process::{arguments, exit_code};
use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The booking backbone for people who run on Cal.com
#[derive(Parser)]
#[command(name = "calbridge", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run adapter and service in one process
    Up(Box<up::Arguments>),
    /// Sign a golden Cal.com webhook, post it, and print the answer
    Send(Box<send::Arguments>),
    /// Show one booking
    Get(read::Get),
    /// List a tenant's bookings
    List(read::List),
    /// Show the bookings that replaced one another, oldest first
    Lineage(read::Lineage),
    /// Show everything that spoke of a booking, and what it changed
    Timeline(timeline::Timeline),
    /// Follow the log: show each change as it is committed
    Tail(tail::Tail),
    /// Make and keep durable consumers of the log
    Consumer(consumer::ConsumerCommand),
    /// Look at what consumers gave up on, hand it out again, or forget it
    Deadletter(deadletter::DeadLetterCommand),
    /// Type and merge kept webhooks again, or check what that would change
    Replay(replay::Replay),
    /// Look at what waits on an adapter's disk, or send it on
    Spool(spool::Spool),
    /// Look at what an adapter refused for its signature, and admit what verifies by now
    Quarantine(quarantine::Quarantine),
    /// Look at the store, back it up, give room back
    Store(store::Store),
    /// Make a token for a caller of the service, and the hash of it for the config file
    Token(token::Token),
}

fn main() -> ExitCode {
    let command = match arguments::<Arguments>().command {
        Command::Up(arguments) => return up::main(*arguments),
        command => command,
    };
    match client_runtime().and_then(|runtime| runtime.block_on(run(command))) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "calbridge: {error:#}");
            exit_code(&error)
        }
    }
}

fn client_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(_) => anyhow::bail!("up runs in a frame of its own"),
        Command::Send(arguments) => send::run(*arguments).await,
        Command::Get(arguments) => arguments.run().await.map(|()| ExitCode::SUCCESS),
        Command::List(arguments) => arguments.run().await.map(|()| ExitCode::SUCCESS),
        Command::Lineage(arguments) => arguments.run().await.map(|()| ExitCode::SUCCESS),
        Command::Timeline(arguments) => arguments.run().await.map(|()| ExitCode::SUCCESS),
        Command::Tail(arguments) => arguments.run().await.map(|()| ExitCode::SUCCESS),
        Command::Consumer(arguments) => arguments.run().await.map(|()| ExitCode::SUCCESS),
        Command::Deadletter(arguments) => arguments.run().await.map(|()| ExitCode::SUCCESS),
        Command::Replay(arguments) => arguments.run().await,
        Command::Spool(arguments) => arguments.run().await,
        Command::Quarantine(arguments) => arguments.run().await,
        Command::Store(arguments) => arguments.run().await,
        Command::Token(arguments) => arguments.run().map(|()| ExitCode::SUCCESS),
    }
}
