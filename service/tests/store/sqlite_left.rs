//! What a crash, a restore and a disk leave of `SQLite`'s file.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use calbridge_process::Database;
use calbridge_proto::v1::{BookingStatus, SubmitOutcome::*};
use calbridge_service::store::{
    Batch, BookingOrder, BookingQuery, CLOCK_BOOKINGS_MAX, ClockPolicies, Comparison, Condition, ConsumerCommand,
    ConsumerOutcome, LogQuery, Position, Store, StoreError, maintain,
    sqlite::{OpenError, SqliteStore},
};
use rusqlite::{Connection, OpenFlags};

use crate::{consume::*, pages::list_with_damaged, sqlite::Sqlite, support::*};

fn journal(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}-journal", path.display()))
}

/// The rollback journal of the first page, as a process has it that is killed while it changes that page.
fn journal_of(path: &Path) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    fs::copy(path, &copy).unwrap();
    let connection = Connection::open(&copy).unwrap();
    // Its header counts its pages at once, and not when they have reached the disk.
    connection.execute_batch("PRAGMA synchronous = OFF; BEGIN IMMEDIATE; PRAGMA user_version = 99").unwrap();
    fs::read(journal(&copy)).unwrap()
}

/// A file that is switched to the write-ahead log is marked so on its first page.
fn mark_as_switched(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[18..20].fill(2);
    fs::write(path, bytes).unwrap();
}

/// A closed store whose mode is a rollback journal's, as a backup has it.
async fn backed_up(webhooks: &[Webhook]) -> Sqlite {
    let backend = Sqlite::default();
    let store = backend.open().await;
    commit(&store, webhooks).await;
    drop(store);
    backend.raw().query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(())).unwrap();
    backend
}

#[tokio::test]
async fn a_switch_to_the_log_that_was_cut_short_is_undone() {
    let backend = backed_up(&[created("u1", 1)]).await;
    let left = journal_of(&backend.path());
    for is_marked in [false, true] {
        fs::write(journal(&backend.path()), &left).unwrap();
        if is_marked {
            mark_as_switched(&backend.path());
        }
        let store = backend.open().await;
        assert_eq!(read(&store, "u1").await.unwrap().status(), BookingStatus::Scheduled);
        assert!(!journal(&backend.path()).exists());
        drop(store);
        backend.raw().query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(())).unwrap();
    }
}

