use std::fs::File;

use super::{super::AS_BEFORE, *};
use crate::store::sqlite::{Options, schema};

/// A consumer may have a million.
#[test]
fn no_statement_looks_at_every_letter() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calbridge.db");
    File::create(&path).unwrap();
    let connection = schema::open(&path, Options::default()).unwrap();
    for (select, expected) in [
        (NEXT, "SEARCH dead_letters USING COVERING INDEX sqlite_autoindex_dead_letters_1 ((tenant,name)>(?,?))"),
        (FIRST, "SEARCH dead_letters USING INDEX sqlite_autoindex_dead_letters_1 (tenant=? AND name=?)"),
        (
            AS_BEFORE,
            "SEARCH dead_letters USING INDEX sqlite_autoindex_dead_letters_1 (tenant=? AND name=? AND position=?)",
        ),
    ] {
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {select}")).unwrap();
        let empty = vec![rusqlite::types::Null; explain.parameter_count()];
        let steps = explain.query_map(rusqlite::params_from_iter(empty), |row| row.get::<_, String>(3)).unwrap();
        let plan: Vec<String> = steps.map(Result::unwrap).collect();
        assert_eq!(plan[0], expected, "{plan:?}");
    }
}
