//! What the clock has to say.

use std::sync::Arc;

use deadpool_postgres::ClientWrapper;

use crate::store::{BookingKey, CLOCK_BOOKINGS_MAX, ClockPolicies, Micros, StoreError, clock::SKEW};

/// The next tenant that has bookings which the clock completes: one step of a walk through the index.
const NEXT_TENANT: &str = "SELECT tenant FROM bookings WHERE clock_end IS NOT NULL AND tenant > $1
    ORDER BY tenant, clock_told, clock_end LIMIT 1";
const UNTOLD: &str = "SELECT uid FROM bookings WHERE tenant = $1 AND NOT clock_told AND clock_end IS NOT NULL
        AND clock_end <= $2
    ORDER BY clock_end LIMIT $3";
const TOLD: &str = "SELECT uid FROM bookings WHERE tenant = $1 AND clock_told AND clock_end IS NOT NULL
        AND clock_end > $2
    ORDER BY clock_end LIMIT $3";

/// Bookings of which the log and the clock say different things, at most [`CLOCK_BOOKINGS_MAX`].
pub(in crate::store::postgres) async fn due(
    client: &ClientWrapper,
    clock: &ClockPolicies,
    now: Micros,
) -> Result<Vec<BookingKey>, StoreError> {
    let mut keys = Vec::new();
    let mut tenant = next_tenant(client, "").await?;
    while let Some(this) = tenant {
        let tenant_key: Arc<str> = Arc::from(this.as_str());
        let room = CLOCK_BOOKINGS_MAX - keys.len();
        let uids = due_of(client, &this, clock.horizon(&this, now).instant(), room).await?;
        keys.extend(uids.into_iter().map(|uid| (Arc::clone(&tenant_key), uid)));
        if keys.len() == CLOCK_BOOKINGS_MAX {
            break;
        }
        tenant = next_tenant(client, &this).await?;
    }
    Ok(keys)
}

async fn next_tenant(client: &ClientWrapper, behind: &str) -> Result<Option<String>, StoreError> {
    let select = client.prepare_cached(NEXT_TENANT).await?;
    Ok(client.query_opt(&select, &[&behind]).await?.map(|row| row.try_get(0)).transpose()?)
}

/// First those whose end has passed untold, then those that were told too early: a policy or a clock went back.
async fn due_of(
    client: &ClientWrapper,
    tenant: &str,
    passed: Option<Micros>,
    room: usize,
) -> Result<Vec<String>, StoreError> {
    let mut uids = match passed {
        Some(passed) => uids_of(client, UNTOLD, tenant, passed, room).await?,
        None => Vec::new(),
    };
    let kept = passed.map_or(Micros::MIN, |passed| passed.saturating_add(SKEW));
    uids.extend(uids_of(client, TOLD, tenant, kept, room - uids.len()).await?);
    Ok(uids)
}

async fn uids_of(
    client: &ClientWrapper,
    statement: &str,
    tenant: &str,
    bound: Micros,
    room: usize,
) -> Result<Vec<String>, StoreError> {
    let select = client.prepare_cached(statement).await?;
    let found = client.query(&select, &[&tenant, &bound, &super::limit(room)]).await?;
    Ok(found.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}
