//! Bookings that the trees of names and ends don't have yet.
//!
//! Both are led by what comes in no order: a tree that takes each new entry at once has a page dirtied by nearly every
//! one. So new entries wait in memory, sorted, and what has gathered goes into the trees side by side, some of it with
//! each round. They are no more than a reading of rows: a start reads them off the rows behind the head's marks.
//!
//! Whoever reads takes what is young together with its state of the database, so that a booking is always in one of
//! the two. It may be in both, and the young may know of one that this state does not have: its row decides. What goes
//! away goes at once, for older states too: a booking of which nothing was heard, when a purge removes it, and an end
//! that became another one. The clock looks again a second later.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    ops::{Bound, RangeInclusive},
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use rusqlite::{Connection, OptionalExtension, params};
use smol_str::SmolStr;
use tracing::error;

use crate::store::{Micros, StoreError};

mod known;
mod rows;
mod settler;

pub(super) use known::NameReader;
pub(super) use rows::UNREAD_MAX;
pub(super) use settler::Settler;
use settler::Stood;

const NUMBER: &str = "SELECT booking FROM names WHERE tenant = ?1 AND uid = ?2";

const NAMES_OF: &str = "SELECT tenant, uid, booking FROM names
    WHERE tenant = ?1 AND uid > ?2 ORDER BY tenant, uid LIMIT ?3";

const NAMES: &str = "SELECT tenant, uid, booking FROM names
    WHERE (tenant, uid) > (?1, ?2) ORDER BY tenant, uid LIMIT ?3";

const ENDS: &str = "SELECT told, time, booking FROM ends
    WHERE tenant = ?1 AND told = ?2 AND time BETWEEN ?3 AND ?4 ORDER BY time, booking LIMIT ?5";

const NEXT_TENANT: &str = "SELECT min(tenant) FROM names WHERE tenant > ?1";

const NEXT_WITH_ENDS: &str = "SELECT min(tenant) FROM ends WHERE tenant > ?1";

/// The number of a booking: what its row and its timeline are kept under.
pub(super) type Number = i64;

/// When the clock completes a booking, and whether the log says that it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct End {
    pub(super) told: bool,
    pub(super) at: Micros,
}

/// A booking's tenant, uid and number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) tenant: Arc<str>,
    pub(super) uid: String,
    pub(super) number: Number,
}

/// What is young now, for the writer and all who read.
#[derive(Debug, Default)]
pub(super) struct Young {
    now: RwLock<View>,
    /// Every name, young or not, and perhaps some more.
    known: known::Known,
    /// Where the settler stood when it committed last: one that is made anew after a failure goes on there.
    stood: Mutex<Option<Stood>>,
    /// What could not be read when it was looked for last.
    unread: Mutex<Unread>,
}

/// Bookings whose rows can't be read, with their names as far as those are known.
#[derive(Debug, Default)]
struct Unread {
    numbers: BTreeSet<Number>,
    names: Vec<Name>,
}

impl Young {
    /// What is young in the state of the database that `begin` begins to read.
    pub(super) fn at<T>(&self, begin: impl FnOnce() -> Result<T, StoreError>) -> Result<(T, View), StoreError> {
        // Held meanwhile: what has gone into the trees is let go of behind it, and this state may not have it there.
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        Ok((begin()?, now.clone()))
    }

    /// The names of bookings whose rows can't be read: a webhook about one must not make it anew. What is met for the
    /// first time is said, and looked for in all of an index.
    fn names_of_unread(&self, connection: &Connection, numbers: &BTreeSet<Number>) -> Result<Vec<Name>, StoreError> {
        let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        if !numbers.is_subset(&unread.numbers) {
            let names = rows::names(connection, numbers)?;
            error!(
                bookings = names.len(),
                "the database file is damaged: rows of bookings can't be read, and webhooks about them are refused; \
                restore it from a backup"
            );
            *unread = Unread { numbers: numbers.clone(), names };
        }
        Ok(unread.names.iter().filter(|name| numbers.contains(&name.number)).cloned().collect())
    }

