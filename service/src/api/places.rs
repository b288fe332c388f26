//! Places for the calls that last: watches, and clients of consumers. Each may hold a page of the log, so there are so
//! many; and no principal has them all, or one that forgets to end its calls would shut everybody out.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::errors::ApiError;
use crate::{
    auth::Caller,
    settings::{WATCHES, WATCHES_OF_ONE},
};

/// All that there are.
#[derive(Debug)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    /// By name; there are no more than are configured.
    principals: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// One of them, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_one: Option<OwnedSemaphorePermit>,
}

impl Default for Places {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(WATCHES)), principals: Mutex::default() }
    }
}

impl Places {
    /// One for this caller. Where nobody is configured callers can't be told apart, and share them all.
    pub(super) fn take(&self, caller: &Caller) -> Result<Place, ApiError> {
        let take = |places: Arc<Semaphore>| places.try_acquire_owned().map_err(|_| ApiError::Overloaded);
        let of_one = match caller {
            Caller::Known(principal) => Some(take(self.of(&principal.name))?),
            Caller::Anybody | Caller::Nobody => None,
        };
        Ok(Place { _of_one: of_one, _of_all: take(Arc::clone(&self.all))? })
    }

    fn of(&self, principal: &str) -> Arc<Semaphore> {
        let mut principals = self.principals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = principals.get(principal) {
            return Arc::clone(places);
        }
        let places = Arc::new(Semaphore::new(WATCHES_OF_ONE));
        principals.insert(principal.to_owned(), Arc::clone(&places));
        places
    }
}

#[cfg(test)]
mod tests {
    use calbridge_process::{Principal, Tenants};

    use super::*;

    #[test]
    fn nobody_can_take_them_all_from_the_others() {
        let known = |name: &str| {
            Caller::Known(Arc::new(Principal {
                name: name.to_owned(),
                token_sha256: Vec::new(),
                certificates: Vec::new(),
                scopes: [].into_iter().collect(),
                tenants: Tenants::Every,
            }))
        };
        let (places, greedy, other) = (Places::default(), known("greedy"), known("other"));
        let mut taken: Vec<Place> = (0..WATCHES_OF_ONE).map(|_| places.take(&greedy).unwrap()).collect();
        assert!(matches!(places.take(&greedy), Err(ApiError::Overloaded)));
        let mut others: Vec<Place> = (WATCHES_OF_ONE..WATCHES).map(|_| places.take(&other).unwrap()).collect();
        assert!(matches!(places.take(&known("third")), Err(ApiError::Overloaded)), "there are no more");
        others.pop();
        assert!(matches!(places.take(&greedy), Err(ApiError::Overloaded)));
        taken.pop();
        places.take(&greedy).unwrap();

        let places = Places::default();
        let all: Vec<Place> = (0..WATCHES).map(|_| places.take(&Caller::Anybody).unwrap()).collect();
        assert!(matches!(places.take(&Caller::Anybody), Err(ApiError::Overloaded)));
        drop(all);
        places.take(&Caller::Anybody).unwrap();
    }
}
