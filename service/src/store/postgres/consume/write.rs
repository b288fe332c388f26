//! The statements that write a consumer: what a command changes travels as arrays, in one round trip with the commit.

use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use tokio_postgres::{Error, Statement, types::ToSql};

use super::read::COLUMNS;
use crate::store::{
    Consumer, ConsumerKey, Micros, Position,
    consume::{Written, turn::Parked},
    postgres::{
        queries,
        write::{column, text},
    },
};

const UPDATE: &str = "UPDATE consumers SET filter_text = $3, filter = $4, recorded = $5, max_in_flight = $6,
        ack_wait = $7, backoff = $8, max_deliveries = $9, blocks = $10, paused = $11, cursor = $12, scanned = $13,
        lease = $14, etag = $15, create_time = $16, update_time = $17
    WHERE tenant = $1 AND name = $2";
const ITEMS: &str = "INSERT INTO consumer_items (tenant, name, position, uid, deliveries, lease, time)
    SELECT $1::text, $2::text, i.*
    FROM UNNEST($3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[]) AS i
    ON CONFLICT (tenant, name, position) DO UPDATE SET uid = excluded.uid, deliveries = excluded.deliveries,
        lease = excluded.lease, time = excluded.time";
const LETTERS: &str =
    "INSERT INTO dead_letters (tenant, name, create_time, replayed, position, uid, deliveries, reason,
        kind, entry)
    SELECT $1::text, $2::text, $3::bigint, FALSE, l.*
    FROM UNNEST($4::bigint[], $5::text[], $6::bigint[], $7::text[], $8::smallint[], $9::bytea[]) AS l
    ON CONFLICT (tenant, name, position) DO UPDATE SET create_time = excluded.create_time,
        replayed = excluded.replayed, uid = excluded.uid, deliveries = excluded.deliveries, reason = excluded.reason,
        kind = excluded.kind, entry = excluded.entry";
const SETTLED: &str = "DELETE FROM consumer_items WHERE tenant = $1 AND name = $2 AND position = ANY($3::bigint[])";
/// With the dead letters that they were replayed from.
const SETTLED_LETTERS: &str = "DELETE FROM dead_letters
    WHERE tenant = $1 AND name = $2 AND position = ANY($3::bigint[]) AND replayed";
const REPLAYED: &str = "UPDATE dead_letters SET replayed = TRUE
    WHERE tenant = $1 AND name = $2 AND position = ANY($3::bigint[])";
const FORGOTTEN: &str = "DELETE FROM dead_letters
    WHERE tenant = $1 AND name = $2 AND position = ANY($3::bigint[])";
const NO_ITEMS: &str = "DELETE FROM consumer_items WHERE tenant = $1 AND name = $2";
/// One that is being replayed is an item: no look at each of all the letters.
const AS_BEFORE: &str = "UPDATE dead_letters SET replayed = FALSE WHERE tenant = $1 AND name = $2 AND replayed
    AND position IN (SELECT position FROM consumer_items WHERE tenant = $1 AND name = $2)";
const NO_LETTERS: &str = "DELETE FROM dead_letters WHERE tenant = $1 AND name = $2";
const GONE: &str = "DELETE FROM consumers WHERE tenant = $1 AND name = $2";

/// A dead letter, and its entry as it is kept: which kind it is, and its message.
pub(super) type Letter<'p> = (&'p Parked, (i16, Vec<u8>));

/// The statements of one consumer, prepared on one connection.
pub(super) struct Statements<'c> {
    client: &'c ClientWrapper,
    key: &'c ConsumerKey,
    update: Statement,
    items: Statement,
    letters: Statement,
    settled: Statement,
    settled_letters: Statement,
    replayed: Statement,
    forgotten: Statement,
    no_items: Statement,
    as_before: Statement,
    no_letters: Statement,
    gone: Statement,
}

/// Keeps a new one.
pub(super) async fn create(client: &ClientWrapper, consumer: &Consumer) -> Result<(), Error> {
    let statement = format!(
        "INSERT INTO consumers ({COLUMNS})
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)"
    );
    let insert = client.prepare_cached(&statement).await?;
    execute(client, &insert, consumer).await?;
    Ok(())
}

impl<'c> Statements<'c> {
    pub(super) async fn prepare(client: &'c ClientWrapper, key: &'c ConsumerKey) -> Result<Self, Error> {
        let prepared = |sql| client.prepare_cached(sql);
        Ok(Self {
            client,
            key,
            update: prepared(UPDATE).await?,
            items: prepared(ITEMS).await?,
            letters: prepared(LETTERS).await?,
            settled: prepared(SETTLED).await?,
            settled_letters: prepared(SETTLED_LETTERS).await?,
            replayed: prepared(REPLAYED).await?,
            forgotten: prepared(FORGOTTEN).await?,
            no_items: prepared(NO_ITEMS).await?,
            as_before: prepared(AS_BEFORE).await?,
            no_letters: prepared(NO_LETTERS).await?,
            gone: prepared(GONE).await?,
        })
    }

