//! Whether this database is a copy of the one that handed out the positions so far: a standby that was promoted, a
//! backup that was restored. A copy may lack what was told already, and positions are never used twice: its head goes
//! on behind a step, before anything is committed there or read.
//!
//! A new timeline is told by the server, a restored table by its number. A machine that is set back as a whole has the
//! same of both.

use deadpool_postgres::ClientWrapper;
use tokio_postgres::{Error, error::SqlState};
use tracing::warn;

use crate::store::{HEAD_STEP, postgres::head::BEGIN};

const HERE: &str = "SELECT concat_ws('/', (SELECT system_identifier FROM pg_control_system()),
        left(pg_walfile_name(pg_current_wal_lsn()), 8), d.oid, 'head'::regclass::oid)
    FROM pg_database d WHERE d.datname = current_database()";
const FOUND: &str = "SELECT origin FROM head";
/// All that come at once wait for the first: then there is nothing left to do.
const MOVE: &str = "UPDATE head SET position = position + CASE WHEN origin = '' THEN 0 ELSE $1::bigint END, origin = $2
    WHERE origin <> $2 RETURNING position";

/// Moves the head of a copy on. A server that can't tell what it is, and a schema of before, are left as they are.
pub(super) async fn check(client: &ClientWrapper) -> Result<(), Error> {
    let (Some(here), Some(found)) = (ask(client, HERE).await?, ask(client, FOUND).await?) else { return Ok(()) };
    if here == found {
        return Ok(());
    }
    let step = HEAD_STEP.cast_signed();
    client.batch_execute(BEGIN).await?;
    let moved = client.query_opt(MOVE, &[&step, &here]).await?;
    client.batch_execute("COMMIT").await?;
    if let Some(row) = moved
        && !found.is_empty()
    {
        let position: i64 = row.try_get(0)?;
        warn!(
            found,
            here,
            position,
            "this database is a copy of the one that handed out the positions so far (a standby that was promoted, a \
             backup that was restored): positions go on behind a step, and what it lacks is gone"
        );
    }
    Ok(())
}

async fn ask(client: &ClientWrapper, question: &str) -> Result<Option<String>, Error> {
    match client.query_one(question, &[]).await {
        Ok(row) => row.try_get(0).map(Some),
        Err(error) => match error.code() {
            // It was not answered in time.
            None | Some(&SqlState::QUERY_CANCELED | &SqlState::LOCK_NOT_AVAILABLE) => Err(error),
            Some(_) => Ok(None),
        },
    }
}
