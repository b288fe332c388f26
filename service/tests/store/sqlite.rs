//! The laws on `SQLite`, and what can go wrong with a file.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use calbridge_proto::v1::{BookingStatus, PersonPayload, SubmitOutcome::*, TransitionSource, Trigger};
use calbridge_service::store::{
    BookingQuery, ClockPolicies, Condition, Position, Purgeable, Store, StoreError,
    sqlite::{OpenError, Options, SqliteStore, Synchronous},
};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::{
    laws, pages,
    retention::{commit_aged, purge, purge_all},
    support::*,
};

/// A folder of its own, gone after the test.
pub(crate) struct Sqlite {
    folder: TempDir,
    options: Options,
}

impl Default for Sqlite {
    fn default() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), options: Options::default() }
    }
}

impl Sqlite {
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("data").join("calbridge.db")
    }

    pub(crate) fn try_open(&self) -> Result<SqliteStore, OpenError> {
        SqliteStore::open(&self.path(), self.options)
    }

    /// The file behind the store's back; no store may be open.
    pub(crate) fn raw(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }
}

impl Backend for Sqlite {
    type Store = SqliteStore;

    fn unsynced() -> Self {
        Self { options: Options { synchronous: Synchronous::Off, ..Options::default() }, ..Self::default() }
    }

    async fn open(&self) -> SqliteStore {
        self.try_open().unwrap()
    }

    async fn states(&self) -> BTreeMap<String, Vec<(String, Vec<u8>)>> {
        let raw = self.raw();
        let mut select = raw
            .prepare("SELECT tenant, uid, state FROM bookings WHERE length(state) > 0 ORDER BY tenant, uid")
            .unwrap();
        let rows = select.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?)))).unwrap();
        let mut states: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for row in rows {
            let (tenant, state) = row.unwrap();
            states.entry(tenant).or_default().push(state);
        }
        states
    }
}

laws!(Sqlite);

#[tokio::test]
async fn a_full_disk_undoes_the_round_and_no_more() {
    let mut backend = Sqlite::default();
    drop(backend.open().await);
    backend.options.max_pages = Some(60);
    let store = backend.open().await;
    commit(&store, &[created("u1", 1)]).await;

    // The small one fits, the one behind it does not.
    let noise = (0_u64..40_000).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).collect();
    let large = Webhook { body: noise, ..created("u3", 1) };
    let failed = store.commit(batch(&[cancelled("u1", 2), created("u2", 1), large.clone()])).await;
    assert!(matches!(failed, Err(StoreError::Unavailable { .. })), "{failed:?}");
    assert_eq!(read(&store, "u1").await.unwrap().status(), BookingStatus::Scheduled);
    assert_eq!(read(&store, "u2").await, None);
    assert_eq!(deliveries(&store).await.len(), 1);

    let next = commit(&store, &[cancelled("u1", 2), created("u2", 1)]).await;
    assert_eq!(outcomes(&next), [Applied, Applied]);
    assert_eq!(next.iter().map(|next| next.first.position.0).collect::<Vec<_>>(), [2, 3]);
    store.probe().await.unwrap();
    drop(store);

    backend.options.max_pages = None;
    let store = backend.open().await;
    assert_eq!(outcomes(&commit(&store, &[large]).await), [Applied]);
}

#[tokio::test]
async fn no_position_is_used_twice_whatever_a_power_cut_takes() {
    let (backend, left) = (Sqlite::default(), Sqlite::default());
    let store = backend.open().await;
    commit(&store, &[created("u1", 1)]).await;
    // As a process leaves it that is killed: with its log.
    fs::create_dir_all(left.path().parent().unwrap()).unwrap();
    for ending in ["", "-wal"] {
        let file = |backend: &Sqlite| PathBuf::from(format!("{}{ending}", backend.path().display()));
        fs::copy(file(&backend), file(&left)).unwrap();
    }
    let before = store.head().await.unwrap();
    drop(store);
    assert_eq!(backend.open().await.head().await.unwrap(), before, "it was closed: nothing was on its way");

    let store = left.open().await;
    assert_eq!(read(&store, "u1").await.unwrap().status(), BookingStatus::Scheduled);
    let head = store.head().await.unwrap();
    assert!(head > before, "the rounds that were lost had positions, and readers may have seen them");
    let next = commit(&store, &[created("u1", 1), cancelled("u1", 2)]).await;
    assert_eq!(outcomes(&next), [Duplicate, Applied]);
    assert!(next[1].first.position > head);
}

