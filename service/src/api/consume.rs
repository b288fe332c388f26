//! One client of a durable consumer. What it says is gathered and told to the store together with its room for more: a
//! turn a transaction. The store decides; here is only what is out to this client, and when to ask again.
//!
//! However the call ends, what is out to its client goes to others: the first time at once.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use calbridge_process::crash::{self, Point};
use calbridge_proto::v1::{
    ConsumeRequest, ConsumeResponse, Heartbeat, NackAction,
    consume_request::{Nack, Open, Request},
    consume_response::{Item, LeasesLost, Response},
};
use futures_util::{FutureExt, Stream, StreamExt, stream};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tracing::Span;

use super::{
    Api, bells::Bell, consumer, ending, errors::ApiError, mask, read, trace::Outlet, turn::Turns, watch::recorded,
};
use crate::{
    auth::Caller,
    settings::{CONSUME_HEARD, CONSUME_INTERVAL, CONSUME_REST_TIMES, CONSUME_SPACING, HEARTBEAT_INTERVAL},
    store::{DeliveryOf, LogEntry, Micros, Outgoing, Position, Said, Store, TurnAnswer, TurnRequest, time::timestamp},
};

/// What a stream of responses is to tonic.
pub(super) type Responses = Pin<Box<dyn Stream<Item = Result<ConsumeResponse, Status>> + Send>>;

/// A nack may not put an entry off for longer.
const DELAY_MAX: Duration = Duration::from_hours(24);

impl<S: Store> Api<S> {
    /// Begins to deliver: the first request says to whom.
    pub(super) async fn begin_to_deliver(
        &self,
        caller: Caller,
        mut requests: Streaming<ConsumeRequest>,
    ) -> Result<Responses, Status> {
        let first = requests.message().await?.and_then(|first| first.request);
        let Some(Request::Open(Open { tenant, consumer: name, max_in_flight })) = first else {
            return Err(ApiError::InvalidField { field: "open", why: "must be the first request" }.into());
        };
        let key = consumer::key(&caller, &tenant, &name)?;
        let place = self.places.take(&caller, 1).ok_or(ApiError::Overloaded)?;
        let head = self.store.follow();
        let status = read(self.store.consumer(key.clone())).await?;
        let kept = status.ok_or(ApiError::ConsumerNotFound { name })?.consumer;
        if kept.paused {
            return Err(ApiError::ConsumerPaused.into());
        }
        let most = match usize::try_from(max_in_flight) {
            Ok(0) => kept.choices.max_in_flight,
            Ok(most) => most.min(kept.choices.max_in_flight),
            Err(_) => {
                return Err(ApiError::InvalidField { field: "open.max_in_flight", why: "must not be negative" }.into());
            }
        };
        let bell = self.bells.of(&key);
        let client = Client {
            caller,
            outlet: Outlet::of_consumer(Arc::clone(&self.metrics), key.clone()),
            sending: None,
            rung: bell.subscribe(),
            _bell: bell,
            turns: Arc::new(Turns {
                store: Arc::clone(&self.store),
                bells: Arc::clone(&self.bells),
                key,
                clock: self.replays.clock,
                _place: place,
            }),
            requests,
            reading: true,
            head,
            most,
            said: Vec::new(),
            out: HashMap::new(),
            waiting: VecDeque::new(),
            turn_is_due: true,
            last_turn: Instant::now(),
            rests_until: Instant::now(),
            next_turn: Instant::now(),
            scan_kept: Instant::now(),
            cursor: kept.cursor,
            silent_since: Instant::now(),
            stopping: self.stopping.clone(),
        };
        Ok(stream::unfold(Some(client), step).boxed())
    }
}

