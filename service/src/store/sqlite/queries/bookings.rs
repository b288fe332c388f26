//! Bookings, one or a page of them, with the origin of each one's lineage.

use calbridge_proto::v1;
use prost::Message;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter, types::Value};

use crate::store::{
    BookingOrder, BookingQuery, Micros, Position, StoreError,
    view::{self, Walk},
};

/// One visible booking.
pub(in crate::store::sqlite) fn one(
    connection: &Connection,
    tenant: &str,
    uid: &str,
) -> Result<Option<v1::Booking>, StoreError> {
    const SELECT: &str = "SELECT uid, state, position, update_time FROM bookings
        WHERE tenant = ?1 AND uid = ?2 AND visible = 1";
    let found = connection.prepare_cached(SELECT)?.query_row(params![tenant, uid], Found::read).optional()?;
    found.map(|found| found.show(connection, tenant)).transpose()
}

/// A page of visible bookings.
pub(in crate::store::sqlite) fn page(
    connection: &Connection,
    query: &BookingQuery,
) -> Result<Vec<v1::Booking>, StoreError> {
    let mut values = vec![Value::Text(query.tenant.to_string()), Value::Integer(super::limit(query.limit))];
    if let Some(after) = &query.after {
        values.push(Value::Integer(after.time));
        values.push(Value::Text(after.uid.clone()));
    }
    let mut select = connection.prepare_cached(&statement(query))?;
    let found = select.query_map(params_from_iter(values), Found::read)?;
    super::collect(found.map(|found| found?.show(connection, &query.tenant)), v1::Booking::encoded_len)
}

/// The uid of the lineage's first booking, as far as it is known.
pub(super) fn origin(connection: &Connection, tenant: &str, uid: &str) -> Result<String, StoreError> {
    const SELECT: &str = "SELECT rescheduled_from FROM bookings WHERE tenant = ?1 AND uid = ?2";
    let mut select = connection.prepare_cached(SELECT)?;
    let mut walk = Walk::from(uid);
    let mut at = uid.to_owned();
    loop {
        let replaced = select.query_row(params![tenant, at], |row| row.get(0)).optional()?;
        match walk.step(replaced.flatten()) {
            Ok(next) => next.clone_into(&mut at),
            Err(origin) => return Ok(origin),
        }
    }
}

/// One statement for each order, direction and beginning; each is prepared once.
fn statement(query: &BookingQuery) -> String {
    let column = match query.order {
        BookingOrder::StartTime => "start_time",
        BookingOrder::UpdateTime => "update_time",
    };
    let (direction, beyond) = if query.descending { ("DESC", "<") } else { ("ASC", ">") };
    let after = match query.after {
        Some(_) => format!("AND ({column}, uid) {beyond} (?3, ?4)"),
        None => String::new(),
    };
    format!(
        "SELECT uid, state, position, update_time FROM bookings WHERE tenant = ?1 AND visible = 1 {after}
        ORDER BY {column} {direction}, uid {direction} LIMIT ?2"
    )
}

/// A visible row.
struct Found {
    uid: String,
    state: Vec<u8>,
    position: Position,
    update_time: Micros,
}

impl Found {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { uid: row.get(0)?, state: row.get(1)?, position: Position(row.get(2)?), update_time: row.get(3)? })
    }

    fn show(self, connection: &Connection, tenant: &str) -> Result<v1::Booking, StoreError> {
        let mut booking = view::booking(tenant, &self.uid, &self.state, self.position, self.update_time)?;
        view::seal(&mut booking, origin(connection, tenant, &self.uid)?);
        Ok(booking)
    }
}
