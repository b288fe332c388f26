//! The tables, brought up to date at the start by whichever replica comes first.
//!
//! Each migration leaves the release before it able to go on: it adds, and what it makes needless is removed by a later
//! one. An older release that meets a newer schema than it knows stops with an error.

mod fill;

use tokio_postgres::{Row, error::SqlState};
use tracing::info;

use super::{OpenError, connection::Lease, head::BEGIN};
use crate::store::StoreError;

/// Every migration, in order: each takes the schema from its index to the next version.
const MIGRATIONS: &[&str] = &[
    include_str!("../../../migrations/postgres/0001_first.sql"),
    include_str!("../../../migrations/postgres/0002_retention.sql"),
    include_str!("../../../migrations/postgres/0003_consumers.sql"),
    include_str!("../../../migrations/postgres/0004_rows.sql"),
    include_str!("../../../migrations/postgres/0005_origin.sql"),
    include_str!("../../../migrations/postgres/0006_postings.sql"),
];
/// The version whose postings are filled from the rows that are there already.
const WITH_POSTINGS: i64 = 6;

/// Where the version stands. Whoever migrates locks its row, so that replicas that start together take turns.
const VERSION_TABLE: &str = "CREATE TABLE IF NOT EXISTS calbridge_schema (
    id      SMALLINT PRIMARY KEY CHECK (id = 1),
    version BIGINT   NOT NULL
)";
const VERSION_ROW: &str = "INSERT INTO calbridge_schema (id, version) VALUES (1, 0) ON CONFLICT DO NOTHING";
const LOCK_VERSION: &str = "SELECT version FROM calbridge_schema FOR UPDATE";

/// Tries of replicas that make the version's table at the same moment: `IF NOT EXISTS` does not keep them apart.
const TABLE_TRIES: usize = 10;

/// The tables are there and up to date when this returns.
pub(super) async fn migrate(client: &Lease, server: &str) -> Result<(), OpenError> {
    let failed = |why: StoreError| OpenError::Store { server: server.to_owned(), why };
    // A migration takes as long as it takes, and so does waiting for another replica's.
    for setting in ["SET statement_timeout = 0", "SET lock_timeout = 0", "SET idle_in_transaction_session_timeout = 0"]
    {
        // Not every server knows all of them.
        let _ = client.batch_execute(setting).await;
    }
    if let Some((here, there)) = is_elsewhere(client).await.map_err(failed)? {
        return Err(OpenError::Elsewhere { server: server.to_owned(), here, there });
    }
    if is_foreign(client).await.map_err(failed)? {
        return Err(OpenError::Foreign { server: server.to_owned() });
    }
    make_version(client).await.map_err(failed)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    loop {
        client.batch_execute(BEGIN).await.map_err(|error| failed(error.into()))?;
        let found = version(client).await.map_err(failed)?;
        if found > known {
            return Err(OpenError::Newer { server: server.to_owned(), found, known });
        }
        let Some(migration) = usize::try_from(found).ok().and_then(|found| MIGRATIONS.get(found)) else {
            return client.batch_execute("COMMIT").await.map_err(|error| failed(error.into()));
        };
        info!(from = found, to = found + 1, "the schema is brought up to date");
        apply(client, migration, found + 1).await.map_err(failed)?;
    }
}

/// The schema's version, of a database that has a store and no newer one than this program knows; `None` where there is
/// none.
pub(super) async fn found(client: &Lease, server: &str) -> Result<Option<i64>, OpenError> {
    const IS_THERE: &str = "SELECT to_regclass('calbridge_schema') IS NOT NULL";
    let ask = async || -> Result<Option<i64>, StoreError> {
        if !client.query_one(IS_THERE, &[]).await?.try_get::<_, bool>(0)? {
            return Ok(None);
        }
        let row = client.query_opt("SELECT version FROM calbridge_schema", &[]).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    };
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    match ask().await {
        Ok(Some(found)) if found > known => Err(OpenError::Newer { server: server.to_owned(), found, known }),
        Ok(found) => Ok(found.filter(|found| *found > 0)),
        Err(why) => Err(OpenError::Store { server: server.to_owned(), why }),
    }
}

/// The tables that the migrations make, those too that a later one removes.
pub(super) fn tables() -> impl Iterator<Item = &'static str> {
    let made = MIGRATIONS.iter().flat_map(|migration| migration.lines()).filter_map(|line| {
        let name = line.strip_prefix("CREATE TABLE ")?.split([' ', '(']).next()?;
        Some(name)
    });
    made.chain(["calbridge_schema"])
}

/// The schema that comes first, and the one that has a store, where those are two: the first would hide the other.
async fn is_elsewhere(client: &Lease) -> Result<Option<(String, String)>, StoreError> {
    const SELECT: &str = "SELECT current_schema()::text, n.nspname::text FROM pg_class c, pg_namespace n
        WHERE c.oid = to_regclass('calbridge_schema') AND n.oid = c.relnamespace AND n.nspname <> current_schema()";
    match client.query_opt(SELECT, &[]).await {
        Ok(found) => Ok(found.map(|row| Ok::<_, StoreError>((row.try_get(0)?, row.try_get(1)?))).transpose()?),
        // Not every server can tell.
        Err(error) if error.as_db_error().is_some() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Something else has tables of our names here.
async fn is_foreign(client: &Lease) -> Result<bool, StoreError> {
    const SELECT: &str = "SELECT count(*) FILTER (WHERE table_name = 'calbridge_schema'),
            count(*) FILTER (WHERE table_name <> 'calbridge_schema')
        FROM information_schema.tables WHERE table_schema = current_schema() AND table_name = ANY($1)";
    let row: Row = client.query_one(SELECT, &[&tables().collect::<Vec<_>>()]).await?;
    let (ours, others): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    Ok(ours == 0 && others > 0)
}

/// A role that may not make tables is enough for a schema that is there.
async fn make_version(client: &Lease) -> Result<(), StoreError> {
    const IS_HERE: &str = "SELECT EXISTS (SELECT FROM information_schema.tables
        WHERE table_schema = current_schema() AND table_name = 'calbridge_schema')";
    if client.query_one(IS_HERE, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(client.batch_execute(VERSION_ROW).await?);
    }
    for _ in 1..TABLE_TRIES {
        match client.batch_execute(VERSION_TABLE).await {
            Err(error) if is_made_by_another(&error) => {}
            Err(error) => return Err(error.into()),
            Ok(()) => break,
        }
    }
    Ok(client.batch_execute(VERSION_ROW).await?)
}

fn is_made_by_another(error: &tokio_postgres::Error) -> bool {
    let states = [SqlState::UNIQUE_VIOLATION, SqlState::DUPLICATE_TABLE, SqlState::DUPLICATE_OBJECT];
    error.code().is_some_and(|code| states.contains(code))
}

async fn version(client: &Lease) -> Result<i64, StoreError> {
    Ok(client.query_one(LOCK_VERSION, &[]).await?.try_get(0)?)
}

async fn apply(client: &Lease, migration: &str, version: i64) -> Result<(), StoreError> {
    client.batch_execute(migration).await?;
    if version == WITH_POSTINGS {
        fill::postings_of_bookings(client).await?;
    }
    client.execute("UPDATE calbridge_schema SET version = $1", &[&version]).await?;
    Ok(client.batch_execute("COMMIT").await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_those_of_the_migrations() {
        let all: Vec<_> = tables().collect();
        for table in ["head", "deliveries", "bookings", "mentions", "calbridge_schema"] {
            assert!(all.contains(&table), "{table} in {all:?}");
        }
        assert!(all.iter().all(|name| name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'_'))), "{all:?}");
    }
}
