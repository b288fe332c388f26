//! Opening connections, and the schema's versions. `PRAGMA user_version` counts the migrations that were applied; each
//! is applied in a transaction of its own.

mod fill;

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, config::DbConfig};
use tracing::info;

use super::{OpenError, Options, Synchronous, checkpoint};
use crate::store::StoreError;

/// In order; the version of the schema is how many of them were applied. Never change one that was released.
const MIGRATIONS: [Migration; 8] = [
    Migration { sql: include_str!("../../../migrations/sqlite/0001_first.sql"), then: None },
    Migration {
        sql: include_str!("../../../migrations/sqlite/0002_clock_and_filters.sql"),
        then: Some(fill::columns_of_bookings),
    },
    Migration { sql: include_str!("../../../migrations/sqlite/0003_indexes_of_bookings.sql"), then: None },
    Migration {
        sql: include_str!("../../../migrations/sqlite/0004_postings.sql"),
        then: Some(fill::postings_of_bookings),
    },
    Migration { sql: include_str!("../../../migrations/sqlite/0005_retention.sql"), then: None },
    Migration { sql: include_str!("../../../migrations/sqlite/0006_names.sql"), then: None },
    Migration { sql: include_str!("../../../migrations/sqlite/0007_consumers.sql"), then: None },
    Migration { sql: include_str!("../../../migrations/sqlite/0008_dead_letters.sql"), then: None },
];

struct Migration {
    sql: &'static str,
    /// What SQL can't do.
    then: Option<Then>,
}

type Then = fn(&Transaction<'_>) -> Result<(), StoreError>;

/// "CALB": tells our files from other `SQLite` files.
pub(super) const APPLICATION_ID: i64 = 0x4341_4c42;

/// How long to wait for a lock. Only a tool of the operator (a backup, a shell) can hold one; the adapter gives an
/// event two seconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// Page cache of one connection in KiB. A larger one is scanned at each commit that splits a page.
const CACHE_KIB: i64 = 8_192;

/// The same of a connection that reads each page once.
const PASSING_CACHE_KIB: i64 = 256;

/// How much of the file is mapped into memory, in bytes: reads of cold pages then cost no copy.
const MMAP_BYTES: i64 = 256 * 1024 * 1024;

/// More positions than the rounds that wait for the disk take: a dozen rounds of some hundred webhooks.
const POSITIONS_UNSTORED_MAX: i64 = 1 << 24;

/// To which size the log is cut after a burst, in bytes.
const JOURNAL_BYTES: i64 = 64 * 1024 * 1024;

/// Statements that a connection keeps prepared: all that we have, and the filters that are in use.
const STATEMENTS: usize = 128;

/// A writer's connection to a database whose schema is up to date.
pub(super) fn open(path: &Path, options: Options) -> Result<Connection, OpenError> {
    let failed = |why: StoreError| OpenError::Store { path: path.to_owned(), why };
    let mut connection = writer(path, options).map_err(failed)?;
    let found = version_or_none(path, &connection)?;
    migrate(&mut connection, found).map_err(failed)?;
    check_head(&connection).map_err(failed)?;
    Ok(connection)
}

/// Whatever is at `path` is ours, and not newer than this program, or there is nothing yet. Changes nothing.
pub(super) fn refuse_foreign(path: &Path) -> Result<(), OpenError> {
    let connection = reader(path).map_err(|why| OpenError::Store { path: path.to_owned(), why })?;
    version_or_none(path, &connection).map(drop)
}

/// The schema's version, 0 where there is none yet.
fn version_or_none(path: &Path, connection: &Connection) -> Result<i64, OpenError> {
    let failed = |why: StoreError| OpenError::Store { path: path.to_owned(), why };
    let (found, application) = identity(connection).map_err(failed)?;
    if application != APPLICATION_ID && (found != 0 || !is_empty(connection).map_err(failed)?) {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    refuse_newer(path, found)?;
    Ok(found)
}

/// The schema's version, of a database that is ours and not newer than this program.
pub(super) fn version(path: &Path, connection: &Connection) -> Result<i64, OpenError> {
    let failed = |why: StoreError| OpenError::Store { path: path.to_owned(), why };
    let (found, application) = identity(connection).map_err(failed)?;
    if application != APPLICATION_ID {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    refuse_newer(path, found)?;
    Ok(found)
}

fn refuse_newer(path: &Path, found: i64) -> Result<(), OpenError> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known { Err(OpenError::Newer { path: path.to_owned(), found, known }) } else { Ok(()) }
}

/// Whether the connection moves the log into the file when it is the last to close. By default it does not: closing
/// keeps to itself that the disk refused, and whoever opens the file again would go on as if it had not.
pub(super) fn move_log_at_close(connection: &Connection, moves: bool) -> Result<(), StoreError> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !moves)?;
    Ok(())
}

