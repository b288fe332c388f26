//! `calbridge up`: adapter and service in one process, over a real loopback gRPC connection.
//!
//! The adapter stops first and finishes what it accepted; only then does the service stop.

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use calbridge_process::{
    Access, Config, Database, Options, Principal, Process, Program, Scope, Tenants, Token, announce, environment,
    listen, new_token, start_with,
    tls::{ClientFiles, Trust},
    token_sha256,
};
use calbridge_telemetry::admin;
use clap::Args;
use secrecy::ExposeSecret as _;
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{client, demo, output::say, time};

/// How many webhook URLs are printed; an installation with more tenants knows how they are formed.
const SHOWN_TENANTS: usize = 10;

/// As its own service's log names this process. No configured principal has it: it has an upper-case letter.
const OWN_NAME: &str = "calbridge.Up";

/// For the adapter's stream to end after its grace.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// For a round that is being committed when the adapter has used the grace up.
const LAST_COMMIT: Duration = Duration::from_secs(1);

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
    let with_own_secret = move |name: &str| {
        let said = environment(name).filter(|value| !value.is_empty());
        said.or_else(|| (demo && name == "CALCOM_WEBHOOK_SECRET").then(|| secret.clone()))
    };
    start_with(Program::Up, arguments.options, Arc::new(with_own_secret), async |config, process| {
        run(config, process, demo).await
    })
}

async fn run(mut config: Config, process: Process, demo: bool) -> anyhow::Result<()> {
    let grpc = listen("--grpc", &config.grpc).await?;
    let http = listen("--http", &config.http).await?;
    let admin = listen("--admin", &config.admin).await?;
    let at = Addresses { grpc: grpc.local_addr()?, http: http.local_addr()?, admin: admin.local_addr()? };
    calbridge_service::check_exposure(&config, at.grpc)?;
    calbridge_service::check_redis(&config)?;
    calbridge_service::check_database(&config)?;
    calbridge_adapter::check_exposure(&config, at.http)?;

    let own = own_service(&mut config, at.grpc, demo)?;
    let readiness = process.readiness.clone();
    // Named before either part starts, so that one of them alone does not count as everything.
    let _parts = [readiness.check("store"), readiness.check("service")];
    let _spool = config.spool.as_ref().map(|_| readiness.check("spool"));
    let stop_admin = CancellationToken::new();
    let admin = tokio::spawn(admin::serve(admin, readiness.clone(), process.metrics.clone(), stop_admin.clone()));
    let service =
        Part::start("service", |stop| calbridge_service::run((&config).into(), grpc, readiness.clone(), stop));
    let to_own_service = Config { services: vec![own.address.clone()], access: own.access.clone(), ..config.clone() };
    let settings = calbridge_adapter::Settings::reloading(&to_own_service, process.environment.clone());
    let adapter = Part::start("adapter", |stop| calbridge_adapter::run(settings, http, readiness, stop));

    // Whoever ends without being told to takes the others along.
    let greeted = tokio::select! {
        () = service.over.cancelled() => Ok(()),
        () = adapter.over.cancelled() => Ok(()),
        greeted = greet(&config, &process, at, &own, demo) => greeted,
    };
    let grace_ends = Instant::now() + config.limits.shutdown_grace;
    let adapter = adapter.stop(grace_ends + LAST_ANSWERS).await;
    let service = service.stop(grace_ends.max(Instant::now() + LAST_COMMIT)).await;
    stop_admin.cancel();
    admin.await?;
    service.and(adapter).and(greeted)
}

/// How this process reaches the service that runs in it.
struct OwnService {
    address: String,
    access: Access,
}

/// Makes this process one of those that its own service knows, where it knows any. The token is made for this run, and
/// nobody else ever hears of it.
fn own_service(config: &mut Config, at: SocketAddr, demo: bool) -> anyhow::Result<OwnService> {
    let mut access = Access::default();
    if !config.principals.is_empty() {
        let token = new_token()?;
        let scopes: &[Scope] = if demo { &[Scope::Ingest, Scope::Read, Scope::ReadPii] } else { &[Scope::Ingest] };
        config.principals.push(Principal {
            name: OWN_NAME.to_owned(),
            token_sha256: vec![token_sha256(token.expose_secret().as_bytes())],
            certificates: Vec::new(),
            // The adapter submits; the demo shows what became of it.
            scopes: scopes.iter().copied().collect(),
            tenants: Tenants::Every,
        });
        access.token = Some(Token::Own(token));
    }
    let scheme = match &config.grpc_tls {
        Some(files) => {
            // Its certificate is for the name by which others know it, not for a loopback address.
            access.tls = ClientFiles { trust: Trust::Exactly(files.certificate.clone()), identity: None };
            "https"
        }
        None => "http",
    };
    Ok(OwnService { address: format!("{scheme}://{}", reachable(at)), access })
}

