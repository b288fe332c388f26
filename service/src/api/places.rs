//! Places for what lasts as long as its caller likes: watches, and clients of consumers, each of which may hold a page
//! of the log; and bytes of answers that are not taken. There are so many, and no principal has them all, or one that
//! forgets to end its calls would shut everybody out.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::auth::Caller;

/// All that there are.
#[derive(Debug)]
pub(crate) struct Places {
    all: Arc<Semaphore>,
    of_one: usize,
    /// By name; there are no more than are configured.
    principals: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// Some of them, free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_one: Option<OwnedSemaphorePermit>,
}

impl Places {
    /// So many, and so many for one principal.
    pub(crate) fn new(all: usize, of_one: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), of_one, principals: Mutex::default() }
    }

    /// So many for this caller, if there are. Where nobody is configured callers can't be told apart, and share all.
    pub(crate) fn take(&self, caller: &Caller, count: usize) -> Option<Place> {
        let count = u32::try_from(count).ok()?;
        let take = |places: Arc<Semaphore>| places.try_acquire_many_owned(count).ok();
        let of_one = match caller {
            Caller::Known(principal) => Some(take(self.of(&principal.name))?),
            Caller::Anybody | Caller::Nobody => None,
        };
        Some(Place { _of_one: of_one, _of_all: take(Arc::clone(&self.all))? })
    }

    fn of(&self, principal: &str) -> Arc<Semaphore> {
        let mut principals = self.principals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = principals.get(principal) {
            return Arc::clone(places);
        }
        let places = Arc::new(Semaphore::new(self.of_one));
        principals.insert(principal.to_owned(), Arc::clone(&places));
        places
    }
}

#[cfg(test)]
mod tests {
    use calbridge_process::{Principal, Tenants};

    use super::*;
    use crate::settings::{WATCHES, WATCHES_OF_ONE};

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
        let (places, greedy, other) = (Places::new(WATCHES, WATCHES_OF_ONE), known("greedy"), known("other"));
        let mut taken: Vec<Place> = (0..WATCHES_OF_ONE).map(|_| places.take(&greedy, 1).unwrap()).collect();
        assert!(places.take(&greedy, 1).is_none());
        let mut others: Vec<Place> = (WATCHES_OF_ONE..WATCHES).map(|_| places.take(&other, 1).unwrap()).collect();
        assert!(places.take(&known("third"), 1).is_none(), "there are no more");
        others.pop();
        assert!(places.take(&greedy, 1).is_none());
        taken.pop();
        places.take(&greedy, 1).unwrap();

        let places = Places::new(WATCHES, WATCHES_OF_ONE);
        let all: Vec<Place> = (0..WATCHES).map(|_| places.take(&Caller::Anybody, 1).unwrap()).collect();
        assert!(places.take(&Caller::Anybody, 1).is_none());
        drop(all);
        places.take(&Caller::Anybody, 1).unwrap();
    }
}
