//! What was heard: which transitions, of which bookings, and who their bookers are.

use std::collections::BTreeSet;

use calbridge_client::v1::BookingStatus;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, named_params};
use sha2::{Digest as _, Sha256};

use super::LINEAGE_MAX;
use crate::{
    meeting::{Known, is_accepted, is_ended},
    snapshot::{Booker, Snapshot},
};

/// False where it was noted before.
pub(super) fn note(change: &Transaction<'_>, told: &Snapshot) -> rusqlite::Result<bool> {
    let mut insert = change.prepare_cached("INSERT OR IGNORE INTO applied (uid, position) VALUES (?1, ?2)")?;
    Ok(insert.execute([&told.uid, &told.position])? > 0)
}

/// The booking as it is now. When it was first accepted, and by whom, stays.
pub(super) fn keep(change: &Transaction<'_>, told: &Snapshot) -> rusqlite::Result<()> {
    let before = bookings(change, &BTreeSet::from([told.uid.clone()]))?.pop();
    let (accepted_before, found_before, ended_before) = match before {
        Some(before) => (before.accepted_at, before.found_contact, before.ended_at),
        None => (None, None, None),
    };
    let accepted_at = accepted_before.or_else(|| is_accepted(told.status).then(|| told.at.clone()));
    let found = match (&found_before, &told.booker) {
        (None, Some(booker)) if accepted_at.is_some() && told.contact.is_none() => Some(find_or_make(change, booker)?),
        _ => found_before,
    };
    let ended_at = is_ended(told.status).then(|| ended_before.unwrap_or_else(|| told.at.clone()));
    let (starts, ends) = told.time.clone().unzip();
    let mut write = change.prepare_cached(
        "INSERT INTO bookings (uid, status, title, starts, ends, accepted_at, ended_at, sequence_id, contact_id,
             found_contact_id, rescheduled_from, rescheduled_to)
         VALUES (:uid, :status, :title, :starts, :ends, :accepted, :ended, :sequence, :contact, :found, :from, :to)
         ON CONFLICT (uid) DO UPDATE SET status = excluded.status, title = excluded.title, starts = excluded.starts,
             ends = excluded.ends, accepted_at = excluded.accepted_at, ended_at = excluded.ended_at,
             sequence_id = excluded.sequence_id, contact_id = excluded.contact_id,
             found_contact_id = excluded.found_contact_id, rescheduled_from = excluded.rescheduled_from,
             rescheduled_to = excluded.rescheduled_to",
    )?;
    write.execute(named_params! {
        ":uid": told.uid, ":status": status_name(told.status), ":title": told.title, ":starts": starts, ":ends": ends,
        ":accepted": accepted_at, ":ended": ended_at, ":sequence": told.sequence, ":contact": told.contact,
        ":found": found, ":from": told.from, ":to": told.to,
    })?;
    Ok(())
}

/// The contact of this address; a new one is a lead. Its key is a function of the address, so that it is the same
/// whichever of two bookings is heard of first.
fn find_or_make(change: &Transaction<'_>, booker: &Booker) -> rusqlite::Result<String> {
    let mut find = change.prepare_cached("SELECT id FROM contacts WHERE email = ?1")?;
    if let Some(id) = find.query_row([&booker.email], |row| row.get(0)).optional()? {
        return Ok(id);
    }
    let id = format!("c-{}", &hex::encode(Sha256::digest(&booker.email))[..24]);
    let mut make =
        change.prepare_cached("INSERT INTO contacts (id, email, name, status) VALUES (?1, ?2, ?3, 'LEAD')")?;
    make.execute([&id, &booker.email, &booker.name])?;
    Ok(id)
}

/// The uids that links join with this one, whether they were heard of or not.
pub(crate) fn lineage(read: &Connection, uid: &str) -> rusqlite::Result<BTreeSet<String>> {
    let mut walk = read.prepare_cached(
        "WITH RECURSIVE lineage (uid) AS (
             VALUES (?1)
             UNION SELECT rescheduled_from FROM bookings JOIN lineage USING (uid) WHERE rescheduled_from IS NOT NULL
             UNION SELECT rescheduled_to FROM bookings JOIN lineage USING (uid) WHERE rescheduled_to IS NOT NULL
             UNION SELECT bookings.uid FROM bookings JOIN lineage ON rescheduled_from = lineage.uid
             UNION SELECT bookings.uid FROM bookings JOIN lineage ON rescheduled_to = lineage.uid
             LIMIT ?2)
         SELECT uid FROM lineage",
    )?;
    walk.query_map((uid, LINEAGE_MAX), |row| row.get(0))?.collect()
}

/// Those of these uids that were heard of.
pub(super) fn bookings(change: &Transaction<'_>, uids: &BTreeSet<String>) -> rusqlite::Result<Vec<Known>> {
    let mut read = change.prepare_cached("SELECT * FROM bookings WHERE uid = ?1")?;
    let mut found = Vec::new();
    for uid in uids {
        found.extend(read.query_row([uid], known).optional()?);
    }
    Ok(found)
}

fn known(row: &Row<'_>) -> rusqlite::Result<Known> {
    let (starts, ends): (Option<String>, Option<String>) = (row.get("starts")?, row.get("ends")?);
    Ok(Known {
        uid: row.get("uid")?,
        status: status_named(&row.get::<_, String>("status")?),
        title: row.get("title")?,
        time: starts.zip(ends),
        accepted_at: row.get("accepted_at")?,
        ended_at: row.get("ended_at")?,
        sequence: row.get("sequence_id")?,
        contact: row.get("contact_id")?,
        found_contact: row.get("found_contact_id")?,
        from: row.get("rescheduled_from")?,
        to: row.get("rescheduled_to")?,
    })
}

const STATUS: &str = "BOOKING_STATUS_";

/// As people say it.
fn status_name(status: BookingStatus) -> &'static str {
    status.as_str_name().trim_start_matches(STATUS)
}

fn status_named(name: &str) -> BookingStatus {
    BookingStatus::from_str_name(&format!("{STATUS}{name}")).unwrap_or_default()
}
