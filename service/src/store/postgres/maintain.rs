//! An operator's work on the database, on a connection of its own beside running services.

mod dump;
mod measure;
mod program;

use std::{path::Path, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{
    connection::{Address, Lease, Role},
    schema,
};
use crate::store::{
    Position, StoreError,
    maintain::{Advanced, Backup, MaintainError, Programs, Stats, Vacuumed, step},
};

/// What takes as long as it takes: the bounds of a service's connection are taken off, but for locks that others hold.
const UNBOUNDED: [&str; 3] = [
    "SET statement_timeout = 0",
    "SET idle_in_transaction_session_timeout = 0",
    // Services hold none that long, and a migration or an operator's `LOCK` is to be heard of.
    "SET lock_timeout = '60s'",
];

/// A database with a store, and a connection to it.
struct Desk {
    address: Address,
    /// Without user and password.
    place: String,
    schema_version: i64,
    lease: Lease,
}

/// What the database holds.
pub(in crate::store) async fn stats(url: &str, exact: bool) -> Result<Stats, MaintainError> {
    let desk = Desk::open(url).await?;
    if exact {
        desk.unbind().await?;
    }
    let stats = measure::stats(&desk.lease, &desk.place, desk.schema_version, exact).await;
    desk.close(stats)
}

/// Writes the database, as it is at one moment, into `to`.
pub(in crate::store) async fn backup(
    url: &str,
    to: &Path,
    programs: Programs<'_>,
    stop: &CancellationToken,
) -> Result<Backup, MaintainError> {
    let desk = Desk::open(url).await?;
    desk.unbind().await?;
    let snapshot = dump::snapshot(&desk.lease).await.map_err(|why| desk.failed(why))?;
    let backup = dump::dump(&desk.address, &snapshot, to, programs, stop).await?;
    desk.close(Ok(backup))
}

/// Lets our tables use the room of removed rows again, and the planner know them.
pub(in crate::store) async fn vacuum(url: &str) -> Result<Vacuumed, MaintainError> {
    let desk = Desk::open(url).await?;
    desk.unbind().await?;
    if let Some((user, tables)) = measure::closed_to_vacuum(&desk.lease).await.map_err(|why| desk.failed(why))? {
        return Err(MaintainError::NotTheirs { place: desk.place, user, tables });
    }
    let work = async {
        let before = measure::on_disk(&desk.lease).await?;
        for table in measure::tables(&desk.lease).await? {
            // A name of our own migrations: plain letters.
            desk.lease.batch_execute(&format!("VACUUM (ANALYZE) {table}")).await?;
        }
        Ok(Vacuumed { before, after: measure::on_disk(&desk.lease).await? })
    };
    let done = work.await;
    desk.close(done)
}

/// Positions go on behind a step. Writers take turns at the head, so it may be moved while they write.
pub(in crate::store) async fn advance_head(url: &str, by: u64) -> Result<Advanced, MaintainError> {
    const LOCK: &str = "SELECT position FROM head FOR UPDATE";
    const MOVE: &str = "UPDATE head SET position = $1";
    let desk = Desk::open(url).await?;
    let failed = |error: tokio_postgres::Error| desk.failed(error.into());
    desk.lease.batch_execute("BEGIN").await.map_err(failed)?;
    let row = desk.lease.query_one(LOCK, &[]).await.map_err(failed)?;
    let advanced = step(Position(row.try_get(0).map_err(failed)?), by)?;
    desk.lease.execute(MOVE, &[&advanced.to.0]).await.map_err(failed)?;
    desk.lease.batch_execute("COMMIT").await.map_err(failed)?;
    desk.close(Ok(advanced))
}

impl Desk {
    async fn open(url: &str) -> Result<Self, MaintainError> {
        let address = Address::read(url)?;
        let server = address.servers();
        let place = format!("postgresql://{server}/{}", address.database());
        // Who types a command does not wait for a server that is not there.
        let lease = address.connections(Role::Operator, 1)?.first(Duration::ZERO, &server).await?;
        match schema::found(&lease, &server).await? {
            Some(schema_version) => Ok(Self { address, place, schema_version, lease }),
            None => Err(MaintainError::Absent { place }),
        }
    }

    async fn unbind(&self) -> Result<(), MaintainError> {
        for setting in UNBOUNDED {
            match self.lease.batch_execute(setting).await {
                // Not every server knows all of them.
                Err(error) if error.as_db_error().is_none() => return Err(self.failed(error.into())),
                _ => {}
            }
        }
        Ok(())
    }

    fn failed(&self, why: StoreError) -> MaintainError {
        MaintainError::Store { place: self.place.clone(), why }
    }

    /// The connection is closed with it.
    fn close<T>(self, done: Result<T, StoreError>) -> Result<T, MaintainError> {
        done.map_err(|why| self.failed(why))
    }
}
