//! Bookings, one or a page of them, with the origin of each one's lineage.

use calbridge_proto::v1;
use deadpool_postgres::ClientWrapper;
use prost::Message;
use tokio_postgres::{Error, Row, types::ToSql};

use super::{
    ROWS_BYTES,
    candidates::{self, Statement},
    lineage::{Origins, origin},
};
use crate::store::{
    BookingCursor, BookingOrder, BookingPage, BookingQuery, LINEAGE_MAX, PAGE_BYTES_MAX, PAGE_DECODED_MAX,
    PAGE_LOOKS_MAX, Position, StoreError,
    candidates::{Choice, Columns, Lead, may_match},
    found::FoundBooking,
    view::{self, LoadedRow},
};

// That it is visible must draw no index of a list's in.
const ONE: &str = "SELECT uid, state, clock_told, position, update_time FROM bookings
    WHERE tenant = $1 AND uid = $2 AND visible + 0 = 1";

/// Rows that a list looks at in its first round trip beyond those that it wants; each further one looks at more.
const FIRST_LOOKS: usize = 32;
/// And at the most.
const MOST_LOOKS: usize = 1_000;
/// Statements that one page asks at the most: more than small rows need for all the looks of a page, and of large ones
/// so many times [`ROWS_BYTES`] are read.
const SELECTS_MAX: usize = 64;
const _: () = assert!(SELECTS_MAX > PAGE_LOOKS_MAX.div_ceil(MOST_LOOKS));

/// One visible booking.
pub(in crate::store::postgres) async fn one(
    client: &ClientWrapper,
    tenant: &str,
    uid: &str,
) -> Result<Option<v1::Booking>, StoreError> {
    super::at_once(client, async {
        let Some(mut booking) = only(client, tenant, uid).await? else { return Ok(None) };
        view::seal(&mut booking, origin(client, tenant, uid).await?);
        Ok(Some(booking))
    })
    .await
}

/// The last booking that the reschedules of `uid` lead to.
pub(in crate::store::postgres) async fn last(
    client: &ClientWrapper,
    tenant: &str,
    uid: &str,
) -> Result<Option<v1::Booking>, StoreError> {
    super::at_once(client, async {
        let Some(mut booking) = only(client, tenant, uid).await? else { return Ok(None) };
        let mut seen = vec![uid.to_owned()];
        while seen.len() <= LINEAGE_MAX {
            let next = booking.rescheduled_to_uid.clone();
            if next.is_empty() || seen.contains(&next) {
                break;
            }
            let Some(after) = only(client, tenant, &next).await? else { break };
            booking = after;
            seen.push(next);
        }
        let origin = origin(client, tenant, &booking.uid).await?;
        view::seal(&mut booking, origin);
        Ok(Some(booking))
    })
    .await
}

/// Hands over those that are visible, in this order, until `take` has enough; but for what only a reader of other
/// bookings can know. What is damaged is left out.
pub(super) async fn each_unsealed(
    client: &ClientWrapper,
    tenant: &str,
    mut uids: &[String],
    damaged: &mut Vec<String>,
    mut take: impl FnMut(v1::Booking) -> bool,
) -> Result<(), StoreError> {
    let select = client.prepare_cached(&several()).await?;
    let mut decoded = 0;
    while !uids.is_empty() {
        let rows = client.query(&select, &[&tenant, &uids]).await?;
        let mut unread = None;
        for row in &rows {
            let Some(found) = read(row)? else {
                unread = Some(row.try_get::<_, &str>(0)?);
                break;
            };
            decoded += 1;
            super::give_way(decoded).await;
            if found.show_in_list(tenant, damaged)?.is_some_and(|booking| !take(booking)) {
                return Ok(());
            }
        }
        let read = unread.map_or(uids.len(), |unread| uids.iter().take_while(|uid| *uid != unread).count());
        uids = &uids[read..];
    }
    Ok(())
}

fn several() -> String {
    let state = super::within(ROWS_BYTES, "state", "place");
    // Each is looked up by itself, whatever the planner takes a tenant's bookings for.
    format!(
        "SELECT uid, {state}, clock_told, position, update_time
        FROM unnest($2::text[]) WITH ORDINALITY AS wanted (name, place) CROSS JOIN LATERAL
            (SELECT uid, state, clock_told, position, update_time FROM bookings
            WHERE tenant = $1 AND uid = wanted.name AND visible + 0 = 1 LIMIT 1) found
        ORDER BY place"
    )
}

/// A page of visible bookings.
pub(in crate::store::postgres) async fn page(
    client: &ClientWrapper,
    query: &BookingQuery,
) -> Result<BookingPage, StoreError> {
    super::at_once(client, async {
        let mut page = walk(client, query).await?;
        let uids = page.bookings.iter().map(|booking| booking.uid.clone()).collect();
        let origins = Origins::read(client, &query.tenant, uids).await?;
        for booking in &mut page.bookings {
            let origin = origins.of(&booking.uid)?;
            view::seal(booking, origin);
        }
        Ok(page)
    })
    .await
}

