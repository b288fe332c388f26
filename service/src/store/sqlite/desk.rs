//! What the writer works with for as long as nothing fails: after an error all of it is made anew.

use std::{path::Path, sync::Arc};

use rusqlite::Connection;

use super::{
    Options, Synchronous, schema,
    syncer::{self, Log},
    young::{Settler, Young},
};
use crate::store::StoreError;

pub(super) struct Desk {
    pub(super) connection: Connection,
    pub(super) settler: Settler,
    /// What the disk is to take before anybody hears of it; none where that does not matter. Opened before anything is
    /// written: a handle that is opened later does not hear of what failed before.
    pub(super) log: Option<Log>,
}

impl Desk {
    pub(super) fn open(path: &Path, options: Options, young: &Arc<Young>) -> Result<Self, StoreError> {
        Self::of(schema::writer(path, options)?, path, options, young)
    }

    pub(super) fn of(
        connection: Connection,
        path: &Path,
        options: Options,
        young: &Arc<Young>,
    ) -> Result<Self, StoreError> {
        let settler = Settler::load(&connection, Arc::clone(young))?;
        schema::append_at_commit(&connection)?;
        if options.synchronous == Synchronous::Off {
            return Ok(Self { connection, settler, log: None });
        }
        schema::wait_aside(&connection)?;
        let log = syncer::open_log(path);
        let log = log.map_err(|error| StoreError::unavailable(format!("the write-ahead log: {error}")))?;
        Ok(Self { connection, settler, log: Some(log) })
    }
}
