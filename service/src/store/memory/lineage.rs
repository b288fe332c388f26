//! Bookings with what only a reader of other rows knows, and lineages: the links are walked over the rows themselves.

use std::{
    collections::{BTreeSet, VecDeque},
    convert::Infallible,
};

use calbridge_proto::v1;
use prost::Message;

use super::kept::{Row, Tenant};
use crate::store::{
    LINEAGE_MAX, LineagePage, Micros, PAGE_BYTES_MAX,
    lineage::{self, Link, Origin},
    time::micros,
    view,
};

impl Tenant {
    /// One visible booking.
    pub(super) fn booking(&self, uid: &str) -> Option<v1::Booking> {
        let mut booking = self.shown(uid)?.clone();
        view::seal(&mut booking, self.origin(uid));
        Some(booking)
    }

    /// The last one that the reschedules of `uid` lead to.
    pub(super) fn last(&self, uid: &str) -> Option<v1::Booking> {
        let mut last = self.shown(uid)?;
        let mut seen = BTreeSet::new();
        while seen.len() < LINEAGE_MAX && seen.insert(&last.uid) && !seen.contains(&last.rescheduled_to_uid) {
            let Some(next) = self.shown(&last.rescheduled_to_uid) else { break };
            last = next;
        }
        self.booking(&last.uid)
    }

    /// The visible bookings of its lineage, but for the first `skip`: from the origin on, each behind the one that it
    /// replaced.
    pub(super) fn lineage(&self, uid: &str, skip: usize) -> LineagePage {
        let origin = self.origin(uid).uid;
        let mut waiting = VecDeque::from([origin.clone()]);
        let mut known = BTreeSet::from([origin.clone()]);
        let (mut page, mut passed, mut bytes) = (LineagePage::default(), 0, 0);
        while let Some(uid) = waiting.pop_front() {
            if let Some(shown) = self.shown(&uid) {
                passed += 1;
                if passed > skip {
                    let mut booking = shown.clone();
                    let void = self.link(&uid).is_some_and(|link| link.is_void());
                    view::seal(&mut booking, Origin { uid: origin.clone(), void });
                    bytes += booking.encoded_len();
                    page.bookings.push(booking);
                }
            }
            for after in self.successors(&uid) {
                if known.len() < LINEAGE_MAX && known.insert(after.clone()) {
                    waiting.push_back(after);
                }
            }
            if bytes > PAGE_BYTES_MAX && !waiting.is_empty() {
                page.more = true;
                break;
            }
        }
        page
    }

    /// Where the lineage of a booking begins.
    pub(super) fn origin(&self, uid: &str) -> Origin {
        let Ok(origin) = lineage::origin(uid, |at| Ok::<_, Infallible>(self.link(at)));
        origin
    }

    fn shown(&self, uid: &str) -> Option<&v1::Booking> {
        self.rows.get(uid)?.shown.as_ref()
    }

    /// The link from a booking back.
    fn link(&self, uid: &str) -> Option<Link> {
        self.rows.get(uid).and_then(|row| self.link_of(row))
    }

    fn link_of(&self, row: &Row) -> Option<Link> {
        let (uid, evidence) = row.before.clone()?;
        let to_seated = self.shown(&uid).is_some_and(|before| before.seats_per_time_slot.is_some());
        Some(Link { uid, evidence, to_seated })
    }

    /// The bookings that say that they replaced this one, the older first, and those that are not shown last.
    fn successors(&self, uid: &str) -> Vec<String> {
        let says_so = |row: &Row| self.link_of(row).is_some_and(|link| link.uid == uid && !link.is_void());
        let found = self.rows.iter().filter(|(_, row)| says_so(row));
        let mut by_age: Vec<(Micros, &String)> = found.map(|(uid, row)| (created(row), uid)).collect();
        by_age.sort_unstable();
        by_age.into_iter().map(|(_, uid)| uid.clone()).collect()
    }
}

fn created(row: &Row) -> Micros {
    row.shown.as_ref().and_then(|shown| shown.create_time.as_ref()).map_or(Micros::MAX, micros)
}
