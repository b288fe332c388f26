use rusqlite::Connection;

use super::counts::{Span, all, occupied, sampled};
use crate::store::{
    StoreError,
    maintain::{Count, Precision},
};

/// The neighbours of a key among spans that are full.
fn full(spans: &[Span]) -> impl FnMut(i64) -> Result<(Option<i64>, Option<i64>), StoreError> {
    move |probe| {
        let before = spans.iter().filter(|span| span.first < probe).map(|span| span.last.min(probe - 1)).max();
        let behind = spans.iter().filter(|span| span.last >= probe).map(|span| span.first.max(probe)).min();
        Ok((before, behind))
    }
}

#[test]
fn gaps_are_found_however_wide() {
    let one = Span { first: 1, last: 200_000 };
    assert_eq!(occupied(one, full(&[one])).unwrap(), [one], "none");
    for step in [1_i64 << 20, 1 << 40, 1 << 49, 1 << 62] {
        let spans =
            [one, Span { first: step, last: step + 50_000 }, Span { first: step + (1 << 30), last: step + (1 << 31) }];
        let whole = Span { first: 1, last: spans[2].last };
        let found = occupied(whole, full(&spans)).unwrap();
        // What is a small part of the rest may stay joined with its neighbour; the rows are where they are.
        assert!(found.len() >= 2, "{step}: {found:?}");
        let rows = |window: Span| {
            let within = |span: &Span| (span.last.min(window.last) - span.first.max(window.first) + 1).max(0);
            Ok(u64::try_from(spans.iter().map(within).sum::<i64>()).unwrap())
        };
        let all = 250_000 + (1_u64 << 30);
        let estimate = sampled(&found, rows).unwrap();
        assert!(estimate.abs_diff(all) < all / 20, "{step}: {estimate} of {all}");
    }
}

#[test]
fn many_rows_are_estimated_and_all_are_counted_where_asked_for() {
    let connection = Connection::open_in_memory().unwrap();
    for migration in ["0001_first", "0002_clock_and_filters", "0003_indexes_of_bookings"] {
        let file = format!("{}/migrations/sqlite/{migration}.sql", env!("CARGO_MANIFEST_DIR"));
        connection.execute_batch(&std::fs::read_to_string(file).unwrap()).unwrap();
    }
    // Two lives of a store, the second behind a head that was moved; every third position is a body's.
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150000)
        INSERT INTO bodies SELECT 3 * i + iif(i > 90000, 1 << 45, 0), 0, x'' FROM n;
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120000)
        INSERT INTO bookings (tenant, uid, state, visible, status, start_time, update_time, position)
            SELECT 't', i, x'', i % 4 > 0, 0, 0, 0, 0 FROM n;
        INSERT INTO mentions (tenant, uid, position, delivery, outcome) VALUES ('t', 'u', 1, 1, 1);";
    connection.execute_batch(fill).unwrap();

    let exact = all(&connection, true).unwrap();
    let wanted = [0, 150_000, 90_000, 30_000, 0, 1, 0, 0].map(Count::exact);
    assert_eq!(exact.iter().map(|(_, count)| *count).collect::<Vec<_>>(), wanted);
    for ((name, count), (_, exact)) in all(&connection, false).unwrap().iter().zip(&exact) {
        let off = count.rows.abs_diff(exact.rows);
        assert!(off * 20 <= exact.rows, "{name}: {} of {}", count.rows, exact.rows);
        let sampled = ["bodies", "bookings_hidden"].contains(name);
        assert_eq!(count.precision == Precision::Estimate, sampled, "{name}");
    }
}
