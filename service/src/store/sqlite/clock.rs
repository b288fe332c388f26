//! What the clock has to say: found by readers, so that nobody waits while there is nothing, and said by the writer.

use std::sync::Arc;

use calbridge_proto::v1::{Transition, TransitionSource};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::{
    commit::{Done, write_changes},
    names::Names,
    queries,
    write::Head,
};
use crate::store::{
    BookingKey, CLOCK_BOOKINGS_MAX, ClockPolicies, ClockRound, Micros, StoreError,
    changes::Changes,
    clock::SKEW,
    fold::{self, Occasion},
    pack::Packer,
};

/// Bookings of which the log and the clock say different things, at most [`CLOCK_BOOKINGS_MAX`].
pub(super) fn due(connection: &Connection, clock: &ClockPolicies, now: Micros) -> Result<Vec<BookingKey>, StoreError> {
    let mut keys = Vec::new();
    let mut tenant = next_tenant(connection, "")?;
    while let Some(this) = tenant {
        let tenant_key: Arc<str> = Arc::from(this.as_str());
        let room = CLOCK_BOOKINGS_MAX - keys.len();
        let uids = due_of(connection, &this, clock.horizon(&this, now).instant(), room)?;
        keys.extend(uids.into_iter().map(|uid| (Arc::clone(&tenant_key), uid)));
        if keys.len() == CLOCK_BOOKINGS_MAX {
            break;
        }
        tenant = next_tenant(connection, &this)?;
    }
    Ok(keys)
}

/// Says it, in one transaction, and answers the changes.
pub(super) fn hear(
    connection: &mut Connection,
    packer: &mut Packer,
    round: &ClockRound,
) -> Result<Done<Vec<Transition>>, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let before = Head::read(&transaction)?;
    let mut names = Names::default();
    let rows = names.load(&transaction, round.keys.iter().cloned())?;
    let source = TransitionSource::Clock;
    let occasion =
        Occasion { head: before.position, now: round.now, clock: &round.clock, source, trace_id: &round.trace_id };
    let changes = Changes::of_clock(fold::hear_clock(&rows, &occasion)?, round.now);
    let has_sorted = write_changes(&transaction, (&mut names, packer), &changes, before)?;
    transaction.commit()?;
    let answer = changes.folded.clock.into_iter().map(|(_, made)| made).collect();
    Ok(Done { answer, has_sorted })
}

/// The next tenant that has bookings which the clock completes: one step of a walk through the index.
fn next_tenant(connection: &Connection, behind: &str) -> Result<Option<String>, StoreError> {
    const SELECT: &str = "SELECT tenant FROM bookings INDEXED BY bookings_by_clock
        WHERE clock_end IS NOT NULL AND tenant > ?1 ORDER BY tenant LIMIT 1";
    Ok(connection.prepare_cached(SELECT)?.query_row([behind], |row| row.get(0)).optional()?)
}

/// First those whose end has passed untold, then those that were told too early: a policy or a clock went back.
fn due_of(
    connection: &Connection,
    tenant: &str,
    passed: Option<Micros>,
    room: usize,
) -> Result<Vec<String>, StoreError> {
    const UNTOLD: &str = "SELECT uid FROM bookings INDEXED BY bookings_by_clock
        WHERE tenant = ?1 AND clock_told = 0 AND clock_end IS NOT NULL AND clock_end <= ?2 ORDER BY clock_end LIMIT ?3";
    const TOLD: &str = "SELECT uid FROM bookings INDEXED BY bookings_by_clock
        WHERE tenant = ?1 AND clock_told = 1 AND clock_end IS NOT NULL AND clock_end > ?2 ORDER BY clock_end LIMIT ?3";
    let read = |statement: &str, bound: Micros, room: usize| -> Result<Vec<String>, StoreError> {
        let mut select = connection.prepare_cached(statement)?;
        let found = select.query_map(params![tenant, bound, queries::limit(room)], |row| row.get(0))?;
        Ok(found.collect::<Result<_, _>>()?)
    };
    let mut uids = match passed {
        Some(passed) => read(UNTOLD, passed, room)?,
        None => Vec::new(),
    };
    let kept = passed.map_or(Micros::MIN, |passed| passed.saturating_add(SKEW));
    uids.extend(read(TOLD, kept, room - uids.len())?);
    Ok(uids)
}
