//! What is left of a switch to the write-ahead log that was cut short. Until it is done `SQLite` has a rollback
//! journal, as a fresh file and a backup have for all that they do, and whoever can't write can't undo that.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use rusqlite::{Connection, OpenFlags};

use super::{
    OpenError, file,
    schema::{self, APPLICATION_ID},
};
use crate::store::StoreError;

/// Pages of a file of ours, and all of one that is being made.
const PAGE_BYTES: u64 = 4_096;

/// How many bytes of a database, and of a journal, say whose they are.
const HEADER_BYTES: u64 = 100;

const JOURNAL_MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];

/// Has `SQLite` undo it, where there is such a journal. A file of something else's stays as it is, and so does one that
/// the journal would make shorter: it was another file's, and this one took its place.
pub(super) fn undo(database: &Path) -> Result<(), OpenError> {
    let path = || database.to_owned();
    let unwritable = |why| OpenError::Unwritable { path: path(), why };
    let file = database.canonicalize().map_err(unwritable)?;
    let journal = file::journal_path(&file);
    let Some((_, undone)) = header(&journal).map_err(unwritable)? else { return Ok(()) };
    let (length, head) = header(&file).map_err(unwritable)?.unwrap_or_default();
    if !may_be_ours(length, &head) {
        return Err(OpenError::Foreign { path: path() });
    }
    if length > PAGE_BYTES && length_before(&undone).is_some_and(|before| before < length) {
        return Err(OpenError::Journal { path: path(), journal });
    }
    let look = || -> Result<i64, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&file, flags)?;
        schema::move_log_at_close(&connection, false)?;
        // The first look undoes what nobody is about any more.
        Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
    };
    look().map(drop).map_err(|why| OpenError::Store { path: path(), why })
}

/// A file's length and its first bytes; none where there is no file.
fn header(path: &Path) -> io::Result<Option<(u64, Vec<u8>)>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let mut header = Vec::new();
    file.take(HEADER_BYTES).read_to_end(&mut header)?;
    Ok(Some((length, header)))
}

/// It says so, or nobody has said anything yet.
fn may_be_ours(length: u64, header: &[u8]) -> bool {
    let application = number(header, 68).map_or(0, i64::from);
    application == APPLICATION_ID || (application == 0 && length <= PAGE_BYTES)
}

/// How long the file was when the journal was begun; none where it is no journal, or its header is not all there.
fn length_before(journal: &[u8]) -> Option<u64> {
    let is_journal = journal.starts_with(&JOURNAL_MAGIC);
    let (pages, page_bytes) = (number(journal, 16)?, number(journal, 24)?);
    is_journal.then(|| u64::from(pages) * u64::from(page_bytes))
}

fn number(header: &[u8], at: usize) -> Option<u32> {
    header.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}
