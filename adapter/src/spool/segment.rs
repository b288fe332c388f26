//! Segments as files: how one is begun, added to, read and gone.
//!
//! Invariant: what [`Segment::sync`] has answered for is on stable storage, name and all. A segment whose sync failed
//! is never added to again: what the system still holds of it is not known.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read as _, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use super::record::{self, Head, NoSegment, RECORD_HEAD_BYTES, Record, SEGMENT_HEAD_BYTES};

/// How the disk is told to keep what was written. Tests put a disk that fails in its place.
pub(crate) type Sync = fn(&File) -> io::Result<()>;

/// The greatest number of a segment. Counting does not come here; with a file that somebody named so it would end.
const NUMBER_MOST: u64 = u64::MAX / 2;

/// The file that is added to.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    file: File,
    /// Up to here it is whole; behind it nothing is promised.
    length: u64,
    sync: Sync,
}

/// One thing that stands in a segment.
pub(super) enum Found<'a> {
    /// A record, where, and how long it is as a whole.
    Record(Record<'a>, u32, u32),
    /// A record whose body is not what was written.
    Damaged,
}

/// How a segment ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With its last record.
    Whole,
    /// Behind so many bytes something was not written to its end.
    Torn(u64),
}

impl Segment {
    /// Begins the segment of this number, and makes its name durable.
    pub(super) fn create(directory: &Path, number: u64, sync: Sync) -> io::Result<Self> {
        let path = path(directory, number);
        let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        let begun = (|| {
            file.write_all(&record::segment_head(number))?;
            sync(&file)?;
            sync(&File::open(directory)?)
        })();
        if let Err(why) = begun {
            // A file that nobody knows would only be in the way of the next try.
            let _ = fs::remove_file(&path);
            return Err(why);
        }
        Ok(Self { number, file, length: SEGMENT_HEAD_BYTES as u64, sync })
    }

    /// Adds encoded records. Where that fails, whatever was written of them is taken back, and the segment is as good
    /// as before.
    pub(super) fn write(&mut self, records: &[u8]) -> io::Result<()> {
        if let Err(why) = self.file.write_all_at(records, self.length) {
            let _ = self.file.set_len(self.length);
            return Err(why);
        }
        Ok(())
    }

    /// Has what was written kept. After an error the segment is not to be used any more.
    pub(super) fn sync(&mut self, written: u64) -> io::Result<()> {
        (self.sync)(&self.file)?;
        self.length += written;
        Ok(())
    }

    /// In bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Takes back what a sync that failed did not keep, as far as that can be.
    pub(super) fn abandon(self) {
        let _ = self.file.set_len(self.length);
    }
}

/// Where the segment of this number is.
pub(super) fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:016x}.segment"))
}

/// Where it stands which records of it are settled: a word of four bytes for each, its offset.
pub(super) fn settled_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:016x}.settled"))
}

/// Takes a segment and what belongs to it away.
pub(super) fn remove(directory: &Path, number: u64) {
    // In this order: marks without their segment mean nothing, a segment without its marks is sent again.
    for path in [path(directory, number), settled_path(directory, number)] {
        let _ = fs::remove_file(path);
    }
}

/// The segments of a directory, by their numbers. A file that is called as no segment is called is none.
pub(super) fn numbers(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        let found = entry?.path();
        let name = found.file_stem().and_then(|name| u64::from_str_radix(name.to_str()?, 16).ok());
        numbers.extend(name.filter(|number| *number <= NUMBER_MOST && path(directory, *number) == found));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Reads a segment from its beginning, and tells `each` what stands in it.
pub(super) fn scan(path: &Path, number: u64, mut each: impl FnMut(Found<'_>)) -> io::Result<Result<End, NoSegment>> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(256 * 1024, file);
    let mut head = Vec::with_capacity(SEGMENT_HEAD_BYTES);
    reader.by_ref().take(SEGMENT_HEAD_BYTES as u64).read_to_end(&mut head)?;
    if let Err(why) = record::check_segment(&head, number) {
        return Ok(Err(why));
    }
    let (mut at, mut bytes) = (SEGMENT_HEAD_BYTES as u64, Vec::new());
    loop {
        if at == size {
            return Ok(Ok(End::Whole));
        }
        bytes.clear();
        reader.by_ref().take(RECORD_HEAD_BYTES as u64).read_to_end(&mut bytes)?;
        let Head::Record { length, check } = record::head(&bytes, number) else { return Ok(Ok(End::Torn(at))) };
        bytes.clear();
        if reader.by_ref().take(length as u64).read_to_end(&mut bytes)? < length {
            return Ok(Ok(End::Torn(at)));
        }
        let whole = (RECORD_HEAD_BYTES + length) as u64;
        // A segment is far below what 32 bits hold; a place beyond that is none of ours.
        let (Ok(offset), Ok(whole_length)) = (u32::try_from(at), u32::try_from(whole)) else {
            return Ok(Ok(End::Torn(at)));
        };
        match record::body(&bytes, check) {
            Some(record) => each(Found::Record(record, offset, whole_length)),
            None => each(Found::Damaged),
        }
        at += whole;
    }
}

/// The offsets of the records that are settled.
pub(super) fn settled(directory: &Path, number: u64) -> HashSet<u32> {
    // Without it they are all sent again.
    let marks = fs::read(settled_path(directory, number)).unwrap_or_default();
    marks.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
}

/// The payload of one record; none where it is not what was written.
pub(super) fn read(file: &File, number: u64, offset: u32, length: u32) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut bytes, u64::from(offset))?;
    let Head::Record { check, .. } = record::head(&bytes, number) else { return Ok(None) };
    let found = record::body(bytes.get(RECORD_HEAD_BYTES..).unwrap_or_default(), check);
    let Some(payload) = found.map(|record| record.payload.len()) else { return Ok(None) };
    // What stands before the payload is a few bytes: moving it out costs less than a second buffer.
    bytes.drain(..bytes.len() - payload);
    Ok(Some(bytes))
}
