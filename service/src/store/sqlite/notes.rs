//! Timelines: which deliveries spoke of which booking, and the copies of a delivery that came later.

use calbridge_proto::v1;
use prost::Message;
use rusqlite::{OptionalExtension, Transaction, params};

use crate::store::{DUPLICATE_NOTES_MAX, DuplicateNote, Position, StoreError, fold::Mention};

/// The bookings that a delivery speaks of, as they lie in its row.
#[derive(Clone, PartialEq, Message)]
struct Mentioned {
    #[prost(string, repeated, tag = "1")]
    uids: Vec<String>,
}

/// `None` where the delivery speaks of the booking that its body is about, and of no other: nearly always.
pub(super) fn mentioned(about: Option<&str>, mentions: &[Mention]) -> Option<Vec<u8>> {
    let uids: Vec<String> = mentions.iter().map(|mention| mention.uid.clone()).collect();
    let plain = uids.iter().map(String::as_str).eq(about);
    (!plain).then(|| Mentioned { uids }.encode_to_vec())
}

/// A line in the timeline of one booking.
pub(super) struct Note {
    pub(super) position: Position,
    /// Where the delivery is kept; the clock has none.
    pub(super) delivery: Position,
    /// For this booking.
    pub(super) outcome: v1::SubmitOutcome,
    pub(super) source: v1::TransitionSource,
}

/// Puts a delivery, a copy of it, a replay or the clock into the timeline of one booking.
pub(super) fn mention(transaction: &Transaction<'_>, tenant: &str, uid: &str, note: &Note) -> Result<(), StoreError> {
    const INSERT: &str = "INSERT INTO mentions (tenant, uid, position, delivery, outcome, source)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let Note { position, delivery, outcome, source } = note;
    transaction.prepare_cached(INSERT)?.execute(params![
        tenant,
        uid,
        position.0,
        delivery.0,
        i32::from(*outcome),
        i32::from(*source),
    ])?;
    Ok(())
}

/// Counts a copy; the first few are noted as well, each at a position of its own.
pub(super) fn note(transaction: &Transaction<'_>, head: &mut Position, copy: &DuplicateNote) -> Result<(), StoreError> {
    const COUNT: &str = "UPDATE deliveries SET duplicate_count = duplicate_count + 1
        WHERE position = ?1 AND tenant = ?2 RETURNING duplicate_count, booking_uid, mentioned";
    const INSERT: &str = "INSERT INTO duplicates (position, delivery, receive_time, secret_id, trace_id)
        VALUES (?1, ?2, ?3, ?4, ?5)";
    let first = copy.first.position;
    let counted = transaction
        .prepare_cached(COUNT)?
        .query_row(params![first.0, copy.tenant], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    // One that is not kept any more has no timeline to note it in.
    let Some((count, about, mentioned)): Option<(i64, Option<String>, Option<Vec<u8>>)> = counted else {
        return Ok(());
    };
    if count > DUPLICATE_NOTES_MAX {
        return Ok(());
    }
    head.0 += 1;
    transaction.prepare_cached(INSERT)?.execute(params![
        head.0,
        first.0,
        copy.receive_time,
        copy.secret_id,
        copy.trace_id
    ])?;
    for uid in uids(about, mentioned)? {
        let (outcome, source) = (v1::SubmitOutcome::Duplicate, v1::TransitionSource::Webhook);
        mention(transaction, &copy.tenant, &uid, &Note { position: *head, delivery: first, outcome, source })?;
    }
    Ok(())
}

fn uids(about: Option<String>, mentioned: Option<Vec<u8>>) -> Result<Vec<String>, StoreError> {
    let Some(mentioned) = mentioned else { return Ok(about.into_iter().collect()) };
    let damaged = |_| StoreError::Damaged { what: "delivery", why: "its mentions can't be read".to_owned() };
    Ok(Mentioned::decode(&mentioned[..]).map_err(damaged)?.uids)
}
