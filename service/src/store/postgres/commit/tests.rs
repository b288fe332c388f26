use calbridge_e2e::postgres::{Durability, Postgres};

use super::*;
use crate::store::postgres::{Options, PostgresStore};

/// A plan is kept for a while, and the first is made while the tables are empty: then the planner has nothing to go by
/// but which indexes there are.
#[tokio::test]
async fn keys_are_looked_up_by_the_index_of_keys_from_the_first_round_on() {
    let server = Postgres::start(Durability::Unsynced);
    let store = PostgresStore::open(&server.url(), Options::default()).await.unwrap();
    let client = store.writers.lease().await.unwrap();
    let none: (Vec<&str>, Vec<i64>, Vec<&[u8]>) = (Vec::new(), Vec::new(), Vec::new());
    let (tenants, times, identities) = &none;
    let key: [&(dyn ToSql + Sync); 3] = [tenants, times, identities];
    let booking: [&(dyn ToSql + Sync); 2] = [tenants, tenants];
    for (sql, values, index) in
        [(FIRST_RESULTS, &key[..], "deliveries_tenant_key_time_identity_key"), (ROWS, &booking[..], "bookings_pkey")]
    {
        let lines = client.query(&format!("EXPLAIN {sql}"), values).await.unwrap();
        let plan: Vec<String> = lines.iter().map(|line| line.get(0)).collect();
        assert!(plan.iter().any(|line| line.contains(&format!("using {index} on"))), "{plan:#?}");
    }
}
