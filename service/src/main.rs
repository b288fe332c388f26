//! `calbridge-service`: the booking service as a process of its own, for adapters elsewhere.

use std::process::ExitCode;

use calbridge_process::{Config, Options, Process, Program, announce, arguments, listen};
use calbridge_service::{Service, Settings};
use calbridge_telemetry::admin;
use clap::Parser;
use tokio_util::sync::CancellationToken;

// Every event allocates on one thread and frees on another: what the system's allocator is slowest at.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Keeps Cal.com's webhooks and answers what is known of the bookings.
#[derive(Parser)]
#[command(name = "calbridge-service", version)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    calbridge_process::start(Program::Service, arguments::<Arguments>().options, run)
}

async fn run(config: Config, process: Process) -> anyhow::Result<()> {
    let grpc = listen("--grpc", &config.grpc).await?;
    let address = grpc.local_addr()?;
    calbridge_service::check_exposure(&config, address)?;
    calbridge_service::check_redis(&config)?;
    calbridge_service::check_database(&config)?;
    let admin = listen("--admin", &config.admin).await?;
    let admin_address = admin.local_addr()?;
    let service = Service::open(Settings::from(&config)).await?;

    // The admin listener outlives the drain, so that `/readyz` can say so.
    let admin_stop = CancellationToken::new();
    let page = tokio::spawn(admin::serve(admin, process.readiness.clone(), process.metrics, admin_stop.clone()));
    announce(&[("grpc", address), ("admin", admin_address)]);
    let served = service.serve(grpc, process.readiness, process.shutdown).await;
    admin_stop.cancel();
    page.await?;
    Ok(served?)
}
