//! `SQLite`'s own way to files (its VFS), but for the write-ahead log: what a transaction appends to that goes to the
//! system in one write. `SQLite` makes two of each page, its header and itself: of a round of 40 bookings a hundred.
//!
//! What is held must not outlive the call that appends it: no call tells of a rollback, and another connection may
//! write behind it. So a connection sets `cache_spill` off before it shares the log with another that writes. Its
//! transactions are then appended as they commit, and not before; each is held in memory until then. A connection to
//! whose log a write has failed is of no use any more.
//!
//! This is the one room with unsafe code, since `SQLite` asks for its files in C. What is decided is safe code and
//! stands in `frames.rs`.

mod frames;

use std::{
    ffi::{CStr, c_int, c_void},
    mem,
    sync::OnceLock,
};

use rusqlite::ffi;

use frames::Frames;

/// By which name a connection asks for it (`Connection::open_with_flags_and_vfs`).
pub const NAME: &CStr = c"calbridge";

/// `SQLite` did not take it.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("SQLite does not take another way to files: {0}")]
pub struct Unregistered(&'static str);

type Open = unsafe extern "C" fn(
    *mut ffi::sqlite3_vfs,
    ffi::sqlite3_filename,
    *mut ffi::sqlite3_file,
    c_int,
    *mut c_int,
) -> c_int;

/// What `SQLite` does by itself.
#[derive(Debug)]
struct Base {
    open: Open,
    /// Where in a file's memory ours begins, in bytes: behind what the open function of `SQLite` takes for itself.
    log_at: usize,
}

static BASE: OnceLock<Result<Base, Unregistered>> = OnceLock::new();

/// Makes it known to `SQLite`, once for the process.
pub fn register() -> Result<(), Unregistered> {
    BASE.get_or_init(add).as_ref().map(drop).map_err(|why| *why)
}

fn add() -> Result<Base, Unregistered> {
    // SAFETY: no name asks for the default one; SQLite sets itself up by this call.
    let default = unsafe { ffi::sqlite3_vfs_find(std::ptr::null()) };
    // SAFETY: null, or what lives as long as the process and is not changed after it was registered, but for its place
    // in SQLite's list.
    let default = unsafe { default.as_ref() }.ok_or(Unregistered("it has none"))?;
    let open = default.xOpen.ok_or(Unregistered("its own opens no file"))?;
    let taken = usize::try_from(default.szOsFile).map_err(|_| Unregistered("the size of its files is negative"))?;
    let log_at = taken.next_multiple_of(align_of::<Log>());
    let whole = c_int::try_from(log_at + size_of::<Log>()).map_err(|_| Unregistered("its files are too large"))?;
    let name = NAME.as_ptr();
    // All that is not said here is SQLite's: those functions take no interest in whose they are.
    let ours = ffi::sqlite3_vfs { szOsFile: whole, zName: name, xOpen: Some(open_file), ..*default };
    // SAFETY: it is never given back.
    let done = unsafe { ffi::sqlite3_vfs_register(Box::leak(Box::new(ours)), 0) };
    if done == ffi::SQLITE_OK { Ok(Base { open, log_at }) } else { Err(Unregistered("it refused")) }
}

/// An open log: what stands behind `SQLite`'s own in the memory of the file.
struct Log {
    /// `SQLite`'s own functions, which the file had.
    base: &'static ffi::sqlite3_io_methods,
    /// The same, but for ours; what the file has now.
    methods: ffi::sqlite3_io_methods,
    frames: Frames,
}

// SQLite gives memory that is aligned to eight bytes.
const _: () = assert!(align_of::<Log>() <= 8);

/// SAFETY: `file` has the size that we registered, as `SQLite` promises.
unsafe extern "C" fn open_file(
    vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    taken: *mut c_int,
) -> c_int {
    let Some(Ok(base)) = BASE.get() else { return ffi::SQLITE_CANTOPEN };
    // SAFETY: as we were asked ourselves; what it needs of the file's memory is at its beginning.
    let done = unsafe { (base.open)(vfs, name, file, flags, taken) };
    if done == ffi::SQLITE_OK && flags & ffi::SQLITE_OPEN_WAL != 0 {
        // SAFETY: it is open.
        unsafe { take_over(file, base) };
    }
    done
}

/// SAFETY: `file` was opened by `base` just now.
unsafe fn take_over(file: *mut ffi::sqlite3_file, base: &Base) {
    // SAFETY: SQLite's own file, at its beginning.
    let methods = unsafe { (*file).pMethods };
    // SAFETY: what is open has methods, which are constants of SQLite's.
    let Some(methods) = (unsafe { methods.as_ref() }) else { return };
    let ours = ffi::sqlite3_io_methods {
        xClose: Some(close),
        xRead: Some(read),
        xWrite: Some(write),
        xTruncate: Some(truncate),
        xSync: Some(sync),
        xFileSize: Some(file_size),
        ..*methods
    };
    // SAFETY: the file's memory goes on behind what `base` takes.
    let log = unsafe { file.byte_add(base.log_at) }.cast::<Log>();
    // SAFETY: it is room for one, aligned, and holds nothing yet.
    unsafe { log.write(Log { base: methods, methods: ours, frames: Frames::default() }) };
    // SAFETY: it is there now.
    let ours = unsafe { &raw const (*log).methods };
    // SAFETY: as above; the memory does not move while the file is open, and neither do the methods in it.
    unsafe { (*file).pMethods = ours };
}

/// SAFETY: `file` is one that was taken over and is not closed, and nobody else uses it during the call: a connection
/// is used by one thread at a time.
unsafe fn log<'a>(file: *mut ffi::sqlite3_file) -> Option<&'a mut Log> {
    let Some(Ok(base)) = BASE.get() else { return None };
    // SAFETY: where it was put.
    let log = unsafe { file.byte_add(base.log_at) }.cast::<Log>();
    // SAFETY: it was put there when the file was opened.
    Some(unsafe { &mut *log })
}

impl Log {
    /// Writes down what is held.
    ///
    /// SAFETY: `file` is this log's.
    unsafe fn flush(&mut self, file: *mut ffi::sqlite3_file) -> Result<(), c_int> {
        let base = self.base;
        // SAFETY: as for us.
        self.frames.flush(&mut |bytes, at| unsafe { write_by(base, file, bytes, at) })
    }
}

/// SAFETY: `file` is one of `base`.
unsafe fn write_by(
    base: &ffi::sqlite3_io_methods,
    file: *mut ffi::sqlite3_file,
    bytes: &[u8],
    at: i64,
) -> Result<(), c_int> {
    let (Some(write), Ok(size)) = (base.xWrite, c_int::try_from(bytes.len())) else {
        return Err(ffi::SQLITE_IOERR_WRITE);
    };
    // SAFETY: the bytes live through the call.
    done(unsafe { write(file, bytes.as_ptr().cast(), size, at) })
}

fn done(code: c_int) -> Result<(), c_int> {
    if code == ffi::SQLITE_OK { Ok(()) } else { Err(code) }
}

/// SAFETY: as for [`log`]; `bytes` holds `size`.
unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, bytes: *const c_void, size: c_int, at: i64) -> c_int {
    // SAFETY: as we were asked.
    let (Some(log), Ok(size)) = (unsafe { log(file) }, usize::try_from(size)) else { return ffi::SQLITE_IOERR_WRITE };
    // SAFETY: SQLite says so.
    let bytes = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), size) };
    let base = log.base;
    // SAFETY: as for us.
    let written = log.frames.write(bytes, at, &mut |bytes, at| unsafe { write_by(base, file, bytes, at) });
    written.err().unwrap_or(ffi::SQLITE_OK)
}

