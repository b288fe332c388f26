//! In `PostgreSQL`: one connection, one transaction a round, and one statement for each table with the round's rows as
//! arrays; what needs no answer of the other is sent together, so it takes two round trips. Of one tenant alone.

use std::collections::{BTreeMap, HashMap, HashSet};

use tokio_postgres::{Client, NoTls, Statement};

use super::row::{Packer, Row};

/// No index but its own can stand in for a booking's name: statements are planned over empty tables.
const SCHEMA: &str = "
    CREATE TABLE deliveries (position bigint PRIMARY KEY, delivery_id uuid NOT NULL, tenant text NOT NULL,
        created_at bigint NOT NULL, key bytea NOT NULL, trigger integer NOT NULL, trigger_name text NOT NULL,
        receive_time bigint NOT NULL, body_size bigint NOT NULL, secret_id text NOT NULL, content_type text NOT NULL,
        webhook_version text NOT NULL, uid text NOT NULL, UNIQUE (tenant, created_at, key));
    CREATE TABLE bodies (position bigint PRIMARY KEY, body bytea NOT NULL);
    CREATE TABLE bookings (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant text NOT NULL, uid text NOT NULL,
        status integer NOT NULL, start_time bigint NOT NULL, end_time bigint NOT NULL, update_time bigint NOT NULL,
        position bigint NOT NULL, organizer text NOT NULL, event_type_id bigint, title text NOT NULL,
        state bytea NOT NULL, UNIQUE (tenant, uid));
    CREATE INDEX bookings_by_status ON bookings (status, tenant, start_time);
    CREATE INDEX bookings_by_organizer ON bookings (organizer, tenant, start_time);
    CREATE INDEX bookings_by_start ON bookings (start_time, tenant);
    CREATE TABLE transitions (position bigint PRIMARY KEY, tenant text NOT NULL, uid text NOT NULL,
        change bytea NOT NULL);";

/// As calbridge has it: a key is looked up in its index from the first webhook on, and not from the first time that the
/// server has looked at the tables by itself.
const SETTINGS: &str = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off;
    SET enable_mergejoin = off; SET jit = off";

const DELIVERIES: &str = "INSERT INTO deliveries
    SELECT * FROM UNNEST($1::bigint[], $2::uuid[], $3::text[], $4::bigint[], $5::bytea[], $6::integer[], $7::text[],
        $8::bigint[], $9::bigint[], $10::text[], $11::text[], $12::text[], $13::text[])
    ON CONFLICT DO NOTHING RETURNING position";
const BEFORE: &str = "SELECT b.uid, b.status FROM UNNEST($1::text[], $2::text[]) AS k (tenant, uid)
    JOIN bookings b ON b.tenant = k.tenant AND b.uid = k.uid";
const BODIES: &str = "INSERT INTO bodies SELECT * FROM UNNEST($1::bigint[], $2::bytea[])";
const BOOKINGS: &str = "INSERT INTO bookings (tenant, uid, status, start_time, end_time, update_time, position,
        organizer, event_type_id, title, state)
    SELECT * FROM UNNEST($1::text[], $2::text[], $3::integer[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
        $8::text[], $9::bigint[], $10::text[], $11::bytea[])
    ON CONFLICT (tenant, uid) DO UPDATE SET status = excluded.status, start_time = excluded.start_time,
        end_time = excluded.end_time, update_time = excluded.update_time, position = excluded.position,
        organizer = excluded.organizer, event_type_id = excluded.event_type_id, title = excluded.title,
        state = excluded.state";
const TRANSITIONS: &str = "INSERT INTO transitions SELECT * FROM UNNEST($1::bigint[], $2::text[], $3::text[],
    $4::bytea[])";

/// One connection, and how far the log has come.
pub(super) struct Postgres {
    client: Client,
    statements: Statements,
    packer: Packer,
    position: i64,
}

struct Statements {
    deliveries: Statement,
    before: Statement,
    bodies: Statement,
    bookings: Statement,
    transitions: Statement,
}

impl Postgres {
    pub(super) async fn begin(url: &str) -> anyhow::Result<Self> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        // How it ends the next statement is told.
        tokio::spawn(connection);
        client.batch_execute(SCHEMA).await?;
        client.batch_execute(SETTINGS).await?;
        let statements = Statements {
            deliveries: client.prepare(DELIVERIES).await?,
            before: client.prepare(BEFORE).await?,
            bodies: client.prepare(BODIES).await?,
            bookings: client.prepare(BOOKINGS).await?,
            transitions: client.prepare(TRANSITIONS).await?,
        };
        Ok(Self { client, statements, packer: Packer::new()?, position: 0 })
    }

    /// The position of each; nothing for one that was kept before.
    pub(super) async fn keep(&mut self, rows: Vec<Row>) -> anyhow::Result<Vec<Option<i64>>> {
        let Self { client, statements, packer, position } = self;
        let rows: Vec<(i64, Row)> = (*position + 1..).zip(rows).collect();
        *position += i64::try_from(rows.len())?;
        // Each is sent when it is first polled: in this order.
        let ((), kept, mut statuses) = tokio::try_join!(
            biased;
            run(client, "BEGIN"),
            deliveries(client, statements, &rows),
            before(client, statements, &rows),
        )?;
        let new: Vec<&(i64, Row)> = rows.iter().filter(|(position, _)| kept.contains(position)).collect();
        let mut packed = Vec::with_capacity(new.len());
        let mut changes = Vec::with_capacity(new.len());
        for (_, row) in &new {
            packed.push(packer.pack(&row.event.raw_body)?);
            let from = statuses.insert(row.booking.uid.clone(), row.booking.status);
            changes.push(row.change(from.unwrap_or_default()));
        }
        tokio::try_join!(
            biased;
            bodies(client, statements, &new, &packed),
            bookings(client, statements, &new),
            transitions(client, statements, &new, &changes),
            run(client, "COMMIT"),
        )?;
        Ok(rows.iter().map(|(position, _)| kept.contains(position).then_some(*position)).collect())
    }
}

