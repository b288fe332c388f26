//! The writer's part: it numbers bookings, keeps their names and ends, and takes the young into the trees.

use std::sync::{Arc, PoisonError};

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tracing::error;

use super::{End, Ended, Generation, Name, Number, View, Young, rows};
use crate::store::{StoreError, sqlite::insert::Insert};

// They may be there: a start takes what was going into the trees from its beginning.
static NAMES: Insert = Insert::new("INSERT OR IGNORE INTO names (tenant, uid, booking)");
static ENDS: Insert = Insert::new("INSERT OR IGNORE INTO ends (tenant, told, time, booking)");

/// When how many go into the trees.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How many bookings gather before.
    pub(super) gathered: usize,
    /// How many go with a round at least. It takes twice as many as it brought, so that those before have gone when as
    /// many have gathered again.
    pub(super) least: usize,
}

/// Enough that they lie side by side in a tree of a million, few enough that a start reads their rows in a moment and
/// that they take some megabytes.
const PACE: Pace = Pace { gathered: 32_768, least: 64 };

/// How far the trees have everything, as the head has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Marks {
    /// Bookings up to this number are in the trees.
    settled: Number,
    /// Those up to this one are going into them.
    settling: Number,
}

/// How far those that are going into the trees have done so.
#[derive(Clone, Debug)]
struct Reached {
    name: Name,
    end: Ended,
}

/// Where a settler stood at a commit.
#[derive(Debug)]
pub(super) struct Stood {
    marks: Marks,
    reached: Reached,
}

/// It lives as long as its connection: after a transaction that failed the rows are read anew.
#[derive(Debug)]
pub(in crate::store::sqlite) struct Settler {
    pub(super) pace: Pace,
    young: Arc<Young>,
    view: View,
    marks: Marks,
    reached: Reached,
    /// The greatest number that was given.
    newest: Number,
    gathered: usize,
    /// Of the transaction under way.
    brought: usize,
}