#[tokio::test]
async fn a_file_that_was_cut_short_as_it_was_made_is_made_anew() {
    let backend = Sqlite::default();
    fs::create_dir_all(backend.path().parent().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let fresh = folder.path().join("fresh");
    let connection = Connection::open(&fresh).unwrap();
    // Nothing of it is in the file yet: the journal is of an empty one.
    connection.execute_batch("PRAGMA synchronous = OFF; BEGIN IMMEDIATE; CREATE TABLE t (a)").unwrap();
    let left = fs::read(journal(&fresh)).unwrap();
    connection.execute_batch("ROLLBACK; PRAGMA journal_mode = WAL").unwrap();
    fs::copy(&fresh, backend.path()).unwrap();
    fs::write(journal(&backend.path()), left).unwrap();
    assert_eq!(outcomes(&commit(&backend.open().await, &[created("u1", 1)]).await), [Applied]);
}

#[tokio::test]
async fn what_an_operator_asks_undoes_a_switch_that_was_cut_short() {
    for work in 0..2 {
        let backend = backed_up(&[created("u1", 1)]).await;
        fs::write(journal(&backend.path()), journal_of(&backend.path())).unwrap();
        let database = Database::Sqlite(backend.path());
        if work == 0 {
            assert_eq!(maintain::stats(&database, false).await.unwrap().counts[0].1.rows, 1);
        } else {
            maintain::advance_head(&database, 1 << 40).await.unwrap();
        }
        assert!(!journal(&backend.path()).exists());
        assert!(read(&backend.open().await, "u1").await.is_some());
    }
}

#[tokio::test]
async fn the_journal_of_another_file_takes_nothing_away() {
    let (backend, other) = (backed_up(&[created("u1", 1)]).await, tempfile::tempdir().unwrap());
    let empty = other.path().join("empty");
    let connection = Connection::open(&empty).unwrap();
    connection.execute_batch("PRAGMA synchronous = OFF; BEGIN IMMEDIATE; CREATE TABLE t (a)").unwrap();
    fs::copy(journal(&empty), journal(&backend.path())).unwrap();
    let before = fs::read(backend.path()).unwrap();
    let refused = backend.try_open().unwrap_err();
    assert!(matches!(refused, OpenError::Journal { .. }), "{refused}");
    assert_eq!(fs::read(backend.path()).unwrap(), before);
    fs::remove_file(journal(&backend.path())).unwrap();
    assert!(read(&backend.open().await, "u1").await.is_some());
}

#[tokio::test]
async fn the_journal_of_something_else_is_not_ours_to_undo() {
    let backend = Sqlite::default();
    fs::create_dir_all(backend.path().parent().unwrap()).unwrap();
    let raw = backend.raw();
    raw.execute_batch("CREATE TABLE other (a); CREATE TABLE another (a); PRAGMA user_version = 7").unwrap();
    drop(raw);
    fs::write(journal(&backend.path()), journal_of(&backend.path())).unwrap();
    let refused = backend.try_open().unwrap_err();
    assert!(matches!(refused, OpenError::Foreign { .. }), "{refused}");
    assert!(journal(&backend.path()).exists());
}

/// A row may be a megabyte, and thousands may be behind a condition.
#[tokio::test]
async fn a_list_by_update_time_reads_no_row_behind_its_page() {
    let backend = Sqlite::default();
    let store = backend.open().await;
    for (n, uid) in (0..).zip(["u1", "u2", "u3"]) {
        store.commit(Batch { now: NOW + n, ..batch(&[created(uid, n)]) }).await.unwrap();
    }
    drop(store);
    backend.raw().execute("UPDATE bookings SET status = 1 << 40 WHERE uid = 'u1'", []).unwrap();
    let store = backend.open().await;
    let scheduled = vec![Condition::Status(Comparison::Equal, BookingStatus::Scheduled)];
    let newest = BookingQuery { order: BookingOrder::UpdateTime, descending: true, ..by_start(scheduled) };
    let mut query = BookingQuery { limit: 1, ..newest };
    for uid in ["u3", "u2"] {
        let page = store.bookings(query.clone()).await.unwrap();
        assert_eq!(page.bookings.iter().map(|booking| booking.uid.as_str()).collect::<Vec<_>>(), [uid]);
        assert_eq!(page.damaged, [""; 0], "it is not looked at");
        query.after = page.next;
    }
    let page = store.bookings(query).await.unwrap();
    assert_eq!((page.bookings, page.damaged), (Vec::new(), vec!["u1".to_owned()]));
}

const PAGE: usize = 4_096;

/// The pages of the tree of bookings that lead to no others, in the order of their rows.
fn leaves(path: &Path) -> Vec<usize> {
    let select = "SELECT rootpage FROM sqlite_schema WHERE name = 'bookings'";
    let root: u32 = Connection::open(path).unwrap().query_row(select, [], |row| row.get(0)).unwrap();
    let file = fs::read(path).unwrap();
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
    let mut pages = vec![usize::try_from(root).unwrap()];
    loop {
        let page = |number: usize| &file[(number - 1) * PAGE..number * PAGE];
        if page(pages[0])[0] == 13 {
            return pages;
        }
        let below = pages.iter().flat_map(|at| {
            let page = page(*at);
            let cell = |n: usize| number(&page[12 + 2 * n..14 + 2 * n]);
            let children = (0..number(&page[3..5])).map(move |n| number(&page[cell(n)..cell(n) + 4]));
            children.chain([number(&page[8..12])]).collect::<Vec<_>>()
        });
        pages = below.collect();
    }
}

/// Writes zeros over a page, and answers whose rows were on it, by their numbers.
fn damage(path: &Path, page: usize) -> BTreeMap<i64, String> {
    let all = numbers(path);
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[0; PAGE], u64::try_from((page - 1) * PAGE).unwrap()).unwrap();
    let raw = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let is_lost = |id: i64| raw.query_row("SELECT seated FROM bookings WHERE id = ?1", [id], |_| Ok(())).is_err();
    all.into_iter().filter(|(id, _)| is_lost(*id)).collect()
}

/// As an index tells them, without a look at the rows.
fn numbers(path: &Path) -> BTreeMap<i64, String> {
    let raw = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut select =
        raw.prepare("SELECT id, uid FROM bookings INDEXED BY bookings_by_update WHERE visible = 1").unwrap();
    select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
}

const BOOKINGS: i64 = 200;

fn uid(n: i64) -> String {
    format!("u{n}")
}

