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
    /// Records of a later release, and files that are not the quarantine's.
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
/// The directory or a file in it can't be read.
pub fn inspect_quarantine(directory: &Path) -> io::Result<QuarantineSummary> {
    let mut summary = QuarantineSummary::default();
    each_segment(directory, |number, path| {
        let settled = segment::settled(directory, number);
        let is_segment = records(path, number, |seen| match seen.webhook {
            Some(_) if settled.contains(&seen.offset) => {}
            Some(webhook) => summary.count(seen.tenant, webhook.source, time_of(seen.time)),
            None => summary.unreadable += 1,
        })?;
        summary.unreadable += usize::from(!is_segment);
        summary.segments += 1;
        summary.bytes += path.metadata().map_or(0, |file| file.len());
        Ok(())
    })?;
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

/// Everything that is not settled, oldest first.
pub(super) fn places(directory: &Path) -> io::Result<Vec<Place>> {
    let (mut places, mut last): (Vec<Place>, Option<Arc<str>>) = (Vec::new(), None);
    each_segment(directory, |number, path| {
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
    Ok(places)
}

/// Reads one again; nothing where it has gone, as what is too old does.
pub(super) fn read(directory: &Path, place: &Place) -> io::Result<Option<Webhook>> {
    let file = match File::open(segment::path(directory, place.segment)) {
        Ok(file) => file,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(why),
    };
    let payload = segment::read(&file, place.segment, place.offset, place.length)?;
    Ok(payload.and_then(|(_, payload)| Webhook::decode(payload.as_slice()).ok()))
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

fn each_segment(directory: &Path, mut each: impl FnMut(u64, &Path) -> io::Result<()>) -> io::Result<()> {
    for number in segment::numbers(directory)? {
        match each(number, &segment::path(directory, number)) {
            // It has done its service meanwhile.
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}
