//! What an operator does with a store beside the service or without it: numbers, a backup, room given back, and a head
//! that goes on beyond what a restored store no longer knows.
//!
//! Nothing here brings a schema up to date: a tool of a newer release may look at an older store, and back it up before
//! the upgrade.

mod draft;

use std::{
    io,
    path::{Path, PathBuf},
};

use calbridge_process::Database;
use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;

use super::{Micros, Position, StoreError, postgres, sqlite};

pub(super) use self::draft::Draft;

/// Up to this many rows are counted one by one unless everything is to be: some milliseconds.
pub(super) const COUNTED_ROWS: u64 = 100_000;

/// The furthest that the head may be moved at a time: a store can be restored eight thousand times before half of all
/// positions are gone.
pub const HEAD_STEP_MAX: u64 = 1 << 49;

/// What a store holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Its kind: `sqlite` or `postgresql`.
    pub kind: &'static str,
    /// Where it is; without user and password.
    pub place: String,
    /// How many migrations were applied.
    pub schema_version: i64,
    /// The newest position that was handed out.
    pub head: Position,
    /// How many of each; the names are those of [`COUNTS`], in their order.
    pub counts: Vec<(&'static str, Count)>,
    /// All that it takes of its disk, free pages and log included.
    pub bytes: u64,
    /// Of a file.
    pub file: Option<FileStats>,
    /// Of a server: rows that a vacuum would remove, by the server's own statistics.
    pub dead_rows: Option<u64>,
    /// Bytes by table and index, the largest first; `None` where measuring would read the whole of a large file.
    pub parts: Option<Vec<Part>>,
    /// When the oldest kept delivery was received.
    pub oldest_delivery: Option<Micros>,
    /// And the newest.
    pub newest_delivery: Option<Micros>,
}

/// The names of the counts of [`Stats`].
pub const COUNTS: [&str; 7] =
    ["deliveries", "bodies", "bookings_shown", "bookings_hidden", "transitions", "mentions", "duplicates"];

/// A number of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub rows: u64,
    /// What that says.
    pub precision: Precision,
}

/// What a number says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Counted.
    Exact,
    /// From a sample, or from the database's statistics.
    Estimate,
    /// There are more than were counted.
    AtLeast,
}

/// Sizes of a file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStats {
    /// The database.
    pub database: u64,
    /// Its write-ahead log.
    pub wal: u64,
    /// What a vacuum would give back at least.
    pub free: u64,
}

/// A table or an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// The table that it belongs to; itself where it is one.
    pub table: String,
    /// On disk.
    pub bytes: u64,
}

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Everything up to this position is in it, and nothing behind it.
    pub head: Position,
    /// Of the file.
    pub bytes: u64,
}

/// What a vacuum did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vacuumed {
    /// On disk, before.
    pub before: u64,
    /// And after.
    pub after: u64,
}

/// Where a head was moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advanced {
    /// The newest position before.
    pub from: Position,
    /// The next one that is handed out lies behind this.
    pub to: Position,
}

/// Why it could not be done. Each says how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum MaintainError {
    /// The file can't be opened, or is in use.
    #[error(transparent)]
    Sqlite(#[from] sqlite::OpenError),
    /// The database can't be opened.
    #[error(transparent)]
    Postgres(#[from] postgres::OpenError),
    /// Nothing is there.
    #[error("there is no store of calbridge at {place}; check --data-dir, --database-url and --config")]
    Absent {
        /// Where it was looked for.
        place: String,
    },
    /// The store refused.
    #[error("the store at {place} can't be worked on: {why}")]
    Store {
        /// Which.
        place: String,
        /// What went wrong.
        why: StoreError,
    },
    /// A file in the backup's place.
    #[error("{path} is there already, and a backup replaces no file; name another one")]
    Exists {
        /// As given.
        path: PathBuf,
    },
    /// The backup can't be written.
    #[error(
        "cannot write the backup {path}: {why}; name a file in a folder that is there, can be written and has room"
    )]
    Unwritable {
        /// As given.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// What was written is not what was read.
    #[error(
        "the backup of {place} was thrown away, for it is not sound: {why}; is the disk? `PRAGMA integrity_check` says \
        whether the store itself is"
    )]
    Unsound {
        /// The store.
        place: String,
        /// What its check said.
        why: String,
    },
    /// `pg_dump` is missing, too old, or failed.
    #[error("{program}: {why}")]
    Dump {
        /// As it was called.
        program: String,
        /// What is wrong, and the mend.
        why: String,
    },
    /// The server would pass over our tables, and call that a success.
    #[error(
        "{place}: user {user} may not vacuum {tables}; run this as their owner (from version 17 on MAINTAIN is enough)"
    )]
    NotTheirs {
        /// Which database.
        place: String,
        /// As whom it was asked.
        user: String,
        /// Their names.
        tables: String,
    },
    /// The head can't be moved so far.
    #[error("--by = {by}: a head moves by 1 to {HEAD_STEP_MAX} at a time, and this one stands at {head}")]
    Step {
        /// As asked for.
        by: u64,
        /// Where it stands.
        head: i64,
    },
    /// The operator stopped it.
    #[error("stopped before its end; nothing is left behind")]
    Stopped,
}

