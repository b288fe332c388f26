//! Bookings, one or a page of them, with the origin of each one's lineage.

use calbridge_proto::v1;
use prost::Message;
use rusqlite::{Connection, Row, ToSql, params_from_iter, types::ToSqlOutput};

use super::{
    found::{self, unsealed},
    lineage::{Origins, origin},
};
use crate::store::{
    BookingCursor, BookingOrder, BookingPage, BookingQuery, LINEAGE_MAX, PAGE_BYTES_MAX, PAGE_DECODED_MAX,
    PAGE_LOOKS_MAX, StoreError,
    candidates::{Choice, Columns, Dialect, Statement, Value, may_match},
    view,
};

/// One visible booking.
pub(in crate::store::sqlite) fn one(
    connection: &Connection,
    tenant: &str,
    uid: &str,
) -> Result<Option<v1::Booking>, StoreError> {
    let Some(mut booking) = unsealed(connection, tenant, uid)? else { return Ok(None) };
    view::seal(&mut booking, origin(connection, tenant, uid)?);
    Ok(Some(booking))
}

/// The last booking that the reschedules of `uid` lead to.
pub(in crate::store::sqlite) fn last(
    connection: &Connection,
    tenant: &str,
    uid: &str,
) -> Result<Option<v1::Booking>, StoreError> {
    let Some(mut booking) = unsealed(connection, tenant, uid)? else { return Ok(None) };
    let mut seen = vec![uid.to_owned()];
    while seen.len() <= LINEAGE_MAX {
        let next = booking.rescheduled_to_uid.clone();
        if next.is_empty() || seen.contains(&next) {
            break;
        }
        let Some(after) = unsealed(connection, tenant, &next)? else { break };
        booking = after;
        seen.push(next);
    }
    let origin = origin(connection, tenant, &booking.uid)?;
    view::seal(&mut booking, origin);
    Ok(Some(booking))
}

/// A page of visible bookings.
pub(in crate::store::sqlite) fn page(connection: &Connection, query: &BookingQuery) -> Result<BookingPage, StoreError> {
    let Statement { sql, values } = candidates(connection, query)?;
    let mut select = connection.prepare_cached(&sql)?;
    let mut rows = select.query(params_from_iter(values))?;
    let mut origins = Origins::new(connection, &query.tenant);
    let (mut page, mut looks, mut decoded, mut bytes) = (BookingPage::default(), 0, 0, 0);
    while let Some(row) = rows.next()? {
        let columns = columns(row)?;
        looks += 1;
        if may_match(&query.filter, &columns) {
            let mut booking = found::read(row)?.show(&query.tenant)?;
            decoded += 1;
            if query.filter.matches(&booking) {
                let origin = origins.of(&booking.uid)?;
                view::seal(&mut booking, origin);
                bytes += booking.encoded_len();
                page.bookings.push(booking);
            }
        }
        let full = page.bookings.len() >= query.limit || (bytes > PAGE_BYTES_MAX && page.bookings.len() > 1);
        if full || looks >= PAGE_LOOKS_MAX || decoded >= PAGE_DECODED_MAX {
            page.next = Some(cursor(row, &columns, query.order)?);
            break;
        }
    }
    Ok(page)
}

/// The rows that the page looks at.
fn candidates(connection: &Connection, query: &BookingQuery) -> Result<Statement, StoreError> {
    let mut choice = Choice::new(Dialect::Sqlite, query);
    while let Some(Statement { sql, values }) = choice.to_count() {
        let rows = connection.prepare_cached(&sql)?.query_row(params_from_iter(values), |row| row.get(0))?;
        choice.counted(rows);
    }
    Ok(choice.candidates(query.after.as_ref(), None))
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Integer(value) => value.to_sql(),
            Self::Text(value) => value.to_sql(),
        }
    }
}

fn columns(row: &Row<'_>) -> rusqlite::Result<Columns> {
    Ok(Columns {
        update_time: row.get(4)?,
        status: row.get(5)?,
        start_time: row.get(6)?,
        organizer: row.get(7)?,
        event_type_id: row.get(8)?,
    })
}

fn cursor(row: &Row<'_>, columns: &Columns, order: BookingOrder) -> rusqlite::Result<BookingCursor> {
    let time = match order {
        BookingOrder::StartTime => columns.start_time,
        BookingOrder::UpdateTime => columns.update_time,
    };
    Ok(BookingCursor { time, uid: row.get(0)? })
}

#[cfg(test)]
mod tests;
