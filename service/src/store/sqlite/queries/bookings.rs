//! Bookings, one or a page of them, with the origin of each one's lineage.

use calbridge_proto::v1;
use prost::Message;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    found::{self, unsealed},
    lineage::{Origins, origin},
};
use crate::store::{
    BookingCursor, BookingOrder, BookingPage, BookingQuery, LINEAGE_MAX, Micros, PAGE_BYTES_MAX, PAGE_DECODED_MAX,
    PAGE_LOOKS_MAX, PAGE_PASSES_MAX, SORTED_ROWS_MAX, StoreError,
    candidates::{Choice, Columns, Lead, Range, may_match},
    found::FoundBooking,
    postings::{From, Met, term},
    sqlite::{postings::Walk, reader::Snapshot, young::Number},
    view,
};

const ROW: &str = "SELECT uid, state, clock_told, position, update_time, status, start_time, organizer, event_type_id
    FROM bookings WHERE id = ?1 AND visible = 1";

/// One visible booking.
pub(in crate::store::sqlite) fn one(
    snapshot: &Snapshot<'_>,
    tenant: &str,
    uid: &str,
) -> Result<Option<v1::Booking>, StoreError> {
    let Some(mut booking) = unsealed(snapshot, tenant, uid)? else { return Ok(None) };
    view::seal(&mut booking, origin(snapshot, tenant, uid)?);
    Ok(Some(booking))
}

/// The last booking that the reschedules of `uid` lead to.
pub(in crate::store::sqlite) fn last(
    snapshot: &Snapshot<'_>,
    tenant: &str,
    uid: &str,
) -> Result<Option<v1::Booking>, StoreError> {
    let Some(mut booking) = unsealed(snapshot, tenant, uid)? else { return Ok(None) };
    let mut seen = vec![uid.to_owned()];
    while seen.len() <= LINEAGE_MAX {
        let next = booking.rescheduled_to_uid.clone();
        if next.is_empty() || seen.contains(&next) {
            break;
        }
        let Some(after) = unsealed(snapshot, tenant, &next)? else { break };
        booking = after;
        seen.push(next);
    }
    let origin = origin(snapshot, tenant, &booking.uid)?;
    view::seal(&mut booking, origin);
    Ok(Some(booking))
}

/// A page of visible bookings.
pub(in crate::store::sqlite) fn page(snapshot: &Snapshot<'_>, query: &BookingQuery) -> Result<BookingPage, StoreError> {
    let mut choice = Choice::new(query);
    while let Some(lead) = choice.to_count() {
        choice.counted(count(snapshot, term(&query.tenant, lead))?);
    }
    let mut page = Page::new(snapshot, query);
    match (query.order, choice.lead()) {
        (BookingOrder::UpdateTime, Lead::Order(_)) => by_update(snapshot, query, &mut page)?,
        (BookingOrder::UpdateTime, lead) => sorted(snapshot, query, lead, &mut page)?,
        (BookingOrder::StartTime, lead) => by_start(snapshot, query, lead, &mut page)?,
    }
    Ok(page.found)
}

/// By start, which is the time of every term.
fn by_start(
    snapshot: &Snapshot<'_>,
    query: &BookingQuery,
    lead: Lead<'_>,
    page: &mut Page<'_>,
) -> Result<(), StoreError> {
    let range = Range::of(query);
    let mut walk = Walk::open(snapshot, term(&query.tenant, lead), range.from(query))?;
    while let Some(Met { time, uid, finds }) = walk.next()? {
        if range.is_beyond(query, time) {
            break;
        }
        let is_over = if finds {
            match snapshot.young.number(snapshot, &query.tenant, &uid)? {
                Some(number) => page.read(number, time, uid)?,
                None => page.miss(time, uid),
            }
        } else {
            page.pass(time, uid)
        };
        if is_over {
            break;
        }
    }
    Ok(())
}

/// By update time, of the few behind a term. A row may be a megabyte: those of a page are read one by one, once it is
/// known in which order.
fn sorted(
    snapshot: &Snapshot<'_>,
    query: &BookingQuery,
    lead: Lead<'_>,
    page: &mut Page<'_>,
) -> Result<(), StoreError> {
    let mut walk = Walk::open(snapshot, term(&query.tenant, lead), From::Onward(Micros::MIN, None))?;
    let mut places = Vec::new();
    while let Some(Met { uid, finds, .. }) = walk.next()? {
        if !finds {
            continue;
        }
        let found = match updated(snapshot, &query.tenant, &uid) {
            Err(StoreError::Damaged { .. }) => {
                page.found.damaged.push(uid);
                continue;
            }
            found => found?,
        };
        let Some((time, number)) = found else { continue };
        let is_behind = query.after.as_ref().is_none_or(|after| {
            let (place, after) = ((time, uid.as_str()), (after.time, after.uid.as_str()));
            if query.descending { place < after } else { place > after }
        });
        if is_behind {
            places.push((time, uid, number));
        }
    }
    places.sort_unstable();
    if query.descending {
        places.reverse();
    }
    for (time, uid, number) in places {
        if page.read(number, time, uid)? {
            break;
        }
    }
    Ok(())
}

