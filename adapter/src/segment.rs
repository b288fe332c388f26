//! Segments as files, of the spool and of the quarantine: how one is begun, added to, read and gone. Only who runs the
//! adapter may read them: people's data stands in them as it came.
//!
//! Invariant: what [`Segment::sync`] has answered for is on stable storage, name and all. A segment whose sync failed
//! is never added to again: what the system still holds of it is not known.

pub(crate) mod record;

use std::{
    collections::HashSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufReader, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, fchown},
    path::{Path, PathBuf},
};

use calbridge_process::crash::{self, Point};

use self::record::{Head, Kind, NoSegment, RECORD_HEAD_BYTES, Record, SEGMENT_HEAD_BYTES};

/// How the disk is told to keep what was written. Tests put a disk that fails in its place.
pub(crate) type Sync = fn(&File) -> io::Result<()>;

/// A directory of segments is its owner's alone.
const DIRECTORY_MODE: u32 = 0o700;
/// And so is each file in it.
const FILE_MODE: u32 = 0o600;
/// Says that a record is settled: its offset.
const MARK_BYTES: u64 = 4;
/// So much of a spare is written at once.
const SPARE_STEP_BYTES: usize = 256 * 1024;
/// So much is looked through at once for a record behind a tear.
const BEHIND_STEP_BYTES: usize = 256 * 1024;
/// And so many bytes at the most are checked of what looks like one: bytes that somebody made up could go on for ever.
const BEHIND_CHECKED_MOST: u64 = 256 * 1024 * 1024;
/// The greatest number of a segment. Counting does not come here; with a file that somebody named so it would end.
const NUMBER_MOST: u64 = u64::MAX / 2;

/// The file that is added to.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    file: File,
    /// Up to here it is whole; behind it nothing is promised.
    length: u64,
    /// Behind it stands room that was made ready.
    pub(crate) is_prepared: bool,
    sync: Sync,
}

/// One thing that stands in a segment.
pub(crate) enum Found<'a> {
    /// A record, where, and how long it is as a whole.
    Record(Record<'a>, u32, u32),
    /// A record whose body is not what was written.
    Damaged,
}

/// How a segment ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With its last record.
    Whole,
    /// With something that was not written to its end.
    Torn,
}

impl Segment {
    /// Begins the segment of this number, and makes its name durable.
    pub(crate) fn create(directory: &Path, number: u64, sync: Sync) -> io::Result<Self> {
        let path = path(directory, number);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&path)?;
        crash::at(Point::SegmentCreated);
        let begun = (|| {
            file.write_all(&record::segment_head(number))?;
            sync(&file)?;
            sync_names(directory)
        })();
        if let Err(why) = begun {
            // A file that nobody knows would only be in the way of the next try.
            let _ = fs::remove_file(&path);
            return Err(why);
        }
        Ok(Self { number, file, length: SEGMENT_HEAD_BYTES as u64, is_prepared: false, sync })
    }

    /// The same in the spare of this directory, which is none any more, whatever comes of it.
    pub(crate) fn create_in(spare: File, directory: &Path, number: u64, sync: Sync) -> io::Result<Self> {
        let path = path(directory, number);
        let begun = (|| {
            // In this order: under its new name it is a segment.
            spare.write_all_at(&record::segment_head(number), 0)?;
            sync(&spare)?;
            crash::at(Point::SegmentCreated);
            fs::rename(spare_path(directory), &path)
        })();
        if let Err(why) = begun {
            remove_spare(directory);
            return Err(why);
        }
        if let Err(why) = sync_names(directory) {
            let _ = fs::remove_file(&path);
            return Err(why);
        }
        Ok(Self { number, file: spare, length: SEGMENT_HEAD_BYTES as u64, is_prepared: true, sync })
    }

    /// Adds encoded records. Where that fails, whatever was written of them is taken back, and the segment is as good
    /// as before.
    pub(crate) fn write(&mut self, records: &[u8]) -> io::Result<()> {
        if let Err(why) = self.file.write_all_at(records, self.length) {
            let _ = self.file.set_len(self.length);
            self.is_prepared = false;
            return Err(why);
        }
        Ok(())
    }

    /// Has what was written kept. After an error the segment is not to be used any more.
    pub(crate) fn sync(&mut self, written: u64) -> io::Result<()> {
        (self.sync)(&self.file)?;
        self.length += written;
        Ok(())
    }

    /// Adds encoded records of which nothing is promised until the file is synced.
    pub(crate) fn add(&mut self, records: &[u8]) -> io::Result<()> {
        self.write(records)?;
        self.length += records.len() as u64;
        Ok(())
    }

    /// The file, for another thread to sync.
    pub(crate) fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// In bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Leaves half of what was written and not synced, as a power cut may.
    pub(crate) fn tear(&self, written: usize) {
        let _ = self.file.set_len(self.length + written as u64 / 2);
    }

    /// Gives back the room behind it: nothing is added any more.
    pub(crate) fn finish(self) {
        if self.is_prepared {
            let _ = self.file.set_len(self.length);
        }
    }

    /// Takes back what a sync that failed did not keep, as far as that can be.
    pub(crate) fn abandon(self) {
        let _ = self.file.set_len(self.length);
    }
}

