//! One client of a durable consumer. What it says is gathered and told to the store together with its room for more: a
//! turn a transaction. The store decides; here is only what is out to this client, and when to ask again.
//!
//! A task of its own hears the client, whether that takes what is put on its tray or not. However the call ends, what
//! is out to its client goes to others: the first time at once.

use std::{
    collections::{HashMap, HashSet},
    future::pending,
    mem,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use calbridge_process::crash::{self, Point};
use calbridge_proto::v1::{
    ConsumeRequest, ConsumeResponse, Heartbeat,
    consume_request::{Open, Request},
    consume_response::{Item, LeasesLost, Response},
};
use futures_util::{FutureExt, Stream, StreamExt};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tracing::Span;

use super::{
    Api,
    bells::Bell,
    consumer, ending,
    errors::ApiError,
    mask, read,
    trace::Outlet,
    tray::{Laid, Tray},
    turn::Turns,
    watch::recorded,
    words,
};
use crate::{
    auth::Caller,
    settings::{
        CONSUME_HEARD, CONSUME_HEARING, CONSUME_INTERVAL, CONSUME_REST_TIMES, CONSUME_SPACING, HEARTBEAT_INTERVAL,
    },
    store::{DeliveryOf, LogEntry, Micros, Outgoing, Position, Said, Store, TurnAnswer, TurnRequest, time::timestamp},
};

/// What a stream of responses is to tonic.
pub(super) type Responses = Pin<Box<dyn Stream<Item = Result<ConsumeResponse, Status>> + Send>>;

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
        let place = Arc::new(self.places.take(&caller, 1).ok_or(ApiError::Overloaded)?);
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
        let (tray, taken) = Tray::new();
        let now = Instant::now();
        let client = Client {
            caller,
            tray,
            outlet: Outlet::of_consumer(Arc::clone(&self.metrics), key.clone()),
            sending: None,
            rung: bell.subscribe(),
            _bell: bell,
            turns: Arc::new(Turns {
                store: Arc::clone(&self.store),
                bells: Arc::clone(&self.bells),
                key,
                clock: self.replays.clock,
                _place: Arc::clone(&place),
            }),
            requests,
            reading: true,
            head,
            most,
            said: Vec::new(),
            said_since: now,
            out: HashMap::new(),
            unlaid: Vec::new(),
            handed: 0,
            portion: most,
            untaken_until: None,
            turn_is_due: true,
            last_turn: now,
            rests_until: now,
            next_turn: now,
            scan_kept: now,
            cursor: kept.cursor,
            stopping: self.stopping.clone(),
            // A panic would leave it so.
            end: Err(ApiError::StoreUnavailable.into()),
        };
        tokio::spawn(client.run());
        let response = move |taken: Result<Response, Status>| {
            // What lies in the connection takes room as well.
            let _ = &place;
            Ok(ConsumeResponse { response: Some(taken?) })
        };
        Ok(taken.map(response).boxed())
    }
}

struct Client<S: Store> {
    /// Let in once, when it began.
    caller: Caller,
    tray: Arc<Tray>,
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
    /// What it said and the store has not heard, and since when.
    said: Vec<(DeliveryOf, Said)>,
    said_since: Instant,
    /// What is out to it, on the tray or taken, and when each lease ends.
    out: HashMap<DeliveryOf, Micros>,
    /// Deliveries of the last turn that are not on the tray yet.
    unlaid: Vec<DeliveryOf>,
    /// Entries that the last turn handed out.
    handed: usize,
    /// Entries that one turn may hand out: few where it was slow to take the last.
    portion: usize,
    /// When what is still on the tray goes back.
    untaken_until: Option<Instant>,
    /// There may be something for it.
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
    stopping: CancellationToken,
    /// How its stream ends, as far as that is known.
    end: Result<(), Status>,
}

impl<S: Store> Client<S> {
    /// Serves it until it is gone, has said its last, or can't be served.
    async fn run(mut self) {
        let tray = Arc::clone(&self.tray);
        let end = tokio::select! {
            biased;
            () = tray.left() => Ok(()),
            end = self.serve() => end,
        };
        self.end = end;
    }

    async fn serve(&mut self) -> Result<(), Status> {
        loop {
            if self.stopping.is_cancelled() {
                return Err(ApiError::ShuttingDown.into());
            }
            // What it said is heard before it gets more, so that its leases don't end meanwhile. One that is full has a
            // turn as well, when that is due: leases that have ended make room. It gets more when all was taken: no
            // more than one turn's entries are on the tray.
            let gets_more = self.turn_is_due && self.tray.is_wanted();
            if gets_more
                && self.reading
                && let Some(request) = self.requests.message().now_or_never()
            {
                self.hear(request)?;
            }
            let is_slow = self.untaken_until.is_some_and(|until| until <= Instant::now()) && self.withdraw();
            if gets_more || is_slow || self.hearing_is_due() {
                self.turn().await?;
            } else if self.reading {
                self.wait().await?;
            }
            if !self.reading {
                return self.release().await;
            }
        }
    }