    /// Writes all but the dead letters that it gets, which are written before, and commits.
    pub(super) async fn commit(&self, written: &Written) -> Result<(), Error> {
        let settled = positions(&written.settled);
        let (replayed, forgotten) = (positions(&written.replayed), positions(&written.forgotten));
        let (forgets, deleted) = (written.forgets_items || written.deleted, written.deleted);
        tokio::try_join!(
            biased;
            self.update(written.consumer.as_ref()),
            self.whole(&self.as_before, forgets && !deleted),
            self.whole(&self.no_items, forgets),
            self.items(written),
            self.of(&self.settled, &settled),
            self.of(&self.settled_letters, &settled),
            self.of(&self.replayed, &replayed),
            self.of(&self.forgotten, &forgotten),
            self.whole(&self.no_letters, deleted),
            self.whole(&self.gone, deleted),
            self.client.batch_execute("COMMIT"),
        )?;
        Ok(())
    }

    /// Dead letters, each in the place of the one that it was replayed from.
    pub(super) async fn dead_letters(&self, letters: &[Letter<'_>]) -> Result<(), Error> {
        // They are of one turn, and so of one time.
        let Some((first, _)) = letters.first() else { return Ok(()) };
        let (tenant, name) = (self.key.0.as_ref(), &self.key.1);
        self.client
            .execute(
                &self.letters,
                &[
                    &tenant,
                    name,
                    &first.time,
                    &column(letters, |(parked, _)| parked.position.0),
                    &column(letters, |(parked, _)| parked.uid.as_str()),
                    &column(letters, |(parked, _)| i64::from(parked.deliveries)),
                    &column(letters, |(parked, _)| text(&parked.reason)),
                    &column(letters, |(_, (kind, _))| *kind),
                    &column(letters, |(_, (_, entry))| entry.as_slice()),
                ],
            )
            .await?;
        Ok(())
    }

    async fn update(&self, consumer: Option<&Consumer>) -> Result<(), Error> {
        if let Some(consumer) = consumer {
            execute(self.client, &self.update, consumer).await?;
        }
        Ok(())
    }

    async fn items(&self, written: &Written) -> Result<(), Error> {
        let rows = &written.items;
        if rows.is_empty() {
            return Ok(());
        }
        let (tenant, name) = (self.key.0.as_ref(), &self.key.1);
        self.client
            .execute(
                &self.items,
                &[
                    &tenant,
                    name,
                    &column(rows, |(position, _)| position.0),
                    &column(rows, |(_, item)| item.uid.as_str()),
                    &column(rows, |(_, item)| i64::from(item.deliveries)),
                    &column(rows, |(_, item)| item.columns().0),
                    &column(rows, |(_, item)| item.columns().1),
                ],
            )
            .await?;
        Ok(())
    }

    /// What speaks of some of its rows.
    async fn of(&self, statement: &Statement, positions: &[i64]) -> Result<(), Error> {
        if !positions.is_empty() {
            self.client.execute(statement, &[&self.key.0.as_ref(), &self.key.1, &positions]).await?;
        }
        Ok(())
    }

    /// What speaks of all of them.
    async fn whole(&self, statement: &Statement, is_meant: bool) -> Result<(), Error> {
        if is_meant {
            self.client.execute(statement, &[&self.key.0.as_ref(), &self.key.1]).await?;
        }
        Ok(())
    }
}

/// Its own row.
async fn execute(client: &ClientWrapper, statement: &Statement, consumer: &Consumer) -> Result<u64, Error> {
    let Consumer { key: (tenant, name), choices, paused, cursor, scanned, lease, etag, create_time, update_time } =
        consumer;
    let backoff: Vec<Micros> = choices.backoff.iter().copied().map(micros).collect();
    let values: [&(dyn ToSql + Sync); 17] = [
        &tenant.as_ref(),
        name,
        &text(&choices.filter_text),
        &choices.filter.encode(),
        &choices.recorded,
        &queries::limit(choices.max_in_flight),
        &micros(choices.ack_wait),
        &backoff,
        &i64::from(choices.max_deliveries),
        &choices.blocks,
        paused,
        &cursor.0,
        &scanned.0,
        lease,
        etag,
        create_time,
        update_time,
    ];
    client.execute(statement, &values).await
}

fn micros(pause: Duration) -> Micros {
    Micros::try_from(pause.as_micros()).unwrap_or(Micros::MAX)
}

fn positions<'p>(positions: impl IntoIterator<Item = &'p Position>) -> Vec<i64> {
    positions.into_iter().map(|position| position.0).collect()
}
