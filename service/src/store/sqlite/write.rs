//! The statements that write: rows, the log, timelines. Each is part of its caller's transaction.

use rusqlite::{Transaction, params};

use crate::store::{
    NewDelivery, Position, StoreError,
    body::Packer,
    changes::{Changes, MentionRow, TransitionRow},
    fold::{Columns, FoldedBooking, Shows, Terms},
    replay::Kept,
    round::{Note, Plan},
};

/// Deliveries that were not kept before, each with its body.
pub(super) fn deliveries(
    transaction: &Transaction<'_>,
    packer: &mut Packer,
    changes: &Changes<'_>,
) -> Result<(), StoreError> {
    const INSERT: &str = "INSERT INTO deliveries (position, delivery_id, tenant, key_time, identity, body_sha256,
            body_size, trigger, trigger_name, receive_time, event_time, disposition, outcome, secret_id, request_id,
            content_type, webhook_version, booking_uid, mentioned, trace_id, siblings_silent)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)";
    const BODY: &str = "INSERT INTO bodies (position, encoding, body) VALUES (?1, ?2, ?3)";
    let mut insert = transaction.prepare_cached(INSERT)?;
    let mut insert_body = transaction.prepare_cached(BODY)?;
    for row in changes.deliveries() {
        let NewDelivery { key, event, .. } = row.delivery;
        insert.execute(params![
            row.position.0,
            &row.delivery.delivery_id.as_bytes()[..],
            key.tenant,
            key.time,
            key.identity.as_bytes(),
            row.body_sha256(),
            row.body_size(),
            event.trigger,
            event.trigger_name,
            row.receive_time(),
            row.event_time(),
            i32::from(row.disposition()),
            i32::from(row.outcome),
            event.secret_id,
            row.request_id().as_ref().map(|id| &id.as_bytes()[..]),
            event.content_type,
            event.webhook_version,
            row.delivery.booking_uid,
            row.mentioned,
            row.delivery.trace_id,
            row.delivery.leaves_siblings_silent,
        ])?;
        let body = packer.pack(&event.raw_body);
        insert_body.execute(params![row.position.0, body.encoding, &body.bytes[..]])?;
    }
    Ok(())
}

/// The log.
pub(super) fn transitions(transaction: &Transaction<'_>, changes: &Changes<'_>) -> Result<(), StoreError> {
    const INSERT: &str = "INSERT INTO transitions (position, delivery, tenant, uid, kind, from_status, to_status,
            rule, source, commit_time, booking, trace_id)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    let mut insert = transaction.prepare_cached(INSERT)?;
    for TransitionRow { position, delivery, made, booking, commit_time, trace_id } in changes.transitions() {
        insert.execute(params![
            position.0,
            delivery.0,
            made.tenant,
            made.uid,
            made.kind,
            made.from_status,
            made.to_status,
            made.rule,
            made.source,
            commit_time,
            booking,
            trace_id,
        ])?;
    }
    Ok(())
}

/// Timelines.
pub(super) fn mentions<'r>(
    transaction: &Transaction<'_>,
    mentions: impl Iterator<Item = MentionRow<'r>>,
) -> Result<(), StoreError> {
    const INSERT: &str = "INSERT INTO mentions (tenant, uid, position, delivery, outcome, source)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let mut insert = transaction.prepare_cached(INSERT)?;
    for MentionRow { tenant, uid, position, delivery, outcome, source } in mentions {
        insert.execute(params![tenant, uid, position.0, delivery.0, i32::from(outcome), i32::from(source)])?;
    }
    Ok(())
}

/// Copies: each is counted, the first few are noted as well.
pub(super) fn copies(transaction: &Transaction<'_>, plan: &Plan<'_>) -> Result<(), StoreError> {
    const COUNT: &str = "UPDATE deliveries SET duplicate_count = ?2 WHERE position = ?1";
    const INSERT: &str = "INSERT INTO duplicates (position, delivery, receive_time, secret_id, trace_id)
        VALUES (?1, ?2, ?3, ?4, ?5)";
    for (position, count) in &plan.counts {
        transaction.prepare_cached(COUNT)?.execute(params![position.0, count])?;
    }
    for Note { position, copy, .. } in &plan.notes {
        transaction.prepare_cached(INSERT)?.execute(params![
            position.0,
            copy.first.position.0,
            copy.receive_time,
            copy.secret_id,
            copy.trace_id
        ])?;
    }
    Ok(())
}

