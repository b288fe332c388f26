use calbridge_e2e::postgres::{Durability, Postgres};

use super::*;
use crate::store::{
    Filter,
    postgres::{Options, PostgresStore},
};

/// A plan is kept for a while, and the first is made while the tables are empty: then the planner has nothing to go by
/// but which indexes there are. Counting bytes must not have it sort a tenant's bookings.
#[tokio::test]
async fn bookings_are_found_by_an_index_from_the_first_page_on() {
    let server = Postgres::start(Durability::Unsynced);
    let store = PostgresStore::open(&server.url(), Options::default()).await.unwrap();
    let client = store.writers.lease().await.unwrap();
    let plan = async |sql: &str, values: &[&(dyn ToSql + Sync)]| -> Vec<String> {
        let lines = client.query(&format!("EXPLAIN {sql}"), values).await.unwrap();
        lines.iter().map(|line| line.get(0)).collect()
    };
    let none: Vec<String> = Vec::new();
    for found in [plan(ONE, &[&"acme", &"u1"]).await, plan(&several(), &[&"acme", &none]).await] {
        assert!(found.iter().any(|line| line.contains("using bookings_pkey on")), "{found:#?}");
        assert!(found.iter().any(|line| line.contains("uid = ")), "{found:#?}");
    }

    for descending in [false, true] {
        let after = Some(BookingCursor { time: 5, uid: "u1".to_owned() });
        let order = BookingOrder::UpdateTime;
        let query =
            BookingQuery { tenant: "acme".into(), order, descending, filter: Filter::default(), after, limit: 10 };
        let Statement { sql, values } = candidates::by_update(&query, None, query.after.as_ref(), 42);
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
        let found = plan(&sql, &values).await;
        assert!(found.iter().any(|line| line.contains("using bookings_by_update on")), "{found:#?}");
        assert!(!found.iter().any(|line| line.contains("Sort")), "{found:#?}");
        let Statement { sql, values } = candidates::by_update(&query, Some(&none), query.after.as_ref(), 42);
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
        let found = plan(&sql, &values).await;
        assert!(found.iter().any(|line| line.contains("using bookings_pkey on")), "{found:#?}");
    }
}
