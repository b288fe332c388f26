use calbridge_e2e::postgres::{Durability, Postgres};

use super::*;
use crate::store::postgres::{Options, PostgresStore};

#[tokio::test]
async fn a_column_that_is_not_what_was_written_is_damage_and_no_outage() {
    let server = Postgres::start(Durability::Unsynced);
    let store = PostgresStore::open(&server.url(), Options::default()).await.unwrap();
    let client = store.writers.lease().await.unwrap();
    let row = client.query_one("SELECT NULL::bigint AS one", &[]).await.unwrap();
    let refused = [
        row.try_get::<_, i64>("one").unwrap_err(),
        row.try_get::<_, String>("one").unwrap_err(),
        row.try_get::<_, i64>("two").unwrap_err(),
    ];
    for error in refused {
        let error = StoreError::from(error);
        assert!(matches!(error, StoreError::Damaged { what: "row", .. }), "{error}");
    }
}
