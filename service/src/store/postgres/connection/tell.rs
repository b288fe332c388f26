//! What a new connection is told before anybody works on it, and what is looked at: whether the server takes writes,
//! and whether it is the one whose positions go on.

use std::time::Duration;

use deadpool_postgres::{ClientWrapper, HookError};
use tokio::time::timeout;
use tokio_postgres::{Client, Error, error::SqlState};

use super::{Role, origin};

/// For a new connection to be told what holds on it: a dozen round trips to a server that may be far.
const TELL_TIMEOUT: Duration = Duration::from_secs(5);

/// What every connection is told. The planner sees tables that were empty a minute ago: where an index is there it is
/// to be walked, and the joins are of some hundred keys with a table. A server that does not know one of them has other
/// means, so its refusal is no failure; that a timeout came first is one.
const SETTINGS: [&str; 8] = [
    "SET enable_seqscan = off",
    "SET enable_bitmapscan = off",
    "SET enable_hashjoin = off",
    "SET enable_mergejoin = off",
    "SET jit = off",
    // A replica that stops in the middle of a round holds the head; the others must not wait for it for long.
    "SET idle_in_transaction_session_timeout = '2s'",
    "SET lock_timeout = '2s'",
    // A night without a webhook is no reason to begin anew.
    "SET idle_session_timeout = 0",
];

/// `synchronous_commit` that loses what was committed when the server's machine fails.
pub(in crate::store::postgres) const ASYNCHRONOUS: &str = "off";

/// A server that lets us in and then says nothing must not hold up whoever waits for the connection.
pub(super) async fn tell_in_time(client: &ClientWrapper, role: Role) -> Result<(), HookError> {
    let slow = |_| Err(HookError::message("PostgreSQL does not answer"));
    timeout(TELL_TIMEOUT, tell(client, role)).await.unwrap_or_else(slow)
}

/// Tells a new connection what holds on it.
async fn tell(client: &ClientWrapper, role: Role) -> Result<(), HookError> {
    // First the timeout: the operator's own may be too short for the rest.
    for setting in [statement_timeout(role)].into_iter().chain(SETTINGS) {
        if let Err(error) = client.batch_execute(setting).await
            && error.code().is_none_or(|code| *code == SqlState::QUERY_CANCELED)
        {
            return Err(HookError::Backend(error));
        }
    }
    if role != Role::Operator && is_standby(client).await.map_err(HookError::Backend)? {
        return Err(HookError::message(STANDBY));
    }
    if role != Role::Reader
        && let Ok(row) = client.query_one("SHOW synchronous_commit", &[]).await
        && let Ok(said) = row.try_get::<_, String>(0)
    {
        // A 2xx means stored, whatever the database's own default is, or becomes while the connection lives.
        let ours = if said == ASYNCHRONOUS { "on" } else { &said };
        let pin = "SELECT set_config('synchronous_commit', $1, false)";
        client.query_one(pin, &[&ours]).await.map_err(HookError::Backend)?;
    }
    if role != Role::Operator {
        origin::check(client).await.map_err(HookError::Backend)?;
    }
    Ok(())
}

/// For one statement: beyond it nobody waits any more.
fn statement_timeout(role: Role) -> &'static str {
    match role {
        Role::Writer => "SET statement_timeout = '5s'",
        Role::Reader | Role::Operator => "SET statement_timeout = '10s'",
    }
}

/// What is said of a server of which [`is_standby`] holds.
pub(in crate::store::postgres) const STANDBY: &str = "it is a standby, which takes no writes";

/// Whether the server only follows another one. What is read there may be old, for a name that has moved as well: a
/// connection stays where it was made.
pub(in crate::store::postgres) async fn is_standby(client: &Client) -> Result<bool, Error> {
    match client.query_one("SELECT pg_is_in_recovery()", &[]).await {
        Ok(row) => row.try_get(0),
        // A server of another kind has no such function.
        Err(error) if error.as_db_error().is_some() => Ok(false),
        Err(error) => Err(error),
    }
}
