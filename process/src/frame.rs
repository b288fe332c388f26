//! The frame around a program: what happens before its first and after its last line.
//!
//! Telemetry is flushed after the program has ended and while the runtime still lives: its exporters need both.

use std::{
    fmt::Write as _,
    future::Future,
    io::{self, Write as _},
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use calbridge_telemetry::{self as telemetry, MetricsPage, Readiness};
use clap::error::ErrorKind;
use tokio::{
    net::{TcpListener, TcpSocket, lookup_host},
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use crate::{Config, ConfigError, Environment, Options, Program, panics, resolve};

/// `EX_CONFIG` of `sysexits.h`.
pub(crate) const EXIT_CONFIG: u8 = 78;
/// What a shell shows for a program that a second Ctrl-C ended.
const EXIT_INTERRUPTED: i32 = 130;
/// Connections that may wait to be taken in. Whoever finds no room is tried again by its own kernel after a second.
/// More room is no help: connections are taken in by the thousand each second, and in a flood the honest would stand
/// behind as many of the others: with room for 4096, half of them for half a second on a machine that is busy.
const BACKLOG: u32 = 128;
/// How long tasks that outlive the program may go on while the runtime stops.
const RUNTIME_STOP: Duration = Duration::from_secs(1);

/// What a running program shares with its frame.
pub struct Process {
    /// Cancelled by the first SIGTERM or SIGINT: finish what was accepted, then end. A second one ends at once.
    pub shutdown: CancellationToken,
    /// Each part that must work for the program to be of use.
    pub readiness: Readiness,
    /// What `/metrics` shows.
    pub metrics: MetricsPage,
    /// Where traces, metrics and logs are sent; `None` where nobody asked for it.
    pub export_target: Option<String>,
    /// Answers for the variables that the config file and `CALCOM_WEBHOOK_SECRET` name, as at the start.
    pub environment: Environment,
}

/// The program's command line; ends the process where it asks for help or can't be used. A value that can't be used is
/// a configuration error, whether it came from a flag or from the environment.
#[must_use]
pub fn arguments<T: clap::Parser>() -> T {
    T::try_parse().unwrap_or_else(|error| {
        if !matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation) {
            error.exit();
        }
        // The terminal may be gone; the exit code is not.
        let _ = error.print();
        std::process::exit(EXIT_CONFIG.into())
    })
}

/// Runs a program with the environment of this process.
pub fn start<F, Fut>(program: Program, options: Options, run: F) -> ExitCode
where
    F: FnOnce(Config, Process) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    start_with(program, options, Arc::new(environment), run)
}

/// Runs a program: options, runtime, telemetry, signals, the program itself, the flush, the exit code.
///
/// `environment` answers for the variables that the config file and `CALCOM_WEBHOOK_SECRET` name.
pub fn start_with<F, Fut>(program: Program, options: Options, environment: Environment, run: F) -> ExitCode
where
    F: FnOnce(Config, Process) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    match resolve(options, program, &*environment)
        .map_err(anyhow::Error::from)
        .and_then(|config| frame(program, config, environment, run))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Telemetry may be gone or never have come: the terminal is what is left.
            let _ = writeln!(io::stderr(), "{}: {error:#}", program.name());
            exit_code(&error)
        }
    }
}

fn frame<F, Fut>(program: Program, config: Config, asked: Environment, run: F) -> anyhow::Result<()>
where
    F: FnOnce(Config, Process) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(config.workers).enable_all().build()?;
    let telemetry = {
        let _inside = runtime.enter();
        telemetry::init(&telemetry::Settings {
            service_name: program.name(),
            service_version: env!("CARGO_PKG_VERSION"),
            log_format: config.log_format,
            log_filter: config.log_filter.clone(),
            environment,
        })?
    };
    panics::tell(program.name());
    let (shutdown, readiness) = (CancellationToken::new(), Readiness::new());
    readiness.show(&telemetry::meter());
    let process = Process {
        shutdown: shutdown.clone(),
        readiness,
        metrics: telemetry.metrics_page(),
        export_target: telemetry.export_target(),
        environment: asked,
    };
    let ended = runtime.block_on(async {
        // Not ended before the runtime is: a second signal ends the flush as well.
        tokio::spawn(watch_signals(shutdown)?);
        run(config, process).await
    });
    if let Err(error) = &ended {
        // Exported with what led to it, and a line like all others; the one on the terminal comes besides.
        tracing::error!(error = format!("{error:#}"), "the program can't go on");
    }
    telemetry.shutdown();
    runtime.shutdown_timeout(RUNTIME_STOP);
    ended
}

