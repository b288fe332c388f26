//! What an operator may choose of the service, and every bound that he may not, each with its reason.

use std::{path::PathBuf, sync::Arc, time::Duration};

use calbridge_process::{COMPLETE_GRACE, Config, Database, Principal, RedisSettings, tls::ServerFiles};

use crate::store::{self, ClockPolicies, RetentionPolicies};

/// What the service needs to know before it starts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The store.
    pub database: Database,
    /// Redis as the dedupe hint; without it a cache in this process serves as one.
    pub redis: Option<RedisSettings>,
    /// How many deliveries that cache remembers; zero: none.
    pub dedupe_keys: usize,
    /// When the clock completes bookings.
    pub clock: Arc<ClockPolicies>,
    /// How long what was received is kept.
    pub retention: Arc<RetentionPolicies>,
    /// The folder in which a fresh state is folded beside the stored one. It is this service's own: whatever lies there
    /// is removed.
    pub scratch: PathBuf,
    /// The certificate of the listener; without one it speaks no TLS.
    pub tls: Option<ServerFiles>,
    /// Who may call; empty: everybody who reaches the listener may do everything.
    pub principals: Vec<Principal>,
    /// Most open connections; further ones wait to be accepted.
    pub connections: usize,
    /// For what was accepted to be finished after the shutdown began.
    pub shutdown_grace: Duration,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        Self {
            database: config.database.clone(),
            redis: config.redis.clone(),
            dedupe_keys: config.dedupe_keys,
            clock: Arc::new(ClockPolicies { otherwise: Some(COMPLETE_GRACE), tenants: config.completion.clone() }),
            retention: Arc::new(RetentionPolicies {
                otherwise: config.retention,
                tenants: config.tenant_retention.clone(),
            }),
            scratch: match &config.database {
                Database::Sqlite(path) => path.with_added_extension("refold"),
                // Several services on one machine may share the folder, not what is folded in it.
                Database::Postgres { .. } => config.data_dir.join(format!("{}.refold", std::process::id())),
            },
            tls: config.grpc_tls.clone(),
            principals: config.principals.clone(),
            connections: config.limits.connections,
            shutdown_grace: config.limits.shutdown_grace,
        }
    }
}

/// The longest body of an event: the most that an adapter can be configured to take.
pub(crate) const BODY_BYTES: usize = 4 * 1024 * 1024;
/// The longest gRPC message that is taken in. The typed form repeats the body, and a body of nothing but tiny values
/// grows several times in it.
pub(crate) const MESSAGE_BYTES: usize = 8 * BODY_BYTES;
/// The longest text of an event beside its body: an HTTP header's value at its longest.
pub(crate) const TEXT_BYTES: usize = 16 * 1024;
/// The longest tenant name; a tenant is a part of the webhook's path.
pub(crate) const TENANT_BYTES: usize = 64;

