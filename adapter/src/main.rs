//! `calbridge-adapter`: the HTTP edge as a process of its own, beside a `calbridge-service` elsewhere.

use std::process::ExitCode;

use calbridge_adapter::Settings;
use calbridge_process::{Config, Options, Process, Program, announce, arguments, listen};
use calbridge_telemetry::admin;
use clap::Parser;
use tokio_util::sync::CancellationToken;

// Every request allocates and frees on whichever thread serves it: what the system's allocator is slowest at.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Takes Cal.com's webhooks in and hands them to the booking service.
#[derive(Parser)]
#[command(name = "calbridge-adapter", version)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    calbridge_process::start(Program::Adapter, arguments::<Arguments>().options, run)
}

async fn run(config: Config, process: Process) -> anyhow::Result<()> {
    let http = listen("--http", &config.http).await?;
    let address = http.local_addr()?;
    calbridge_adapter::check_exposure(&config, address)?;
    let admin = listen("--admin", &config.admin).await?;
    let admin_address = admin.local_addr()?;

    // The admin listener outlives the drain, so that `/readyz` can say so.
    let admin_stop = CancellationToken::new();
    let page = admin::serve(admin, process.readiness.clone(), process.metrics, admin_stop.clone());
    let page = tokio::spawn(page);
    announce(&[("http", address), ("admin", admin_address)]);
    let settings = Settings::reloading(&config, process.environment);
    let served = calbridge_adapter::run(settings, http, process.readiness, process.shutdown).await;
    admin_stop.cancel();
    page.await?;
    Ok(served?)
}