    /// What was said is heard at once where the client waits for more. While there is something on the tray it waits
    /// for what comes behind it: most clients have taken all by then, and that turn serves both.
    fn hearing_is_due(&self) -> bool {
        let is_over = self.tray.is_wanted() || self.said.len() >= CONSUME_HEARD || self.heard_by() <= Instant::now();
        !self.said.is_empty() && is_over
    }

    fn heard_by(&self) -> Instant {
        self.said_since + CONSUME_HEARING
    }

    /// What its connection has not taken when half of the lease is over goes back as not delivered: with less the
    /// client could not do much, and others may have room. It is handed little next, and twice as much each time that
    /// it has taken all. True where something goes back.
    fn withdraw(&mut self) -> bool {
        self.untaken_until = None;
        let mut withdrawn = self.tray.withdraw();
        withdrawn.append(&mut self.unlaid);
        if !withdrawn.is_empty() {
            self.portion = (2 * self.handed.saturating_sub(withdrawn.len())).max(1);
            self.handed = 0;
        }
        for delivery in &withdrawn {
            self.out.remove(delivery);
            self.said.push((*delivery, Said::Return));
        }
        !withdrawn.is_empty()
    }

    /// What is out goes to others before the stream ends: a client that waits for the end knows that it has nothing out
    /// any more.
    async fn release(&mut self) -> Result<(), Status> {
        self.let_go();
        if self.said.is_empty() { Ok(()) } else { self.turn().await }
    }

    /// Says of all that is out that its client has gone.
    fn let_go(&mut self) {
        self.withdraw();
        self.said.extend(self.out.drain().map(|(delivery, _)| (delivery, Said::Release)));
    }

    /// How many more it can take now: none before it has taken all.
    fn room(&self) -> usize {
        if self.tray.is_wanted() { self.spare().min(self.portion) } else { 0 }
    }

    /// How many more may be out to it; none where it has said its last.
    fn spare(&self) -> usize {
        if self.reading { self.most.saturating_sub(self.out.len()) } else { 0 }
    }

    /// Until something was said, or there may be something to do.
    async fn wait(&mut self) -> Result<(), Status> {
        let (is_wanted, has_room) = (self.tray.is_wanted(), self.room() > 0);
        let hears = self.said.len() < CONSUME_HEARD && !self.tray.is_full();
        let silence = self.tray.taken_at() + HEARTBEAT_INTERVAL;
        if is_wanted {
            self.sending = None;
        }
        let times = [
            is_wanted.then(|| self.next_turn.min(silence)),
            (!self.said.is_empty()).then(|| self.heard_by()),
            self.untaken_until,
        ];
        tokio::select! {
            request = self.requests.message(), if hears => self.hear(request)?,
            moved = self.head.changed(), if has_room => {
                moved.map_err(|_| ApiError::ShuttingDown)?;
                // Most of what is committed may be nothing for this consumer.
                self.next_turn = self.next_turn.min(self.rests_until.max(self.last_turn + CONSUME_SPACING));
            }
            _ = self.rung.changed(), if has_room => self.next_turn = self.next_turn.min(self.rests_until),
            () = until(times.into_iter().flatten().min()) => {
                let now = Instant::now();
                self.turn_is_due |= self.next_turn <= now;
                if is_wanted && silence <= now {
                    let position = self.cursor.to_token();
                    self.tray.put([Laid(Response::Heartbeat(Heartbeat { position }), None)]);
                }
            }
            () = self.tray.wanted(), if !is_wanted => {}
            () = self.stopping.cancelled() => {}
        }
        Ok(())
    }

    /// Takes a request and what has come behind it, up to a bound.
    fn hear(&mut self, request: Result<Option<ConsumeRequest>, Status>) -> Result<(), Status> {
        let mut first = Some(request);
        for _ in 0..CONSUME_HEARD {
            let Some(request) = first.take().or_else(|| self.requests.message().now_or_never()) else { break };
            let Some(ConsumeRequest { request: said }) = request.map_err(ending)? else {
                self.reading = false;
                break;
            };
            if self.said.is_empty() {
                self.said_since = Instant::now();
            }
            for (delivery, said) in words::read(said)? {
                if said != Said::Extend {
                    self.out.remove(&delivery);
                }
                self.said.push((delivery, said));
            }
            if self.said.len() >= CONSUME_HEARD {
                break;
            }
        }
        Ok(())
    }