/// Events that wait for a round, over all callers. Four adapters with a full stream each fit.
pub(crate) const QUEUE_EVENTS: usize = 4096;
/// The bodies of the events that were taken and not yet answered, together: what callers can make the service hold.
/// The typed form comes on top and is a small multiple.
pub(crate) const QUEUE_BYTES: usize = 256 * 1024 * 1024;
/// Events of one round. Commit costs per event fall little beyond this, and the first of a round waits for the last.
pub(crate) const ROUND_EVENTS: usize = 512;
/// The bodies of one round together: a round of the largest bodies must not hold the next one up for seconds.
pub(crate) const ROUND_BYTES: usize = 16 * 1024 * 1024;
/// So many events a round may take though they are more than its share of what waits: smaller ones cost more than is
/// gained.
pub(crate) const ROUND_SHARE_LEAST: usize = 32;
/// How long a round that has its share waits for its turn before it looks whether that has grown.
pub(crate) const ROUND_LOOK: Duration = Duration::from_millis(5);
/// A round of fewer may wait for more.
pub(crate) const ROUND_SMALL: usize = 16;
/// A small round among many is committed no sooner than this after the one before it: at some thousand events a second
/// each would hold one or two, and most of an event's cost is its round's.
pub(crate) const ROUND_SPACING: Duration = Duration::from_millis(1);
/// Rounds of one event after the store reported a damaged row: whoever shares a round with it would be refused too.
pub(crate) const CAREFUL_ROUNDS: usize = 256;
/// Bodies above this are hashed and read beside the reactor: 256 KiB take about a millisecond without SHA instructions.
pub(crate) const INLINE_BYTES: usize = 256 * 1024;
/// How many times as long as its body an event may be that waits with its payload. A common one is half as long again.
pub(crate) const UNREAD_TIMES: usize = 4;
/// For the store to confirm the hint's hits: an indexed read takes microseconds, and one that takes longer than this
/// saves nobody the commit, which tells duplicates just as well.
pub(crate) const CONFIRM_TIMEOUT: Duration = Duration::from_millis(250);
/// When a refused caller should come again: a round takes milliseconds, a store that restarts some seconds.
pub(crate) const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Unanswered events of one stream; beyond it the stream is not read, and the sender feels it.
pub(crate) const STREAM_IN_FLIGHT: usize = 1024;
/// What a stream may send ahead of being read: some hundred events.
pub(crate) const STREAM_WINDOW: u32 = 1024 * 1024;
/// What a connection may: a stream that is not read must not hold up the calls beside it.
pub(crate) const CONNECTION_WINDOW: u32 = 8 * STREAM_WINDOW;
/// Calls that one connection may have open. A program needs one stream and a handful of reads.
pub(crate) const CONNECTION_CALLS: u32 = 256;
/// For a unary call to be answered, as a last resort: each of its steps is bounded by itself.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// For one read of the store. A page takes milliseconds; a disk that is stuck takes for ever.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer that is silent this long is asked whether it lives.
pub(crate) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// And has this long to say so.
pub(crate) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// For the HTTP/2 preface of a new connection: whoever connects and says nothing must not keep a place.
pub(crate) const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);
/// The head of a call: a path, a trace context, and room for a token.
pub(crate) const HEADER_LIST_BYTES: u32 = 16 * 1024;
/// Between two tries to accept a connection when the process is out of file descriptors.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often the clock is asked which bookings are over: what a reader learns late.
pub(crate) const CLOCK_INTERVAL: Duration = Duration::from_secs(1);
/// Bookings that the clock leaves aside because their rows can't be read. A store with more of them is to be restored.
pub(crate) const CLOCK_ASIDE_MAX: usize = 8_192;
/// How often what is past its retention is looked for: periods are counted in hours at the least.
pub(crate) const PURGE_INTERVAL: Duration = Duration::from_hours(1);
/// The same after a failure.
pub(crate) const PURGE_RETRY: Duration = Duration::from_mins(1);
/// A purge rests so many times as long as a chunk took: it has a fifth of the time at the most.
pub(crate) const PURGE_REST: u32 = 4;
/// And so long at the least: some rounds.
pub(crate) const PURGE_PAUSE_MIN: Duration = Duration::from_millis(10);
/// And no longer after a chunk that was held up.
pub(crate) const PURGE_PAUSE_MAX: Duration = Duration::from_secs(1);
/// For the store to reach a position that a reader waits for. A store of one machine has reached whatever it answered.
pub(crate) const MIN_POSITION_WAIT: Duration = Duration::from_secs(1);
/// Between two looks at it.
pub(crate) const MIN_POSITION_PAUSE: Duration = Duration::from_millis(20);

/// The longest filter: sixteen conditions with an address in each fit many times over.
pub(crate) const FILTER_BYTES: usize = 8 * 1024;
/// The most conditions of a filter: each may cost an index lookup for each candidate.
pub(crate) const FILTER_CONDITIONS: usize = 16;

/// Deliveries, and rows, that are folded again or compared at a time.
pub(crate) const REFOLD_PAGE: usize = 512;
/// How often what webhooks changed meanwhile is compared again, before it counts as unchecked.
pub(crate) const REFOLD_CATCH_UPS: usize = 8;
/// Bookings that may wait for that.
pub(crate) const REFOLD_WAITING: usize = 100_000;

/// How often the store is asked whether it can write.
pub(crate) const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// For its answer: a commit that takes longer helps no caller, an adapter waits two seconds.
pub(crate) const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// For Redis to answer. A hint that takes longer than the commit which it may save is worth nothing.
pub(crate) const REDIS_TIMEOUT: Duration = Duration::from_millis(50);
/// For a connection to Redis to be made, aside from any event's way.
pub(crate) const REDIS_CONNECT_TIMEOUT: Duration = Duration::from_millis(200);
/// For connecting, authenticating and the trial commands, with the nodes of a cluster one after the other.
pub(crate) const REDIS_TRIAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two tries while Redis is away, and from a first failure to the next try.
pub(crate) const REDIS_TRIAL_INTERVAL: Duration = Duration::from_secs(1);
/// The longest pause of a Redis that answers its trial and fails the events: each time may cost a round its timeout.
pub(crate) const REDIS_PAUSE_MAX: Duration = Duration::from_secs(32);
/// So long it must work for its failures to be forgotten: longer than the longest pause, or half of the time would be
/// spent on failing.
pub(crate) const REDIS_STEADY: Duration = Duration::from_mins(1);
/// Rounds that Redis was not told of yet; beyond it they are left out. The store knows them all the same.
pub(crate) const REDIS_UNTOLD_ROUNDS: usize = 64;

