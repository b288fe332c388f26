use proptest::prelude::*;

use super::*;
use crate::clock::new_id;

const NOW: Micros = 1_767_225_600_000_000;
const DAY: Micros = 86_400_000_000;

fn purge(what: Purgeable, days: u64) -> Purge {
    Purge { tenant: "acme".into(), what, period: Duration::from_hours(24 * days), floor: None, now: NOW }
}

/// Candidates at positions 1, 2, …, so many days old.
fn aged(days: &[Option<Micros>]) -> Vec<Candidate> {
    let at = |(position, days): (i64, &Option<Micros>)| Candidate {
        position: Position(position),
        time: days.map(|days| NOW - days * DAY),
        weight: 1,
        uids: Vec::new(),
    };
    (1..).zip(days).map(at).collect()
}

fn reached(purge: &Purge, days: &[Option<Micros>]) -> usize {
    purge.reach(&aged(days)).rows
}

#[test]
fn a_chunk_ends_before_what_is_too_young() {
    let purge = purge(Purgeable::Bodies, 30);
    assert_eq!(reached(&purge, &[]), 0);
    assert_eq!(reached(&purge, &[Some(29)]), 0);
    assert_eq!(reached(&purge, &[Some(31), Some(30), Some(29), Some(40)]), 2, "never past one that is to be kept");
    assert_eq!(reached(&purge, &[Some(31), None, Some(31), Some(1)]), 3, "what has no time goes with those behind it");
    assert_eq!(reached(&purge, &[Some(31), None]), 1, "and not before them");
    assert_eq!(reached(&purge, &[Some(-400), Some(31), None, Some(-1)]), 2, "a clock that was ahead keeps nothing");
}

#[test]
fn a_chunk_is_bounded_in_rows_and_weight() {
    let purge = |what| purge(what, 1);
    let old = vec![Some(9); PURGE_ROWS_MAX];
    assert_eq!(purge(Purgeable::Bodies).reach(&aged(&old)), Purged { rows: PURGE_ROWS_MAX, more: true });
    assert_eq!(purge(Purgeable::Bodies).reach(&aged(&old[1..])), Purged { rows: PURGE_ROWS_MAX - 1, more: false });
    assert_eq!(purge(Purgeable::Bodies).reach(&aged(&vec![None; PURGE_ROWS_MAX])), Purged::default());
    for (what, weight) in [(Purgeable::Bodies, PURGE_BYTES_MAX), (Purgeable::Deliveries, PURGE_TIMELINES_MAX)] {
        let heavy = |weight| aged(&old).into_iter().map(|of| Candidate { weight, ..of }).collect::<Vec<_>>();
        assert_eq!(purge(what).reach(&heavy(weight / 2)), Purged { rows: 2, more: true });
        assert_eq!(purge(what).reach(&heavy(weight * 9)), Purged { rows: 1, more: true }, "one goes, however large");
    }
}

#[test]
fn periods_beyond_all_time_keep_everything() {
    let purge = Purge { period: Duration::MAX, ..purge(Purgeable::Bodies, 1) };
    assert_eq!(reached(&purge, &[Some(20_000)]), 0);
}

#[test]
fn a_watermark_only_advances_and_bodies_go_with_their_deliveries() {
    let at = |bodies, deliveries, transitions| Watermarks {
        bodies: Position(bodies),
        deliveries: Position(deliveries),
        transitions: Position(transitions),
    };
    let none = Watermarks::default();
    assert_eq!(none.passed(Purgeable::Bodies, Position(5)), at(5, 0, 0));
    assert_eq!(none.passed(Purgeable::Deliveries, Position(5)), at(5, 5, 0));
    assert_eq!(at(9, 0, 0).passed(Purgeable::Deliveries, Position(5)), at(9, 5, 0));
    assert_eq!(at(9, 5, 3).passed(Purgeable::Deliveries, Position(2)), at(9, 5, 3));
}

#[test]
fn a_tenant_has_its_own_periods_or_the_common_ones() {
    let own = Retention { bodies: Some(Duration::from_secs(1)), ..Retention::default() };
    let policies = RetentionPolicies { otherwise: Retention::DEFAULT, tenants: [("own".to_owned(), own)].into() };
    assert_eq!((policies.of("own"), policies.of("other")), (own, Retention::DEFAULT));
    assert_eq!(Purgeable::ALL.map(|what| what.period(own)), [own.bodies, None]);
}

#[test]
fn what_can_not_be_read_of_a_delivery_keeps_nothing_back() {
    let told = Candidate::delivery(1, new_id(NOW), Some("u1".to_owned()), Some(vec![0xff]));
    assert_eq!((told.uids.len(), told.time), (0, Some(NOW)));
    let other = Candidate::delivery(2, new_id(NOW), Some("u1".to_owned()), None);
    assert_eq!((timelines(&[told, other]), Candidate::body(1, new_id(NOW), 7).weight), (vec!["u1"], 7));
}

#[test]
fn an_id_that_is_not_the_services_has_no_time() {
    assert_eq!(time_of(new_id(NOW + 123_456)), Some(NOW + 123_000));
    assert_eq!(time_of(Uuid::nil()), None);
    assert_eq!(time_of(Uuid::new_v4()), None);
}

proptest! {
    #[test]
    fn nothing_goes_that_is_to_be_kept(days in proptest::collection::vec(proptest::option::of(0..200_i64), 0..40)) {
        let reach = reached(&purge(Purgeable::Bodies, 90), &days);
        prop_assert!(days[..reach].iter().flatten().all(|days| *days >= 90));
        prop_assert!(reach == 0 || days[reach - 1].is_some());
    }
}
