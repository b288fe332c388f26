mod compaction;
mod damage;
mod spare;

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::Path,
    sync::atomic::AtomicU32,
};

use calbridge_proto::v1::BookingEvent;
use calbridge_telemetry::Readiness;
use futures_util::{FutureExt as _, StreamExt as _};
use proptest::prelude::*;
use prost::Message as _;
use tempfile::TempDir;

use super::*;

const BOUNDS: Bounds = Bounds { bytes: 1 << 30, age: Duration::from_mins(1) };

fn opening(directory: &Path, bounds: Bounds, check: Check) -> Opening {
    Opening { directory: directory.to_owned(), bounds, check, metrics: Arc::new(Metrics::new()) }
}

fn open(directory: &Path) -> Spool {
    let check = Readiness::new().check("spool");
    let spool = Spool::open(opening(directory, BOUNDS, check.clone())).unwrap();
    assert!(check.is_ready());
    spool
}

async fn keep(spool: &Spool, tenant: &str, text: &str) -> Result<Option<Kept>, Refused> {
    spool.keep(tenant, 5, Kind::Event, Bytes::from(text.to_owned()), false).await
}

/// Everything that is in it, in the order in which it would be sent.
fn drain(spool: &Spool) -> Vec<(Entry, String)> {
    spool
        .take(usize::MAX, u64::MAX)
        .into_iter()
        .map(|entry| (entry, String::from_utf8(spool.inner.shared.read(entry).unwrap().unwrap().into()).unwrap()))
        .collect()
}

fn texts(spool: &Spool) -> Vec<String> {
    drain(spool).into_iter().map(|(_, text)| text).collect()
}

/// Lets the last handle go, and with it the threads and the lock.
fn close(spool: Spool) {
    assert_eq!(Arc::strong_count(&spool.inner), 1, "somebody has it");
    drop(spool);
}

fn segments(directory: &Path) -> Vec<std::path::PathBuf> {
    segment::numbers(directory).unwrap().into_iter().map(|number| segment::path(directory, number)).collect()
}

#[tokio::test]
async fn what_is_kept_is_found_by_the_next_process_until_it_is_settled() {
    let folder = TempDir::new().unwrap();
    let spool = open(folder.path());
    for text in ["one", "two", "three"] {
        keep(&spool, "acme", text).await.unwrap();
    }
    let taken = drain(&spool);
    assert_eq!(taken.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), ["one", "two", "three"]);
    assert!(spool.take(1, u64::MAX).is_empty(), "it is on its way");
    spool.settle(vec![taken[1].0]);
    // What the writer has heard before is written down.
    keep(&spool, "acme", "four").await.unwrap();
    close(spool);

    let spool = open(folder.path());
    assert_eq!(texts(&spool), ["one", "three", "four"]);
    assert_eq!(spool.amount().records, 3);
}

/// Between two of those that come together.
const EVERY: Duration = Duration::from_micros(50);