/// A closed store of so many bookings, and the pages that they are on.
async fn filled(bookings: i64) -> (Sqlite, Vec<usize>) {
    let backend = Sqlite::unsynced();
    let store = backend.open().await;
    commit(&store, &(1..=bookings).map(|n| created(&uid(n), n)).collect::<Vec<_>>()).await;
    drop(store);
    let pages = leaves(&backend.path());
    assert!(pages.len() > 4, "{pages:?}");
    (backend, pages)
}

async fn is_refused(store: &impl Store, uid: &str, at: i64) -> bool {
    matches!(store.commit(batch(&[cancelled(uid, at)])).await, Err(StoreError::Damaged { .. }))
}

async fn lists_leave_out(store: &SqliteStore, lost: &BTreeMap<i64, String>, all: &BTreeMap<i64, String>) {
    for order in [BookingOrder::StartTime, BookingOrder::UpdateTime] {
        for conditions in [Vec::new(), vec![Condition::Status(Comparison::Equal, BookingStatus::Scheduled)]] {
            let query = BookingQuery { order, limit: 7, ..by_start(conditions) };
            let (listed, left_out) = list_with_damaged(store, query).await;
            assert_eq!(listed.len(), all.len() - lost.len(), "{order:?}");
            assert_eq!(left_out.iter().collect::<BTreeSet<_>>(), lost.values().collect(), "{order:?}");
        }
    }
    let mut rows = BTreeSet::new();
    loop {
        let after = rows.last().map(|uid: &String| (TENANT.into(), uid.clone()));
        let page = store.rows(None, after, 7).await.unwrap();
        rows.extend(page.rows.into_iter().map(|row| row.key.1));
        if !page.more {
            break;
        }
    }
    assert_eq!(rows.iter().collect::<BTreeSet<_>>(), all.values().collect(), "a check meets all of them");
}

#[tokio::test]
async fn a_page_that_is_damaged_costs_its_own_bookings_and_no_others() {
    for is_running in [false, true] {
        let (backend, pages) = filled(BOOKINGS).await;
        let all = numbers(&backend.path());
        let running = if is_running { Some(backend.open().await) } else { None };
        let mut lost = damage(&backend.path(), pages[1]);
        lost.append(&mut damage(&backend.path(), pages[3]));
        let store = match running {
            Some(store) => store,
            None => backend.open().await,
        };
        let clock = ClockPolicies { otherwise: Some(Duration::ZERO), ..ClockPolicies::default() };
        let due = async |store: &SqliteStore| {
            store.clock_due(NOW, Arc::new(clock.clone()), Arc::default()).await.unwrap().len()
        };
        assert_eq!(due(&store).await, all.len() - lost.len());
        lists_leave_out(&store, &lost, &all).await;
        let (first, newest) = (lost.first_key_value().unwrap(), lost.last_key_value().unwrap());
        assert!(newest.0 - first.0 < BOOKINGS / 2, "{lost:?}");
        assert!(is_refused(&store, first.1, 1_000).await && is_refused(&store, newest.1, 1_000).await);
        // A row that grows may need the page beside its own: theirs are further away.
        let others: Vec<&String> = all.range(newest.0 + 40..).map(|(_, uid)| uid).collect();
        for (at, uid) in (2_000..).zip(&others) {
            assert_eq!(outcomes(&commit(&store, &[cancelled(uid, at)]).await), [Applied], "{uid}");
        }
        assert_eq!(outcomes(&commit(&store, &[created("new", 3_000)]).await), [Applied]);
        assert!(is_refused(&store, first.1, 4_000).await, "a webhook about it does not make it anew");
        let left = all.len() - lost.len() - others.len() + 1;
        assert_eq!(due(&store).await, left, "what was not cancelled, and the new one");
    }
}

#[tokio::test]
async fn who_replaced_a_booking_that_cannot_be_read_is_read_all_the_same() {
    let backend = Sqlite::unsynced();
    let store = backend.open().await;
    let next = |n: i64| rescheduled(&format!("next-{n}"), &uid(n), 1_000 + n);
    commit(&store, &(1..=BOOKINGS).map(|n| created(&uid(n), n)).collect::<Vec<_>>()).await;
    commit(&store, &(1..=BOOKINGS).map(next).collect::<Vec<_>>()).await;
    drop(store);
    let lost = damage(&backend.path(), leaves(&backend.path())[1]);
    let store = backend.open().await;
    assert!(!lost.is_empty() && lost.values().all(|uid| uid.starts_with('u')), "{lost:?}");
    for before in lost.values() {
        let after = before.replace('u', "next-");
        let found = store.booking(TENANT, &after, false).await.unwrap().unwrap();
        assert_eq!((found.rescheduled_from_uid.as_str(), &found.origin_uid), (before.as_str(), before));
        let lineage = store.lineage(TENANT, &after, 0).await.unwrap();
        let shown: Vec<&str> = lineage.bookings.iter().map(|booking| booking.uid.as_str()).collect();
        assert_eq!((shown, &lineage.damaged), (vec![after.as_str()], &vec![before.clone()]));
    }
    let scheduled = Condition::Status(Comparison::Equal, BookingStatus::Scheduled);
    let (listed, _) = list_with_damaged(&store, by_start(vec![scheduled])).await;
    assert_eq!(i64::try_from(listed.len()).unwrap(), BOOKINGS, "all that replaced others");
    let mut after = Position::default();
    loop {
        let page = store.log(LogQuery { after, ..all() }).await.unwrap();
        after = page.through;
        if !page.more {
            break;
        }
    }
    assert_eq!(after, store.head().await.unwrap(), "whoever follows the log goes past it");
}

