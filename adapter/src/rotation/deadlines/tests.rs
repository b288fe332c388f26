use super::*;

const DAY: i64 = 24 * 3600;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn secret(id: &str, not_before: Option<i64>, expires: Option<i64>) -> Secret {
    Secret { not_before: not_before.map(at), expires: expires.map(at), ..Secret::always(id, "value") }
}

fn tenants(secrets: Vec<Secret>) -> BTreeMap<String, Tenant> {
    BTreeMap::from([("acme".to_owned(), Tenant { secrets, allow_unsigned: false })])
}

fn due(deadlines: &mut Deadlines, tenants: &BTreeMap<String, Tenant>, now: i64) -> Vec<What> {
    let notices = deadlines.due(tenants, at(now).into());
    assert!(notices.iter().all(|notice| notice.tenant == "acme"));
    notices.into_iter().map(|notice| notice.what).collect()
}

fn expires(id: &str, expires: i64, within: &'static str) -> What {
    What::Expires { id: id.to_owned(), expires: at(expires), within }
}

#[test]
fn an_end_is_told_a_week_and_a_day_ahead_each_once() {
    let (mut deadlines, end) = (Deadlines::default(), 100 * DAY);
    let tenants = tenants(vec![secret("old", None, Some(end)), secret("new", None, None)]);
    for (now, told) in [
        (0, vec![]),
        (end - 7 * DAY, vec![]),
        (end - 7 * DAY + 1, vec![expires("old", end, "7 days")]),
        (end - 2 * DAY, vec![]),
        (end - DAY, vec![]),
        (end - DAY + 1, vec![expires("old", end, "1 day")]),
        (end - 1, vec![]),
        (end, vec![What::Expired { id: "old".to_owned(), expires: at(end) }]),
        (end + DAY, vec![]),
        // A clock that goes back and comes again tells nothing twice.
        (end - 5 * DAY, vec![]),
        (end - 60, vec![]),
        (end, vec![]),
    ] {
        assert_eq!(due(&mut deadlines, &tenants, now), told, "{now}");
    }
}

#[test]
fn who_starts_on_the_last_day_hears_of_the_day_alone() {
    let (mut deadlines, end) = (Deadlines::default(), 100 * DAY);
    let old = tenants(vec![secret("old", None, Some(end)), secret("new", None, None)]);
    assert_eq!(due(&mut deadlines, &old, end - 60), [expires("old", end, "1 day")]);
    // The end is put off.
    let later = tenants(vec![secret("old", None, Some(end + 3 * DAY)), secret("new", None, None)]);
    assert_eq!(due(&mut deadlines, &later, end), [expires("old", end + 3 * DAY, "7 days")]);
    // One that is over from the beginning is old news.
    assert_eq!(due(&mut Deadlines::default(), &old, end), []);
}

#[test]
fn the_end_of_the_last_one_is_told_by_its_id() {
    let (mut deadlines, end) = (Deadlines::default(), 100 * DAY);
    let both = vec![secret("first", None, Some(end - 10)), secret("second", None, Some(end))];
    let tenants = tenants(both.clone());
    assert_eq!(due(&mut deadlines, &tenants, 0), []);
    assert_eq!(due(&mut deadlines, &tenants, end - 10).last(), Some(&expires("second", end, "1 day")));
    let told = due(&mut deadlines, &tenants, end);
    assert_eq!(told.last(), Some(&What::LastExpired { id: "second".to_owned() }));
    assert_eq!(due(&mut deadlines, &tenants, end + 1), []);
    // A secret that comes in the meantime ends it.
    let renewed = super::tests::tenants([both, vec![secret("third", None, None)]].concat());
    assert_eq!(due(&mut deadlines, &renewed, end + 2), [What::ActiveAgain]);
}

#[test]
fn a_tenant_whose_time_has_not_come_is_told_once_and_again_when_it_comes() {
    let mut deadlines = Deadlines::default();
    let tenants = tenants(vec![secret("next", Some(100), None)]);
    assert_eq!(due(&mut deadlines, &tenants, 0), [What::NoneActive]);
    assert_eq!(due(&mut deadlines, &tenants, 99), []);
    assert_eq!(due(&mut deadlines, &tenants, 100), [What::ActiveAgain]);
    assert_eq!(due(&mut deadlines, &tenants, 101), []);
    let unsigned = Tenant { secrets: Vec::new(), allow_unsigned: true };
    assert_eq!(due(&mut deadlines, &BTreeMap::from([("acme".to_owned(), unsigned)]), 0), []);
}

#[test]
fn many_ends_at_once_are_told_one_look_after_the_other() {
    let mut deadlines = Deadlines::default();
    let one = Tenant { secrets: vec![secret("next", Some(100), None)], allow_unsigned: false };
    let tenants: BTreeMap<_, _> = (0..250).map(|number| (format!("tenant{number}"), one.clone())).collect();
    let told: Vec<_> = (0..4).map(|_| deadlines.due(&tenants, at(0).into()).len()).collect();
    assert_eq!(told, [100, 100, 50, 0]);
}
