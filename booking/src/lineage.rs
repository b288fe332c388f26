//! Which booking came before and which after, read off the registers of a row.
//!
//! Invariant: hints bind no seated booking, neither the old nor the new one: its attendees move one by one.

use crate::{
    register::{Field, Key, Value},
    row::Row,
};

/// The booking that replaced this one; of several the one named last, an explicit naming before any hint.
pub(crate) fn successor(row: &Row) -> Option<&str> {
    let seated = is_seated(row);
    let first = Key::Successor(String::new());
    let told = row.registers_from(&first).map_while(|(key, entry)| match key {
        Key::Successor(uid) => Some((entry.stamp, uid.as_str())),
        _ => None,
    });
    told.filter(|(stamp, _)| !(seated && stamp.rank.is_hint())).max().map(|(_, uid)| uid)
}

/// The booking that this one replaced.
pub(crate) fn predecessor(row: &Row) -> Option<&str> {
    let seated = is_seated(row);
    match row.field(Field::RescheduledFrom) {
        Some(entry) if seated && entry.stamp.rank.is_hint() => None,
        Some(entry) => match &entry.value {
            Value::Text(uid) => Some(uid),
            _ => None,
        },
        None => None,
    }
}

fn is_seated(row: &Row) -> bool {
    row.field(Field::SeatsPerTimeSlot).is_some()
}