/// By update time, of all that the tenant has.
fn by_update(snapshot: &Snapshot<'_>, query: &BookingQuery, page: &mut Page<'_>) -> Result<(), StoreError> {
    let range = Range::of(query);
    let (time, uid, direction, compared) = match range.from(query) {
        From::Onward(time, Some(uid)) => (time, uid + "\0", "ASC", ">="),
        From::Onward(time, None) => (time, String::new(), "ASC", ">="),
        From::Backward(time, Some(uid)) => (time, uid, "DESC", "<"),
        From::Backward(time, None) => (time.saturating_add(1), String::new(), "DESC", "<"),
    };
    let mut select = snapshot.prepare_cached(&by_update_from(compared, direction))?;
    let mut places = select.query(params![query.tenant, time, uid])?;
    while let Some(place) = places.next()? {
        let time = place.get(0)?;
        if range.is_beyond(query, time) || page.read(place.get(2)?, time, place.get(1)?)? {
            break;
        }
    }
    Ok(())
}

/// The index alone: one row that can't be read ends no walk.
fn by_update_from(compared: &str, direction: &str) -> String {
    format!(
        "SELECT update_time, uid, id FROM bookings INDEXED BY bookings_by_update
        WHERE visible = 1 AND tenant = ?1 AND (update_time, uid) {compared} (?2, ?3)
        ORDER BY update_time {direction}, uid {direction}"
    )
}

/// How many bookings a term finds, or one more than are sorted; that many also where it takes too long to say.
fn count(connection: &Connection, term: i64) -> Result<usize, StoreError> {
    let mut walk = Walk::open(connection, term, From::Onward(Micros::MIN, None))?;
    let (mut rows, mut looks) = (0, 0);
    while let Some(met) = walk.next()? {
        (rows, looks) = (rows + usize::from(met.finds), looks + 1);
        if rows > SORTED_ROWS_MAX || looks >= PAGE_LOOKS_MAX {
            return Ok(SORTED_ROWS_MAX + 1);
        }
    }
    Ok(rows)
}

/// When a booking changed last, and the number of its row.
fn updated(snapshot: &Snapshot<'_>, tenant: &str, uid: &str) -> Result<Option<(Micros, Number)>, StoreError> {
    const SELECT: &str = "SELECT update_time, id FROM bookings WHERE id = ?1 AND visible = 1";
    let Some(number) = snapshot.young.number(snapshot, tenant, uid)? else { return Ok(None) };
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    Ok(snapshot.prepare_cached(SELECT)?.query_row([number], read).optional()?)
}

fn columns(row: &Row<'_>) -> rusqlite::Result<Columns> {
    Ok(Columns {
        update_time: row.get(4)?,
        status: row.get(5)?,
        start_time: row.get(6)?,
        organizer: row.get(7)?,
        event_type_id: row.get(8)?,
    })
}

/// A page that fills.
struct Page<'c> {
    snapshot: &'c Snapshot<'c>,
    query: &'c BookingQuery,
    origins: Origins<'c>,
    found: BookingPage,
    looks: usize,
    passes: usize,
    decoded: usize,
    bytes: usize,
}

impl<'c> Page<'c> {
    fn new(snapshot: &'c Snapshot<'c>, query: &'c BookingQuery) -> Self {
        let origins = Origins::new(snapshot, &query.tenant);
        Self { snapshot, query, origins, found: BookingPage::default(), looks: 0, passes: 0, decoded: 0, bytes: 0 }
    }

    /// Looks at the row of a booking that stands at this place; true where the page ends behind it. One that can't be
    /// read is left out: the others must not go with it.
    fn read(&mut self, number: Number, time: Micros, uid: String) -> Result<bool, StoreError> {
        let read = |row: &Row<'_>| Ok((columns(row)?, found::read(row)?));
        let found = self.snapshot.prepare_cached(ROW)?.query_row([number], read).optional();
        match found.map_err(StoreError::from) {
            Err(StoreError::Damaged { .. }) => {
                self.found.damaged.push(uid.clone());
                Ok(self.miss(time, uid))
            }
            found => match found? {
                Some((columns, found)) => self.look(&columns, found, time),
                None => Ok(self.miss(time, uid)),
            },
        }
    }

    /// Looks for a row that can't be shown; true where the page ends behind it.
    fn miss(&mut self, time: Micros, uid: String) -> bool {
        self.looks += 1;
        self.ends(self.looks >= PAGE_LOOKS_MAX, time, uid)
    }

    /// Passes by what finds a booking no more; true where the page ends behind it.
    fn pass(&mut self, time: Micros, uid: String) -> bool {
        self.passes += 1;
        self.ends(self.passes >= PAGE_PASSES_MAX, time, uid)
    }

    fn ends(&mut self, is_over: bool, time: Micros, uid: String) -> bool {
        if is_over {
            self.found.next = Some(BookingCursor { time, uid });
        }
        is_over
    }

    /// Looks at the next row; true where the page ends behind it.
    fn look(&mut self, columns: &Columns, row: FoundBooking, time: Micros) -> Result<bool, StoreError> {
        self.looks += 1;
        let uid = row.uid.clone();
        if may_match(&self.query.filter, columns) {
            self.decoded += 1;
            let shown = row.show_in_list(&self.query.tenant, &mut self.found.damaged)?;
            if let Some(mut booking) = shown.filter(|booking| self.query.filter.matches(booking)) {
                match self.origins.of(&booking.uid) {
                    Err(StoreError::Damaged { .. }) => self.found.damaged.push(booking.uid),
                    origin => {
                        view::seal(&mut booking, origin?);
                        self.bytes += booking.encoded_len();
                        self.found.bookings.push(booking);
                    }
                }
            }
        }
        let bookings = self.found.bookings.len();
        let full = bookings >= self.query.limit || (self.bytes > PAGE_BYTES_MAX && bookings > 1);
        if full || self.looks >= PAGE_LOOKS_MAX || self.decoded >= PAGE_DECODED_MAX {
            self.found.next = Some(BookingCursor { time, uid });
            return Ok(true);
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests;
