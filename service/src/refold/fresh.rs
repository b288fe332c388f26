//! The fresh state: a store in a folder of its own beside the data, made and removed aside from the reactor.
//!
//! Invariant: the permit that allows one such state at a time is given back after the last of it is gone.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tokio::{runtime::Handle, sync::OwnedSemaphorePermit, task::spawn_blocking};

use tracing::warn;

use super::ending;
use crate::store::{
    StoreError,
    sqlite::{OpenError, Options, SqliteStore, Synchronous},
};

/// The store's file in its folder.
const STORE: &str = "fresh.db";

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
            let store = SqliteStore::open(&folder.0.join(STORE), options).map_err(|error| error.to_string())?;
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

/// Removes what checks of processes that are gone left behind: in this folder, and in those of its kind beside it that
/// nobody has open.
pub(crate) fn sweep(folder: &Path) {
    let kind = folder.extension();
    let beside = folder.parent().and_then(|parent| fs::read_dir(parent).ok()).into_iter().flatten().flatten();
    let others = beside.map(|entry| entry.path()).filter(|path| path != folder && path.extension() == kind);
    for left in others.filter(|path| path.is_dir() && !is_in_use(path)).chain([folder.to_owned()]) {
        if let Err(error) = remove(&left) {
            warn!(%error, folder = %left.display(), "what a check left behind can't be removed");
        }
    }
}

fn is_in_use(folder: &Path) -> bool {
    let store = SqliteStore::open(&folder.join(STORE), Options { synchronous: Synchronous::Off, ..Options::default() });
    matches!(store, Err(OpenError::InUse { .. }))
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
