//! `calbridge up`: adapter and service in one process, over a real loopback gRPC connection.
//!
//! The adapter stops first and finishes what it accepted; only then does the service stop.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
};

use anyhow::Context as _;
use calbridge_process::{Config, Database, Options, Process, Program, announce, environment, listen, start_with};
use calbridge_telemetry::admin;
use clap::Args;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{client, demo, output::print, time};

/// How many webhook URLs are printed; an installation with more tenants knows how they are formed.
const SHOWN_TENANTS: usize = 10;

/// Options of `calbridge up`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Also send the life of a booking through the own HTTP edge, and show what became of it
    #[arg(long)]
    demo: bool,
    #[command(flatten)]
    options: Options,
}

pub(crate) fn main(arguments: Arguments) -> ExitCode {
    let demo = arguments.demo;
    let secret = Uuid::new_v4().to_string();
    // A demo needs no Cal.com, so it needs no secret of the operator's either.
    let with_own_secret =
        |name: &str| environment(name).or_else(|| (demo && name == "CALCOM_WEBHOOK_SECRET").then(|| secret.clone()));
    start_with(Program::Up, arguments.options, &with_own_secret, async |config, process| {
        run(config, process, demo).await
    })
}

async fn run(config: Config, process: Process, demo: bool) -> anyhow::Result<()> {
    let grpc = listen("--grpc", &config.grpc).await?;
    let http = listen("--http", &config.http).await?;
    let admin = listen("--admin", &config.admin).await?;
    let at = Addresses { grpc: grpc.local_addr()?, http: http.local_addr()?, admin: admin.local_addr()? };
    calbridge_service::check_exposure(&config, at.grpc)?;
    calbridge_adapter::check_exposure(&config, at.http)?;

    let readiness = process.readiness.clone();
    // Named before either part starts, so that one of them alone does not count as everything.
    let _parts = [readiness.check("store"), readiness.check("service")];
    let stop_admin = CancellationToken::new();
    let admin = tokio::spawn(admin::serve(admin, readiness.clone(), process.metrics.clone(), stop_admin.clone()));
    let stop_service = CancellationToken::new();
    let service = calbridge_service::run((&config).into(), grpc, readiness.clone(), stop_service.clone());
    let mut service = tokio::spawn(async { service.await.map_err(anyhow::Error::from) });
    let stop_adapter = process.shutdown.child_token();
    let to_own_service = Config { service: format!("http://{}", reachable(at.grpc)), ..config.clone() };
    let adapter = calbridge_adapter::run((&to_own_service).into(), http, readiness, stop_adapter.clone());
    let mut adapter = tokio::spawn(async { adapter.await.map_err(anyhow::Error::from) });

    // Whoever ends without being told to takes the others along.
    let (service_ended, adapter_ended, greeting) = tokio::select! {
        ended = &mut service => (Some(ended), None, Ok(())),
        ended = &mut adapter => (None, Some(ended), Ok(())),
        failed = greet(&config, &process, at, demo) => (None, None, failed),
    };
    stop_adapter.cancel();
    let adapter = ended(
        "adapter",
        match adapter_ended {
            Some(ended) => ended,
            None => adapter.await,
        },
    );
    stop_service.cancel();
    let service = ended(
        "service",
        match service_ended {
            Some(ended) => ended,
            None => service.await,
        },
    );
    stop_admin.cancel();
    admin.await?;
    service.and(adapter).and(greeting)
}

/// Where the parts listen, after the kernel has picked the ports that were left to it.
#[derive(Clone, Copy)]
struct Addresses {
    http: SocketAddr,
    grpc: SocketAddr,
    admin: SocketAddr,
}

/// Waits until everything serves, says so, plays the demo, and then waits for the end.
async fn greet(config: &Config, process: &Process, at: Addresses, demo: bool) -> anyhow::Result<()> {
    tokio::select! {
        () = process.readiness.wait_ready() => {}
        () = process.shutdown.cancelled() => return Ok(()),
    }
    announce(&[("http", at.http), ("grpc", at.grpc), ("admin", at.admin)])?;
    say_where(config, process, at)?;
    if demo {
        tokio::select! {
            played = play(config, at) => played?,
            () = process.shutdown.cancelled() => return Ok(()),
        }
    }
    process.shutdown.cancelled().await;
    Ok(())
}

fn say_where(config: &Config, process: &Process, at: Addresses) -> anyhow::Result<()> {
    for tenant in config.tenants.keys().take(SHOWN_TENANTS) {
        print(format_args!("webhook URL of tenant {tenant}: http://{}/webhooks/calcom/{tenant}", at.http))?;
    }
    if let Some(more @ 1..) = config.tenants.len().checked_sub(SHOWN_TENANTS) {
        print(format_args!("and {more} more tenants, each under its own name"))?;
    }
    let Database::Sqlite(path) = &config.database;
    print(format_args!("data: {}", path.display()))?;
    let hint = if config.redis.is_some() { "Redis" } else { "a cache in this process" };
    print(format_args!("dedupe hint: {hint}"))?;
    match &process.export_target {
        Some(target) => print(format_args!("telemetry: sent to {target}")),
        None => print("telemetry: not sent anywhere; set OTEL_EXPORTER_OTLP_ENDPOINT to send it"),
    }
}

async fn play(config: &Config, at: Addresses) -> anyhow::Result<()> {
    let secret = config.tenants.get(demo::TENANT).and_then(|tenant| tenant.secrets.first());
    let secret = secret.with_context(|| format!("the demo needs a tenant {} with a secret", demo::TENANT))?;
    let url = format!("http://{}/webhooks/calcom/{}", reachable(at.http), demo::TENANT).parse()?;
    let mut client = client::connect(&format!("http://{}", reachable(at.grpc))).await?;
    demo::run(&url, &secret.value, &mut client, time::now()).await?;
    print("\nserving until Ctrl-C")
}

/// An address that this machine can connect to: a listener on every address is reached by loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// What became of a part; a panic in it is an error like any other.
fn ended(part: &str, result: Result<anyhow::Result<()>, JoinError>) -> anyhow::Result<()> {
    result.map_err(anyhow::Error::from).flatten().with_context(|| format!("the {part} has stopped"))
}
