//! Reading consumers: one whole for a command, and what an operator sees of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use deadpool_postgres::ClientWrapper;
use tokio_postgres::{Error, Row, Statement, types::ToSql};

use crate::store::{
    Consumer, ConsumerChoices, ConsumerItem, ConsumerKey, ConsumerState, ConsumerStatus, DeadLetter, Floors, LogEntry,
    LogFilter, Micros, PAGE_BYTES_MAX, Position, StoreError,
    consume::{TimeSearch, behind},
    postgres::queries,
};

pub(super) const COLUMNS: &str = "tenant, name, filter_text, filter, recorded, max_in_flight, ack_wait, backoff,
    max_deliveries, blocks, paused, cursor, scanned, lease, etag, create_time, update_time";
/// Behind them: what is out, what waits, and what it gave up on.
const COUNTS: &str = "
    (SELECT count(*) FROM consumer_items i WHERE i.tenant = c.tenant AND i.name = c.name AND i.lease <> 0),
    (SELECT count(*) FROM consumer_items i WHERE i.tenant = c.tenant AND i.name = c.name AND i.lease = 0),
    (SELECT count(*) FROM dead_letters d WHERE d.tenant = c.tenant AND d.name = c.name AND NOT d.replayed),
    least(
        (SELECT t.commit_time FROM transitions t WHERE t.position > c.cursor ORDER BY t.position LIMIT 1),
        CASE WHEN c.recorded THEN
            (SELECT d.receive_time FROM deliveries d WHERE d.position > c.cursor ORDER BY d.position LIMIT 1)
        END)";

const ITEMS: &str = "SELECT position, uid, deliveries, lease, time FROM consumer_items WHERE tenant = $1 AND name = $2";
/// Bookings of its items, of one that holds later entries back: there may be far more letters than those.
const HELD: &str = "SELECT DISTINCT uid FROM consumer_items i WHERE tenant = $1 AND name = $2 AND uid <> ''
    AND (SELECT blocks FROM consumers WHERE tenant = $1 AND name = $2)
    AND EXISTS (SELECT FROM dead_letters d WHERE d.tenant = $1 AND d.name = $2 AND d.uid = i.uid AND NOT d.replayed)";
/// Of these bookings.
const HELD_OF: &str = "SELECT DISTINCT uid FROM dead_letters
    WHERE tenant = $1 AND name = $2 AND uid = ANY($3::text[]) AND NOT replayed";
const DEAD: &str = "SELECT position, uid FROM dead_letters WHERE tenant = $1 AND name = $2 AND NOT replayed";
const LETTERS: &str = "SELECT position, deliveries, reason, create_time, kind, entry FROM dead_letters
    WHERE tenant = $1 AND name = $2 AND NOT replayed AND position > $3 ORDER BY position LIMIT $4";
const KEPT_ENTRIES: &str = "SELECT position, kind, entry FROM dead_letters
    WHERE tenant = $1 AND name = $2 AND position = ANY($3::bigint[])";
const COMMITTED: &str = "SELECT position, commit_time FROM transitions WHERE position >= $1 ORDER BY position LIMIT 1";

/// Dead letters that are read at a time: a page ends early where they are large.
const CHUNK: usize = 64;

/// The statements that read a consumer whole, prepared on one connection.
pub(super) struct State {
    lock: Statement,
    items: Statement,
    held: Statement,
}

/// Its rows.
pub(super) struct Found {
    consumer: Row,
    items: Vec<Row>,
    held: Vec<Row>,
}

impl State {
    pub(super) async fn prepare(client: &ClientWrapper) -> Result<Self, Error> {
        let lock = format!("SELECT {COLUMNS} FROM consumers WHERE tenant = $1 AND name = $2 FOR UPDATE");
        Ok(Self {
            lock: client.prepare_cached(&lock).await?,
            items: client.prepare_cached(ITEMS).await?,
            held: client.prepare_cached(HELD).await?,
        })
    }

    /// Locks it, and reads it as whoever held the lock before has left it.
    pub(super) async fn read(
        &self,
        client: &ClientWrapper,
        (tenant, name): &ConsumerKey,
    ) -> Result<Option<Found>, Error> {
        let tenant = tenant.as_ref();
        let key: [&(dyn ToSql + Sync); 2] = [&tenant, name];
        let (consumer, items, held) = tokio::try_join!(
            biased;
            client.query_opt(&self.lock, &key),
            client.query(&self.items, &key),
            client.query(&self.held, &key),
        )?;
        Ok(consumer.map(|consumer| Found { consumer, items, held }))
    }
}

