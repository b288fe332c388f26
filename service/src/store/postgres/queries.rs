//! Reading. What needs one state of the database for several statements reads it in a transaction of its own.

pub(super) mod bookings;
mod candidates;
pub(super) mod clock;
pub(super) mod deliveries;
pub(super) mod lineage;
pub(super) mod log;
pub(super) mod rows;
pub(super) mod timeline;

use deadpool_postgres::ClientWrapper;
use tokio::task::yield_now;

use crate::store::{Position, StoreError};

/// One state of the database for several statements.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Rows that are decoded before others have their turn: one may take some ten microseconds, and rounds go over the same
/// threads.
const ROWS_AT_A_TIME: usize = 64;

/// What rows hold that is large, as much of it as one statement answers, and one row's more: each may be a megabyte,
/// and a page may have a thousand.
pub(super) const ROWS_BYTES: usize = 4 * 1024 * 1024;

/// The newest position that was handed out.
pub(super) async fn head(client: &ClientWrapper) -> Result<Position, StoreError> {
    let select = client.prepare_cached("SELECT position FROM head").await?;
    Ok(Position(client.query_one(&select, &[]).await?.try_get(0)?))
}

/// Reads on one state of the database. A connection whose read failed is not used again, and so needs no end.
async fn at_once<T>(
    client: &ClientWrapper,
    read: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    client.batch_execute(BEGIN).await?;
    let found = read.await?;
    client.batch_execute("COMMIT").await?;
    Ok(found)
}

/// Lets others have their turn behind so many rows that were decoded, or postings that were met.
async fn give_way(done: usize) {
    if done.is_multiple_of(ROWS_AT_A_TIME) {
        yield_now().await;
    }
}

/// An expression for a large column: null where the rows before this one hold so many bytes of it. The first row has
/// its own, so whoever goes on before the first without it comes to an end. A size is known without the bytes, and what
/// is null is never read.
pub(super) fn within(bytes: usize, column: &str, order: &str) -> String {
    let size = format!("coalesce(octet_length({column}), 0)");
    let before = format!("sum({size}) OVER (ORDER BY {order} ROWS UNBOUNDED PRECEDING) - {size}");
    format!("CASE WHEN {before} < {bytes} THEN {column} END")
}

/// `PostgreSQL`'s limit is signed. More rows than this no page has.
pub(super) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
