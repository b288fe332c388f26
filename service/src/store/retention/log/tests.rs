use super::*;
use crate::store::{PURGE_ROWS_MAX, Retention};

const NOW: Micros = 1_767_225_600_000_000;

const fn days(days: u64) -> Duration {
    Duration::from_hours(24 * days)
}

fn transitions(kept: Option<Duration>) -> Retention {
    Retention { transitions: kept, ..Retention::default() }
}

/// All keep for 90 days, but `long` for 500 and `ever` for ever.
fn keepers<const N: usize>(floors: [(&str, i64); N]) -> LogKeepers {
    let tenants = [("long", Some(days(500))), ("ever", None)];
    let tenants = tenants.map(|(tenant, kept)| (tenant.to_owned(), transitions(kept))).into();
    let policies = RetentionPolicies { otherwise: transitions(Some(days(90))), tenants };
    let floors = floors.map(|(tenant, floor)| (tenant.to_owned(), Position(floor))).into();
    LogKeepers { policies: Arc::new(policies), floors }
}

/// What goes of transitions at positions 1, 2, …, so many days old.
fn chosen(walk: Duration, keepers: &LogKeepers, log: &[(&str, i64)]) -> (Vec<i64>, LogPurged) {
    let at = |(position, (tenant, days)): (i64, &(&str, i64))| {
        let time = NOW - days * 86_400_000_000;
        LogCandidate { tenant: (*tenant).to_owned(), row: Candidate::transition(position, time, 1, String::new()) }
    };
    let keepers = Arc::new(keepers.clone());
    let purge = LogPurge { after: Position(0), period: walk, keepers, now: NOW };
    let (gone, purged) = purge.choose((1..).zip(log).map(at).collect());
    (gone.iter().map(|gone| gone.row.position.0).collect(), purged)
}

#[test]
fn a_walk_takes_what_is_old_enough_of_those_who_keep_so_long() {
    let log = [("a", 600), ("ever", 599), ("long", 598), ("b", 91), ("long", 90), ("a", 89), ("a", 95)];
    let none = keepers([]);
    let (gone, purged) = chosen(days(90), &none, &log);
    assert_eq!((gone, purged.through, purged.more), (vec![1, 4], Position(5), false));
    let (gone, purged) = chosen(days(500), &none, &log);
    assert_eq!((gone, purged.through), (vec![3], Position(3)));
    assert_eq!(none.periods().into_iter().collect::<Vec<_>>(), [days(90), days(500)]);
    let (gone, purged) = chosen(days(90), &none, &[("ever", 100); PURGE_ROWS_MAX]);
    assert_eq!((gone.len(), purged.through.0, purged.more), (0, 256, true), "it goes on behind what it leaves");
    assert_eq!(chosen(days(90), &none, &[]).1, LogPurged::default());
}

#[test]
fn a_transition_waits_for_its_readers_and_for_a_year_at_the_most() {
    let log = [("a", 400), ("b", 366), ("a", 364), ("b", 363), ("a", 100), ("a", 91), ("b", 91), ("a", 89)];
    let of = |keepers: LogKeepers, walk| {
        let (gone, purged) = chosen(walk, &keepers, &log);
        (gone, purged.held.map(|held| held.0))
    };
    assert_eq!(of(keepers([]), days(90)), (vec![1, 2, 3, 4, 5, 6, 7], None), "nobody reads");
    assert_eq!(of(keepers([("a", 9)]), days(90)), (vec![1, 2, 3, 4, 5, 6, 7], None), "everybody has read");
    assert_eq!(of(keepers([("a", 3)]), days(90)), (vec![1, 2, 3, 4, 7], Some(5)), "and holds up nobody else");
    assert_eq!(of(keepers([("a", 0)]), days(90)), (vec![2, 4, 7], Some(1)));
    assert_eq!(of(keepers([("a", 0)]), CONSUMER_LAG_MAX), (vec![1], None), "one that lags a year holds nothing");
    assert!(keepers([("a", 0)]).periods().contains(&CONSUMER_LAG_MAX));
    let of_long = [("long", 400), ("long", 499), ("long", 501)];
    assert_eq!(
        chosen(CONSUMER_LAG_MAX, &keepers([("long", 0)]), &of_long).0,
        [0; 0],
        "longer periods hold all the same"
    );
    assert_eq!(chosen(days(500), &keepers([("long", 0)]), &of_long[2..]).0, [1]);
}

#[test]
fn watermarks_are_those_of_the_last_of_each() {
    let row = |position| Candidate::transition(position, NOW, 1, String::new());
    let of = |(position, tenant): (i64, &str)| LogCandidate { tenant: tenant.to_owned(), row: row(position) };
    let gone: Vec<_> = [(3, "b"), (4, "a"), (7, "b")].map(of).into();
    assert_eq!(passed(&gone).into_iter().collect::<Vec<_>>(), [("a", Position(4)), ("b", Position(7))]);
}