    async fn turn(&mut self) -> Result<(), Status> {
        let now = (self.turns.clock)();
        let rung = *self.rung.borrow_and_update();
        self.last_turn = Instant::now();
        self.out.retain(|_, expires| *expires > now);
        let said = mem::take(&mut self.said);
        let settles = said.iter().any(|(_, said)| *said != Said::Extend);
        let extended: HashSet<DeliveryOf> =
            said.iter().filter(|(_, said)| *said == Said::Extend).map(|(delivery, _)| *delivery).collect();
        let hears = !said.is_empty();
        let span = if hears { self.outlet.ack_span(said.len()) } else { self.outlet.send_span() };
        let keeps_scan = self.scan_kept.elapsed() >= CONSUME_INTERVAL;
        if keeps_scan {
            self.scan_kept = self.last_turn;
        }
        if self.tray.is_wanted() && mem::take(&mut self.handed) > 0 {
            self.portion = (2 * self.portion).min(self.most);
        }
        let room = self.room();
        let request = TurnRequest { said, room, now, asked: Some(self.last_turn), keeps_scan };
        if hears {
            crash::at(Point::ConsumerHeard);
        }
        let answer = self.ask(&span, request).await?;
        let rest = (CONSUME_REST_TIMES * self.last_turn.elapsed()).min(CONSUME_INTERVAL);
        self.rests_until = Instant::now() + rest;
        // Before anything is waited for: what is out goes back with this client.
        self.out.extend(answer.out.iter().map(|out| (out.delivery, out.expires)));
        if settles {
            self.turns.bells.ring(&self.turns.key);
            // Its own ring is no news to it; anybody else's is.
            if *self.rung.borrow() == rung + 1 {
                self.rung.mark_unchanged();
            }
        }
        for delivery in extended {
            self.out.entry(delivery).and_modify(|expires| *expires = answer.extended);
        }
        let again = answer.out.iter().filter(|out| out.deliveries > 1).count();
        self.outlet.repeats(again, answer.parked);
        if !hears || !answer.out.is_empty() {
            let span = if hears { self.outlet.send_span() } else { span };
            self.outlet.sends(&span, answer.out.len());
            self.sending = Some(span);
        }
        self.take_answer(answer, now, room).await
    }

    /// Has the store take a turn. Until it did, what goes back is still to be said: a client that leaves meanwhile says
    /// it once more, in case that this turn fails.
    async fn ask(&mut self, span: &Span, request: TurnRequest) -> Result<TurnAnswer, ApiError> {
        let goes_back = |(_, said): &&(DeliveryOf, Said)| matches!(said, Said::Release | Said::Return);
        self.said = request.said.iter().filter(goes_back).cloned().collect();
        let answer = self.turns.take(span, request).await?;
        self.said.clear();
        answer.ok_or_else(|| ApiError::ConsumerNotFound { name: self.turns.key.1.clone() })
    }

    async fn take_answer(&mut self, answer: TurnAnswer, now: Micros, room: usize) -> Result<(), Status> {
        let TurnAnswer { out, lost, due, more, cursor, paused, .. } = answer;
        self.cursor = cursor;
        if !lost.is_empty() {
            for delivery in &lost {
                self.out.remove(delivery);
            }
            let ids = lost.into_iter().map(words::id).collect();
            self.tray.put([Laid(Response::LeasesLost(LeasesLost { ids }), None)]);
        }
        self.turn_is_due = more && !paused && self.spare() > 0;
        self.next_turn = Instant::now() + due.map_or(CONSUME_INTERVAL, |due| between(now, due).min(CONSUME_INTERVAL));
        let Some(first) = out.first() else {
            // It read to a bound and found nothing there: another one rests like those that the log's moving asks for.
            if self.turn_is_due && room > 0 {
                (self.turn_is_due, self.next_turn) = (false, self.rests_until);
            }
            return Ok(());
        };
        // Half of what is left: the store may have been slow.
        let left = between((self.turns.clock)(), first.expires);
        self.untaken_until = Some(Instant::now() + (left / 2).max(CONSUME_HEARING));
        self.unlaid = out.iter().map(|out| out.delivery).collect();
        self.handed = out.len();
        let mut items = Vec::with_capacity(out.len());
        for outgoing in out {
            let delivery = outgoing.delivery;
            items.push(Laid(mask::shown(&self.caller, item(outgoing).await?), Some(delivery)));
        }
        self.unlaid.clear();
        self.tray.put(items);
        Ok(())
    }
}

impl<S: Store> Drop for Client<S> {
    fn drop(&mut self) {
        self.let_go();
        let said = mem::take(&mut self.said);
        if !said.is_empty() {
            self.turns.leave(self.outlet.ack_span(said.len()), said);
        }
        self.tray.end(mem::replace(&mut self.end, Ok(())));
    }
}

async fn item(Outgoing { delivery, deliveries, expires, entry }: Outgoing) -> Result<Response, ApiError> {
    let (transition, recorded) = match entry {
        LogEntry::Transition(made) => (Some(*made), None),
        LogEntry::Recorded(kept) => (None, Some(recorded(delivery.position, *kept).await?)),
    };
    Ok(Response::Item(Item {
        id: words::id(delivery),
        transition,
        delivery_count: i32::try_from(deliveries).unwrap_or(i32::MAX),
        lease_expire_time: Some(timestamp(expires)),
        recorded,
    }))
}

/// No time where it goes backwards.
fn between(from: Micros, to: Micros) -> Duration {
    u64::try_from(to.saturating_sub(from)).map_or(Duration::ZERO, Duration::from_micros)
}

/// Never, where there is no time.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}
