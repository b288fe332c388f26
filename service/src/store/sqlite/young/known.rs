//! Which names there may be. Most webhooks are about a booking that is new, and to find no name in a tree of random
//! keys is a walk through memory that nobody has touched for long. A Bloom filter says so at a look.
//!
//! It hears of each name before anything of it is written, and a thread tells it those that the trees have at a start.
//! Until it has heard of all of them it says nothing. What goes away stays in it: a name that it has is looked for.

use std::{
    hash::RandomState,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use fastbloom::AtomicBloomFilter;
use rusqlite::Connection;
use tracing::debug;

use super::{Number, Young};
use crate::store::{
    StoreError,
    sqlite::{queries, schema},
};

/// For each booking that there is at a start: one new name in four hundred is looked for all the same, and one in forty
/// when as many bookings have come again.
const BITS_EACH: usize = 16;

/// For a start with few: 4 MiB, enough for some millions.
const BITS_LEAST: usize = 1 << 25;

/// For a store beyond all measure: 1 GiB.
const BITS_MOST: usize = 1 << 33;

/// Bits that a name sets. Each is a look at another place: more would tell more apart and cost more.
const HASHES: u32 = 4;

/// Names that are read at once: a read must not keep the log from beginning anew.
const PAGE: usize = 4_096;

/// What it has heard of.
#[derive(Debug, Default)]
pub(super) struct Known {
    names: OnceLock<AtomicBloomFilter<RandomState>>,
    is_whole: AtomicBool,
}

impl Known {
    /// Makes room, once: for a store whose newest booking has this number.
    pub(super) fn prepare(&self, newest: Number) {
        let bookings = usize::try_from(newest).unwrap_or_default();
        let bits = bookings.saturating_mul(BITS_EACH).clamp(BITS_LEAST, BITS_MOST);
        self.names.get_or_init(|| AtomicBloomFilter::with_num_bits(bits).hasher(RandomState::new()).hashes(HASHES));
    }

    pub(super) fn hear(&self, tenant: &str, uid: &str) {
        if let Some(names) = self.names.get() {
            names.insert(&(tenant, uid));
        }
    }

    /// True where there is no such name.
    pub(super) fn lacks(&self, tenant: &str, uid: &str) -> bool {
        let is_whole = self.is_whole.load(Ordering::Acquire);
        is_whole && self.names.get().is_some_and(|names| !names.contains(&(tenant, uid)))
    }

    /// Hears of all names that the trees have. Those that are young, and those that come, it hears of as they do. False
    /// where it was told to stop before.
    pub(super) fn read(&self, connection: &Connection, is_over: impl Fn() -> bool) -> Result<bool, StoreError> {
        const PAGE_OF: &str =
            "SELECT tenant, uid FROM names WHERE (tenant, uid) > (?1, ?2) ORDER BY tenant, uid LIMIT ?3";
        let mut select = connection.prepare(PAGE_OF)?;
        let (mut tenant, mut uid) = (String::new(), String::new());
        while !is_over() {
            let mut rows = select.query((&tenant, &uid, queries::limit(PAGE)))?;
            let mut last = None;
            while let Some(row) = rows.next()? {
                let name: (String, String) = (row.get(0)?, row.get(1)?);
                self.hear(&name.0, &name.1);
                last = Some(name);
            }
            let Some(last) = last else {
                self.is_whole.store(true, Ordering::Release);
                return Ok(true);
            };
            (tenant, uid) = last;
        }
        Ok(false)
    }
}

/// The thread that reads the names. It ends when it has, or is joined.
#[derive(Debug)]
pub(in crate::store::sqlite) struct NameReader {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl NameReader {
    /// The young are read, and nothing is written since.
    pub(in crate::store::sqlite) fn start(path: PathBuf, young: Arc<Young>) -> std::io::Result<Self> {
        let is_over = Arc::<AtomicBool>::default();
        let work = {
            let is_over = Arc::clone(&is_over);
            move || {
                let connection = schema::passing_reader(&path);
                let read = connection.and_then(|open| young.known.read(&open, || is_over.load(Ordering::Relaxed)));
                if let Err(error) = read {
                    debug!(%error, "the names of bookings could not all be read: each is looked for in the file");
                }
            }
        };
        let thread = thread::Builder::new().name("sqlite-names".to_owned()).spawn(work)?;
        Ok(Self { is_over, thread })
    }

    pub(in crate::store::sqlite) fn join(self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
    }
}
