//! Bookings, one or a page of them, with the origin of each one's lineage.

use std::collections::BTreeSet;

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
    BookingCursor, BookingOrder, BookingPage, BookingQuery, LINEAGE_MAX, Micros, PAGE_BYTES_MAX, PAGE_DECODED_MAX,
    PAGE_LOOKS_MAX, PAGE_PASSES_MAX, Position, SORTED_ROWS_MAX, StoreError,
    candidates::{Choice, Columns, Lead, Range, may_match},
    found::FoundBooking,
    postgres::postings::Lists,
    postings::{From, Met, term},
    view::{self, LoadedRow},
};

// That it is visible must draw no index of a list's in.
const ONE: &str = "SELECT uid, state, clock_told, position, update_time FROM bookings
    WHERE tenant = $1 AND uid = $2 AND visible + 0 = 1";

/// Rows that a list looks at in its first round trip beyond those that it wants; each further one looks at more.
const FIRST_LOOKS: usize = 32;
/// And at the most.
const MOST_LOOKS: usize = 1_000;
/// With what is passed by among them.
const MOST_MET: usize = 16 * MOST_LOOKS;
/// Statements by which one page asks for rows at the most: more than small rows need for all the looks of a page, and
/// of large ones so many times [`ROWS_BYTES`] are read.
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