#[tokio::test]
async fn what_comes_together_shares_a_sync() {
    static SYNCS: AtomicU32 = AtomicU32::new(0);
    let folder = TempDir::new().unwrap();
    // Nothing but the writer's own patience lets any of them share one.
    let sync = |_: &File| {
        SYNCS.fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    let check = Readiness::new().check("spool");
    let spool = Spool::open_on(opening(folder.path(), BOUNDS, check), Disk { sync, pace: None }).unwrap();
    keep(&spool, "acme", "first").await.unwrap();
    let before = SYNCS.load(Ordering::Relaxed);
    let (count, began) = (10 * CROWD, std::time::Instant::now());
    let mut kept = futures_util::stream::FuturesUnordered::new();
    for number in 0..count {
        while began.elapsed() < EVERY * u32::try_from(number).unwrap() {
            std::hint::spin_loop();
        }
        kept.push(keep(&spool, "acme", "together"));
        // It is asked for now.
        while let Some(Some(kept)) = kept.next().now_or_never() {
            kept.unwrap();
        }
    }
    while let Some(kept) = kept.next().await {
        kept.unwrap();
    }
    let syncs = u128::from(SYNCS.load(Ordering::Relaxed) - before);
    // Each is of a crowd, or half a millisecond at least from the one before.
    let most = 12 + 2 * (began.elapsed().as_millis() + 1);
    assert!((1..=most).contains(&syncs), "{syncs} syncs of {count} webhooks, and not {most}");
}

#[tokio::test]
async fn what_is_typed_later_is_whole_when_it_is_sent() {
    let folder = TempDir::new().unwrap();
    let spool = open(folder.path());
    let raw = br#"{"triggerEvent":"PING","createdAt":"2026-01-01T00:00:00.000Z","payload":{}}"#;
    let untyped =
        BookingEvent { raw_body: raw.as_slice().into(), trigger_name: "PING".to_owned(), ..Default::default() };
    let encoded = Bytes::from(untyped.encode_to_vec());
    spool.keep("acme", 5, Kind::Untyped, encoded, false).await.unwrap();
    spool.keep("acme", 5, Kind::Untyped, Bytes::from_static(b"\xff"), false).await.unwrap();
    let mut seen = Vec::new();
    inspect_spool(folder.path(), |event| seen.push(event.trigger_name)).unwrap();
    assert_eq!(seen, ["PING", ""]);
    close(spool);

    let spool = open(folder.path());
    let [whole, none] = spool.take(2, u64::MAX).try_into().unwrap();
    let mut typed = untyped;
    calbridge_calcom::type_body(raw).into_event(&mut typed);
    assert!(typed.payload.is_some());
    assert_eq!(BookingEvent::decode(spool.inner.shared.read(whole).unwrap().unwrap()).unwrap(), typed);
    assert_eq!(spool.inner.shared.read(none).unwrap(), None, "it is no event");
}

#[tokio::test]
async fn a_directory_is_of_one_process() {
    let folder = TempDir::new().unwrap();
    let spool = open(folder.path());
    let check = Readiness::new().check("spool");
    let taken = Spool::open(opening(folder.path(), BOUNDS, check.clone())).unwrap_err().to_string();
    assert!(taken.contains("another calbridge has this spool") && taken.contains("--spool-dir none"), "{taken}");
    close(spool);
    open(folder.path());

    let file = folder.path().join("a file");
    fs::write(&file, "x").unwrap();
    let unusable = Spool::open(opening(&file, BOUNDS, check)).unwrap_err().to_string();
    assert!(unusable.starts_with(&format!("--spool-dir = {}: ", file.display())), "{unusable}");
}

#[tokio::test]
async fn what_is_kept_is_its_owner_s_alone() {
    let folder = TempDir::new().unwrap();
    let directory = folder.path().join("above/spool");
    let spool = open(&directory);
    keep(&spool, "acme", "one").await.unwrap();
    let (entry, _) = drain(&spool).remove(0);
    spool.settle(vec![entry]);
    // The writer has written the mark before.
    keep(&spool, "acme", "two").await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let files: Vec<_> = fs::read_dir(&directory).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 3, "a lock, a segment and its marks: {files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600), "{files:?}");
}

#[tokio::test]
async fn what_nobody_settles_is_sent_again() {
    let folder = TempDir::new().unwrap();
    let spool = open(folder.path());
    let out = |text: &str| spool.keep("acme", 5, Kind::Event, Bytes::from(text.to_owned()), true);
    let (lost, done) = (out("lost").await.unwrap().unwrap(), out("done").await.unwrap().unwrap());
    assert!(spool.take(1, u64::MAX).is_empty(), "both are on their way");
    drop(lost);
    done.settle();
    assert_eq!(texts(&spool), ["lost"]);
    // Whoever waited has gone before the disk was through.
    let mut waiting = Box::pin(out("left"));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    drop(waiting);
    keep(&spool, "acme", "after").await.unwrap();
    assert_eq!(texts(&spool), ["left", "after"]);
}

static HANGING: AtomicBool = AtomicBool::new(false);

fn hanging_sync(file: &File) -> io::Result<()> {
    while HANGING.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
    file.sync_data()
}

/// The time of the test is not the disk's: waiting for it is over at once.
#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_is_waited_for_so_long_and_no_longer() {
    let folder = TempDir::new().unwrap();
    let check = Readiness::new().check("spool");
    let disk = Disk { sync: hanging_sync, ..Disk::REAL };
    let spool = Spool::open_on(opening(folder.path(), BOUNDS, check), disk).unwrap();
    HANGING.store(true, Ordering::SeqCst);
    let began = tokio::time::Instant::now();
    let out = spool.keep("acme", 5, Kind::Event, Bytes::from_static(b"late"), true).await;
    assert_eq!((out.unwrap_err().reason, began.elapsed()), ("spool_failed", APPEND_MOST));
    HANGING.store(false, Ordering::SeqCst);
    close(spool);
    assert_eq!(texts(&open(folder.path())), ["late"], "it was never promised, and is kept");
}

