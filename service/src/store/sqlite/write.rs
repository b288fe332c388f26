//! The statements that write: rows, the log, timelines. Each is part of its caller's transaction.

use rusqlite::{Transaction, params};

use super::{
    insert::Insert,
    names::Names,
    postings::append,
    young::{End, Number},
};
use crate::store::{
    NewDelivery, Position, StoreError,
    changes::{Changes, DeliveryRow, MentionRow, TransitionRow},
    fold::{Columns, FoldedBooking, Shows, Told},
    pack::Packer,
    postings,
    replay::Kept,
    round::{Note, Plan},
};

static DELIVERIES: Insert = Insert::new(
    "INSERT OR FAIL INTO deliveries (position, delivery_id, tenant, key_time, identity, body_sha256, body_size, trigger,
        trigger_name, receive_time, event_time, disposition, outcome, secret_id, request_id, content_type,
        webhook_version, booking_uid, mentioned, trace_id, siblings_silent)",
);
static BODIES: Insert = Insert::new("INSERT OR FAIL INTO bodies (position, encoding, body)");
static TRANSITIONS: Insert = Insert::new(
    "INSERT OR FAIL INTO transitions (position, delivery, tenant, uid, kind, from_status, to_status, rule, source,
        commit_time, booking, trace_id)",
);
static MENTIONS: Insert = Insert::new("INSERT OR FAIL INTO mentions (booking, position, delivery, outcome, source)");
static BOOKINGS: Insert = Insert::new(
    "INSERT OR FAIL INTO bookings (id, tenant, uid, state, visible, status, start_time, update_time, position,
        first_position, rescheduled_from, link, seated, organizer, event_type_id, clock_end, clock_told)",
);

/// Deliveries that were not kept before, each with its body.
pub(super) fn deliveries(
    transaction: &Transaction<'_>,
    packer: &mut Packer,
    changes: &Changes<'_>,
) -> Result<(), StoreError> {
    let rows: Vec<DeliveryRow<'_>> = changes.deliveries().collect();
    DELIVERIES.rows(transaction, &rows, |row, place| {
        let NewDelivery { key, event, .. } = row.delivery;
        place.set(params![
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
        ])
    })?;
    BODIES.rows(transaction, &rows, |row, place| {
        let NewDelivery { event, packed, .. } = row.delivery;
        let body = packer.body(&event.raw_body, packed);
        place.set(params![row.position.0, body.encoding, &body.bytes[..]])
    })?;
    Ok(())
}

/// The log.
pub(super) fn transitions(
    transaction: &Transaction<'_>,
    packer: &mut Packer,
    changes: &Changes<'_>,
) -> Result<(), StoreError> {
    let rows: Vec<TransitionRow<'_>> = changes.transitions().collect();
    TRANSITIONS.rows(transaction, &rows, |row, place| {
        let TransitionRow { position, delivery, made, commit_time, trace_id } = row;
        let Told { transition: made, booking, .. } = made;
        place.set(params![
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
            &packer.booking(booking)[..],
            trace_id,
        ])
    })?;
    Ok(())
}

/// Timelines.
pub(super) fn mentions<'r>(
    transaction: &Transaction<'_>,
    names: &mut Names<'_>,
    mentions: impl Iterator<Item = MentionRow<'r>>,
) -> Result<(), StoreError> {
    let rows: Vec<MentionRow<'_>> = mentions.collect();
    MENTIONS.rows(transaction, &rows, |row, place| {
        let MentionRow { tenant, uid, position, delivery, outcome, source } = row;
        let booking = names.number(transaction, tenant, uid, *position)?;
        place.set(params![booking, position.0, delivery.0, i32::from(*outcome), i32::from(*source)])
    })?;
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

/// Where the log stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// The newest position that was handed out.
    pub(super) position: Position,
    /// Postings that are not sorted yet.
    pub(super) tail: usize,
}

impl Head {
    pub(super) fn read(transaction: &Transaction<'_>) -> Result<Self, StoreError> {
        let mut select = transaction.prepare_cached("SELECT position, tail FROM head")?;
        let (position, tail): (i64, i64) = select.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Self { position: Position(position), tail: usize::try_from(tail).unwrap_or_default() })
    }

    pub(super) fn write(self, transaction: &Transaction<'_>, before: Self) -> Result<(), StoreError> {
        if self != before {
            let update = "UPDATE head SET position = ?1, tail = ?2";
            let tail = i64::try_from(self.tail).unwrap_or(i64::MAX);
            transaction.prepare_cached(update)?.execute([self.position.0, tail])?;
        }
        Ok(())
    }
}