/// The visible ones of these bookings, in this order.
fn several() -> String {
    let state = super::within(ROWS_BYTES, "state", "place");
    // Each is looked up by itself, whatever the planner takes a tenant's bookings for.
    format!(
        "SELECT uid, {state}, clock_told, position, update_time, status, start_time, organizer, event_type_id
        FROM unnest($2::text[]) WITH ORDINALITY AS wanted (name, place) CROSS JOIN LATERAL
            (SELECT * FROM bookings WHERE tenant = $1 AND uid = wanted.name AND visible + 0 = 1 LIMIT 1) found
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
    let lists = Lists::new(client);
    let mut choice = Choice::new(query);
    while let Some(lead) = choice.to_count() {
        choice.counted(count(&lists, term(&query.tenant, lead)).await?);
    }
    let mut page = Page::new(query);
    match (query.order, choice.lead()) {
        (BookingOrder::UpdateTime, Lead::Order(_)) => by_update(client, None, &mut page).await?,
        (BookingOrder::UpdateTime, lead) => {
            let uids = found_by(&lists, term(&query.tenant, lead)).await?;
            by_update(client, Some(&uids), &mut page).await?;
        }
        (BookingOrder::StartTime, lead) => by_start(client, lists, lead, &mut page).await?,
    }
    Ok(page.found)
}

/// How many bookings a term finds, or one more than are sorted; that many also where it takes too long to say.
async fn count(lists: &Lists<'_>, term: i64) -> Result<usize, StoreError> {
    let mut walk = lists.walk(term, From::Onward(Micros::MIN, None)).await?;
    let (mut rows, mut looks) = (0, 0);
    while let Some(met) = walk.next().await? {
        (rows, looks) = (rows + usize::from(met.finds), looks + 1);
        super::give_way(looks).await;
        if rows > SORTED_ROWS_MAX || looks >= PAGE_LOOKS_MAX {
            return Ok(SORTED_ROWS_MAX + 1);
        }
    }
    Ok(rows)
}

/// The few bookings that a term finds.
async fn found_by(lists: &Lists<'_>, term: i64) -> Result<Vec<String>, StoreError> {
    let mut walk = lists.walk(term, From::Onward(Micros::MIN, None)).await?;
    let (mut uids, mut looks) = (BTreeSet::new(), 0);
    while let Some(Met { uid, finds, .. }) = walk.next().await? {
        looks += 1;
        super::give_way(looks).await;
        if finds {
            uids.insert(uid);
        }
    }
    Ok(uids.into_iter().collect())
}

/// By start, which is the time of every term.
async fn by_start(
    client: &ClientWrapper,
    lists: Lists<'_>,
    lead: Lead<'_>,
    page: &mut Page<'_>,
) -> Result<(), StoreError> {
    let query = page.query;
    let range = Range::of(query);
    let mut walk = lists.walk(term(&query.tenant, lead), range.from(query)).await?;
    let mut wanted = page.first_looks();
    loop {
        let (mut met, mut rows) = (Vec::with_capacity(wanted), 0);
        let mut is_last = false;
        while rows < wanted && met.len() < MOST_MET && !is_last {
            match walk.next().await?.filter(|met| !range.is_beyond(query, met.time)) {
                Some(next) => {
                    rows += usize::from(next.finds);
                    met.push(next);
                    super::give_way(met.len()).await;
                }
                None => is_last = true,
            }
        }
        if page.look_at(client, &met).await? || is_last {
            return Ok(());
        }
        wanted = MOST_LOOKS;
    }
}

/// By update time, of all that the tenant has, or of these.
async fn by_update(client: &ClientWrapper, uids: Option<&[String]>, page: &mut Page<'_>) -> Result<(), StoreError> {
    let mut wanted = page.first_looks();
    while page.selects < SELECTS_MAX {
        page.selects += 1;
        let found = select(client, candidates::by_update(page.query, uids, page.after.as_ref(), wanted)).await?;
        let mut is_cut = false;
        for row in &found {
            match page.look(row, None).await? {
                Look::On => {}
                Look::Unread => {
                    is_cut = true;
                    break;
                }
                Look::Full => {
                    page.end();
                    return Ok(());
                }
            }
        }
        if !is_cut && found.len() < wanted {
            return Ok(());
        }
        wanted = MOST_LOOKS;
    }
    page.end();
    Ok(())
}

/// A page that fills.
struct Page<'q> {
    query: &'q BookingQuery,
    found: BookingPage,
    /// The last that was looked at.
    after: Option<BookingCursor>,
    looks: usize,
    passes: usize,
    decoded: usize,
    bytes: usize,
    /// Statements that were asked for rows.
    selects: usize,
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
        Self { query, found: BookingPage::default(), after, looks: 0, passes: 0, decoded: 0, bytes: 0, selects: 0 }
    }

    /// In the first round trip.
    fn first_looks(&self) -> usize {
        self.query.limit.saturating_add(FIRST_LOOKS).min(MOST_LOOKS)
    }

    /// Looks at what a walk has met; true where the page ends behind it.
    async fn look_at(&mut self, client: &ClientWrapper, met: &[Met]) -> Result<bool, StoreError> {
        let select = client.prepare_cached(&several()).await?;
        let mut rest = met;
        'ask: while !rest.is_empty() {
            if self.selects >= SELECTS_MAX {
                self.end();
                return Ok(true);
            }
            self.selects += 1;
            let uids: Vec<&str> = rest.iter().filter(|met| met.finds).map(|met| met.uid.as_str()).collect();
            let tenant = self.query.tenant.as_ref();
            let rows = if uids.is_empty() { Vec::new() } else { client.query(&select, &[&tenant, &uids]).await? };
            let mut rows = rows.iter().peekable();
            for (place, met) in rest.iter().enumerate() {
                let is_its = |row: &&Row| row.try_get::<_, &str>(0).is_ok_and(|uid| uid == met.uid);
                let look = match rows.next_if(|row| met.finds && is_its(row)) {
                    Some(row) => self.look(row, Some(met.time)).await?,
                    None => self.pass(met),
                };
                match look {
                    Look::On => {}
                    Look::Unread => {
                        rest = &rest[place..];
                        continue 'ask;
                    }
                    Look::Full => {
                        self.end();
                        return Ok(true);
                    }
                }
            }
            break;
        }
        Ok(false)
    }

    /// Passes by what finds a booking no more, or none that is shown.
    fn pass(&mut self, met: &Met) -> Look {
        if met.finds {
            self.looks += 1;
        } else {
            self.passes += 1;
        }
        self.after = Some(BookingCursor { time: met.time, uid: met.uid.clone() });
        let is_over = self.looks >= PAGE_LOOKS_MAX || self.passes >= PAGE_PASSES_MAX;
        if is_over { Look::Full } else { Look::On }
    }

    /// Looks at a row, which was met at a time of its own unless that is when it was updated.
    async fn look(&mut self, row: &Row, time: Option<Micros>) -> Result<Look, StoreError> {
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
        self.after = Some(BookingCursor { time: time.unwrap_or(columns.update_time), uid: row.try_get(0)? });
        let bookings = self.found.bookings.len();
        let full = bookings >= self.query.limit || (self.bytes > PAGE_BYTES_MAX && bookings > 1);
        let is_over = full || self.looks >= PAGE_LOOKS_MAX || self.decoded >= PAGE_DECODED_MAX;
        Ok(if is_over { Look::Full } else { Look::On })
    }

    /// There may be more behind the last that was looked at.
    fn end(&mut self) {
        self.found.next = self.after.clone();
    }
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

#[cfg(test)]
mod tests;
