//! Lineages: where one begins, and all who belong to it.

use std::collections::{HashSet, VecDeque};

use calbridge_proto::v1;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::found::unsealed;
use crate::store::{
    LINEAGE_MAX, StoreError,
    lineage::{self, Link, Origin},
    time::micros,
    view,
};

/// Where the lineage of a booking begins, as far as it is known.
pub(super) fn origin(connection: &Connection, tenant: &str, uid: &str) -> Result<Origin, StoreError> {
    const SELECT: &str = "SELECT b.rescheduled_from, b.link, coalesce(p.seated, 0) FROM bookings b
        LEFT JOIN bookings p ON p.tenant = b.tenant AND p.uid = b.rescheduled_from
        WHERE b.tenant = ?1 AND b.uid = ?2 AND b.rescheduled_from IS NOT NULL";
    let mut select = connection.prepare_cached(SELECT)?;
    lineage::origin(uid, |at| Ok(select.query_row(params![tenant, at], link).optional()?))
}

/// Its visible bookings: from the origin on, each after the one that it replaced.
pub(in crate::store::sqlite) fn all(
    connection: &Connection,
    tenant: &str,
    uid: &str,
) -> Result<Vec<v1::Booking>, StoreError> {
    let origin = origin(connection, tenant, uid)?.uid;
    let mut known = HashSet::from([origin.clone()]);
    let mut waiting = VecDeque::from([origin.clone()]);
    let mut bookings = Vec::new();
    while let Some(uid) = waiting.pop_front() {
        if let Some(mut booking) = unsealed(connection, tenant, &uid)? {
            let void = self::origin(connection, tenant, &uid)?.void;
            view::seal(&mut booking, Origin { uid: origin.clone(), void });
            bookings.push(booking);
        }
        for after in successors(connection, tenant, &uid)? {
            if known.len() < LINEAGE_MAX && known.insert(after.clone()) {
                waiting.push_back(after);
            }
        }
    }
    Ok(bookings)
}

/// The bookings that say that they replaced this one, the older first.
fn successors(connection: &Connection, tenant: &str, uid: &str) -> Result<Vec<String>, StoreError> {
    const SELECT: &str = "SELECT b.uid, b.link, coalesce(p.seated, 0) FROM bookings b
        LEFT JOIN bookings p ON p.tenant = b.tenant AND p.uid = b.rescheduled_from
        WHERE b.tenant = ?1 AND b.rescheduled_from = ?2 LIMIT ?3";
    let mut select = connection.prepare_cached(SELECT)?;
    let found = select.query_map(params![tenant, uid, super::limit(LINEAGE_MAX)], link)?;
    let mut after = Vec::new();
    for found in found {
        let found = found?;
        if !found.is_void() {
            let booking = unsealed(connection, tenant, &found.uid)?;
            let created = booking.and_then(|booking| booking.create_time).map_or(i64::MAX, |time| micros(&time));
            after.push((created, found.uid));
        }
    }
    after.sort_unstable();
    Ok(after.into_iter().map(|(_, uid)| uid).collect())
}

fn link(row: &Row<'_>) -> rusqlite::Result<Link> {
    Ok(Link { uid: row.get(0)?, evidence: row.get(1)?, to_seated: row.get(2)? })
}
