//! Looking into a spool from outside, whoever has it: what waits in it, without a word of anybody's data.

use std::{
    collections::BTreeMap,
    fs::{File, TryLockError},
    io,
    path::Path,
    time::SystemTime,
};

use calbridge_proto::v1::BookingEvent;
use prost::Message as _;

use crate::{
    moment::time_of,
    segment::{
        self, End, Found,
        record::{Record, SEGMENT_HEAD_BYTES},
    },
};

/// An event that waits in a spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpooledEvent {
    /// Whose.
    pub tenant: String,
    /// When the adapter received it.
    pub receive_time: SystemTime,
    /// The request that brought it.
    pub request_id: String,
    /// Cal.com's trigger, as it was sent.
    pub trigger_name: String,
    /// The raw body's size in bytes.
    pub body_bytes: usize,
}

/// What is in a spool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpoolSummary {
    /// Some process has it.
    pub is_taken: bool,
    /// Files.
    pub segments: usize,
    /// Of all files, but for the room that was made ready in the newest.
    pub bytes: u64,
    /// Events that wait, by tenant, and since when the oldest does.
    pub tenants: BTreeMap<String, (usize, SystemTime)>,
    /// Records that are not what was written, or of a later release: their files are kept.
    pub unreadable: usize,
}

/// Tells `each` what waits in the spool of a directory, in the order of its files, and sums it up. Nothing is changed.
///
/// # Errors
///
/// The directory or a file in it can't be read.
pub fn inspect_spool(directory: &Path, mut each: impl FnMut(SpooledEvent)) -> io::Result<SpoolSummary> {
    let mut summary = SpoolSummary { is_taken: is_taken(directory)?, ..SpoolSummary::default() };
    let numbers = segment::numbers(directory)?;
    for &number in &numbers {
        let path = segment::path(directory, number);
        let settled = segment::settled(directory, number);
        let mut whole = SEGMENT_HEAD_BYTES as u64;
        let scanned = segment::scan(&path, number, |found| {
            let Found::Record(record, offset, length) = found else {
                summary.unreadable += 1;
                return;
            };
            whole = u64::from(offset) + u64::from(length);
            if !record.is_event() {
                summary.unreadable += 1;
            } else if !settled.contains(&offset) {
                summary.count(&record);
                each(SpooledEvent::of(&record));
            }
        });
        let is_prepared = numbers.last() == Some(&number) && matches!(scanned, Ok(Ok(End::Torn)));
        match scanned {
            // It has done its service meanwhile.
            Err(why) if why.kind() == io::ErrorKind::NotFound => continue,
            // What is being written just now is not there yet.
            Ok(Ok(End::Whole | End::Torn)) => {}
            Ok(Err(_)) => summary.unreadable += 1,
            Err(why) => return Err(why),
        }
        summary.segments += 1;
        summary.bytes += if is_prepared { whole } else { std::fs::metadata(&path).map_or(0, |file| file.len()) };
    }
    Ok(summary)
}

impl SpoolSummary {
    /// Events that wait.
    #[must_use]
    pub fn events(&self) -> usize {
        self.tenants.values().map(|(count, _)| count).sum()
    }

    fn count(&mut self, record: &Record<'_>) {
        let time = time_of(record.time);
        let (count, oldest) = self.tenants.entry(record.tenant.to_owned()).or_insert((0, time));
        *count += 1;
        *oldest = time.min(*oldest);
    }
}

impl SpooledEvent {
    fn of(record: &Record<'_>) -> Self {
        // Its check is right; what is none to this release is still kept.
        let event = BookingEvent::decode(record.payload).unwrap_or_default();
        Self {
            tenant: record.tenant.to_owned(),
            receive_time: time_of(record.time),
            request_id: event.request_id,
            trigger_name: event.trigger_name,
            body_bytes: event.raw_body.len(),
        }
    }
}

/// Whether an adapter has the spool of this directory.
pub(crate) fn is_taken(directory: &Path) -> io::Result<bool> {
    let file = match File::open(directory.join("lock")) {
        Ok(file) => file,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(why) => return Err(why),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(why)) => Err(why),
    }
}