#[tokio::test]
async fn a_full_spool_takes_nothing_and_keeps_what_it_has() {
    let folder = TempDir::new().unwrap();
    let check = Readiness::new().check("spool");
    let bounds = Bounds { bytes: 4096, age: Duration::from_mins(1) };
    let spool = Spool::open(opening(folder.path(), bounds, check)).unwrap();
    keep(&spool, "acme", &"x".repeat(3000)).await.unwrap();
    let refused = keep(&spool, "acme", &"x".repeat(3000)).await.unwrap_err();
    assert_eq!((refused.reason, refused.retry_after), ("spool_full", RETRY_AFTER));
    keep(&spool, "acme", "small").await.unwrap();
    spool.look(5 + 60_000_000);
    keep(&spool, "acme", "in time").await.unwrap();
    spool.look(5 + 60_000_001);
    assert_eq!(keep(&spool, "acme", "late").await.unwrap_err().reason, "spool_full", "nobody has mended it");
    assert_eq!(spool.amount().records, 3);
}

#[tokio::test]
async fn only_so_much_waits_for_the_disk() {
    let folder = TempDir::new().unwrap();
    let spool = open(folder.path());
    let queued = &spool.inner.shared.queued;
    queued.store(QUEUED_MOST + 1, Ordering::Relaxed);
    assert_eq!(keep(&spool, "acme", "beyond").await.unwrap_err().reason, "spool_full");
    queued.store(QUEUED_MOST, Ordering::Relaxed);
    keep(&spool, "acme", "the last").await.unwrap();
    assert_eq!(texts(&spool), ["the last"]);
}

#[tokio::test]
async fn a_segment_goes_when_all_of_it_is_settled() {
    let folder = TempDir::new().unwrap();
    let spool = open(folder.path());
    keep(&spool, "acme", &"x".repeat(2 << 20)).await.unwrap();
    let (entry, _) = drain(&spool).remove(0);
    assert_eq!(segments(folder.path()).len(), 1);
    spool.settle(vec![entry]);
    keep(&spool, "acme", "next").await.unwrap();
    assert_eq!(drain(&spool)[0].0.segment, entry.segment + 1);
    assert_eq!(segments(folder.path()).len(), 1, "its file is gone");
    assert_eq!(spool.amount().records, 1);
}

/// Whether the disk of one test fails: a segment that is being written, and all else.
static FAILING: AtomicBool = AtomicBool::new(false);
static SYNCS: AtomicU32 = AtomicU32::new(0);

fn failing_sync(file: &File) -> io::Result<()> {
    SYNCS.fetch_add(1, Ordering::SeqCst);
    if FAILING.load(Ordering::SeqCst) { Err(io::Error::other("told so by the test")) } else { file.sync_data() }
}