async fn run(client: &Client, command: &str) -> anyhow::Result<()> {
    Ok(client.batch_execute(command).await?)
}

/// The positions of those that are new.
async fn deliveries(
    client: &Client,
    Statements { deliveries, .. }: &Statements,
    rows: &[(i64, Row)],
) -> anyhow::Result<HashSet<i64>> {
    let sizes = rows.iter().map(|(_, row)| i64::try_from(row.event.raw_body.len())).collect::<Result<Vec<_>, _>>()?;
    let told = client
        .query(
            deliveries,
            &[
                &column(rows, |(position, _)| *position),
                &column(rows, |(_, row)| row.delivery_id),
                &column(rows, |(_, row)| row.event.tenant.as_str()),
                &column(rows, |(_, row)| row.created_at),
                &column(rows, |(_, row)| &row.key[..]),
                &column(rows, |(_, row)| row.event.trigger),
                &column(rows, |(_, row)| row.event.trigger_name.as_str()),
                &column(rows, |(_, row)| row.receive_time),
                &sizes,
                &column(rows, |(_, row)| row.event.secret_id.as_str()),
                &column(rows, |(_, row)| row.event.content_type.as_str()),
                &column(rows, |(_, row)| row.event.webhook_version.as_str()),
                &column(rows, |(_, row)| row.booking.uid.as_str()),
            ],
        )
        .await?;
    Ok(told.iter().map(|row| row.get(0)).collect())
}

/// The status of each booking that was heard of before, by uid.
async fn before(
    client: &Client,
    Statements { before, .. }: &Statements,
    rows: &[(i64, Row)],
) -> anyhow::Result<HashMap<String, i32>> {
    let tenants = column(rows, |(_, row)| row.event.tenant.as_str());
    let uids = column(rows, |(_, row)| row.booking.uid.as_str());
    let found = client.query(before, &[&tenants, &uids]).await?;
    Ok(found.iter().map(|row| (row.get(0), row.get(1))).collect())
}

async fn bodies(
    client: &Client,
    Statements { bodies, .. }: &Statements,
    new: &[&(i64, Row)],
    packed: &[Vec<u8>],
) -> anyhow::Result<u64> {
    Ok(client.execute(bodies, &[&column(new, |(position, _)| *position), &packed]).await?)
}

/// Of each booking the last word: a statement may touch a row once.
async fn bookings(
    client: &Client,
    Statements { bookings, .. }: &Statements,
    new: &[&(i64, Row)],
) -> anyhow::Result<u64> {
    let last: BTreeMap<&str, &(i64, Row)> = new.iter().map(|told| (told.1.booking.uid.as_str(), *told)).collect();
    let last: Vec<&(i64, Row)> = last.into_values().collect();
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 11] = [
        &column(&last, |(_, row)| row.event.tenant.as_str()),
        &column(&last, |(_, row)| row.booking.uid.as_str()),
        &column(&last, |(_, row)| row.booking.status),
        &column(&last, |(_, row)| row.booking.start_time),
        &column(&last, |(_, row)| row.booking.end_time),
        &column(&last, |(_, row)| row.receive_time),
        &column(&last, |(position, _)| *position),
        &column(&last, |(_, row)| row.booking.organizer.as_str()),
        &column(&last, |(_, row)| row.booking.event_type_id),
        &column(&last, |(_, row)| row.booking.title.as_str()),
        &column(&last, |(_, row)| row.state.as_slice()),
    ];
    Ok(client.execute(bookings, &values).await?)
}

async fn transitions(
    client: &Client,
    Statements { transitions, .. }: &Statements,
    new: &[&(i64, Row)],
    changes: &[Vec<u8>],
) -> anyhow::Result<u64> {
    let positions = column(new, |(position, _)| *position);
    let tenants = column(new, |(_, row)| row.event.tenant.as_str());
    let uids = column(new, |(_, row)| row.booking.uid.as_str());
    Ok(client.execute(transitions, &[&positions, &tenants, &uids, &changes]).await?)
}

/// One value of each row.
fn column<'r, R: std::borrow::Borrow<(i64, Row)>, T>(rows: &'r [R], value: impl Fn(&'r (i64, Row)) -> T) -> Vec<T> {
    rows.iter().map(|row| value(row.borrow())).collect()
}