impl Settler {
    /// Reads the young off their rows, for all to see.
    pub(in crate::store::sqlite) fn load(connection: &Connection, young: Arc<Young>) -> Result<Self, StoreError> {
        const MARKS: &str = "SELECT settled, settling FROM head";
        let (settled, settling) = connection.query_row(MARKS, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let marks = Marks { settled, settling };
        let (fresh, going) = (Generation::default(), Generation::default());
        let mut gathered = 0;
        let newest = rows::newest(connection)?;
        young.known.prepare(newest);
        let mut take = |Name { tenant, uid, number }: Name, end: Option<End>| {
            let of = if number > settling { &fresh } else { &going };
            young.known.hear(&tenant, &uid);
            of.add(&tenant, &uid, number);
            if let Some(end) = end {
                of.add_end(&tenant, (end, number));
            }
            gathered += usize::from(number > settling);
        };
        let unread = rows::read(connection, settled, newest, &mut take)?;
        if !unread.is_empty() {
            young.names_of_unread(connection, &unread)?.into_iter().for_each(|name| take(name, None));
        }
        let view = View { fresh: Arc::new(fresh), settling: (settling > settled).then(|| Arc::new(going)) };
        young.becomes(&view);
        // A purge removes rows, and the last ones' numbers may come again: no other name has them then. Those up to the
        // mark must not: they are no longer young.
        let newest = newest.max(settling);
        let reached = young.stood(marks).unwrap_or_else(Reached::nothing);
        Ok(Self { pace: PACE, young, view, marks, reached, newest, gathered, brought: 0 })
    }

    pub(in crate::store::sqlite) fn view(&self) -> &View {
        &self.view
    }

    /// The number of a booking, if it has one.
    pub(in crate::store::sqlite) fn number(
        &self,
        transaction: &Transaction<'_>,
        tenant: &str,
        uid: &str,
    ) -> Result<Option<Number>, StoreError> {
        if self.young.known.lacks(tenant, uid) { Ok(None) } else { self.view.number(transaction, tenant, uid) }
    }

    /// The number of a new booking, whose row is yet to be written.
    pub(in crate::store::sqlite) fn add(&mut self, tenant: &Arc<str>, uid: &str) -> Number {
        self.newest += 1;
        self.young.known.hear(tenant, uid);
        self.view.fresh.add(tenant, uid, self.newest);
        self.gathered += 1;
        self.brought += 1;
        self.newest
    }

    /// A booking's row is gone.
    pub(in crate::store::sqlite) fn forget(
        &self,
        transaction: &Transaction<'_>,
        tenant: &str,
        uid: &str,
    ) -> Result<(), StoreError> {
        const DELETE: &str = "DELETE FROM names WHERE tenant = ?1 AND uid = ?2";
        self.view.generations().for_each(|young| young.forget(tenant, uid));
        transaction.prepare_cached(DELETE)?.execute([tenant, uid])?;
        Ok(())
    }

    /// A booking's end is another one now.
    pub(in crate::store::sqlite) fn end(
        &self,
        transaction: &Transaction<'_>,
        (tenant, number): (&Arc<str>, Number),
        before: Option<End>,
        now: Option<End>,
    ) -> Result<(), StoreError> {
        const DELETE: &str = "DELETE FROM ends WHERE tenant = ?1 AND told = ?2 AND time = ?3 AND booking = ?4";
        if before == now {
            return Ok(());
        }
        let is_fresh = number > self.marks.settling;
        if let Some(end) = before {
            self.view.generations().for_each(|young| young.remove_end(tenant, (end, number)));
            if !is_fresh {
                transaction.prepare_cached(DELETE)?.execute(params![tenant, end.told, end.at, number])?;
            }
        }
        match now {
            Some(end) if is_fresh => self.view.fresh.add_end(tenant, (end, number)),
            Some(end) => insert_ends(transaction, &[Ended { tenant: Arc::clone(tenant), end: (end, number) }])?,
            None => {}
        }
        Ok(())
    }

    /// Commits, with some of the young taken into the trees.
    pub(in crate::store::sqlite) fn commit(&mut self, transaction: Transaction<'_>) -> Result<(), StoreError> {
        self.settle(&transaction)?;
        transaction.commit()?;
        self.committed();
        Ok(())
    }

    /// Takes some into the trees; begins with those that have gathered once the ones before are there.
    pub(super) fn settle(&mut self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let before = self.marks;
        if self.view.settling.is_none() && self.gathered >= self.pace.gathered {
            self.view = View { settling: Some(Arc::clone(&self.view.fresh)), fresh: Arc::default() };
            self.young.becomes(&self.view);
            self.marks.settling = self.newest;
            self.reached = Reached::nothing();
            self.gathered = 0;
        }
        if let Some(settling) = &self.view.settling {
            let most = (2 * self.brought).max(self.pace.least);
            if self.reached.go_on(transaction, settling, most)? {
                self.marks.settled = self.marks.settling;
            }
        }
        if self.marks != before {
            const UPDATE: &str = "UPDATE head SET settled = ?1, settling = ?2";
            transaction.prepare_cached(UPDATE)?.execute([self.marks.settled, self.marks.settling])?;
        }
        self.brought = 0;
        Ok(())
    }

    /// What is in the trees need not be kept.
    pub(super) fn committed(&mut self) {
        self.young.stands(Stood { marks: self.marks, reached: self.reached.clone() });
        if self.marks.settled == self.marks.settling && self.view.settling.take().is_some() {
            self.young.becomes(&self.view);
        }
    }
}

impl Young {
    fn stands(&self, at: Stood) {
        *self.stood.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    /// How far those between these marks are in the trees, if that is known. What changed of them since is there
    /// already.
    fn stood(&self, marks: Marks) -> Option<Reached> {
        let stood = self.stood.lock().unwrap_or_else(PoisonError::into_inner);
        stood.as_ref().filter(|stood| stood.marks == marks).map(|stood| stood.reached.clone())
    }
}

impl Reached {
    /// Before every name and end.
    fn nothing() -> Self {
        let tenant: Arc<str> = Arc::from("");
        let name = Name { tenant: Arc::clone(&tenant), uid: String::new(), number: Number::MIN };
        Self { name, end: Ended { tenant, end: (End { told: false, at: i64::MIN }, Number::MIN) } }
    }

    /// Puts the next ones into the trees; true where there were no more.
    fn go_on(&mut self, transaction: &Transaction<'_>, settling: &Generation, most: usize) -> Result<bool, StoreError> {
        let names = settling.names((&self.name.tenant, &self.name.uid), true, most);
        let ends = settling.ends_behind(&self.end, most);
        let inserted =
            NAMES.rows(transaction, &names, |name, row| row.set(params![name.tenant, name.uid, name.number]))?;
        if inserted < names.len() {
            names.iter().try_for_each(|name| say_if_another(transaction, name))?;
        }
        insert_ends(transaction, &ends)?;
        let is_all = names.len() < most && ends.len() < most;
        if let Some(last) = names.into_iter().next_back() {
            self.name = last;
        }
        if let Some(last) = ends.into_iter().next_back() {
            self.end = last;
        }
        Ok(is_all)
    }
}

/// Another one of this name must not be in the tree. A damaged one may have none at all: that hinders nobody here.
fn say_if_another(transaction: &Transaction<'_>, name: &Name) -> Result<(), StoreError> {
    let mut select = transaction.prepare_cached(super::NUMBER)?;
    let number: Option<Number> = select.query_row([&*name.tenant, &name.uid], |row| row.get(0)).optional()?;
    if let Some(number) = number.filter(|number| *number != name.number) {
        let (first, second) = (number, name.number);
        error!(first, second, "two rows are of one booking: webhooks go to the first from here on");
    }
    Ok(())
}

fn insert_ends(transaction: &Transaction<'_>, ends: &[Ended]) -> Result<(), StoreError> {
    ENDS.rows(transaction, ends, |Ended { tenant, end: (End { told, at }, number) }, row| {
        row.set(params![tenant, told, at, number])
    })?;
    Ok(())
}