struct Client<S: Store> {
    /// Let in once, when it began.
    caller: Caller,
    outlet: Outlet,
    /// The span of the entries that are going out.
    sending: Option<Span>,
    rung: watch::Receiver<u64>,
    _bell: Arc<Bell>,
    turns: Arc<Turns<S>>,
    requests: Streaming<ConsumeRequest>,
    /// Requests may still come.
    reading: bool,
    head: watch::Receiver<Position>,
    /// Entries out to it, at the most.
    most: usize,
    /// What it said and the store has not heard.
    said: Vec<(DeliveryOf, Said)>,
    /// What is out to it.
    out: HashMap<DeliveryOf, Out>,
    waiting: VecDeque<Response>,
    /// Something was said, or there may be something for it.
    turn_is_due: bool,
    last_turn: Instant,
    /// Before which nobody else's doing asks for another: turns of all consumers share their store with every webhook,
    /// so each rests for longer than it took, waiting included.
    rests_until: Instant,
    /// When to ask again in any case.
    next_turn: Instant,
    /// When it was last written down how far the log was scanned, whatever was found.
    scan_kept: Instant,
    cursor: Position,
    silent_since: Instant,
    stopping: CancellationToken,
}

/// A delivery that is out to a client.
struct Out {
    expires: Micros,
    /// It was handed to the connection; before, it only waits here.
    is_sent: bool,
}

impl Out {
    /// What becomes of it where its client is gone.
    fn left(&self) -> Said {
        if self.is_sent { Said::Release } else { Said::Return }
    }
}

/// The next response; none at the end, and none behind a refusal.
async fn step<S: Store>(client: Option<Client<S>>) -> Option<(Result<ConsumeResponse, Status>, Option<Client<S>>)> {
    let mut client = client?;
    match client.next().await {
        Ok(response) => {
            let response = response?;
            client.silent_since = Instant::now();
            let response = mask::shown(&client.caller, response);
            Some((Ok(ConsumeResponse { response: Some(response) }), Some(client)))
        }
        Err(status) => Some((Err(status), None)),
    }
}

impl<S: Store> Client<S> {
    async fn next(&mut self) -> Result<Option<Response>, Status> {
        loop {
            if self.stopping.is_cancelled() {
                return Err(ApiError::ShuttingDown.into());
            }
            // What it said is heard before it gets more, so that its leases don't end meanwhile. One that is full has a
            // turn as well, when that is due: leases that have ended make room. No more than one turn's entries wait.
            let is_due = self.turn_is_due && self.waiting.is_empty();
            if is_due
                && self.reading
                && let Some(request) = self.requests.message().now_or_never()
            {
                self.hear(request)?;
            }
            if !self.said.is_empty() || is_due {
                self.turn().await?;
            }
            if let Some(response) = self.waiting.pop_front() {
                if let Response::Item(item) = &response
                    && let Some(out) = read_id(&item.id).and_then(|delivery| self.out.get_mut(&delivery))
                {
                    out.is_sent = true;
                }
                return Ok(Some(response));
            }
            if !self.reading {
                self.release().await?;
                return Ok(None);
            }
            self.wait().await?;
        }
    }

    /// What is out goes to others before the stream ends: a client that waits for the end knows that it has nothing out
    /// any more.
    async fn release(&mut self) -> Result<(), Status> {
        if !self.out.is_empty() {
            self.said.extend(self.out.iter().map(|(delivery, out)| (*delivery, out.left())));
            self.turn().await?;
            self.out.clear();
        }
        Ok(())
    }

    /// For how many more; for none where the client has said its last.
    fn room(&self) -> usize {
        if self.reading { self.most.saturating_sub(self.out.len()) } else { 0 }
    }

    async fn wait(&mut self) -> Result<(), Status> {
        self.sending = None;
        let silence = self.silent_since + HEARTBEAT_INTERVAL;
        let has_room = self.room() > 0;
        tokio::select! {
            request = self.requests.message() => self.hear(request)?,
            moved = self.head.changed(), if has_room => {
                moved.map_err(|_| ApiError::ShuttingDown)?;
                // Most of what is committed may be nothing for this consumer.
                self.next_turn = self.next_turn.min(self.rests_until.max(self.last_turn + CONSUME_SPACING));
            }
            _ = self.rung.changed(), if has_room => self.next_turn = self.next_turn.min(self.rests_until),
            () = sleep_until(self.next_turn.min(silence)) => {
                self.turn_is_due |= self.next_turn <= Instant::now();
                if silence <= Instant::now() {
                    let position = self.cursor.to_token();
                    self.waiting.push_back(Response::Heartbeat(Heartbeat { position }));
                }
            }
            () = self.stopping.cancelled() => {}
        }
        Ok(())
    }

