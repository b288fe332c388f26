//! Room for the next segment.

use std::{os::fd::AsRawFd as _, path::PathBuf, time::Instant};

use super::*;
use crate::{segment::record::SEGMENT_HEAD_BYTES, spool::writer::SEGMENT_BYTES};

/// More than a thread needs to write a few megabytes.
const PATIENCE: Duration = Duration::from_mins(1);
/// Enough of them are in one segment to have room made for the next.
const LARGE_BYTES: usize = 1024 * 1024;

/// Looks until it is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}: not so after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

/// A large record, unlike all others.
fn large(number: usize) -> String {
    format!("{number} {}", "x".repeat(LARGE_BYTES))
}

/// Keeps large records until one of them stands in a segment that had room already; all their texts.
async fn fill(spool: &Spool, directory: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    let end = Instant::now() + PATIENCE;
    loop {
        let text = large(texts.len());
        keep(spool, "acme", &text).await.unwrap();
        texts.push(text);
        let found = segments(directory);
        if found.len() > 1 && length(found.last().unwrap()) == SEGMENT_BYTES {
            return texts;
        }
        assert!(Instant::now() < end, "no segment had room");
    }
}

/// What would be left by a crash now.
fn crashed(directory: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        // Being written, it may go under our hands.
        if path.is_file() && !path.ends_with("spare") {
            fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    copy
}

fn spare(directory: &Path) -> PathBuf {
    directory.join("spare")
}

#[tokio::test]
async fn the_next_segment_has_room_and_all_is_found_after_a_crash() {
    let folder = TempDir::new().unwrap();
    let spool = open(folder.path());
    let mut wanted = fill(&spool, folder.path()).await;
    wanted.push("last".to_owned());
    keep(&spool, "acme", "last").await.unwrap();
    let newest = segments(folder.path()).pop().unwrap();
    assert_eq!(length(&newest), SEGMENT_BYTES, "only its bytes change");

    let copy = crashed(folder.path());
    let again = open(copy.path());
    assert!(texts(&again) == wanted, "what was kept before and behind the change of segments is there, in order");
    let newest = copy.path().join(newest.file_name().unwrap());
    assert!(length(&newest) < SEGMENT_BYTES, "the room behind its last record is given back");
    assert!(texts(&open(crashed(copy.path()).path())) == wanted, "and no damage to the next process");
}

#[tokio::test]
async fn a_process_that_ends_gives_the_room_back() {
    let folder = TempDir::new().unwrap();
    let spool = open(folder.path());
    let wanted = fill(&spool, folder.path()).await;
    let newest = segments(folder.path()).pop().unwrap();
    close(spool);
    until("it ends with its last record", || length(&newest) < SEGMENT_BYTES).await;
    assert!(texts(&open(folder.path())) == wanted);
}

#[tokio::test]
async fn a_spare_of_before_is_taken_away_whatever_became_of_it() {
    let folder = TempDir::new().unwrap();
    let spool = open(folder.path());
    keep(&spool, "acme", "one").await.unwrap();
    close(spool);
    // Its process ended after the head was there, and before it was called a segment;
    let mut begun = segment::record::segment_head(2).to_vec();
    begun.resize(LARGE_BYTES, 0);
    fs::write(spare(folder.path()), &begun).unwrap();
    let spool = open(folder.path());
    assert!(!spare(folder.path()).exists());
    assert_eq!(texts(&spool), ["one"]);
    close(spool);
    // and after that, before anything was in it.
    fs::write(segment::path(folder.path(), 2), &begun).unwrap();
    let spool = open(folder.path());
    assert_eq!(texts(&spool), ["one"]);
    assert_eq!(segments(folder.path()).len(), 1, "nothing is in it, and nothing is damaged");
    keep(&spool, "acme", "two").await.unwrap();
    close(spool);
    assert_eq!(texts(&open(folder.path())), ["one", "two"]);
}

/// How often no room was made.
static REFUSED: AtomicU32 = AtomicU32::new(0);

/// Keeps what is written to segments, and nothing that is made ahead.
fn no_room_ahead(file: &File) -> io::Result<()> {
    let mut first = [0; SEGMENT_HEAD_BYTES];
    // Which of the two it is stands at its beginning; a file to write to has to be opened again to be read.
    let is_probe = file.metadata()?.len() == LARGE_BYTES as u64;
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?.read_exact_at(&mut first, 0)?;
    if first == [0; SEGMENT_HEAD_BYTES] && !is_probe {
        REFUSED.fetch_add(1, Ordering::SeqCst);
        return Err(io::Error::other("told so by the test"));
    }
    Ok(())
}

#[tokio::test]
async fn without_room_ahead_a_segment_grows() {
    let folder = TempDir::new().unwrap();
    let check = Readiness::new().check("spool");
    let disk = Disk { sync: no_room_ahead, ..Disk::REAL };
    let spool = Spool::open_on(opening(folder.path(), BOUNDS, check.clone()), disk).unwrap();
    let mut wanted = Vec::new();
    while segments(folder.path()).len() < 3 {
        let text = large(wanted.len());
        keep(&spool, "acme", &text).await.unwrap();
        wanted.push(text);
    }
    assert!(REFUSED.load(Ordering::SeqCst) > 0);
    assert!(check.is_ready(), "nothing was promised by what failed");
    assert!(texts(&spool) == wanted);
    until("nothing is left of it", || !spare(folder.path()).exists()).await;
}
