//! The fresh state: a store in a folder of its own beside the data, made and removed aside from the reactor.
//!
//! Invariant: the permit that allows one such state at a time is given back after the last of it is gone.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tokio::{runtime::Handle, sync::OwnedSemaphorePermit, task::spawn_blocking};

use super::ending;
use crate::store::{
    StoreError,
    sqlite::{Options, SqliteStore, Synchronous},
};

/// Goes away, with all that it holds, when it is dropped.
pub(super) struct Fresh {
    /// Taken out by whoever removes it.
    held: Option<Held>,
}

/// In the order in which it goes: closed, removed, free for the next.
struct Held {
    store: SqliteStore,
    _folder: Folder,
    _alone: OwnedSemaphorePermit,
}

struct Folder(PathBuf);

impl Fresh {
    pub(super) async fn open(folder: PathBuf, alone: OwnedSemaphorePermit) -> Result<Self, StoreError> {
        // The permit goes along: whoever goes away meanwhile leaves the work to be finished.
        let opened = spawn_blocking(move || {
            remove(&folder).map_err(|error| error.to_string())?;
            let folder = Folder(folder);
            let options = Options { synchronous: Synchronous::Off, ..Options::default() };
            let store = SqliteStore::open(&folder.0.join("fresh.db"), options).map_err(|error| error.to_string())?;
            Ok::<_, String>(Self { held: Some(Held { store, _folder: folder, _alone: alone }) })
        });
        let unavailable = |why: String| StoreError::unavailable(format!("no fresh state can be made: {why}"));
        opened.await.map_err(|_| ending())?.map_err(unavailable)
    }

    /// Removes it, and waits until it is gone.
    pub(super) async fn close(&mut self) {
        let held = self.held.take();
        // Without an answer the runtime is ending, and the next start removes it.
        let _ = spawn_blocking(move || drop(held)).await;
    }

    pub(super) fn store(&self) -> Result<&SqliteStore, StoreError> {
        self.held.as_ref().map(|held| &held.store).ok_or_else(ending)
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // Removing what a large journal was folded into takes time that a reactor does not have.
        match (self.held.take(), Handle::try_current()) {
            (Some(held), Ok(runtime)) => drop(runtime.spawn_blocking(move || drop(held))),
            (held, _) => drop(held),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it goes at the next start.
        let _ = remove(&self.0);
    }
}

/// Removes what a check left behind.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