    /// Takes a request and what has come behind it, up to a bound.
    fn hear(&mut self, request: Result<Option<ConsumeRequest>, Status>) -> Result<(), Status> {
        let mut request = request.map_err(ending)?;
        loop {
            let Some(ConsumeRequest { request: said }) = request else {
                self.reading = false;
                return Ok(());
            };
            self.take(said)?;
            if self.said.len() >= CONSUME_HEARD {
                return Ok(());
            }
            request = match self.requests.message().now_or_never() {
                Some(next) => next.map_err(ending)?,
                None => return Ok(()),
            };
        }
    }

    fn take(&mut self, said: Option<Request>) -> Result<(), Status> {
        match said {
            Some(Request::Ack(ack)) => self.say(&ack.ids, &Said::Ack),
            Some(Request::Extend(extend)) => self.say(&extend.ids, &Said::Extend),
            Some(Request::Nack(nack)) => {
                let said = nacked(&nack)?;
                self.say(&[nack.id], &said)
            }
            Some(Request::Open(_)) | None => {
                let why = "may come once, as the first request; every other is an ack, a nack or an extend";
                Err(ApiError::InvalidField { field: "open", why }.into())
            }
        }
    }

    fn say(&mut self, ids: &[String], said: &Said) -> Result<(), Status> {
        for id in ids {
            let why = "must be the id of an item of this consumer";
            let delivery = read_id(id).ok_or(ApiError::InvalidField { field: "ids", why })?;
            if *said != Said::Extend {
                self.out.remove(&delivery);
            }
            self.said.push((delivery, said.clone()));
        }
        Ok(())
    }

    async fn turn(&mut self) -> Result<(), Status> {
        let now = (self.turns.clock)();
        let rung = *self.rung.borrow_and_update();
        self.last_turn = Instant::now();
        self.out.retain(|_, out| out.expires > now);
        let said = std::mem::take(&mut self.said);
        let settles = said.iter().any(|(_, said)| *said != Said::Extend);
        let extended: HashSet<DeliveryOf> =
            said.iter().filter(|(_, said)| *said == Said::Extend).map(|(delivery, _)| *delivery).collect();
        let hears = !said.is_empty();
        let span = if hears { self.outlet.ack_span(said.len()) } else { self.outlet.send_span() };
        let keeps_scan = self.scan_kept.elapsed() >= CONSUME_INTERVAL;
        if keeps_scan {
            self.scan_kept = self.last_turn;
        }
        let request = TurnRequest { said, room: self.room(), now, asked: Some(self.last_turn), keeps_scan };
        if hears {
            crash::at(Point::ConsumerHeard);
        }
        let Some(answer) = self.turns.take(&span, request).await? else {
            return Err(ApiError::ConsumerNotFound { name: self.turns.key.1.clone() }.into());
        };
        let rest = (CONSUME_REST_TIMES * self.last_turn.elapsed()).min(CONSUME_INTERVAL);
        self.rests_until = Instant::now() + rest;
        // Before anything is waited for: what is out goes back with this client.
        let out = answer.out.iter().map(|out| (out.delivery, Out { expires: out.expires, is_sent: false }));
        self.out.extend(out);
        if settles {
            self.turns.bells.ring(&self.turns.key);
            // Its own ring is no news to it; anybody else's is.
            if *self.rung.borrow() == rung + 1 {
                self.rung.mark_unchanged();
            }
        }
        for delivery in extended {
            self.out.entry(delivery).and_modify(|out| out.expires = answer.extended);
        }
        let again = answer.out.iter().filter(|out| out.deliveries > 1).count();
        self.outlet.repeats(again, answer.parked);
        self.sending = match (hears, answer.out.len()) {
            (true, 0) => None,
            (_, entries) => {
                let span = if hears { self.outlet.send_span() } else { span };
                self.outlet.sends(&span, entries);
                Some(span)
            }
        };
        self.take_answer(answer, now).await
    }