#[tokio::test]
async fn a_writer_that_is_kept_out_answers_and_recovers() {
    let backend = Sqlite::default();
    let store = backend.open().await;
    let other = backend.raw();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let failed = store.commit(batch(&[created("u1", 1)])).await;
    assert!(matches!(failed, Err(StoreError::Unavailable { .. })), "{failed:?}");
    assert!(store.probe().await.is_err());
    assert_eq!(read(&store, "u1").await, None, "readers are not kept out");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(outcomes(&commit(&store, &[created("u1", 1)]).await), [Applied]);
}

#[tokio::test]
async fn a_damaged_booking_is_told_and_the_others_live_on() {
    let backend = Sqlite::default();
    let store = backend.open().await;
    commit(&store, &[created("u1", 1), created("u2", 1)]).await;
    drop(store);
    backend.raw().execute("UPDATE bookings SET state = x'ff00ff' WHERE uid = 'u1'", []).unwrap();

    let store = backend.open().await;
    let damaged = |error: Option<StoreError>| matches!(error, Some(StoreError::Damaged { what: "booking", .. }));
    assert!(damaged(store.booking(TENANT, "u1", false).await.err()));
    assert!(damaged(store.commit(batch(&[cancelled("u1", 2)])).await.err()));
    assert!(damaged(store.commit(batch(&[created("u3", 1), cancelled("u1", 2)])).await.err()));
    assert_eq!(outcomes(&commit(&store, &[cancelled("u2", 2), created("u3", 1)]).await), [Applied, Applied]);
    assert_eq!(read(&store, "u2").await.unwrap().status(), BookingStatus::Cancelled);
}

#[tokio::test]
async fn lists_leave_out_what_is_damaged() {
    // No row, and one that can't be unpacked.
    for state in ["x'ff00ff'", "x'28b52ffd00'"] {
        let backend = Sqlite::default();
        let store = backend.open().await;
        pages::before_damage(&store).await;
        drop(store);
        let damage = format!("UPDATE bookings SET state = {state} WHERE uid IN ('u2', 'u4')");
        backend.raw().execute(&damage, []).unwrap();
        pages::behind_damage(&backend.open().await).await;
    }
}

#[tokio::test]
async fn damage_elsewhere_is_told_as_well() {
    let backend = Sqlite::default();
    let store = backend.open().await;
    let kept = commit(&store, &[created("u1", 1)]).await[0].first.clone();
    drop(store);
    let raw = backend.raw();
    raw.execute("UPDATE bodies SET body = x'00'", []).unwrap();
    raw.execute("UPDATE transitions SET booking = x'ff'", []).unwrap();
    drop(raw);

    let store = backend.open().await;
    let body = store.delivery(TENANT, kept.delivery_id, true).await;
    assert!(matches!(body, Err(StoreError::Damaged { what: "body", .. })), "{body:?}");
    assert!(store.delivery(TENANT, kept.delivery_id, false).await.unwrap().is_some());
    let told = store.timeline(TENANT, "u1", Position::default(), 10).await;
    assert!(matches!(told, Err(StoreError::Damaged { what: "transition", .. })), "{told:?}");
    drop(store);

    backend.raw().execute("UPDATE head SET position = 0", []).unwrap();
    let refused = backend.try_open().unwrap_err();
    assert!(refused.to_string().contains("head"), "{refused}");
}

