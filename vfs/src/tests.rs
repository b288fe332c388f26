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

/// As the service's writer has it: what is rolled back was never held, so nothing of it comes behind another's frames.
#[test]
fn without_spilling_nothing_is_held_between_transactions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines.db");
    let ours = writer(&path, "NORMAL");
    ours.pragma_update(None, "cache_size", 5).unwrap();
    ours.pragma_update(None, "cache_spill", false).unwrap();
    ours.execute("insert into line values (1, randomblob(100))", []).unwrap();
    let theirs = Connection::open(&path).unwrap();
    let mut expected = vec![(1, 100)];
    for round in 0..4 {
        // The log begins anew, so that its first frames are not of the page that a rollback reads.
        theirs.query_row("pragma wal_checkpoint(restart)", [], |row| row.get::<_, i64>(0)).unwrap();
        ours.execute("insert into line values (?, randomblob(100))", [100 * round + 2]).unwrap();
        expected.push((100 * round + 2, 100));
        let size = || fs::metadata(path.with_extension("db-wal")).unwrap().len();
        let before = size();
        ours.execute_batch("begin immediate").unwrap();
        ours.execute("update line set text = randomblob(400000) where id = ?", [100 * round + 2]).unwrap();
        assert_eq!(size(), before, "nothing is appended before the commit");
        ours.execute_batch("rollback").unwrap();
        for id in 100 * round + 3..100 * round + 33 {
            theirs.execute("insert into line values (?, randomblob(9000))", [id]).unwrap();
            expected.push((id, 9_000));
        }
        assert_eq!(lines(&ours), expected);
        assert_eq!(left(&path), expected);
    }
}

/// Of a disk whose sectors a power cut may tear, which is what pads transactions, with logs that are cut.
#[test]
fn pages_of_any_size_and_padded_transactions_are_whole() {
    for (page, limit) in [(512, -1), (512, 20_000), (4_096, 0), (65_536, -1)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines.db");
        let uri = format!("file:{}?psow=0", path.display());
        register().unwrap();
        let writer = Connection::open_with_flags_and_vfs(uri, FLAGS | OpenFlags::SQLITE_OPEN_URI, NAME).unwrap();
        for (name, value) in [("page_size", page), ("journal_size_limit", limit), ("cache_size", 5)] {
            writer.pragma_update(None, name, value).unwrap();
        }
        writer.pragma_update(None, "journal_mode", "WAL").unwrap();
        writer.pragma_update(None, "synchronous", "FULL").unwrap();
        writer.execute_batch("create table line (id integer primary key, text blob)").unwrap();
        let mut expected: Vec<(i64, i64)> = Vec::new();
        for round in 0..22_i64 {
            let mut with = expected.clone();
            writer.execute_batch("begin immediate").unwrap();
            for number in 0..=round * 7 % 23 {
                let line = (1_000 * round + number, 1 + round * 131 % 4_000);
                writer.execute("insert into line values (?, randomblob(?))", line).unwrap();
                with.push(line);
            }
            writer.execute_batch("savepoint half").unwrap();
            for number in 100..120 {
                writer.execute("insert into line values (?, randomblob(3000))", [1_000 * round + number]).unwrap();
            }
            if round % 2 == 0 {
                writer.execute_batch("rollback to half").unwrap();
            } else {
                with.extend((100..120).map(|number| (1_000 * round + number, 3_000)));
            }
            if round % 5 == 4 {
                writer.execute_batch("rollback").unwrap();
            } else {
                writer.execute_batch("commit").unwrap();
                expected = with;
            }
            assert_eq!(left(&path), expected, "pages of {page}, a log of {limit}, round {round}");
            let mode = ["passive", "restart", "truncate"].get(usize::try_from(round).unwrap() / 5 % 4);
            if let (Some(mode), 4) = (mode, round % 5) {
                let moved = format!("pragma wal_checkpoint({mode})");
                writer.query_row(&moved, [], |row| row.get::<_, i64>(0)).unwrap();
            }
        }
    }
}
