//! Following the log: what is kept of it, page by page, then what is committed, as it comes.
//!
//! A watch reads the store and nothing else, and no further ahead than one page: whoever reads slowly costs that page,
//! and misses nothing. What it has answered is on stable storage.

use std::{collections::VecDeque, pin::Pin, sync::Arc};

use calbridge_proto::v1::{
    Delivery, Heartbeat, RecordedDelivery, WatchTransitionsRequest, WatchTransitionsResponse,
    watch_transitions_response::Entry,
};
use futures_util::{Stream, StreamExt, stream};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::Span;

use super::{
    Api,
    errors::ApiError,
    filter, mask,
    places::Place,
    read, tenant,
    trace::{Outlet, read_under},
};
use crate::{
    auth::Caller,
    retype::recorded_event,
    settings::{HEARTBEAT_INTERVAL, HEARTBEAT_PAUSE},
    store::{LogEntry, LogPage, LogQuery, Position, Store, StoreError},
};

/// What a stream of entries is to tonic.
pub(super) type Entries = Pin<Box<dyn Stream<Item = Result<WatchTransitionsResponse, Status>> + Send>>;

impl<S: Store> Api<S> {
    pub(super) async fn watch(&self, caller: Caller, request: WatchTransitionsRequest) -> Result<Entries, ApiError> {
        let whose = tenant(&caller, &request.tenant)?;
        let filter = Arc::new(filter::parse_log(&request.filter)?);
        let place = self.places.take(&caller, 1).ok_or(ApiError::Overloaded)?;
        // Before the head is asked for: what comes in between is told.
        let head = self.store.follow();
        let tenant = Arc::from(whose);
        let mut query = LogQuery { tenant, after: Position(0), filter, recorded: request.include_recorded };
        let newest = read(self.store.head()).await?;
        query.after = self.begin(&query, &request, newest).await?;
        // A cursor that is named has seen what was there: nothing behind it may be gone.
        let purged = match request.after_position.as_str() {
            "" => read(self.store.watermarks(whose)).await?.of_log(query.means_recorded()),
            _ => Position(0),
        };
        let told = query.after;
        let watch = Watch {
            caller,
            store: Arc::clone(&self.store),
            outlet: Outlet::of_watch(Arc::clone(&self.metrics), Arc::clone(&query.tenant)),
            sending: None,
            query,
            head,
            unread: true,
            end: request.stop_at_head.then_some(newest),
            purged,
            waiting: VecDeque::new(),
            due: request.from_head.then_some(newest),
            silent_since: Instant::now(),
            told,
            was_heartbeat: false,
            stopping: self.stopping.clone(),
            _place: place,
        };
        Ok(stream::unfold(Some(watch), step).boxed())
    }

    /// Behind which position a watch begins, of a log that stands at `newest`.
    async fn begin(
        &self,
        query: &LogQuery,
        request: &WatchTransitionsRequest,
        newest: Position,
    ) -> Result<Position, ApiError> {
        match (request.after_position.as_str(), request.from_head) {
            ("", from_head) => Ok(if from_head { newest } else { Position(0) }),
            (position, false) => whole_log(&*self.store, &query.tenant, (position, query.means_recorded())).await,
            (_, true) => {
                let why = "must be empty where from_head is set";
                Err(ApiError::InvalidField { field: "after_position", why })
            }
        }
    }
}

/// One watch, between two of its entries.
struct Watch<S> {
    /// Let in once, when it was begun.
    caller: Caller,
    store: Arc<S>,
    outlet: Outlet,
    /// The span of the page that is going out.
    sending: Option<Span>,
    query: LogQuery,
    head: watch::Receiver<Position>,
    /// There may be more to read at once.
    unread: bool,
    /// Where it ends, if it does.
    end: Option<Position>,
    /// What was purged when it began: of that nothing is promised.
    purged: Position,
    waiting: VecDeque<(Position, LogEntry)>,
    /// The heartbeat that comes next.
    due: Option<Position>,
    /// When the last message went out.
    silent_since: Instant,
    /// The position of the last message, or where it began, and whether that was a heartbeat.
    told: Position,
    was_heartbeat: bool,
    stopping: CancellationToken,
    _place: Place,
}

/// The next message; none at the end, and none behind a refusal.
async fn step<S: Store>(
    watch: Option<Watch<S>>,
) -> Option<(Result<WatchTransitionsResponse, Status>, Option<Watch<S>>)> {
    let mut watch = watch?;
    match watch.next().await {
        Ok(entry) => {
            let entry = entry?;
            watch.silent_since = Instant::now();
            let entry = mask::shown(&watch.caller, entry);
            Some((Ok(WatchTransitionsResponse { entry: Some(entry) }), Some(watch)))
        }
        Err(refused) => Some((Err(refused.into()), None)),
    }
}

