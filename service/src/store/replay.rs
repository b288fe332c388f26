//! A kept delivery, typed and merged again: what that changes, without a store.

use calbridge_proto::v1::{self, TransitionSource};

use super::{
    Micros, NewDelivery, Position, Replay, Replayed, StoreError,
    changes::Changes,
    fold::{self, FoldedDelivery, LoadedRows, Occasion, Told},
    mentioned,
    time::micros,
};

/// A delivery as it is kept.
pub(crate) struct Kept {
    pub(crate) position: Position,
    pub(crate) trigger: i32,
    pub(crate) trigger_name: String,
    pub(crate) event_time: Option<Micros>,
    pub(crate) outcome: i32,
    pub(crate) booking_uid: Option<String>,
    pub(crate) mentioned: Option<Vec<u8>>,
    pub(crate) siblings_silent: bool,
}

/// What a replay writes.
pub(crate) struct Plan<'a> {
    /// Its row as it is by now, where that is another.
    pub(crate) kept: Option<Kept>,
    /// Nothing where it says nothing new: such a replay leaves no line behind, or each replay of a whole journal would
    /// double its timelines.
    pub(crate) changes: Option<Changes<'a>>,
    pub(crate) replayed: Replayed,
}

/// Merges it again into the `rows` that it speaks of.
pub(crate) fn plan<'a>(
    replay: &'a Replay,
    kept: Kept,
    head: Position,
    rows: &LoadedRows,
) -> Result<Plan<'a>, StoreError> {
    let delivery = &replay.delivery;
    let (now, source) = (replay.now, TransitionSource::Replay);
    let occasion = Occasion { head, now, clock: &replay.clock, source, trace_id: &delivery.trace_id };
    let folded = fold::fold(&[delivery], rows, &occasion)?;
    let Some(told) = folded.deliveries.first() else {
        return Err(StoreError::unavailable("a replay folded nothing"));
    };
    let made = told.transitions.iter().map(Told::whole);
    let transitions = if replay.dry_run { made.map(without_position).collect() } else { made.collect() };
    let replayed = Replayed { outcome: told.outcome, transitions };
    let news = folded.bookings.iter().any(|booking| booking.told_more) || is_typed_otherwise(delivery, told, &kept);
    if replay.dry_run {
        return Ok(Plan { kept: None, changes: None, replayed });
    }
    if !news {
        return Ok(Plan { kept: described(delivery, kept), changes: None, replayed });
    }
    let position = kept.position;
    let kept = Some(retyped(delivery, told, &kept)?);
    let changes = Changes { of: vec![(delivery, position)], folded, source, now };
    Ok(Plan { kept, changes: Some(changes), replayed })
}

/// Whether this release sees another trigger or another booking in it.
fn is_typed_otherwise(delivery: &NewDelivery, told: &FoldedDelivery, kept: &Kept) -> bool {
    // Whether what it states was news is no matter of its type.
    let kind = |outcome: i32| {
        let stated = [v1::SubmitOutcome::Applied, v1::SubmitOutcome::NoChange].map(i32::from).contains(&outcome);
        (!stated).then_some(outcome)
    };
    kept.trigger != delivery.event.trigger
        || kept.booking_uid != delivery.booking_uid
        || kind(kept.outcome) != kind(told.outcome.into())
}

/// What this release reads of the delivery besides, where that is more than was known.
fn described(delivery: &NewDelivery, kept: Kept) -> Option<Kept> {
    let (event_time, siblings_silent) = (event_time(delivery), delivery.leaves_siblings_silent);
    let news = kept.event_time != event_time || kept.siblings_silent != siblings_silent;
    news.then_some(Kept { event_time, siblings_silent, ..kept })
}

/// What the delivery is by now. How it was taken in stays what it was, and so does the key. It stands in the timelines
/// in which it stood as well: its copies are noted there, and its lines go from there with it.
fn retyped(delivery: &NewDelivery, told: &FoldedDelivery, kept: &Kept) -> Result<Kept, StoreError> {
    let stood = mentioned::decode(kept.booking_uid.clone(), kept.mentioned.clone())?;
    let stands = told.mentions.iter().map(|mention| mention.uid.as_str());
    let stood = stood.iter().map(String::as_str).filter(|uid| !stands.clone().any(|stands| stands == *uid));
    let uids = stands.clone().chain(stood);
    let [applied, no_change] = [v1::SubmitOutcome::Applied, v1::SubmitOutcome::NoChange].map(i32::from);
    let outcome = i32::from(told.outcome);
    Ok(Kept {
        position: kept.position,
        trigger: delivery.event.trigger,
        trigger_name: delivery.event.trigger_name.clone(),
        event_time: event_time(delivery),
        // What once changed a booking did so, though it is no news any more.
        outcome: if kept.outcome == applied && outcome == no_change { applied } else { outcome },
        booking_uid: delivery.booking_uid.clone(),
        mentioned: mentioned::encode_uids(delivery.booking_uid.as_deref(), uids),
        siblings_silent: delivery.leaves_siblings_silent,
    })
}

fn event_time(delivery: &NewDelivery) -> Option<Micros> {
    delivery.event.event_time.as_ref().map(micros)
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