#[tokio::test]
async fn more_that_cannot_be_read_than_a_round_of_the_clock_holds_keeps_it_from_no_other() {
    let (backend, pages) = filled(2 * BOOKINGS).await;
    let all = numbers(&backend.path());
    // It knows all ends by then.
    let store = backend.open().await;
    let lost: BTreeMap<_, _> =
        pages[..pages.len() - 2].iter().flat_map(|page| damage(&backend.path(), *page)).collect();
    assert!((CLOCK_BOOKINGS_MAX..all.len()).contains(&lost.len()), "{}", lost.len());
    let clock = ClockPolicies { otherwise: Some(Duration::ZERO), ..ClockPolicies::default() };
    let due = store.clock_due(NOW, Arc::new(clock), Arc::default()).await.unwrap();
    assert_eq!(due.len(), all.len() - lost.len());
}

#[tokio::test]
async fn a_last_page_that_is_damaged_costs_its_own_bookings_and_new_ones() {
    let (backend, pages) = filled(BOOKINGS).await;
    let all = numbers(&backend.path());
    let lost = damage(&backend.path(), pages[pages.len() - 1]);
    let store = backend.open().await;
    assert!(is_refused(&store, lost.values().next().unwrap(), 1_000).await && is_refused(&store, "new", 1_000).await);
    assert_eq!(outcomes(&commit(&store, &[cancelled(&all[&1], 1_000)]).await), [Applied]);
}

/// How many letters of the consumer `c` the file holds. No store may be open.
fn letters(backend: &Sqlite) -> i64 {
    backend.raw().query_row("SELECT count(*) FROM dead_letters WHERE name = 'c'", [], |row| row.get(0)).unwrap()
}

/// A closed store with a consumer that has given up on more than go in one transaction.
async fn given_up() -> Sqlite {
    const FILL: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600)
        INSERT INTO dead_letters SELECT tenant, name, 1000 + i, uid, deliveries, reason, create_time, 0, kind, entry
            FROM n, dead_letters";
    let backend = Sqlite::unsynced();
    let store = backend.open().await;
    create(&store, "c", choices()).await;
    create(&store, "other", choices()).await;
    commit(&store, &[created("u1", 1)]).await;
    park(&store, "c", 1).await;
    drop(store);
    backend.raw().execute_batch(FILL).unwrap();
    assert_eq!(letters(&backend), 601);
    let store = backend.open().await;
    park(&store, "other", 1).await;
    assert!(matches!(command(&store, "c", ConsumerCommand::Delete(None)).await, ConsumerOutcome::Done(_)));
    assert_eq!(store.consumer(key("c")).await.unwrap(), None);
    assert!(store.dead_letters(key("c"), Position(0), 10).await.unwrap().is_empty());
    drop(store);
    assert!((1..600).contains(&letters(&backend)), "a round does not wait for all of them");
    backend
}

#[tokio::test]
async fn what_a_consumer_leaves_is_purged_behind_it() {
    let backend = given_up().await;
    let store = backend.open().await;
    while store.purge_letters().await.unwrap().more {}
    assert_eq!(counts(&store, "other").await.2, 1);
    drop(store);
    assert_eq!(letters(&backend), 0);
}

#[tokio::test]
async fn a_consumer_has_none_of_what_one_of_its_name_has_left() {
    let backend = given_up().await;
    let store = backend.open().await;
    create(&store, "c", choices()).await;
    assert_eq!(counts(&store, "c").await, (0, 0, 0));
    assert!(store.dead_letters(key("c"), Position(0), 10).await.unwrap().is_empty());
    assert_eq!(counts(&store, "other").await.2, 1);
}
