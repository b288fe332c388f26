use std::fs::File;

use super::*;
use crate::store::{
    Filter, Position,
    postings::{Entry, Posting},
    sqlite::{
        Options,
        postings::{FENCE, fill},
        schema,
        young::View,
    },
    terms,
};

/// None walks a table or sorts.
#[test]
fn every_statement_of_a_list_walks_an_index_from_its_place_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calbridge.db");
    File::create(&path).unwrap();
    let connection = schema::open(&path, Options::default()).unwrap();
    for (sql, expected) in [
        (by_update_from(">=", "ASC"), "USING COVERING INDEX bookings_by_update (tenant=? AND (update_time,uid)>(?,?))"),
        (by_update_from("<", "DESC"), "USING COVERING INDEX bookings_by_update (tenant=? AND (update_time,uid)<(?,?))"),
        (FENCE.to_owned(), "USING PRIMARY KEY (run=? AND (term,time,uid)<(?,?,?))"),
    ] {
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let empty = vec![rusqlite::types::Null; explain.parameter_count()];
        let steps = explain.query_map(rusqlite::params_from_iter(empty), |row| row.get::<_, String>(3)).unwrap();
        let plan: Vec<String> = steps.map(Result::unwrap).collect();
        assert!(plan.len() == 1 && plan[0].starts_with("SEARCH") && plan[0].contains(expected), "{sql}: {plan:?}");
    }
}

/// Some of what a term found once is still told until lists are merged.
#[test]
fn what_is_found_no_more_is_passed_by_and_ends_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calbridge.db");
    File::create(&path).unwrap();
    let mut connection = schema::open(&path, Options::default()).unwrap();
    let gone = PAGE_PASSES_MAX + 10;
    let entry = |n: usize| {
        let time = Micros::try_from(n).unwrap();
        Entry {
            posting: Posting { term: terms::all("acme"), time, uid: format!("u{n}") },
            finds: false,
            is_first: false,
        }
    };
    let transaction = connection.transaction().unwrap();
    fill(&transaction, (0..gone).map(entry).collect()).unwrap();
    transaction.commit().unwrap();

    assert_eq!(count(&connection, terms::all("acme")).unwrap(), SORTED_ROWS_MAX + 1, "too many to say");
    let snapshot = Snapshot::of(&connection, Position(0), View::default());
    let mut query = BookingQuery {
        tenant: "acme".into(),
        order: BookingOrder::StartTime,
        descending: false,
        filter: Filter::default(),
        after: None,
        limit: 10,
    };
    let first = super::page(&snapshot, &query).unwrap();
    let last = PAGE_PASSES_MAX - 1;
    let cursor = BookingCursor { time: Micros::try_from(last).unwrap(), uid: format!("u{last}") };
    assert_eq!((first.bookings.len(), first.next.clone()), (0, Some(cursor)));
    query.after = first.next;
    assert_eq!(super::page(&snapshot, &query).unwrap(), BookingPage::default());
}