/// Looks at a store, beside a running service as well. Where not everything is to be counted, it takes no longer for
/// ten million rows than for some thousand.
///
/// # Errors
/// What keeps it from being read.
pub async fn stats(database: &Database, exact: bool) -> Result<Stats, MaintainError> {
    match database {
        Database::Sqlite(path) => sqlite::maintain::stats(path, exact).await,
        Database::Postgres { url, .. } => postgres::maintain::stats(url.expose_secret(), exact).await,
    }
}

/// Copies a store as it is at one moment into a file that is not there yet, beside a running service. `pg_dump` is the
/// program to use for `PostgreSQL`, and `path` where it is looked for if none is named. Cancelling `stop` leaves
/// nothing behind.
///
/// # Errors
/// What keeps it from being read or written.
pub async fn backup(
    database: &Database,
    to: &Path,
    pg_dump: Programs<'_>,
    stop: &CancellationToken,
) -> Result<Backup, MaintainError> {
    match database {
        Database::Sqlite(path) => sqlite::maintain::backup(path, to, stop).await,
        Database::Postgres { url, .. } => postgres::maintain::backup(url.expose_secret(), to, pg_dump, stop).await,
    }
}

/// Where a program is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Programs<'p> {
    /// The program itself, where the operator names it.
    pub named: Option<&'p Path>,
    /// Else the folders of a search path; those in which Debian has it come behind them.
    pub search: &'p str,
}

/// Gives the room of removed rows back: `SQLite` to the file system, which needs the file alone; `PostgreSQL` to its
/// tables, beside running services.
///
/// # Errors
/// A service that has the file, or what keeps it from being done.
pub async fn vacuum(database: &Database) -> Result<Vacuumed, MaintainError> {
    match database {
        Database::Sqlite(path) => sqlite::maintain::vacuum(path).await,
        Database::Postgres { url, .. } => postgres::maintain::vacuum(url.expose_secret()).await,
    }
}

/// Moves the head forward by so many positions. A store that was restored from a backup would else hand out positions
/// a second time, and a reader whose cursor lies behind them would miss what they say. A file must not be in use.
///
/// # Errors
/// A step that is too long, a service that has the file, or what keeps it from being done.
pub async fn advance_head(database: &Database, by: u64) -> Result<Advanced, MaintainError> {
    match database {
        Database::Sqlite(path) => sqlite::maintain::advance_head(path, by).await,
        Database::Postgres { url, .. } => postgres::maintain::advance_head(url.expose_secret(), by).await,
    }
}

/// The head behind a step, if it is one that can be taken.
pub(super) fn step(head: Position, by: u64) -> Result<Advanced, MaintainError> {
    let moved = i64::try_from(by).ok().and_then(|by| head.0.checked_add(by)).map(Position);
    match moved {
        Some(to) if (1..=HEAD_STEP_MAX).contains(&by) => Ok(Advanced { from: head, to }),
        _ => Err(MaintainError::Step { by, head: head.0 }),
    }
}

impl Count {
    pub(super) fn exact(rows: u64) -> Self {
        Self { rows, precision: Precision::Exact }
    }

    pub(super) fn estimate(rows: u64) -> Self {
        Self { rows, precision: Precision::Estimate }
    }

    pub(super) fn at_least(rows: u64) -> Self {
        Self { rows, precision: Precision::AtLeast }
    }

    /// These without those.
    pub(super) fn without(self, others: Self) -> Self {
        let rows = self.rows.saturating_sub(others.rows);
        let exact = self.precision == Precision::Exact && others.precision == Precision::Exact;
        if exact { Self::exact(rows) } else { Self::estimate(rows) }
    }
}

impl Stats {
    /// How many deliveries are kept.
    #[must_use]
    pub fn deliveries(&self) -> Count {
        let found = self.counts.iter().find(|(name, _)| *name == "deliveries");
        found.map_or(Count::exact(0), |(_, count)| *count)
    }

    /// Bytes for each of them, all that belongs to it included; `None` where there are none.
    #[must_use]
    pub fn bytes_per_delivery(&self) -> Option<u64> {
        self.bytes.checked_div(self.deliveries().rows)
    }
}

/// A number of a database, which counts with a sign.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests;
