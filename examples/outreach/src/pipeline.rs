//! The pipeline's database, and the one transaction in which a booking's transition changes it.
//!
//! Whether a transition was applied before is decided inside that transaction, so one that comes again, after a crash
//! or because somebody moved the consumer's cursor, changes nothing.

mod claims;
mod outcome;
pub(crate) mod records;

use std::{fmt, path::Path, time::Duration};

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};

use crate::{
    meeting::{self, Meeting},
    snapshot::{Refusal, Snapshot},
};

/// "OUTR": tells our files from other `SQLite` files.
const APPLICATION_ID: i64 = 0x4f55_5452;
/// Counts the schemas that there were.
const SCHEMA_VERSION: i64 = 1;
/// For somebody else's transaction to end: `outreach show`, `seed`, or a shell of an operator.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Bookings of a lineage that are looked at: calbridge itself walks no further.
const LINEAGE_MAX: i64 = 1_000;

/// The database.
#[derive(Debug)]
pub struct Pipeline {
    connection: Connection,
}

/// What applying a transition came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It is written.
    Now,
    /// It was written before.
    Before,
}

/// Why the pipeline can't be opened or changed.
#[derive(Debug)]
pub enum PipelineError {
    /// The data must be mended first.
    Refused(Refusal),
    /// The file is none of ours.
    Foreign,
    /// A later release wrote it.
    Newer(i64),
    /// It holds another tenant's bookings.
    Tenant(String),
    /// The database itself.
    Database(rusqlite::Error),
}

impl Pipeline {
    /// Opens a file, or makes it.
    ///
    /// # Errors
    ///
    /// Where it is another program's or another tenant's, or can't be read.
    pub fn open(path: &Path, tenant: &str) -> Result<Self, PipelineError> {
        Self::new(Connection::open(path)?, tenant)
    }

    /// One that ends with the process.
    ///
    /// # Errors
    ///
    /// Where there is no memory for it.
    pub fn in_memory(tenant: &str) -> Result<Self, PipelineError> {
        Self::new(Connection::open_in_memory()?, tenant)
    }

    fn new(mut connection: Connection, tenant: &str) -> Result<Self, PipelineError> {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // What is acked must outlive a power cut: the service never tells it again.
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let pragma = |name| change.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let tables: i64 = change.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        match (pragma("application_id")?, pragma("user_version")?) {
            (0, 0) if tables == 0 => {
                change.execute_batch(include_str!("schema.sql"))?;
                change.pragma_update(None, "application_id", APPLICATION_ID)?;
                change.pragma_update(None, "user_version", SCHEMA_VERSION)?;
                change.execute("INSERT INTO owner (tenant) VALUES (?1)", [tenant])?;
            }
            (APPLICATION_ID, SCHEMA_VERSION) => {}
            (APPLICATION_ID, newer) => return Err(PipelineError::Newer(newer)),
            _ => return Err(PipelineError::Foreign),
        }
        let owner: String = change.query_row("SELECT tenant FROM owner", [], |row| row.get(0))?;
        if owner != tenant {
            return Err(PipelineError::Tenant(owner));
        }
        change.commit()?;
        Ok(Self { connection })
    }

    /// For commands that look and seed.
    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Takes in what a transition tells, whole or not at all.
    ///
    /// # Errors
    ///
    /// Nothing was written then.
    pub fn apply(&mut self, told: &Snapshot) -> Result<Applied, PipelineError> {
        let change = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if !records::note(&change, told)? {
            return Ok(Applied::Before);
        }
        let before = records::lineage(&change, &told.uid)?;
        records::keep(&change, told)?;
        let mut touched = records::lineage(&change, &told.uid)?;
        // A link may have changed: what was joined before may stand alone now.
        for uid in before {
            if !touched.contains(&uid) {
                touched.extend(records::lineage(&change, &uid)?);
            }
        }
        let bookings = records::bookings(&change, &touched)?;
        let meetings = meeting::meetings(&bookings);
        for meeting in &meetings {
            check(&change, meeting)?;
        }
        claims::settle(&change, &touched, &meetings)?;
        outcome::write(&change, &touched, &meetings)?;
        change.commit()?;
        Ok(Applied::Now)
    }
}

/// Whom it names must be there: a sequence is nothing that a booking can make up.
fn check(change: &Transaction<'_>, meeting: &Meeting) -> Result<(), PipelineError> {
    let is_there = |sql: &str, id: &str| change.query_row(sql, [id], |_| Ok(())).optional();
    if let Some(sequence) = &meeting.sequence
        && is_there("SELECT 1 FROM sequences WHERE id = ?1", sequence)?.is_none()
    {
        let why = "metadata.outreachSequenceId names no sequence: add it, then replay this dead letter";
        return Err(PipelineError::Refused(Refusal::Poison(why)));
    }
    if let Some(contact) = &meeting.contact
        && is_there("SELECT 1 FROM contacts WHERE id = ?1", contact)?.is_none()
    {
        let why = "metadata.contactId names no contact: add it, then replay this dead letter";
        return Err(PipelineError::Refused(Refusal::Poison(why)));
    }
    Ok(())
}

impl From<rusqlite::Error> for PipelineError {
    fn from(why: rusqlite::Error) -> Self {
        Self::Database(why)
    }
}

impl fmt::Display for PipelineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => f.write_str(refusal.reason()),
            Self::Foreign => f.write_str("the database is another program's: name a file of outreach, or a new one"),
            Self::Newer(version) => {
                write!(f, "the database is of schema {version}, written by a later release: use that, or a new file")
            }
            Self::Tenant(owner) => write!(f, "the database holds the bookings of {owner}: name another file"),
            // Its code alone: messages of a database may repeat what is in it.
            Self::Database(why) => match why.sqlite_error_code() {
                Some(code) => write!(f, "the database can't be read or written now: {code:?}"),
                None => f.write_str("the database answered something unforeseen"),
            },
        }
    }
}

impl std::error::Error for PipelineError {}

#[cfg(test)]
mod tests;
