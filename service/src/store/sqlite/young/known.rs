//! Which names there may be. Most webhooks are about a booking that is new, and to find no name in a tree of random
//! keys is a walk through memory that nobody has touched for long. A Bloom filter says so at a look.
//!
//! It hears of each name before anything of it is written, and a thread tells it those that the trees have at a start.
//! Until it has heard of all of them it says nothing. What goes away stays in it: a name that it has is looked for.

use std::{
    hash::RandomState,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
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

/// For a store beyond all measure: 256 MiB.
const BITS_MOST: usize = 1 << 31;

/// Bits that a name sets. Each is a look at another place: more would tell more apart and cost more.
const HASHES: u32 = 4;

/// Names that are read at once.
const PAGE: usize = 4_096;

/// Between two pages, at the least: while somebody reads, the log can't begin anew.
const PAUSE: Duration = Duration::from_millis(2);

/// What it has heard of.
#[derive(Debug, Default)]
pub(super) struct Known {
    names: OnceLock<AtomicBloomFilter<RandomState>>,
    is_whole: AtomicBool,
}

/// How far the names have been read: the last one.
#[derive(Debug, Default)]
pub(super) struct Place(pub(super) Option<(String, String)>);

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

    /// Hears of the next names that the trees have; true where those were the last. Those that are young, and those
    /// that come, it hears of as they do.
    ///
    /// # Errors
    ///
    /// Also where the name at the place is there no more. A purge may have taken it; in a damaged file it may be that
    /// what was read there is no name, and whoever went on behind it would pass by others.
    pub(super) fn read(
        &self,
        connection: &Connection,
        Place(place): &mut Place,
        page: usize,
    ) -> Result<bool, StoreError> {
        const PAGE_FROM: &str = "SELECT tenant, uid FROM names
            WHERE (tenant, uid) >= (?1, ?2) ORDER BY tenant, uid LIMIT ?3";
        let mut select = connection.prepare_cached(PAGE_FROM)?;
        let (tenant, uid) = place.clone().unwrap_or_default();
        let mut rows = select.query((tenant, uid, queries::limit(page + 1)))?;
        if let Some(place) = &*place {
            let again = rows.next()?.map(name).transpose()?;
            if again.as_ref() != Some(place) {
                return Err(StoreError::Damaged { what: "name", why: "it was there a moment ago".to_owned() });
            }
        }
        let mut read = 0;
        while let Some(row) = rows.next()? {
            let name = name(row)?;
            self.hear(&name.0, &name.1);
            *place = Some(name);
            read += 1;
        }
        if read >= page {
            return Ok(false);
        }
        self.is_whole.store(true, Ordering::Release);
        Ok(true)
    }
}

fn name(row: &rusqlite::Row<'_>) -> rusqlite::Result<(String, String)> {
    Ok((row.get(0)?, row.get(1)?))
}

/// The thread that reads the names. It ends when it has, or when this is dropped.
#[derive(Debug)]
pub(in crate::store::sqlite) struct NameReader {
    /// Nothing is sent: its end is heard.
    going_on: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl NameReader {
    /// The young are read, and nothing is written since.
    pub(in crate::store::sqlite) fn start(path: PathBuf, young: Arc<Young>) -> std::io::Result<Self> {
        let (going_on, over) = mpsc::channel();
        let work = move || {
            if let Err(error) = read_all(&path, &young.known, &over) {
                debug!(%error, "the names of bookings could not all be read: each is looked for in the file");
            }
        };
        let thread = thread::Builder::new().name("sqlite-names".to_owned()).spawn(work)?;
        Ok(Self { going_on, thread })
    }

    pub(in crate::store::sqlite) fn join(self) {
        drop(self.going_on);
        let _ = self.thread.join();
    }
}

/// Reads all names, for half of the time at the most, unless it is told to end.
fn read_all(path: &Path, known: &Known, over: &mpsc::Receiver<()>) -> Result<(), StoreError> {
    let connection = schema::passing_reader(path)?;
    // All of the tree is read here, which nobody else does: a sector that the disk does not give is to be an error, and
    // in a mapping it would end the process.
    connection.pragma_update(None, "mmap_size", 0)?;
    let mut place = Place::default();
    loop {
        let begun = Instant::now();
        if known.read(&connection, &mut place, PAGE)? {
            return Ok(());
        }
        match over.recv_timeout(begun.elapsed().max(PAUSE)) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}
