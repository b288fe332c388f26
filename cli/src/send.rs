//! `calbridge send`: plays Cal.com, so that an installation can be tried without it.

use std::{io::Read as _, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use calbridge_calcom::golden::{self, Golden};
use calbridge_proto::v1::Trigger;
use clap::Args;
use http::Uri;
use jiff::{Timestamp, ToSpan as _};
use secrecy::SecretString;
use uuid::Uuid;

use crate::{
    output::{print, row},
    time,
    webhook::{Answer, Sender, sign, tampered},
};

/// The largest body that is read from a file: above what an adapter can be told to take.
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;
/// `--dup` is for looking at duplicates, not for load.
const MAX_COPIES: u8 = 100;

/// Options of `calbridge send`.
#[derive(Args)]
#[allow(clippy::doc_markdown, rustdoc::bare_urls, reason = "these comments are the help text of a terminal")]
pub(crate) struct Arguments {
    /// Cal.com's name of the event
    #[arg(long, default_value = "BOOKING_CREATED", value_parser = trigger)]
    trigger: Trigger,
    /// Cal.com's uid of the booking [default: a fresh one]
    #[arg(long)]
    uid: Option<String>,
    /// The uid that this booking replaces, for BOOKING_RESCHEDULED and BOOKING_REQUESTED
    #[arg(long, value_name = "UID")]
    reschedule_uid: Option<String>,
    /// What the booking form carried along, as in `outreachSequenceId=s-17`; may be said several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    metadata: Vec<(String, String)>,
    /// Whose webhook it is
    #[arg(long, env = "CALBRIDGE_TENANT", default_value = "default")]
    tenant: String,
    /// Where to post [default: http://127.0.0.1:8080/webhooks/calcom/TENANT]
    #[arg(long)]
    url: Option<Uri>,
    /// The tenant's secret, as Cal.com has it
    #[arg(long, env = "CALCOM_WEBHOOK_SECRET", hide_env_values = true)]
    secret: Option<SecretString>,
    /// Post the bytes of this file instead of a golden event (`-` for stdin)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["trigger", "uid", "reschedule_uid", "metadata"])]
    file: Option<PathBuf>,
    /// Post the same bytes so many times more
    #[arg(long, value_name = "COUNT", num_args = 0..=1, default_value_t = 0, default_missing_value = "1",
          value_parser = clap::value_parser!(u8).range(..=i64::from(MAX_COPIES)))]
    dup: u8,
    /// Change the body after signing it: the answer must be 401
    #[arg(long)]
    tamper: bool,
}

/// Posts and prints each answer; the exit code says whether all were 2xx.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let secret = arguments.secret.as_ref().context(
        "no secret to sign with: say --secret SECRET, \
         or set CALCOM_WEBHOOK_SECRET to what the service was started with",
    )?;
    let body = match &arguments.file {
        Some(path) => read(path)?,
        None => golden_body(&arguments, time::now())?,
    };
    let signature = sign(secret, &body)?;
    let body = if arguments.tamper { tampered(&body) } else { body };
    let url = match arguments.url {
        Some(url) => url,
        None => format!("http://127.0.0.1:8080/webhooks/calcom/{}", arguments.tenant).parse()?,
    };
    let sender = Sender::new()?;
    let mut all_taken = true;
    for _ in 0..=arguments.dup {
        let answer = sender.post(&url, &signature, body.clone()).await?;
        all_taken &= answer.status.is_success();
        print_answer(answer)?;
    }
    Ok(if all_taken { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A fresh uid of the form that Cal.com gives: 22 characters out of 57 that can't be mistaken for each other.
pub(crate) fn fresh_uid() -> String {
    const ALPHABET: &[u8; 57] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut number = Uuid::new_v4().as_u128();
    let digit = |_| {
        let digit = ALPHABET[usize::try_from(number % 57).unwrap_or_default()];
        number /= 57;
        char::from(digit)
    };
    (0..22).map(digit).collect()
}

/// A start that looks like a booking's: at a full hour, a day ahead.
pub(crate) fn tomorrow(now: Timestamp) -> anyhow::Result<Timestamp> {
    let hour = Timestamp::from_second(now.as_second() - now.as_second().rem_euclid(3600))?;
    Ok(hour.checked_add(24.hours())?)
}

fn golden_body(arguments: &Arguments, now: Timestamp) -> anyhow::Result<Bytes> {
    let uid = arguments.uid.clone().unwrap_or_else(fresh_uid);
    let mut golden = Golden::new(&uid, 1, now, tomorrow(now)?);
    golden.metadata.extend(arguments.metadata.iter().cloned());
    if let Some(old) = &arguments.reschedule_uid {
        golden.uid.clone_from(old);
        golden = golden.moved(&uid, 2, now, tomorrow(now)?.checked_add(24.hours())?);
    }
    print(format_args!("{} for {uid}", golden::trigger_name(arguments.trigger)))?;
    Ok(golden::body(arguments.trigger, &golden).into())
}

fn key_and_value(said: &str) -> Result<(String, String), String> {
    match said.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

fn read(path: &PathBuf) -> anyhow::Result<Bytes> {
    let mut body = Vec::new();
    let failed = || format!("--file = {} can't be read", path.display());
    if path.as_os_str() == "-" {
        std::io::stdin().take(MAX_FILE_BYTES + 1).read_to_end(&mut body).with_context(failed)?;
    } else {
        std::fs::File::open(path).with_context(failed)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut body)?;
    }
    if body.len() as u64 > MAX_FILE_BYTES {
        bail!("--file = {}: more than {MAX_FILE_BYTES} bytes; no adapter takes that", path.display());
    }
    Ok(body.into())
}

fn print_answer(answer: Answer) -> anyhow::Result<()> {
    let trace = answer.trace_id.map_or_else(String::new, |id| format!("  trace {id}"));
    let [body] = row([answer.body]);
    print(format_args!("{}  {body}{trace}", answer.status.as_u16()))
}

fn trigger(name: &str) -> anyhow::Result<Trigger> {
    let known = Trigger::from_str_name(&format!("TRIGGER_{name}")).filter(|known| *known != Trigger::Unspecified);
    known.ok_or_else(|| {
        anyhow!(
            "Cal.com has no such event; for example BOOKING_CREATED, BOOKING_RESCHEDULED, BOOKING_CANCELLED, \
             MEETING_ENDED, PING"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_a_key_and_a_value() {
        let of = |key: &str, value: &str| Ok((key.to_owned(), value.to_owned()));
        assert_eq!(key_and_value("contactId=c=9"), of("contactId", "c=9"));
        assert_eq!(key_and_value("empty="), of("empty", ""));
        assert!(key_and_value("=x").is_err() && key_and_value("x").is_err());
    }

    #[test]
    fn a_uid_looks_like_cal_coms() {
        let (one, other) = (fresh_uid(), fresh_uid());
        assert_ne!(one, other);
        assert!(one.len() == 22 && one.chars().all(|c| c.is_ascii_alphanumeric()), "{one}");
    }

    #[test]
    fn a_start_is_a_full_hour_ahead() {
        let now: Timestamp = "2026-11-22T10:20:30Z".parse().unwrap();
        assert_eq!(tomorrow(now).unwrap().to_string(), "2026-11-23T10:00:00Z");
    }

    #[test]
    fn an_event_is_known_by_its_name_alone() {
        assert_eq!(trigger("PING").unwrap(), Trigger::Ping);
        for name in ["", "UNSPECIFIED", "ping", "BOOKING_CONFIRMED"] {
            assert!(trigger(name).is_err(), "{name}");
        }
    }
}
