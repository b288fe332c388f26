//! One round as one transaction: find out what is new, fold it, write it. An error anywhere undoes all of it.

use std::sync::Arc;

use calbridge_proto::v1;
use prost::Message;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use uuid::Uuid;

use super::notes;
use crate::store::{
    Batch, Committed, DuplicateNote, FirstResult, Identity, Micros, NewDelivery, Position, StoreError,
    body::Packer,
    fold::{self, Folded, FoldedBooking, FoldedDelivery, LoadedRows},
    time::micros,
};

/// Commits a batch and says what became of each delivery.
pub(super) fn commit(
    connection: &mut Connection,
    packer: &mut Packer,
    batch: &Batch,
) -> Result<Vec<Committed>, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let committed = round(&transaction, packer, batch)?;
    transaction.commit()?;
    Ok(committed)
}

/// Writes one row and waits until it is on stable storage.
pub(super) fn probe(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.prepare_cached("UPDATE probe SET count = count + 1")?.execute([])?;
    Ok(transaction.commit()?)
}

/// How a delivery of a batch relates to what is kept.
enum Standing {
    /// Its place among the new ones.
    New(usize),
    /// The place among the new ones of the one that it repeats.
    Repeats(usize),
    /// It was kept before.
    Kept(FirstResult),
}

fn round(transaction: &Transaction<'_>, packer: &mut Packer, batch: &Batch) -> Result<Vec<Committed>, StoreError> {
    let before = head(transaction)?;
    let (standings, new) = sort_out(transaction, &batch.deliveries)?;
    let rows = load(transaction, &new)?;
    let Folded { deliveries, bookings, head: mut after } = fold::fold(&new, &rows, before, batch.now)?;

    for (delivery, folded) in new.iter().zip(&deliveries) {
        insert_delivery(transaction, delivery, folded)?;
        insert_body(transaction, packer, &delivery.event.raw_body, folded.position)?;
        insert_transitions(transaction, folded, batch.now)?;
        insert_mentions(transaction, delivery, folded)?;
    }
    for booking in &bookings {
        write_booking(transaction, booking)?;
    }

    let firsts: Vec<FirstResult> =
        new.iter().zip(&deliveries).map(|(delivery, folded)| fold::first_result(delivery, folded.position)).collect();
    for (delivery, standing) in batch.deliveries.iter().zip(&standings) {
        if let Some(first) = standing.repeated(&firsts) {
            notes::note(transaction, &mut after, &copy_of(first, delivery))?;
        }
    }
    for duplicate in &batch.duplicates {
        notes::note(transaction, &mut after, duplicate)?;
    }
    if after != before {
        transaction.prepare_cached("UPDATE head SET position = ?1")?.execute([after.0])?;
    }
    Ok(answers(standings, deliveries, &firsts))
}

impl Standing {
    fn repeated<'a>(&'a self, firsts: &'a [FirstResult]) -> Option<&'a FirstResult> {
        match self {
            Self::New(_) => None,
            Self::Repeats(index) => firsts.get(*index),
            Self::Kept(first) => Some(first),
        }
    }
}

fn head(transaction: &Transaction<'_>) -> Result<Position, StoreError> {
    Ok(Position(transaction.prepare_cached("SELECT position FROM head")?.query_row([], |row| row.get(0))?))
}

fn sort_out<'a>(
    transaction: &Transaction<'_>,
    deliveries: &'a [NewDelivery],
) -> Result<(Vec<Standing>, Vec<&'a NewDelivery>), StoreError> {
    let mut standings: Vec<Standing> = Vec::with_capacity(deliveries.len());
    let mut new = Vec::with_capacity(deliveries.len());
    for (delivery, repeated) in deliveries.iter().zip(fold::repeats(deliveries)) {
        let standing = match repeated.and_then(|index| standings.get(index)) {
            Some(Standing::New(index) | Standing::Repeats(index)) => Standing::Repeats(*index),
            Some(Standing::Kept(first)) => Standing::Kept(first.clone()),
            None => {
                let kept = super::queries::first_result(transaction, &delivery.key)?;
                kept.map_or_else(
                    || {
                        new.push(delivery);
                        Standing::New(new.len() - 1)
                    },
                    Standing::Kept,
                )
            }
        };
        standings.push(standing);
    }
    Ok((standings, new))
}

fn load(transaction: &Transaction<'_>, new: &[&NewDelivery]) -> Result<LoadedRows, StoreError> {
    let mut select = transaction.prepare_cached("SELECT state FROM bookings WHERE tenant = ?1 AND uid = ?2")?;
    let mut rows = LoadedRows::new();
    for key in fold::touched(new.iter().copied()) {
        let state = select.query_row(params![key.0, key.1], |row| row.get(0)).optional()?;
        if let Some(state) = state {
            rows.insert(key, state);
        }
    }
    Ok(rows)
}