/// What a kept delivery is by now.
pub(super) fn kept(transaction: &Transaction<'_>, kept: &Kept) -> Result<(), StoreError> {
    const UPDATE: &str = "UPDATE deliveries SET trigger = ?2, trigger_name = ?3, event_time = ?4, outcome = ?5,
            booking_uid = ?6, mentioned = ?7, siblings_silent = ?8
        WHERE position = ?1";
    transaction.prepare_cached(UPDATE)?.execute(params![
        kept.position.0,
        kept.trigger,
        kept.trigger_name,
        kept.event_time,
        kept.outcome,
        kept.booking_uid,
        kept.mentioned,
        kept.siblings_silent,
    ])?;
    Ok(())
}

/// Rows, each with what finds it.
pub(super) fn bookings(transaction: &Transaction<'_>, bookings: &[FoldedBooking]) -> Result<(), StoreError> {
    for booking in bookings {
        row(transaction, booking)?;
        terms(transaction, &booking.key.1, &booking.terms)?;
    }
    Ok(())
}

/// The newest position that was handed out.
pub(super) fn head(transaction: &Transaction<'_>, before: Position, after: Position) -> Result<(), StoreError> {
    if after != before {
        transaction.prepare_cached("UPDATE head SET position = ?1")?.execute([after.0])?;
    }
    Ok(())
}

fn row(transaction: &Transaction<'_>, booking: &FoldedBooking) -> Result<(), StoreError> {
    match &booking.shows {
        Shows::Otherwise(columns) => shown(transaction, booking, columns),
        Shows::AsBefore => {
            const UPDATE: &str = "UPDATE bookings SET state = ?3, clock_end = ?4, clock_told = ?5
                WHERE tenant = ?1 AND uid = ?2";
            let (tenant, uid) = &booking.key;
            let (end, told) = (booking.clock_end, booking.clock_told);
            transaction.prepare_cached(UPDATE)?.execute(params![tenant, uid, booking.state, end, told])?;
            Ok(())
        }
        Shows::Nothing(link) => hidden(transaction, booking, link.as_ref()),
    }
}

/// A row of hints alone: kept, not shown, and a link of a chain all the same.
fn hidden(
    transaction: &Transaction<'_>,
    booking: &FoldedBooking,
    link: Option<&(String, i32)>,
) -> Result<(), StoreError> {
    const HIDE: &str = "INSERT INTO bookings
            (tenant, uid, state, visible, status, start_time, update_time, position, rescheduled_from, link)
        VALUES (?1, ?2, ?3, 0, 0, 0, 0, 0, ?4, ?5)
        ON CONFLICT (tenant, uid) DO UPDATE SET state = excluded.state, rescheduled_from = excluded.rescheduled_from,
            link = excluded.link";
    let (tenant, uid) = &booking.key;
    let (from, evidence) = link.map_or((None, 0), |(from, evidence)| (Some(from), *evidence));
    transaction.prepare_cached(HIDE)?.execute(params![tenant, uid, booking.state, from, evidence])?;
    Ok(())
}

/// A row whose booking changed visibly.
fn shown(transaction: &Transaction<'_>, booking: &FoldedBooking, columns: &Columns) -> Result<(), StoreError> {
    const UPSERT: &str = "INSERT INTO bookings (tenant, uid, state, visible, status, start_time, update_time, position,
            rescheduled_from, link, seated, organizer, event_type_id, clock_end, clock_told)
        VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
        ON CONFLICT (tenant, uid) DO UPDATE SET state = excluded.state, visible = excluded.visible,
            status = excluded.status, start_time = excluded.start_time, update_time = excluded.update_time,
            position = excluded.position, rescheduled_from = excluded.rescheduled_from, link = excluded.link,
            seated = excluded.seated, organizer = excluded.organizer, event_type_id = excluded.event_type_id,
            clock_end = excluded.clock_end, clock_told = excluded.clock_told";
    transaction.prepare_cached(UPSERT)?.execute(params![
        booking.key.0,
        booking.key.1,
        booking.state,
        columns.status,
        columns.start_time,
        columns.update_time,
        columns.position.0,
        columns.rescheduled_from,
        columns.link,
        columns.seated,
        columns.organizer,
        columns.event_type_id,
        booking.clock_end,
        booking.clock_told,
    ])?;
    Ok(())
}

/// By what a booking is found, and by what not any more.
pub(super) fn terms(transaction: &Transaction<'_>, uid: &str, terms: &Terms) -> Result<(), StoreError> {
    const ADD: &str = "INSERT OR IGNORE INTO terms (term, start_time, uid) VALUES (?1, ?2, ?3)";
    const REMOVE: &str = "DELETE FROM terms WHERE term = ?1 AND start_time = ?2 AND uid = ?3";
    for ((term, start), finds) in terms {
        transaction.prepare_cached(if *finds { ADD } else { REMOVE })?.execute(params![term, start, uid])?;
    }
    Ok(())
}
