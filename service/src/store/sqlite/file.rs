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
        move |source| OpenError::Unwritable { path, source }
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_folder(folder).map_err(unwritable(folder))?;
    private_file().open(path).map_err(unwritable(path))?;
    sync_folder(folder).map_err(unwritable(folder))?;
    let path = path.canonicalize().map_err(unwritable(path))?;

    let lock_path = lock_path(&path);
    let lock = private_file().open(&lock_path).map_err(unwritable(&lock_path))?;
    match lock.try_lock() {
        Ok(()) => Ok(Claimed { path, _lock: lock }),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path }),
        Err(TryLockError::Error(source)) => Err(OpenError::Unwritable { path: lock_path, source }),
    }
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// A file's name is durable only when its folder is, and that folder's name when its parent is. Some systems can't open
/// folders, and need no such care.
fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    for folder in folder.canonicalize()?.ancestors().take(2) {
        match File::open(folder) {
            Ok(open) => open.sync_all()?,
            // The parent may be closed to us, and then it was not made by us.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error),
        }
    }
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}