/// The adapter or the service, as a task of this process.
struct Part {
    name: &'static str,
    stop: CancellationToken,
    /// Cancelled when the task has ended, for whatever reason.
    over: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Part {
    fn start<F, E>(name: &'static str, run: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<anyhow::Error> + Send + 'static,
    {
        let (stop, over) = (CancellationToken::new(), CancellationToken::new());
        let (running, ended) = (run(stop.clone()), over.clone().drop_guard());
        let task = tokio::spawn(async move {
            let result = running.await.map_err(Into::into);
            drop(ended);
            result
        });
        Self { name, stop, over, task }
    }

    /// Tells it to end and waits until it has; past `deadline` it is left behind, for everything that was answered is
    /// on stable storage. A panic in it is an error like any other.
    async fn stop(self, deadline: Instant) -> anyhow::Result<()> {
        self.stop.cancel();
        let result = timeout_at(deadline, self.task).await.unwrap_or(Ok(Ok(())));
        result.map_err(anyhow::Error::from).flatten().with_context(|| format!("the {} has stopped", self.name))
    }
}

/// Where the parts listen, after the kernel has picked the ports that were left to it.
#[derive(Clone, Copy)]
struct Addresses {
    http: SocketAddr,
    grpc: SocketAddr,
    admin: SocketAddr,
}

/// Waits until everything serves, says so, plays the demo, and then waits for the end.
async fn greet(config: &Config, process: &Process, at: Addresses, own: &OwnService, demo: bool) -> anyhow::Result<()> {
    tokio::select! {
        () = process.readiness.wait_ready() => {}
        () = process.shutdown.cancelled() => return Ok(()),
    }
    announce(&[("http", at.http), ("grpc", at.grpc), ("admin", at.admin)]);
    say_where(config, process, at);
    if demo {
        tokio::select! {
            played = play(config, at, own) => played?,
            () = process.shutdown.cancelled() => return Ok(()),
        }
    }
    process.shutdown.cancelled().await;
    Ok(())
}

fn say_where(config: &Config, process: &Process, at: Addresses) {
    let scheme = if config.http_tls.is_some() { "https" } else { "http" };
    for tenant in config.tenants.keys().take(SHOWN_TENANTS) {
        say(format_args!("webhook URL of tenant {tenant}: {scheme}://{}/webhooks/calcom/{tenant}", at.http));
    }
    if let Some(more @ 1..) = config.tenants.len().checked_sub(SHOWN_TENANTS) {
        say(format_args!("and {more} more tenants, each under its own name"));
    }
    match &config.database {
        Database::Sqlite(path) => say(format_args!("data: {}", path.display())),
        Database::Postgres { .. } => say("data: PostgreSQL"),
    }
    let hint = if config.redis.is_some() { "Redis" } else { "a cache in this process" };
    say(format_args!("dedupe hint: {hint}"));
    match &process.export_target {
        Some(target) => say(format_args!("telemetry: sent to {target}")),
        None => say("telemetry: not sent anywhere; set OTEL_EXPORTER_OTLP_ENDPOINT to send it"),
    }
}

async fn play(config: &Config, at: Addresses, own: &OwnService) -> anyhow::Result<()> {
    let secret = config.tenants.get(demo::TENANT).and_then(|tenant| tenant.secrets.first());
    let secret = secret.with_context(|| format!("the demo needs a tenant {} with a secret", demo::TENANT))?;
    anyhow::ensure!(
        config.http_tls.is_none(),
        "the demo speaks no TLS to its own HTTP edge: leave --http-certificate out"
    );
    let url = format!("http://{}/webhooks/calcom/{}", reachable(at.http), demo::TENANT).parse()?;
    let mut client = client::connect(std::slice::from_ref(&own.address), &own.access).await?;
    demo::run(&url, &secret.value, &mut client, time::now()).await?;
    say("\nserving until Ctrl-C");
    Ok(())
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
