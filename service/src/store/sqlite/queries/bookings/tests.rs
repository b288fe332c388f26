use calbridge_proto::v1::BookingStatus;

use super::*;
use crate::store::{
    Comparison::{Equal, GreaterOrEqual, Less, NotEqual},
    Condition,
    Condition::{AttendeeEmail, EventTypeId, Metadata, OrganizerEmail, StartTime, Status, UpdateTime},
    Filter,
    sqlite::{Options, schema},
};

fn query(conditions: Vec<Condition>, order: BookingOrder, descending: bool, onward: bool) -> BookingQuery {
    let after = onward.then(|| BookingCursor { time: 5, uid: "u5".to_owned() });
    BookingQuery { tenant: "acme".into(), order, descending, filter: Filter(conditions), after, limit: 10 }
}

fn filters() -> Vec<(Vec<Condition>, &'static str)> {
    let text = str::to_owned;
    vec![
        (vec![], "by the order"),
        (vec![Status(Equal, BookingStatus::Scheduled)], "bookings_by_status"),
        (vec![Status(NotEqual, BookingStatus::Scheduled)], "by the order"),
        (vec![StartTime(GreaterOrEqual, 1), StartTime(Less, 9)], "by the order"),
        (vec![UpdateTime(GreaterOrEqual, 1)], "by the order"),
        (vec![OrganizerEmail(text("a@x.example"))], "bookings_by_organizer"),
        (vec![EventTypeId(3), UpdateTime(Less, 9), StartTime(Less, 9)], "bookings_by_event_type"),
        (vec![AttendeeEmail(text("a@x.example")), StartTime(Less, 9)], "terms"),
        (vec![Metadata(text("k"), text("v")), UpdateTime(GreaterOrEqual, 1)], "terms"),
    ]
}

/// Where each combination of filter, order, direction and page is answered from. None walks a table or a foreign index,
/// and only an index that has another order is sorted.
#[test]
fn every_list_walks_an_index_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calbridge.db");
    std::fs::File::create(&path).unwrap();
    let connection = schema::open(&path, Options::default()).unwrap();
    for (conditions, index) in filters() {
        for order in [BookingOrder::StartTime, BookingOrder::UpdateTime] {
            for (descending, onward) in [(false, false), (false, true), (true, false), (true, true)] {
                let query = query(conditions.clone(), order, descending, onward);
                let Statement { sql, values } = candidates(&connection, &query).unwrap();
                let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
                let steps = explain.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
                let plan: Vec<String> = steps.map(Result::unwrap).collect();
                let expected = match (index, order) {
                    ("by the order", BookingOrder::StartTime) => "USING INDEX bookings_by_start (tenant=?",
                    ("by the order", BookingOrder::UpdateTime) => "USING INDEX bookings_by_update (tenant=?",
                    ("terms", _) => "USING PRIMARY KEY (term=?",
                    (index, _) => index,
                };
                assert!(plan[0].contains(expected), "{sql}: {plan:?}");
                assert!(plan.iter().all(|step| !step.contains("SCAN")), "{sql}: {plan:?}");
                if index == "terms" {
                    assert!(plan[1].contains("(tenant=? AND uid=?)"), "{sql}: {plan:?}");
                }
                let sorted = plan.iter().any(|step| step.contains("TEMP B-TREE"));
                assert_eq!(sorted, order == BookingOrder::UpdateTime && index != "by the order", "{sql}: {plan:?}");
            }
        }
    }
}
