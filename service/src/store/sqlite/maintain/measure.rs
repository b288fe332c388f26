//! Sizes and numbers of a file. Each is a read of its own, so that none of them keeps the log from being cut for long.

use std::{fs, path::Path};

use rusqlite::{Connection, OptionalExtension};

use super::{super::queries, counts, log_of};
use crate::store::{
    Micros, StoreError,
    maintain::{FileStats, Part, Stats, unsigned},
};

/// Up to this size of a file its tables are measured page by page unless it is asked for: a tenth of a second.
const MEASURED_BYTES: u64 = 256 * 1024 * 1024;

pub(super) fn stats(
    connection: &Connection,
    path: &Path,
    schema_version: i64,
    exact: bool,
) -> Result<Stats, StoreError> {
    let file = file(connection, path)?;
    let measured = exact || file.database <= MEASURED_BYTES;
    Ok(Stats {
        kind: "sqlite",
        place: path.display().to_string(),
        schema_version,
        head: queries::head(connection)?,
        counts: counts::all(connection, exact)?,
        bytes: file.database + file.wal,
        file: Some(file),
        dead_rows: None,
        parts: if measured { Some(parts(connection)?) } else { None },
        oldest_delivery: received(connection, "min")?,
        newest_delivery: received(connection, "max")?,
    })
}

/// What a database and its log take.
pub(super) fn on_disk(path: &Path) -> u64 {
    size(path) + size(&log_of(path))
}

fn file(connection: &Connection, path: &Path) -> Result<FileStats, StoreError> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let free = unsigned(pragma("freelist_count")?.saturating_mul(pragma("page_size")?));
    Ok(FileStats { database: size(path), wal: size(&log_of(path)), free })
}

/// A log is not there while nobody has the file open.
fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

fn parts(connection: &Connection) -> Result<Vec<Part>, StoreError> {
    const SELECT: &str = "SELECT s.name, coalesce(m.tbl_name, s.name), s.pgsize
        FROM dbstat AS s LEFT JOIN sqlite_schema AS m ON m.name = s.name
        WHERE s.aggregate = TRUE ORDER BY s.pgsize DESC, s.name";
    let mut select = connection.prepare(SELECT)?;
    let parts = select
        .query_map([], |row| Ok(Part { name: row.get(0)?, table: row.get(1)?, bytes: unsigned(row.get(2)?) }))?
        .collect::<Result<_, _>>()?;
    Ok(parts)
}

fn received(connection: &Connection, which: &str) -> Result<Option<Micros>, StoreError> {
    let select =
        format!("SELECT receive_time FROM deliveries WHERE position = (SELECT {which}(position) FROM deliveries)");
    Ok(connection.query_row(&select, [], |row| row.get(0)).optional()?)
}