#[tokio::test]
async fn a_disk_that_failed_is_not_believed_again() {
    let folder = TempDir::new().unwrap();
    let check = Readiness::new().check("spool");
    let spool =
        Spool::open_on(opening(folder.path(), BOUNDS, check.clone()), Disk { sync: failing_sync, ..Disk::REAL })
            .unwrap();
    keep(&spool, "acme", "before").await.unwrap();
    FAILING.store(true, Ordering::SeqCst);
    for text in ["lost", "lost as well"] {
        assert_eq!(keep(&spool, "acme", text).await.unwrap_err().reason, "spool_failed");
        assert!(!check.is_ready());
    }
    FAILING.store(false, Ordering::SeqCst);
    // Nobody needs to come for it to find out.
    calbridge_e2e::wait::holds("the disk works again", async || check.is_ready()).await;
    keep(&spool, "acme", "after").await.unwrap();
    let taken = drain(&spool);
    assert_eq!(taken.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), ["before", "after"]);
    assert!(taken[1].0.segment > taken[0].0.segment, "what was added to the one may be anything");
    assert!(SYNCS.load(Ordering::SeqCst) > 4);
    close(spool);
    assert_eq!(texts(&open(folder.path())), ["before", "after"]);
}

/// The same of another test, which runs beside it.
static STILL_FAILING: AtomicBool = AtomicBool::new(true);

fn still_failing_sync(file: &File) -> io::Result<()> {
    // What it takes to open the spool: one file of a megabyte.
    let is_segment = file.metadata()?.len() < 1024;
    if is_segment && STILL_FAILING.load(Ordering::SeqCst) {
        Err(io::Error::other("told so by the test"))
    } else {
        Ok(())
    }
}

#[tokio::test]
async fn a_disk_is_tried_again_however_much_else_there_is_to_do() {
    let folder = TempDir::new().unwrap();
    let check = Readiness::new().check("spool");
    let spool =
        Spool::open_on(opening(folder.path(), BOUNDS, check.clone()), Disk { sync: still_failing_sync, ..Disk::REAL })
            .unwrap();
    keep(&spool, "acme", "refused").await.unwrap_err();
    assert!(!check.is_ready());
    let settled = Entry { segment: 99, offset: 0, length: 0, time: 0 };
    let looks = async |wanted: bool, times: usize| {
        for _ in 0..times {
            // The drain has much to say.
            spool.settle(vec![settled]);
            tokio::time::sleep(Duration::from_millis(1)).await;
            if check.is_ready() == wanted {
                return true;
            }
        }
        false
    };
    assert!(!looks(true, 1_500).await, "a megabyte is kept, but there is no segment for it");
    STILL_FAILING.store(false, Ordering::SeqCst);
    assert!(looks(true, 10_000).await, "nobody has looked again");
    keep(&spool, "acme", "kept").await.unwrap();
}

/// A spool with these texts, and where each begins and ends in its one file.
async fn written(folder: &Path, texts: &[String]) -> Vec<(u64, u64)> {
    let spool = open(folder);
    for text in texts {
        keep(&spool, "acme", text).await.unwrap();
    }
    let places = drain(&spool);
    close(spool);
    places.iter().map(|(entry, _)| (u64::from(entry.offset), u64::from(entry.offset + entry.length))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// However a crash cuts the file: what was whole is there, and what comes after it is kept.
    #[test]
    fn a_torn_tail_costs_what_was_torn(texts in prop::collection::vec("[a-z]{0,40}", 1..6), cut: u16, junk: Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = TempDir::new().unwrap();
            let places = written(folder.path(), &texts).await;
            let path = segments(folder.path()).remove(0);
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            let at = u64::from(cut) % (places.last().unwrap().1 + 1);
            file.set_len(at).unwrap();
            file.write_all_at(&junk, at).unwrap();
            let whole = places.iter().take_while(|(_, end)| *end <= at).count();

            let spool = open(folder.path());
            keep(&spool, "acme", "next").await.unwrap();
            let mut wanted = texts[..whole].to_vec();
            wanted.push("next".to_owned());
            // What follows may by chance be what was cut off.
            let found = super::tests::texts(&spool);
            assert_eq!(found[..whole], wanted[..whole]);
            assert_eq!(found.last(), wanted.last());
            close(spool);
            assert_eq!(super::tests::texts(&open(folder.path())), found);
        });
    }
}

