//! Sizes and numbers of a database. Where there are many rows their number is the server's own estimate: its rows a
//! page, as of the last vacuum, times the pages that there are now.

use std::collections::HashMap;

use deadpool_postgres::ClientWrapper;

use super::super::schema;
use crate::store::{
    Micros, Position, StoreError,
    maintain::{COUNTED_ROWS, COUNTS, Count, Part, Stats, unsigned},
};

/// How many rows a table or an index may have by the server's statistics, and its size.
struct Relation {
    part: Part,
    rows: Option<u64>,
}

pub(super) async fn stats(
    client: &ClientWrapper,
    place: &str,
    schema_version: i64,
    exact: bool,
) -> Result<Stats, StoreError> {
    const HEAD: &str = "SELECT position FROM head";
    const DEAD: &str = "SELECT coalesce(sum(n_dead_tup), 0)::bigint FROM pg_stat_user_tables
        WHERE schemaname = current_schema() AND relname = ANY($1)";
    let relations = relations(client).await?;
    let dead = client.query_one(DEAD, &[&schema::tables().collect::<Vec<_>>()]).await?;
    Ok(Stats {
        kind: "postgresql",
        place: place.to_owned(),
        schema_version,
        head: Position(client.query_one(HEAD, &[]).await?.try_get(0)?),
        counts: counts(client, &relations, exact).await?,
        bytes: relations.iter().map(|relation| relation.part.bytes).sum(),
        file: None,
        dead_rows: Some(unsigned(dead.try_get(0)?)),
        oldest_delivery: received(client, "ASC").await?,
        newest_delivery: received(client, "DESC").await?,
        parts: Some(relations.into_iter().map(|relation| relation.part).collect()),
    })
}

/// What our tables and their indexes take.
pub(super) async fn on_disk(client: &ClientWrapper) -> Result<u64, StoreError> {
    Ok(relations(client).await?.iter().map(|relation| relation.part.bytes).sum())
}

/// Those of our tables that are there.
pub(super) async fn tables(client: &ClientWrapper) -> Result<Vec<String>, StoreError> {
    const SELECT: &str = "SELECT table_name::text FROM information_schema.tables
        WHERE table_schema = current_schema() AND table_name = ANY($1) ORDER BY table_name";
    let rows = client.query(SELECT, &[&schema::tables().collect::<Vec<_>>()]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Who we are, and those of our tables that we may not vacuum, if there are any: the server only warns of them.
pub(super) async fn closed_to_vacuum(client: &ClientWrapper) -> Result<Option<(String, String)>, StoreError> {
    const SELECT: &str = "SELECT current_user::text, string_agg(c.relname, ', ' ORDER BY c.relname)
        FROM pg_class c, pg_database d
        WHERE c.relnamespace = (SELECT current_schema()::regnamespace) AND c.relname = ANY($1) AND c.relkind = 'r'
            AND d.datname = current_database()
            AND NOT pg_has_role(c.relowner, 'USAGE') AND NOT pg_has_role(d.datdba, 'USAGE')
            AND CASE WHEN current_setting('server_version_num')::int < 170000 THEN true
                ELSE NOT has_table_privilege(c.oid, 'MAINTAIN') END
        HAVING count(*) > 0";
    let tables: Vec<_> = schema::tables().collect();
    let found = client.query_opt(SELECT, &[&tables]).await?;
    found.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
}

/// Our tables, with what they keep out of line, and their indexes; the largest first.
async fn relations(client: &ClientWrapper) -> Result<Vec<Relation>, StoreError> {
    const SELECT: &str = "WITH ours AS (
            SELECT oid, relname AS name FROM pg_class
            WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND relname = ANY($1)
        ), parts AS (
            SELECT c.oid, c.relname AS name, ours.name AS owner, pg_table_size(c.oid) AS bytes
            FROM ours JOIN pg_class c ON c.oid = ours.oid
            UNION ALL
            SELECT c.oid, c.relname, ours.name, pg_table_size(c.oid)
            FROM ours JOIN pg_index i ON i.indrelid = ours.oid JOIN pg_class c ON c.oid = i.indexrelid
        )
        SELECT parts.name::text, parts.owner::text, parts.bytes,
            CASE WHEN c.reltuples >= 0 AND c.relpages > 0 THEN (c.reltuples / c.relpages
                * (pg_relation_size(c.oid) / current_setting('block_size')::bigint))::bigint END
        FROM parts JOIN pg_class c ON c.oid = parts.oid
        ORDER BY parts.bytes DESC, parts.name";
    let rows = client.query(SELECT, &[&schema::tables().collect::<Vec<_>>()]).await?;
    rows.iter()
        .map(|row| {
            let part = Part { name: row.try_get(0)?, table: row.try_get(1)?, bytes: unsigned(row.try_get(2)?) };
            Ok(Relation { part, rows: row.try_get::<_, Option<i64>>(3)?.map(unsigned) })
        })
        .collect()
}

async fn counts(
    client: &ClientWrapper,
    relations: &[Relation],
    exact: bool,
) -> Result<Vec<(&'static str, Count)>, StoreError> {
    let said: HashMap<&str, u64> =
        relations.iter().filter_map(|relation| Some((relation.part.name.as_str(), relation.rows?))).collect();
    let count = async |rows: &str, by: &str| counted(client, rows, said.get(by).copied(), exact).await;
    // An index over the shown ones alone knows how many they are.
    let shown = count("bookings WHERE visible = 1", "bookings_by_update").await?;
    let counts = [
        count("deliveries", "deliveries").await?,
        count("bodies", "bodies").await?,
        shown,
        count("bookings", "bookings").await?.without(shown),
        count("transitions", "transitions").await?,
        count("mentions", "mentions").await?,
        count("duplicates", "duplicates").await?,
    ];
    Ok(COUNTS.into_iter().zip(counts).collect())
}

/// Counts rows one by one up to a bound; beyond it, what the server's statistics say.
async fn counted(client: &ClientWrapper, rows: &str, said: Option<u64>, exact: bool) -> Result<Count, StoreError> {
    let select = if exact {
        format!("SELECT count(*) FROM {rows}")
    } else {
        format!("SELECT count(*) FROM (SELECT 1 FROM {rows} LIMIT {}) AS bounded", COUNTED_ROWS + 1)
    };
    let count = unsigned(client.query_one(&select, &[]).await?.try_get(0)?);
    Ok(match said {
        _ if exact || count <= COUNTED_ROWS => Count::exact(count),
        Some(said) if said > COUNTED_ROWS => Count::estimate(said),
        // Nobody has analyzed the table since it was small.
        _ => Count::at_least(COUNTED_ROWS),
    })
}

async fn received(client: &ClientWrapper, order: &str) -> Result<Option<Micros>, StoreError> {
    let select = format!("SELECT receive_time FROM deliveries ORDER BY position {order} LIMIT 1");
    Ok(client.query_opt(&select, &[]).await?.map(|row| row.try_get(0)).transpose()?)
}
