use proptest::prelude::*;

use super::*;

fn entry(segment: u64, offset: u32) -> Entry {
    Entry { segment, offset, length: 1, time: i64::from(offset) }
}

#[test]
fn tenants_take_turns_and_each_one_s_oldest_comes_first() {
    let mut backlog = Backlog::default();
    let [busy, quiet]: [Arc<str>; 2] = ["busy".into(), "quiet".into()];
    for offset in 0..4 {
        backlog.add(&busy, entry(1, offset));
    }
    backlog.add(&quiet, entry(1, 9));
    let taken: Vec<_> = std::iter::from_fn(|| backlog.take(u64::MAX)).map(|(_, entry)| entry.offset).collect();
    assert_eq!(taken, [0, 9, 1, 2, 3]);
    assert_eq!(backlog.amount().oldest, Some(0), "what is out counts");
    backlog.give_back(entry(1, 2));
    backlog.give_back(entry(1, 1));
    assert_eq!(backlog.take(u64::MAX).unwrap().1.offset, 1, "what comes back stands where it stood");
    backlog.take(u64::MAX).unwrap();
    for offset in [3, 9, 0, 2, 1] {
        backlog.set_aside(entry(1, offset));
    }
    assert_eq!(
        backlog.amount(),
        Amount { records: 5, aside: 5, bytes: 0, oldest: None, oldest_aside: Some(0) },
        "what is aside is told apart"
    );
}

#[test]
fn what_was_tried_in_vain_takes_turns_with_all_others_of_its_tenant() {
    let mut backlog = Backlog::default();
    let [one, other]: [Arc<str>; 2] = ["one".into(), "other".into()];
    for offset in 0..3 {
        backlog.add(&one, entry(1, offset));
        backlog.take(u64::MAX).unwrap();
    }
    backlog.set_aside(entry(1, 0));
    for offset in 0..3 {
        backlog.put_behind(entry(1, offset));
    }
    for offset in 3..5 {
        backlog.add(&one, entry(1, offset));
    }
    backlog.add(&other, entry(1, 9));
    let Amount { oldest, oldest_aside, .. } = backlog.amount();
    assert_eq!((oldest, oldest_aside), (Some(1), Some(0)), "what was aside is no news, whatever is done with it");
    let taken: Vec<_> = std::iter::from_fn(|| backlog.take(u64::MAX)).map(|(_, entry)| entry.offset).collect();
    assert_eq!(taken, [3, 9, 0, 4, 1, 2]);
    assert!(taken.iter().all(|offset| !backlog.settle(entry(1, *offset)) || backlog.records == 0));
    assert_eq!(backlog.amount(), Amount::default());
}

/// A store that hangs has each webhook wait here after its deadline, the last one last.
#[test]
fn the_oldest_is_known_whatever_comes_back_when() {
    let (mut backlog, tenant) = (Backlog::default(), Arc::from("acme"));
    for offset in 0..4 {
        backlog.add_out(&tenant, entry(1, offset));
    }
    for offset in [1, 3, 0, 2] {
        backlog.give_back(entry(1, offset));
        assert_eq!(backlog.amount().oldest, Some(0));
    }
    backlog.add(&tenant, Entry { time: -1, ..entry(2, 0) });
    assert_eq!(backlog.amount().oldest, Some(0), "a clock that was set back makes nothing old");
    let times: Vec<_> = std::iter::from_fn(|| backlog.take(u64::MAX)).map(|(_, entry)| entry.time).collect();
    assert_eq!(times, [0, 1, 2, 3, -1], "in the order in which they were written");
}

/// It would age for ever, and nothing more be taken in.
#[test]
fn what_is_damaged_waits_for_nobody_and_keeps_its_file() {
    let (mut backlog, tenant) = (Backlog::default(), Arc::from("acme"));
    backlog.segment(1, 100, false);
    backlog.add(&tenant, entry(1, 0));
    backlog.add(&tenant, entry(1, 7));
    let taken = backlog.take(u64::MAX).unwrap().1;
    backlog.give_up(taken);
    assert_eq!(backlog.amount(), Amount { records: 1, bytes: 100, oldest: Some(7), ..Amount::default() });
    let last = backlog.take(u64::MAX).unwrap().1;
    assert!(!backlog.settle(last), "its segment is kept");
    assert_eq!((backlog.amount().records, backlog.amount().oldest), (0, None));
}

#[test]
fn what_is_too_long_now_keeps_its_turn() {
    let mut backlog = Backlog::default();
    let [one, other]: [Arc<str>; 2] = ["one".into(), "other".into()];
    backlog.add(&one, Entry { length: 7, ..entry(1, 0) });
    backlog.add(&other, entry(1, 9));
    assert_eq!(backlog.take(6), None);
    assert_eq!((backlog.waiting(), backlog.take(7).unwrap().1.offset), (2, 0));
}

#[test]
fn a_segment_is_done_when_nothing_of_it_is_needed() {
    let mut backlog = Backlog::default();
    let tenant: Arc<str> = "acme".into();
    backlog.segment(1, 100, false);
    backlog.segment(2, 50, true);
    backlog.add(&tenant, entry(1, 0));
    backlog.add_out(&tenant, entry(1, 7));
    backlog.add_out(&tenant, entry(2, 0));
    assert_eq!(backlog.amount(), Amount { records: 3, bytes: 150, oldest: Some(0), ..Amount::default() });
    assert!(!backlog.settle(entry(1, 0)), "it is not out");
    backlog.take(u64::MAX).unwrap();
    assert!(!backlog.settle(entry(1, 0)) && !backlog.settle(entry(1, 0)));
    assert_eq!(backlog.amount().oldest, Some(7), "what was written first");
    assert!(backlog.settle(entry(1, 7)) && !backlog.settle(entry(2, 0)), "what can't be read is kept");
    backlog.forget(1);
    assert_eq!(backlog.amount(), Amount { records: 0, bytes: 50, oldest: None, ..Amount::default() });
}