/// Passes a call on behind what is held.
macro_rules! behind_what_is_held {
    ($(#[$doc:meta])* $name:ident, $method:ident, $error:path $(, $argument:ident: $of:ty)*) => {
        $(#[$doc])*
        ///
        /// SAFETY: as for [`log`].
        unsafe extern "C" fn $name(file: *mut ffi::sqlite3_file $(, $argument: $of)*) -> c_int {
            // SAFETY: as we were asked.
            let Some(log) = (unsafe { log(file) }) else { return $error };
            // SAFETY: its own file.
            if let Err(code) = unsafe { log.flush(file) } {
                return code;
            }
            let Some(method) = log.base.$method else { return $error };
            // SAFETY: as we were asked.
            unsafe { method(file $(, $argument)*) }
        }
    };
}

behind_what_is_held!(
    /// A page that the cache had no room for is read again by its own transaction.
    read, xRead, ffi::SQLITE_IOERR_READ, into: *mut c_void, size: c_int, at: i64
);
behind_what_is_held!(
    /// What is cut was written.
    truncate, xTruncate, ffi::SQLITE_IOERR_TRUNCATE, size: i64
);
behind_what_is_held!(
    /// What is waited for was written.
    sync, xSync, ffi::SQLITE_IOERR_FSYNC, flags: c_int
);
behind_what_is_held!(
    /// What counts was written.
    file_size, xFileSize, ffi::SQLITE_IOERR_FSTAT, size: *mut i64
);

/// SAFETY: as for [`log`]; the file is not used behind it.
unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: as we were asked.
    let Some(log) = (unsafe { log(file) }) else { return ffi::SQLITE_IOERR_CLOSE };
    // What is held is of a transaction that did not end: nobody misses it.
    let base = log.base;
    drop(mem::take(&mut log.frames));
    // SAFETY: the file is SQLite's own again.
    unsafe { (*file).pMethods = base };
    let Some(close) = base.xClose else { return ffi::SQLITE_IOERR_CLOSE };
    // SAFETY: as we were asked.
    unsafe { close(file) }
}

#[cfg(test)]
mod tests;