/// Entries of a page where the caller names no number.
pub(crate) const PAGE_DEFAULT: usize = 100;
/// Entries of a page at the most.
pub(crate) const PAGE_MOST: usize = 1000;
/// Bytes of a page at the most, if it has more than one entry: clients refuse messages of 4 MiB unless told otherwise.
pub(crate) const PAGE_BYTES: usize = 3 * 1024 * 1024;

/// Watches and clients of consumers at a time: each may hold a page of the log.
pub(crate) const WATCHES: usize = 256;
/// And those of one principal.
pub(crate) const WATCHES_OF_ONE: usize = 128;
/// Bytes of what was read for a call and is not yet taken, but for streams. A page is 3 MiB at the most.
pub(crate) const ANSWER_BYTES: usize = 256 * 1024 * 1024;
/// And those of one principal.
pub(crate) const ANSWER_BYTES_OF_ONE: usize = 128 * 1024 * 1024;
/// Silence after which a watch says how far the log goes: below what networks between take for a dead connection.
pub(crate) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);
/// Between two heartbeats while the log is read and nothing of it is meant.
pub(crate) const HEARTBEAT_PAUSE: Duration = Duration::from_secs(1);

/// How often a client of a consumer with room is looked after where nothing tells of more: another replica may have
/// settled what its entries wait behind.
pub(crate) const CONSUME_INTERVAL: Duration = Duration::from_secs(1);
/// Between two turns that nobody but the log's end asks for.
pub(crate) const CONSUME_SPACING: Duration = Duration::from_millis(10);
/// How many times as long as its last turn took a client rests before another that it has no need of itself.
pub(crate) const CONSUME_REST_TIMES: u32 = 4;
/// Acks, nacks and extensions that are heard before they are written: a client that floods is not read meanwhile, nor
/// is one that has not taken as many ids of lost leases.
pub(crate) const CONSUME_HEARD: usize = 4_096;
/// How long what a client says waits for more, while its connection has not taken all that it was handed; and for how
/// long a connection may take what comes so late that its lease is over.
pub(crate) const CONSUME_HEARING: Duration = Duration::from_millis(20);

/// How often it is measured how far consumers are behind.
pub(crate) const LAG_INTERVAL: Duration = Duration::from_secs(5);
/// Consumers that are measured: as many as an instrument tells apart.
pub(crate) const LAG_CONSUMERS: usize = 2_000;
/// And so many are read at a time.
pub(crate) const LAG_PAGE: usize = 200;

/// Links that a span may have before the telemetry drops them.
pub(crate) const SPAN_LINKS: usize = 128;

// The arithmetic between the bounds: whoever moves one of them sees at once what it stands on.
const _: () = {
    assert!(ROUND_SMALL <= ROUND_SHARE_LEAST && ROUND_SHARE_LEAST <= ROUND_EVENTS);
    assert!(ROUND_EVENTS <= QUEUE_EVENTS && STREAM_IN_FLIGHT <= QUEUE_EVENTS);
    assert!(BODY_BYTES <= ROUND_BYTES && ROUND_BYTES <= QUEUE_BYTES);
    assert!(INLINE_BYTES < BODY_BYTES && BODY_BYTES < MESSAGE_BYTES);
    assert!(PAGE_DEFAULT <= PAGE_MOST);
    assert!(WATCHES_OF_ONE < WATCHES);
    assert!(PURGE_PAUSE_MIN.as_millis() < PURGE_PAUSE_MAX.as_millis());
    assert!(PURGE_RETRY.as_millis() < PURGE_INTERVAL.as_millis());
    assert!(BODY_BYTES <= store::BODY_BYTES_MAX && PAGE_BYTES <= store::PAGE_BYTES_MAX);
    assert!(CONFIRM_TIMEOUT.as_millis() < READ_TIMEOUT.as_millis());
    assert!(MIN_POSITION_PAUSE.as_millis() < MIN_POSITION_WAIT.as_millis());
    assert!(MIN_POSITION_WAIT.as_millis() < READ_TIMEOUT.as_millis());
    assert!(REDIS_TIMEOUT.as_millis() < REDIS_CONNECT_TIMEOUT.as_millis());
    assert!(REDIS_CONNECT_TIMEOUT.as_millis() < REDIS_TRIAL_TIMEOUT.as_millis());
    assert!(REDIS_TRIAL_INTERVAL.as_millis() < REDIS_PAUSE_MAX.as_millis());
    assert!(REDIS_PAUSE_MAX.as_millis() < REDIS_STEADY.as_millis());
    assert!(
        PROBE_TIMEOUT.as_millis() < READ_TIMEOUT.as_millis() && READ_TIMEOUT.as_millis() < CALL_TIMEOUT.as_millis()
    );
};
