//! How a store is opened: what may be chosen, what keeps it from being opened, and what is said of a server whose
//! commits are less than they should be.

use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use tracing::warn;

use super::connection::ASYNCHRONOUS;
use crate::store::StoreError;

/// For the database to answer at the start: it may be starting as well.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// How a store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Connections of those who read, at the most.
    pub readers: usize,
    /// For the database to answer at the start.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { readers: 8, patience: START_PATIENCE }
    }
}

/// Why a store can't be opened. Each says how to mend it; none repeats the URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL can't be used.
    #[error("--database-url = postgres://…: {why}")]
    Address {
        /// What is wrong with it.
        why: String,
    },
    /// A newer release wrote it.
    #[error(
        "the database at {server} has schema version {found}, and this release knows versions up to {known}; \
        run a newer release"
    )]
    Newer {
        /// Host and port.
        server: String,
        /// Its schema version.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// Tables of something else.
    #[error("the database at {server} has tables of calbridge's names that are not calbridge's; name another database")]
    Foreign {
        /// Host and port.
        server: String,
    },
    /// A schema that comes first hides the store.
    #[error(
        "the database at {server} has a store in schema {there}, and connections find schema {here} first, which has \
        none; say which one is meant: --database-url …?options=-csearch_path%3D{there}, or ALTER ROLE … SET search_path"
    )]
    Elsewhere {
        /// Host and port.
        server: String,
        /// The schema that connections find first.
        here: String,
        /// The one with the store.
        there: String,
    },
    /// Not every text can be kept in it.
    #[error(
        "the database at {server} has the encoding {found}, and what Cal.com sends may be written in any script; make \
        one with ENCODING 'UTF8'"
    )]
    Encoding {
        /// Host and port.
        server: String,
        /// Its encoding.
        found: String,
    },
    /// The database refused, or does not answer.
    #[error(
        "cannot open the database at {server}: {why}; check that it runs, and user, database, sslmode and \
        sslrootcert in --database-url"
    )]
    Store {
        /// Host and port.
        server: String,
        /// What went wrong; the message says it, so it is no further cause.
        why: StoreError,
    },
}

/// `database|schema`, as telemetry has it; the schema is the one that connections find first.
pub(super) async fn namespace(client: &ClientWrapper, database: &str) -> String {
    let found =
        client.query_one("SELECT current_schema()::text", &[]).await.and_then(|row| row.try_get::<_, String>(0));
    found.map_or_else(|_| database.to_owned(), |schema| format!("{database}|{schema}"))
}

/// Refuses a database that can't keep every text.
pub(super) async fn check_encoding(client: &ClientWrapper, server: &str) -> Result<(), OpenError> {
    let Ok(row) = client.query_one("SHOW server_encoding", &[]).await else { return Ok(()) };
    match row.try_get::<_, String>(0) {
        // The second takes bytes as they come.
        Ok(found) if !["UTF8", "SQL_ASCII"].contains(&found.as_str()) => {
            Err(OpenError::Encoding { server: server.to_owned(), found })
        }
        _ => Ok(()),
    }
}

/// Says what would make a commit less than stable storage.
pub(super) async fn check_durability(client: &ClientWrapper) {
    let ask = async |name: &str| -> Option<String> {
        let row = client.query_one(&format!("SHOW {name}"), &[]).await.ok()?;
        row.try_get(0).ok()
    };
    if ask("synchronous_commit").await.as_deref() == Some(ASYNCHRONOUS) {
        warn!(
            "synchronous_commit is off in this database: a failure of its machine would lose what others commit; \
            calbridge turns it on for its own connections"
        );
    }
    for name in ["fsync", "full_page_writes"] {
        if ask(name).await.as_deref() == Some("off") {
            warn!(
                setting = name,
                "off in this database: a failure of its machine may lose or damage what was committed; turn it on"
            );
        }
    }
}
