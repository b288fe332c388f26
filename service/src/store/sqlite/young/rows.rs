//! Reading the young off their rows, past those that can't be read: a damaged page hides every row on it, and no other
//! booking is to wait for those.

use std::{collections::BTreeSet, sync::Arc};

use rusqlite::{Connection, Rows};

use super::{End, Name, Number};
use crate::store::StoreError;

/// How many numbers may lead to nothing that can be read: more than a page that leads to others hides. What is damaged
/// beyond it is to be restored.
pub(in crate::store::sqlite) const UNREAD_MAX: usize = 8_192;

/// The names of visible bookings, without a look at their rows: the index has them as well.
pub(super) const NAMES: &str = "SELECT tenant, uid, id FROM bookings INDEXED BY bookings_by_update
    WHERE visible = 1 AND id BETWEEN ?1 AND ?2";

/// The greatest number that was given, as far as that can be read.
pub(super) fn newest(connection: &Connection) -> Result<Number, StoreError> {
    const ROWS: &str = "SELECT coalesce(max(id), 0) FROM bookings";
    // Each booking has a line in its timeline, until that is purged.
    const LINES: &str = "SELECT coalesce(max(booking), 0) FROM mentions";
    let number =
        |select: &str| -> Result<Number, StoreError> { Ok(connection.query_row(select, [], |row| row.get(0))?) };
    match number(ROWS) {
        Err(StoreError::Damaged { .. }) => number(LINES),
        read => read,
    }
}

/// Hands over the rows behind a number, and answers the numbers up to the newest whose rows can't be read.
pub(super) fn read(
    connection: &Connection,
    behind: Number,
    newest: Number,
    mut take: impl FnMut(Name, Option<End>),
) -> Result<BTreeSet<Number>, StoreError> {
    // Not those greater than the one before: that one's page may be the damaged one.
    const ROWS: &str = "SELECT id, tenant, uid, clock_end, clock_told FROM bookings WHERE id >= ?1 ORDER BY id";
    let mut select = connection.prepare(ROWS)?;
    let (mut from, mut unread) = (behind.saturating_add(1), BTreeSet::new());
    loop {
        let mut rows = select.query([from])?;
        let failed = loop {
            match next(&mut rows) {
                Ok(Some((name, end))) => {
                    from = name.number.saturating_add(1);
                    take(name, end);
                }
                Ok(None) => return Ok(unread),
                Err(error) => break error,
            }
        };
        let is_damage = matches!(failed, StoreError::Damaged { .. });
        if is_damage && from > newest {
            return Ok(unread);
        }
        if !is_damage || unread.len() == UNREAD_MAX {
            return Err(failed);
        }
        unread.insert(from);
        from = from.saturating_add(1);
    }
}

fn next(rows: &mut Rows<'_>) -> Result<Option<(Name, Option<End>)>, StoreError> {
    let Some(row) = rows.next()? else { return Ok(None) };
    let name = Name { number: row.get(0)?, tenant: Arc::from(row.get::<_, String>(1)?), uid: row.get(2)? };
    let (at, told): (Option<_>, _) = (row.get(3)?, row.get(4)?);
    Ok(Some((name, at.map(|at| End { told, at }))))
}

/// The names of these, as far as they are visible.
pub(super) fn names(connection: &Connection, of: &BTreeSet<Number>) -> Result<Vec<Name>, StoreError> {
    let (Some(first), Some(last)) = (of.first(), of.last()) else { return Ok(Vec::new()) };
    let mut select = connection.prepare(NAMES)?;
    let names = select.query_map([first, last], |row| {
        Ok(Name { tenant: Arc::from(row.get::<_, String>(0)?), uid: row.get(1)?, number: row.get(2)? })
    })?;
    let is_one = |name: &Result<Name, _>| name.as_ref().map_or(true, |name: &Name| of.contains(&name.number));
    Ok(names.filter(is_one).collect::<Result<_, _>>()?)
}