#[tokio::test]
async fn what_is_missing_and_was_not_purged_is_damage() {
    let backend = Sqlite::default();
    let store = backend.open().await;
    let old = commit_aged(&store, 40, &[created("u1", 1)]).await[0].first.delivery_id;
    let young = commit_aged(&store, 1, &[created("u2", 1)]).await[0].first.delivery_id;
    purge(&store, Purgeable::Bodies, 30).await;
    drop(store);
    backend.raw().execute("DELETE FROM bodies", []).unwrap();

    let store = backend.open().await;
    assert!(store.delivery(TENANT, old, true).await.unwrap().unwrap().raw_body_purged);
    let missing = store.delivery(TENANT, young, true).await;
    assert!(matches!(missing, Err(StoreError::Damaged { what: "body", .. })), "{missing:?}");
    assert!(!store.delivery(TENANT, young, false).await.unwrap().unwrap().raw_body_purged);
    assert!(store.journal(None, Position::default(), 10).await.is_err());
}

#[tokio::test]
async fn nothing_is_left_of_what_was_purged_but_the_bookings() {
    let backend = Sqlite::default();
    let store = backend.open().await;
    let life = [created("u1", 1), rescheduled("u2", "u1", 2), recording("nowhere", 3), unparsed(b"?")];
    commit_aged(&store, 100, &life).await;
    commit_aged(&store, 99, &life).await;
    purge_all(&store, 90).await;
    drop(store);
    let raw = backend.raw();
    let count =
        |table: &str| -> i64 { raw.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap() };
    let tables = ["deliveries", "bodies", "duplicates", "mentions", "transitions", "bookings", "retention"];
    assert_eq!(tables.map(count), [0, 0, 0, 0, 0, 2, 1]);
    drop(raw);
    let store = backend.open().await;
    assert_eq!(outcomes(&commit(&store, &[recording("nowhere", 3)]).await), [Recorded]);
    assert_eq!(timeline(&store, "nowhere").await.len(), 1);
}

