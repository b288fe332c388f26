//! The log, read forward.

use std::ops::Bound;

use calbridge_proto::v1::{self, SubmitOutcome};

use super::kept::{Delivery, Kept};
use crate::store::{
    LogEntry, LogPage, LogQuery, Position,
    log::{self, LogPart, LogReading},
};

impl Kept {
    pub(super) fn log(&self, query: &LogQuery) -> LogPage {
        let end = self.head.max(query.after);
        let behind = |end| (Bound::Excluded(query.after), Bound::Included(end));
        let made = self.transitions.range(behind(end));
        let transitions = read(made.map(|(position, made)| (*position, self.meant(query, *position, made))), end);
        let recorded = query.means_recorded().then(|| {
            let kept = self.deliveries.range(behind(transitions.through));
            let of_tenant = kept.filter(|(_, delivery)| delivery.shown.tenant == *query.tenant);
            let entries = of_tenant.map(|(position, delivery)| (*position, self.recorded(query, *position, delivery)));
            read(entries, transitions.through)
        });
        log::page(end, transitions, recorded, self.watermarks(&query.tenant).of_log(query.means_recorded()))
    }

    /// What stands at a position, whosesoever.
    pub(super) fn entry_at(&self, position: Position) -> Option<LogEntry> {
        if let Some(made) = self.transitions.get(&position) {
            return self.transition(position, made).map(|made| LogEntry::Transition(Box::new(made)));
        }
        // One that made a transition stands there no more when that is purged.
        let delivery = self.deliveries.get(&position)?;
        if delivery.shown.outcome() != SubmitOutcome::Recorded {
            return None;
        }
        Some(LogEntry::Recorded(Box::new(delivery.whole(self.shown(position, delivery)))))
    }

    fn meant(&self, query: &LogQuery, position: Position, made: &v1::Transition) -> Option<LogEntry> {
        if made.tenant != *query.tenant || !query.filter.may_mean(&made.uid, made.kind, made.to_status) {
            return None;
        }
        let transition = self.transition(position, made)?;
        let is_meant = query.filter.means(transition.booking.as_ref());
        is_meant.then(|| LogEntry::Transition(Box::new(transition)))
    }

    fn recorded(&self, query: &LogQuery, position: Position, delivery: &Delivery) -> Option<LogEntry> {
        let is_meant = delivery.shown.outcome() == SubmitOutcome::Recorded
            && query.filter.means_delivery(&delivery.shown.booking_uid);
        is_meant.then(|| LogEntry::Recorded(Box::new(delivery.whole(self.shown(position, delivery)))))
    }
}

fn read(rows: impl Iterator<Item = (Position, Option<LogEntry>)>, end: Position) -> LogPart {
    let mut reading = LogReading::default();
    for (position, entry) in rows {
        if !reading.take(position, entry) {
            return reading.cut();
        }
    }
    reading.whole(end)
}
