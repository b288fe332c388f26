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

    // The admin listener is there before the store, which may take its time (a server that is silent, a new schema),
    // and outlives the drain: `/readyz` says so.
    let admin_stop = CancellationToken::new();
    let page = tokio::spawn(admin::serve(admin, process.readiness.clone(), process.metrics, admin_stop.clone()));
    let _named_at_once = process.readiness.check("store");
    let served = async {
        let Some(service) = Service::open_until(Settings::from(&config), &process.shutdown).await? else {
            return Ok(());
        };
        announce(&[("grpc", address), ("admin", admin_address)]);
        service.serve(grpc, process.readiness, process.shutdown).await
    };
    let served = served.await;
    admin_stop.cancel();
    page.await?;
    Ok(served?)
}
