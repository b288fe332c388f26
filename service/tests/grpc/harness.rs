//! A running service on a port of its own, over a `SQLite` store that a test can make slow or fail.

use std::{
    collections::{BTreeMap, HashSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use calbridge_process::{Database, Principal, RedisSettings, Scope, Tenants};
use calbridge_proto::v1::{
    self, SubmitEventsRequest, SubmitEventsResponse, booking_service_client::BookingServiceClient,
    delivery_service_client::DeliveryServiceClient, ingest_service_client::IngestServiceClient,
};
use calbridge_service::{
    Error, Settings, serve_store,
    store::{
        Batch, BookingKey, BookingPage, BookingQuery, ClockPolicies, ClockRound, Committed, ConsumerCommand,
        ConsumerKey, ConsumerOutcome, ConsumerStatus, DeadLetter, DeliveryKey, FirstResult, Floors, LineagePage,
        LogPage, LogPurge, LogPurged, LogQuery, Micros, Position, Purge, Purged, Replay, Replayed, Retention,
        RetentionPolicies, RowPage, Store, StoreError, StoredRow, Watermarks,
        sqlite::{Options, SqliteStore},
    },
    system_clock,
};
use calbridge_telemetry::Readiness;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Status, Streaming,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;
use uuid::Uuid;

use crate::events::created;

/// What a test lets the store do, and what the store was asked for.
#[derive(Debug)]
pub(crate) struct Control {
    /// How commits and probes fail.
    pub(crate) failure: Mutex<Option<Failure>>,
    /// False: commits wait.
    pub(crate) open: watch::Sender<bool>,
    /// False: confirmations wait.
    pub(crate) confirming: watch::Sender<bool>,
    /// False: who asked for something of a consumer waits, though it is done.
    pub(crate) telling: watch::Sender<bool>,
    /// How long a consumer waits before something is done of what is asked of it.
    pub(crate) queue: Mutex<Duration>,
    /// Deliveries and notes of each batch, committed or not.
    pub(crate) batches: Mutex<Vec<(usize, usize)>>,
    /// Keys that were to be confirmed.
    pub(crate) confirms: AtomicUsize,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Failure {
    Unavailable,
    /// Of batches that hold a delivery about this booking.
    Damaged(&'static str),
    /// Of the clock's rounds that hold this booking.
    DamagedForClock(&'static str),
}

/// A `SQLite` store under control.
#[derive(Debug)]
struct Controlled {
    store: SqliteStore,
    control: Arc<Control>,
}

impl Control {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            failure: Mutex::default(),
            open: watch::Sender::new(true),
            confirming: watch::Sender::new(true),
            telling: watch::Sender::new(true),
            queue: Mutex::default(),
            batches: Mutex::default(),
            confirms: AtomicUsize::default(),
        })
    }

    pub(crate) fn fail(&self, failure: Option<Failure>) {
        *self.failure.lock().unwrap() = failure;
    }

    fn check(&self, batch: Option<&Batch>) -> Result<(), StoreError> {
        match *self.failure.lock().unwrap() {
            Some(Failure::Unavailable) => Err(StoreError::unavailable("told so by the test")),
            Some(Failure::Damaged(uid))
                if batch.is_some_and(|batch| {
                    batch.deliveries.iter().any(|delivery| delivery.booking_uid.as_deref() == Some(uid))
                }) =>
            {
                Err(StoreError::Damaged { what: "booking", why: "told so by the test".to_owned() })
            }
            _ => Ok(()),
        }
    }
}

impl Store for Controlled {
    async fn commit(&self, batch: Batch) -> Result<Vec<Committed>, StoreError> {
        self.control.batches.lock().unwrap().push((batch.deliveries.len(), batch.duplicates.len()));
        let mut open = self.control.open.subscribe();
        let _ = open.wait_for(|open| *open).await;
        self.control.check(Some(&batch))?;
        self.store.commit(batch).await
    }

    async fn confirm(&self, keys: Vec<DeliveryKey>) -> Result<Vec<Option<FirstResult>>, StoreError> {
        self.control.confirms.fetch_add(keys.len(), Ordering::Relaxed);
        let mut confirming = self.control.confirming.subscribe();
        let _ = confirming.wait_for(|confirming| *confirming).await;
        self.store.confirm(keys).await
    }

    async fn clock_due(
        &self,
        now: Micros,
        clock: Arc<ClockPolicies>,
        aside: Arc<HashSet<BookingKey>>,
    ) -> Result<Vec<BookingKey>, StoreError> {
        self.control.check(None)?;
        self.store.clock_due(now, clock, aside).await
    }

    async fn hear_clock(&self, round: ClockRound) -> Result<Vec<v1::Transition>, StoreError> {
        if let Some(Failure::DamagedForClock(uid)) = *self.control.failure.lock().unwrap()
            && round.keys.iter().any(|(_, key)| key == uid)
        {
            return Err(StoreError::Damaged { what: "booking", why: "told so by the test".to_owned() });
        }
        self.store.hear_clock(round).await
    }

    async fn replay(&self, replay: Replay) -> Result<Option<Replayed>, StoreError> {
        self.control.check(None)?;
        self.store.replay(replay).await
    }

    async fn head(&self) -> Result<Position, StoreError> {
        self.store.head().await
    }

    async fn booking(&self, tenant: &str, uid: &str, follow: bool) -> Result<Option<v1::Booking>, StoreError> {
        self.control.check(None)?;
        self.store.booking(tenant, uid, follow).await
    }

    async fn lineage(&self, tenant: &str, uid: &str, skip: usize) -> Result<LineagePage, StoreError> {
        self.store.lineage(tenant, uid, skip).await
    }

    async fn bookings(&self, query: BookingQuery) -> Result<BookingPage, StoreError> {
        self.store.bookings(query).await
    }

    async fn journal(
        &self,
        tenant: Option<String>,
        after: Position,
        limit: usize,
    ) -> Result<Vec<(Position, v1::Delivery)>, StoreError> {
        self.store.journal(tenant, after, limit).await
    }

    async fn log(&self, query: LogQuery) -> Result<LogPage, StoreError> {
        self.control.check(None)?;
        self.store.log(query).await
    }

    fn follow(&self) -> watch::Receiver<Position> {
        self.store.follow()
    }

    async fn row(&self, key: BookingKey) -> Result<Option<StoredRow>, StoreError> {
        self.store.row(key).await
    }

    async fn rows(
        &self,
        tenant: Option<String>,
        after: Option<BookingKey>,
        limit: usize,
    ) -> Result<RowPage, StoreError> {
        self.store.rows(tenant, after, limit).await
    }

    async fn timeline(
        &self,
        tenant: &str,
        uid: &str,
        after: Position,
        limit: usize,
    ) -> Result<Vec<(Position, v1::TimelineEntry)>, StoreError> {
        self.store.timeline(tenant, uid, after, limit).await
    }

    async fn deliveries(
        &self,
        tenant: &str,
        before: Option<Position>,
        limit: usize,
    ) -> Result<Vec<(Position, v1::Delivery)>, StoreError> {
        self.store.deliveries(tenant, before, limit).await
    }

    async fn delivery(&self, tenant: &str, id: Uuid, with_body: bool) -> Result<Option<v1::Delivery>, StoreError> {
        self.store.delivery(tenant, id, with_body).await
    }

    async fn next_tenant(&self, behind: &str) -> Result<Option<String>, StoreError> {
        self.control.check(None)?;
        self.store.next_tenant(behind).await
    }

    async fn purge(&self, purge: Purge) -> Result<Purged, StoreError> {
        self.store.purge(purge).await
    }

    async fn purge_log(&self, purge: LogPurge) -> Result<LogPurged, StoreError> {
        self.store.purge_log(purge).await
    }

    async fn watermarks(&self, tenant: &str) -> Result<Watermarks, StoreError> {
        self.store.watermarks(tenant).await
    }

    async fn floors(&self, tenant: Option<&str>) -> Result<BTreeMap<String, Floors>, StoreError> {
        self.store.floors(tenant).await
    }

    async fn command_consumer(
        &self,
        key: ConsumerKey,
        command: ConsumerCommand,
    ) -> Result<ConsumerOutcome, StoreError> {
        self.control.check(None)?;
        let queue = *self.control.queue.lock().unwrap();
        tokio::time::sleep(queue).await;
        let done = self.store.command_consumer(key, command).await;
        let mut telling = self.control.telling.subscribe();
        let _ = telling.wait_for(|telling| *telling).await;
        done
    }

    async fn consumer(&self, key: ConsumerKey) -> Result<Option<ConsumerStatus>, StoreError> {
        self.store.consumer(key).await
    }

    async fn consumers(
        &self,
        tenant: Option<String>,
        after: Option<ConsumerKey>,
        limit: usize,
    ) -> Result<Vec<ConsumerStatus>, StoreError> {
        self.store.consumers(tenant, after, limit).await
    }

    async fn dead_letters(
        &self,
        key: ConsumerKey,
        after: Position,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        self.store.dead_letters(key, after, limit).await
    }

    async fn position_before(&self, time: Micros) -> Result<Position, StoreError> {
        self.store.position_before(time).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.control.check(None)?;
        self.store.probe().await
    }

    async fn close(&self) {
        self.store.close().await;
    }
}

/// A service that runs, and a connection to it.
pub(crate) struct Harness {
    pub(crate) channel: Channel,
    pub(crate) address: SocketAddr,
    pub(crate) control: Arc<Control>,
    pub(crate) readiness: Readiness,
    pub(crate) shutdown: CancellationToken,
    served: JoinHandle<Result<(), Error>>,
    folder: TempDir,
}

/// Settings for a test: a cache in the process, and little patience at the end.
pub(crate) fn settings() -> Settings {
    Settings {
        database: Database::Sqlite("unused".into()),
        redis: None,
        dedupe_keys: 1000,
        clock: Arc::default(),
        retention: Arc::default(),
        scratch: "unused".into(),
        tls: None,
        principals: Vec::new(),
        connections: 100,
        shutdown_grace: Duration::from_secs(5),
    }
}

pub(crate) fn redis(urls: &[String]) -> Settings {
    let urls = urls.iter().map(|url| url.as_str().into()).collect();
    Settings { redis: Some(RedisSettings { urls, ttl: Duration::from_mins(10), tls: None }), ..settings() }
}

/// Whoever bears the token `known` may do this, everywhere, and nothing else.
pub(crate) fn allowed(scope: Scope) -> Principal {
    Principal {
        name: "reader".to_owned(),
        token_sha256: vec![Sha256::digest("known").into()],
        certificates: Vec::new(),
        scopes: [scope].into_iter().collect(),
        tenants: Tenants::Every,
    }
}

/// As whoever bears this token.
pub(crate) fn bearing<T>(token: &str, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

impl Harness {
    pub(crate) async fn start() -> Self {
        Self::with(settings()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        Self::over(tempfile::tempdir().unwrap(), settings).await
    }

    /// Over what an earlier service left in a folder.
    pub(crate) async fn over(folder: TempDir, settings: Settings) -> Self {
        let store = SqliteStore::open(&folder.path().join("calbridge.db"), Options::default()).unwrap();
        let settings = Settings { scratch: folder.path().join("refold"), ..settings };
        let control = Control::new();
        let store = Controlled { store, control: Arc::clone(&control) };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (readiness, shutdown) = (Readiness::new(), CancellationToken::new());
        let served = tokio::spawn({
            let (readiness, shutdown) = (readiness.clone(), shutdown.clone());
            async move { serve_store(store, system_clock, &settings, listener, &readiness, shutdown).await }
        });
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        Self { channel, address, control, readiness, shutdown, served, folder }
    }

    pub(crate) fn ingest(&self) -> IngestServiceClient<Channel> {
        IngestServiceClient::new(self.channel.clone()).max_encoding_message_size(usize::MAX)
    }

    pub(crate) fn bookings(&self) -> BookingServiceClient<Channel> {
        BookingServiceClient::new(self.channel.clone())
    }

    pub(crate) fn deliveries(&self) -> DeliveryServiceClient<Channel> {
        DeliveryServiceClient::new(self.channel.clone())
    }

    pub(crate) async fn submit(&self, event: v1::BookingEvent) -> Result<v1::SubmitEventResponse, tonic::Status> {
        let request = v1::SubmitEventRequest { event: Some(event) };
        // Boxed: a future of tonic's is large, and most tests hold several.
        Box::pin(self.ingest().submit_event(request)).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn booking(&self, uid: &str) -> v1::Booking {
        let request = v1::GetBookingRequest { tenant: "acme".to_owned(), uid: uid.to_owned(), ..Default::default() };
        Box::pin(self.bookings().get_booking(request)).await.unwrap().into_inner().booking.unwrap()
    }

    pub(crate) async fn timeline(&self, uid: &str) -> Vec<v1::TimelineEntry> {
        let request = v1::GetTimelineRequest { tenant: "acme".to_owned(), uid: uid.to_owned(), ..Default::default() };
        Box::pin(self.bookings().get_timeline(request)).await.unwrap().into_inner().entries
    }

    /// A stream: where requests go, and where answers come.
    pub(crate) async fn stream(&self) -> (mpsc::Sender<SubmitEventsRequest>, Streaming<SubmitEventsResponse>) {
        let (requests, receiver) = mpsc::channel(10_000);
        let answers = self.ingest().submit_events(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        (requests, answers)
    }

    /// Ends the service in an orderly way.
    pub(crate) async fn stop(self) -> Result<(), Error> {
        self.shutdown.cancel();
        self.served.await.unwrap()
    }

    /// The same, and what it leaves.
    pub(crate) async fn leave(self) -> TempDir {
        self.shutdown.cancel();
        self.served.await.unwrap().unwrap();
        self.folder
    }

    /// Starts again and keeps for so long.
    pub(crate) async fn keeping(self, otherwise: Retention) -> Self {
        let retention = Arc::new(RetentionPolicies { otherwise, ..RetentionPolicies::default() });
        Self::over(self.leave().await, Settings { retention, ..settings() }).await
    }

    /// Waits for the service to end by itself.
    pub(crate) async fn ended(self) -> Result<(), Error> {
        self.served.await.unwrap()
    }
}

/// Spoils the rows of these bookings in what a service has left.
pub(crate) fn damage(folder: &TempDir, which: &str) {
    let raw = rusqlite::Connection::open(folder.path().join("calbridge.db")).unwrap();
    raw.execute(&format!("UPDATE bookings SET state = x'ff00ff' WHERE {which}"), []).unwrap();
}

/// A service with the bookings u1, u2 and u3, of which the second is damaged.
pub(crate) async fn one_of_three_damaged() -> Harness {
    let service = Harness::start().await;
    for uid in ["u1", "u2", "u3"] {
        service.submit(created(uid)).await.unwrap();
    }
    let folder = service.leave().await;
    damage(&folder, "uid = 'u2'");
    Harness::over(folder, settings()).await
}

/// Code, reason and field of a refusal.
pub(crate) fn refusal(status: &Status) -> (Code, String, Option<String>) {
    let details = status.check_error_details().unwrap();
    let field = details.bad_request().map(|bad| bad.field_violations[0].field.clone());
    (status.code(), details.error_info().unwrap().reason.clone(), field)
}

/// That of a field that is not what it must be.
pub(crate) fn invalid(field: &str) -> (Code, String, Option<String>) {
    (Code::InvalidArgument, "INVALID_FIELD".to_owned(), Some(field.to_owned()))
}