/// Makes the directory of segments where it is not there, and its name durable: what is in a directory that a power cut
/// takes is gone with it. Above it all stays as it is made by default.
pub(crate) fn make_directory(directory: &Path) -> io::Result<()> {
    let directory = std::path::absolute(directory)?;
    let above = || directory.ancestors().skip(1);
    let missing = above().take_while(|above| !above.exists()).count();
    if let Some(above) = directory.parent() {
        fs::create_dir_all(above)?;
    }
    match DirBuilder::new().mode(DIRECTORY_MODE).create(&directory) {
        Err(_) if directory.is_dir() => {}
        made => made?,
    }
    // Where it was there before, a start that was cut short may have made it.
    above().take(missing + 1).try_for_each(|above| match sync_names(above) {
        // It is closed to us, and then nothing in it was made by us.
        Err(why) if why.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    })
}

/// Has the names in a directory kept. They are no data of the directory's, so that less than all would not do.
fn sync_names(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Opens a file beside the segments to write to, which is made where it is not there. What root made so, with a command
/// of the operator's, becomes the directory's owner's: the adapter must be able to go on with it.
pub(crate) fn open_beside(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(path)?;
    let (made, home) = (file.metadata()?, path.parent().map(fs::metadata).transpose()?);
    if let Some(home) = home.filter(|home| made.uid() == 0 && home.uid() != 0) {
        fchown(&file, Some(home.uid()), Some(home.gid()))?;
    }
    Ok(file)
}

/// Where the segment of this number is.
pub(crate) fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:016x}.segment"))
}

/// Where it stands which records of it are settled: a word of four bytes for each, its offset.
pub(crate) fn settled_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:016x}.settled"))
}

/// What becomes the next segment. No release takes it for one before.
fn spare_path(directory: &Path) -> PathBuf {
    directory.join("spare")
}

/// Writes so many zeros for a segment to come, and has them kept, unless it is over before. One that is there already
/// is left as it is.
pub(crate) fn make_spare(directory: &Path, bytes: u64, sync: Sync, is_over: impl Fn() -> bool) -> io::Result<File> {
    let path = spare_path(directory);
    let mut spare = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&path)?;
    let zeros = vec![0; SPARE_STEP_BYTES];
    let made = (0..bytes.div_ceil(SPARE_STEP_BYTES as u64)).try_for_each(|_| {
        if is_over() {
            return Err(io::Error::from(io::ErrorKind::Interrupted));
        }
        spare.write_all(&zeros)?;
        // Step by step, or whoever waits for the disk meanwhile would wait for all of it.
        sync(&spare)
    });
    match made {
        Ok(()) => Ok(spare),
        Err(why) => {
            remove_spare(directory);
            Err(why)
        }
    }
}

/// Takes away a spare that nobody will use. One that can't be taken away is only in the way of another.
pub(crate) fn remove_spare(directory: &Path) {
    let _ = fs::remove_file(spare_path(directory));
}

/// Takes a segment and what belongs to it away.
pub(crate) fn remove(directory: &Path, number: u64) {
    // In this order: marks without their segment mean nothing, a segment without its marks is sent again.
    let _ = fs::remove_file(path(directory, number));
    crash::at(Point::SegmentRemoved);
    let _ = fs::remove_file(settled_path(directory, number));
}

/// The segments of a directory, by their numbers. A file that is called as no segment is called is none.
pub(crate) fn numbers(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        let found = entry?.path();
        let name = found.file_stem().and_then(|name| u64::from_str_radix(name.to_str()?, 16).ok());
        numbers.extend(name.filter(|number| *number <= NUMBER_MOST && path(directory, *number) == found));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Writes down that these records of a segment are settled.
pub(crate) fn settle(directory: &Path, number: u64, offsets: impl IntoIterator<Item = u32>) -> io::Result<()> {
    let marks: Vec<u8> = offsets.into_iter().flat_map(u32::to_le_bytes).collect();
    let mut file = open_beside(&settled_path(directory, number))?;
    let part = file.metadata()?.len() % MARK_BYTES;
    if part > 0 {
        // The disk was full, or the power went: behind a part of a mark all others would be read askew, and might name
        // records that nobody settled.
        file.set_len(file.metadata()?.len() - part)?;
    }
    file.write_all(&marks)
}

/// Takes marks away whose segments are gone.
pub(crate) fn drop_orphans(directory: &Path, numbers: &[u64]) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| u64::from_str_radix(stem.to_str()?, 16).ok());
        let is_mark = path.extension().is_some_and(|extension| extension == "settled");
        if is_mark && number.is_none_or(|number| !numbers.contains(&number)) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Reads a segment from its beginning, and tells `each` what stands in it.