impl<S: Store> Watch<S> {
    async fn next(&mut self) -> Result<Option<Entry>, ApiError> {
        loop {
            if self.stopping.is_cancelled() {
                return Err(ApiError::ShuttingDown);
            }
            if let Some(at) = self.due.take() {
                return Ok(Some(self.heartbeat(at)));
            }
            if let Some((position, entry)) = self.waiting.pop_front() {
                if let Some(end) = self.end.filter(|end| *end < position) {
                    self.waiting.clear();
                    return Ok(self.last_word(end));
                }
                (self.told, self.was_heartbeat) = (position, false);
                return message(position, entry).await.map(Some);
            }
            if let Some(end) = self.end.filter(|end| *end <= self.query.after) {
                return Ok(self.last_word(end));
            }
            if (self.unread || *self.head.borrow_and_update() > self.query.after) && self.read().await? {
                continue;
            }
            self.wait().await?;
        }
    }

    fn heartbeat(&mut self, at: Position) -> Entry {
        (self.told, self.was_heartbeat) = (at, true);
        Entry::Heartbeat(Heartbeat { position: at.to_token() })
    }

    /// How far it came, where a filter may have left out the last: a cursor behind those would grow old.
    fn last_word(&mut self, end: Position) -> Option<Entry> {
        let leaves_out = !self.query.filter.0.is_empty();
        (leaves_out && self.told < end).then(|| self.heartbeat(end))
    }

    /// Reads the next page; false where the log has not moved on. A page of which nothing is meant is told by a
    /// heartbeat, but not too often.
    async fn read(&mut self) -> Result<bool, ApiError> {
        let span = self.outlet.send_span();
        let LogPage { entries, through, more, purged } = read_under(&span, self.store.log(self.query.clone())).await?;
        self.outlet.sends(&span, entries.len());
        self.sending = Some(span);
        if purged > self.query.after && purged > self.purged {
            return Err(ApiError::CursorExpired { earliest: purged });
        }
        let moved = through > self.query.after;
        self.unread = more;
        self.query.after = through;
        self.waiting = entries.into();
        let is_due = self.silent_since.elapsed() >= HEARTBEAT_PAUSE;
        if is_due && moved && self.waiting.is_empty() {
            self.due = Some(through);
        }
        Ok(moved)
    }

    /// Until the log moves on, or a heartbeat is due: soon behind the newest entry, then now and then.
    async fn wait(&mut self) -> Result<(), ApiError> {
        self.sending = None;
        let pause =
            if self.was_heartbeat && self.told == self.query.after { HEARTBEAT_INTERVAL } else { HEARTBEAT_PAUSE };
        tokio::select! {
            moved = self.head.changed() => moved.map_err(|_| ApiError::ShuttingDown),
            () = sleep_until(self.silent_since + pause) => {
                self.due = Some(self.query.after);
                Ok(())
            }
            () = self.stopping.cancelled() => Err(ApiError::ShuttingDown),
        }
    }
}

/// As it is sent.
async fn message(position: Position, entry: LogEntry) -> Result<Entry, ApiError> {
    match entry {
        LogEntry::Transition(transition) => Ok(Entry::Transition(*transition)),
        LogEntry::Recorded(delivery) => Ok(Entry::Recorded(recorded(position, *delivery).await?)),
    }
}

/// A delivery that changes no booking, typed. That is work for a thread of its own.
pub(super) async fn recorded(position: Position, delivery: Delivery) -> Result<RecordedDelivery, ApiError> {
    let typed = tokio::task::spawn_blocking(move || recorded_event(delivery));
    let ending = |_| StoreError::unavailable("the service is ending");
    let (delivery, event) = read(async { typed.await.map_err(ending) }).await?;
    Ok(RecordedDelivery { position: position.to_token(), delivery: Some(delivery), event })
}

/// A position that a caller names, behind which nothing is purged of a tenant's log that it means: with deliveries that
/// change no booking or without them.
pub(super) async fn whole_log<S: Store>(
    store: &S,
    tenant: &str,
    (position, means_recorded): (&str, bool),
) -> Result<Position, ApiError> {
    let invalid = |why| ApiError::InvalidField { field: "after_position", why };
    let after = Position::from_token(position).ok_or(invalid("must be a position that this service answered"))?;
    if after > read(store.head()).await? {
        return Err(invalid("lies behind the end of this log: is it of another store, or of before a restore?"));
    }
    let earliest = read(store.watermarks(tenant)).await?.of_log(means_recorded);
    if after < earliest { Err(ApiError::CursorExpired { earliest }) } else { Ok(after) }
}