#[tokio::test]
async fn the_file_is_made_for_its_owner_alone() {
    let backend = Sqlite::default();
    let store = backend.open().await;
    commit(&store, &[created("u1", 1)]).await;
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(backend.path().parent().unwrap().to_owned()), 0o700);
    for file in ["calbridge.db", "calbridge.db-wal", "calbridge.db-shm", "calbridge.db.lock"] {
        assert_eq!(mode(backend.path().with_file_name(file)), 0o600, "{file}");
    }
    drop(store);
    let raw = backend.raw();
    let version: i64 = raw.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    let mode: String = raw.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!((version, mode.as_str()), (8, "wal"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_overlap_without_end_do_not_let_the_log_grow_without_end() {
    const MIB: usize = 1024 * 1024;
    let mut backend = Sqlite::unsynced();
    backend.options.log_pages = 2_048;
    let store = Arc::new(backend.open().await);
    let is_over = Arc::new(AtomicBool::new(false));
    let reads = (0..4).map(|_| {
        let (store, is_over) = (Arc::clone(&store), Arc::clone(&is_over));
        tokio::spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                store.journal(None, Position(0), 100).await.unwrap();
            }
            store.journal(None, Position(0), 100).await.unwrap().len()
        })
    });
    let reads: Vec<_> = reads.collect();
    let mut largest = 0;
    for n in 0..80 {
        let mut webhook = created(&format!("u{n}"), n);
        // Like chance, or it would be packed.
        let numbers =
            (0..MIB as u64 / 8).map(|of| (of + n.cast_unsigned() * MIB as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        webhook.body =
            numbers.flat_map(|number| (number ^ (number >> 29)).wrapping_mul(number | 1).to_le_bytes()).collect();
        commit(&*store, &[webhook]).await;
        let log = fs::metadata(backend.path().with_file_name("calbridge.db-wal")).unwrap().len();
        largest = log.max(largest);
    }
    is_over.store(true, Ordering::Relaxed);
    for read in reads {
        assert!(read.await.unwrap() > 0);
    }
    assert!(largest < 40 << 20, "80 MiB were written, and the log took {largest} bytes");
}

#[tokio::test]
async fn a_second_opener_is_refused_and_a_dead_one_is_not_in_the_way() {
    let backend = Sqlite::default();
    let store = backend.open().await;
    assert!(matches!(backend.try_open(), Err(OpenError::InUse { .. })));
    let link = backend.folder.path().join("link.db");
    std::os::unix::fs::symlink(backend.path(), &link).unwrap();
    assert!(matches!(SqliteStore::open(&link, backend.options), Err(OpenError::InUse { .. })));
    commit(&store, &[created("u1", 1)]).await;
    drop(store);
    assert!(backend.path().with_file_name("calbridge.db.lock").exists());
    assert_eq!(deliveries(&backend.open().await).await.len(), 1);
}

#[tokio::test]
async fn a_newer_schema_is_refused_by_both_numbers() {
    let backend = Sqlite::default();
    drop(backend.open().await);
    backend.raw().pragma_update(None, "user_version", 41).unwrap();
    let refused = backend.try_open().unwrap_err();
    assert!(matches!(refused, OpenError::Newer { found: 41, known: 8, .. }));
    let message = refused.to_string();
    assert!(message.contains("41") && message.contains("up to 8"), "{message}");
}

/// Takes away what the schema's versions from the second on added, and makes again what they removed.
const BACK_TO_ONE: &str = "
    CREATE TABLE lines (tenant TEXT NOT NULL, uid TEXT NOT NULL, position INTEGER NOT NULL, delivery INTEGER NOT NULL,
        outcome INTEGER NOT NULL, PRIMARY KEY (tenant, uid, position)) STRICT, WITHOUT ROWID;
    INSERT INTO lines SELECT b.tenant, b.uid, m.position, m.delivery, m.outcome FROM mentions m
        JOIN bookings b ON b.id = m.booking;
    DROP TABLE mentions; ALTER TABLE lines RENAME TO mentions; DELETE FROM bookings WHERE length(state) = 0;
    DROP TABLE retention; DROP TABLE consumers; DROP TABLE consumer_items; DROP TABLE dead_letters;
    DROP TABLE tail; DROP TABLE runs; DROP TABLE blocks; DROP TABLE fences; ALTER TABLE head DROP COLUMN tail;
    DROP INDEX bookings_by_predecessor; DROP TABLE names; DROP TABLE ends;
    ALTER TABLE head DROP COLUMN settled; ALTER TABLE head DROP COLUMN settling;
    ALTER TABLE bookings DROP COLUMN link; ALTER TABLE bookings DROP COLUMN seated;
    ALTER TABLE bookings DROP COLUMN organizer; ALTER TABLE bookings DROP COLUMN event_type_id;
    ALTER TABLE bookings DROP COLUMN clock_end; ALTER TABLE bookings DROP COLUMN clock_told;
    ALTER TABLE bookings DROP COLUMN first_position;
    ALTER TABLE deliveries DROP COLUMN siblings_silent; ALTER TABLE transitions DROP COLUMN trace_id;
    CREATE TABLE first (id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, uid TEXT NOT NULL, state BLOB NOT NULL,
        visible INTEGER NOT NULL, status INTEGER NOT NULL, start_time INTEGER NOT NULL, update_time INTEGER NOT NULL,
        position INTEGER NOT NULL, rescheduled_from TEXT, UNIQUE (tenant, uid)) STRICT;
    INSERT INTO first SELECT * FROM bookings; DROP TABLE bookings; ALTER TABLE first RENAME TO bookings;
    CREATE INDEX bookings_by_update ON bookings (tenant, update_time, uid) WHERE visible = 1;
    CREATE INDEX bookings_by_start ON bookings (tenant, start_time, uid) WHERE visible = 1;
    PRAGMA user_version = 1;";

#[tokio::test]
async fn a_store_of_the_first_schema_is_brought_up_to_date() {
    let backend = Sqlite::unsynced();
    let store = backend.open().await;
    let told = booking(Trigger::BookingCreated, "u1", 1, |payload| {
        payload.organizer = Some(PersonPayload { email: "Host@x.example".into(), ..Default::default() });
        payload.attendees = vec![PersonPayload { email: "guest@x.example".into(), ..Default::default() }];
        payload.metadata = [("campaign".to_owned(), "one".to_owned())].into();
        payload.event_type_id = Some(3);
    });
    let hinted = booking(Trigger::BookingCreated, "u2", 2, |payload| payload.ical_uid = "u0@Cal.com".into());
    commit(&store, &[told, hinted, rescheduled("u3", "u2", 3), recording("nowhere", 4)]).await;
    let (before, lineage) = (read(&store, "u1").await, store.lineage(TENANT, "u3", 0).await.unwrap().bookings);
    drop(store);
    backend.raw().execute_batch(BACK_TO_ONE).unwrap();

    let store = backend.open().await;
    assert_eq!(
        (read(&store, "u1").await, store.lineage(TENANT, "u3", 0).await.unwrap().bookings),
        (before.clone(), lineage)
    );
    for condition in [
        Condition::OrganizerEmail("host@x.example".into()),
        Condition::AttendeeEmail("guest@x.example".into()),
        Condition::Metadata("campaign".into(), "one".into()),
        Condition::EventTypeId(3),
    ] {
        let query = by_start(vec![condition]);
        assert_eq!(store.bookings(query).await.unwrap().bookings, before.clone().into_iter().collect::<Vec<_>>());
    }
    let clock = Arc::new(ClockPolicies { otherwise: Some(Duration::ZERO), ..ClockPolicies::default() });
    let due = store.clock_due(NOW, clock, Arc::default()).await.unwrap();
    assert_eq!(due.iter().map(|(_, uid)| uid.as_str()).collect::<Vec<_>>(), ["u1", "u3"], "u2 was replaced");
    assert_eq!(timeline(&store, "u1").await[0].source(), TransitionSource::Webhook);
    assert_eq!(timeline(&store, "nowhere").await.len(), 1, "mentioned, and no booking");
}

#[test]
fn other_files_are_left_alone() {
    let backend = Sqlite::default();
    fs::create_dir(backend.path().parent().unwrap()).unwrap();
    backend.raw().execute_batch("CREATE TABLE theirs (id INTEGER)").unwrap();
    assert!(matches!(backend.try_open(), Err(OpenError::Foreign { .. })));

    let text = "Not a database at all, but long enough to look like one to somebody in a hurry. ".repeat(20);
    fs::write(backend.path(), &text).unwrap();
    assert!(matches!(backend.try_open(), Err(OpenError::Store { why: StoreError::Damaged { .. }, .. })));
    assert_eq!(fs::read_to_string(backend.path()).unwrap(), text);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = SqliteStore::open(&file.join("data").join("calbridge.db"), Options::default()).unwrap_err();
    assert!(matches!(refused, OpenError::Unwritable { .. }));
    assert!(refused.to_string().contains(file.to_str().unwrap()), "{refused}");
    // A folder where the file should be.
    assert!(matches!(SqliteStore::open(folder.path(), Options::default()), Err(OpenError::Unwritable { .. })));
}

#[tokio::test]
async fn a_round_is_confirmed_while_many_read() {
    const READS: usize = 60;
    let backend = Sqlite::unsynced();
    let store = Arc::new(backend.open().await);
    let webhooks: Vec<_> = (0..1_000).map(|number| created(&format!("u{number}"), 1)).collect();
    commit(&*store, &webhooks).await;
    let mut reads = JoinSet::new();
    for _ in 0..READS {
        let store = Arc::clone(&store);
        let query = BookingQuery { limit: 1_000, ..by_start(Vec::new()) };
        reads.spawn(async move { store.bookings(query).await.unwrap().bookings.len() });
    }
    // All of them stand in line.
    tokio::task::yield_now().await;
    let confirmed = store.confirm(vec![webhooks[0].delivery().key]).await.unwrap();
    assert!(confirmed[0].is_some());
    let mut done = 0;
    while let Some(read) = reads.try_join_next() {
        assert_eq!(read.unwrap(), 1_000);
        done += 1;
    }
    assert!(done < READS / 2, "{done} pages of {READS} came first");
    assert_eq!(reads.join_all().await.len(), READS - done);
}
