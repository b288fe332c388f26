//! Bookings, one or a page of them, with the origin of each one's lineage.

use calbridge_proto::v1;
use prost::Message;
use rusqlite::{Connection, params_from_iter};

use super::{
    filter::{Statement, statement},
    found::{Found, unsealed},
    lineage::origin,
};
use crate::store::{
    BookingCursor, BookingOrder, BookingPage, BookingQuery, LINEAGE_MAX, Micros, PAGE_BYTES_MAX, PAGE_LOOKS_MAX,
    StoreError, time::micros, view,
};

/// One visible booking.
pub(in crate::store::sqlite) fn one(
    connection: &Connection,
    tenant: &str,
    uid: &str,
) -> Result<Option<v1::Booking>, StoreError> {
    let Some(mut booking) = unsealed(connection, tenant, uid)? else { return Ok(None) };
    view::seal(&mut booking, origin(connection, tenant, uid)?);
    Ok(Some(booking))
}

/// The last booking that the reschedules of `uid` lead to.
pub(in crate::store::sqlite) fn last(
    connection: &Connection,
    tenant: &str,
    uid: &str,
) -> Result<Option<v1::Booking>, StoreError> {
    let Some(mut booking) = unsealed(connection, tenant, uid)? else { return Ok(None) };
    let mut seen = vec![uid.to_owned()];
    while seen.len() <= LINEAGE_MAX {
        let next = booking.rescheduled_to_uid.clone();
        if next.is_empty() || seen.contains(&next) {
            break;
        }
        let Some(after) = unsealed(connection, tenant, &next)? else { break };
        booking = after;
        seen.push(next);
    }
    let origin = origin(connection, tenant, &booking.uid)?;
    view::seal(&mut booking, origin);
    Ok(Some(booking))
}

/// A page of visible bookings.
pub(in crate::store::sqlite) fn page(connection: &Connection, query: &BookingQuery) -> Result<BookingPage, StoreError> {
    let Statement { sql, values } = statement(query);
    let mut select = connection.prepare_cached(&sql)?;
    let mut found = select.query_map(params_from_iter(values), Found::read)?;
    let (mut page, mut looks, mut bytes) = (BookingPage::default(), 0, 0);
    while let Some(found) = found.next().transpose()? {
        let mut booking = found.show(&query.tenant)?;
        let here = cursor(&booking, query.order);
        looks += 1;
        if query.filter.matches(&booking) {
            view::seal(&mut booking, origin(connection, &query.tenant, &here.uid)?);
            bytes += booking.encoded_len();
            page.bookings.push(booking);
        }
        let full = page.bookings.len() >= query.limit || (bytes > PAGE_BYTES_MAX && page.bookings.len() > 1);
        if full || looks >= PAGE_LOOKS_MAX {
            page.next = Some(here);
            break;
        }
    }
    Ok(page)
}

fn cursor(booking: &v1::Booking, order: BookingOrder) -> BookingCursor {
    let time = match order {
        BookingOrder::StartTime => booking.start_time.as_ref(),
        BookingOrder::UpdateTime => booking.update_time.as_ref(),
    };
    BookingCursor { time: time.map_or(Micros::MIN, micros), uid: booking.uid.clone() }
}
