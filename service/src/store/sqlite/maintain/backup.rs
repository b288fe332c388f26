//! An online backup: `VACUUM INTO` is one snapshot of the file, written without its free pages, while the writer goes
//! on. As long as it lasts the writer's log can't be cut, and grows.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags};
use tokio::{select, task::spawn_blocking, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{super::queries, failed, open_to_read, schema};
use crate::store::{
    Position, StoreError,
    maintain::{Backup, Draft, MaintainError},
};

/// Between two interruptions of work that is to end: one that comes between two statements is not heard.
const INTERRUPT_PAUSE: Duration = Duration::from_millis(50);

/// Copies the database at `path` into `to`.
pub(in crate::store) async fn backup(
    path: &Path,
    to: &Path,
    stop: &CancellationToken,
) -> Result<Backup, MaintainError> {
    let source = open_to_read(path)?;
    schema::version(path, &source)?;
    let draft = Draft::beside(to)?;
    let Some(target) = draft.path().to_str().map(str::to_owned) else {
        let why = std::io::Error::other("its name is not UTF-8");
        return Err(MaintainError::Unwritable { path: to.to_owned(), why });
    };
    interruptible(source, stop, move |source| copy(source, &target)).await?.map_err(failed(path))?;

    let (place, written) = (path.display().to_string(), draft.path().to_owned());
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let unsound = |why: StoreError| MaintainError::Unsound { place: place.clone(), why: why.to_string() };
    let copied = Connection::open_with_flags(&written, flags).map_err(|error| unsound(error.into()))?;
    schema::version(&written, &copied)
        .map_err(|error| MaintainError::Unsound { place: place.clone(), why: error.to_string() })?;
    let head = interruptible(copied, stop, check).await?.map_err(unsound)?;
    if stop.is_cancelled() {
        return Err(MaintainError::Stopped);
    }
    Ok(Backup { head, bytes: draft.publish()? })
}

fn copy(source: &Connection, target: &str) -> Result<(), StoreError> {
    // The connection itself can't write to its file; this would also keep it from writing to another.
    source.pragma_update(None, "query_only", false)?;
    source.execute("VACUUM INTO ?1", [target])?;
    Ok(())
}

/// Whether a copy is whole, and up to where it goes.
fn check(copied: &Connection) -> Result<Position, StoreError> {
    let said: String = copied.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if said != "ok" {
        return Err(StoreError::Damaged { what: "database file", why: said });
    }
    schema::check_head(copied)?;
    queries::head(copied)
}

/// Long work on a connection, which ends early when it is to stop.
async fn interruptible<T: Send + 'static>(
    connection: Connection,
    stop: &CancellationToken,
    work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
) -> Result<Result<T, StoreError>, MaintainError> {
    let interrupt = connection.get_interrupt_handle();
    let mut work = spawn_blocking(move || work(&connection));
    select! {
        // It has panicked, or the runtime ends.
        done = &mut work => return done.map_err(|_| MaintainError::Stopped),
        () = stop.cancelled() => {}
    }
    loop {
        interrupt.interrupt();
        select! {
            _ = &mut work => return Err(MaintainError::Stopped),
            () = sleep(INTERRUPT_PAUSE) => {}
        }
    }
}
