//! Which booking came before and which after, read off the registers of a row.
//!
//! Invariant: hints bind no seated booking, neither the old nor the new one: its attendees move one by one.

use calbridge_proto::v1::LinkEvidence;

use crate::{
    register::{Field, Key, Rank, Value},
    row::Row,
};

/// A booking before or after, and how that is known.
pub(crate) struct Link<'a> {
    pub(crate) uid: &'a str,
    pub(crate) evidence: LinkEvidence,
}

/// The booking that replaced this one; of several the one named last, an explicit naming before any hint.
pub(crate) fn successor(row: &Row) -> Option<Link<'_>> {
    let seated = is_seated(row);
    let told = row.registers().filter_map(|(key, entry)| match key {
        Key::Successor(uid) => Some((entry.stamp, uid.as_str())),
        _ => None,
    });
    let newest = told.filter(|(stamp, _)| !(seated && stamp.rank.is_hint())).max();
    newest.map(|(stamp, uid)| Link { uid, evidence: evidence(stamp.rank) })
}

/// The booking that this one replaced.
pub(crate) fn predecessor(row: &Row) -> Option<Link<'_>> {
    let entry = row.field(Field::RescheduledFrom)?;
    match &entry.value {
        Value::Text(uid) if !(is_seated(row) && entry.stamp.rank.is_hint()) => {
            Some(Link { uid, evidence: evidence(entry.stamp.rank) })
        }
        _ => None,
    }
}

/// The booking that this one replaced, for a row that is not shown as well: a chain may lead through it.
#[must_use]
pub fn link_back(row: &Row) -> Option<(&str, LinkEvidence)> {
    predecessor(row).map(|link| (link.uid, link.evidence))
}

fn evidence(rank: Rank) -> LinkEvidence {
    match rank {
        Rank::Hint => LinkEvidence::IcalUid,
        Rank::Column => LinkEvidence::FromReschedule,
        Rank::Fill | Rank::Write => LinkEvidence::RescheduleUid,
    }
}

fn is_seated(row: &Row) -> bool {
    row.field(Field::SeatsPerTimeSlot).is_some()
}
