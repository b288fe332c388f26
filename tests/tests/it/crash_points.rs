//! A crash at every point where something becomes durable, or somebody is told that it is: points × stores × Redis.
//!
//! In each cell the built programs take lives of bookings in; one of them kills itself at the point, is started again,
//! and goes on. Afterwards what was promised is in the store once, nothing is there that was not sent, the bookings are
//! what they are where nothing crashes, and readers have seen the log without a gap.

mod cell;
mod plan;
mod purge;
mod readers;
mod stream;
mod truth;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use calbridge_e2e::{
    port,
    postgres::{Durability, Postgres},
    program::{self, Start},
    redis_server::RedisServer,
};
use calbridge_process::crash::{Point, VARIABLE};

use self::{cell::Cell, plan::Redis};

/// Cells side by side: most of its time one waits, for programs to start and for pauses to end.
const AT_ONCE: usize = 4;
/// Runs those cells alone whose point has this in its name.
const ONLY: &str = "CALBRIDGE_CRASH_ONLY";
/// The database of `PostgreSQL` that those of the cells are copied from.
const TEMPLATE: &str = "template_of_cells";

/// What the cells of one table share: each has a database, or a folder, and keys of its own.
struct Servers {
    /// None: `SQLite`.
    postgres: Option<Postgres>,
    redis: RedisServer,
}

impl Servers {
    fn sqlite() -> Self {
        Self { postgres: None, redis: RedisServer::start() }
    }

    fn postgres() -> Self {
        let postgres = Postgres::start(Durability::Unsynced);
        let _ = postgres.query(&format!("CREATE DATABASE {TEMPLATE}"));
        let folder = tempfile::TempDir::new().unwrap();
        let mut service = Start::new("calbridge-service")
            .flag("--grpc", "127.0.0.1:0")
            .flag("--admin", "127.0.0.1:0")
            .flag("--data-dir", folder.path())
            .flag("--database-url", postgres.url_of(TEMPLATE))
            .serve();
        service.kill();
        Self { postgres: Some(postgres), redis: RedisServer::start() }
    }

    /// The URL of a new database with the schema; none where the store is a file.
    fn database(&self, name: &str) -> Option<String> {
        let postgres = self.postgres.as_ref()?;
        let _ = postgres.query(&format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}"));
        Some(postgres.url_of(name))
    }

    fn redis(&self, redis: Redis) -> Option<String> {
        match redis {
            Redis::Absent => None,
            Redis::There => Some(self.redis.url()),
            Redis::Dead => Some(format!("redis://127.0.0.1:{}", port::free())),
        }
    }
}

/// How each cell came out.
type Table = BTreeMap<(Point, Redis), Outcome>;

#[derive(Debug, Clone, Copy)]
struct Outcome {
    survived: bool,
    took: Duration,
}

/// Runs all cells of one store, and prints how each came out.
fn survive_all(store: &str, servers: &Servers) {
    if !cfg!(debug_assertions) {
        println!("release programs have no crash points");
        return;
    }
    let began = Instant::now();
    let only = std::env::var_os(ONLY).map(|only| only.into_string().unwrap()).unwrap_or_default();
    let cells = Cell::all(servers.postgres.is_none()).into_iter().filter(|cell| cell.point.name().contains(&only));
    let (waiting, table) = (Mutex::new(cells.collect::<VecDeque<_>>()), Mutex::new(Table::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(cell) = take(&waiting) {
                    let began = Instant::now();
                    // A panic says what is wrong; the other cells go on.
                    let survived = catch_unwind(AssertUnwindSafe(|| run(cell, servers))).is_ok();
                    if !survived {
                        eprintln!("--- that was {cell:?} on {store}");
                    }
                    let outcome = Outcome { survived, took: began.elapsed() };
                    table.lock().unwrap().insert((cell.point, cell.redis), outcome);
                }
            });
        }
    });
    let table = table.into_inner().unwrap();
    println!("{}", shown(store, &table));
    let slowest = table.iter().max_by_key(|(_, outcome)| outcome.took);
    println!("{} cells in {:.1?}; the slowest was {slowest:?}", table.len(), began.elapsed());
    let failed: Vec<_> = table.iter().filter(|(_, outcome)| !outcome.survived).map(|(key, _)| key).collect();
    assert!(failed.is_empty(), "on {store} these were not survived: {failed:?}");
}

fn take(waiting: &Mutex<VecDeque<Cell>>) -> Option<Cell> {
    waiting.lock().unwrap().pop_front()
}

fn run(cell: Cell, servers: &Servers) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(cell.run(servers));
}

fn shown(store: &str, table: &Table) -> String {
    let mut text = format!("{store:<22}");
    for redis in Redis::ALL {
        write!(text, "{:<16}", redis.name()).unwrap();
    }
    for point in Point::ALL {
        write!(text, "\n{:<22}", point.name()).unwrap();
        for redis in Redis::ALL {
            let cell = match table.get(&(*point, redis)) {
                Some(Outcome { survived: true, .. }) => "ok",
                Some(_) => "NOT SURVIVED",
                None => "-",
            };
            write!(text, "{cell:<16}").unwrap();
        }
    }
    text
}

#[test]
fn a_crash_at_every_point_is_survived_on_sqlite() {
    survive_all("SQLite", &Servers::sqlite());
}

#[test]
fn a_crash_at_every_point_is_survived_on_postgres() {
    survive_all("PostgreSQL", &Servers::postgres());
}

/// A point that nobody tests is worth nothing.
#[test]
fn every_point_is_in_the_table() {
    let is_met = |point: &Point| Cell::all(true).iter().chain(&Cell::all(false)).any(|cell| cell.point == *point);
    let unmet: Vec<_> = Point::ALL.iter().filter(|point| !is_met(point)).collect();
    assert!(unmet.is_empty(), "{unmet:?}");
}

/// A debug program reads the variable; a release program, where this runs with one, has not even its name.
#[test]
fn only_debug_programs_can_be_made_to_crash() {
    for name in ["calbridge", "calbridge-adapter", "calbridge-service"] {
        let program = fs::read(program::path(name)).unwrap();
        let knows = program.windows(VARIABLE.len()).any(|bytes| bytes == VARIABLE.as_bytes());
        assert_eq!(knows, cfg!(debug_assertions), "{name}");
    }
}
