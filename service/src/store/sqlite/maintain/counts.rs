//! How many rows there are, without looking at each of ten million.
//!
//! Tables with a number for a key are sampled in windows along it, once they have more rows than are counted one by
//! one. Positions may have wide gaps (a head that was moved, rows that were removed): those are found first and left
//! out, or most windows would fall into one.

use rusqlite::{Connection, OptionalExtension, params};

use crate::store::{
    StoreError,
    maintain::{COUNTED_ROWS, COUNTS, Count, unsigned},
};

/// Windows over all keys of a table. With sixty-four rows or more in each an estimate is a few per cent off.
const WINDOWS: u64 = 64;
/// Keys of a window.
const WINDOW_KEYS: i64 = 256;
/// How often gaps are looked for: each time finds those of a sixty-fourth of what the time before left over.
const GAP_ROUNDS: usize = 8;
/// Up to this many rows of a narrow table without a number for a key are counted: a tenth of a second.
const COUNTED_ENTRIES: u64 = 1_000_000;

/// A table whose key is a number.
struct Keyed {
    table: &'static str,
    key: &'static str,
    /// Which rows.
    of: &'static str,
}

/// Keys between two numbers, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: i64,
    pub(super) last: i64,
}

impl Span {
    fn keys(self) -> u64 {
        self.last.abs_diff(self.first).saturating_add(1)
    }
}

/// All counts, in the order of their names.
pub(super) fn all(connection: &Connection, exact: bool) -> Result<Vec<(&'static str, Count)>, StoreError> {
    let by_position = |table| keyed(connection, &Keyed { table, key: "position", of: "" }, exact);
    let bookings = |of| keyed(connection, &Keyed { table: "bookings", key: "id", of }, exact);
    let shown = bookings("visible = 1")?;
    let counts = [
        by_position("deliveries")?,
        by_position("bodies")?,
        shown,
        bookings("")?.without(shown),
        by_position("transitions")?,
        entries(connection, "mentions", exact)?,
        by_position("duplicates")?,
    ];
    Ok(COUNTS.into_iter().zip(counts).collect())
}

/// The parts of a range of keys in which there are rows, as far as probes tell.
pub(super) fn occupied(
    whole: Span,
    mut neighbours: impl FnMut(i64) -> Result<(Option<i64>, Option<i64>), StoreError>,
) -> Result<Vec<Span>, StoreError> {
    let mut spans = vec![whole];
    for _ in 0..GAP_ROUNDS {
        let stride = spans.iter().map(|span| span.keys()).sum::<u64>() / WINDOWS;
        let mut narrower = Vec::with_capacity(spans.len());
        for span in &spans {
            split(*span, stride, &mut neighbours, &mut narrower)?;
        }
        if narrower == spans {
            break;
        }
        spans = narrower;
    }
    Ok(spans)
}

/// Probes a span at each stride, and cuts out what is empty for half of one or more.
fn split(
    span: Span,
    stride: u64,
    neighbours: &mut impl FnMut(i64) -> Result<(Option<i64>, Option<i64>), StoreError>,
    into: &mut Vec<Span>,
) -> Result<(), StoreError> {
    let mut first = span.first;
    let mut probe = first.saturating_add_unsigned(stride / 2);
    while stride > 0 && probe < span.last {
        if let (Some(before), Some(behind)) = neighbours(probe)?
            && before >= first
            && behind <= span.last
            && behind.abs_diff(before) > stride / 2
        {
            into.push(Span { first, last: before });
            first = behind;
            probe = probe.max(behind);
        }
        probe = probe.saturating_add_unsigned(stride);
    }
    into.push(Span { first, last: span.last });
    Ok(())
}

/// Rows of a table with a number for a key.
fn keyed(connection: &Connection, keyed: &Keyed, exact: bool) -> Result<Count, StoreError> {
    let Keyed { table, key, of } = keyed;
    let filter = if of.is_empty() { "TRUE" } else { of };
    let count = counted(connection, &format!("{table} WHERE {filter}"), if exact { None } else { Some(COUNTED_ROWS) })?;
    if exact || count <= COUNTED_ROWS {
        return Ok(Count::exact(count));
    }
    let ends = format!("SELECT min({key}), max({key}) FROM {table}");
    let Some(whole) = connection
        .query_row(&ends, [], |row| Ok(row.get::<_, Option<i64>>(0)?.zip(row.get(1)?)))?
        .map(|(first, last)| Span { first, last })
    else {
        return Ok(Count::exact(0));
    };
    let mut before = connection.prepare(&format!("SELECT max({key}) FROM {table} WHERE {key} < ?1"))?;
    let mut behind = connection.prepare(&format!("SELECT min({key}) FROM {table} WHERE {key} >= ?1"))?;
    let spans = occupied(whole, |probe| {
        Ok((before.query_row([probe], |row| row.get(0))?, behind.query_row([probe], |row| row.get(0))?))
    })?;
    let select = format!("SELECT count(*) FROM {table} WHERE {key} BETWEEN ?1 AND ?2 AND {filter}");
    let mut window = connection.prepare(&select)?;
    let rows =
        sampled(&spans, |span| Ok(unsigned(window.query_row(params![span.first, span.last], |row| row.get(0))?)))?;
    // At least as many were counted.
    Ok(Count::estimate(rows.max(count)))
}

/// What windows along these spans say of all of them.
pub(super) fn sampled(
    spans: &[Span],
    mut rows: impl FnMut(Span) -> Result<u64, StoreError>,
) -> Result<u64, StoreError> {
    let keys: u128 = spans.iter().map(|span| u128::from(span.keys())).sum();
    let mut total = 0_u128;
    for span in spans {
        let own = u128::from(span.keys());
        let windows = u64::try_from(u128::from(WINDOWS) * own / keys.max(1)).unwrap_or(WINDOWS).clamp(1, span.keys());
        let stride = span.keys() / windows;
        let (mut seen, mut looked) = (0_u128, 0_u128);
        for number in 0..windows {
            let first = span.first.saturating_add_unsigned(number * stride);
            let last = first.saturating_add(WINDOW_KEYS - 1).min(first.saturating_add_unsigned(stride - 1));
            let window = Span { first, last };
            seen += u128::from(rows(window)?);
            looked += u128::from(window.keys());
        }
        total += seen * own / looked.max(1);
    }
    Ok(u64::try_from(total).unwrap_or(u64::MAX))
}

/// Rows of a table that has no number for a key.
fn entries(connection: &Connection, table: &str, exact: bool) -> Result<Count, StoreError> {
    const IS_THERE: &str = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    if connection.query_row(IS_THERE, [table], |_| Ok(())).optional()?.is_none() {
        // Of a schema older than the table.
        return Ok(Count::exact(0));
    }
    let count = counted(connection, table, if exact { None } else { Some(COUNTED_ENTRIES) })?;
    let more = !exact && count > COUNTED_ENTRIES;
    Ok(if more { Count::at_least(COUNTED_ENTRIES) } else { Count::exact(count) })
}

/// Counts rows one by one: all of them, or one more than a bound at the most.
fn counted(connection: &Connection, rows: &str, most: Option<u64>) -> Result<u64, StoreError> {
    let select = match most {
        Some(most) => format!("SELECT count(*) FROM (SELECT 1 FROM {rows} LIMIT {})", most + 1),
        None => format!("SELECT count(*) FROM {rows}"),
    };
    Ok(unsigned(connection.query_row(&select, [], |row| row.get(0))?))
}
