use calbridge_proto::v1::{SubmitError, SubmitOutcome};
use calbridge_telemetry::Readiness;
use futures_util::{FutureExt as _, StreamExt as _};

use super::{replica::Standing, *};

mod handover;
mod laws;

/// Longer than any test counts.
const PATIENCE: Duration = Duration::from_hours(1);

/// An outbox with some replicas, and what a link keeps for each.
struct Rig {
    outbox: Arc<Outbox>,
    readiness: Readiness,
    links: Vec<Line>,
}

struct Line {
    place: Place,
    stream: Option<(StreamId, Outgoing, CancellationToken)>,
}

impl Rig {
    fn new(replicas: u16, capacity: usize) -> Self {
        let readiness = Readiness::new();
        let outbox = Arc::new(Outbox::new(capacity, PATIENCE, readiness.check("service")));
        let mut rig = Self { outbox, readiness, links: Vec::new() };
        for port in 1..=replicas {
            rig.add(port);
        }
        rig
    }

    /// As many replicas with open streams.
    fn open(replicas: u16, capacity: usize) -> Self {
        let mut rig = Self::new(replicas, capacity);
        (0..replicas.into()).for_each(|at| rig.stream(at));
        rig
    }

    fn add(&mut self, port: u16) {
        let place = self.outbox.add(peer(port)).unwrap();
        self.links.push(Line { place, stream: None });
    }

    /// Opens a stream to a replica.
    fn stream(&mut self, at: usize) {
        let Attached { id, outgoing, over } = self.links[at].place.attach();
        self.outbox.opened(id);
        self.links[at].stream = Some((id, outgoing, over));
    }

    fn close(&mut self, at: usize) {
        self.links[at].place.close();
        self.links[at].stream = None;
    }

    fn id(&self, at: usize) -> StreamId {
        self.links[at].stream.as_ref().unwrap().0
    }

    fn submit(&self, text: &str) -> Ticket {
        self.outbox.submit(event(text)).unwrap()
    }

    /// What a replica's stream sends now.
    fn sent(&mut self, at: usize) -> Vec<u64> {
        sent(&mut self.links[at].stream.as_mut().unwrap().1).into_iter().map(|(sequence, _)| sequence).collect()
    }

    fn commit(&self, at: usize, sequence: u64) -> bool {
        self.outbox.answer(self.id(at), committed(sequence))
    }

    fn refuse(&self, at: usize, sequence: u64, reason: &str) {
        let error = SubmitError { reason: reason.to_owned(), ..SubmitError::default() };
        self.outbox.answer(self.id(at), SubmitEventsResponse { sequence, error: Some(error), ..Default::default() });
    }

    /// Makes every replica a trusted one.
    fn prove(&mut self) {
        for at in 0..self.links.len() {
            let _ticket = self.submit("prove");
            let sequence = (0..self.links.len()).flat_map(|at| self.sent(at).into_iter().map(move |s| (at, s))).next();
            let (by, sequence) = sequence.unwrap();
            assert_eq!(by, at, "those that are not proven take turns");
            self.commit(by, sequence);
        }
    }

    fn ticks(&self, count: u32) -> Vec<u16> {
        (0..count).flat_map(|_| self.outbox.tick().abandoned).map(|peer| peer.port).collect()
    }

    fn standing(&self, at: usize) -> Standing {
        let state = self.outbox.lock();
        state.replicas[at].as_ref().unwrap().standing(state.tick)
    }
}

fn peer(port: u16) -> Arc<Peer> {
    Arc::new(Peer { host: "10.0.0.1".into(), port })
}

fn event(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn sent(outgoing: &mut Outgoing) -> Vec<(u64, String)> {
    std::iter::from_fn(|| outgoing.next().now_or_never().flatten())
        .map(|frame| (frame.sequence, String::from_utf8(frame.event.to_vec()).unwrap()))
        .collect()
}

fn committed(sequence: u64) -> SubmitEventsResponse {
    let outcome = SubmitOutcome::Applied.into();
    SubmitEventsResponse { sequence, outcome, delivery_id: format!("d{sequence}"), ..Default::default() }
}

fn settled(ticket: &mut Ticket) -> Option<Result<Accepted, Refused>> {
    ticket.answer().now_or_never()
}

fn reason(ticket: &mut Ticket) -> &'static str {
    settled(ticket).expect("it is settled").unwrap_err().reason
}

#[test]
fn an_event_is_sent_once_and_answered_once() {
    let mut rig = Rig::new(1, 10);
    let mut one = rig.submit("one");
    rig.stream(0);
    let mut two = rig.submit("two");
    let frames = sent(&mut rig.links[0].stream.as_mut().unwrap().1);
    assert_eq!(frames, [(1, "one".to_owned()), (2, "two".to_owned())]);
    rig.commit(0, 2);
    rig.commit(0, 2);
    assert_eq!(settled(&mut two).unwrap().unwrap().delivery_id, "d2");
    assert_eq!(two.end().unwrap().port, 1, "and it is known by whom");
    assert_eq!(settled(&mut one), None, "not answered yet");
    rig.commit(0, 1);
    assert_eq!(rig.sent(0), [0; 0]);
}