/// Rows, each with what finds it; answers how many postings are not sorted then.
pub(super) fn bookings(
    transaction: &Transaction<'_>,
    (names, packer): (&mut Names<'_>, &mut Packer),
    changes: &Changes<'_>,
    tail: usize,
) -> Result<usize, StoreError> {
    // Each booking is one of a round's once, so a row that is yet to go in is asked for by nobody.
    let mut new = Vec::new();
    for booking in changes.bookings() {
        let (tenant, uid) = &booking.key;
        let known = names.get(tenant, uid);
        debug_assert!(!names.is_unmet(transaction, tenant, uid), "a booking is loaded before it is written");
        let number = known.unwrap_or_else(|| names.add(tenant, uid)).number;
        match &booking.shows {
            Shows::Otherwise(columns) if known.is_none() => new.push((number, booking, columns)),
            Shows::Otherwise(columns) => shown(transaction, number, (booking, &packer.row(&booking.state)), columns)?,
            Shows::AsBefore => as_before(transaction, number, (booking, &packer.row(&booking.state)))?,
            Shows::Nothing(link) => {
                let first = known.is_none().then_some(changes.folded.first);
                hidden(transaction, (number, first), (booking, &packer.row(&booking.state)), link.as_ref())?;
                // It has no end, and one that was shown once is never hidden again.
                continue;
            }
        }
        let end = booking.clock_end.map(|at| End { told: booking.clock_told, at });
        names.end(transaction, (tenant, uid), end)?;
    }
    BOOKINGS.rows(transaction, &new, |(number, booking, columns), place| {
        let (tenant, uid) = &booking.key;
        place.set(params![
            number,
            tenant,
            uid,
            &packer.row(&booking.state)[..],
            true,
            columns.status,
            columns.start_time,
            columns.update_time,
            columns.position.0,
            changes.folded.first.0,
            columns.rescheduled_from,
            columns.link,
            columns.seated,
            columns.organizer,
            columns.event_type_id,
            booking.clock_end,
            booking.clock_told,
        ])
    })?;
    append(transaction, &postings::told(changes.bookings()), tail)
}

/// A row of hints alone: kept, not shown, and a link of a chain all the same. `first` is the round that speaks of it
/// first, if that is this one.
fn hidden(
    transaction: &Transaction<'_>,
    (number, first): (Number, Option<Position>),
    (booking, state): (&FoldedBooking, &[u8]),
    link: Option<&(String, i32)>,
) -> Result<(), StoreError> {
    const INSERT: &str = "INSERT INTO bookings (id, tenant, uid, state, visible, status, start_time, update_time,
            position, first_position, rescheduled_from, link)
        VALUES (?1, ?2, ?3, ?4, 0, 0, 0, 0, 0, ?5, ?6, ?7)";
    const UPDATE: &str = "UPDATE bookings SET state = ?2, rescheduled_from = ?3, link = ?4 WHERE id = ?1";
    let (tenant, uid) = &booking.key;
    let (from, evidence) = link.map_or((None, 0), |(from, evidence)| (Some(from), *evidence));
    if let Some(first) = first {
        let values = params![number, tenant, uid, state, first.0, from, evidence];
        transaction.prepare_cached(INSERT)?.execute(values)?;
    } else {
        transaction.prepare_cached(UPDATE)?.execute(params![number, state, from, evidence])?;
    }
    Ok(())
}

/// A row whose booking looks as before.
fn as_before(
    transaction: &Transaction<'_>,
    number: Number,
    (booking, state): (&FoldedBooking, &[u8]),
) -> Result<(), StoreError> {
    const UPDATE: &str = "UPDATE bookings SET state = ?2, clock_end = ?3, clock_told = ?4 WHERE id = ?1";
    let values = params![number, state, booking.clock_end, booking.clock_told];
    transaction.prepare_cached(UPDATE)?.execute(values)?;
    Ok(())
}

/// A row whose booking changed visibly.
fn shown(
    transaction: &Transaction<'_>,
    number: Number,
    (booking, state): (&FoldedBooking, &[u8]),
    columns: &Columns,
) -> Result<(), StoreError> {
    const UPDATE: &str = "UPDATE bookings SET state = ?2, visible = 1, status = ?3, start_time = ?4, update_time = ?5,
            position = ?6, rescheduled_from = ?7, link = ?8, seated = ?9, organizer = ?10, event_type_id = ?11,
            clock_end = ?12, clock_told = ?13
        WHERE id = ?1";
    transaction.prepare_cached(UPDATE)?.execute(params![
        number,
        state,
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
