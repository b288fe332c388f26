//! What the clock has to say: found by readers, so that nobody waits while there is nothing, and said by the writer.

use std::{collections::HashSet, ops::RangeInclusive, sync::Arc};

use calbridge_process::crash::{self, Point};
use calbridge_proto::v1::{Transition, TransitionSource};
use rusqlite::{OptionalExtension, TransactionBehavior, params};

use super::{
    commit::{Done, write_changes},
    desk::Desk,
    names::Names,
    reader::Snapshot,
    write::Head,
    young::{End, UNREAD_MAX},
};
use crate::store::{
    BookingKey, CLOCK_BOOKINGS_MAX, ClockPolicies, ClockRound, Micros, StoreError,
    changes::Changes,
    clock::SKEW,
    fold::{self, Occasion},
    pack::Packer,
};

/// Bookings of which the log and the clock say different things, at most [`CLOCK_BOOKINGS_MAX`].
pub(super) fn due(
    snapshot: &Snapshot<'_>,
    clock: &ClockPolicies,
    now: Micros,
    aside: &HashSet<BookingKey>,
) -> Result<Vec<BookingKey>, StoreError> {
    let mut keys = Vec::new();
    let mut tenant = snapshot.young.next_with_ends(snapshot, "")?;
    while let Some(this) = tenant {
        let tenant_key: Arc<str> = Arc::from(this.as_str());
        let passed = clock.horizon(&this, now).instant();
        due_of(snapshot, (&tenant_key, passed), aside, &mut keys)?;
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
    let answer = changes.folded.clock.into_iter().map(|told| told.transition).collect();
    Ok(Done { answer, head, has_sorted })
}

/// First those whose end has passed untold, then those that were told too early: a policy or a clock went back.
fn due_of(
    snapshot: &Snapshot<'_>,
    (tenant, passed): (&Arc<str>, Option<Micros>),
    aside: &HashSet<BookingKey>,
    keys: &mut Vec<BookingKey>,
) -> Result<(), StoreError> {
    if let Some(passed) = passed {
        between(snapshot, tenant, (false, Micros::MIN..=passed), aside, keys)?;
    }
    let kept = passed.map_or(Micros::MIN, |passed| passed.saturating_add(SKEW));
    between(snapshot, tenant, (true, kept.saturating_add(1)..=Micros::MAX), aside, keys)
}

/// Those with ends between these, as their rows have it, as far as there is room.
fn between(
    snapshot: &Snapshot<'_>,
    tenant: &Arc<str>,
    ends: (bool, RangeInclusive<Micros>),
    aside: &HashSet<BookingKey>,
    keys: &mut Vec<BookingKey>,
) -> Result<(), StoreError> {
    const SELECT: &str = "SELECT uid FROM bookings WHERE id = ?1 AND clock_told = ?2 AND clock_end = ?3";
    let mut select = snapshot.prepare_cached(SELECT)?;
    // Those that nothing is to be said of stand before the others, and stay there.
    let looks = CLOCK_BOOKINGS_MAX + aside.len() + UNREAD_MAX;
    for (End { told, at }, number) in snapshot.young.ends(snapshot, tenant, ends, looks)? {
        if keys.len() == CLOCK_BOOKINGS_MAX {
            break;
        }
        let found = select.query_row(params![number, told, at], |row| row.get::<_, String>(0)).optional();
        match found.map_err(StoreError::from) {
            // It is left aside: the others must not wait for it.
            Err(StoreError::Damaged { .. }) => {}
            found => {
                let key = found?.map(|uid| (Arc::clone(tenant), uid));
                keys.extend(key.filter(|key| !aside.contains(key)));
            }
        }
    }
    Ok(())
}