#[test]
fn a_new_stream_sends_what_is_unanswered_and_the_old_one_nothing() {
    let mut rig = Rig::open(1, 10);
    let tickets = ["a", "b", "c"].map(|text| rig.submit(text));
    assert_eq!(rig.sent(0), [1, 2, 3]);
    rig.commit(0, 2);
    let (_, mut old, over) = rig.links[0].stream.take().unwrap();
    rig.close(0);
    rig.stream(0);
    let late = rig.submit("d");
    assert_eq!(old.next().now_or_never(), Some(None), "the old one is over");
    assert!(over.is_cancelled());
    assert_eq!(rig.sent(0), [1, 3, 4]);
    drop((tickets, late));
}

#[test]
fn a_stream_that_is_not_open_yet_sends_nothing() {
    let rig = Rig::new(1, 10);
    let mut attached = rig.links[0].place.attach();
    let _ticket = rig.submit("x");
    assert!(sent(&mut attached.outgoing).is_empty());
    rig.outbox.opened(attached.id);
    assert_eq!(sent(&mut attached.outgoing).len(), 1);
}

#[test]
fn what_is_given_up_is_neither_sent_nor_kept() {
    let mut rig = Rig::open(1, 1);
    drop(rig.submit("given up"));
    assert_eq!(rig.sent(0), [0; 0]);
    let mut kept = rig.submit("kept");
    assert_eq!(rig.outbox.submit(event("one too many")).err().unwrap().reason, "overloaded");
    assert_eq!(rig.sent(0), [2]);
    assert_eq!(kept.end().unwrap().port, 1, "where it went is known although it is not answered");
    assert!(rig.outbox.lock().waiting.is_empty());
    rig.commit(0, 2);
}

#[test]
fn a_stream_that_is_not_read_gathers_no_numbers_of_what_is_given_up() {
    for open in [true, false] {
        let mut rig = Rig::new(1, 4);
        if open {
            rig.stream(0);
        }
        let kept = rig.submit("first");
        for _ in 0..1000 {
            drop(rig.submit("given up"));
            let state = rig.outbox.lock();
            assert!(state.replicas[0].as_ref().unwrap().unsent.len() + state.unplaced.len() <= 8);
        }
        let last = rig.submit("last");
        if !open {
            rig.stream(0);
        }
        assert_eq!(rig.sent(0), [1, 1002], "in the order they came");
        drop((kept, last));
    }
}

#[test]
fn an_event_breaks_so_many_streams_and_no_more() {
    let mut rig = Rig::new(1, 10);
    let mut ticket = rig.submit("poison");
    for _ in 0..3 {
        rig.stream(0);
        assert_eq!(rig.sent(0), [1]);
        assert_eq!(settled(&mut ticket), None);
        rig.close(0);
    }
    assert_eq!(reason(&mut ticket), "unanswered");
}

#[test]
fn without_a_stream_events_wait_for_a_while_then_are_refused() {
    let check = Readiness::new().check("service");
    let outbox = Arc::new(Outbox::new(10, TICK * 3, check));
    let refused = || outbox.submit(event("x")).err().map(|refused| refused.reason);
    assert_eq!(refused(), None);
    (0..3).for_each(|_| drop(outbox.tick()));
    assert_eq!(refused(), Some("service_away"));
    let place = outbox.add(peer(1)).unwrap();
    outbox.opened(place.attach().id);
    assert_eq!(refused(), None);
    (0..3).for_each(|_| drop(outbox.tick()));
    place.close();
    (0..2).for_each(|_| drop(outbox.tick()));
    assert_eq!(refused(), None, "the outage is short so far");
    outbox.tick();
    assert_eq!(refused(), Some("service_away"));
}

#[test]
fn at_the_end_what_was_taken_in_is_sent_and_nothing_else_taken() {
    let mut rig = Rig::open(1, 10);
    let _waiting = rig.submit("last");
    rig.outbox.end();
    assert_eq!(rig.outbox.submit(event("x")).err().unwrap().reason, "shutting_down");
    let outgoing = &mut rig.links[0].stream.as_mut().unwrap().1;
    assert_eq!(outgoing.next().now_or_never().unwrap().unwrap().event, event("last"));
    assert_eq!(outgoing.next().now_or_never(), Some(None));
}

#[tokio::test]
async fn a_stream_that_waits_is_woken() {
    let mut rig = Rig::open(1, 10);
    let (_, mut outgoing, _) = rig.links[0].stream.take().unwrap();
    let next = tokio::spawn(async move { (outgoing.next().await.unwrap().sequence, outgoing.next().await) });
    tokio::task::yield_now().await;
    let _ticket = rig.submit("x");
    tokio::task::yield_now().await;
    let _replacing = rig.links[0].place.attach();
    assert_eq!(next.await.unwrap(), (1, None));
}

#[test]
fn ready_is_who_has_an_open_stream_that_serves() {
    let mut rig = Rig::open(2, 10);
    let ready = |rig: &Rig| rig.readiness.is_ready();
    assert!(!ready(&rig), "nobody has said so");
    let old = rig.id(0);
    rig.outbox.report(old, true);
    rig.outbox.report(rig.id(1), false);
    assert!(ready(&rig), "one is enough");
    rig.close(0);
    assert!(!ready(&rig));
    rig.outbox.report(old, true);
    assert!(!ready(&rig), "what an old stream's probe says is out of date");
    rig.outbox.report(rig.id(1), true);
    assert!(ready(&rig));
    rig.links[1].place.drain();
    assert!(!ready(&rig), "nothing more goes there");
    rig.stream(0);
    rig.outbox.report(rig.id(0), true);
    assert!(ready(&rig));
    rig.outbox.stay_unready();
    rig.outbox.report(rig.id(0), true);
    assert!(!ready(&rig), "we are about to go");
}
