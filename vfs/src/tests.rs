//! By real files, beside a connection that has `SQLite`'s own.

use std::{fs, path::Path};

use rusqlite::{Connection, OpenFlags};

use super::*;

const FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_CREATE);

fn writer(path: &Path, synchronous: &str) -> Connection {
    register().unwrap();
    let connection = Connection::open_with_flags_and_vfs(path, FLAGS, NAME).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.pragma_update(None, "synchronous", synchronous).unwrap();
    connection.execute_batch("create table if not exists line (id integer primary key, text blob)").unwrap();
    connection
}

fn lines(connection: &Connection) -> Vec<(i64, i64)> {
    let mut rows = connection.prepare("select id, length(text) from line order by id").unwrap();
    rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
}

/// What whoever opens the files as they lie now finds, as behind a crash of this process.
fn left(path: &Path) -> Vec<(i64, i64)> {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("lines.db");
    fs::copy(path, &copy).unwrap();
    fs::copy(path.with_extension("db-wal"), copy.with_extension("db-wal")).unwrap();
    let copy = Connection::open(&copy).unwrap();
    let sound: String = copy.pragma_query_value(None, "integrity_check", |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    lines(&copy)
}

#[test]
fn what_is_committed_is_in_the_file_for_others_and_after_a_crash() {
    for synchronous in ["OFF", "NORMAL", "FULL"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines.db");
        let writer = writer(&path, synchronous);
        // Transactions that fit a page, that fill more than is held, and that the cache has no room for.
        writer.pragma_update(None, "cache_size", 5).unwrap();
        let other = Connection::open(&path).unwrap();
        let mut expected = Vec::new();
        let mut id = 0_i64;
        for (rows, size) in [(1_i64, 10_i64), (3, 5_000), (40, 9_000), (1, 900_000), (300, 1_500), (2, 100)] {
            for round in 0..3 {
                writer.execute_batch("begin immediate").unwrap();
                for _ in 0..rows {
                    id += 1;
                    writer.execute("insert into line values (?, randomblob(?))", (id, size)).unwrap();
                }
                // Of what the cache had no room for all is read back, the newest first, and what is held with it.
                let all = "select sum(length(hex(text))) from (select text from line where id > ? order by id desc)";
                let read: i64 = writer.query_row(all, [id - rows], |row| row.get(0)).unwrap();
                assert_eq!(read, 2 * rows * size, "{synchronous}: {rows} of {size}");
                // What was written by then is written again: its frame is, and the sums behind it.
                writer.execute("update line set text = randomblob(?) where id > ?", (size, id - rows)).unwrap();
                if round == 1 {
                    writer.execute_batch("rollback").unwrap();
                    id -= rows;
                } else {
                    writer.execute_batch("commit").unwrap();
                    expected.extend((id - rows + 1..=id).map(|id| (id, size)));
                }
                assert_eq!(lines(&other), expected, "{synchronous}: {rows} of {size}");
                assert_eq!(left(&path), expected, "{synchronous}: {rows} of {size}, after a crash");
            }
            // From here on the log begins anew.
            writer.query_row("pragma wal_checkpoint(restart)", [], |row| row.get::<_, i64>(0)).unwrap();
        }
    }
}

#[test]
fn a_log_that_two_write_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines.db");
    let ours = writer(&path, "NORMAL");
    let theirs = Connection::open(&path).unwrap();
    let mut expected = Vec::new();
    for id in 1..=60 {
        let connection = if id % 3 == 0 { &theirs } else { &ours };
        connection.execute("insert into line values (?, randomblob(9000))", [id]).unwrap();
        expected.push((id, 9_000));
        if id % 20 == 0 {
            connection.query_row("pragma wal_checkpoint(restart)", [], |row| row.get::<_, i64>(0)).unwrap();
        }
        assert_eq!(lines(&theirs), expected);
        if id % 20 != 0 {
            assert_eq!(left(&path), expected);
        }
    }
    drop(ours);
    assert_eq!(lines(&theirs), expected);
}

#[test]
fn the_whole_of_a_file_is_seen_by_whoever_opens_it_next() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines.db");
    for id in 1..=5_usize {
        let writer = writer(&path, "NORMAL");
        writer.execute("insert into line values (?, randomblob(20000))", [i64::try_from(id).unwrap()]).unwrap();
        assert_eq!(lines(&writer).len(), id);
    }
    assert_eq!(lines(&Connection::open(&path).unwrap()).len(), 5);
}
