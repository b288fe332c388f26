use super::*;

/// Which index leads where so many rows are behind each of two terms.
fn lead_of(conditions: &[Condition], order: BookingOrder, rows: &[usize]) -> &'static str {
    let query = BookingQuery {
        tenant: "acme".into(),
        order,
        descending: false,
        filter: Filter(conditions.to_vec()),
        after: None,
        limit: 10,
    };
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
