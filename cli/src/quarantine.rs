//! `quarantine`: the webhooks that an adapter refused because none of its secrets had signed them: whose they are, what
//! would verify by now, and admitting that. The adapter may run meanwhile.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use calbridge_adapter::{Replayed, Verdicts, Verified, inspect_quarantine, replay_quarantine, verify_quarantine};
use calbridge_process::{QuarantineSettings, environment, webhook_tenants};
use clap::{Args, Subcommand};
use prost_types::Timestamp;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    client::Target,
    output::{Format, print, print_value, report, report_warnings, row, table},
    spool::{Look, Place, rfc3339},
    time::shown,
};

/// Lines of a table; JSON has them all.
const LINES: usize = 100;

/// `calbridge quarantine`.
#[derive(Args)]
pub(crate) struct Quarantine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show how many are kept, of whom, and from which addresses
    Status(Look),
    /// Show how many the secrets of the config file and the environment would verify; nothing is changed
    Verify(Look),
    /// Admit those that verify to the booking service
    Replay(Replay),
}

#[derive(Args)]
struct Replay {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    target: Target,
}

impl Quarantine {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Status(command) => command.status().map(|()| ExitCode::SUCCESS),
            Command::Verify(command) => command.verify().await.map(|()| ExitCode::SUCCESS),
            Command::Replay(command) => command.run().await,
        }
    }
}

/// The quarantine of a spool; it must be there.
fn directory(place: Place, config: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let directory = QuarantineSettings::directory(&place.read(config)?.directory);
    anyhow::ensure!(
        directory.is_dir(),
        "no quarantine is at {} (another spool: --spool-dir, or --data-dir)",
        directory.display()
    );
    Ok(directory)
}

impl Look {
    fn status(self) -> anyhow::Result<()> {
        let directory = directory(self.place, self.config)?;
        let place = directory.display();
        let summary = inspect_quarantine(&directory).with_context(|| format!("{place} can't be read"))?;
        let kept = summary.count_all();
        if self.output == Format::Json {
            return print_value(&json!({
                "directory": directory,
                "webhooks": kept,
                "bytes": summary.bytes,
                "unreadable": summary.unreadable,
                "sources": summary.webhooks.iter().map(|((tenant, source), webhooks)| json!({
                    "tenant": tenant,
                    "source": source,
                    "webhooks": webhooks.count,
                    "oldest_receive_time": rfc3339(webhooks.oldest),
                    "newest_receive_time": rfc3339(webhooks.newest),
                })).collect::<Vec<_>>(),
            }));
        }
        print(format_args!("{place}: {kept} webhooks, in {} files of {} bytes", summary.segments, summary.bytes))?;
        if summary.unreadable > 0 {
            print(format_args!("{} records or files can't be read", summary.unreadable))?;
        }
        let mut lines = table(["tenant", "from", "webhooks", "first received", "last received"]);
        for ((tenant, source), webhooks) in summary.webhooks.iter().take(LINES) {
            let [oldest, newest] = [webhooks.oldest, webhooks.newest].map(|time| shown(Some(&Timestamp::from(time))));
            lines.add_row(row([tenant.clone(), source.clone(), webhooks.count.to_string(), oldest, newest]));
        }
        print_lines(&lines, summary.webhooks.len())
    }

    async fn verify(self) -> anyhow::Result<()> {
        let tenants = webhook_tenants(self.config.clone(), &environment)?;
        let directory = directory(self.place, self.config)?;
        let Verified { tenants, unreadable } = verify_quarantine(&directory, &tenants).await?;
        if unreadable > 0 {
            report_unreadable(unreadable);
        }
        match self.output {
            Format::Json => print_value(&tenants.iter().map(of_verdicts).collect()),
            Format::Table => print_verdicts(&directory, &tenants),
        }
    }
}

fn report_unreadable(count: usize) {
    report(format_args!("{count} webhooks or files can't be read, and were left out"));
}

fn of_verdicts((tenant, verdicts): (&String, &Verdicts)) -> serde_json::Value {
    json!({
        "tenant": tenant,
        "webhooks": verdicts.count(),
        "verified": verdicts.verified,
        "unverified": verdicts.unverified,
    })
}

fn print_verdicts(directory: &Path, verdicts: &BTreeMap<String, Verdicts>) -> anyhow::Result<()> {
    let all: usize = verdicts.values().map(Verdicts::count).sum();
    let unverified: usize = verdicts.values().map(|verdicts| verdicts.unverified).sum();
    let verified = all - unverified;
    print(format_args!("{}: {all} webhooks; {verified} verify, {unverified} do not", directory.display()))?;
    let mut lines = table(["tenant", "secret", "webhooks"]);
    let mut rows = 0;
    for (tenant, verdicts) in verdicts {
        let none = (verdicts.unverified > 0).then(|| ("none".to_owned(), verdicts.unverified));
        let verified = verdicts.verified.iter().map(|(secret_id, count)| (secret_id.clone(), *count));
        for (secret_id, count) in verified.chain(none) {
            if rows < LINES {
                lines.add_row(row([tenant.clone(), secret_id, count.to_string()]));
            }
            rows += 1;
        }
    }
    print_lines(&lines, rows)
}

fn print_lines(lines: &comfy_table::Table, rows: usize) -> anyhow::Result<()> {
    if rows > 0 {
        print(lines)?;
    }
    if let Some(more @ 1..) = rows.checked_sub(LINES) {
        print(format_args!("and {more} more lines (--output json)"))?;
    }
    Ok(())
}

impl Replay {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let tenants = webhook_tenants(self.target.config.clone(), &environment)?;
        let (services, access) = self.target.read()?;
        report_warnings()?;
        let directory = directory(self.place, self.target.config)?;
        let stop = CancellationToken::new();
        let interrupted = stop.clone();
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                interrupted.cancel();
            }
        });
        let names = services.join(" or ");
        let told = |Replayed { admitted, refused, left, is_linked, .. }: Replayed| {
            if is_linked {
                report(format_args!("{admitted} admitted, {} refused, {left} to go", refused.values().sum::<usize>()));
            } else {
                report(format_args!("{left} wait: no booking service at {names} takes them; trying on"));
            }
        };
        let replayed = replay_quarantine(&directory, tenants, services, access, stop, told).await?;
        let Replayed { admitted, known, unverified, refused, unreadable, left, .. } = replayed;
        print(format_args!("{admitted} admitted ({known} were known already), {unverified} do not verify and stay"))?;
        for (reason, count) in &refused {
            report(format_args!("{count} verify, but the service does not take them ({reason}): its log says why"));
        }
        if unreadable > 0 {
            report_unreadable(unreadable);
        }
        if left > 0 {
            report(format_args!("{left} were not looked at; say it again to go on"));
        }
        let is_through = refused.is_empty() && unreadable + left == 0;
        Ok(if is_through { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
