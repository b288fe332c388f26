//! A full disk, as a small file system in memory: of the tables alone, and of the whole server, which dies of it.
//!
//! Making one is root's to do: where nobody is root, these say so and look at nothing.

use std::{fs, io::Write, path::PathBuf, process::Command};

use calbridge_e2e::postgres::{Durability, Postgres, give_to_user};
use tempfile::TempDir;

use super::{REFUSALS, SHAPES, in_flow, recovers, services_say};

/// A file system of its own. It is gone after the test, and so must be whoever uses it.
struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// Nothing where it can't be made, and says so.
    fn make(size: &str) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size},mode=0777"), "tmpfs"]).arg(folder.path());
        match mount.output() {
            Ok(told) if told.status.success() => Some(Self { folder }),
            told => {
                println!("SKIPPED: no small disk can be mounted here: {told:?}");
                None
            }
        }
    }

    fn filler(&self) -> PathBuf {
        self.folder.path().join("filler")
    }

    /// Nothing more goes on it.
    fn fill(&self) {
        let mut filler = fs::File::create(self.filler()).unwrap();
        for size in [1 << 16, 1 << 12] {
            while filler.write_all(&vec![1; size]).is_ok() {}
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that was killed just now may not have let go yet.
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}

#[tokio::test]
async fn tables_without_room_are_said_and_survived() {
    for services in SHAPES {
        let Some(disk) = SmallDisk::make("64m") else { return };
        let postgres = Postgres::start(Durability::Synced);
        let space = disk.folder.path().join("space");
        fs::create_dir(&space).unwrap();
        give_to_user(&space);
        let _ = postgres.query(&format!("CREATE TABLESPACE small LOCATION '{}'", space.display()));
        postgres.set(&[("default_tablespace", "small")]).await;
        let (fleet, load) = in_flow(services, &postgres).await;
        disk.fill();
        load.is_refused(REFUSALS).await;
        let said = fleet.services[0].stderr();
        assert!(said.contains("No space left on device"), "the log says why");
        disk.make_room();
        recovers(fleet, load, &postgres, "tables full").await;
    }
}

#[tokio::test]
async fn a_server_that_dies_of_a_full_disk_loses_nothing_that_was_promised() {
    for services in SHAPES {
        let Some(disk) = SmallDisk::make("160m") else { return };
        let data = TempDir::new_in(disk.folder.path()).unwrap();
        let mut postgres = Postgres::start_in(data, Durability::Synced, &[]);
        let (fleet, load) = in_flow(services, &postgres).await;
        disk.fill();
        // The log needs a new file: without room the server panics, and can't start again by itself.
        let died = postgres.refusal("SELECT pg_switch_wal(); CREATE TABLE last (id INTEGER)");
        println!("the server: {died:?}");
        load.is_refused(REFUSALS).await;
        services_say(&fleet, 503).await;
        postgres.stop_immediately();
        disk.make_room();
        postgres.restart();
        recovers(fleet, load, &postgres, "server full").await;
        drop(postgres);
    }
}
