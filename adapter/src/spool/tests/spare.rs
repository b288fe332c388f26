//! Room for the next segment.

use std::{os::fd::AsRawFd as _, path::PathBuf, time::Instant};

use calbridge_e2e::wait::{self, PATIENCE};

use super::*;
use crate::{segment::record::SEGMENT_HEAD_BYTES, spool::writer::SEGMENT_BYTES};

/// Enough of them are in one segment to have room made for the next.
const LARGE_BYTES: usize = 1024 * 1024;

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

/// On a disk that keeps things so.
fn open_with(directory: &Path, sync: segment::Sync) -> (Spool, Check) {
    let check = Readiness::new().check("spool");
    let disk = Disk { sync, ..Disk::REAL };
    (Spool::open_on(opening(directory, BOUNDS, check.clone()), disk).unwrap(), check)
}

/// Keeps large records, each unlike the others, until there are enough; all their texts.
async fn keep_large(spool: &Spool, are_enough: impl Fn(usize) -> bool) -> Vec<String> {
    keep_more(spool, Vec::new(), are_enough).await
}

/// Behind those that are kept.
async fn keep_more(spool: &Spool, mut texts: Vec<String>, are_enough: impl Fn(usize) -> bool) -> Vec<String> {
    let end = Instant::now() + PATIENCE;
    while !are_enough(texts.len()) {
        assert!(Instant::now() < end, "{} were not enough after {PATIENCE:?}", texts.len());
        let text = format!("{} {}", texts.len(), "x".repeat(LARGE_BYTES));
        keep(spool, "acme", &text).await.unwrap();
        texts.push(text);
    }
    texts
}

/// Keeps records until one of them stands in a segment that had room already.
async fn fill(spool: &Spool, directory: &Path) -> Vec<String> {
    let is_in_room = |found: &[PathBuf]| found.len() > 1 && length(&found[found.len() - 1]) == SEGMENT_BYTES;
    keep_large(spool, |_| is_in_room(&segments(directory))).await
}

/// Keeps records until there is a spare, which is not in use yet.
async fn with_spare(spool: &Spool, directory: &Path) -> Vec<String> {
    let mut texts = keep_large(spool, |kept| kept == 5).await;
    if segments(directory).len() > 1 {
        // It was there at once, and the last of them went into it: as many more have another made, which it is not left
        // for.
        texts = keep_more(spool, texts, |kept| kept == 10).await;
    }
    wait::holds("there is a spare", async || length(&spare(directory)) == SEGMENT_BYTES).await;
    texts
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
    assert!(length(&newest) < SEGMENT_BYTES, "it ends with its last record");
    assert!(!spare(folder.path()).exists(), "nor is any left for a segment that will not come");
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
    let (spool, check) = open_with(folder.path(), no_room_ahead);
    let wanted = keep_large(&spool, |_| segments(folder.path()).len() == 3).await;
    let refused = REFUSED.load(Ordering::SeqCst);
    assert!((1..3).contains(&refused), "it was asked for once in each segment that was left, and not {refused} times");
    assert!(check.is_ready(), "nothing was promised by what failed");
    assert!(texts(&spool) == wanted);
    wait::holds("nothing is left of it", async || !spare(folder.path()).exists()).await;
}

#[tokio::test]
async fn a_spare_that_somebody_took_away_costs_nothing() {
    let folder = TempDir::new().unwrap();
    let check = Readiness::new().check("spool");
    let spool = Spool::open(opening(folder.path(), BOUNDS, check.clone())).unwrap();
    let mut wanted = with_spare(&spool, folder.path()).await;
    fs::remove_file(spare(folder.path())).unwrap();
    let first = segments(folder.path());
    while segments(folder.path()) == first {
        keep(&spool, "acme", "next").await.unwrap();
        wanted.push("next".to_owned());
    }
    assert!(check.is_ready());
    assert!(texts(&spool) == wanted);
}

static IS_FULL: AtomicBool = AtomicBool::new(false);

fn full_sync(_: &File) -> io::Result<()> {
    if IS_FULL.load(Ordering::SeqCst) { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) }
}

#[tokio::test]
async fn a_full_disk_has_the_room_back() {
    let folder = TempDir::new().unwrap();
    let (spool, check) = open_with(folder.path(), full_sync);
    let mut wanted = with_spare(&spool, folder.path()).await;
    IS_FULL.store(true, Ordering::SeqCst);
    assert!(keep(&spool, "acme", "too much").await.is_err());
    wait::holds("the room is given back", async || !spare(folder.path()).exists()).await;
    assert!(!check.is_ready());
    IS_FULL.store(false, Ordering::SeqCst);
    wait::holds("the disk works again", async || check.is_ready()).await;
    keep(&spool, "acme", "after").await.unwrap();
    wanted.push("after".to_owned());
    assert!(texts(&spool) == wanted);
}

/// What each sync was for: whether a head was there, and the file's name.
static SYNCED: Mutex<Vec<(bool, String)>> = Mutex::new(Vec::new());

fn watched_sync(file: &File) -> io::Result<()> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let mut first = [0; SEGMENT_HEAD_BYTES];
    File::open(&path)?.read_exact_at(&mut first, 0)?;
    let name = fs::read_link(&path)?.file_name().unwrap().to_string_lossy().into_owned();
    SYNCED.lock().unwrap().push((first == segment::record::segment_head(7), name));
    Ok(())
}

#[test]
fn a_spare_is_called_a_segment_once_its_head_is_kept() {
    let folder = TempDir::new().unwrap();
    let made = segment::make_spare(folder.path(), 1, watched_sync, || false).unwrap();
    assert_eq!(fs::metadata(spare(folder.path())).unwrap().permissions().mode() & 0o777, 0o600, "its owner's alone");
    SYNCED.lock().unwrap().clear();
    segment::Segment::create_in(made, folder.path(), 7, watched_sync).unwrap();
    assert_eq!(*SYNCED.lock().unwrap(), [(true, "spare".to_owned())]);
    assert_eq!(segment::numbers(folder.path()).unwrap(), [7]);
}

#[tokio::test]
async fn room_that_is_made_ready_is_not_told_as_used() {
    let folder = TempDir::new().unwrap();
    let spool = open(folder.path());
    fill(&spool, folder.path()).await;
    assert_eq!(inspect_spool(folder.path(), |_| {}).unwrap().bytes, spool.amount().bytes);
}
