//! `spool`: what an adapter keeps on its disk until the service has it: how much, what, and sending it on without an
//! adapter.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode, time::SystemTime};

use anyhow::Context as _;
use calbridge_adapter::{Emptied, SpoolSummary, SpooledEvent, empty_spool, inspect_spool};
use calbridge_process::SpoolSettings;
use clap::{Args, Subcommand};
use prost_types::Timestamp;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    client::Target,
    output::{Format, or_dash, print, print_value, report, report_warnings, row, table},
    time::shown,
};

/// `calbridge spool`.
#[derive(Args)]
pub(crate) struct Spool {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show how much waits, of whom, and since when
    Status(Look),
    /// Show each webhook that waits, oldest first
    Inspect(Inspect),
    /// Send what waits to the booking service; the adapter must not run
    Drain(Drain),
}

/// Which spool.
#[derive(Args)]
pub(crate) struct Place {
    /// The spool [default: DATA_DIR/spool]
    #[arg(long, env = "CALBRIDGE_SPOOL_DIR", value_name = "PATH")]
    #[allow(clippy::doc_markdown, reason = "this comment is the help text of a terminal")]
    spool_dir: Option<PathBuf>,
    /// Where data lies [default: the platform's data directory]
    #[arg(long, env = "CALBRIDGE_DATA_DIR", value_name = "PATH")]
    data_dir: Option<PathBuf>,
}

/// Which spool, and how to print what is in it.
#[derive(Args)]
pub(crate) struct Look {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The config file; of it only where things are, and the tenants' secrets where they are asked for, count here
    #[arg(long, env = "CALBRIDGE_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) output: Format,
}

#[derive(Args)]
struct Inspect {
    /// Only of this tenant
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    look: Look,
}

#[derive(Args)]
struct Drain {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    target: Target,
}

impl Spool {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Status(command) => command.run().map(|()| ExitCode::SUCCESS),
            Command::Inspect(command) => command.run().map(|()| ExitCode::SUCCESS),
            Command::Drain(command) => command.run().await,
        }
    }
}

impl Place {
    pub(crate) fn read(self, config: Option<PathBuf>) -> anyhow::Result<SpoolSettings> {
        Ok(calbridge_process::spool_settings(self.spool_dir, self.data_dir, config)?)
    }
}

/// Reads a spool that must be there.
fn look(spool: &SpoolSettings, each: impl FnMut(SpooledEvent)) -> anyhow::Result<SpoolSummary> {
    let place = spool.directory.display();
    inspect_spool(&spool.directory, each)
        .with_context(|| format!("no spool can be read at {place} (another place: --spool-dir, or --data-dir)"))
}

impl Look {
    fn run(self) -> anyhow::Result<()> {
        let spool = self.place.read(self.config)?;
        let summary = look(&spool, |_| {})?;
        match self.output {
            Format::Json => print_value(&json!({
                "directory": spool.directory,
                "in_use": summary.is_taken,
                "events": summary.events(),
                "bytes": summary.bytes,
                "unreadable": summary.unreadable,
                "tenants": summary.tenants.iter().map(|(tenant, (events, oldest))| json!({
                    "tenant": tenant, "events": events, "oldest_receive_time": rfc3339(*oldest),
                })).collect::<Vec<_>>(),
            })),
            Format::Table => {
                print(format_args!(
                    "{}: {} webhooks wait, in {} files of {} bytes, as the adapter's --spool-bytes counts{}",
                    spool.directory.display(),
                    summary.events(),
                    summary.segments,
                    summary.bytes,
                    if summary.is_taken { "; an adapter sends them on" } else { "; no adapter has it" },
                ))?;
                if summary.unreadable > 0 {
                    print(format_args!("{} records can't be read by this release; they are kept", summary.unreadable))?;
                }
                let mut lines = table(["tenant", "waiting", "oldest received"]);
                for (tenant, (events, oldest)) in &summary.tenants {
                    lines.add_row(row([tenant.clone(), events.to_string(), shown(Some(&Timestamp::from(*oldest)))]));
                }
                if summary.tenants.is_empty() { Ok(()) } else { print(lines) }
            }
        }
    }
}

impl Inspect {
    fn run(self) -> anyhow::Result<()> {
        let Self { tenant, limit, look: Look { place, config, output } } = self;
        let spool = place.read(config)?;
        // What is aside may have been copied into a later file.
        let (mut oldest, mut number, mut more) = (BTreeMap::new(), 0_usize, 0_usize);
        look(&spool, |event| {
            if tenant.as_ref().is_none_or(|tenant| *tenant == event.tenant) {
                number += 1;
                oldest.insert((event.receive_time, number), event);
                if oldest.len() > limit {
                    oldest.pop_last();
                    more += 1;
                }
            }
        })?;
        let events = oldest.into_values();
        match output {
            Format::Json => print_value(&events.map(|event| of_event(&event)).collect()),
            Format::Table => {
                let mut lines = table(["received", "tenant", "trigger", "bytes", "request id"]);
                for event in events {
                    let received = shown(Some(&Timestamp::from(event.receive_time)));
                    let (trigger, bytes) = (or_dash(&event.trigger_name), event.body_bytes.to_string());
                    lines.add_row(row([received, event.tenant, trigger, bytes, event.request_id]));
                }
                print(lines)?;
                if more > 0 { print(format_args!("and {more} more (--limit)")) } else { Ok(()) }
            }
        }
    }
}

fn of_event(event: &SpooledEvent) -> serde_json::Value {
    json!({
        "tenant": event.tenant,
        "receive_time": rfc3339(event.receive_time),
        "trigger_name": event.trigger_name,
        "request_id": event.request_id,
        "body_bytes": event.body_bytes,
    })
}

pub(crate) fn rfc3339(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map(|time| time.to_string()).unwrap_or_default()
}

impl Drain {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let spool = self.place.read(self.target.config.clone())?;
        let before = look(&spool, |_| {})?.events();
        let (services, access) = self.target.read()?;
        report_warnings()?;
        let stop = CancellationToken::new();
        let interrupted = stop.clone();
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                interrupted.cancel();
            }
        });
        let names = services.join(" or ");
        let told = |Emptied { left, is_linked, .. }: Emptied| {
            if is_linked {
                report(format_args!("{} of {before} sent", before.saturating_sub(left)));
            } else {
                report(format_args!("{left} wait: no booking service at {names} takes them; trying on"));
            }
        };
        let Emptied { left, refused, .. } = empty_spool(spool, services, access, stop, told).await?;
        print(format_args!("{} sent, {left} left", before.saturating_sub(left)))?;
        if refused > 0 {
            report(format_args!("{refused} of them the service will not take"));
        }
        Ok(if left == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
