//! Keeps a failing neighbour from costing more than its first failure.
//!
//! Closed, it lends the link out. The first failure opens it: from then on asking costs nothing, until a keeper aside
//! from the events' way has made a new link.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// A link that is there as long as it works.
#[derive(Debug)]
pub(super) struct Breaker<L> {
    state: Mutex<State<L>>,
    opened: Notify,
}

#[derive(Debug)]
struct State<L> {
    link: Option<L>,
    /// Rises with every link, so that a late failure of an old one does not take the new one away.
    generation: u64,
}

/// A link on loan.
#[derive(Debug)]
pub(super) struct Loan<L> {
    pub(super) link: L,
    generation: u64,
}

impl<L: Clone> Breaker<L> {
    /// Open: there is no link yet.
    pub(super) fn new() -> Self {
        Self { state: Mutex::new(State { link: None, generation: 0 }), opened: Notify::new() }
    }

    /// The link, or none while the breaker is open.
    pub(super) fn lend(&self) -> Option<Loan<L>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.link.clone().map(|link| Loan { link, generation: state.generation })
    }

    /// Whether there is no link.
    pub(super) fn is_open(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).link.is_none()
    }

    /// The loan failed: nobody gets this link again. True for the first to say so.
    pub(super) fn open(&self, loan: &Loan<L>) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.generation != loan.generation || state.link.take().is_none() {
            return false;
        }
        self.opened.notify_one();
        true
    }

    /// A link that works.
    pub(super) fn close(&self, link: L) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.link = Some(link);
        state.generation += 1;
    }

    /// Waits until somebody opens it; at once if that happened since the last wait. For one keeper.
    pub(super) async fn opened(&self) {
        self.opened.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn it_lends_between_close_and_the_first_failure() {
        let breaker = Breaker::new();
        assert!(breaker.lend().is_none() && breaker.is_open());
        breaker.close("first");
        assert!(!breaker.is_open());
        let loan = breaker.lend().unwrap();
        let other = breaker.lend().unwrap();
        assert_eq!(loan.link, "first");
        assert!(breaker.open(&loan));
        assert!(!breaker.open(&other), "the second failure says nothing new");
        assert!(breaker.lend().is_none());
        assert!(breaker.opened().now_or_never().is_some(), "the keeper hears of it");
        assert!(breaker.opened().now_or_never().is_none(), "once");
    }

    #[test]
    fn a_late_failure_of_an_old_link_leaves_the_new_one_alone() {
        let breaker = Breaker::new();
        breaker.close(1);
        let old = breaker.lend().unwrap();
        breaker.open(&old);
        breaker.close(2);
        assert!(!breaker.open(&old));
        assert_eq!(breaker.lend().unwrap().link, 2);
    }
}
