//! A segment that is not as it was written: what a crash leaves is cut off, all else is kept.

use super::*;

/// What is sent on, what of the file is there still when all of that is settled, and what it was after the damage.
async fn after_damage(damage: impl FnOnce(&[(u64, u64)], &mut Vec<u8>)) -> (Vec<String>, Option<Vec<u8>>, Vec<u8>) {
    let folder = TempDir::new().unwrap();
    let texts: Vec<String> = ["one", "two", "three", "four"].map(str::to_owned).into();
    let places = written(folder.path(), &texts).await;
    let path = segments(folder.path()).remove(0);
    let mut bytes = fs::read(&path).unwrap();
    damage(&places, &mut bytes);
    fs::write(&path, &bytes).unwrap();
    let spool = open(folder.path());
    keep(&spool, "acme", "next").await.unwrap();
    let found = drain(&spool);
    assert!(found.iter().all(|(entry, text)| text != "next" || entry.segment > 1), "it stands in another file");
    spool.settle(found.iter().map(|(entry, _)| *entry).collect());
    close(spool);
    // What is settled has been taken away, unless something in it can't be read.
    close(open(folder.path()));
    (found.into_iter().map(|(_, text)| text).collect(), fs::read(path).ok(), bytes)
}

#[tokio::test]
async fn a_damaged_head_before_a_whole_record_is_no_tear() {
    // Of the length, of its check, and of both in one sector that is zeros now.
    for (begin, length) in [(0, 1), (4, 1), (0, 12)] {
        let damage = |places: &[(u64, u64)], bytes: &mut Vec<u8>| {
            let at = usize::try_from(places[1].0).unwrap() + begin;
            bytes[at..at + length].iter_mut().for_each(|byte| *byte ^= 0x10);
        };
        let (found, left, bytes) = after_damage(damage).await;
        assert_eq!(found, ["one", "next"]);
        assert_eq!(left, Some(bytes), "what was promised may stand behind it");
    }
}

#[tokio::test]
async fn a_damaged_head_before_nothing_is_a_tear() {
    let damage = |places: &[(u64, u64)], bytes: &mut Vec<u8>| {
        bytes[usize::try_from(places[3].0).unwrap()] ^= 0x10;
        // Room that was made ready.
        bytes.resize(1 << 19, 0);
    };
    let (found, left, _) = after_damage(damage).await;
    assert_eq!((found, left), (["one", "two", "three", "next"].map(str::to_owned).into(), None));
}

#[tokio::test]
async fn a_segment_s_head_that_is_gone_costs_no_record_behind_it() {
    let (found, left, bytes) = after_damage(|_, bytes| bytes[..24].fill(0)).await;
    assert_eq!(found, ["next"]);
    assert_eq!(left, Some(bytes));
    for length in [0, 11, 24, 1 << 20] {
        let (found, left, _) = after_damage(|_, bytes| *bytes = vec![0; length]).await;
        assert_eq!((found, left), (vec!["next".to_owned()], None), "nothing was ever added to it");
    }
}

#[test]
fn a_record_is_found_wherever_it_stands() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("segment");
    let mut whole = Vec::new();
    segment::record::encode(&mut whole, 7, Kind::Event, "acme", 5, &[b'x'; 100]);
    let step = 256 * 1024;
    for place in [0, 1, step - 13, step - 12, step - 11, step - 1, step, step + 1, 3 * step] {
        fs::write(&path, [vec![0; place], whole.clone()].concat()).unwrap();
        let [ours, of_another] = [7, 8].map(|number| segment::may_have_records_behind(&path, number, 0).unwrap());
        assert_eq!((ours, of_another), (true, false), "at {place}");
        assert!(!segment::may_have_records_behind(&path, 7, place as u64 + 1).unwrap());
        fs::write(&path, [vec![0; place], whole[..whole.len() - 1].to_vec()].concat()).unwrap();
        assert!(!segment::may_have_records_behind(&path, 7, 0).unwrap(), "it is torn");
    }
}

/// Somebody who may send webhooks may send bytes that look like records without end.
#[test]
fn what_looks_like_records_is_not_checked_for_ever() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("segment");
    let mut head = Vec::new();
    segment::record::encode(&mut head, 7, Kind::Event, "acme", 5, &vec![0; 1 << 20]);
    head.truncate(12);
    fs::write(&path, [head.repeat(2_000), vec![0; 1 << 20]].concat()).unwrap();
    assert!(segment::may_have_records_behind(&path, 7, 0).unwrap(), "it can't be told, and is kept");
}
