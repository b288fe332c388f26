//! Taking a database: whose it is, that nobody else has it, and that what was left of its log is on the disk.

use std::path::Path;

use rusqlite::Connection;

use super::{
    OpenError, Options, Synchronous, again,
    file::{self, Claimed},
    journal, schema,
};

/// A database that nobody else has from here on, made where there is none, and a writer's connection to it, as `open`
/// opens it.
pub(super) fn take(
    path: &Path,
    options: Options,
    open: impl FnOnce(&Path, Options) -> Result<Connection, OpenError>,
) -> Result<(Claimed, Connection), OpenError> {
    let claimed = file::claim(path)?;
    journal::undo(&claimed.path)?;
    // Opening would change a file of something else's that has no log: it would get one.
    if !file::log_path(&claimed.path).exists() {
        schema::refuse_foreign(&claimed.path)?;
    }
    let was_left = options.synchronous == Synchronous::Full && again::write_again(&claimed.path)?;
    let connection = open(&claimed.path, options)?;
    if was_left {
        let failed = |why| OpenError::Store { path: claimed.path.clone(), why };
        schema::pass_unstored(&connection).map_err(failed)?;
    }
    Ok((claimed, connection))
}
