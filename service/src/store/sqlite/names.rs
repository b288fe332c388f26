//! The numbers of bookings: what their rows and timelines are kept under.

use std::{collections::HashMap, sync::Arc};

use rusqlite::{OptionalExtension, Transaction, params};

use crate::store::{BookingKey, Position, StoreError, fold::LoadedRows, pack, view::LoadedRow};

/// What a transaction has met.
#[derive(Default)]
pub(super) struct Names {
    numbers: HashMap<Arc<str>, HashMap<String, i64>>,
}

impl Names {
    /// The rows of these bookings, as far as they are kept; their numbers are remembered.
    pub(super) fn load(
        &mut self,
        transaction: &Transaction<'_>,
        keys: impl IntoIterator<Item = BookingKey>,
    ) -> Result<LoadedRows, StoreError> {
        const SELECT: &str = "SELECT id, state, clock_told FROM bookings WHERE tenant = ?1 AND uid = ?2";
        let mut select = transaction.prepare_cached(SELECT)?;
        let mut rows = LoadedRows::new();
        for key in keys {
            let mut found = select.query(params![key.0, key.1])?;
            if let Some(row) = found.next()? {
                self.remember(&key.0, &key.1, row.get(0)?);
                let state = pack::row(row.get_ref(1)?.as_blob().map_err(|_| no_bytes())?)?;
                // One that was mentioned and of which no fact was heard has no state.
                if !state.is_empty() {
                    rows.insert(key, LoadedRow { state: state.into_owned(), clock_told: row.get(2)? });
                }
            }
        }
        Ok(rows)
    }

    pub(super) fn get(&self, tenant: &str, uid: &str) -> Option<i64> {
        self.numbers.get(tenant)?.get(uid).copied()
    }

    pub(super) fn remember(&mut self, tenant: &Arc<str>, uid: &str, number: i64) {
        self.numbers.entry(Arc::clone(tenant)).or_default().insert(uid.to_owned(), number);
    }

    /// The number of a booking that is mentioned at a position: it gets one where it has none.
    pub(super) fn number(
        &mut self,
        transaction: &Transaction<'_>,
        tenant: &str,
        uid: &str,
        at: Position,
    ) -> Result<i64, StoreError> {
        const SELECT: &str = "SELECT id FROM bookings WHERE tenant = ?1 AND uid = ?2";
        const INSERT: &str = "INSERT INTO bookings (tenant, uid, state, visible, status, start_time, update_time,
                position, first_position)
            VALUES (?1, ?2, x'', 0, 0, 0, 0, 0, ?3)";
        if let Some(number) = self.get(tenant, uid) {
            return Ok(number);
        }
        let found = transaction.prepare_cached(SELECT)?.query_row([tenant, uid], |row| row.get(0)).optional()?;
        let number = if let Some(number) = found {
            number
        } else {
            transaction.prepare_cached(INSERT)?.execute(params![tenant, uid, at.0])?;
            transaction.last_insert_rowid()
        };
        self.remember(&Arc::from(tenant), uid, number);
        Ok(number)
    }
}

fn no_bytes() -> StoreError {
    StoreError::Damaged { what: "booking", why: "its row is not a blob".to_owned() }
}