    async fn take_answer(&mut self, answer: TurnAnswer, now: Micros) -> Result<(), Status> {
        let TurnAnswer { out, lost, due, more, cursor, paused, .. } = answer;
        self.cursor = cursor;
        if !lost.is_empty() {
            for delivery in &lost {
                self.out.remove(delivery);
            }
            let ids = lost.into_iter().map(id).collect();
            self.waiting.push_back(Response::LeasesLost(LeasesLost { ids }));
        }
        for Outgoing { delivery, deliveries, expires, entry } in out {
            let (transition, recorded) = match entry {
                LogEntry::Transition(made) => (Some(*made), None),
                LogEntry::Recorded(kept) => (None, Some(recorded(delivery.position, *kept).await?)),
            };
            self.waiting.push_back(Response::Item(Item {
                id: id(delivery),
                transition,
                delivery_count: i32::try_from(deliveries).unwrap_or(i32::MAX),
                lease_expire_time: Some(timestamp(expires)),
                recorded,
            }));
        }
        self.turn_is_due = more && !paused && self.room() > 0;
        let due = due.and_then(|due| u64::try_from(due.saturating_sub(now)).ok()).map(Duration::from_micros);
        self.next_turn = Instant::now() + due.map_or(CONSUME_INTERVAL, |due| due.min(CONSUME_INTERVAL));
        // It read to a bound and found nothing there: another one rests like those that the log's moving asks for.
        if self.turn_is_due && self.waiting.is_empty() {
            (self.turn_is_due, self.next_turn) = (false, self.rests_until);
        }
        Ok(())
    }
}

impl<S: Store> Drop for Client<S> {
    fn drop(&mut self) {
        let mut said = std::mem::take(&mut self.said);
        said.extend(self.out.drain().map(|(delivery, out)| (delivery, out.left())));
        if !said.is_empty() {
            self.turns.leave(self.outlet.ack_span(said.len()), said);
        }
    }
}

fn nacked(Nack { action, delay, reason, .. }: &Nack) -> Result<Said, ApiError> {
    let invalid = |field, why| ApiError::InvalidField { field, why };
    let pause = match delay {
        Some(delay) => {
            let delay = consumer::duration(*delay, DELAY_MAX);
            Some(delay.ok_or(invalid("nack.delay", "must be at most a day, and not negative"))?)
        }
        None => None,
    };
    match NackAction::try_from(*action) {
        Ok(NackAction::Unspecified | NackAction::Retry) => Ok(Said::Retry(pause, reason.clone())),
        Ok(NackAction::Park) => Ok(Said::Park(reason.clone())),
        Ok(NackAction::Skip) => Ok(Said::Skip),
        Err(_) => Err(invalid("nack.action", "is not an action of this schema")),
    }
}

/// As a client knows a delivery: position and lease, each as 16 hex digits.
pub(super) fn id(DeliveryOf { position, lease }: DeliveryOf) -> String {
    format!("{}{}", position.to_token(), Position(lease).to_token())
}

pub(super) fn read_id(id: &str) -> Option<DeliveryOf> {
    let (position, lease) = id.split_at_checked(16)?;
    Some(DeliveryOf { position: Position::from_token(position)?, lease: Position::from_token(lease)?.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_a_delivery() {
        let delivery = DeliveryOf { position: Position(7), lease: 9 };
        assert_eq!(read_id(&id(delivery)), Some(delivery));
        for other in ["", "x", "0000000000000007", "äääääääääääääääääääääääääääääääää"]
        {
            assert_eq!(read_id(other), None, "{other}");
        }
    }

    #[test]
    fn a_nack_says_what_is_to_become_of_it() {
        let nack = |action: NackAction, seconds| Nack {
            action: action.into(),
            delay: Some(prost_types::Duration { seconds, nanos: 0 }),
            ..Nack::default()
        };
        let retry = Said::Retry(Some(Duration::from_secs(2)), String::new());
        assert_eq!(nacked(&nack(NackAction::Unspecified, 2)), Ok(retry.clone()));
        assert_eq!(nacked(&nack(NackAction::Retry, 2)), Ok(retry));
        assert_eq!(nacked(&Nack::default()), Ok(Said::Retry(None, String::new())));
        assert_eq!(nacked(&nack(NackAction::Park, 0)), Ok(Said::Park(String::new())));
        assert_eq!(nacked(&nack(NackAction::Skip, 0)), Ok(Said::Skip));
        for seconds in [-1, 90_000] {
            assert!(nacked(&nack(NackAction::Retry, seconds)).is_err());
        }
        assert!(nacked(&Nack { action: 99, ..Nack::default() }).is_err());
    }
}
