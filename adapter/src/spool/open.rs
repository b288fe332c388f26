//! Opening the spool: the directory is locked, what an earlier process left in it is found, and the writer begins.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize},
    },
};

use calbridge_process::crash::{self, Point};
use tracing::{error, info, warn};

use super::{
    Inner, Opening, Shared, Spool,
    backlog::{Backlog, Entry},
    disk::Disk,
    writer::Writer,
};
use crate::segment::{
    self, End, Found,
    record::{NoSegment, SEGMENT_HEAD_BYTES},
};

/// Why there is no spool.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another process has it.
    #[error(
        "--spool-dir = {}: another calbridge has this spool (does it run already?); give each process a directory of \
         its own, or say --spool-dir none",
        directory.display()
    )]
    Taken {
        /// The directory.
        directory: PathBuf,
    },
    /// The file system says no.
    #[error(
        "--spool-dir = {}: {why}; name a directory that this process may write to, or say --spool-dir none",
        directory.display()
    )]
    Unusable {
        /// The directory.
        directory: PathBuf,
        /// What it says.
        why: io::Error,
    },
}

impl Spool {
    /// Opens the spool of a directory, which is made where it is not there.
    pub(crate) fn open(opening: Opening) -> Result<Self, SpoolError> {
        Self::open_on(opening, Disk::REAL)
    }

    /// The same on a disk that a test may have fail, or on the simulation's.
    pub(crate) fn open_on(opening: Opening, disk: Disk) -> Result<Self, SpoolError> {
        let Opening { directory, bounds, check, metrics } = opening;
        let unusable = |why| SpoolError::Unusable { directory: directory.clone(), why };
        segment::make_directory(&directory).map_err(unusable)?;
        let lock = lock(&directory)?;
        let mut backlog = Backlog::default();
        let Recovered { newest, damaged } = recover(&directory, &mut backlog).map_err(unusable)?;
        metrics.spool_damaged(damaged);
        metrics.spool_limit(bounds.bytes);
        crash::at(Point::SpoolRecovered);
        let shared = Arc::new(Shared {
            directory: directory.clone(),
            backlog: std::sync::Mutex::new(backlog),
            changed: tokio::sync::Notify::new(),
            queued: AtomicU64::default(),
            crowd: AtomicUsize::default(),
            crowd_most: AtomicUsize::default(),
            came: AtomicUsize::default(),
            files: std::sync::Mutex::default(),
        });
        let writer = Writer {
            directory: directory.clone(),
            shared: Arc::clone(&shared),
            sync: disk.sync,
            check,
            metrics,
            next: newest + 1,
            current: None,
            spares: None,
            last_sync: None,
            failed_at: None,
        };
        // A directory that can't be written to is found out now, and not by the first webhook.
        writer.try_out().map_err(unusable)?;
        writer.check.ready();
        let commands = disk.begin(writer).map_err(unusable)?;
        let is_aged = std::sync::atomic::AtomicBool::new(false);
        Ok(Self { inner: Arc::new(Inner { shared, commands, disk, bounds, is_aged, _lock: lock }) })
    }
}

fn lock(directory: &Path) -> Result<File, SpoolError> {
    let unusable = |why| SpoolError::Unusable { directory: directory.to_owned(), why };
    let file = segment::open_beside(&directory.join("lock")).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SpoolError::Taken { directory: directory.to_owned() }),
        Err(TryLockError::Error(why)) => Err(unusable(why)),
    }
}

/// What opening the spool of a directory would have sent, in that order: tenant, time and event.
pub(crate) fn recovered(directory: &Path) -> io::Result<Vec<(String, i64, Vec<u8>)>> {
    let mut backlog = Backlog::default();
    recover(directory, &mut backlog)?;
    let mut events = Vec::new();
    while let Some((tenant, entry)) = backlog.take(u64::MAX) {
        let file = File::open(segment::path(directory, entry.segment))?;
        events.extend(super::read(&file, entry)?.map(|event| (tenant.to_string(), entry.time, event.into())));
    }
    Ok(events)
}

