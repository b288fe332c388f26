//! How numbers of a store are printed. What is not exact says so.

use calbridge_service::store::maintain::{Count, Precision, Stats};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::output::{or_dash, print, row, table};

/// For programs. A number that is not known is null; times are RFC 3339.
pub(super) fn as_json(stats: &Stats) -> Value {
    let count = |count: Count| json!({ "rows": count.rows, "precision": precision(count.precision) });
    let counts: Map<String, Value> = stats.counts.iter().map(|(name, of)| ((*name).to_owned(), count(*of))).collect();
    let parts = stats.parts.as_ref().map(|parts| {
        let parts = parts.iter().map(|part| json!({ "name": part.name, "table": part.table, "bytes": part.bytes }));
        parts.collect::<Vec<_>>()
    });
    json!({
        "store": stats.kind,
        "place": stats.place,
        "schema_version": stats.schema_version,
        "position": stats.head.to_token(),
        "counts": counts,
        "bytes": stats.bytes,
        "database_bytes": stats.file.map(|file| file.database),
        "wal_bytes": stats.file.map(|file| file.wal),
        "free_bytes": stats.file.map(|file| file.free),
        "dead_rows": stats.dead_rows,
        "bytes_per_delivery": stats.bytes_per_delivery(),
        "oldest_delivery": stats.oldest_delivery.and_then(instant).map(|time| time.to_string()),
        "newest_delivery": stats.newest_delivery.and_then(instant).map(|time| time.to_string()),
        "parts": parts,
    })
}

/// For people.
pub(super) fn as_tables(stats: &Stats) -> anyhow::Result<()> {
    let mut numbers = table(["what", "how much"]);
    numbers.add_rows(lines(stats).into_iter().map(|(what, value)| row([what.to_owned(), or_dash(&value)])));
    print(numbers)?;
    let Some(parts) = &stats.parts else {
        return print("bytes by table and index: --exact measures them, and reads the whole file for it");
    };
    let mut sizes = table(["table or index", "of", "bytes"]);
    sizes.add_rows(parts.iter().map(|part| row([part.name.clone(), part.table.clone(), part.bytes.to_string()])));
    print(sizes)
}

fn lines(stats: &Stats) -> Vec<(&'static str, String)> {
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let mut lines = vec![
        (stats.kind, stats.place.clone()),
        ("schema version", stats.schema_version.to_string()),
        ("position", stats.head.to_token()),
    ];
    lines.extend(stats.counts.iter().map(|(name, count)| (*name, counted(*count))));
    lines.push(("bytes", stats.bytes.to_string()));
    if let Some(file) = stats.file {
        lines.push(("bytes of the database", file.database.to_string()));
        lines.push(("bytes of its log", file.wal.to_string()));
        lines.push(("free bytes", file.free.to_string()));
    }
    if stats.dead_rows.is_some() {
        lines.push(("dead rows", format!("about {}", number(stats.dead_rows))));
    }
    lines.push(("bytes per delivery", number(stats.bytes_per_delivery())));
    let shown = |time: Option<i64>| time.and_then(instant).map(|time| time.to_string()).unwrap_or_default();
    lines.push(("oldest delivery", shown(stats.oldest_delivery)));
    lines.push(("newest delivery", shown(stats.newest_delivery)));
    lines
}

fn counted(count: Count) -> String {
    match count.precision {
        Precision::Exact => count.rows.to_string(),
        Precision::Estimate => format!("about {}", count.rows),
        Precision::AtLeast => format!("more than {}", count.rows),
    }
}

fn precision(precision: Precision) -> &'static str {
    match precision {
        Precision::Exact => "exact",
        Precision::Estimate => "estimate",
        Precision::AtLeast => "at_least",
    }
}

/// If it is one that a calendar can hold.
fn instant(micros: i64) -> Option<Timestamp> {
    Timestamp::from_microsecond(micros).ok()
}

#[cfg(test)]
mod tests {
    use calbridge_service::store::{
        Position,
        maintain::{COUNTS, FileStats, Part},
    };

    use super::*;

    fn stats() -> Stats {
        let counts = [Precision::Exact, Precision::Estimate, Precision::AtLeast].into_iter().cycle();
        Stats {
            kind: "sqlite",
            place: "/data/calbridge.db".to_owned(),
            schema_version: 3,
            head: Position(255),
            counts: COUNTS.into_iter().zip(counts.map(|precision| Count { rows: 10, precision })).collect(),
            bytes: 27_000,
            file: Some(FileStats { database: 20_000, wal: 7_000, free: 4_096 }),
            dead_rows: None,
            parts: Some(vec![Part { name: "bodies".to_owned(), table: "bodies".to_owned(), bytes: 9_000 }]),
            oldest_delivery: Some(0),
            newest_delivery: Some(i64::MAX),
        }
    }

    #[test]
    fn json_says_what_each_number_is() {
        let value = as_json(&stats());
        assert_eq!(value["position"], "00000000000000ff");
        assert_eq!(value["counts"]["deliveries"], json!({ "rows": 10, "precision": "exact" }));
        assert_eq!(value["counts"]["bodies"], json!({ "rows": 10, "precision": "estimate" }));
        assert_eq!(value["counts"]["bookings_shown"], json!({ "rows": 10, "precision": "at_least" }));
        assert_eq!(value["bytes_per_delivery"], 2_700);
        assert_eq!(value["oldest_delivery"], "1970-01-01T00:00:00Z");
        assert_eq!(value["newest_delivery"], Value::Null, "no calendar has it");
        assert_eq!(value["parts"], json!([{ "name": "bodies", "table": "bodies", "bytes": 9_000 }]));
        assert_eq!(as_json(&Stats { parts: None, ..stats() })["parts"], Value::Null);
    }

    #[test]
    fn a_number_for_people_says_what_it_is() {
        let lines = lines(&stats());
        let said = |what: &str| lines.iter().find(|(of, _)| *of == what).map(|(_, value)| value.as_str());
        assert_eq!(said("deliveries"), Some("10"));
        assert_eq!(said("bodies"), Some("about 10"));
        assert_eq!(said("bookings_shown"), Some("more than 10"));
        assert_eq!(said("dead rows"), None);
        assert_eq!(said("newest delivery"), Some(""));
    }
}
