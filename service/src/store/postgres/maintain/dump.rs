//! `pg_dump` at a snapshot of ours, so that we know up to where it goes. It is told the connection by its environment:
//! arguments can be read by everybody on the machine.

use std::{ffi::OsString, path::Path, process::Stdio, time::Duration};

use deadpool_postgres::ClientWrapper;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{self, AsyncReadExt as _},
    process::{Child, ChildStderr, Command},
    select,
    time::timeout,
};
use tokio_postgres::config::Host;
use tokio_util::sync::CancellationToken;

use super::{
    super::connection::{Address, Tls},
    program::{self, PgDump},
};
use crate::store::{
    Position, StoreError,
    maintain::{Backup, Draft, MaintainError, Programs},
};

/// For a table that somebody has locked whole: then the dump fails, and says which.
const LOCK_WAIT: &str = "--lock-wait-timeout=60s";
/// For it to end when it is asked to: it then sends the server a word, which takes a moment where the server is far.
const END_PATIENCE: Duration = Duration::from_secs(5);
/// What is shown of its errors: their first lines say what is wrong.
const SHOWN_BYTES: u64 = 2_000;
/// The first release whose client trusts the certificates of the system.
const SYSTEM_ROOTS: u32 = 16;

/// What libpq would read besides what we say: an operator's own settings for other databases.
const NOT_OURS: [&str; 14] = [
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGHOSTADDR",
    "PGPASSWORD",
    "PGOPTIONS",
    "PGSSLMODE",
    "PGSSLNEGOTIATION",
    "PGSSLROOTCERT",
    "PGSSLCERT",
    "PGSSLKEY",
    "PGSSLCRL",
    "PGREQUIREAUTH",
    "PGTARGETSESSIONATTRS",
    "PGLOADBALANCEHOSTS",
];

/// One state of the database, which others may read for as long as the transaction lives that this was made in.
pub(super) struct Snapshot {
    id: String,
    head: Position,
    /// Of the server.
    release: u32,
}

/// Begins a transaction and lets others see what it sees.
pub(super) async fn snapshot(client: &ClientWrapper) -> Result<Snapshot, StoreError> {
    const EXPORT: &str = "SELECT pg_export_snapshot(), current_setting('server_version_num')::bigint / 10000, position
        FROM head";
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let row = client.query_one(EXPORT, &[]).await?;
    let release = u32::try_from(row.try_get::<_, i64>(1)?).unwrap_or(0);
    Ok(Snapshot { id: row.try_get(0)?, head: Position(row.try_get(2)?), release })
}

/// Writes it into `to`. The snapshot's transaction must outlive this.
pub(super) async fn dump(
    address: &Address,
    snapshot: &Snapshot,
    to: &Path,
    programs: Programs<'_>,
    stop: &CancellationToken,
) -> Result<Backup, MaintainError> {
    let draft = Draft::beside(to)?;
    let pg_dump = program::find(programs, snapshot.release).await?;
    let failed = |why: String| MaintainError::Dump { program: pg_dump.path.display().to_string(), why };
    let mut command = Command::new(&pg_dump.path);
    for name in NOT_OURS {
        command.env_remove(name);
    }
    command
        .envs(environment(address, &pg_dump)?)
        .args(["--format=custom", "--no-password", LOCK_WAIT])
        .arg(format!("--snapshot={}", snapshot.id))
        .arg("--file")
        .arg(draft.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| failed(format!("it can't be started: {error}")))?;
    let errors = child.stderr.take();
    let (status, said) = select! {
        ended = async { tokio::join!(child.wait(), first_lines(errors)) } => ended,
        () = stop.cancelled() => {
            end(&mut child).await;
            return Err(MaintainError::Stopped);
        }
    };
    match status {
        Ok(status) if status.success() => Ok(Backup { head: snapshot.head, bytes: draft.publish()? }),
        Ok(status) => Err(failed(format!("it ended with {status} and said: {said}"))),
        Err(error) => Err(failed(format!("it was lost: {error}"))),
    }
}

