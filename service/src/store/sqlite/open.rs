//! How a database is opened, and why it can't be.

use std::path::PathBuf;

use crate::store::StoreError;

/// How a store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// When a commit counts as done.
    pub synchronous: Synchronous,
    /// At how many pages of 4 KiB the file counts as full; unset: when the disk is.
    pub max_pages: Option<u32>,
    /// At how many pages of 4 KiB the write-ahead log is cut though reads must wait for that: those that overlap
    /// without end would have it grow without end.
    pub log_pages: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self { synchronous: Synchronous::Full, max_pages: None, log_pages: LOG_PAGES_MAX }
    }
}

/// 256 MiB.
const LOG_PAGES_MAX: i64 = 65_536;

/// When a commit counts as done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// On stable storage: what was committed outlives a power cut.
    #[default]
    Full,
    /// In the operating system's hands: for tests that commit thousands of rounds, and nothing else.
    Off,
}

/// Why a store can't be opened. Each says how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or the file can't be made, read or written.
    #[error(
        "cannot write to {path}: {why}; make it writable for the user that calbridge runs as, \
        or name another data directory"
    )]
    Unwritable {
        /// What was tried.
        path: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
    /// Another process has it open.
    #[error("{path} is in use by another calbridge process; stop that one, or name another data directory")]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// A program that is not calbridge has it open.
    #[error(
        "{path} is open in another program{}; close that one (a shell, a copying tool, a backup under way) and start \
        again: its idea of the write-ahead log would end up in the file",
        .process.map(|process| format!(" (process {process})")).unwrap_or_default()
    )]
    Shared {
        /// The database.
        path: PathBuf,
        /// Which, where the system tells.
        process: Option<i32>,
    },
    /// What lies beside it undoes a change of another file.
    #[error(
        "{journal} would cut {path} short. Remove it if {path} was restored from a backup, for it is left of the file \
        that was there before; if another program was writing to {path}, open it with that once"
    )]
    Journal {
        /// The database.
        path: PathBuf,
        /// The rollback journal.
        journal: PathBuf,
    },
    /// The log does not fit on the disk a second time.
    #[error(
        "{path} is written a second time before it is believed, and the disk is full; make room for {bytes} bytes \
        beside it"
    )]
    NoRoom {
        /// The write-ahead log.
        path: PathBuf,
        /// How much it is.
        bytes: u64,
    },
    /// A newer release wrote it.
    #[error("{path} has schema version {found}, and this release knows versions up to {known}; run a newer release")]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// A `SQLite` file of something else.
    #[error("{path} is not a calbridge database; name another file")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// `SQLite` refused, or the file is damaged.
    #[error("cannot open {path}: {why}; if the file is damaged, restore it from a backup")]
    Store {
        /// The database.
        path: PathBuf,
        /// What went wrong.
        why: StoreError,
    },
}