#[tokio::test]
async fn what_was_damaged_is_passed_over_and_kept() {
    let folder = TempDir::new().unwrap();
    let texts: Vec<String> = ["one", "two", "three"].map(str::to_owned).into();
    let places = written(folder.path(), &texts).await;
    let path = segments(folder.path()).remove(0);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"?", places[1].1 - 1).unwrap();

    let spool = open(folder.path());
    let found = drain(&spool);
    assert_eq!(found.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), ["one", "three"]);
    for (entry, _) in found {
        spool.settle(vec![entry]);
    }
    keep(&spool, "acme", "next").await.unwrap();
    assert!(path.exists(), "whoever can read it may still want it");
    // As a bad sector has it: it opens, and can't be read.
    let unreadable = segment::path(folder.path(), 98);
    fs::create_dir(&unreadable).unwrap();
    let foreign = segment::path(folder.path(), 99);
    fs::write(&foreign, b"of a later release, or none of ours").unwrap();
    close(spool);
    assert_eq!(super::tests::texts(&open(folder.path())), ["next"]);
    assert!(foreign.exists() && unreadable.exists());
}

#[tokio::test]
async fn a_tail_that_has_a_length_and_no_bytes_is_torn() {
    let folder = TempDir::new().unwrap();
    let texts: Vec<String> = ["one", "two", "three"].map(str::to_owned).into();
    let places = written(folder.path(), &texts).await;
    let path = segments(folder.path()).remove(0);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    // The power went when the size of the file was on the disk, and the end of "two" and all of "three" were not.
    file.set_len(places[1].1 - 1).unwrap();
    file.set_len(places[2].1).unwrap();
    let spool = open(folder.path());
    let found = drain(&spool);
    assert_eq!(found.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), ["one"]);
    assert_eq!(fs::metadata(&path).unwrap().len(), places[0].1, "it is cut off");
    spool.settle(found.into_iter().map(|(entry, _)| entry).collect());
    keep(&spool, "acme", "next").await.unwrap();
    close(spool);
    assert_eq!(super::tests::texts(&open(folder.path())), ["next"]);
    assert!(!path.exists(), "nothing in it is needed, and nothing is damaged");
}

#[tokio::test]
async fn a_last_record_that_is_not_what_was_written_is_torn() {
    let folder = TempDir::new().unwrap();
    let texts: Vec<String> = ["one", "two"].map(str::to_owned).into();
    let places = written(folder.path(), &texts).await;
    let path = segments(folder.path()).remove(0);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"?", places[1].1 - 1).unwrap();
    close(open(folder.path()));
    assert_eq!(file.metadata().unwrap().len(), places[0].1, "it is cut off");
    assert_eq!(super::tests::texts(&open(folder.path())), ["one"]);
}

#[tokio::test]
async fn a_torn_mark_takes_no_other_with_it() {
    let folder = TempDir::new().unwrap();
    let texts: Vec<String> = ["one", "two", "three"].map(str::to_owned).into();
    written(folder.path(), &texts).await;
    let marks = segment::settled_path(folder.path(), 1);
    fs::write(&marks, [7, 7]).unwrap();
    let spool = open(folder.path());
    let found = drain(&spool);
    spool.settle(vec![found[0].0]);
    // The writer has written the mark before.
    keep(&spool, "acme", "next").await.unwrap();
    close(spool);
    assert_eq!(fs::read(&marks).unwrap(), found[0].0.offset.to_le_bytes());
    assert_eq!(super::tests::texts(&open(folder.path())), ["two", "three", "next"]);
}

#[tokio::test]
async fn what_is_called_as_no_segment_is_called_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let names = ["5.segment", "+000000000000005.segment", "000000000000000A.segment", "ffffffffffffffff.segment"];
    for name in names {
        fs::write(folder.path().join(name), "of somebody else").unwrap();
    }
    let spool = open(folder.path());
    keep(&spool, "acme", "one").await.unwrap();
    close(spool);
    assert_eq!(texts(&open(folder.path())), ["one"]);
    assert!(names.iter().all(|name| folder.path().join(name).exists()));
}