    fn becomes(&self, view: &View) {
        let before = mem::replace(&mut *self.now.write().unwrap_or_else(PoisonError::into_inner), view.clone());
        // With nobody waiting: it may be the last of many.
        drop(before);
    }
}

/// What is young in one state of the database.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    fresh: Arc<Generation>,
    /// What goes into the trees meanwhile.
    settling: Option<Arc<Generation>>,
}

impl View {
    /// The number of a booking, if it has one.
    pub(super) fn number(
        &self,
        connection: &Connection,
        tenant: &str,
        uid: &str,
    ) -> Result<Option<Number>, StoreError> {
        if let Some(number) = self.generations().find_map(|young| young.number(tenant, uid)) {
            return Ok(Some(number));
        }
        Ok(connection.prepare_cached(NUMBER)?.query_row([tenant, uid], |row| row.get(0)).optional()?)
    }

    /// Every tenant's bookings, or one tenant's, behind a tenant and a uid, in their order.
    pub(super) fn names(
        &self,
        connection: &Connection,
        of: Option<&str>,
        behind: (&str, &str),
        limit: usize,
    ) -> Result<Vec<Name>, StoreError> {
        let behind = (of.unwrap_or(behind.0), behind.1);
        let mut select = connection.prepare_cached(if of.is_some() { NAMES_OF } else { NAMES })?;
        let settled = select.query_map(params![behind.0, behind.1, super::queries::limit(limit)], |row| {
            Ok(Name { tenant: Arc::from(row.get::<_, String>(0)?), uid: row.get(1)?, number: row.get(2)? })
        })?;
        let mut names = settled.collect::<Result<BTreeSet<_>, _>>()?;
        for young in self.generations() {
            names.extend(young.names(behind, of.is_none(), limit));
        }
        Ok(names.into_iter().take(limit).collect())
    }

    /// The numbers of a tenant's bookings with these ends, the earlier first.
    pub(super) fn ends(
        &self,
        connection: &Connection,
        tenant: &str,
        (told, between): (bool, RangeInclusive<Micros>),
        limit: usize,
    ) -> Result<Vec<(End, Number)>, StoreError> {
        let mut select = connection.prepare_cached(ENDS)?;
        let values = params![tenant, told, between.start(), between.end(), super::queries::limit(limit)];
        let settled = select.query_map(values, |row| Ok((End { told: row.get(0)?, at: row.get(1)? }, row.get(2)?)))?;
        let mut ends = settled.collect::<Result<BTreeSet<_>, _>>()?;
        for young in self.generations() {
            ends.extend(young.ends(tenant, told, &between, limit));
        }
        Ok(ends.into_iter().take(limit).collect())
    }

    /// The next tenant behind this name that has bookings.
    pub(super) fn next_tenant(&self, connection: &Connection, behind: &str) -> Result<Option<String>, StoreError> {
        self.least(connection, NEXT_TENANT, behind, |tenant| !tenant.names.is_empty())
    }

    /// The next tenant behind this name that has bookings which the clock completes.
    pub(super) fn next_with_ends(&self, connection: &Connection, behind: &str) -> Result<Option<String>, StoreError> {
        self.least(connection, NEXT_WITH_ENDS, behind, |tenant| !tenant.ends.is_empty())
    }

    fn least(
        &self,
        connection: &Connection,
        select: &str,
        behind: &str,
        has: impl Fn(&Tenant) -> bool + Copy,
    ) -> Result<Option<String>, StoreError> {
        let settled: Option<String> = connection.prepare_cached(select)?.query_row([behind], |row| row.get(0))?;
        let young = self.generations().filter_map(|young| young.next_tenant(behind, has));
        Ok(young.chain(settled).min())
    }

    fn generations(&self) -> impl Iterator<Item = &Generation> {
        [Some(&self.fresh), self.settling.as_ref()].into_iter().flatten().map(AsRef::as_ref)
    }
}

/// Bookings that came one after the other and go into the trees together.
#[derive(Debug, Default)]
struct Generation {
    tenants: RwLock<BTreeMap<Arc<str>, Tenant>>,
}

