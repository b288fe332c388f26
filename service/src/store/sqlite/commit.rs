//! One round as one transaction: find out what is new, fold it, write it. An error anywhere undoes all of it.

use std::sync::Arc;

use calbridge_proto::v1;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{notes, write};
use crate::store::{
    Batch, BookingKey, Committed, DuplicateNote, FirstResult, NewDelivery, StoreError,
    body::Packer,
    fold::{self, Folded, FoldedDelivery, LoadedRows, Occasion},
    time::micros,
    view::LoadedRow,
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
    let before = super::queries::head(transaction)?;
    let (standings, new) = sort_out(transaction, &batch.deliveries)?;
    let rows = load(transaction, fold::touched(new.iter().copied()))?;
    let occasion = Occasion {
        head: before,
        now: batch.now,
        clock: &batch.clock,
        source: v1::TransitionSource::Webhook,
        trace_id: &batch.trace_id,
    };
    let Folded { deliveries, clock, bookings, head: mut after } = fold::fold(&new, &rows, &occasion)?;

    for (delivery, folded) in new.iter().zip(&deliveries) {
        write::delivery(transaction, delivery, folded)?;
        write::body(transaction, packer, &delivery.event.raw_body, folded.position)?;
        write::changes(transaction, delivery, folded, folded.position, &occasion)?;
    }
    write::clock(transaction, &clock, batch.now)?;
    write::bookings(transaction, &bookings)?;

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
    write::head(transaction, before, after)?;
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

/// The rows of these bookings, as far as they are kept.
pub(super) fn load(
    transaction: &Transaction<'_>,
    keys: impl IntoIterator<Item = BookingKey>,
) -> Result<LoadedRows, StoreError> {
    const SELECT: &str = "SELECT state, clock_told FROM bookings WHERE tenant = ?1 AND uid = ?2";
    let mut select = transaction.prepare_cached(SELECT)?;
    let mut rows = LoadedRows::new();
    for key in keys {
        let read = |row: &rusqlite::Row<'_>| Ok(LoadedRow { state: row.get(0)?, clock_told: row.get(1)? });
        if let Some(row) = select.query_row(params![key.0, key.1], read).optional()? {
            rows.insert(key, row);
        }
    }
    Ok(rows)
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