#[test]
fn what_is_aside_alone_in_a_large_segment_is_moved() {
    let (mut backlog, tenant): (Backlog, Arc<str>) = (Backlog::default(), "acme".into());
    let long = |segment, offset| Entry { length: 100, ..entry(segment, offset) };
    for (number, bytes) in [(1, RECLAIM_BYTES), (2, RECLAIM_BYTES - 1), (3, 399), (4, SEGMENT_BYTES - 1)] {
        backlog.begin(number, bytes);
        for offset in [0, 100] {
            backlog.add(&tenant, long(number, offset));
            backlog.take(u64::MAX).unwrap();
        }
    }
    let set_aside = |backlog: &mut Backlog, segment| {
        backlog.set_aside(long(segment, 0));
        assert!(backlog.stuck(9, u64::MAX).is_empty(), "another of it is out");
        backlog.set_aside(long(segment, 100));
    };
    for segment in 2..=4 {
        set_aside(&mut backlog, segment);
        assert!(backlog.stuck(9, u64::MAX).is_empty(), "they are small, or added to");
    }
    set_aside(&mut backlog, 1);
    let stuck = |backlog: &mut Backlog, most, bytes| -> Vec<_> {
        backlog.stuck(most, bytes).into_iter().map(|(_, entry)| entry.place()).collect()
    };
    assert_eq!(stuck(&mut backlog, 9, 200), [(1, 0), (1, 100)]);
    for (most, bytes) in [(1, 200), (9, 199), (9, 1)] {
        assert_eq!(stuck(&mut backlog, most, bytes), [(1, 0)]);
    }
    for offset in [0, 100] {
        let copy = long(4, 1_000 + offset);
        backlog.add_out(&tenant, copy);
        assert!(backlog.move_aside(long(1, offset), copy) && !backlog.move_aside(long(1, offset), copy));
    }
    assert!(backlog.is_done(1) && backlog.stuck(9, u64::MAX).is_empty());
    assert_eq!((backlog.amount().records, backlog.amount().aside), (8, 8));
    backlog.segment(4, SEGMENT_BYTES, false);
    assert_eq!(stuck(&mut backlog, 1, 1), [(4, 0)], "it is full, and nothing is added to it");
    backlog.skip(4);
    assert!(backlog.stuck(9, u64::MAX).is_empty(), "it was tried");
    assert_eq!(stuck(&mut backlog, 1, 1), [(4, 0)], "and is again when all others were");
}

proptest! {
    /// Whatever is done: each record is settled once, in turn or not, and none is lost or sent twice at a time.
    #[test]
    fn every_record_comes_out_until_it_is_settled(steps in prop::collection::vec((0..6_u8, 0..3_u64), 0..200)) {
        let (mut backlog, mut next, mut settled) = (Backlog::default(), 0_u32, 0);
        let (mut out, mut aside): (Vec<Entry>, Vec<Entry>) = (Vec::new(), Vec::new());
        let (mut left, mut once_aside) = (BTreeSet::new(), BTreeSet::new());
        for (step, number) in steps {
            let tenant: Arc<str> = format!("t{number}").into();
            match step {
                0 => {
                    backlog.add(&tenant, entry(number, next));
                    left.insert((number, next));
                    next += 1;
                }
                1 => {
                    if let Some((_, taken)) = backlog.take(u64::MAX) {
                        prop_assert!(!out.contains(&taken));
                        out.push(taken);
                    }
                }
                2 => out.pop().into_iter().for_each(|last| backlog.give_back(last)),
                3 => out.pop().or_else(|| aside.pop()).into_iter().for_each(|last| backlog.put_behind(last)),
                4 => {
                    if let Some(last) = out.pop() {
                        backlog.set_aside(last);
                        once_aside.insert(last.place());
                        aside.push(last);
                    }
                }
                _ => {
                    if let Some(last) = out.pop() {
                        backlog.settle(last);
                        left.remove(&last.place());
                        settled += 1;
                    }
                }
            }
            let oldest = left.difference(&once_aside).next().map(|(_, offset)| i64::from(*offset));
            let oldest_aside = left.intersection(&once_aside).map(|(_, offset)| i64::from(*offset)).min();
            let amount = backlog.amount();
            prop_assert_eq!((amount.records, amount.aside), (left.len(), aside.len()));
            prop_assert_eq!((amount.oldest, amount.oldest_aside), (oldest, oldest_aside));
        }
        for left in aside {
            backlog.put_behind(left);
        }
        for left in out {
            backlog.give_back(left);
        }
        while let Some((_, taken)) = backlog.take(u64::MAX) {
            backlog.settle(taken);
            settled += 1;
        }
        prop_assert_eq!(settled, usize::try_from(next).unwrap());
        prop_assert_eq!(backlog.amount().records, 0);
        prop_assert!((0..3).all(|number| backlog.is_done(number) || !backlog.segments.contains_key(&number)));
    }
}
