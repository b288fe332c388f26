//! Timelines: each line with what is kept of the delivery that it speaks of, of the copy, and of the change.

use calbridge_proto::v1::{self, TransitionSource};
use prost::Message;

use super::kept::{Delivery, Kept, Line};
use crate::store::{
    Position, StoreError,
    found::{collect, notes},
    lineage::Origin,
    time::timestamp,
    view,
};

impl Kept {
    /// What spoke of a booking behind `after`, oldest first.
    pub(super) fn timeline(
        &self,
        tenant: &str,
        uid: &str,
        after: Position,
        limit: usize,
    ) -> Result<Vec<(Position, v1::TimelineEntry)>, StoreError> {
        let Some(of) = self.tenants.get(tenant) else { return Ok(Vec::new()) };
        let Some(lines) = of.timelines.get(uid) else { return Ok(Vec::new()) };
        // A change says what link was heard of, though it may be void by now.
        let origin = Origin { void: false, ..of.origin(uid) };
        let behind = lines.iter().filter(|(position, _)| **position > after).take(limit);
        let entries = behind.map(|(position, line)| {
            let entry = self.entry(*position, uid, line);
            // A delivery without a change may stand at the position of another booking's.
            let made = self.transitions.get(position).filter(|made| made.tenant == tenant && made.uid == uid);
            Ok((*position, made.map_or_else(|| entry.clone(), |made| changed(&entry, made, &origin))))
        });
        collect(entries, |(_, entry)| entry.encoded_len())
    }

    /// A change, with what is known of its delivery by now.
    pub(super) fn transition(&self, position: Position, made: &v1::Transition) -> Option<v1::Transition> {
        let of = self.tenants.get(made.tenant.as_str())?;
        let line = of.timelines.get(&made.uid)?.get(&position)?;
        // It says what link was heard of, though that may be void by now.
        let origin = Origin { void: false, ..of.origin(&made.uid) };
        changed(&self.entry(position, &made.uid, line), made, &origin).transition
    }

    /// But for the transition.
    fn entry(&self, position: Position, uid: &str, line: &Line) -> v1::TimelineEntry {
        let entry = v1::TimelineEntry {
            position: position.to_token(),
            outcome: line.outcome.into(),
            source: line.source.into(),
            ..v1::TimelineEntry::default()
        };
        let Some(Delivery { shown, booking_uid, siblings_silent, .. }) = self.deliveries.get(&line.delivery) else {
            return entry;
        };
        let entry = v1::TimelineEntry {
            delivery_id: shown.delivery_id.clone(),
            trigger: shown.trigger,
            trigger_name: shown.trigger_name.clone(),
            event_time: shown.event_time,
            receive_time: shown.receive_time,
            secret_id: shown.secret_id.clone(),
            trace_id: shown.trace_id.clone(),
            booking_uid: shown.booking_uid.clone(),
            notes: notes(*siblings_silent && booking_uid.as_deref() == Some(uid)),
            ..entry
        };
        match self.copies.get(&position) {
            // A receipt of its own; the rest is the first's.
            Some(copy) => v1::TimelineEntry {
                receive_time: Some(timestamp(copy.receive_time)),
                secret_id: copy.secret_id.clone(),
                trace_id: copy.trace_id.clone(),
                ..entry
            },
            None => entry,
        }
    }
}

/// An entry with the change that was made. What is known of its delivery is as the delivery has it by now.
fn changed(entry: &v1::TimelineEntry, made: &v1::Transition, origin: &Origin) -> v1::TimelineEntry {
    let mut transition = made.clone();
    if let Some(booking) = &mut transition.booking {
        view::seal(booking, origin.clone());
    }
    // A webhook's trace is its delivery's, and goes with it.
    if transition.trace_id.is_empty() || transition.source() == TransitionSource::Webhook {
        transition.trace_id.clone_from(&entry.trace_id);
    }
    transition.delivery_id.clone_from(&entry.delivery_id);
    transition.trigger = entry.trigger;
    transition.event_time = entry.event_time;
    v1::TimelineEntry { trace_id: transition.trace_id.clone(), transition: Some(transition), ..entry.clone() }
}