async fn walk(client: &ClientWrapper, query: &BookingQuery) -> Result<BookingPage, StoreError> {
    let lead = choose(client, query).await?;
    let mut page = Page::new(query);
    let mut wanted = query.limit.saturating_add(FIRST_LOOKS).min(MOST_LOOKS);
    for _ in 0..SELECTS_MAX {
        let found = select(client, candidates::page(query, lead, page.after.as_ref(), wanted)).await?;
        let mut is_cut = false;
        for row in &found {
            match page.look(row).await? {
                Look::On => {}
                Look::Unread => {
                    is_cut = true;
                    break;
                }
                Look::Full => return Ok(page.ended()),
            }
        }
        if !is_cut && found.len() < wanted {
            return Ok(page.found);
        }
        wanted = MOST_LOOKS;
    }
    Ok(page.ended())
}

/// A page that fills.
struct Page<'q> {
    query: &'q BookingQuery,
    found: BookingPage,
    /// The last that was looked at.
    after: Option<BookingCursor>,
    looks: usize,
    decoded: usize,
    bytes: usize,
}

/// What a page says of a row.
enum Look {
    /// The next may come.
    On,
    /// It is to be looked at, and came without its state.
    Unread,
    /// The page ends behind it.
    Full,
}

impl<'q> Page<'q> {
    fn new(query: &'q BookingQuery) -> Self {
        let after = query.after.clone();
        Self { query, found: BookingPage::default(), after, looks: 0, decoded: 0, bytes: 0 }
    }

    async fn look(&mut self, row: &Row) -> Result<Look, StoreError> {
        let columns = columns(row)?;
        if may_match(&self.query.filter, &columns) {
            let Some(found) = read(row)? else { return Ok(Look::Unread) };
            self.decoded += 1;
            super::give_way(self.decoded).await;
            let shown = found.show_in_list(&self.query.tenant, &mut self.found.damaged)?;
            if let Some(booking) = shown.filter(|booking| self.query.filter.matches(booking)) {
                self.bytes += booking.encoded_len();
                self.found.bookings.push(booking);
            }
        }
        self.looks += 1;
        self.after = Some(cursor(row, &columns, self.query.order)?);
        let bookings = self.found.bookings.len();
        let full = bookings >= self.query.limit || (self.bytes > PAGE_BYTES_MAX && bookings > 1);
        let is_over = full || self.looks >= PAGE_LOOKS_MAX || self.decoded >= PAGE_DECODED_MAX;
        Ok(if is_over { Look::Full } else { Look::On })
    }

    /// There may be more behind the last that was looked at.
    fn ended(self) -> BookingPage {
        BookingPage { next: self.after, ..self.found }
    }
}

/// The index that leads.
async fn choose<'q>(client: &ClientWrapper, query: &'q BookingQuery) -> Result<Lead<'q>, StoreError> {
    let mut choice = Choice::new(query);
    while let Some(lead) = choice.to_count() {
        let found = select(client, candidates::count(query, lead)).await?;
        let rows: Option<i64> = found.first().map(|row| row.try_get(0)).transpose()?;
        choice.counted(rows.and_then(|rows| usize::try_from(rows).ok()).unwrap_or_default());
    }
    Ok(choice.lead())
}

async fn select(client: &ClientWrapper, Statement { sql, values }: Statement) -> Result<Vec<Row>, Error> {
    let select = client.prepare_cached(&sql).await?;
    let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
    client.query(&select, &values).await
}

async fn only(client: &ClientWrapper, tenant: &str, uid: &str) -> Result<Option<v1::Booking>, StoreError> {
    let select = client.prepare_cached(ONE).await?;
    let found = client.query_opt(&select, &[&tenant, &uid]).await?.as_ref().map(read).transpose()?.flatten();
    found.map(|found| found.show(tenant)).transpose()
}

/// Nothing where the state did not come.
fn read(row: &Row) -> Result<Option<FoundBooking>, Error> {
    let Some(state) = row.try_get(1)? else { return Ok(None) };
    Ok(Some(FoundBooking {
        uid: row.try_get(0)?,
        row: LoadedRow { state, clock_told: row.try_get(2)? },
        position: Position(row.try_get(3)?),
        update_time: row.try_get(4)?,
    }))
}

fn columns(row: &Row) -> Result<Columns, Error> {
    Ok(Columns {
        update_time: row.try_get(4)?,
        status: row.try_get(5)?,
        start_time: row.try_get(6)?,
        organizer: row.try_get(7)?,
        event_type_id: row.try_get(8)?,
    })
}

fn cursor(row: &Row, columns: &Columns, order: BookingOrder) -> Result<BookingCursor, Error> {
    let time = match order {
        BookingOrder::StartTime => columns.start_time,
        BookingOrder::UpdateTime => columns.update_time,
    };
    Ok(BookingCursor { time, uid: row.try_get(0)? })
}

#[cfg(test)]
mod tests;
