//! What finds bookings by attendee and metadata, while it is young: a round lays down one row of it, and the mover
//! brings it into the tree of terms, many rounds' at a time and sorted, while further rounds are written.
//!
//! Invariant: a reader finds each entry. It is young or in the tree, and goes from one to the other in one transaction:
//! nothing is lost with a mover, only slower to find. Rounds are moved in their order, each with those before it.

use std::{sync::Arc, time::Duration};

use deadpool_postgres::ClientWrapper;
use tokio::{
    select,
    sync::{Notify, RwLock},
    task::AbortHandle,
    time::{sleep, timeout},
};
use tokio_postgres::{Error, error::SqlState};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::connection::Connections;
use crate::store::StoreError;

/// Entries that are moved at a time, and a round's more: a fifth of a second of the server's work where it has the tree
/// in memory. Where it takes too long it is fewer.
const ENTRIES: i64 = 32_768;
/// Rounds that are moved at a time.
const ROUNDS: i64 = 1_024;
/// That they have to gather: the fewer at a time, the dearer each is; the more are young, the slower is a list.
const GATHER: Duration = Duration::from_millis(500);
/// Between two looks for what a replica left that was killed.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// For one move: its statements have a time of their own, and one of them may be asked twice.
const MOVE_TIMEOUT: Duration = Duration::from_secs(24);

const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
/// Of several movers one moves, the others wait here.
const LOCK: &str = "SELECT position FROM young_terms ORDER BY position LIMIT 1 FOR UPDATE";
/// Rounds through the last that begins within the bound. What comes and goes in them, or goes and comes again, stays as
/// it is in the tree.
const MOVE: &str = "WITH
    taken AS (DELETE FROM young_terms WHERE position <= (SELECT max(position) FROM
            (SELECT position, sum(entries) OVER (ORDER BY position) - entries AS before
            FROM young_terms ORDER BY position LIMIT $2::bigint) AS oldest WHERE before < $1::bigint)
        RETURNING entries, found, gone),
    said AS (SELECT f.term, f.start_time, f.uid, 1 AS change FROM taken CROSS JOIN UNNEST(found) f
        UNION ALL SELECT g.term, g.start_time, g.uid, -1 FROM taken CROSS JOIN UNNEST(gone) g),
    settled AS (SELECT term, start_time, uid, sum(change) AS change FROM said
        GROUP BY term, start_time, uid HAVING sum(change) <> 0 ORDER BY term, start_time, uid),
    removed AS (DELETE FROM terms t USING settled s
        WHERE s.change < 0 AND t.term = s.term AND t.start_time = s.start_time AND t.uid = s.uid),
    added AS (INSERT INTO terms (term, start_time, uid) SELECT term, start_time, uid FROM settled WHERE change > 0)
    SELECT coalesce(sum(entries), 0)::bigint, count(*) FROM taken";

/// Dropping it ends its task.
#[derive(Debug)]
pub(super) struct Mover {
    /// There is something young.
    wanted: Arc<Notify>,
    stopping: CancellationToken,
    task: AbortHandle,
}

impl Mover {
    /// Begins with what is young already. One of `connections` is enough; `in_use` is held while something is moved.
    pub(super) fn start(connections: Connections, in_use: Arc<RwLock<()>>) -> Self {
        let (wanted, stopping) = (Arc::new(Notify::new()), CancellationToken::new());
        let moves = Moves { connections, in_use, stopping: stopping.clone(), bound: ENTRIES };
        let task = tokio::spawn(moves.run(Arc::clone(&wanted))).abort_handle();
        Self { wanted, stopping, task }
    }

    /// A round was written.
    pub(super) fn wake(&self) {
        self.wanted.notify_one();
    }

    /// A move that is under way is ended: the server would go on with one that is given up.
    pub(super) fn close(&self) {
        self.stopping.cancel();
    }
}

impl Drop for Mover {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Moves {
    connections: Connections,
    in_use: Arc<RwLock<()>>,
    stopping: CancellationToken,
    /// Entries of the next move, at the most.
    bound: i64,
}

impl Moves {
    async fn run(mut self, wanted: Arc<Notify>) {
        let stopping = self.stopping.clone();
        let mut failed = false;
        while !stopping.is_cancelled() {
            let done = self.move_all().await;
            match &done {
                Err(why) if !failed && !stopping.is_cancelled() => warn!(
                    %why,
                    "what finds bookings by attendee and metadata is not moved into its tree; until it is, lists of \
                    these are slow"
                ),
                Ok(()) if failed => info!("what finds bookings by attendee and metadata is moved again"),
                _ => {}
            }
            failed = done.is_err();
            let next = async {
                // Beyond the interval nothing is wrong.
                let _ = timeout(LOOK_INTERVAL, wanted.notified()).await;
                sleep(GATHER).await;
            };
            select! {
                () = stopping.cancelled() => {}
                () = next => {}
            }
        }
    }

    async fn move_all(&mut self) -> Result<(), StoreError> {
        let lease = select! {
            () = self.stopping.cancelled() => return Ok(()),
            lease = self.connections.lease() => lease?,
        };
        let _in_use = self.in_use.read().await;
        let slow = |_| StoreError::unavailable("PostgreSQL does not answer");
        while !self.stopping.is_cancelled() {
            // Should it fail: the next one is of less.
            let bound = self.bound;
            self.bound = (bound / 4).max(1);
            let more = timeout(MOVE_TIMEOUT, move_some(&lease, bound)).await.map_err(slow)??;
            self.bound = bound.saturating_mul(2).min(ENTRIES);
            if !more {
                break;
            }
        }
        lease.give_back();
        Ok(())
    }
}

/// Answers whether more may wait than was moved.
async fn move_some(client: &ClientWrapper, bound: i64) -> Result<bool, Error> {
    let moved = move_by(client, MOVE, bound).await;
    let Err(error) = &moved else { return moved };
    if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) {
        // Somebody else moves, and takes long.
        client.batch_execute("ROLLBACK").await?;
        return Ok(true);
    }
    if error.code() == Some(&SqlState::UNIQUE_VIOLATION) {
        // A release that derives otherwise finds some that are in the tree.
        client.batch_execute("ROLLBACK").await?;
        let beside = MOVE.replace("WHERE change > 0)", "WHERE change > 0 ON CONFLICT DO NOTHING)");
        return move_by(client, &beside, bound).await;
    }
    moved
}

async fn move_by(client: &ClientWrapper, statement: &str, bound: i64) -> Result<bool, Error> {
    let (lock, bring) = (client.prepare_cached(LOCK).await?, client.prepare_cached(statement).await?);
    client.batch_execute(BEGIN).await?;
    // What was committed while this waited is seen by a statement of its own only.
    let more = match client.query_opt(&lock, &[]).await? {
        Some(_) => {
            let moved = client.query_one(&bring, &[&bound, &ROUNDS]).await?;
            moved.try_get::<_, i64>(0)? >= bound || moved.try_get::<_, i64>(1)? >= ROUNDS
        }
        None => false,
    };
    client.batch_execute("COMMIT").await?;
    Ok(more)
}
