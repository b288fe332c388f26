//! How far the log goes, told as it moves on. What this process commits is known at once; of what others commit the
//! server tells whoever listens, and where it can't, the head is looked at.
//!
//! Invariant: nothing is asked of the server while nobody follows.

use std::{future::poll_fn, sync::Arc, time::Duration};

use deadpool_postgres::ClientWrapper;
use tokio::{
    sync::{Notify, watch},
    task::{AbortHandle, JoinHandle},
    time::{sleep, timeout},
};
use tokio_postgres::{AsyncMessage, Client};
use tracing::debug;

use super::connection::{Address, STANDBY, Stream, is_standby};
use crate::store::{Position, StoreError};

/// The channel that writers tell.
const CHANNEL: &str = "calbridge_log";
/// How a round commits: it tells those who listen, where the server knows how.
const COMMIT_AND_TELL: &str = "NOTIFY calbridge_log; COMMIT";
const COMMIT: &str = "COMMIT";

/// Between two looks at the head while the server is listened to: what it tells is not lost but with its connection.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The same where it can't be: what a subscriber waits for, then.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// For one look.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// After a connection was lost.
const RECONNECT_PAUSE: Duration = Duration::from_millis(250);

/// The statement that commits a round on this server: not all that speak the protocol have `NOTIFY`.
pub(super) async fn commit_statement(client: &ClientWrapper) -> &'static str {
    let knows = client.batch_execute(&format!("NOTIFY {CHANNEL}")).await.is_ok();
    if knows { COMMIT_AND_TELL } else { COMMIT }
}

/// Dropping it ends its task.
#[derive(Debug)]
pub(super) struct Follower {
    through: watch::Sender<Position>,
    wanted: Arc<Notify>,
    task: AbortHandle,
}

impl Follower {
    pub(super) fn start(address: Address) -> Self {
        let through = watch::Sender::new(Position(0));
        let wanted = Arc::new(Notify::new());
        let task = tokio::spawn(run(address, through.clone(), Arc::clone(&wanted))).abort_handle();
        Self { through, wanted, task }
    }

    pub(super) fn follow(&self) -> watch::Receiver<Position> {
        let receiver = self.through.subscribe();
        self.wanted.notify_one();
        receiver
    }

    /// This process has committed up to here.
    pub(super) fn reached(&self, through: Position) {
        reached(&self.through, through);
    }

    pub(super) fn close(&self) {
        self.task.abort();
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.close();
    }
}

fn reached(known: &watch::Sender<Position>, through: Position) {
    known.send_if_modified(|before| {
        let moves = *before < through;
        *before = through.max(*before);
        moves
    });
}

async fn run(address: Address, through: watch::Sender<Position>, wanted: Arc<Notify>) {
    loop {
        if through.receiver_count() == 0 {
            wanted.notified().await;
            continue;
        }
        tokio::select! {
            failed = watch_head(&address, &through) => {
                let Err(error) = failed;
                debug!(%error, "the end of the log can't be followed; trying again");
                sleep(RECONNECT_PAUSE).await;
            }
            () = through.closed() => {}
        }
    }
}

/// Until the connection fails.
async fn watch_head(
    address: &Address,
    through: &watch::Sender<Position>,
) -> Result<std::convert::Infallible, StoreError> {
    let told = Arc::new(Notify::new());
    let Listening { client, connection: _connection, interval } = listen(address, &told).await?;
    loop {
        let slow = |_| StoreError::unavailable("PostgreSQL does not answer");
        let row = timeout(LOOK_TIMEOUT, client.query_one("SELECT position FROM head", &[])).await.map_err(slow)??;
        reached(through, Position(row.try_get(0)?));
        // Beyond the interval nothing is wrong.
        let _ = timeout(interval, told.notified()).await;
    }
}

struct Listening {
    client: Client,
    connection: Aborting,
    interval: Duration,
}

/// A task that ends with whoever holds this.
struct Aborting(JoinHandle<()>);

impl Drop for Aborting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn listen(address: &Address, told: &Arc<Notify>) -> Result<Listening, StoreError> {
    let (client, stream) = address.hosts.open().await?;
    let connection = Aborting(tokio::spawn(hear(stream, Arc::clone(told))));
    let listen = format!("LISTEN {CHANNEL}");
    let slow = |_| StoreError::unavailable("PostgreSQL does not answer");
    if timeout(LOOK_TIMEOUT, is_standby(&client)).await.map_err(slow)?? {
        return Err(StoreError::unavailable(STANDBY));
    }
    let heard = timeout(LOOK_TIMEOUT, client.batch_execute(&listen)).await.map_err(slow)?;
    let interval = if heard.is_ok() { LOOK_INTERVAL } else { POLL_INTERVAL };
    Ok(Listening { client, connection, interval })
}

/// Drives the connection; its end is seen by whoever asks something of it.
async fn hear(mut stream: Stream, told: Arc<Notify>) {
    while let Some(Ok(message)) = poll_fn(|context| stream.poll_message(context)).await {
        if matches!(message, AsyncMessage::Notification(_)) {
            told.notify_one();
        }
    }
    told.notify_one();
}
