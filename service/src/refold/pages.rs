//! Two lists of rows in one order, read page by page and laid side by side.

use std::collections::BTreeMap;

use crate::store::{BookingKey, RowPage, StoredRow};

/// The last key up to which nothing of either page is missing; `None` where both lists are at their end.
pub(super) fn read_until(one: &RowPage, other: &RowPage) -> Option<BookingKey> {
    let last = |page: &RowPage| page.rows.last().map(|row| row.key.clone());
    match (one.more, other.more) {
        (false, false) => last(one).max(last(other)),
        (false, true) => last(other),
        (true, false) => last(one),
        (true, true) => last(one).min(last(other)),
    }
}

/// Each key up to `until` with its row of either list.
pub(super) fn side_by_side(
    one: Vec<StoredRow>,
    other: Vec<StoredRow>,
    until: &BookingKey,
) -> impl Iterator<Item = (BookingKey, Option<StoredRow>, Option<StoredRow>)> {
    let mut rows: BTreeMap<BookingKey, (Option<StoredRow>, Option<StoredRow>)> = BTreeMap::new();
    for row in one.into_iter().filter(|row| row.key <= *until) {
        let key = row.key.clone();
        rows.entry(key).or_default().0 = Some(row);
    }
    for row in other.into_iter().filter(|row| row.key <= *until) {
        let key = row.key.clone();
        rows.entry(key).or_default().1 = Some(row);
    }
    rows.into_iter().map(|(key, (one, other))| (key, one, other))
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::store::Position;

    fn row(number: usize) -> StoredRow {
        StoredRow {
            key: ("acme".into(), format!("{number:06}")),
            state: Vec::new(),
            mentioned: Position(0),
            first: Position(0),
        }
    }

    fn page(rows: Range<usize>, more: bool) -> RowPage {
        RowPage { rows: rows.map(row).collect(), more }
    }

    #[test]
    fn a_page_that_has_more_behind_it_ends_where_the_next_begins() {
        let uid = |number: usize| Some(row(number).key);
        assert_eq!(read_until(&page(0..0, false), &page(0..0, false)), None);
        assert_eq!(read_until(&page(0..3, false), &page(0..0, false)), uid(2));
        assert_eq!(read_until(&page(0..3, false), &page(0..5, false)), uid(4));
        assert_eq!(read_until(&page(0..9, true), &page(0..3, false)), uid(8), "the other list is at its end");
        assert_eq!(read_until(&page(0..3, false), &page(0..2, true)), uid(1), "a page may be short and not the last");
        assert_eq!(read_until(&page(0..9, true), &page(4..12, true)), uid(8), "of two ends the lesser");
    }

    #[test]
    fn rows_of_one_key_stand_side_by_side() {
        let (one, other) = (vec![row(1), row(2), row(9)], vec![row(2), row(3)]);
        let pairs: Vec<_> = side_by_side(one, other, &row(3).key).collect();
        let told: Vec<_> =
            pairs.iter().map(|(key, one, other)| (key.1.as_str(), one.is_some(), other.is_some())).collect();
        assert_eq!(told, [("000001", true, false), ("000002", true, true), ("000003", false, true)]);
    }
}