fn insert_delivery(
    transaction: &Transaction<'_>,
    delivery: &NewDelivery,
    folded: &FoldedDelivery,
) -> Result<(), StoreError> {
    const INSERT: &str = "INSERT INTO deliveries (position, delivery_id, tenant, key_time, identity, body_sha256,
            body_size, trigger, trigger_name, receive_time, event_time, disposition, outcome, secret_id, request_id,
            content_type, webhook_version, booking_uid, mentioned, trace_id)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)";
    let event = &delivery.event;
    let sha256 = match delivery.key.identity {
        Identity::Body(_) => None,
        Identity::Request(_) => Some(&delivery.body_sha256[..]),
    };
    let disposition = match event.payload {
        Some(_) => v1::DeliveryDisposition::Accepted,
        None => v1::DeliveryDisposition::Unparsed,
    };
    let request_id = Uuid::parse_str(&event.request_id).ok();
    transaction.prepare_cached(INSERT)?.execute(params![
        folded.position.0,
        &delivery.delivery_id.as_bytes()[..],
        delivery.key.tenant,
        delivery.key.time,
        super::queries::identity(&delivery.key.identity),
        sha256,
        i64::try_from(event.raw_body.len()).unwrap_or(i64::MAX),
        event.trigger,
        event.trigger_name,
        event.receive_time.as_ref().map_or(0, micros),
        event.event_time.as_ref().map(micros),
        i32::from(disposition),
        i32::from(folded.outcome),
        event.secret_id,
        request_id.as_ref().map(|id| &id.as_bytes()[..]),
        event.content_type,
        event.webhook_version,
        delivery.booking_uid,
        notes::mentioned(delivery.booking_uid.as_deref(), &folded.mentions),
        delivery.trace_id,
    ])?;
    Ok(())
}

fn insert_body(
    transaction: &Transaction<'_>,
    packer: &mut Packer,
    body: &[u8],
    position: Position,
) -> Result<(), StoreError> {
    let stored = packer.pack(body);
    transaction
        .prepare_cached("INSERT INTO bodies (position, encoding, body) VALUES (?1, ?2, ?3)")?
        .execute(params![position.0, stored.encoding, &stored.bytes[..]])?;
    Ok(())
}

fn insert_transitions(transaction: &Transaction<'_>, folded: &FoldedDelivery, now: Micros) -> Result<(), StoreError> {
    const INSERT: &str = "INSERT INTO transitions (position, delivery, tenant, uid, kind, from_status, to_status,
            rule, source, commit_time, booking)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let mut insert = transaction.prepare_cached(INSERT)?;
    for (position, made) in &folded.transitions {
        let booking = made.booking.as_ref().map(Message::encode_to_vec).unwrap_or_default();
        insert.execute(params![
            position.0,
            folded.position.0,
            made.tenant,
            made.uid,
            made.kind,
            made.from_status,
            made.to_status,
            made.rule,
            made.source,
            now,
            booking,
        ])?;
    }
    Ok(())
}

fn insert_mentions(
    transaction: &Transaction<'_>,
    delivery: &NewDelivery,
    folded: &FoldedDelivery,
) -> Result<(), StoreError> {
    for mention in &folded.mentions {
        let outcome = mention.outcome;
        let tenant = &delivery.key.tenant;
        notes::mention(transaction, tenant, &mention.uid, mention.position, folded.position, outcome)?;
    }
    Ok(())
}

fn write_booking(transaction: &Transaction<'_>, booking: &FoldedBooking) -> Result<(), StoreError> {
    let (tenant, uid) = &booking.key;
    match (&booking.columns, booking.known) {
        (Some(columns), _) => {
            const UPSERT: &str = "INSERT INTO bookings
                    (tenant, uid, state, visible, status, start_time, update_time, position, rescheduled_from)
                VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6, ?7, ?8)
                ON CONFLICT (tenant, uid) DO UPDATE SET state = excluded.state, visible = excluded.visible,
                    status = excluded.status, start_time = excluded.start_time, update_time = excluded.update_time,
                    position = excluded.position, rescheduled_from = excluded.rescheduled_from";
            transaction.prepare_cached(UPSERT)?.execute(params![
                tenant,
                uid,
                booking.state,
                columns.status,
                columns.start_time,
                columns.update_time,
                columns.position.0,
                columns.rescheduled_from,
            ])?;
        }
        (None, true) => {
            transaction
                .prepare_cached("UPDATE bookings SET state = ?3 WHERE tenant = ?1 AND uid = ?2")?
                .execute(params![tenant, uid, booking.state])?;
        }
        (None, false) => {
            const HIDE: &str = "INSERT INTO bookings
                    (tenant, uid, state, visible, status, start_time, update_time, position)
                VALUES (?1, ?2, ?3, 0, 0, 0, 0, 0)";
            transaction.prepare_cached(HIDE)?.execute(params![tenant, uid, booking.state])?;
        }
    }
    Ok(())
}

fn copy_of(first: &FirstResult, delivery: &NewDelivery) -> DuplicateNote {
    DuplicateNote {
        first: first.clone(),
        tenant: Arc::clone(&delivery.key.tenant),
        receive_time: delivery.event.receive_time.as_ref().map_or(0, micros),
        secret_id: delivery.event.secret_id.clone(),
        trace_id: delivery.trace_id.clone(),
    }
}

fn answers(standings: Vec<Standing>, deliveries: Vec<FoldedDelivery>, firsts: &[FirstResult]) -> Vec<Committed> {
    // New ones stand in the same order on both sides.
    let mut folded = deliveries.into_iter();
    standings
        .into_iter()
        .filter_map(|standing| {
            let first = standing.repeated(firsts).cloned();
            match standing {
                Standing::New(index) => {
                    let (folded, first) = (folded.next()?, firsts.get(index)?.clone());
                    let transitions = folded.transitions.into_iter().map(|(_, made)| made).collect();
                    Some(Committed { outcome: folded.outcome, first, transitions })
                }
                Standing::Repeats(_) | Standing::Kept(_) => {
                    let outcome = v1::SubmitOutcome::Duplicate;
                    Some(Committed { outcome, first: first?, transitions: Vec::new() })
                }
            }
        })
        .collect()
}
