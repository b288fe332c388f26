//! The database's folder, file and lock. Only the user that calbridge runs as may read them: bodies hold personal data.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

use super::OpenError;

/// A database file that no other process has.
#[derive(Debug)]
pub(super) struct Claimed {
    /// Without symbolic links: two ways to one file are one lock.
    pub(super) path: PathBuf,
    // The operating system lets go of it when the process ends, however it ends; the file itself may stay.
    _lock: File,
}

/// Makes what is missing and locks it for as long as the answer lives.
pub(super) fn claim(path: &Path) -> Result<Claimed, OpenError> {
    let unwritable = |path: &Path| {
        let path = path.to_owned();
        move |why| OpenError::Unwritable { path, why }
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let named_in = folders_to_sync(folder).map_err(unwritable(folder))?;
    make_folder(folder).map_err(unwritable(folder))?;
    private_file().open(path).map_err(unwritable(path))?;
    named_in.iter().try_for_each(|folder| sync_folder(folder)).map_err(unwritable(folder))?;
    let path = path.canonicalize().map_err(unwritable(path))?;

    let lock_path = lock_path(&path);
    let lock = private_file().open(&lock_path).map_err(unwritable(&lock_path))?;
    match lock.try_lock() {
        Ok(()) => Ok(Claimed { path, _lock: lock }),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path }),
        Err(TryLockError::Error(why)) => Err(OpenError::Unwritable { path: lock_path, why }),
    }
}

fn lock_path(path: &Path) -> PathBuf {
    beside(path, ".lock")
}

/// Where `SQLite` has the database's write-ahead log.
pub(super) fn log_path(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

/// Where `SQLite` has what undoes a change of a database that has no such log.
pub(super) fn journal_path(path: &Path) -> PathBuf {
    beside(path, "-journal")
}

/// Where `SQLite` has the index of that log, which all who have it open share.
pub(super) fn index_path(path: &Path) -> PathBuf {
    beside(path, "-shm")
}

/// Where a log is written a second time before it takes the place of the first.
pub(super) fn log_again_path(path: &Path) -> PathBuf {
    beside(path, "-wal-again")
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

pub(super) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// A file's name is durable only when its folder is, and that folder's name when its parent is: the folder itself,
/// its parent, and on up to the parent of the uppermost one that is still to be made.
fn folders_to_sync(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let folder = std::path::absolute(folder)?;
    let missing = folder.ancestors().take_while(|ancestor| !ancestor.exists()).count();
    // Where it was there before, a start that was cut short may have made it.
    Ok(folder.ancestors().take(missing.max(1) + 1).map(Path::to_owned).collect())
}

/// Some systems can't open folders, and need no such care.
pub(in crate::store) fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    match File::open(folder) {
        Ok(open) => open.sync_all()?,
        // A parent may be closed to us, and then nothing in it was made by us.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        Err(error) => return Err(error),
    }
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_that_is_made_is_synced_and_the_one_it_stands_in() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a/b/c");
        let to_sync = folders_to_sync(&deep).unwrap();
        let wanted = [deep.clone(), root.path().join("a/b"), root.path().join("a"), root.path().to_owned()];
        assert_eq!(to_sync, wanted);
        claim(&deep.join("calbridge.db")).unwrap();
        assert_eq!(folders_to_sync(&deep).unwrap(), wanted[..2], "there already");
        assert_eq!(folders_to_sync(Path::new("/")).unwrap(), [Path::new("/")]);
    }
}