#[derive(Debug, Default)]
struct Tenant {
    /// Cal.com's uids have 22 characters: so many lie in the tree itself, and are found without a look elsewhere.
    names: BTreeMap<SmolStr, Number>,
    ends: BTreeSet<(End, Number)>,
}

impl Generation {
    fn number(&self, tenant: &str, uid: &str) -> Option<Number> {
        self.read().get(tenant)?.names.get(uid).copied()
    }

    /// Behind a tenant's uid, and of later tenants too if `onward`.
    fn names(&self, behind: (&str, &str), onward: bool, limit: usize) -> Vec<Name> {
        let tenants = self.read();
        let range = (Bound::Excluded(behind.0), Bound::Unbounded);
        let later = onward.then(|| tenants.range::<str, _>(range)).into_iter().flatten();
        let later = later.flat_map(|(tenant, of)| of.names.iter().map(move |(uid, number)| name(tenant, uid, *number)));
        let range = (Bound::Excluded(behind.1), Bound::Unbounded);
        let own = tenants.get_key_value(behind.0).into_iter().flat_map(|(tenant, of)| {
            of.names.range::<str, _>(range).map(move |(uid, number)| name(tenant, uid, *number))
        });
        own.chain(later).take(limit).collect()
    }

    fn ends(&self, tenant: &str, told: bool, between: &RangeInclusive<Micros>, limit: usize) -> Vec<(End, Number)> {
        let tenants = self.read();
        let (first, last) = (End { told, at: *between.start() }, End { told, at: *between.end() });
        let Some(of) = tenants.get(tenant) else { return Vec::new() };
        of.ends.range((first, Number::MIN)..).take_while(|(end, _)| *end <= last).take(limit).copied().collect()
    }

    /// Behind an end of a tenant's, and of later tenants.
    fn ends_behind(&self, behind: &Ended, limit: usize) -> Vec<Ended> {
        let tenants = self.read();
        let Ended { tenant, end } = behind;
        let range = (Bound::Excluded(tenant.as_ref()), Bound::Unbounded);
        let later = tenants.range::<str, _>(range);
        let later = later.flat_map(|(tenant, of)| of.ends.iter().map(move |end| ended(tenant, *end)));
        let range = (Bound::Excluded(*end), Bound::Unbounded);
        let own = tenants.get_key_value(tenant.as_ref()).into_iter();
        let own = own.flat_map(|(tenant, of)| of.ends.range(range).map(move |end| ended(tenant, *end)));
        own.chain(later).take(limit).collect()
    }

    fn next_tenant(&self, behind: &str, has: impl Fn(&Tenant) -> bool) -> Option<String> {
        let tenants = self.read();
        let mut later = tenants.range::<str, _>((Bound::Excluded(behind), Bound::Unbounded));
        later.find(|(_, of)| has(of)).map(|(tenant, _)| tenant.as_ref().to_owned())
    }

    fn add(&self, tenant: &Arc<str>, uid: &str, number: Number) {
        self.write().entry(Arc::clone(tenant)).or_default().names.insert(SmolStr::new(uid), number);
    }

    fn forget(&self, tenant: &str, uid: &str) {
        if let Some(of) = self.write().get_mut(tenant) {
            of.names.remove(uid);
        }
    }

    fn add_end(&self, tenant: &Arc<str>, end: (End, Number)) {
        self.write().entry(Arc::clone(tenant)).or_default().ends.insert(end);
    }

    fn remove_end(&self, tenant: &str, end: (End, Number)) {
        if let Some(of) = self.write().get_mut(tenant) {
            of.ends.remove(&end);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Arc<str>, Tenant>> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<Arc<str>, Tenant>> {
        self.tenants.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A booking's end, with the tenant that it belongs to.
#[derive(Clone, Debug)]
struct Ended {
    tenant: Arc<str>,
    end: (End, Number),
}

fn name(tenant: &Arc<str>, uid: &str, number: Number) -> Name {
    Name { tenant: Arc::clone(tenant), uid: uid.to_owned(), number }
}

fn ended(tenant: &Arc<str>, end: (End, Number)) -> Ended {
    Ended { tenant: Arc::clone(tenant), end }
}

#[cfg(test)]
mod tests;
