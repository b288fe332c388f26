//! What a process left of its log, written once more before anything of it is believed: it may be in the system's
//! memory alone, and even there called written.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
};

use super::{
    OpenError,
    file::{self, private_file},
};

/// How much of a log is written at a time, in bytes.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Writes each byte of the log that was left once more and waits for them. True where there was such a log.
///
/// It is another file that takes the first one's name: what is on the disk already is not touched before, for what is
/// being written when the power goes may be neither old nor new. Whoever else has the database open would go on with
/// the file that lost its name, and its index of that one: nobody may, and nobody comes meanwhile.
pub(super) fn write_again(database: &Path) -> Result<bool, OpenError> {
    let log_path = file::log_path(database);
    let again_path = file::log_again_path(database);
    let unwritable = |why| OpenError::Unwritable { path: log_path.clone(), why };
    // A start that was cut short may have left it.
    remove(&again_path).map_err(unwritable)?;
    if !log_path.exists() {
        return Ok(false);
    }
    let _alone = alone(database)?;
    // Whoever had it may have moved it into the file and taken it away by now.
    let mut log = match File::open(&log_path) {
        Ok(log) => log,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(unwritable(error)),
    };
    let bytes = log.metadata().map_err(unwritable)?.len();
    replace(&mut log, &again_path, &log_path).map_err(|error| {
        // It would take the room that is missing; should it stay, the next start removes it.
        let _ = remove(&again_path);
        match error.kind() {
            io::ErrorKind::StorageFull => OpenError::NoRoom { path: log_path.clone(), bytes },
            _ => unwritable(error),
        }
    })?;
    Ok(bytes > 0)
}

fn replace(log: &mut File, again_path: &Path, log_path: &Path) -> io::Result<()> {
    let mut again = private_file().truncate(true).open(again_path)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let length = log.read(&mut chunk)?;
        if length == 0 {
            break;
        }
        again.write_all(&chunk[..length])?;
    }
    again.sync_all()?;
    fs::rename(again_path, log_path)?;
    log_path.parent().map_or(Ok(()), file::sync_folder)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// As long as the answer lives no other process can open the log: each that has it open holds a lock on its index (the
/// "dead man switch", byte 128, of `SQLite`'s `os_unix.c`), and all of that file is locked here.
#[cfg(unix)]
fn alone(database: &Path) -> Result<File, OpenError> {
    use rustix::{
        fs::{FlockOperation, fcntl_lock},
        io::Errno,
        process::{Flock, FlockType, fcntl_getlk},
    };

    let index_path = file::index_path(database);
    let unwritable = |why| OpenError::Unwritable { path: index_path.clone(), why };
    let index = private_file().open(&index_path).map_err(unwritable)?;
    match fcntl_lock(&index, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(index),
        Err(Errno::AGAIN | Errno::ACCESS) => {
            // It may be gone by now, or the system not tell.
            let holder = fcntl_getlk(&index, &Flock::from(FlockType::WriteLock)).ok().flatten();
            let process = holder.and_then(|lock| lock.pid).map(|process| process.as_raw_nonzero().get());
            Err(OpenError::Shared { path: database.to_owned(), process })
        }
        Err(error) => Err(unwritable(error.into())),
    }
}

/// Here a file that is open can't lose its name.
#[cfg(not(unix))]
fn alone(_database: &Path) -> Result<(), OpenError> {
    Ok(())
}
