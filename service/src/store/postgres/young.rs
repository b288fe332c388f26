//! What finds bookings by attendee and metadata, while it is young: a round lays down one row of it, and the mover
//! brings it into the tree of terms, many rounds' at a time and sorted, while further rounds are written.
//!
//! Invariant: a reader finds each entry. It is young or in the tree, and goes from one to the other in one transaction:
//! nothing is lost with a mover, only slower to find. What a round said later holds: they are moved in their order.

use std::{sync::Arc, time::Duration};

use deadpool_postgres::ClientWrapper;
use tokio::{
    sync::Notify,
    task::AbortHandle,
    time::{sleep, timeout},
};
use tokio_postgres::{Error, error::SqlState};
use tracing::{info, warn};

use super::connection::Connections;
use crate::store::StoreError;

/// Entries that are moved at a time, and a round's more: a tenth of a second of the server's work.
const ENTRIES: i64 = 32_768;
/// Rounds that are moved at a time.
const ROUNDS: i64 = 1_024;
/// That they have to gather: the fewer at a time, the dearer each is; the more are young, the slower is a list.
const GATHER: Duration = Duration::from_millis(500);
/// Between two looks for what a replica left that was killed.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// For one move.
const MOVE_TIMEOUT: Duration = Duration::from_secs(12);

const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
/// Of several movers one moves: the others wait here, and then find this row gone.
const LOCK: &str = "SELECT position FROM young_terms ORDER BY position LIMIT 1 FOR UPDATE";
/// Rounds through the last that begins within the bound; of what they say of an entry, the last.
const MOVE: &str = "WITH
    taken AS (DELETE FROM young_terms WHERE position <= (SELECT max(position) FROM
            (SELECT position, sum(entries) OVER (ORDER BY position) - entries AS before
            FROM young_terms ORDER BY position LIMIT $2::bigint) AS oldest WHERE before < $1::bigint)
        RETURNING position, entries, found, gone),
    said AS (SELECT position, f.term, f.start_time, f.uid, TRUE AS finds FROM taken CROSS JOIN UNNEST(found) f
        UNION ALL SELECT position, g.term, g.start_time, g.uid, FALSE FROM taken CROSS JOIN UNNEST(gone) g),
    settled AS (SELECT DISTINCT ON (term, start_time, uid) term, start_time, uid, finds
        FROM said ORDER BY term, start_time, uid, position DESC),
    removed AS (DELETE FROM terms t USING settled s
        WHERE NOT s.finds AND t.term = s.term AND t.start_time = s.start_time AND t.uid = s.uid),
    added AS (INSERT INTO terms (term, start_time, uid)
        SELECT term, start_time, uid FROM settled WHERE finds)
    SELECT coalesce(sum(entries), 0)::bigint FROM taken";

/// Dropping it ends its task.
#[derive(Debug)]
pub(super) struct Mover {
    /// There is something young.
    wanted: Arc<Notify>,
    task: AbortHandle,
}

impl Mover {
    /// Begins with what is young already. One of `connections` is enough.
    pub(super) fn start(connections: Connections) -> Self {
        let wanted = Arc::new(Notify::new());
        let task = tokio::spawn(run(connections, Arc::clone(&wanted))).abort_handle();
        Self { wanted, task }
    }

    /// A round was written.
    pub(super) fn wake(&self) {
        self.wanted.notify_one();
    }

    pub(super) fn close(&self) {
        self.task.abort();
    }
}

impl Drop for Mover {
    fn drop(&mut self) {
        self.close();
    }
}

async fn run(connections: Connections, wanted: Arc<Notify>) {
    let mut failed = false;
    loop {
        let done = move_all(&connections).await;
        match &done {
            Err(why) if !failed => warn!(
                %why,
                "what finds bookings by attendee and metadata is not moved into its tree; until it is, lists of these \
                are slow"
            ),
            Ok(()) if failed => info!("what finds bookings by attendee and metadata is moved again"),
            _ => {}
        }
        failed = done.is_err();
        // Beyond the interval nothing is wrong.
        let _ = timeout(LOOK_INTERVAL, wanted.notified()).await;
        sleep(GATHER).await;
    }
}

async fn move_all(connections: &Connections) -> Result<(), StoreError> {
    let lease = connections.lease().await?;
    let slow = |_| StoreError::unavailable("PostgreSQL does not answer");
    while timeout(MOVE_TIMEOUT, move_some(&lease)).await.map_err(slow)?? >= ENTRIES {}
    lease.give_back();
    Ok(())
}

/// Answers how many entries were moved.
async fn move_some(client: &ClientWrapper) -> Result<i64, StoreError> {
    match move_by(client, MOVE).await {
        // Laid there by the release before, or by one that derives otherwise.
        Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
            client.batch_execute("ROLLBACK").await?;
            let beside = MOVE.replace("WHERE finds)", "WHERE finds ON CONFLICT DO NOTHING)");
            Ok(move_by(client, &beside).await?)
        }
        moved => Ok(moved?),
    }
}

async fn move_by(client: &ClientWrapper, statement: &str) -> Result<i64, Error> {
    let (lock, bring) = (client.prepare_cached(LOCK).await?, client.prepare_cached(statement).await?);
    client.batch_execute(BEGIN).await?;
    // What was committed while this waited is seen by a statement of its own only.
    let moved = match client.query_opt(&lock, &[]).await? {
        Some(_) => client.query_one(&bring, &[&ENTRIES, &ROUNDS]).await?.try_get(0)?,
        None => 0,
    };
    client.batch_execute("COMMIT").await?;
    Ok(moved)
}
