//! What is past its retention is taken away: rows behind a watermark, and whatever then speaks of nothing.

use super::kept::{Delivery, Kept};
use crate::store::{
    LogPurge, LogPurged, PURGE_ROWS_MAX, Position, Purge, Purgeable, Purged, Watermarks,
    retention::{
        Candidate,
        log::{self, LogCandidate},
    },
    time::micros,
};

impl Kept {
    /// Of whom there is a delivery or a booking.
    pub(super) fn next_tenant(&self, behind: &str) -> Option<String> {
        let deliveries = self.deliveries.values().map(|delivery| delivery.shown.tenant.as_str());
        let bookings = self.tenants.iter().filter(|(_, of)| !of.rows.is_empty());
        let tenants = deliveries.chain(bookings.map(|(tenant, _)| &**tenant));
        tenants.filter(|tenant| *tenant > behind).min().map(str::to_owned)
    }

    pub(super) fn watermarks(&self, tenant: &str) -> Watermarks {
        self.tenants.get(tenant).map(|of| of.gone).unwrap_or_default()
    }

    pub(super) fn purge(&mut self, purge: &Purge) -> Purged {
        let before = self.watermarks(&purge.tenant);
        let behind = before.of(purge.what);
        let of_tenant = |(position, delivery): &(&Position, &Delivery)| {
            **position > behind && delivery.shown.tenant == *purge.tenant
        };
        let found = self.deliveries.iter().filter(of_tenant).take(PURGE_ROWS_MAX);
        let found: Vec<_> = found.map(|(position, delivery)| delivery.candidate(purge.what, *position)).collect();
        let purged = purge.reach(&found);
        let gone: Vec<Position> = found.iter().take(purged.rows).map(|row| row.position).collect();
        let Some(last) = gone.last() else { return purged };
        if purge.what == Purgeable::Deliveries {
            for position in &gone {
                if let Some(delivery) = self.deliveries.remove(position) {
                    self.keys.remove(&delivery.key);
                }
            }
        }
        self.tenants.entry(purge.tenant.clone()).or_default().gone = before.passed(purge.what, *last);
        self.forget();
        purged
    }

    pub(super) fn purge_log(&mut self, purge: &LogPurge) -> LogPurged {
        let found = self.transitions.iter().filter(|(position, _)| **position > purge.after).take(PURGE_ROWS_MAX);
        let found = found.map(|(position, made)| {
            let commit_time = made.commit_time.as_ref().map_or(0, micros);
            let row = Candidate::transition(position.0, commit_time, 0, made.uid.clone());
            LogCandidate { tenant: made.tenant.clone(), row }
        });
        let (gone, purged) = purge.choose(found.collect());
        for row in &gone {
            self.transitions.remove(&row.row.position);
        }
        for (tenant, transitions) in log::passed(&gone) {
            let of = self.tenants.entry(tenant.into()).or_default();
            of.gone = Watermarks { transitions: transitions.max(of.gone.transitions), ..of.gone };
        }
        self.forget();
        purged
    }

    /// Lines of which neither delivery nor transition is kept, and the copies that only they spoke of.
    fn forget(&mut self) {
        let (deliveries, transitions) = (&self.deliveries, &self.transitions);
        for (tenant, of) in &mut self.tenants {
            for (uid, lines) in &mut of.timelines {
                lines.retain(|position, line| {
                    let made = transitions.get(position);
                    deliveries.contains_key(&line.delivery)
                        || made.is_some_and(|made| *made.tenant == **tenant && made.uid == *uid)
                });
            }
            of.timelines.retain(|_, lines| !lines.is_empty());
        }
        self.copies.retain(|_, copy| deliveries.contains_key(&copy.first.position));
    }
}

impl Delivery {
    fn candidate(&self, what: Purgeable, position: Position) -> Candidate {
        match what {
            Purgeable::Bodies => Candidate::body(position.0, self.id, self.shown.body_size),
            Purgeable::Deliveries => {
                Candidate::delivery(position.0, self.id, self.booking_uid.clone(), self.mentioned.clone())
            }
        }
    }
}
