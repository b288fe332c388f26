//! What the tool refuses, and that it then leaves nothing behind.

use std::{fs, os::unix::fs::PermissionsExt};

use calbridge_e2e::{
    postgres,
    program::{Ended, Start},
    wait,
};

use super::{FIRST, Kind, back_up, created, send, told, tool};

/// A message that has all of these, and an exit code.
fn says(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "{word} is not in: {}", ended.stderr);
    }
    assert_eq!(ended.stdout, "");
}

#[tokio::test]
async fn a_store_that_is_not_there_is_not_made() {
    let folder = tempfile::TempDir::new().unwrap();
    let place = folder.path().display().to_string();
    for command in ["stats", "vacuum", "advance-head"] {
        let tool = Start::new("calbridge").arg("store").arg(command).flag("--data-dir", folder.path());
        says(&tool.run().await, 1, &[&place, "--data-dir"]);
    }
    let backup = Start::new("calbridge").arg("store").arg("backup").flag("--to", folder.path().join("backup"));
    says(&backup.env("CALBRIDGE_DATA_DIR", &*place).run().await, 1, &[&place]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

    let config = folder.path().join("calbridge.toml");
    fs::write(&config, format!("data_dir = \"{place}/elsewhere\"\n[tenants.acme]\nsecrets = [\"env:NOT_SET\"]\n"))
        .unwrap();
    let by_file = Start::new("calbridge").arg("store").arg("stats").flag("--config", &config);
    says(&by_file.run().await, 1, &["elsewhere/calbridge.db"]);
    says(&tool("mysql://here:secret@x/y", "stats").run().await, 78, &["--database-url", "mysql://…"]);

    let server = postgres::Postgres::start(postgres::Durability::Unsynced);
    says(&tool(&server.url(), "stats").run().await, 1, &["no store", "--database-url"]);
    assert_eq!(server.query("SELECT count(*) FROM pg_class WHERE relname = 'deliveries'"), "0");
}

#[tokio::test]
async fn a_backup_replaces_no_file_and_needs_a_folder() {
    for kind in Kind::both() {
        let mut system = kind.system(FIRST).await;
        assert_eq!(send(&system, created("first")).await, "applied");
        let folder = tempfile::TempDir::new().unwrap();
        let to = folder.path().join("backup");
        let _ = back_up(&kind.url(FIRST), &to).await;
        let bytes = fs::read(&to).unwrap();
        assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600, "it holds personal data");
        let again = tool(&kind.url(FIRST), "backup").flag("--to", &to).run().await;
        says(&again, 1, &["backup is there already", "name another"]);
        assert_eq!(fs::read(&to).unwrap(), bytes);
        let nowhere = tool(&kind.url(FIRST), "backup").flag("--to", folder.path().join("no/where")).run().await;
        says(&nowhere, 1, &["no/where", "folder"]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        system.stop().await;
    }
}

#[tokio::test]
async fn a_head_is_moved_by_a_step_that_leaves_room_and_never_under_a_service_of_a_file() {
    let [file, server] = Kind::both();
    let mut system = file.system(FIRST).await;
    assert_eq!(send(&system, created("first")).await, "applied");
    says(&tool(&file.url(FIRST), "advance-head").run().await, 1, &["in use", "stop"]);
    system.stop().await;
    for by in ["0", "9007199254740992"] {
        let refused = tool(&file.url(FIRST), "advance-head").flag("--by", by).run().await;
        says(&refused, 1, &[&format!("--by = {by}"), "at a time"]);
    }

    let mut system = server.system(FIRST).await;
    assert_eq!(send(&system, created("first")).await, "applied");
    let moved = told(tool(&server.url(FIRST), "advance-head")).await;
    let (from, to) = (position(&moved["position_before"]), position(&moved["position_after"]));
    assert_eq!(to - from, 1 << 40);
    assert_eq!(send(&system, created("second")).await, "applied", "beside a running service");
    let second = system.api().booking("default", "second").await.unwrap();
    assert!(second.position.as_str() > moved["position_after"].as_str().unwrap());
    system.stop().await;
}

fn position(token: &serde_json::Value) -> i64 {
    i64::from_str_radix(token.as_str().unwrap(), 16).unwrap()
}

/// A `pg_dump` that notes its arguments and then is the real one.
fn noting(folder: &std::path::Path) -> std::path::PathBuf {
    let (script, real) = (folder.join("pg_dump"), postgres::program("pg_dump"));
    let text = format!("#!/bin/sh\necho \"$@\" >>'{}/noted'\nexec '{}' \"$@\"\n", folder.display(), real.display());
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    script
}

#[tokio::test]
async fn pg_dump_is_told_no_password_in_an_argument_and_is_stopped_cleanly() {
    let [_, kind] = Kind::both();
    let mut system = kind.system(FIRST).await;
    assert_eq!(send(&system, created("first")).await, "applied");
    let (tools, folder) = (tempfile::TempDir::new().unwrap(), tempfile::TempDir::new().unwrap());
    let program = noting(tools.path());
    let url = kind.url(FIRST).replace("postgres@", "postgres:a-secret-word@");
    let backup = |to: &str| tool(&url, "backup").flag("--to", folder.path().join(to)).flag("--pg-dump", &program);
    assert!(told(backup("first")).await["bytes"].as_u64().unwrap() > 0);
    let noted = fs::read_to_string(tools.path().join("noted")).unwrap();
    assert!(noted.contains("--format=custom") && noted.contains("--snapshot="), "{noted}");
    assert!(!noted.contains("a-secret-word") && !noted.contains("postgres://"), "{noted}");

    // It waits for a table that somebody has locked whole.
    let Kind::Postgres(server) = &kind else { panic!("a server") };
    let mut locker = std::process::Command::new(postgres::program("psql"));
    locker.args(["-X", "-q", "-c", "BEGIN; LOCK TABLE bodies; SELECT pg_sleep(60)", &server.url()]);
    let mut locker = locker.stdout(std::process::Stdio::null()).spawn().unwrap();
    let holds = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted
        AND relation = 'bodies'::regclass";
    wait::until("the table is locked", || std::future::ready((server.query(holds) == "1").then_some(()))).await;
    let mut waiting = backup("second").spawn();
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'bodies'::regclass";
    wait::until("pg_dump waits", || std::future::ready((server.query(waits) != "0").then_some(()))).await;
    waiting.terminate();
    assert_eq!(waiting.exit().await.code(), Some(1));
    wait::until("pg_dump is gone", || std::future::ready((server.query(waits) == "0").then_some(()))).await;
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left of the second");
    locker.kill().unwrap();
    locker.wait().unwrap();

    let broken = tool(&url, "backup").flag("--to", folder.path().join("third")).flag("--pg-dump", "/no/pg_dump");
    let broken = broken.run().await;
    says(&broken, 1, &["/no/pg_dump", "--pg-dump"]);
    assert!(!broken.stderr.contains("a-secret-word"));
    system.stop().await;
}
