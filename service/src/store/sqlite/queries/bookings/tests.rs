use std::fs::File;

use super::*;
use crate::store::sqlite::{Options, postings::FENCE, schema};

/// None walks a table or sorts.
#[test]
fn every_statement_of_a_list_walks_an_index_from_its_place_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calbridge.db");
    File::create(&path).unwrap();
    let connection = schema::open(&path, Options::default()).unwrap();
    for (sql, expected) in [
        (by_update_from(">=", "ASC"), "USING INDEX bookings_by_update (tenant=? AND (update_time,uid)>(?,?))"),
        (by_update_from("<", "DESC"), "USING INDEX bookings_by_update (tenant=? AND (update_time,uid)<(?,?))"),
        (FENCE.to_owned(), "USING PRIMARY KEY (run=? AND (term,time,uid)<(?,?,?))"),
    ] {
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let empty = vec![rusqlite::types::Null; explain.parameter_count()];
        let steps = explain.query_map(rusqlite::params_from_iter(empty), |row| row.get::<_, String>(3)).unwrap();
        let plan: Vec<String> = steps.map(Result::unwrap).collect();
        assert!(plan.len() == 1 && plan[0].starts_with("SEARCH") && plan[0].contains(expected), "{sql}: {plan:?}");
    }
}
