use std::{fs, path::Path};

use rusqlite::Connection;
use tokio_util::sync::CancellationToken;

use super::{
    super::OpenError,
    advance_head, backup,
    counts::{Span, all, occupied, sampled},
    stats, vacuum,
};
use crate::store::{
    Position, StoreError,
    maintain::{Backup, Count, MaintainError, Precision},
};

/// The neighbours of a key among spans that are full.
fn full(spans: &[Span]) -> impl FnMut(i64) -> Result<(Option<i64>, Option<i64>), StoreError> {
    move |probe| {
        let before = spans.iter().filter(|span| span.first < probe).map(|span| span.last.min(probe - 1)).max();
        let behind = spans.iter().filter(|span| span.last >= probe).map(|span| span.first.max(probe)).min();
        Ok((before, behind))
    }
}

#[test]
fn gaps_are_found_however_wide() {
    let one = Span { first: 1, last: 200_000 };
    assert_eq!(occupied(one, full(&[one])).unwrap(), [one], "none");
    for step in [1_i64 << 20, 1 << 40, 1 << 49, 1 << 62] {
        let spans =
            [one, Span { first: step, last: step + 50_000 }, Span { first: step + (1 << 30), last: step + (1 << 31) }];
        let whole = Span { first: 1, last: spans[2].last };
        let found = occupied(whole, full(&spans)).unwrap();
        // What is a small part of the rest may stay joined with its neighbour; the rows are where they are.
        assert!(found.len() >= 2, "{step}: {found:?}");
        let rows = |window: Span| {
            let within = |span: &Span| (span.last.min(window.last) - span.first.max(window.first) + 1).max(0);
            Ok(u64::try_from(spans.iter().map(within).sum::<i64>()).unwrap())
        };
        let all = 250_000 + (1_u64 << 30);
        let estimate = sampled(&found, rows).unwrap();
        assert!(estimate.abs_diff(all) < all / 20, "{step}: {estimate} of {all}");
    }
}

#[test]
fn many_rows_are_estimated_and_all_are_counted_where_asked_for() {
    let connection = Connection::open_in_memory().unwrap();
    for migration in ["0001_first", "0002_clock_and_filters", "0003_indexes_of_bookings", "0004_postings"] {
        let file = format!("{}/migrations/sqlite/{migration}.sql", env!("CARGO_MANIFEST_DIR"));
        connection.execute_batch(&std::fs::read_to_string(file).unwrap()).unwrap();
    }
    // Two lives of a store, the second behind a head that was moved; every third position is a body's.
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150000)
        INSERT INTO bodies SELECT 3 * i + iif(i > 90000, 1 << 45, 0), 0, x'' FROM n;
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120000)
        INSERT INTO bookings (tenant, uid, state, visible, status, start_time, update_time, position)
            SELECT 't', i, x'', i % 4 > 0, 0, 0, 0, 0 FROM n;
        INSERT INTO mentions (booking, position, delivery, outcome, source) VALUES (1, 1, 1, 1, 1);";
    connection.execute_batch(fill).unwrap();

    let exact = all(&connection, true).unwrap();
    let wanted = [0, 150_000, 90_000, 30_000, 0, 1, 0].map(Count::exact);
    assert_eq!(exact.iter().map(|(_, count)| *count).collect::<Vec<_>>(), wanted);
    for ((name, count), (_, exact)) in all(&connection, false).unwrap().iter().zip(&exact) {
        let off = count.rows.abs_diff(exact.rows);
        assert!(off * 20 <= exact.rows, "{name}: {} of {}", count.rows, exact.rows);
        let sampled = ["bodies", "bookings_hidden"].contains(name);
        assert_eq!(count.precision == Precision::Estimate, sampled, "{name}");
    }
}

/// A store as its first release made it, with something in it.
fn first_release(path: &Path) {
    let connection = Connection::open(path).unwrap();
    let file = format!("{}/migrations/sqlite/0001_first.sql", env!("CARGO_MANIFEST_DIR"));
    connection.execute_batch(&fs::read_to_string(file).unwrap()).unwrap();
    let mark = format!("PRAGMA journal_mode = WAL; PRAGMA application_id = {}; PRAGMA user_version = 1;", 0x4341_4c42);
    connection.execute_batch(&mark).unwrap();
    connection.execute_batch("UPDATE head SET position = 9; INSERT INTO bodies VALUES (9, 0, x'00');").unwrap();
}

#[tokio::test]
async fn an_older_store_can_be_looked_at_and_backed_up_before_its_upgrade() {
    let folder = tempfile::tempdir().unwrap();
    let (path, to) = (folder.path().join("calbridge.db"), folder.path().join("backup"));
    first_release(&path);
    let looked = stats(&path, false).await.unwrap();
    assert_eq!((looked.schema_version, looked.head), (1, Position(9)));
    assert_eq!(looked.counts[1], ("bodies", Count::exact(1)));
    let made = backup(&path, &to, &CancellationToken::new()).await.unwrap();
    assert_eq!(made, Backup { head: Position(9), bytes: fs::metadata(&to).unwrap().len() });
    assert_eq!(stats(&to, true).await.unwrap().schema_version, 1, "nobody brought it up to date");
}

#[tokio::test]
async fn a_backup_that_is_stopped_or_unsound_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, to) = (folder.path().join("calbridge.db"), folder.path().join("backups"));
    first_release(&path);
    fs::create_dir(&to).unwrap();
    let stop = CancellationToken::new();
    stop.cancel();
    let stopped = backup(&path, &to.join("one"), &stop).await.unwrap_err();
    assert!(matches!(stopped, MaintainError::Stopped), "{stopped}");
    assert_eq!(fs::read_dir(&to).unwrap().count(), 0);

    Connection::open(&path).unwrap().execute("UPDATE head SET position = 3", []).unwrap();
    Connection::open(&path).unwrap().execute("INSERT INTO duplicates VALUES (7, 1, 0, '', '')", []).unwrap();
    let unsound = backup(&path, &to.join("one"), &CancellationToken::new()).await.unwrap_err();
    assert!(matches!(&unsound, MaintainError::Unsound { why, .. } if why.contains("head")), "{unsound}");
    assert_eq!(fs::read_dir(&to).unwrap().count(), 0);
}

#[tokio::test]
async fn what_is_no_store_of_ours_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    let missing = vacuum(&path).await.unwrap_err();
    assert!(matches!(missing, MaintainError::Absent { .. }), "{missing}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made in the wrong place");

    Connection::open(&path).unwrap().execute_batch("CREATE TABLE head (position INTEGER)").unwrap();
    let before = fs::read(&path).unwrap();
    let to = folder.path().join("backup");
    let refusals = [
        stats(&path, false).await.unwrap_err(),
        backup(&path, &to, &CancellationToken::new()).await.unwrap_err(),
        vacuum(&path).await.unwrap_err(),
        advance_head(&path, 1).await.unwrap_err(),
    ];
    for refused in refusals {
        assert!(matches!(refused, MaintainError::Sqlite(OpenError::Foreign { .. })), "{refused}");
    }
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_store_of_an_earlier_release_stays_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calbridge.db");
    let raw = || Connection::open(&path).unwrap();
    raw().execute_batch(include_str!("../../../../migrations/sqlite/0001_first.sql")).unwrap();
    raw().execute_batch("PRAGMA application_id = 0x43414c42; PRAGMA user_version = 1").unwrap();
    vacuum(&path).await.unwrap();
    let version: i64 = raw().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 1, "bringing it up to date can't be undone");
}
