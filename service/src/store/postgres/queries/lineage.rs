//! Lineages: where one begins, and all who belong to it. Links are read level by level, so that a page of bookings with
//! short chains costs a round trip or two.

use std::collections::{HashMap, HashSet};

use deadpool_postgres::ClientWrapper;
use prost::Message;
use tokio_postgres::{Error, Row};

use super::bookings::each_unsealed;
use crate::store::{
    LINEAGE_MAX, LineagePage, PAGE_BYTES_MAX, StoreError,
    lineage::{self, Link, Origin},
    time::micros,
    view,
};

/// The link of each of these bookings back.
const BACK: &str = "SELECT b.uid, b.rescheduled_from, b.link, coalesce(p.seated, FALSE) FROM bookings b
    LEFT JOIN bookings p ON p.tenant = b.tenant AND p.uid = b.rescheduled_from
    WHERE b.tenant = $1 AND b.uid = ANY($2::text[]) AND b.rescheduled_from IS NOT NULL";
/// The bookings that say that they replaced one of these.
const ONWARD: &str = "SELECT b.rescheduled_from, b.uid, b.link, coalesce(p.seated, FALSE) FROM bookings b
    LEFT JOIN bookings p ON p.tenant = b.tenant AND p.uid = b.rescheduled_from
    WHERE b.tenant = $1 AND b.rescheduled_from = ANY($2::text[]) LIMIT $3";

/// Where the lineage of a booking begins, as far as it is known.
pub(super) async fn origin(client: &ClientWrapper, tenant: &str, uid: &str) -> Result<Origin, StoreError> {
    Origins::read(client, tenant, vec![uid.to_owned()]).await?.of(uid)
}

/// Where lineages begin: the links of a whole page.
pub(super) struct Origins {
    links: HashMap<String, Option<Link>>,
}

impl Origins {
    pub(super) async fn read(client: &ClientWrapper, tenant: &str, uids: Vec<String>) -> Result<Self, StoreError> {
        let select = client.prepare_cached(BACK).await?;
        let mut links: HashMap<String, Option<Link>> = HashMap::new();
        let mut level = uids;
        for _ in 0..=LINEAGE_MAX {
            level.retain(|uid| !links.contains_key(uid));
            if level.is_empty() {
                break;
            }
            let found = client.query(&select, &[&tenant, &level]).await?;
            links.extend(level.drain(..).map(|uid| (uid, None)));
            for row in &found {
                let (uid, link) = read(row)?;
                if !link.is_void() {
                    level.push(link.uid.clone());
                }
                links.insert(uid, Some(link));
            }
        }
        Ok(Self { links })
    }

    pub(super) fn of(&self, uid: &str) -> Result<Origin, StoreError> {
        lineage::origin(uid, |at| Ok(self.links.get(at).cloned().flatten()))
    }
}

/// Its visible bookings, but for the first `skip`: from the origin on, each after the one that it replaced.
pub(in crate::store::postgres) async fn page(
    client: &ClientWrapper,
    tenant: &str,
    uid: &str,
    skip: usize,
) -> Result<LineagePage, StoreError> {
    super::at_once(client, async {
        let origin = origin(client, tenant, uid).await?.uid;
        // The others are found by links that hold.
        let back = Origins::read(client, tenant, vec![origin.clone()]).await?;
        let void = back.links.get(&origin).is_some_and(|link| link.as_ref().is_some_and(Link::is_void));
        let members = members(client, tenant, &origin).await?;
        let (mut page, mut passed, mut bytes) = (LineagePage::default(), 0, 0);
        let mut damaged = Vec::new();
        each_unsealed(client, tenant, &members, &mut damaged, |mut booking| {
            page.more = bytes > PAGE_BYTES_MAX;
            passed += 1;
            if passed > skip && !page.more {
                let is_void = void && booking.uid == origin;
                view::seal(&mut booking, Origin { uid: origin.clone(), void: is_void });
                bytes += booking.encoded_len();
                page.bookings.push(booking);
            }
            !page.more
        })
        .await?;
        Ok(LineagePage { damaged, ..page })
    })
    .await
}

/// Everybody behind the origin and itself, whoever is shown or not: each after the one that it replaced.
async fn members(client: &ClientWrapper, tenant: &str, origin: &str) -> Result<Vec<String>, StoreError> {
    let mut known = HashSet::from([origin.to_owned()]);
    let mut members = vec![origin.to_owned()];
    let mut level = members.clone();
    while !level.is_empty() && members.len() < LINEAGE_MAX {
        let mut after = successors(client, tenant, &level).await?;
        let mut next = Vec::new();
        for uid in &level {
            for after in after.remove(uid).unwrap_or_default() {
                if known.len() < LINEAGE_MAX && known.insert(after.clone()) {
                    next.push(after);
                }
            }
        }
        members.extend(next.iter().cloned());
        level = next;
    }
    Ok(members)
}

/// The bookings that replaced each of these, the older first.
async fn successors(
    client: &ClientWrapper,
    tenant: &str,
    uids: &[String],
) -> Result<HashMap<String, Vec<String>>, StoreError> {
    let select = client.prepare_cached(ONWARD).await?;
    let found = client.query(&select, &[&tenant, &uids, &super::limit(LINEAGE_MAX)]).await?;
    let mut after: HashMap<String, Vec<String>> = HashMap::new();
    for row in &found {
        let (from, link) = read(row)?;
        if !link.is_void() {
            after.entry(from).or_default().push(link.uid);
        }
    }
    for siblings in after.values_mut().filter(|siblings| siblings.len() > 1) {
        let mut created = HashMap::new();
        each_unsealed(client, tenant, siblings, &mut Vec::new(), |booking| {
            created.extend(booking.create_time.map(|time| (booking.uid, micros(&time))));
            true
        })
        .await?;
        siblings.sort_by_key(|uid| (created.get(uid).copied().unwrap_or(i64::MAX), uid.clone()));
    }
    Ok(after)
}

/// One end of a link, and the link to the other.
fn read(row: &Row) -> Result<(String, Link), Error> {
    let link = Link { uid: row.try_get(1)?, evidence: row.try_get(2)?, to_seated: row.try_get(3)? };
    Ok((row.try_get(0)?, link))
}
