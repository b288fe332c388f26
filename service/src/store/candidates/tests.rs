use super::*;

fn query(conditions: &[Condition], order: BookingOrder) -> BookingQuery {
    let filter = Filter(conditions.to_vec());
    BookingQuery { tenant: "acme".into(), order, descending: false, filter, after: None, limit: 10 }
}

/// Which index leads where so many rows are behind each of two terms.
fn lead_of(conditions: &[Condition], order: BookingOrder, rows: &[usize]) -> &'static str {
    let query = query(conditions, order);
    let mut choice = Choice::new(&query);
    let mut counts = rows.iter();
    while choice.to_count().is_some() {
        choice.counted(*counts.next().unwrap());
    }
    let narrow = terms::metadata("acme", "narrow", "x");
    match choice.lead() {
        Lead::Term(term) if term == narrow => "narrow",
        Lead::Term(_) => "broad",
        _ => "order",
    }
}

#[test]
fn the_narrowest_index_leads_and_a_broad_one_is_not_sorted() {
    let both = ["broad", "narrow"].map(|key| Condition::Metadata(key.into(), "x".into()));
    let rows = [SORTED_ROWS_MAX + 1, 3];
    assert_eq!(lead_of(&both, BookingOrder::StartTime, &rows), "narrow");
    assert_eq!(lead_of(&both, BookingOrder::UpdateTime, &rows), "narrow");
    assert_eq!(lead_of(&both[..1], BookingOrder::StartTime, &[]), "broad", "it has the order, and is not counted");
    assert_eq!(lead_of(&both[..1], BookingOrder::UpdateTime, &rows), "order", "too many to be sorted");
    assert_eq!(lead_of(&[], BookingOrder::UpdateTime, &[]), "order");
}

#[test]
fn however_many_times_are_named_two_are_compared() {
    let all = [
        (Comparison::GreaterOrEqual, 3),
        (Comparison::Greater, 4),
        (Comparison::NotEqual, 7),
        (Comparison::LessOrEqual, 9),
        (Comparison::Less, 9),
        (Comparison::Equal, 6),
    ];
    let told = |these: &[(Comparison, Micros)]| {
        let conditions = these.iter().map(|(comparison, time)| Condition::StartTime(*comparison, *time));
        let conditions: Vec<_> = conditions.chain([Condition::UpdateTime(Comparison::Less, 1)]).collect();
        Range::of(&query(&conditions, BookingOrder::StartTime)).comparisons().collect::<Vec<_>>()
    };
    let (from, to) = (Comparison::GreaterOrEqual, Comparison::LessOrEqual);
    assert_eq!(told(&all[..5]), [(from, 5), (to, 8)]);
    assert_eq!(told(&all), [(from, 6), (to, 6)]);
    assert_eq!(told(&all[..2]), [(from, 5)]);
    assert_eq!(told(&all[2..3]), []);
}
