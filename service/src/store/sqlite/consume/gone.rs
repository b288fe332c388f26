//! The dead letters of consumers that are gone. There may be any number, so they go behind their consumer, in chunks
//! that are each a transaction of the one writer: a round waits some milliseconds for one. Nobody sees them meanwhile,
//! and no other consumer of that name is made before they are gone.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use crate::store::{
    ConsumerKey, PURGE_BYTES_MAX, PURGE_ROWS_MAX, Purged, StoreError,
    sqlite::{desk::Desk, queries},
};

const NEXT: &str = "SELECT tenant, name FROM dead_letters WHERE (tenant, name) > (?1, ?2)
    ORDER BY tenant, name LIMIT 1";

const FIRST: &str = "SELECT rowid, length(entry) FROM dead_letters WHERE tenant = ?1 AND name = ?2
    ORDER BY position LIMIT ?3";

/// A consumer that is gone and has left some.
pub(in crate::store::sqlite) fn left(connection: &Connection) -> Result<Option<ConsumerKey>, StoreError> {
    let key = |row: &Row<'_>| Ok((row.get::<_, String>(0)?.into(), row.get(1)?));
    let mut select = connection.prepare_cached(NEXT)?;
    let mut behind: ConsumerKey = ("".into(), String::new());
    // Each name once: one look for all the letters of a consumer.
    while let Some(found) = select.query_row(params![behind.0, behind.1], key).optional()? {
        if !is_there(connection, &found)? {
            return Ok(Some(found));
        }
        behind = found;
    }
    Ok(None)
}

/// Takes a chunk of what it has left away; nothing where there is such a consumer.
pub(in crate::store::sqlite) fn purge(
    Desk { connection, .. }: &mut Desk,
    key: &ConsumerKey,
) -> Result<Purged, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if is_there(&transaction, key)? {
        return Ok(Purged::default());
    }
    let purged = chunk(&transaction, key)?;
    if purged.rows > 0 {
        transaction.commit()?;
    }
    Ok(purged)
}

/// Takes its first dead letters away.
pub(super) fn chunk(transaction: &Transaction<'_>, (tenant, name): &ConsumerKey) -> Result<Purged, StoreError> {
    const DELETE: &str = "DELETE FROM dead_letters WHERE rowid = ?1";
    let mut select = transaction.prepare_cached(FIRST)?;
    let letter = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let first = select.query_map(params![tenant, name, queries::limit(PURGE_ROWS_MAX)], letter)?;
    let first: Vec<(i64, i64)> = first.collect::<Result<_, _>>()?;
    let mut delete = transaction.prepare_cached(DELETE)?;
    let (mut rows, mut bytes) = (0, 0_usize);
    for (row, size) in &first {
        if bytes >= PURGE_BYTES_MAX {
            break;
        }
        delete.execute([row])?;
        rows += 1;
        bytes = bytes.saturating_add(usize::try_from(*size).unwrap_or(usize::MAX));
    }
    Ok(Purged { rows, more: rows < first.len() || rows == PURGE_ROWS_MAX })
}

/// Whether a consumer that is to be made would have another's.
pub(super) fn are_left(connection: &Connection, key: &ConsumerKey) -> Result<bool, StoreError> {
    const SELECT: &str = "SELECT 1 FROM dead_letters WHERE tenant = ?1 AND name = ?2";
    Ok(connection.prepare_cached(SELECT)?.exists(params![key.0, key.1])?)
}

fn is_there(connection: &Connection, key: &ConsumerKey) -> Result<bool, StoreError> {
    const SELECT: &str = "SELECT 1 FROM consumers WHERE tenant = ?1 AND name = ?2";
    Ok(connection.prepare_cached(SELECT)?.exists(params![key.0, key.1])?)
}

#[cfg(test)]
mod tests;
