//! Bookings, one or a page of them, with the origin of each one's lineage.

use calbridge_proto::v1;
use deadpool_postgres::ClientWrapper;
use prost::Message;
use tokio_postgres::{Error, Row, types::ToSql};

use super::{
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

const SELECT: &str = "SELECT uid, state, clock_told, position, update_time FROM bookings
    WHERE tenant = $1 AND uid = ANY($2::text[]) AND visible = 1";

/// Rows that a list looks at in its first round trip beyond those that it wants; each further one looks at more.
const FIRST_LOOKS: usize = 32;
/// And at the most: a row may be some 20 KB.
const MOST_LOOKS: usize = 1_000;

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

/// Those that are visible, in no order, but for what only a reader of other bookings can know.
pub(super) async fn unsealed(
    client: &ClientWrapper,
    tenant: &str,
    uids: &[String],
) -> Result<Vec<v1::Booking>, StoreError> {
    let select = client.prepare_cached(SELECT).await?;
    let found = client.query(&select, &[&tenant, &uids]).await?;
    let mut bookings = Vec::with_capacity(found.len());
    for row in &found {
        bookings.push(read(row)?.show(tenant)?);
        super::give_way(bookings.len()).await;
    }
    Ok(bookings)
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
    let mut page = BookingPage::default();
    let (mut looks, mut decoded, mut bytes) = (0, 0, 0);
    let mut after = query.after.clone();
    let mut wanted = query.limit.saturating_add(FIRST_LOOKS).min(MOST_LOOKS);
    loop {
        let found = select(client, candidates::page(query, lead, after.as_ref(), wanted)).await?;
        for row in &found {
            let columns = columns(row)?;
            looks += 1;
            after = Some(cursor(row, &columns, query.order)?);
            if may_match(&query.filter, &columns) {
                let booking = read(row)?.show(&query.tenant)?;
                decoded += 1;
                super::give_way(decoded).await;
                if query.filter.matches(&booking) {
                    bytes += booking.encoded_len();
                    page.bookings.push(booking);
                }
            }
            let full = page.bookings.len() >= query.limit || (bytes > PAGE_BYTES_MAX && page.bookings.len() > 1);
            if full || looks >= PAGE_LOOKS_MAX || decoded >= PAGE_DECODED_MAX {
                page.next = after;
                return Ok(page);
            }
        }
        if found.len() < wanted {
            return Ok(page);
        }
        wanted = MOST_LOOKS;
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
    Ok(unsealed(client, tenant, &[uid.to_owned()]).await?.pop())
}

fn read(row: &Row) -> Result<FoundBooking, Error> {
    Ok(FoundBooking {
        uid: row.try_get(0)?,
        row: LoadedRow { state: row.try_get(1)?, clock_told: row.try_get(2)? },
        position: Position(row.try_get(3)?),
        update_time: row.try_get(4)?,
    })
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
