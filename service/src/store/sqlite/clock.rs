//! What the clock has to say: found by readers, so that nobody waits while there is nothing, and said by the writer.

use std::{ops::RangeInclusive, sync::Arc};

use calbridge_process::crash::{self, Point};
use calbridge_proto::v1::{Transition, TransitionSource};
use rusqlite::{OptionalExtension, TransactionBehavior, params};

use super::{
    commit::{Done, write_changes},
    desk::Desk,
    names::Names,
    reader::Snapshot,
    write::Head,
    young::End,
};
use crate::store::{
    BookingKey, CLOCK_BOOKINGS_MAX, ClockPolicies, ClockRound, Micros, StoreError,
    changes::Changes,
    clock::SKEW,
    fold::{self, Occasion},
    pack::Packer,
};

/// Bookings of which the log and the clock say different things, at most [`CLOCK_BOOKINGS_MAX`].
pub(super) fn due(snapshot: &Snapshot<'_>, clock: &ClockPolicies, now: Micros) -> Result<Vec<BookingKey>, StoreError> {
    let mut keys = Vec::new();
    let mut tenant = snapshot.young.next_with_ends(snapshot, "")?;
    while let Some(this) = tenant {
        let tenant_key: Arc<str> = Arc::from(this.as_str());
        let room = CLOCK_BOOKINGS_MAX - keys.len();
        let uids = due_of(snapshot, &this, clock.horizon(&this, now).instant(), room)?;
        keys.extend(uids.into_iter().map(|uid| (Arc::clone(&tenant_key), uid)));
        if keys.len() == CLOCK_BOOKINGS_MAX {
            break;
        }
        tenant = snapshot.young.next_with_ends(snapshot, &this)?;
    }
    Ok(keys)
}

/// Says it, in one transaction, and answers the changes.
pub(super) fn hear(
    Desk { connection, settler, .. }: &mut Desk,
    packer: &mut Packer,
    round: &ClockRound,
) -> Result<Done<Vec<Transition>>, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let before = Head::read(&transaction)?;
    let mut names = Names::new(settler);
    let rows = names.load(&transaction, round.keys.iter().cloned())?;
    let source = TransitionSource::Clock;
    let occasion =
        Occasion { head: before.position, now: round.now, clock: &round.clock, source, trace_id: &round.trace_id };
    let changes = Changes::of_clock(fold::hear_clock(&rows, &occasion)?, round.now);
    let has_sorted = write_changes(&transaction, (&mut names, packer), &changes, before)?;
    crash::at(Point::ClockCommit);
    names.commit(transaction)?;
    crash::at(Point::ClockCommitted);
    let head = changes.folded.head;
    let answer = changes.folded.clock.into_iter().map(|(_, made)| made).collect();
    Ok(Done { answer, head, has_sorted })
}

/// First those whose end has passed untold, then those that were told too early: a policy or a clock went back.
fn due_of(
    snapshot: &Snapshot<'_>,
    tenant: &str,
    passed: Option<Micros>,
    room: usize,
) -> Result<Vec<String>, StoreError> {
    let mut uids = match passed {
        Some(passed) => between(snapshot, tenant, false, Micros::MIN..=passed, room)?,
        None => Vec::new(),
    };
    let kept = passed.map_or(Micros::MIN, |passed| passed.saturating_add(SKEW));
    let early = kept.saturating_add(1)..=Micros::MAX;
    uids.extend(between(snapshot, tenant, true, early, room - uids.len())?);
    Ok(uids)
}

/// Those with ends between these, as their rows have it.
fn between(
    snapshot: &Snapshot<'_>,
    tenant: &str,
    told: bool,
    ends: RangeInclusive<Micros>,
    room: usize,
) -> Result<Vec<String>, StoreError> {
    const SELECT: &str = "SELECT uid FROM bookings WHERE id = ?1 AND clock_told = ?2 AND clock_end = ?3";
    let mut select = snapshot.prepare_cached(SELECT)?;
    let mut uids = Vec::new();
    for (End { told, at }, number) in snapshot.young.ends(snapshot, tenant, (told, ends), room)? {
        let found = select.query_row(params![number, told, at], |row| row.get::<_, String>(0)).optional();
        match found.map_err(StoreError::from) {
            // It is left aside: the others must not wait for it.
            Err(StoreError::Damaged { .. }) => {}
            found => uids.extend(found?),
        }
    }
    Ok(uids)
}
