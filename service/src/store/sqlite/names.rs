//! The numbers of bookings: what their rows and timelines are kept under.

use std::{collections::HashMap, sync::Arc};

use rusqlite::{OptionalExtension, Transaction, params};

use crate::store::{BookingKey, Position, StoreError, fold::LoadedRows, view::LoadedRow};

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
            let read =
                |row: &rusqlite::Row<'_>| Ok((row.get(0)?, LoadedRow { state: row.get(1)?, clock_told: row.get(2)? }));
            if let Some((number, row)) = select.query_row(params![key.0, key.1], read).optional()? {
                self.remember(&key.0, &key.1, number);
                // One that was mentioned and of which no fact was heard has no state.
                if !row.state.is_empty() {
                    rows.insert(key, row);
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
