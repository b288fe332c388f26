//! What is aside does not keep files in which all else is settled.

use calbridge_e2e::wait;

use super::*;

const LARGE: usize = 1 << 20;

/// A spool with one file in which all but this is settled, and this is aside; and another that is added to.
async fn with_one_aside(folder: &Path) -> (Spool, Entry) {
    let spool = open(folder);
    let raw = br#"{"triggerEvent":"PING","createdAt":"2026-01-01T00:00:00.000Z","payload":{}}"#;
    let bad = BookingEvent { raw_body: raw.as_slice().into(), ..Default::default() }.encode_to_vec();
    spool.keep("acme", 5, Kind::Untyped, bad.into(), false).await.unwrap();
    for _ in 0..16 {
        keep(&spool, "acme", &"x".repeat(LARGE)).await.unwrap();
    }
    let mut taken = spool.take(usize::MAX, u64::MAX);
    let bad = taken.remove(0);
    spool.inner.shared.lock().set_aside(bad);
    spool.settle(taken);
    keep(&spool, "acme", "next").await.unwrap();
    // One more file is begun where a spare one was ready.
    assert!(segments(folder).len() > 1);
    assert_eq!(spool.amount().aside, 1);
    (spool, bad)
}

#[tokio::test]
async fn a_segment_goes_when_all_that_is_needed_of_it_is_aside() {
    let folder = TempDir::new().unwrap();
    let (spool, bad) = with_one_aside(folder.path()).await;
    let compacted = spool.compact().await;
    let [(from, to)] = compacted.moved[..] else { panic!("{compacted:?}") };
    assert_eq!((from, to.time, to.length), (bad, bad.time, bad.length));
    keep(&spool, "acme", "after").await.unwrap();
    let old = segment::path(folder.path(), bad.segment);
    wait::holds("the old file is gone", async || !old.exists()).await;
    let amount = spool.amount();
    assert_eq!((amount.records, amount.aside, amount.oldest_aside), (3, 1, Some(5)));
    assert!(amount.bytes < LARGE as u64, "there is room again");
    assert!(spool.compact().await.moved.is_empty(), "once is enough");
    spool.inner.shared.put_behind(to);
    let read: Vec<_> =
        spool.take(3, u64::MAX).into_iter().map(|entry| spool.inner.shared.read(entry).unwrap().unwrap()).collect();
    assert!(BookingEvent::decode(read[1].clone()).unwrap().payload.is_some(), "it is of the kind that it was");
    close(spool);
    let spool = open(folder.path());
    assert_eq!((spool.take(9, u64::MAX).len(), spool.amount().records), (3, 3));
}

#[tokio::test]
async fn what_is_tried_again_meanwhile_is_not_there_twice() {
    let folder = TempDir::new().unwrap();
    let (spool, bad) = with_one_aside(folder.path()).await;
    let mut compacting = Box::pin(spool.compact());
    assert!(futures_util::poll!(&mut compacting).is_pending(), "it reads");
    spool.inner.shared.put_behind(bad);
    assert!(compacting.await.moved.is_empty());
    assert_eq!(spool.take(9, u64::MAX).into_iter().filter(|entry| entry.length == bad.length).count(), 1);
    assert_eq!(spool.amount().records, 2);
    // The writer has written the mark of the copy before.
    keep(&spool, "acme", "after").await.unwrap();
    close(spool);
    assert_eq!(open(folder.path()).amount().records, 3);
}

#[tokio::test]
async fn what_can_not_be_read_is_not_copied() {
    let folder = TempDir::new().unwrap();
    let (spool, bad) = with_one_aside(folder.path()).await;
    let file = OpenOptions::new().write(true).open(segment::path(folder.path(), bad.segment)).unwrap();
    file.write_all_at(b"?", u64::from(bad.offset + bad.length) - 1).unwrap();
    assert!(spool.compact().await.moved.is_empty());
    assert!(spool.inner.shared.lock().stuck(1, 1).is_empty(), "nor is it tried for ever");
    assert_eq!(spool.amount().aside, 1, "the drain will meet it");
}
