//! `calbridge-service`: the booking service as a process of its own, for adapters elsewhere.

use std::process::ExitCode;

use anyhow::Context as _;
use calbridge_process::{Config, Options, Process, Program, announce, loopback_or};
use calbridge_service::{Service, Settings};
use calbridge_telemetry::admin;
use clap::Parser;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

// Every event allocates on one thread and frees on another: what the system's allocator is slowest at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Keeps Cal.com's webhooks and answers what is known of the bookings.
#[derive(Parser)]
#[command(name = "calbridge-service", version)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    calbridge_process::start(Program::Service, Arguments::parse().options, run)
}

async fn run(config: Config, process: Process) -> anyhow::Result<()> {
    let grpc = bind("--grpc", &config.grpc).await?;
    let address = grpc.local_addr()?;
    loopback_or(config.insecure, "--grpc", address, "say --insecure where only trusted machines can reach it")?;
    let admin = bind("--admin", &config.admin).await?;
    let admin_address = admin.local_addr()?;
    let service = Service::open(Settings::from(&config)).await?;

    // The admin listener outlives the drain, so that `/readyz` can say so.
    let admin_stop = CancellationToken::new();
    let page = tokio::spawn(admin::serve(admin, process.readiness.clone(), process.metrics, admin_stop.clone()));
    announce(&[("grpc", address), ("admin", admin_address)])?;
    let served = service.serve(grpc, process.readiness, process.shutdown).await;
    admin_stop.cancel();
    page.await?;
    Ok(served?)
}

async fn bind(flag: &str, address: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{flag} {address} can't be listened on"))
}