/// Asks it to end, as it then also tells the server, which else would not hear of it before it has a lock to give; and
/// waits until it is gone, for it writes a file that is to go.
async fn end(child: &mut Child) {
    let asked = child.id().and_then(|id| i32::try_from(id).ok()).map(|id| kill(Pid::from_raw(id), Signal::SIGTERM));
    if asked == Some(Ok(())) && timeout(END_PATIENCE, child.wait()).await.is_ok() {
        return;
    }
    // There is nothing to do about one that can't be killed.
    let _ = child.kill().await;
}

/// All of it is read, so that nobody waits for us, and little is kept.
async fn first_lines(errors: Option<ChildStderr>) -> String {
    let Some(mut errors) = errors else { return String::new() };
    let mut kept = Vec::new();
    // What can't be read can't be shown.
    let _ = (&mut errors).take(SHOWN_BYTES).read_to_end(&mut kept).await;
    let _ = io::copy(&mut errors, &mut io::sink()).await;
    String::from_utf8_lossy(&kept).trim().replace('\n', "; ")
}

/// The connection as libpq reads it.
fn environment(address: &Address, pg_dump: &PgDump) -> Result<Vec<(&'static str, OsString)>, MaintainError> {
    let config = &address.config;
    // As we were let in: by the one that takes writes.
    let wanted = if config.get_hosts().len() > 1 { "read-write" } else { "any" };
    let hosts: Vec<String> = config.get_hosts().iter().map(host).collect();
    let ports: Vec<String> = config.get_ports().iter().map(u16::to_string).collect();
    let mut variables: Vec<(&'static str, OsString)> = vec![
        ("PGHOST", hosts.join(",").into()),
        ("PGDATABASE", address.database().into()),
        ("PGAPPNAME", "calbridge store backup".into()),
        ("PGTARGETSESSIONATTRS", wanted.into()),
        ("PGCONNECT_TIMEOUT", "10".into()),
        ("PGGSSENCMODE", "disable".into()),
    ];
    if !ports.is_empty() {
        variables.push(("PGPORT", ports.join(",").into()));
    }
    let said = [("PGUSER", config.get_user()), ("PGOPTIONS", config.get_options())];
    variables.extend(said.into_iter().filter_map(|(name, value)| Some((name, value?.into()))));
    if let Some(password) = config.get_password() {
        // A password in a URL is UTF-8 but for what its writer did on purpose.
        variables.push(("PGPASSWORD", String::from_utf8_lossy(password).into_owned().into()));
    }
    match &address.said {
        None => variables.push(("PGSSLMODE", "disable".into())),
        Some(tls) => variables.extend(encrypted(tls, pg_dump)?),
    }
    Ok(variables)
}

fn encrypted(tls: &Tls, pg_dump: &PgDump) -> Result<Vec<(&'static str, OsString)>, MaintainError> {
    let root = match &tls.root {
        Some(file) => file.as_str(),
        None if pg_dump.release >= SYSTEM_ROOTS => "system",
        None => {
            let why = format!(
                "it is of release {}, and knows the system's certificates from {SYSTEM_ROOTS} on; add \
                sslrootcert=FILE to --database-url, or name a newer one by --pg-dump",
                pg_dump.release
            );
            return Err(MaintainError::Dump { program: pg_dump.path.display().to_string(), why });
        }
    };
    let files = [("PGSSLCERT", &tls.certificate), ("PGSSLKEY", &tls.key)];
    let own = files.into_iter().filter_map(|(name, file)| Some((name, file.as_ref()?.into())));
    Ok([("PGSSLMODE", "verify-full".into()), ("PGSSLROOTCERT", root.into())].into_iter().chain(own).collect())
}

fn host(host: &Host) -> String {
    match host {
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(path) => path.display().to_string(),
    }
}

#[cfg(test)]
mod tests;
