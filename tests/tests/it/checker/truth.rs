//! What the store has, in plain SQL: no line of calbridge stands between it and the history.

use std::{fs, path::Path};

use calbridge_e2e::postgres::Postgres;

use super::readers::Consumer;

/// The log: changes of bookings, and deliveries that were kept and change none (outcome 4), which have no kind.
const LOG: &str = "SELECT t.position, t.tenant, t.uid, t.kind, t.from_status, t.to_status, d.delivery_id
    FROM transitions t LEFT JOIN deliveries d ON d.position = t.delivery
    UNION ALL SELECT position, tenant, coalesce(booking_uid, ''), 0, 0, 0, delivery_id
    FROM deliveries WHERE outcome = 4";

/// As a line of the history tells it, oldest first.
const ENTRIES: &str = "SELECT json_build_object('log', json_build_object('position', lpad(to_hex(position), 16, '0'),
    'tenant', tenant, 'uid', uid, 'kind', kind, 'from', from_status, 'to', to_status,
    'delivery', coalesce(delivery_id::text, '')))";
const LETTERS: &str = "SELECT json_build_object('letter', json_build_object('tenant', tenant, 'consumer', name,
    'position', lpad(to_hex(position), 16, '0'))) FROM dead_letters WHERE NOT replayed ORDER BY position";
const UNSETTLED: &str = "SELECT json_build_object('unsettled', json_build_object('tenant', tenant, 'consumer', name,
    'position', lpad(to_hex(position), 16, '0'))) FROM consumer_items ORDER BY position";

/// Writes it down.
pub(super) fn write(postgres: &Postgres, folder: &Path) {
    let entries = format!("{ENTRIES} FROM ({LOG}) AS log ORDER BY position");
    let parts = [entries.as_str(), LETTERS, UNSETTLED].map(|sql| postgres.query(sql));
    let lines = parts.iter().flat_map(|part| part.lines()).map(|line| format!("{line}\n"));
    fs::write(folder.join("truth.jsonl"), lines.collect::<String>()).unwrap();
}

/// The end of the log, as clients know positions.
pub(super) fn head(postgres: &Postgres) -> String {
    postgres.query("SELECT lpad(to_hex(position), 16, '0') FROM head")
}

/// The last entry that a consumer means.
pub(super) fn last_of(postgres: &Postgres, consumer: &Consumer) -> String {
    let (tenant, sql) = (consumer.scope.tenant, consumer.sql);
    postgres.query(&format!(
        "SELECT lpad(to_hex(max(position)), 16, '0') FROM ({LOG}) AS log WHERE tenant = '{tenant}' AND {sql}"
    ))
}

/// Entries of the log.
pub(super) fn count(postgres: &Postgres) -> usize {
    postgres.query(&format!("SELECT count(*) FROM ({LOG}) AS log")).parse().unwrap()
}