/// How a directory was found.
struct Recovered {
    /// The number of the newest segment.
    newest: u64,
    /// Places in segments that are not what was written, and segments that can't be read at all.
    damaged: u64,
}

/// Finds what is not settled.
fn recover(directory: &Path, backlog: &mut Backlog) -> io::Result<Recovered> {
    let numbers = segment::numbers(directory)?;
    let newest = numbers.last().copied().unwrap_or(0);
    let mut damaged = 0;
    for number in &numbers {
        damaged += recover_segment(directory, *number, *number == newest, backlog)?;
    }
    segment::drop_orphans(directory, &numbers)?;
    segment::remove_spare(directory);
    let amount = backlog.amount();
    if amount.records > 0 {
        info!(records = amount.records, bytes = amount.bytes, "the spool has events of before; they are sent now");
    }
    Ok(Recovered { newest, damaged })
}

/// Finds what is not settled of one segment; how many places of it are damaged.
fn recover_segment(directory: &Path, number: u64, is_newest: bool, backlog: &mut Backlog) -> io::Result<u64> {
    let path = segment::path(directory, number);
    let settled = segment::settled(directory, number);
    let (mut found, mut damaged, mut later) = (Vec::new(), 0_u64, 0_u64);
    // Behind the last record that is whole, and what is damaged before it.
    let (mut whole, mut damaged_before) = (SEGMENT_HEAD_BYTES as u64, 0);
    let end = segment::scan(&path, number, |what| match what {
        Found::Record(record, offset, length) => {
            (whole, damaged_before) = (u64::from(offset) + u64::from(length), damaged);
            if !record.is_event() {
                later += 1;
            } else if !settled.contains(&offset) {
                found.push((Arc::from(record.tenant), Entry { segment: number, offset, length, time: record.time }));
            }
        }
        Found::Damaged => damaged += 1,
    });
    let (mut torn, is_readable) = match end {
        Ok(Ok(end)) => (end != End::Whole, true),
        // It was begun and nothing was added to it, or there would be more than zeros behind its head.
        Ok(Err(NoSegment::Torn)) if is_newest && matches!(segment::has_bytes_behind_head(&path), Ok(false)) => {
            segment::remove(directory, number);
            return Ok(0);
        }
        Ok(Err(why)) => {
            warn!(path = %path.display(), ?why, "this file of the spool can't be read; it is left alone");
            return Ok(u64::from(!matches!(why, NoSegment::Later(_))));
        }
        // Another user's: to go on without what was promised would be no start.
        Err(why) if why.kind() == io::ErrorKind::PermissionDenied => return Err(why),
        Err(why) => {
            error!(
                path = %path.display(),
                %why,
                "the disk does not give this file of the spool back; what could be read is sent, and the file is kept"
            );
            (true, false)
        }
    };
    // The newest was being written when its process ended: nobody was answered for what is behind. In one that was full
    // long before, it is damage. So it is where a record follows that is whole: somebody may have been answered for it.
    let is_unfinished = is_newest && is_readable && (torn || damaged > damaged_before);
    if is_unfinished && matches!(segment::may_have_records_behind(&path, number, whole), Ok(false)) {
        let file = OpenOptions::new().write(true).open(&path)?;
        file.set_len(whole)?;
        // Or it would look like damage after a power cut, when it is not the newest any more.
        file.sync_all()?;
        info!(path = %path.display(), "the end of this file was never promised, and is not whole: it is cut");
        (torn, damaged) = (false, damaged_before);
    }
    if damaged > 0 || later > 0 || torn {
        warn!(path = %path.display(), damaged, later, torn, "not all of this file can be read; it is kept");
    }
    let kept = damaged > 0 || later > 0 || torn;
    backlog.segment(number, std::fs::metadata(&path)?.len(), kept);
    for (tenant, entry) in found {
        backlog.add(&tenant, entry);
    }
    if backlog.is_done(number) {
        segment::remove(directory, number);
        backlog.forget(number);
    }
    Ok(damaged + u64::from(torn))
}
