//! What the clock has to say.

use std::{collections::HashSet, sync::Arc};

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
    aside: &HashSet<BookingKey>,
) -> Result<Vec<BookingKey>, StoreError> {
    let mut keys = Vec::new();
    let mut tenant = next_tenant(client, "").await?;
    while let Some(this) = tenant {
        let tenant_key: Arc<str> = Arc::from(this.as_str());
        let passed = clock.horizon(&this, now).instant();
        due_of(client, (&tenant_key, passed), aside, &mut keys).await?;
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
    (tenant, passed): (&Arc<str>, Option<Micros>),
    aside: &HashSet<BookingKey>,
    keys: &mut Vec<BookingKey>,
) -> Result<(), StoreError> {
    if let Some(passed) = passed {
        beyond(client, (UNTOLD, passed), tenant, aside, keys).await?;
    }
    let kept = passed.map_or(Micros::MIN, |passed| passed.saturating_add(SKEW));
    beyond(client, (TOLD, kept), tenant, aside, keys).await
}

/// As far as there is room.
async fn beyond(
    client: &ClientWrapper,
    (statement, bound): (&str, Micros),
    tenant: &Arc<str>,
    aside: &HashSet<BookingKey>,
    keys: &mut Vec<BookingKey>,
) -> Result<(), StoreError> {
    let room = CLOCK_BOOKINGS_MAX - keys.len();
    let select = client.prepare_cached(statement).await?;
    // Those that are left aside stand before the others, and stay there.
    let looks = super::limit(room + aside.len());
    let mut due = Vec::new();
    for row in client.query(&select, &[&tenant.as_ref(), &bound, &looks]).await? {
        due.push((Arc::clone(tenant), row.try_get(0)?));
    }
    keys.extend(due.into_iter().filter(|key| !aside.contains(key)).take(room));
    Ok(())
}