impl Found {
    pub(super) fn whole(self) -> Result<ConsumerState, StoreError> {
        let mut items = BTreeMap::new();
        for row in &self.items {
            let item = ConsumerItem::of_columns(row.try_get(1)?, number(row, 2)?, row.try_get(3)?, row.try_get(4)?);
            items.insert(Position(row.try_get(0)?), item);
        }
        let held = self.held.iter().map(|row| row.try_get(0)).collect::<Result<BTreeSet<_>, _>>()?;
        Ok(ConsumerState { consumer: read(&self.consumer)?, items, held })
    }
}

/// Those of these bookings that have a dead letter.
pub(super) async fn held(
    client: &ClientWrapper,
    (tenant, name): &ConsumerKey,
    uids: Vec<String>,
) -> Result<Vec<String>, StoreError> {
    if uids.is_empty() {
        return Ok(uids);
    }
    let select = client.prepare_cached(HELD_OF).await?;
    let found = client.query(&select, &[&tenant.as_ref(), name, &uids]).await?;
    Ok(found.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}

/// The dead letters that a command speaks of, none named: all of them; position and uid.
pub(super) async fn dead(
    client: &ClientWrapper,
    (tenant, name): &ConsumerKey,
    positions: &[Position],
    most: usize,
) -> Result<Vec<(Position, String)>, StoreError> {
    let (tenant, most) = (tenant.as_ref(), queries::limit(most));
    let found = if positions.is_empty() {
        let select = client.prepare_cached(&format!("{DEAD} ORDER BY position LIMIT $3")).await?;
        client.query(&select, &[&tenant, name, &most]).await?
    } else {
        let named: Vec<i64> = positions.iter().map(|position| position.0).collect();
        let statement = format!("{DEAD} AND position = ANY($4::bigint[]) ORDER BY position LIMIT $3");
        let select = client.prepare_cached(&statement).await?;
        client.query(&select, &[&tenant, name, &most, &named]).await?
    };
    found.iter().map(|row| Ok((Position(row.try_get(0)?), row.try_get(1)?))).collect()
}

/// The entries of dead letters, replayed or not.
pub(super) async fn kept_entries(
    client: &ClientWrapper,
    (tenant, name): &ConsumerKey,
    positions: &[i64],
) -> Result<BTreeMap<Position, LogEntry>, StoreError> {
    let select = client.prepare_cached(KEPT_ENTRIES).await?;
    let found = client.query(&select, &[&tenant.as_ref(), name, &positions]).await?;
    let read = |row: &Row| Ok((Position(row.try_get(0)?), LogEntry::decode(row.try_get(1)?, row.try_get(2)?)?));
    found.iter().map(read).collect()
}

/// One consumer and how it is doing.
pub(in crate::store::postgres) async fn one(
    client: &ClientWrapper,
    (tenant, name): &ConsumerKey,
) -> Result<Option<ConsumerStatus>, StoreError> {
    let statement = format!("SELECT {COLUMNS}, {COUNTS} FROM consumers c WHERE tenant = $1 AND name = $2");
    let select = client.prepare_cached(&statement).await?;
    client.query_opt(&select, &[&tenant.as_ref(), name]).await?.as_ref().map(status).transpose()
}

/// Every tenant's consumers, or one tenant's, behind another.
pub(in crate::store::postgres) async fn page(
    client: &ClientWrapper,
    tenant: Option<String>,
    after: Option<ConsumerKey>,
    limit: usize,
) -> Result<Vec<ConsumerStatus>, StoreError> {
    let statement = format!(
        "SELECT {COLUMNS}, {COUNTS} FROM consumers c
        WHERE (tenant, name) > ($1, $2) AND tenant = coalesce($3, tenant) ORDER BY tenant, name LIMIT $4"
    );
    let (behind, name) = behind(tenant.as_deref(), after);
    let select = client.prepare_cached(&statement).await?;
    client.query(&select, &[&&*behind, &name, &tenant, &queries::limit(limit)]).await?.iter().map(status).collect()
}

/// The dead letters of a consumer behind a position, oldest first.
pub(in crate::store::postgres) async fn dead_letters(
    client: &ClientWrapper,
    (tenant, name): &ConsumerKey,
    after: Position,
    limit: usize,
) -> Result<Vec<DeadLetter>, StoreError> {
    let select = client.prepare_cached(LETTERS).await?;
    let (mut page, mut bytes) = (Vec::new(), 0);
    let mut behind = after;
    loop {
        let wanted = CHUNK.min(limit - page.len());
        let found = client.query(&select, &[&tenant.as_ref(), name, &behind.0, &queries::limit(wanted)]).await?;
        for row in &found {
            let letter = letter(row)?;
            behind = letter.position;
            bytes += letter.entry.bytes();
            page.push(letter);
            if page.len() == limit || (bytes > PAGE_BYTES_MAX && page.len() > 1) {
                return Ok(page);
            }
        }
        if found.len() < wanted || wanted == 0 {
            return Ok(page);
        }
    }
}

/// Up to where all consumers of each tenant have read, or of the one that is named.
pub(in crate::store::postgres) async fn floors(
    client: &ClientWrapper,
    tenant: Option<&str>,
) -> Result<BTreeMap<String, Floors>, StoreError> {
    const ALL: &str = "SELECT tenant, min(cursor), filter, recorded FROM consumers
        GROUP BY tenant, filter, recorded";
    const OF_ONE: &str = "SELECT tenant, min(cursor), filter, recorded FROM consumers WHERE tenant = $1
        GROUP BY tenant, filter, recorded";
    let rows = match &tenant {
        Some(tenant) => client.query(&client.prepare_cached(OF_ONE).await?, &[tenant]).await?,
        None => client.query(&client.prepare_cached(ALL).await?, &[]).await?,
    };
    let mut floors: BTreeMap<String, Floors> = BTreeMap::new();
    for row in rows {
        let of = floors.entry(row.try_get(0)?).or_default();
        *of = of.held_as_kept(Position(row.try_get(1)?), row.try_get(2)?, row.try_get(3)?);
    }
    Ok(floors)
}

/// Behind where whatever was committed at a time or later lies. A round trip for each halving of the log: some thirty.
pub(in crate::store::postgres) async fn position_before(
    client: &ClientWrapper,
    time: Micros,
) -> Result<Position, StoreError> {
    let select = client.prepare_cached(COMMITTED).await?;
    let head = queries::head(client).await?;
    let look = async |at: Position| -> Result<Option<(Position, Micros)>, StoreError> {
        let found = client.query_opt(&select, &[&at.0]).await?;
        Ok(found.map(|row| Ok::<_, Error>((Position(row.try_get(0)?), row.try_get(1)?))).transpose()?)
    };
    let mut search = TimeSearch::new(time, head);
    while let Some(at) = search.next() {
        let found = look(at).await?;
        search.told(at, found);
    }
    // Deliveries that changed nothing may stand between what was found and the first that was made later.
    let next = look(Position(search.found().0 + 1)).await?;
    Ok(next.map_or(head, |(first, _)| Position(first.0 - 1).min(head)))
}

fn status(row: &Row) -> Result<ConsumerStatus, StoreError> {
    Ok(ConsumerStatus {
        consumer: read(row)?,
        out: number(row, 17)?,
        waiting: number(row, 18)?,
        dead_letters: number(row, 19)?,
        behind_since: row.try_get(20)?,
    })
}

fn letter(row: &Row) -> Result<DeadLetter, StoreError> {
    Ok(DeadLetter {
        position: Position(row.try_get(0)?),
        deliveries: number(row, 1)?,
        reason: row.try_get(2)?,
        create_time: row.try_get(3)?,
        entry: LogEntry::decode(row.try_get(4)?, row.try_get(5)?)?,
    })
}

fn read(row: &Row) -> Result<Consumer, StoreError> {
    let filter = LogFilter::decode(row.try_get(3)?).ok_or_else(|| damaged("its filter can't be read"))?;
    let pauses: Vec<Micros> = row.try_get(7)?;
    let choices = ConsumerChoices {
        filter_text: row.try_get(2)?,
        filter: Arc::new(filter),
        recorded: row.try_get(4)?,
        max_in_flight: number(row, 5)?,
        ack_wait: Duration::from_micros(number(row, 6)?),
        backoff: pauses.into_iter().map(|pause| Duration::from_micros(pause.unsigned_abs())).collect(),
        max_deliveries: number(row, 8)?,
        blocks: row.try_get(9)?,
    };
    Ok(Consumer {
        key: (Arc::from(row.try_get::<_, &str>(0)?), row.try_get(1)?),
        choices,
        paused: row.try_get(10)?,
        cursor: Position(row.try_get(11)?),
        scanned: Position(row.try_get(12)?),
        lease: row.try_get(13)?,
        etag: row.try_get(14)?,
        create_time: row.try_get(15)?,
        update_time: row.try_get(16)?,
    })
}

/// A number without a sign, of a database that has none of them.
fn number<T: TryFrom<i64>>(row: &Row, column: usize) -> Result<T, StoreError> {
    let number: i64 = row.try_get(column)?;
    T::try_from(number).map_err(|_| damaged("a number of it can't be right"))
}

fn damaged(why: &str) -> StoreError {
    StoreError::Damaged { what: "consumer", why: why.to_owned() }
}
