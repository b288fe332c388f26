//! What a store takes of its disk, part by part. It is looked at when its service was stopped: what the write-ahead log
//! held lies in the file then, so nothing is counted twice and no log of constant size is taken for webhooks.

use calbridge_process::Database;
use calbridge_service::store::maintain::{self, Part, Stats};
use serde_json::{Value, json};

/// The parts, in the order of the report.
pub const PARTS: [&str; 9] = [
    "bodies",
    "deliveries",
    "delivery indexes",
    "bookings",
    "booking indexes",
    "transitions",
    "timelines",
    "postings",
    "free and other pages",
];

const OTHER: usize = PARTS.len() - 1;

/// What a store takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// All of it.
    pub bytes: u64,
    /// By part, as [`PARTS`] has them; their sum is all of it.
    pub parts: [u64; PARTS.len()],
}

/// Looks at a store that no service has.
///
/// # Errors
///
/// It can't be read.
pub async fn of(database: &Database) -> anyhow::Result<Disk> {
    Ok(parted(&maintain::stats(database, true).await?))
}

fn parted(stats: &Stats) -> Disk {
    let mut parts = [0; PARTS.len()];
    for part in stats.parts.iter().flatten() {
        parts[place(part)] += part.bytes;
    }
    let measured = parts.iter().sum();
    parts[OTHER] += stats.bytes.saturating_sub(measured);
    Disk { bytes: stats.bytes, parts }
}

/// Where a table or an index counts.
fn place(part: &Part) -> usize {
    let is_index = usize::from(part.name != part.table);
    match part.table.as_str() {
        "bodies" => 0,
        "deliveries" => 1 + is_index,
        "bookings" => 3 + is_index,
        "transitions" => 5,
        "mentions" | "duplicates" => 6,
        "tail" | "runs" | "blocks" | "fences" | "posting_tail" | "posting_runs" | "posting_blocks" => 7,
        _ => OTHER,
    }
}

impl Disk {
    /// Another store's too.
    pub(super) fn add(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.parts.iter_mut().zip(other.parts).for_each(|(part, other)| *part += other);
    }

    /// As the JSON report has it, in bytes for each of so many webhooks.
    #[must_use]
    pub fn json(&self, webhooks: u64) -> Value {
        let each = |bytes: u64| bytes.checked_div(webhooks);
        let names = ["bodies", "deliveries", "delivery_indexes", "bookings", "booking_indexes"];
        let names = names.into_iter().chain(["transitions", "timelines", "postings", "free_and_other"]);
        let parts: Value = names.zip(self.parts).map(|(name, bytes)| (name.to_owned(), json!(each(bytes)))).collect();
        json!({ "bytes": self.bytes, "webhooks": webhooks, "bytes_per_webhook": each(self.bytes), "by_part": parts })
    }
}
