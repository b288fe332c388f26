//! `calbridge store` on both stores, beside running programs: backups under load and what is restored from them,
//! numbers, and room given back.

mod others;
mod refusals;
mod restore;

use std::path::{Path, PathBuf};

use calbridge_calcom::golden::{self, Golden};
use calbridge_e2e::{
    postgres::{Durability, FIRST, Postgres},
    program::{Ended, Start},
    system::{Plan, SECRET, System, TENANT},
    v1::Trigger,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Where a system keeps its bookings, and where a second one finds what was restored.
enum Kind {
    Sqlite(TempDir),
    Postgres(Box<Postgres>),
}

impl Kind {
    fn both() -> [Self; 2] {
        [Self::Sqlite(TempDir::new().unwrap()), Self::Postgres(Box::new(Postgres::start(Durability::Unsynced)))]
    }

    /// `--database-url` of the store that is worked on, or of another one beside it.
    fn url(&self, database: &str) -> String {
        match self {
            Self::Sqlite(_) => format!("sqlite://{}", self.file(database).display()),
            Self::Postgres(server) => server.url_of(database),
        }
    }

    fn file(&self, database: &str) -> PathBuf {
        let Self::Sqlite(folder) = self else { panic!("a server has no file") };
        folder.path().join(database).join("calbridge.db")
    }

    async fn system(&self, database: &str) -> System {
        Plan::new().returning().service("--database-url", self.url(database)).start().await
    }
}

/// `calbridge store …` on a database.
fn tool(url: &str, command: &str) -> Start {
    Start::new("calbridge").arg("store").arg(command).flag("--database-url", url)
}

/// What it prints as JSON.
async fn told(tool: Start) -> Value {
    let Ended { code, stdout, stderr } = tool.flag("--output", "json").run().await;
    assert_eq!(code, Some(0), "{stderr}");
    serde_json::from_str(&stdout).unwrap()
}

async fn back_up(url: &str, to: &Path) -> Value {
    told(tool(url, "backup").flag("--to", to)).await
}

fn golden(uid: &str, second: i64) -> Golden {
    let at = |second| Timestamp::from_second(second).unwrap();
    Golden::new(uid, 9_001, at(1_790_000_000 + second), at(1_790_090_000))
}

fn created(uid: &str) -> Vec<u8> {
    golden::body(Trigger::BookingCreated, &golden(uid, 0))
}

fn cancelled(uid: &str) -> Vec<u8> {
    golden::body(Trigger::BookingCancelled, &golden(uid, 60))
}

async fn send(system: &System, body: Vec<u8>) -> String {
    system.sender().send(TENANT, SECRET, body).await.outcome()
}

#[tokio::test]
async fn numbers_are_told_beside_a_running_service_and_name_nobody() {
    for kind in Kind::both() {
        let mut system = kind.system(FIRST).await;
        for uid in ["first", "second", "third"] {
            assert_eq!(send(&system, created(uid)).await, "applied");
        }
        assert_eq!(send(&system, created("third")).await, "duplicate");
        assert_eq!(send(&system, cancelled("third")).await, "applied");
        assert_eq!(send(&system, b"false".to_vec()).await, "unparsed");

        let stats = told(tool(&kind.url(FIRST), "stats")).await;
        let exact = |rows: u64| json!({ "rows": rows, "precision": "exact" });
        for (name, rows) in
            [("deliveries", 5), ("bodies", 5), ("bookings_shown", 3), ("bookings_hidden", 0), ("transitions", 4)]
        {
            assert_eq!(stats["counts"][name], exact(rows), "{name} of {stats}");
        }
        assert_eq!(stats["counts"]["duplicates"], exact(1));
        assert_eq!(stats["counts"]["mentions"], exact(5));
        assert_eq!(stats["position"].as_str().unwrap().len(), 16);
        assert!(stats["schema_version"].as_i64().unwrap() >= 1);
        assert!(stats["bytes_per_delivery"].as_u64().unwrap() > 0);
        let newest: Timestamp = stats["newest_delivery"].as_str().unwrap().parse().unwrap();
        assert!(stats["oldest_delivery"].as_str().unwrap().parse::<Timestamp>().unwrap() <= newest);
        let parts = stats["parts"].as_array().unwrap();
        let of_deliveries = parts.iter().filter(|part| part["table"] == "deliveries");
        assert!(of_deliveries.clone().count() > 2, "the table and its indexes: {stats}");
        assert!(of_deliveries.map(|part| part["bytes"].as_u64().unwrap()).sum::<u64>() > 0);

        let counted = told(tool(&kind.url(FIRST), "stats").arg("--exact")).await;
        assert_eq!(counted["counts"], stats["counts"]);
        let shown = tool(&kind.url(FIRST), "stats").run().await;
        assert_eq!(shown.code, Some(0), "{}", shown.stderr);
        for private in ["lighthouse.example", "Tomas", "first-talk", "third"] {
            assert!(!shown.stdout.contains(private) && !stats.to_string().contains(private), "{private}");
        }
        assert!(shown.stdout.contains("deliveries"), "{}", shown.stdout);
        system.stop().await;
    }
}

#[tokio::test]
async fn a_vacuum_gives_room_back() {
    let [file, server] = Kind::both();
    let mut system = file.system(FIRST).await;
    for number in 0..100 {
        assert_eq!(send(&system, created(&format!("b{number}"))).await, "applied");
    }
    let refused = tool(&file.url(FIRST), "vacuum").run().await;
    assert_eq!(refused.code, Some(1));
    let path = file.file(FIRST).display().to_string();
    assert!(refused.stderr.contains(&path) && refused.stderr.contains("stop"), "{}", refused.stderr);
    assert_eq!(send(&system, created("still")).await, "applied");
    system.stop().await;

    let database = rusqlite::Connection::open(file.file(FIRST)).unwrap();
    database.execute("DELETE FROM bodies", []).unwrap();
    drop(database);
    assert!(told(tool(&file.url(FIRST), "stats")).await["free_bytes"].as_u64().unwrap() > 0);
    let vacuumed = told(tool(&file.url(FIRST), "vacuum")).await;
    assert!(vacuumed["bytes_after"].as_u64() < vacuumed["bytes_before"].as_u64(), "{vacuumed}");
    assert_eq!(told(tool(&file.url(FIRST), "stats")).await["free_bytes"], 0);
    let mut system = file.system(FIRST).await;
    assert_eq!(system.api().all_bookings(TENANT).await.len(), 101);
    assert_eq!(send(&system, created("still")).await, "duplicate");
    system.stop().await;

    let mut system = server.system(FIRST).await;
    assert_eq!(send(&system, created("first")).await, "applied");
    let vacuumed = told(tool(&server.url(FIRST), "vacuum")).await;
    assert!(vacuumed["bytes_after"].as_u64().unwrap() > 0, "{vacuumed}");
    assert_eq!(send(&system, created("second")).await, "applied", "services go on");
    let Kind::Postgres(postgres) = &server else { panic!("a server") };
    let analyzed = "SELECT count(*) FROM pg_class WHERE relname = 'deliveries' AND reltuples = 1";
    assert_eq!(postgres.query(analyzed), "1", "the planner knows the tables");
    let _ = postgres.query("CREATE ROLE worker LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO worker");
    let url = server.url(FIRST).replacen("://postgres@", "://worker@", 1);
    let refused = tool(&url, "vacuum").run().await;
    assert_eq!(refused.code, Some(1), "the server would only warn");
    let why = "user worker may not vacuum";
    assert!(refused.stderr.contains(why) && refused.stderr.contains("deliveries"), "{}", refused.stderr);
    system.stop().await;
}
