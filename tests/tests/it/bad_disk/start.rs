//! Programs that are started on a bad disk say which, why, and what to do.

use std::fs;

use calbridge_e2e::{
    chance::Chance,
    disk::{Call, Disk, Fault, Outcome},
    program::Start,
    system::SECRET,
};
use nix::errno::Errno;

/// How a program ends that can't use its disk: it says all of these.
async fn ends_with(start: Start, disk: &Disk, fault: &Fault, wanted: &[&str]) {
    let strike = disk.strike(fault);
    let start = disk.environment().into_iter().fold(start, |start, (name, value)| start.env(&name, value));
    let ended = start.run().await;
    assert!(strike.hits() > 0);
    assert!(ended.code.is_some_and(|code| code != 0), "{ended:?}");
    let place = disk.root().display().to_string();
    for wanted in wanted.iter().chain([&place.as_str()]) {
        assert!(ended.stderr.contains(wanted), "{wanted} is not said: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}

fn adapter(disk: &Disk) -> Start {
    Start::new("calbridge-adapter")
        .flag("--http", "127.0.0.1:0")
        .flag("--admin", "127.0.0.1:0")
        .flag("--service", "http://127.0.0.1:9")
        .flag("--data-dir", disk.root())
        .env("CALCOM_WEBHOOK_SECRET", SECRET)
}

fn service(disk: &Disk) -> Start {
    Start::new("calbridge-service")
        .flag("--grpc", "127.0.0.1:0")
        .flag("--admin", "127.0.0.1:0")
        .flag("--data-dir", disk.root().join("data"))
}

#[tokio::test]
async fn a_program_that_can_t_use_its_disk_says_which_why_and_what_to_do() {
    let disk = Disk::new(Chance::new(1));
    let error = |calls: &[Call], number| Fault::of(calls, Outcome::Error(number));
    let spool = "say --spool-dir none";
    for (fault, why) in [
        (Fault::read_only(), "Read-only file system"),
        (Fault::of(&[Call::Write], Outcome::Full(0)), "No space left on device"),
        (error(&[Call::SyncFile], Errno::EIO), "Input/output error"),
        (error(&[Call::SyncFolder], Errno::EIO), "Input/output error"),
    ] {
        ends_with(adapter(&disk), &disk, &fault, &["--spool-dir", why, spool]).await;
    }
    let mend = "name another data directory";
    ends_with(service(&disk), &disk, &Fault::read_only(), &["Read-only file system", mend]).await;
    ends_with(service(&disk), &disk, &error(&[Call::SyncFolder], Errno::EIO), &["Input/output error", mend]).await;
    ends_with(service(&disk), &disk, &Fault::of(&[Call::Write], Outcome::Full(0)), &["full"]).await;
    ends_with(service(&disk), &disk, &error(&[Call::SyncFile], Errno::EIO), &["I/O error"]).await;
}

#[tokio::test]
async fn a_log_that_has_no_room_a_second_time_takes_none() {
    let disk = Disk::new(Chance::new(1));
    // A stop would have left no log.
    service(&disk).serve().kill();
    let again = disk.root().join("data/calbridge.db-wal-again");
    // As a start leaves it that is killed at work.
    fs::write(&again, "half").unwrap();
    let full = Fault::of(&[Call::Write], Outcome::Full(0));
    ends_with(service(&disk), &disk, &full, &["calbridge.db-wal", "a second time", "make room for"]).await;
    assert!(!again.exists());
    service(&disk).serve().stop().await;
    assert!(!again.exists());
}
