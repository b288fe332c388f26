//! The numbers of bookings: what their rows and timelines are kept under.

use std::{collections::HashMap, sync::Arc};

use rusqlite::{Transaction, params};

use super::young::{End, Number, Settler};
use crate::store::{BookingKey, Position, StoreError, fold::LoadedRows, pack, view::LoadedRow};

/// What a transaction has met.
pub(super) struct Names<'s> {
    settler: &'s mut Settler,
    met: HashMap<Arc<str>, HashMap<String, Met>>,
}

/// A booking that has a row.
#[derive(Clone, Copy)]
pub(super) struct Met {
    pub(super) number: Number,
    /// As its row has it.
    pub(super) end: Option<End>,
}

impl<'s> Names<'s> {
    pub(super) fn new(settler: &'s mut Settler) -> Self {
        Self { settler, met: HashMap::new() }
    }

    /// The rows of these bookings, as far as they are kept; their numbers are remembered.
    pub(super) fn load(
        &mut self,
        transaction: &Transaction<'_>,
        keys: impl IntoIterator<Item = BookingKey>,
    ) -> Result<LoadedRows, StoreError> {
        const SELECT: &str = "SELECT state, clock_told, clock_end FROM bookings WHERE id = ?1";
        let mut select = transaction.prepare_cached(SELECT)?;
        let mut rows = LoadedRows::new();
        for key in keys {
            let Some(number) = self.settler.number(transaction, &key.0, &key.1)? else { continue };
            let mut found = select.query([number])?;
            let row = found.next()?.ok_or_else(|| damaged("its name is kept, and no row"))?;
            let (told, at): (bool, Option<_>) = (row.get(1)?, row.get(2)?);
            self.remember(&key.0, &key.1, Met { number, end: at.map(|at| End { told, at }) });
            let state = row.get_ref(0)?.as_blob().map_err(|_| damaged("its row is not a blob"))?;
            let state = pack::row(state)?;
            // One that was mentioned and of which no fact was heard has no state.
            if !state.is_empty() {
                rows.insert(key, LoadedRow { state: state.into_owned(), clock_told: told });
            }
        }
        Ok(rows)
    }

    pub(super) fn get(&self, tenant: &str, uid: &str) -> Option<Met> {
        self.met.get(tenant)?.get(uid).copied()
    }

    /// A new booking, whose row is yet to be written.
    pub(super) fn add(&mut self, tenant: &Arc<str>, uid: &str) -> Met {
        let met = Met { number: self.settler.add(tenant, uid), end: None };
        self.remember(tenant, uid, met);
        met
    }

    /// A booking's row says another end than before.
    pub(super) fn end(
        &mut self,
        transaction: &Transaction<'_>,
        (tenant, uid): (&Arc<str>, &str),
        now: Option<End>,
    ) -> Result<(), StoreError> {
        let met = self.met.get_mut(tenant).and_then(|of| of.get_mut(uid));
        let met = met.ok_or_else(|| damaged("it was written without a number"))?;
        self.settler.end(transaction, (tenant, met.number), met.end, now)?;
        met.end = now;
        Ok(())
    }

    /// The number of a booking that is mentioned at a position: it gets one where it has none.
    pub(super) fn number(
        &mut self,
        transaction: &Transaction<'_>,
        tenant: &str,
        uid: &str,
        at: Position,
    ) -> Result<Number, StoreError> {
        const INSERT: &str = "INSERT INTO bookings (id, tenant, uid, state, visible, status, start_time, update_time,
                position, first_position)
            VALUES (?1, ?2, ?3, x'', 0, 0, 0, 0, 0, ?4)";
        if let Some(met) = self.get(tenant, uid) {
            return Ok(met.number);
        }
        if let Some(number) = self.settler.number(transaction, tenant, uid)? {
            return Ok(number);
        }
        debug_assert!(!self.is_unmet(transaction, tenant, uid), "no name is known that is not there");
        let Met { number, .. } = self.add(&Arc::from(tenant), uid);
        transaction.prepare_cached(INSERT)?.execute(params![number, tenant, uid, at.0])?;
        Ok(number)
    }

    /// Whether a booking has a number that was not met.
    pub(super) fn is_unmet(&self, transaction: &Transaction<'_>, tenant: &str, uid: &str) -> bool {
        self.get(tenant, uid).is_none() && matches!(self.settler.view().number(transaction, tenant, uid), Ok(Some(_)))
    }

    /// The end of the transaction.
    pub(super) fn commit(self, transaction: Transaction<'_>) -> Result<(), StoreError> {
        self.settler.commit(transaction)
    }

    fn remember(&mut self, tenant: &Arc<str>, uid: &str, met: Met) {
        self.met.entry(Arc::clone(tenant)).or_default().insert(uid.to_owned(), met);
    }
}

fn damaged(why: &str) -> StoreError {
    StoreError::Damaged { what: "booking", why: why.to_owned() }
}
