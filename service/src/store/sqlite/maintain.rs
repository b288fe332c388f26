//! An operator's work on the file. Numbers and backups are read by a connection that can't write, beside the process
//! that has the file; what writes claims the file as a service does.

mod backup;
mod counts;
mod measure;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};
use tokio::task::spawn_blocking;

use super::{OpenError, Options, file::Claimed, journal, queries, schema, take};
use crate::store::{
    StoreError,
    maintain::{Advanced, MaintainError, Stats, Vacuumed, step},
};

pub(in crate::store) use self::backup::backup;

/// What the file holds.
pub(in crate::store) async fn stats(path: &Path, exact: bool) -> Result<Stats, MaintainError> {
    let path = path.to_owned();
    blocking(move || {
        let connection = open_to_read(&path)?;
        let schema_version = schema::version(&path, &connection)?;
        measure::stats(&connection, &path, schema_version, exact).map_err(failed(&path))
    })
    .await
}

/// Gives free pages back to the file system.
pub(in crate::store) async fn vacuum(path: &Path) -> Result<Vacuumed, MaintainError> {
    let path = path.to_owned();
    blocking(move || {
        let (claimed, connection) = open_to_write(&path)?;
        let on_disk = || measure::on_disk(&claimed.path);
        let before = on_disk();
        let work = || -> Result<(), StoreError> {
            connection.execute_batch("VACUUM")?;
            // All of it went through the log.
            truncate_log(&connection)
        };
        work().map_err(explained).map_err(failed(&claimed.path))?;
        Ok(Vacuumed { before, after: on_disk() })
    })
    .await
}

/// Positions go on behind a step.
pub(in crate::store) async fn advance_head(path: &Path, by: u64) -> Result<Advanced, MaintainError> {
    let path = path.to_owned();
    blocking(move || {
        let (claimed, connection) = open_to_write(&path)?;
        let head = queries::head(&connection).map_err(failed(&claimed.path))?;
        let advanced = step(head, by)?;
        let work = || -> Result<(), StoreError> {
            connection.execute("UPDATE head SET position = ?1", params![advanced.to.0])?;
            truncate_log(&connection)
        };
        work().map_err(failed(&claimed.path))?;
        Ok(advanced)
    })
    .await
}

/// A file that is there and ours, for reading.
fn open_to_read(path: &Path) -> Result<Connection, MaintainError> {
    refuse_absent(path)?;
    journal::undo(path)?;
    schema::reader(path).map_err(failed(path))
}

/// A file that is there and ours, which nobody else has.
fn open_to_write(path: &Path) -> Result<(Claimed, Connection), MaintainError> {
    // Before anything is made beside what may be something else's.
    schema::version(path, &open_to_read(path)?)?;
    // A schema of before is left as it is: bringing it up to date is a service's, and can't be undone.
    let writer = |path: &Path, options| {
        schema::writer(path, options).map_err(|why| OpenError::Store { path: path.to_owned(), why })
    };
    let (claimed, connection) = take::take(path, Options::default(), writer)?;
    // Nobody goes on after it.
    schema::move_log_at_close(&connection, true).map_err(failed(&claimed.path))?;
    Ok((claimed, connection))
}

/// A tool that made a store where it was pointed at the wrong place would hide the mistake.
fn refuse_absent(path: &Path) -> Result<(), MaintainError> {
    if path.is_file() { Ok(()) } else { Err(MaintainError::Absent { place: path.display().to_string() }) }
}

fn truncate_log(connection: &Connection) -> Result<(), StoreError> {
    // Where somebody reads the log it stays, which harms nothing: each commit here has waited for the disk.
    Ok(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
}

/// A full disk is what a vacuum fails by, or a place for temporary files that nothing can be written to.
fn explained(error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable { why, code } => {
            let why = format!(
                "{why}; a vacuum needs room of twice the file, beside it and for temporary files, which lie where \
                 SQLITE_TMPDIR says, else in /var/tmp or /tmp"
            );
            StoreError::Unavailable { why, code }
        }
        damaged @ StoreError::Damaged { .. } => damaged,
    }
}

fn failed(path: &Path) -> impl Fn(StoreError) -> MaintainError {
    let place = path.display().to_string();
    move |why| MaintainError::Store { place: place.clone(), why }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MaintainError> + Send + 'static,
) -> Result<T, MaintainError> {
    // It has panicked, or the runtime ends.
    spawn_blocking(work).await.unwrap_or(Err(MaintainError::Stopped))
}

/// The log beside a database.
fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

#[cfg(test)]
mod tests;
