//! Lineages: where one begins, and all who belong to it. What a damaged row says of the booking before it is not known:
//! a lineage begins there, so that who replaced it is shown, and a log that speaks of them goes on.

use std::collections::{HashMap, HashSet, VecDeque};

use prost::Message;
use rusqlite::{OptionalExtension, Row, params};

use super::found::in_list;
use crate::store::{
    LINEAGE_MAX, LineagePage, PAGE_BYTES_MAX, StoreError,
    lineage::{self, Link, Origin},
    sqlite::reader::Snapshot,
    time::micros,
    view,
};

/// Where the lineage of a booking begins, as far as it is known.
pub(super) fn origin(snapshot: &Snapshot<'_>, tenant: &str, uid: &str) -> Result<Origin, StoreError> {
    Origins::new(snapshot, tenant).of(uid)
}

/// Where lineages begin, each link read once: the bookings of one page share their chains.
pub(super) struct Origins<'c> {
    snapshot: &'c Snapshot<'c>,
    tenant: &'c str,
    links: HashMap<String, Option<Link>>,
}

impl<'c> Origins<'c> {
    pub(super) fn new(snapshot: &'c Snapshot<'c>, tenant: &'c str) -> Self {
        Self { snapshot, tenant, links: HashMap::new() }
    }

    pub(super) fn of(&mut self, uid: &str) -> Result<Origin, StoreError> {
        lineage::origin(uid, |at| {
            if let Some(known) = self.links.get(at) {
                return Ok(known.clone());
            }
            let link = before(self.snapshot, self.tenant, at)?;
            self.links.insert(at.to_owned(), link.clone());
            Ok(link)
        })
    }
}

/// Its visible bookings, but for the first `skip`: from the origin on, each after the one that it replaced.
pub(in crate::store::sqlite) fn page(
    snapshot: &Snapshot<'_>,
    tenant: &str,
    uid: &str,
    skip: usize,
) -> Result<LineagePage, StoreError> {
    let origin = origin(snapshot, tenant, uid)?.uid;
    // The others are found by links that hold.
    let void = before(snapshot, tenant, &origin)?.is_some_and(|link| link.is_void());
    let mut known = HashSet::from([origin.clone()]);
    let mut waiting = VecDeque::from([origin.clone()]);
    let (mut page, mut passed, mut bytes) = (LineagePage::default(), 0, 0);
    while let Some(uid) = waiting.pop_front() {
        if let Some(mut booking) = in_list(snapshot, tenant, &uid, &mut page.damaged)? {
            passed += 1;
            if passed > skip {
                view::seal(&mut booking, Origin { uid: origin.clone(), void: void && uid == origin });
                bytes += booking.encoded_len();
                page.bookings.push(booking);
            }
        }
        for after in successors(snapshot, tenant, &uid)? {
            if known.len() < LINEAGE_MAX && known.insert(after.clone()) {
                waiting.push_back(after);
            }
        }
        if bytes > PAGE_BYTES_MAX && !waiting.is_empty() {
            page.more = true;
            break;
        }
    }
    Ok(page)
}

/// The bookings that say that they replaced this one, the older first.
fn successors(snapshot: &Snapshot<'_>, tenant: &str, uid: &str) -> Result<Vec<String>, StoreError> {
    const SELECT: &str = "SELECT uid, link FROM bookings WHERE tenant = ?1 AND rescheduled_from = ?2 LIMIT ?3";
    let to_seated = is_seated(snapshot, tenant, uid)?;
    let link = |row: &Row<'_>| Ok(Link { uid: row.get(0)?, evidence: row.get(1)?, to_seated });
    let mut select = snapshot.prepare_cached(SELECT)?;
    let found = select.query_map(params![tenant, uid, super::limit(LINEAGE_MAX)], link)?;
    let found = found.collect::<Result<Vec<Link>, _>>()?.into_iter().filter(|link| !link.is_void());
    let mut after: Vec<String> = found.map(|link| link.uid).collect();
    if after.len() > 1 {
        let created = |uid: &String| -> Result<i64, StoreError> {
            let booking = in_list(snapshot, tenant, uid, &mut Vec::new())?;
            Ok(booking.and_then(|booking| booking.create_time).map_or(i64::MAX, |time| micros(&time)))
        };
        let mut by_age =
            after.into_iter().map(|uid| Ok((created(&uid)?, uid))).collect::<Result<Vec<_>, StoreError>>()?;
        by_age.sort_unstable();
        after = by_age.into_iter().map(|(_, uid)| uid).collect();
    }
    Ok(after)
}

/// The link from a booking back.
fn before(snapshot: &Snapshot<'_>, tenant: &str, uid: &str) -> Result<Option<Link>, StoreError> {
    const SELECT: &str = "SELECT rescheduled_from, link FROM bookings WHERE id = ?1 AND rescheduled_from IS NOT NULL";
    let Some(number) = snapshot.young.number(snapshot, tenant, uid)? else { return Ok(None) };
    let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get(1)?));
    let mut select = snapshot.prepare_cached(SELECT)?;
    let found = select.query_row([number], read).optional().map_err(StoreError::from);
    let Some((uid, evidence)) = or_damaged(found, None)? else { return Ok(None) };
    let to_seated = is_seated(snapshot, tenant, &uid)?;
    Ok(Some(Link { uid, evidence, to_seated }))
}

/// Of a row that is damaged it is not known that it is not: a hint of it says nothing then.
fn is_seated(snapshot: &Snapshot<'_>, tenant: &str, uid: &str) -> Result<bool, StoreError> {
    const SELECT: &str = "SELECT seated FROM bookings WHERE id = ?1";
    let Some(number) = snapshot.young.number(snapshot, tenant, uid)? else { return Ok(false) };
    let mut select = snapshot.prepare_cached(SELECT)?;
    let seated = select.query_row([number], |row| row.get(0)).optional().map_err(StoreError::from);
    Ok(or_damaged(seated, Some(true))?.unwrap_or_default())
}

/// What was read, or what stands for it where that is damaged.
fn or_damaged<T>(read: Result<T, StoreError>, stands_for_it: T) -> Result<T, StoreError> {
    match read {
        Err(StoreError::Damaged { .. }) => Ok(stands_for_it),
        read => read,
    }
}
