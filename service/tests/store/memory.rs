//! The laws on the model.

use std::collections::BTreeMap;

use calbridge_service::store::{
    Store,
    memory::{Memory, MemoryStore},
};

use crate::{laws, support::*};

impl Backend for Memory {
    type Store = MemoryStore;

    async fn open(&self) -> MemoryStore {
        Self::open(self)
    }

    async fn states(&self) -> BTreeMap<String, Vec<(String, Vec<u8>)>> {
        let store = Self::open(self);
        let mut states: BTreeMap<String, Vec<_>> = BTreeMap::new();
        let mut after = None;
        loop {
            let page = store.rows(None, after, 10_000).await.unwrap();
            after = page.rows.last().map(|row| row.key.clone());
            for row in page.rows {
                let (tenant, uid) = row.key;
                states.entry(tenant.to_string()).or_default().push((uid, row.state));
            }
            if !page.more {
                return states;
            }
        }
    }
}

laws!(Memory);
