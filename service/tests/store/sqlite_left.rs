//! What a crash, a restore and a disk leave of `SQLite`'s file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use calbridge_process::Database;
use calbridge_proto::v1::{BookingStatus, SubmitOutcome::*};
use calbridge_service::store::{maintain, sqlite::OpenError};
use rusqlite::Connection;

use crate::{sqlite::Sqlite, support::*};

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