pub(crate) fn scan(path: &Path, number: u64, mut each: impl FnMut(Found<'_>)) -> io::Result<Result<End, NoSegment>> {
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
        let Head::Record { length, check } = record::head(&bytes, number) else { return Ok(Ok(End::Torn)) };
        bytes.clear();
        if reader.by_ref().take(length as u64).read_to_end(&mut bytes)? < length {
            return Ok(Ok(End::Torn));
        }
        let whole = (RECORD_HEAD_BYTES + length) as u64;
        // A segment is far below what 32 bits hold; a place beyond that is none of ours.
        let (Ok(offset), Ok(whole_length)) = (u32::try_from(at), u32::try_from(whole)) else {
            return Ok(Ok(End::Torn));
        };
        match record::body(&bytes, check) {
            Some(record) => each(Found::Record(record, offset, whole_length)),
            None => each(Found::Damaged),
        }
        at += whole;
    }
}

/// Whether a whole record of this segment stands anywhere behind a place, or may. What was torn while it was written
/// has none behind it, so what has was damaged later. It may be a body that looks like one: nothing more can be read
/// from it.
pub(crate) fn may_have_records_behind(path: &Path, number: u64, place: u64) -> io::Result<bool> {
    let file = File::open(path)?;
    let (mut step, mut at, mut checked) = (vec![0; BEHIND_STEP_BYTES], place, 0);
    loop {
        let bytes = read_up_to(&file, &mut step, at)?;
        for begin in 0..bytes.len().saturating_sub(RECORD_HEAD_BYTES) {
            let Head::Record { length, .. } = record::head(&bytes[begin..], number) else { continue };
            checked += length as u64;
            // A segment is far below what 32 bits hold.
            let (Ok(offset), Ok(whole)) = (u32::try_from(at + begin as u64), u32::try_from(RECORD_HEAD_BYTES + length))
            else {
                return Ok(true);
            };
            match read(&file, number, offset, whole) {
                Ok(None) if checked <= BEHIND_CHECKED_MOST => {}
                Err(why) if why.kind() == io::ErrorKind::UnexpectedEof && checked <= BEHIND_CHECKED_MOST => {}
                Ok(_) => return Ok(true),
                Err(why) => return Err(why),
            }
        }
        if bytes.len() < BEHIND_STEP_BYTES {
            return Ok(false);
        }
        // A head may stand across the end of this step.
        at += (BEHIND_STEP_BYTES - RECORD_HEAD_BYTES) as u64;
    }
}

/// Whether anything but zeros stands behind the head of a segment.
pub(crate) fn has_bytes_behind_head(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    let (mut step, mut at) = (vec![0; BEHIND_STEP_BYTES], SEGMENT_HEAD_BYTES as u64);
    loop {
        let bytes = read_up_to(&file, &mut step, at)?;
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(true);
        }
        if bytes.len() < BEHIND_STEP_BYTES {
            return Ok(false);
        }
        at += bytes.len() as u64;
    }
}

/// What stands at a place, fewer bytes only at the end of the file.
fn read_up_to<'a>(file: &File, into: &'a mut [u8], place: u64) -> io::Result<&'a [u8]> {
    let mut filled = 0;
    while filled < into.len() {
        match file.read_at(&mut into[filled..], place + filled as u64) {
            Ok(0) => break,
            Ok(bytes) => filled += bytes,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
    }
    Ok(&into[..filled])
}

/// The offsets of the records that are settled.
pub(crate) fn settled(directory: &Path, number: u64) -> HashSet<u32> {
    // Without it they are all sent again.
    let marks = fs::read(settled_path(directory, number)).unwrap_or_default();
    marks.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
}

/// The kind and the payload of one record; none where it is not what was written.
pub(crate) fn read(file: &File, number: u64, offset: u32, length: u32) -> io::Result<Option<(Option<Kind>, Vec<u8>)>> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut bytes, u64::from(offset))?;
    let Head::Record { check, .. } = record::head(&bytes, number) else { return Ok(None) };
    let found = record::body(bytes.get(RECORD_HEAD_BYTES..).unwrap_or_default(), check);
    let Some((kind, payload)) = found.map(|record| (record.kind, record.payload.len())) else { return Ok(None) };
    // What stands before the payload is a few bytes: moving it out costs less than a second buffer.
    bytes.drain(..bytes.len() - payload);
    Ok(Some((kind, bytes)))
}
