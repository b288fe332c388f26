//! What other programs have of the file, and calbridge of theirs.

use std::{fs, process};

use calbridge_e2e::{
    program::Start,
    system::{Plan, TENANT},
};
use rusqlite::Connection;
use tempfile::TempDir;

use super::{FIRST, Kind, created, send, told, tool};

/// How far positions go on where a log was left: `POSITIONS_UNSTORED_MAX` of the store.
const PASSED: u64 = 1 << 24;

#[tokio::test]
async fn a_store_that_another_program_has_open_is_not_taken_until_that_one_lets_go() {
    let mut system = Plan::new().returning().start().await;
    assert_eq!(send(&system, created("before")).await, "applied");
    let file = system.data().join("calbridge.db");
    let other = Connection::open(&file).unwrap();
    let count = || other.query_row("SELECT count(*) FROM deliveries", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count(), 1);
    assert_eq!(send(&system, created("beside")).await, "applied");
    system.service.stop().await;

    let refused = system.service_plan().run().await;
    assert_eq!(refused.code, Some(1));
    let holder = format!("process {}", process::id());
    for word in ["calbridge.db is open in another program", &holder, "close that one"] {
        assert!(refused.stderr.contains(word), "{word} is not in: {}", refused.stderr);
    }
    let vacuum = tool(&format!("sqlite://{}", file.display()), "vacuum").run().await;
    assert!(vacuum.stderr.contains(&holder), "{}", vacuum.stderr);
    assert_eq!(count(), 2);

    // The last that has it open moves the log into the file.
    drop(other);
    system.restart_service();
    assert_eq!(send(&system, created("behind")).await, "applied");
    assert_eq!(system.api().all_bookings(TENANT).await.len(), 3);
    system.stop().await;
}

#[tokio::test]
async fn a_file_of_something_else_stays_as_it_was() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("calbridge.db");
    let theirs = Connection::open(&path).unwrap();
    theirs.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1)").unwrap();
    drop(theirs);
    let before = fs::read(&path).unwrap();
    let service = || Start::new("calbridge-service").flag("--data-dir", folder.path());
    let refused = service().run().await;
    assert!(refused.stderr.contains("calbridge.db is not a calbridge database"), "{}", refused.stderr);
    assert!(fs::read(&path).unwrap() == before, "the file has changed");
}

#[tokio::test]
async fn positions_go_on_behind_what_a_power_cut_may_have_taken_whoever_comes_first() {
    let kind = Kind::Sqlite(TempDir::new().unwrap());
    let mut system = kind.system(FIRST).await;
    assert_eq!(send(&system, created("first")).await, "applied");
    system.service.kill();
    let head = async || {
        let stats = told(tool(&kind.url(FIRST), "stats")).await;
        u64::from_str_radix(stats["position"].as_str().unwrap(), 16).unwrap()
    };
    let before = head().await;
    told(tool(&kind.url(FIRST), "vacuum")).await;
    assert_eq!(head().await, before + PASSED);
}
