//! The laws on `PostgreSQL`, and what can go wrong with a server.

use std::collections::BTreeMap;

use calbridge_e2e::postgres::{Durability, Postgres};
use calbridge_service::store::postgres::{Options, PostgresStore};

use crate::{laws, support::*};

/// A server of its own, gone after the test.
pub(crate) struct Server(Postgres);

impl Default for Server {
    fn default() -> Self {
        Self(Postgres::start(Durability::Unsynced))
    }
}

impl Backend for Server {
    type Store = PostgresStore;

    async fn open(&self) -> PostgresStore {
        PostgresStore::open(&self.0.url(), Options::default()).await.unwrap()
    }

    async fn states(&self) -> BTreeMap<String, Vec<(String, Vec<u8>)>> {
        let told = self.0.query("SELECT tenant, uid, encode(state, 'hex') FROM bookings ORDER BY tenant, uid");
        let mut states: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for line in told.lines() {
            let [tenant, uid, state] = line.split('|').collect::<Vec<_>>().try_into().unwrap();
            states.entry(tenant.to_owned()).or_default().push((uid.to_owned(), hex::decode(state).unwrap()));
        }
        states
    }
}

laws!(Server);
