//! Two lists of rows in one order, read page by page and laid side by side.

use std::collections::BTreeMap;

use crate::{
    settings::REFOLD_PAGE,
    store::{BookingKey, StoredRow},
};

/// The last key up to which nothing of either page is missing; `None` where both lists are at their end. A page that is
/// not full is the last of its list.
pub(super) fn read_until(one: &[StoredRow], other: &[StoredRow]) -> Option<BookingKey> {
    let last = |page: &[StoredRow]| page.last().map(|row| row.key.clone());
    match (one.len() < REFOLD_PAGE, other.len() < REFOLD_PAGE) {
        (true, true) => last(one).max(last(other)),
        (true, false) => last(other),
        (false, true) => last(one),
        (false, false) => last(one).min(last(other)),
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
    use crate::store::Position;

    use super::*;

    fn row(number: usize) -> StoredRow {
        StoredRow { key: ("acme".into(), format!("{number:06}")), state: Vec::new(), mentioned: Position(0) }
    }

    fn until(one: impl Iterator<Item = usize>, other: impl Iterator<Item = usize>) -> Option<String> {
        let (one, other): (Vec<_>, Vec<_>) = (one.map(row).collect(), other.map(row).collect());
        read_until(&one, &other).map(|(_, uid)| uid)
    }

    #[test]
    fn a_full_page_ends_where_the_next_begins() {
        let full = REFOLD_PAGE;
        let uid = |number: usize| Some(row(number).key.1);
        assert_eq!(until(0..0, 0..0), None);
        assert_eq!(until(0..3, 0..0), uid(2));
        assert_eq!(until(0..3, 0..5), uid(4));
        assert_eq!(until(0..full, 0..3), uid(full - 1), "the other list is at its end");
        assert_eq!(until(0..3, 0..full), uid(full - 1));
        assert_eq!(until(0..full, 10..full + 10), uid(full - 1), "of two full pages the lesser end");
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
