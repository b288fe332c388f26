//! What the service is to hear: gathered while the stream is busy, so that many acks become one.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use calbridge_proto::v1::{
    ConsumeRequest, NackAction,
    consume_request::{Ack, Extend, Nack, Request},
};

use super::Settled;

/// The service takes no longer one.
const DELAY_MAX: Duration = Duration::from_hours(24);

/// Bounded by what is out to this client: each item is settled once, and extended once at a time.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Out to us, and not settled as far as the service has heard.
    leases: HashSet<String>,
    acks: Vec<String>,
    nacks: VecDeque<Nack>,
    extends: bool,
    /// Settlements wait: whoever stops must not make room for more.
    holds: bool,
}

impl Outbox {
    pub(super) fn take(&mut self, id: &str) {
        self.leases.insert(id.to_owned());
    }

    /// The service gave them to others.
    pub(super) fn lose(&mut self, ids: &[String]) {
        for id in ids {
            self.leases.remove(id);
        }
    }

    pub(super) fn settle(&mut self, id: String, settled: Settled) {
        let nack = |id, action: NackAction, delay: Option<Duration>, reason| {
            let delay = delay.and_then(|delay| prost_types::Duration::try_from(delay.min(DELAY_MAX)).ok());
            Nack { id, action: action.into(), delay, reason }
        };
        match settled {
            Settled::Ack => self.acks.push(id),
            Settled::Retry { delay, reason } => self.nacks.push_back(nack(id, NackAction::Retry, delay, reason)),
            Settled::Park { reason } => self.nacks.push_back(nack(id, NackAction::Park, None, reason)),
            Settled::Skip => self.nacks.push_back(nack(id, NackAction::Skip, None, String::new())),
        }
    }

    /// All that are out to us need longer.
    pub(super) fn extend(&mut self) {
        self.extends = !self.leases.is_empty();
    }

    pub(super) fn hold(&mut self, holds: bool) {
        self.holds = holds;
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.extends && (self.holds || (self.acks.is_empty() && self.nacks.is_empty()))
    }

    /// What is to be said next.
    pub(super) fn next(&mut self) -> Option<ConsumeRequest> {
        let request = if self.extends {
            self.extends = false;
            Request::Extend(Extend { ids: self.leases.iter().cloned().collect() })
        } else if self.holds {
            return None;
        } else if self.acks.is_empty() {
            let nack = self.nacks.pop_front()?;
            self.leases.remove(&nack.id);
            Request::Nack(nack)
        } else {
            let ids = std::mem::take(&mut self.acks);
            self.lose(&ids);
            Request::Ack(Ack { ids })
        };
        Some(ConsumeRequest { request: Some(request) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(outbox: &mut Outbox) -> Vec<Request> {
        std::iter::from_fn(|| outbox.next()).filter_map(|request| request.request).collect()
    }

    fn with(ids: &[&str]) -> Outbox {
        let mut outbox = Outbox::default();
        for id in ids {
            outbox.take(id);
        }
        outbox
    }

    #[test]
    fn acks_that_gather_are_one_request() {
        let mut outbox = with(&["a", "b", "c"]);
        assert!(outbox.is_empty());
        outbox.settle("a".to_owned(), Settled::Ack);
        outbox.settle("b".to_owned(), Settled::park("why"));
        outbox.settle("c".to_owned(), Settled::Ack);
        let Ok([Request::Ack(ack), Request::Nack(nack)]) = <[Request; 2]>::try_from(said(&mut outbox)) else {
            unreachable!("an ack and a nack were awaited")
        };
        assert_eq!(ack.ids, ["a", "c"]);
        assert_eq!((nack.id.as_str(), nack.action(), nack.reason.as_str()), ("b", NackAction::Park, "why"));
        assert!(outbox.is_empty() && outbox.leases.is_empty());
    }

    #[test]
    fn a_delay_is_one_that_the_service_takes() {
        let mut outbox = with(&["a"]);
        let delay = Some(Duration::from_hours(1_000));
        outbox.settle("a".to_owned(), Settled::Retry { delay, reason: String::new() });
        let Some(Request::Nack(nack)) = said(&mut outbox).pop() else { unreachable!("a nack was awaited") };
        assert_eq!(nack.delay.map(|delay| delay.seconds), Some(86_400));
    }

    #[test]
    fn whoever_stops_settles_nothing_and_lets_no_lease_end() {
        let mut outbox = with(&["a", "b"]);
        outbox.hold(true);
        outbox.settle("a".to_owned(), Settled::Ack);
        assert!(outbox.is_empty());
        outbox.extend();
        let Some(Request::Extend(extend)) = said(&mut outbox).pop() else { unreachable!("an extend was awaited") };
        assert_eq!(extend.ids.len(), 2);
        outbox.lose(&["b".to_owned()]);
        outbox.extend();
        let Some(Request::Extend(extend)) = said(&mut outbox).pop() else { unreachable!("an extend was awaited") };
        assert_eq!(extend.ids, ["a"]);
        outbox.hold(false);
        assert!(!outbox.is_empty());
        assert_eq!(said(&mut outbox).len(), 1);
        outbox.extend();
        assert!(outbox.is_empty(), "nothing is out any more");
    }
}
