//! A visible row as a booking, but for what only a reader of other rows can know.

use calbridge_proto::v1;
use rusqlite::{OptionalExtension, Row};

use crate::store::{Position, StoreError, found::FoundBooking, sqlite::reader::Snapshot, view::LoadedRow};

/// One visible booking, but for what only a reader of other bookings can know.
pub(super) fn unsealed(snapshot: &Snapshot<'_>, tenant: &str, uid: &str) -> Result<Option<v1::Booking>, StoreError> {
    const SELECT: &str = "SELECT uid, state, clock_told, position, update_time FROM bookings
        WHERE id = ?1 AND visible = 1";
    let Some(number) = snapshot.young.number(snapshot, tenant, uid)? else { return Ok(None) };
    let found = snapshot.prepare_cached(SELECT)?.query_row([number], read).optional()?;
    found.map(|found| found.show(tenant)).transpose()
}

/// The same for a list, which leaves out what is damaged.
pub(super) fn in_list(
    snapshot: &Snapshot<'_>,
    tenant: &str,
    uid: &str,
    damaged: &mut Vec<String>,
) -> Result<Option<v1::Booking>, StoreError> {
    match unsealed(snapshot, tenant, uid) {
        Err(StoreError::Damaged { .. }) => {
            damaged.push(uid.to_owned());
            Ok(None)
        }
        found => found,
    }
}

/// A visible row.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<FoundBooking> {
    Ok(FoundBooking {
        uid: row.get(0)?,
        row: LoadedRow { state: row.get(1)?, clock_told: row.get(2)? },
        position: Position(row.get(3)?),
        update_time: row.get(4)?,
    })
}
