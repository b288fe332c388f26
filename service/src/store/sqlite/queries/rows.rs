//! Everything that is kept, as it is kept: for a check that folds it again.

use std::sync::Arc;

use calbridge_proto::v1;
use rusqlite::{Connection, OptionalExtension, Row};

use super::deliveries;
use crate::store::{
    BookingKey, PAGE_BYTES_MAX, Position, RowPage, StoreError, StoredRow, pack,
    sqlite::{
        reader::Snapshot,
        young::{Name, Number},
    },
};

/// A row, with the place of the newest line in its booking's timeline.
const COLUMNS: &str = "b.tenant, b.uid, b.state, b.first_position,
    (SELECT coalesce(max(m.position), 0) FROM mentions m WHERE m.booking = b.id)";

/// One that was mentioned and of which no fact was heard has no state.
const HEARD: &str = "length(b.state) > 0";

/// One row.
pub(in crate::store::sqlite) fn one(
    snapshot: &Snapshot<'_>,
    (tenant, uid): &BookingKey,
) -> Result<Option<StoredRow>, StoreError> {
    let Some(number) = snapshot.young.number(snapshot, tenant, uid)? else { return Ok(None) };
    numbered(snapshot, number)
}

fn numbered(connection: &Connection, number: Number) -> Result<Option<StoredRow>, StoreError> {
    let statement = format!("SELECT {COLUMNS} FROM bookings b WHERE b.id = ?1 AND {HEARD}");
    Ok(connection.prepare_cached(&statement)?.query_row([number], read).optional()?)
}

/// The same, of which nothing is left where it can't be read at all: a check goes on behind it, and tells it.
fn named(connection: &Connection, Name { tenant, uid, number }: Name) -> Result<Option<StoredRow>, StoreError> {
    match numbered(connection, number) {
        Err(StoreError::Damaged { .. }) => {
            let (mentioned, first) = (Position::default(), Position::default());
            Ok(Some(StoredRow { key: (tenant, uid), state: Vec::new(), mentioned, first }))
        }
        found => found,
    }
}

/// Rows behind `after`, by tenant and uid.
pub(in crate::store::sqlite) fn page(
    snapshot: &Snapshot<'_>,
    tenant: Option<&str>,
    after: Option<&BookingKey>,
    limit: usize,
) -> Result<RowPage, StoreError> {
    let mut behind = after.map_or_else(|| (Arc::from(""), String::new()), Clone::clone);
    let (mut page, mut bytes) = (RowPage::default(), 0);
    loop {
        let names = snapshot.young.names(snapshot, tenant, (&behind.0, &behind.1), limit)?;
        let Some(last) = names.last() else { return Ok(page) };
        behind = (Arc::clone(&last.tenant), last.uid.clone());
        for name in names {
            let Some(row) = named(snapshot, name)? else { continue };
            bytes += row.state.len();
            page.rows.push(row);
            if page.rows.len() == limit || bytes > PAGE_BYTES_MAX {
                page.more = true;
                return Ok(page);
            }
        }
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<StoredRow> {
    Ok(StoredRow {
        key: (Arc::from(row.get::<_, String>(0)?), row.get(1)?),
        state: pack::row_or_rest(row.get(2)?),
        first: Position(row.get(3)?),
        mentioned: Position(row.get(4)?),
    })
}

/// Deliveries behind `after` with their bodies, oldest first.
pub(in crate::store::sqlite) fn journal(
    connection: &Connection,
    tenant: Option<&str>,
    after: Position,
    limit: usize,
) -> Result<Vec<(Position, v1::Delivery)>, StoreError> {
    let mut bytes = 0;
    let mut whole = Vec::new();
    for (position, mut delivery) in behind(connection, tenant, after, limit)? {
        if delivery.raw_body_purged {
            continue;
        }
        delivery.raw_body = deliveries::raw_body(connection, position, &delivery)?;
        bytes += delivery.raw_body.len();
        whole.push((position, delivery));
        if bytes > PAGE_BYTES_MAX {
            break;
        }
    }
    Ok(whole)
}

/// A page of deliveries of which one has its body at least, or none where there is no more. Where a whole page has none
/// it goes on at the next body that is kept.
fn behind(
    connection: &Connection,
    tenant: Option<&str>,
    mut after: Position,
    limit: usize,
) -> Result<Vec<(Position, v1::Delivery)>, StoreError> {
    loop {
        let page = deliveries::behind(connection, tenant, after, limit)?;
        let Some((last, _)) = page.last().filter(|_| page.iter().all(|(_, delivery)| delivery.raw_body_purged)) else {
            return Ok(page);
        };
        let Some(next) = deliveries::next_body(connection, *last)? else { return Ok(Vec::new()) };
        after = Position(next.0 - 1).max(*last);
    }
}
