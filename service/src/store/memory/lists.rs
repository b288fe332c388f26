//! Lists: everything is looked at, what is meant is taken, and a page ends where the trait says.

use std::ops::Bound;

use calbridge_proto::v1;
use prost::Message;
use uuid::Uuid;

use super::kept::{Delivery, Kept, Row, Tenant};
use crate::store::{
    BookingCursor, BookingKey, BookingOrder, BookingPage, BookingQuery, Micros, PAGE_BYTES_MAX, PAGE_LOOKS_MAX,
    Position, RowPage, StoreError, StoredRow, found::collect, time::micros, view,
};

impl Tenant {
    /// A page of visible bookings.
    pub(super) fn page(&self, query: &BookingQuery) -> BookingPage {
        let mut shown: Vec<&v1::Booking> = self.rows.values().filter_map(|row| row.shown.as_ref()).collect();
        shown.sort_by_key(|booking| place(booking, query.order));
        if query.descending {
            shown.reverse();
        }
        shown.retain(|booking| is_behind(booking, query));
        let (mut page, mut bytes) = (BookingPage::default(), 0);
        for (looks, shown) in (1..).zip(shown) {
            if query.filter.matches(shown) {
                let mut booking = shown.clone();
                view::seal(&mut booking, self.origin(&shown.uid));
                bytes += booking.encoded_len();
                page.bookings.push(booking);
            }
            let full = page.bookings.len() >= query.limit || (bytes > PAGE_BYTES_MAX && page.bookings.len() > 1);
            if full || looks >= PAGE_LOOKS_MAX {
                let (time, uid) = place(shown, query.order);
                page.next = Some(BookingCursor { time, uid: uid.to_owned() });
                break;
            }
        }
        page
    }
}

/// Where a booking stands; one without a start stands first.
fn place(booking: &v1::Booking, order: BookingOrder) -> (Micros, &str) {
    let time = match order {
        BookingOrder::StartTime => booking.start_time.as_ref(),
        BookingOrder::UpdateTime => booking.update_time.as_ref(),
    };
    (time.map_or(Micros::MIN, micros), &booking.uid)
}

fn is_behind(booking: &v1::Booking, query: &BookingQuery) -> bool {
    let place = place(booking, query.order);
    query.after.as_ref().is_none_or(|after| {
        let after = (after.time, after.uid.as_str());
        if query.descending { place < after } else { place > after }
    })
}

impl Kept {
    /// A tenant's, newest first.
    pub(super) fn deliveries(
        &self,
        tenant: &str,
        before: Option<Position>,
        limit: usize,
    ) -> Result<Vec<(Position, v1::Delivery)>, StoreError> {
        let newest_first = self.deliveries.iter().rev();
        let wanted = newest_first.filter(|(position, delivery)| {
            delivery.shown.tenant == tenant && before.is_none_or(|before| **position < before)
        });
        collect_deliveries(wanted.take(limit).map(|(position, delivery)| (*position, self.shown(*position, delivery))))
    }

    pub(super) fn delivery(&self, tenant: &str, id: Uuid, with_body: bool) -> Option<v1::Delivery> {
        let (position, delivery) = self.find(tenant, id)?;
        let shown = self.shown(position, delivery);
        Some(if with_body { delivery.whole(shown) } else { shown })
    }

    /// Every tenant's or one tenant's of which the bodies are kept, with those, oldest first.
    pub(super) fn journal(
        &self,
        tenant: Option<&str>,
        after: Position,
        limit: usize,
    ) -> Result<Vec<(Position, v1::Delivery)>, StoreError> {
        let wanted = self
            .deliveries
            .range((Bound::Excluded(after), Bound::Unbounded))
            .filter(|(_, delivery)| tenant.is_none_or(|tenant| delivery.shown.tenant == tenant));
        let shown = wanted.map(|(position, delivery)| (*position, delivery, self.shown(*position, delivery)));
        let there = shown.filter(|(_, _, shown)| !shown.raw_body_purged).take(limit);
        collect_deliveries(there.map(|(position, delivery, shown)| (position, delivery.whole(shown))))
    }

    /// One row, hidden or not.
    pub(super) fn row(&self, key: &BookingKey) -> Option<StoredRow> {
        self.find_row(key).map(|row| self.stored(key.clone(), row))
    }

    /// Every tenant's or one tenant's, by tenant and uid.
    pub(super) fn rows(&self, tenant: Option<&str>, after: Option<&BookingKey>, limit: usize) -> RowPage {
        let of = |name: &str| tenant.is_none_or(|tenant| tenant == name);
        let wanted = self
            .tenants
            .iter()
            .filter(|(name, _)| of(name))
            .flat_map(|(name, tenant)| tenant.rows.iter().map(|(uid, row)| ((name.clone(), uid.clone()), row)))
            .filter(|(key, _)| after.is_none_or(|after| key > after));
        let (mut page, mut bytes) = (RowPage::default(), 0);
        for (key, row) in wanted {
            bytes += row.loaded.state.len();
            page.rows.push(self.stored(key, row));
            if page.rows.len() == limit || bytes > PAGE_BYTES_MAX {
                page.more = true;
                break;
            }
        }
        page
    }

    /// As it is read, without its body.
    pub(super) fn shown(&self, position: Position, delivery: &Delivery) -> v1::Delivery {
        let raw_body_purged = position <= self.watermarks(&delivery.shown.tenant).bodies;
        v1::Delivery { raw_body_purged, ..delivery.shown.clone() }
    }

    fn stored(&self, key: BookingKey, row: &Row) -> StoredRow {
        let timeline = self.tenants.get(&key.0).and_then(|tenant| tenant.timelines.get(&key.1));
        let mentioned = timeline.and_then(|lines| lines.keys().next_back()).copied().unwrap_or_default();
        StoredRow { key, state: row.loaded.state.clone(), mentioned, first: row.first }
    }
}

impl Delivery {
    /// With its body, if that is kept.
    pub(super) fn whole(&self, shown: v1::Delivery) -> v1::Delivery {
        let raw_body = if shown.raw_body_purged { Vec::new() } else { self.body.to_vec() };
        v1::Delivery { raw_body, ..shown }
    }
}

fn collect_deliveries(
    found: impl Iterator<Item = (Position, v1::Delivery)>,
) -> Result<Vec<(Position, v1::Delivery)>, StoreError> {
    collect(found.map(Ok), |(_, delivery)| delivery.encoded_len())
}
