use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;

fn rate(per_second: u32, burst: u32) -> Rate {
    Rate { per_second: NonZeroU32::new(per_second).unwrap(), burst: NonZeroU32::new(burst).unwrap() }
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[test]
fn a_burst_is_let_through_and_then_one_at_a_time() {
    let (budgets, start) = (Budgets::new(rate(10, 3), 8), Instant::now());
    let take = |after| budgets.take("one", start + seconds(after));
    assert_eq!([take(0.0), take(0.0), take(0.0)], [Ok(()), Ok(()), Ok(())]);
    assert_eq!(take(0.0), Err(seconds(0.1)));
    assert_eq!(take(0.06), Err(seconds(0.04)), "who is refused pays nothing");
    assert_eq!(take(0.1), Ok(()));
    assert_eq!(take(0.1), Err(seconds(0.1)));
    assert_eq!(budgets.take("other", start), Ok(()), "each has its own");
    // After a pause it may burst again, and no more than that.
    assert_eq!([take(9.0), take(9.0), take(9.0)], [Ok(()), Ok(()), Ok(())]);
    assert_eq!(take(9.0), Err(seconds(0.1)));
}

#[test]
fn what_is_remembered_is_bounded_and_the_longest_ago_goes() {
    let (budgets, now) = (Budgets::new(rate(1, 1), 2), Instant::now());
    assert_eq!([1, 2].map(|key| budgets.take(key, now).is_ok()), [true, true]);
    // The refusal of 1 is news of it.
    assert!(budgets.take(1, now).is_err());
    assert!(budgets.take(3, now).is_ok());
    assert_eq!(budgets.made_good.lock().unwrap().len(), 2);
    assert!(budgets.take(1, now).is_err(), "who comes often is remembered");
    assert!(budgets.take(2, now).is_ok());
}

#[test]
fn nothing_is_limited_unless_somebody_says_so() {
    let rates = Rates::new(&Limits::default(), Vec::new());
    for _ in 0..10_000 {
        assert_eq!(rates.source([192, 0, 2, 1].into(), &HeaderMap::new()), Ok(()));
        assert_eq!(rates.tenant("acme"), Ok(()));
    }
}

#[test]
fn a_proxy_that_does_not_say_for_whom_is_no_source() {
    let limits = Limits { source_rate: Some(rate(1, 1)), ..Limits::default() };
    let rates = Rates::new(&limits, vec!["10.0.0.0/8".parse().unwrap()]);
    for _ in 0..100 {
        assert_eq!(rates.source([10, 0, 0, 1].into(), &HeaderMap::new()), Ok(()));
    }
    assert!(rates.source([192, 0, 2, 1].into(), &HeaderMap::new()).is_ok());
    assert!(rates.source([192, 0, 2, 1].into(), &HeaderMap::new()).is_err());
}

proptest! {
    #[test]
    fn in_no_stretch_of_time_more_than_the_burst_and_the_rate_get_through(
        per_second in 1_u32..2_000,
        burst in 1_u32..50,
        pauses in proptest::collection::vec(0_u64..20_000, 1..200),
    ) {
        let (budgets, start) = (Budgets::new(rate(per_second, burst), 1), Instant::now());
        let (mut now, mut through) = (start, Vec::new());
        for micros in pauses {
            now += Duration::from_micros(micros);
            match budgets.take((), now) {
                Ok(()) => through.push(now),
                // What it says is true: then there is room, and not before.
                Err(wait) => prop_assert!(!wait.is_zero() && wait <= Duration::from_secs(1) / per_second),
            }
        }
        for (place, from) in through.iter().enumerate() {
            for (more, until) in through[place..].iter().enumerate() {
                let room = f64::from(burst) + (*until - *from).as_secs_f64() * f64::from(per_second) * 1.000_1;
                let got = f64::from(u32::try_from(more).unwrap()) + 1.0;
                prop_assert!(got <= room + 0.001, "{got} in {:?}, room for {room}", *until - *from);
            }
        }
    }
}