/// A connection that may write.
pub(super) fn writer(path: &Path, options: Options) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    calbridge_vfs::register().map_err(|why| StoreError::unavailable(why.to_string()))?;
    let connection = Connection::open_with_flags_and_vfs(path, flags, calbridge_vfs::NAME)?;
    move_log_at_close(&connection, false)?;
    prepare(&connection)?;
    // Answers the mode that holds; a file system without shared memory can't do WAL.
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreError::unavailable("this file system does not allow SQLite's write-ahead log"));
    }
    let synchronous = match options.synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Off => "OFF",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    // macOS needs another call to reach the disk itself; elsewhere these say nothing.
    let all_the_way = options.synchronous == Synchronous::Full;
    connection.pragma_update(None, "fullfsync", all_the_way)?;
    connection.pragma_update(None, "checkpoint_fullfsync", all_the_way)?;
    connection.wal_hook(Some(checkpoint::after_commit));
    connection.pragma_update(None, "journal_size_limit", JOURNAL_BYTES)?;
    if let Some(pages) = options.max_pages {
        connection.pragma_update(None, "max_page_count", pages)?;
    }
    Ok(connection)
}

/// From here on the connection waits for the disk when it moves the log into the file, and leaves it to the caller to
/// wait for what it commits.
pub(super) fn wait_aside(connection: &Connection) -> Result<(), StoreError> {
    Ok(connection.pragma_update(None, "synchronous", "NORMAL")?)
}

/// From here on nothing is appended to the log before its transaction commits, as `vfs/` asks for. What a transaction
/// changes stays in memory until then; a round, a purge and a merge have their bounds, migrations have none.
pub(super) fn append_at_commit(connection: &Connection) -> Result<(), StoreError> {
    Ok(connection.pragma_update(None, "cache_spill", false)?)
}

/// A connection that can't write.
pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    prepare(&connection)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// One that reads much, each page once.
pub(super) fn passing_reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = reader(path)?;
    connection.pragma_update(None, "cache_size", -PASSING_CACHE_KIB)?;
    Ok(connection)
}

fn prepare(connection: &Connection) -> Result<(), StoreError> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "mmap_size", MMAP_BYTES)?;
    connection.pragma_update(None, "foreign_keys", false)?;
    Ok(())
}

fn identity(connection: &Connection) -> Result<(i64, i64), StoreError> {
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let application = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    Ok((version, application))
}

fn is_empty(connection: &Connection) -> Result<bool, StoreError> {
    Ok(connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0))?)
}

fn migrate(connection: &mut Connection, found: i64) -> Result<(), StoreError> {
    for (version, migration) in (1_i64..).zip(MIGRATIONS).skip_while(|(version, _)| *version <= found) {
        if found > 0 {
            info!(version, "the store is brought up to date");
        }
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(migration.sql)?;
        if let Some(then) = migration.then {
            then(&transaction)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Behind all positions that can have been handed out, seen by a reader, and lost with a power cut before they were on
/// stable storage: no position is used twice.
pub(super) fn pass_unstored(connection: &Connection) -> Result<(), StoreError> {
    connection.execute("UPDATE head SET position = position + ?1", [POSITIONS_UNSTORED_MAX])?;
    Ok(())
}

/// A head behind the log would hand positions out twice.
pub(super) fn check_head(connection: &Connection) -> Result<(), StoreError> {
    const BEHIND: &str = "SELECT (SELECT position FROM head) < max(
        (SELECT coalesce(max(position), 0) FROM deliveries), (SELECT coalesce(max(position), 0) FROM duplicates),
        (SELECT coalesce(max(position), 0) FROM transitions))";
    let behind: bool = connection.query_row(BEHIND, [], |row| row.get(0))?;
    if behind {
        return Err(StoreError::Damaged { what: "head", why: "it lies behind the log".to_owned() });
    }
    Ok(())
}