/// 78 where the configuration can't be used, else 1.
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    let config = error.chain().any(|cause| cause.is::<ConfigError>() || cause.is::<telemetry::InitError>());
    if config { ExitCode::from(EXIT_CONFIG) } else { ExitCode::FAILURE }
}

/// Registers for the signals at once, so that none is missed while the program starts.
fn watch_signals(shutdown: CancellationToken) -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let first = next().await;
        tracing::info!(signal = first, "stopping: finishing what was accepted");
        shutdown.cancel();
        next().await;
        std::process::exit(EXIT_INTERRUPTED);
    })
}

/// Binds a listener of the program's own.
///
/// # Errors
///
/// With the option, the address, and what to do about it.
pub async fn listen(option: &str, address: &str) -> anyhow::Result<TcpListener> {
    bind(address).await.with_context(|| {
        format!("{option} = {address} can't be listened on; is something else there? (port 0 lets the system pick one)")
    })
}

/// As [`TcpListener::bind`], with a bound of our own.
async fn bind(address: &str) -> io::Result<TcpListener> {
    let mut failed = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
    for address in lookup_host(address).await? {
        match bind_one(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A program that is started again need not wait for the last connections of the one before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Says on stdout that everything serves, and where: `listening http=HOST:PORT grpc=HOST:PORT admin=HOST:PORT`.
/// Whoever reads it may go away; the program serves on.
pub fn announce(parts: &[(&str, SocketAddr)]) {
    let mut line = "listening".to_owned();
    for (part, address) in parts {
        // Writing to a string can't fail.
        let _ = write!(line, " {part}={address}");
    }
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Refuses a listener that other machines can reach, unless its operator insists.
///
/// # Errors
///
/// [`ConfigError::Exposed`], naming `option`, the address and `mend`.
pub fn loopback_or(insist: bool, option: &str, address: SocketAddr, mend: &str) -> Result<(), ConfigError> {
    if insist || address.ip().is_loopback() {
        return Ok(());
    }
    Err(ConfigError::Exposed { option: option.to_owned(), address, mend: mend.to_owned() })
}

/// This process's environment; a variable that is not UTF-8 counts as unset.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
#[must_use]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use tokio::{net::TcpStream, time::timeout};

    use super::*;

    #[test]
    fn only_loopback_is_safe_by_itself() {
        for (address, safe) in [("127.0.0.1:1", true), ("[::1]:1", true), ("0.0.0.0:1", false), ("[::]:1", false)] {
            let address = address.parse().unwrap();
            assert_eq!(loopback_or(false, "--grpc", address, "say --insecure").is_ok(), safe, "{address}");
            assert!(loopback_or(true, "--grpc", address, "say --insecure").is_ok());
        }
    }

    #[tokio::test]
    async fn some_connections_wait_to_be_taken_in_and_no_more_than_that() {
        let listener = listen("--http", "127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // Whoever finds no room is not let in later either: nobody takes any in.
        let connect = || timeout(Duration::from_secs(2), TcpStream::connect(address));
        let mut waiting = Vec::new();
        while let Ok(connected) = connect().await {
            waiting.push(connected.unwrap());
        }
        // Linux lets one more wait than it is told.
        let most = BACKLOG as usize;
        assert!((most..=most + 1).contains(&waiting.len()), "{} wait", waiting.len());
        let refused = listen("--http", &address.to_string()).await.unwrap_err();
        assert!(format!("{refused:#}").contains("is something else there?"), "{refused:#}");
    }
}
