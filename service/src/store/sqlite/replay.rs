//! A kept delivery, typed and merged again, in one transaction.

use rusqlite::{OptionalExtension, Transaction, TransactionBehavior, params};

use super::{
    commit::{Done, write_changes},
    desk::Desk,
    names::Names,
    write::{self, Head},
};
use crate::store::{
    NewDelivery, Position, Replay, Replayed, StoreError,
    changes::Changes,
    fold,
    pack::Packer,
    replay::{self, Kept},
};

/// Merges it again. `None` where it is not kept.
pub(super) fn replay(
    Desk { connection, settler, .. }: &mut Desk,
    packer: &mut Packer,
    replay: &Replay,
) -> Result<Done<Option<Replayed>>, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let Some(kept) = kept(&transaction, &replay.delivery)? else {
        return Ok(Done { answer: None, head: Position::default(), has_sorted: false });
    };
    let before = Head::read(&transaction)?;
    let mut head = before.position;
    let mut names = Names::new(settler);
    let rows = names.load(&transaction, fold::touched([&replay.delivery]))?;
    let plan = replay::plan(replay, kept, before.position, &rows)?;
    if let Some(kept) = &plan.kept {
        write::kept(&transaction, kept)?;
    }
    let mut has_sorted = false;
    if let Some(changes) = &plan.changes {
        has_sorted = write_changes(&transaction, (&mut names, packer), changes, before)?;
        head = changes.folded.head;
        spoke_earlier(&transaction, &names, changes)?;
    }
    if plan.kept.is_some() {
        names.commit(transaction)?;
    }
    Ok(Done { answer: Some(plan.replayed), head, has_sorted })
}

/// Remembers that a delivery which may have been kept before anything spoke of the bookings has done so by now.
fn spoke_earlier(transaction: &Transaction<'_>, names: &Names, changes: &Changes<'_>) -> Result<(), StoreError> {
    const UPDATE: &str = "UPDATE bookings SET first_position = ?2 WHERE id = ?1 AND first_position > ?2";
    let mut update = transaction.prepare_cached(UPDATE)?;
    for (_, kept_at) in &changes.of {
        for booking in changes.bookings() {
            update.execute(params![names.get(&booking.key.0, &booking.key.1).map(|met| met.number), kept_at.0])?;
        }
    }
    Ok(())
}

fn kept(transaction: &Transaction<'_>, delivery: &NewDelivery) -> Result<Option<Kept>, StoreError> {
    const SELECT: &str = "SELECT position, trigger, trigger_name, event_time, outcome, booking_uid, mentioned,
            siblings_silent
        FROM deliveries WHERE delivery_id = ?1 AND tenant = ?2";
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Kept {
            position: Position(row.get(0)?),
            trigger: row.get(1)?,
            trigger_name: row.get(2)?,
            event_time: row.get(3)?,
            outcome: row.get(4)?,
            booking_uid: row.get(5)?,
            mentioned: row.get(6)?,
            siblings_silent: row.get(7)?,
        })
    };
    let values = params![&delivery.delivery_id.as_bytes()[..], delivery.key.tenant];
    Ok(transaction.prepare_cached(SELECT)?.query_row(values, read).optional()?)
}
