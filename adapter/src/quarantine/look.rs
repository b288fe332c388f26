//! Reading a quarantine, whoever writes to it meanwhile: its records, and how much there is of whom.

use std::{collections::BTreeMap, fs::File, io, path::Path, sync::Arc, time::SystemTime};

use prost::Message as _;

use super::webhook::Webhook;
use crate::{
    moment::time_of,
    segment::{self, End, Found, record::Kind},
};

/// What is in a quarantine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuarantineSummary {
    /// Files.
    pub segments: usize,
    /// Of all files, those of settled webhooks included for as long as their file is there.
    pub bytes: u64,
    /// By tenant and by the address that sent them.
    pub webhooks: BTreeMap<(String, String), InQuarantine>,
    /// Records of a later release, files that are not the quarantine's, and files that the disk does not give back.
    pub unreadable: usize,
}

/// What one address sent to one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InQuarantine {
    /// Webhooks that are not settled.
    pub count: usize,
    /// When the first of them was received.
    pub oldest: SystemTime,
    /// And the last.
    pub newest: SystemTime,
}

/// Where one that is not settled stands.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) tenant: Arc<str>,
    /// When it was received, in microseconds since 1970-01-01T00:00:00Z.
    pub(super) time: i64,
    pub(super) segment: u64,
    pub(super) offset: u32,
    pub(super) length: u32,
}

/// What is there of one that was seen before.
pub(super) enum Again {
    There(Webhook),
    /// It has gone, as what is too old does.
    Gone,
    /// The disk does not give it back as it was.
    Unreadable,
}

/// A record that is whole.
pub(super) struct Seen<'a> {
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) tenant: &'a str,
    /// When it was received, in microseconds since 1970-01-01T00:00:00Z.
    pub(super) time: i64,
    /// None where a later release wrote it.
    pub(super) webhook: Option<Webhook>,
}

/// Sums up what is in the quarantine of a directory. Nothing is changed.
///
/// # Errors
///
/// The directory can't be read, or a file in it is another user's.
pub fn inspect_quarantine(directory: &Path) -> io::Result<QuarantineSummary> {
    let mut summary = QuarantineSummary::default();
    let unreadable = each_segment(directory, |number, path| {
        let bytes = path.metadata()?.len();
        summary.segments += 1;
        summary.bytes += bytes;
        let settled = segment::settled(directory, number);
        let is_segment = records(path, number, |seen| match seen.webhook {
            Some(_) if settled.contains(&seen.offset) => {}
            Some(webhook) => summary.count(seen.tenant, webhook.source, time_of(seen.time)),
            None => summary.unreadable += 1,
        })?;
        summary.unreadable += usize::from(!is_segment);
        Ok(())
    })?;
    summary.unreadable += unreadable;
    Ok(summary)
}

impl QuarantineSummary {
    /// Webhooks that are not settled.
    #[must_use]
    pub fn count_all(&self) -> usize {
        self.webhooks.values().map(|webhooks| webhooks.count).sum()
    }

    fn count(&mut self, tenant: &str, source: String, time: SystemTime) {
        let none = InQuarantine { count: 0, oldest: time, newest: time };
        let webhooks = self.webhooks.entry((tenant.to_owned(), source)).or_insert(none);
        webhooks.count += 1;
        webhooks.oldest = webhooks.oldest.min(time);
        webhooks.newest = webhooks.newest.max(time);
    }
}

/// Everything that is not settled, oldest first, and how many files can't be read.
pub(super) fn places(directory: &Path) -> io::Result<(Vec<Place>, usize)> {
    let (mut places, mut last): (Vec<Place>, Option<Arc<str>>) = (Vec::new(), None);
    let unreadable = each_segment(directory, |number, path| {
        let settled = segment::settled(directory, number);
        records(path, number, |Seen { offset, length, tenant, time, webhook }| {
            if webhook.is_none() || settled.contains(&offset) {
                return;
            }
            // Mostly they are many of one tenant's.
            let name = last.take().filter(|last| **last == *tenant).unwrap_or_else(|| tenant.into());
            places.push(Place { tenant: Arc::clone(&name), time, segment: number, offset, length });
            last = Some(name);
        })?;
        Ok(())
    })?;
    Ok((places, unreadable))
}

/// Reads one again.
pub(super) fn read(directory: &Path, place: &Place) -> io::Result<Again> {
    let read = || {
        let file = File::open(segment::path(directory, place.segment))?;
        segment::read(&file, place.segment, place.offset, place.length)
    };
    match read() {
        Ok(payload) => {
            let webhook = payload.and_then(|(_, payload)| Webhook::decode(payload.as_slice()).ok());
            Ok(webhook.map_or(Again::Unreadable, Again::There))
        }
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(Again::Gone),
        Err(why) if why.kind() == io::ErrorKind::PermissionDenied => Err(why),
        Err(_) => Ok(Again::Unreadable),
    }
}

/// Tells `each` of every record that is whole. Whether the file is a segment at all.
pub(super) fn records(path: &Path, number: u64, mut each: impl FnMut(Seen<'_>)) -> io::Result<bool> {
    let scanned = segment::scan(path, number, |found| {
        // A damaged one is as good as gone: nothing was promised.
        let Found::Record(record, offset, length) = found else { return };
        let is_ours = record.kind == Some(Kind::Quarantined);
        let webhook = is_ours.then(|| Webhook::decode(record.payload).ok()).flatten();
        each(Seen { offset, length, tenant: record.tenant, time: record.time, webhook });
    })?;
    // What is being written just now is not there yet.
    Ok(matches!(scanned, Ok(End::Whole | End::Torn)))
}

/// How many of them the disk does not give back: that is no reason to leave out the others.
fn each_segment(directory: &Path, mut each: impl FnMut(u64, &Path) -> io::Result<()>) -> io::Result<usize> {
    let mut unreadable = 0;
    for number in segment::numbers(directory)? {
        match each(number, &segment::path(directory, number)) {
            Ok(()) => {}
            // It has done its service meanwhile.
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            // Another user's: whoever asks can mend that.
            Err(why) if why.kind() == io::ErrorKind::PermissionDenied => return Err(why),
            Err(_) => unreadable += 1,
        }
    }
    Ok(unreadable)
}
