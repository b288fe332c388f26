//! A kept delivery, typed and merged again.

use calbridge_proto::v1::{self, TransitionSource};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{commit::load, notes, queries, write};
use crate::store::{
    NewDelivery, Position, Replay, Replayed, StoreError,
    fold::{self, Folded, FoldedDelivery, Occasion},
    time::micros,
};

/// Merges it again, in one transaction that a dry run gives up. `None` where it is not kept.
pub(super) fn replay(connection: &mut Connection, replay: &Replay) -> Result<Option<Replayed>, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let delivery = &replay.delivery;
    let Some(kept_at) = kept_at(&transaction, delivery)? else { return Ok(None) };
    let head = queries::head(&transaction)?;
    let rows = load(&transaction, fold::touched([delivery]))?;
    let occasion = Occasion {
        head,
        now: replay.now,
        clock: &replay.clock,
        source: TransitionSource::Replay,
        trace_id: &delivery.trace_id,
    };
    let Folded { mut deliveries, clock, bookings, head: after } = fold::fold(&[delivery], &rows, &occasion)?;
    let folded = deliveries.remove(0);
    // One that says nothing new leaves no line behind, or each replay of a whole journal would double its timelines.
    let news = bookings.iter().any(|booking| booking.told_more)
        || is_typed_otherwise(&transaction, delivery, &folded, kept_at)?;
    match (replay.dry_run, news) {
        (true, _) => {}
        (false, true) => {
            update_type(&transaction, delivery, &folded, kept_at)?;
            write::changes(&transaction, delivery, &folded, kept_at, &occasion)?;
            write::clock(&transaction, &clock, replay.now)?;
            write::bookings(&transaction, &bookings)?;
            write::head(&transaction, head, after)?;
            transaction.commit()?;
        }
        (false, false) => {
            if describe(&transaction, delivery, kept_at)? {
                transaction.commit()?;
            }
        }
    }
    let made = folded.transitions.into_iter().map(|(_, made)| made);
    let transitions = if replay.dry_run { made.map(without_position).collect() } else { made.collect() };
    Ok(Some(Replayed { outcome: folded.outcome, transitions }))
}

fn kept_at(transaction: &Transaction<'_>, delivery: &NewDelivery) -> Result<Option<Position>, StoreError> {
    let found = transaction
        .prepare_cached("SELECT position FROM deliveries WHERE delivery_id = ?1 AND tenant = ?2")?
        .query_row(params![&delivery.delivery_id.as_bytes()[..], delivery.key.tenant], |row| row.get(0))
        .optional()?;
    Ok(found.map(Position))
}

/// Whether this release sees another trigger or another booking in it.
fn is_typed_otherwise(
    transaction: &Transaction<'_>,
    delivery: &NewDelivery,
    folded: &FoldedDelivery,
    kept_at: Position,
) -> Result<bool, StoreError> {
    const SELECT: &str = "SELECT trigger IS NOT ?2 OR booking_uid IS NOT ?3
            OR (CASE WHEN outcome IN (?5, ?6) THEN outcome ELSE ?7 END) IS NOT ?4
        FROM deliveries WHERE position = ?1";
    // Whether what it states was news is no matter of its type.
    let [applied, no_change, recorded, unparsed] = [
        v1::SubmitOutcome::Applied,
        v1::SubmitOutcome::NoChange,
        v1::SubmitOutcome::Recorded,
        v1::SubmitOutcome::Unparsed,
    ]
    .map(i32::from);
    let outcome = i32::from(folded.outcome);
    let outcome = if outcome == no_change { applied } else { outcome };
    let uid = &delivery.booking_uid;
    let values = params![kept_at.0, delivery.event.trigger, uid, outcome, recorded, unparsed, applied];
    Ok(transaction.prepare_cached(SELECT)?.query_row(values, |row| row.get(0))?)
}

/// Says what this release reads of the delivery besides; true where that is more than was known.
fn describe(transaction: &Transaction<'_>, delivery: &NewDelivery, kept_at: Position) -> Result<bool, StoreError> {
    const UPDATE: &str = "UPDATE deliveries SET event_time = ?2, siblings_silent = ?3
        WHERE position = ?1 AND (event_time IS NOT ?2 OR siblings_silent IS NOT ?3)";
    let time = delivery.event.event_time.as_ref().map(micros);
    let values = params![kept_at.0, time, delivery.leaves_siblings_silent];
    Ok(transaction.prepare_cached(UPDATE)?.execute(values)? > 0)
}

/// Says what the delivery is by now. How it was taken in stays what it was, and so does the key.
fn update_type(
    transaction: &Transaction<'_>,
    delivery: &NewDelivery,
    folded: &FoldedDelivery,
    kept_at: Position,
) -> Result<(), StoreError> {
    // What once changed a booking did so, though it is no news any more.
    const UPDATE: &str = "UPDATE deliveries SET trigger = ?2, trigger_name = ?3, event_time = ?4,
            outcome = CASE WHEN outcome = ?9 AND ?5 = ?10 THEN outcome ELSE ?5 END,
            booking_uid = ?6, mentioned = ?7, siblings_silent = ?8
        WHERE position = ?1";
    let event = &delivery.event;
    transaction.prepare_cached(UPDATE)?.execute(params![
        kept_at.0,
        event.trigger,
        event.trigger_name,
        event.event_time.as_ref().map(micros),
        i32::from(folded.outcome),
        delivery.booking_uid,
        notes::mentioned(delivery.booking_uid.as_deref(), &folded.mentions),
        delivery.leaves_siblings_silent,
        i32::from(v1::SubmitOutcome::Applied),
        i32::from(v1::SubmitOutcome::NoChange),
    ])?;
    Ok(())
}

fn without_position(mut made: v1::Transition) -> v1::Transition {
    made.position.clear();
    made.commit_time = None;
    if let Some(booking) = &mut made.booking {
        booking.position.clear();
        booking.update_time = None;
    }
    made
}
