//! Every span, attribute and metric name calbridge uses, and nothing else: no other file spells one out.
//!
//! The shared names follow the OpenTelemetry semantic conventions 1.44.0, which [`SCHEMA_URL`] pins on every scope;
//! names of our own begin with `calbridge.`. A span field is named by its constant in braces:
//! `info_span!("verify signature", { semconv::TENANT_ID } = tenant)`. A number is recorded as `i64`: an unsigned one
//! becomes a string on its way to the collector.

/// The version of the semantic conventions these names are from.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// The instrumentation scope of every span and metric of ours.
pub const SCOPE: &str = "calbridge";

/// `service.namespace` of every program.
pub const SERVICE_NAMESPACE_VALUE: &str = "calbridge";

/// What `tracing-opentelemetry` reads from a span's fields instead of exporting it as an attribute.
pub mod otel {
    /// The span's name where it is not the name given to the macro.
    pub const NAME: &str = "otel.name";
    /// `server`, `client`, `producer`, `consumer` or `internal`.
    pub const KIND: &str = "otel.kind";
    /// `ERROR` for a failed operation; left unset on success.
    pub const STATUS_CODE: &str = "otel.status_code";
}

/// Span names.
pub mod span {
    /// INTERNAL: the HMAC over the raw body.
    pub const VERIFY_SIGNATURE: &str = "verify signature";
    /// INTERNAL: raw body to typed event.
    pub const PARSE_WEBHOOK: &str = "parse webhook";
    /// PRODUCER: one event on its way to the spool's disk.
    pub const APPEND_SPOOL: &str = "append spool";
    /// CLIENT: one event on its way to the service; its context is the event's `trace_parent`.
    pub const SEND_INGEST: &str = "send ingest";
    /// CONSUMER: one event from its queueing to its acknowledgement in the service.
    pub const PROCESS_BOOKINGS: &str = "process bookings";
    /// INTERNAL: one transition of one booking.
    pub const RECORD_TRANSITION: &str = "record transition";
    /// INTERNAL root: one round of the batcher.
    pub const INGEST_ROUND: &str = "ingest round";
    /// CLIENT: Redis asked for the whole round.
    pub const REDIS_MGET: &str = "MGET";
    /// CLIENT: a Redis cluster asked for the whole round.
    pub const REDIS_PIPELINE_EXISTS: &str = "PIPELINE EXISTS";
    /// CLIENT: Redis told about the whole round, after the commit.
    pub const REDIS_PIPELINE_SET: &str = "PIPELINE SET";
    /// CLIENT: Redis's hits confirmed by the store.
    pub const SELECT_DELIVERIES: &str = "SELECT deliveries";
    /// CLIENT: bookings read from the store.
    pub const SELECT_BOOKINGS: &str = "SELECT bookings";
    /// CLIENT: a part of the log read from the store.
    pub const SELECT_TRANSITIONS: &str = "SELECT transitions";
    /// CLIENT: a command to a consumer.
    pub const COMMIT_CONSUMERS: &str = "COMMIT consumers";
    /// CLIENT: consumers or dead letters read from the store.
    pub const SELECT_CONSUMERS: &str = "SELECT consumers";
    /// CLIENT: a timeline read from the store.
    pub const SELECT_MENTIONS: &str = "SELECT mentions";
    /// CLIENT: the newest position read from the store.
    pub const SELECT_HEAD: &str = "SELECT head";
    /// CLIENT: the round's one store transaction.
    pub const COMMIT_DELIVERIES: &str = "COMMIT deliveries";
    /// CLIENT: bookings that the clock or a replay changes.
    pub const COMMIT_BOOKINGS: &str = "COMMIT bookings";
    /// INTERNAL root: bookings that the clock completes.
    pub const COMPLETE_BOOKINGS: &str = "complete bookings";
    /// PRODUCER root: a part of the log read and handed to a watch or to a client of a consumer.
    pub const SEND_TRANSITIONS: &str = "send transitions";
    /// CLIENT root: what a client of a consumer says of what is out to it, told to the store.
    pub const ACK_TRANSITIONS: &str = "ack transitions";
}

// HTTP (stable)

/// `POST`, or [`OTHER`] for a method HTTP does not know.
pub const HTTP_REQUEST_METHOD: &str = "http.request.method";
/// The method as sent, when [`HTTP_REQUEST_METHOD`] is [`OTHER`].
pub const HTTP_REQUEST_METHOD_ORIGINAL: &str = "http.request.method_original";
/// The request body's size in bytes, as received.
pub const HTTP_REQUEST_BODY_SIZE: &str = "http.request.body.size";
/// The response's status, an integer.
pub const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";
/// The route's template, never the path itself.
pub const HTTP_ROUTE: &str = "http.route";
/// The path as sent for a known tenant, else the template.
pub const URL_PATH: &str = "url.path";
/// `http` or `https`.
pub const URL_SCHEME: &str = "url.scheme";
/// `http`.
pub const NETWORK_PROTOCOL_NAME: &str = "network.protocol.name";
/// `1.1` or `2`.
pub const NETWORK_PROTOCOL_VERSION: &str = "network.protocol.version";
/// The other end of the connection.
pub const NETWORK_PEER_ADDRESS: &str = "network.peer.address";
/// The other end's port.
pub const NETWORK_PEER_PORT: &str = "network.peer.port";
/// The server's name or address as the client knows it.
pub const SERVER_ADDRESS: &str = "server.address";
/// The server's port.
pub const SERVER_PORT: &str = "server.port";
/// The sender's `User-Agent`.
pub const USER_AGENT_ORIGINAL: &str = "user_agent.original";
/// What went wrong, in low cardinality; only when the span's status is an error.
pub const ERROR_TYPE: &str = "error.type";
/// The conventions' word for a value outside the known set.
pub const OTHER: &str = "_OTHER";
/// The value of [`ERROR_TYPE`] where the one who waited went away before the answer, or was cut when a grace was over.
pub const CLIENT_GONE: &str = "client_gone";

// RPC (release candidate)

/// `grpc`; must be set when the span starts.
pub const RPC_SYSTEM_NAME: &str = "rpc.system.name";
/// The fully qualified method without a leading slash, or [`OTHER`].
pub const RPC_METHOD: &str = "rpc.method";
/// The method as called, when [`RPC_METHOD`] is [`OTHER`].
pub const RPC_METHOD_ORIGINAL: &str = "rpc.method_original";
/// The gRPC status as its name (`OK`, `DEADLINE_EXCEEDED`). The next release renames it to `rpc.status_code`.
pub const RPC_STATUS_CODE: &str = "rpc.response.status_code";
/// The value of [`RPC_SYSTEM_NAME`].
pub const RPC_SYSTEM_GRPC: &str = "grpc";

// Database (core stable)

/// `sqlite`, `postgresql` or `redis`.
pub const DB_SYSTEM_NAME: &str = "db.system.name";
/// The database's file name, database and schema, or Redis's database index as a string.
pub const DB_NAMESPACE: &str = "db.namespace";
/// `INSERT`, `SELECT`, `SET`.
pub const DB_OPERATION_NAME: &str = "db.operation.name";
/// How many rows or commands the operation spans, when two or more.
pub const DB_OPERATION_BATCH_SIZE: &str = "db.operation.batch.size";
/// The table.
pub const DB_COLLECTION_NAME: &str = "db.collection.name";
/// Operation and table, in low cardinality.
pub const DB_QUERY_SUMMARY: &str = "db.query.summary";
/// The database's own error code.
pub const DB_RESPONSE_STATUS_CODE: &str = "db.response.status_code";

// Messaging (development)

/// `calbridge`.
pub const MESSAGING_SYSTEM: &str = "messaging.system";
/// What the system calls the operation: [`MESSAGING_SEND`], [`MESSAGING_PROCESS`], [`MESSAGING_ACK`], `round`.
pub const MESSAGING_OPERATION_NAME: &str = "messaging.operation.name";
/// `create`, `send`, `receive`, `process` or `settle`.
pub const MESSAGING_OPERATION_TYPE: &str = "messaging.operation.type";
/// Where the message goes: `ingest`, [`MESSAGING_BOOKINGS`], [`MESSAGING_TRANSITIONS`].
pub const MESSAGING_DESTINATION_NAME: &str = "messaging.destination.name";
/// The message's id.
pub const MESSAGING_MESSAGE_ID: &str = "messaging.message.id";
/// The message body's size in bytes.
pub const MESSAGING_MESSAGE_BODY_SIZE: &str = "messaging.message.body.size";
/// How many messages a batch span speaks of; on batch spans only.
pub const MESSAGING_BATCH_MESSAGE_COUNT: &str = "messaging.batch.message_count";
/// The name and the type of the operation that hands an event to the service, or entries of the log to who follows it.
pub const MESSAGING_SEND: &str = "send";
/// The name of the operation that adds an event to the spool.
pub const MESSAGING_APPEND: &str = "append";
/// And its type.
pub const MESSAGING_CREATE: &str = "create";
/// Where that is.
pub const MESSAGING_SPOOL: &str = "spool";
/// Where events are sent to.
pub const MESSAGING_INGEST: &str = "ingest";
/// Name and type of the operation that folds an event into the bookings.
pub const MESSAGING_PROCESS: &str = "process";
/// What events are processed into.
pub const MESSAGING_BOOKINGS: &str = "bookings";
/// The name of the operation that hears acks, nacks and extensions.
pub const MESSAGING_ACK: &str = "ack";
/// And its type.
pub const MESSAGING_SETTLE: &str = "settle";
/// Where watches and consumers read.
pub const MESSAGING_TRANSITIONS: &str = "bookings.transitions";
/// The durable consumer.
pub const MESSAGING_CONSUMER_GROUP_NAME: &str = "messaging.consumer.group.name";
/// The value of [`MESSAGING_SYSTEM`].
pub const MESSAGING_SYSTEM_VALUE: &str = "calbridge";

// Resource

/// `calbridge-adapter`, `calbridge-service` or `calbridge`.
pub const SERVICE_NAME: &str = "service.name";
/// The program's version.
pub const SERVICE_VERSION: &str = "service.version";
/// [`SERVICE_NAMESPACE_VALUE`].
pub const SERVICE_NAMESPACE: &str = "service.namespace";
/// A random UUID of this process.
pub const SERVICE_INSTANCE_ID: &str = "service.instance.id";

// Ours

/// The tenant; never set for one that is not configured.
pub const TENANT_ID: &str = "calbridge.tenant.id";
/// The principal that calls the service; `anonymous` where none is configured.
pub const PRINCIPAL: &str = "calbridge.principal.name";
/// The delivery.
pub const DELIVERY_ID: &str = "calbridge.delivery.id";
/// `accepted`, `unparsed` or `recovered`; at the edge `untyped`, where a webhook is answered before it is looked into.
pub const DELIVERY_DISPOSITION: &str = "calbridge.delivery.disposition";
/// `applied`, `no_change`, `duplicate`, `recorded` or `unparsed`.
pub const DELIVERY_OUTCOME: &str = "calbridge.delivery.outcome";
/// Cal.com's trigger; [`OTHER`] for one that calbridge does not know.
pub const TRIGGER: &str = "calbridge.trigger";
/// The `X-Cal-Webhook-Version` of the request.
pub const WEBHOOK_VERSION: &str = "calbridge.webhook.version";
/// Which of the tenant's secrets matched; never the secret.
pub const SECRET_ID: &str = "calbridge.secret.id";
/// `none`, `transport` or `semantic`.
pub const DEDUPE_LEVEL: &str = "calbridge.dedupe.level";
/// Who told a duplicate: `redis`, `memory` or `store`.
pub const DEDUPE_LAYER: &str = "calbridge.dedupe.layer";
/// The booking's uid.
pub const BOOKING_UID: &str = "calbridge.booking.uid";
/// The transition's position.
pub const POSITION: &str = "calbridge.position";
/// The rule of the booking's state that made the transition.
pub const TRANSITION_RULE: &str = "calbridge.transition.rule";
/// Who says that a booking changed: [`SOURCE_WEBHOOK`], [`SOURCE_CLOCK`] or [`SOURCE_REPLAY`].
pub const SOURCE: &str = "calbridge.source";
/// A webhook of Cal.com.
pub const SOURCE_WEBHOOK: &str = "webhook";
/// The clock, by a tenant's policy.
pub const SOURCE_CLOCK: &str = "clock";
/// A kept delivery that was merged again.
pub const SOURCE_REPLAY: &str = "replay";
/// What was purged: [`RETENTION_BODIES`], [`RETENTION_DELIVERIES`] or [`RETENTION_TRANSITIONS`].
pub const RETENTION_KIND: &str = "calbridge.retention.kind";
/// Raw bodies.
pub const RETENTION_BODIES: &str = "bodies";
/// Deliveries, with what belongs to them.
pub const RETENTION_DELIVERIES: &str = "deliveries";
/// The log.
pub const RETENTION_TRANSITIONS: &str = "transitions";
/// The outcome of a check: `valid`, `invalid`, `missing`, `unsigned`.
pub const RESULT: &str = "calbridge.result";
/// Which bound refused a request, or closed a connection: [`LIMIT_CONNECTIONS`], [`LIMIT_IN_FLIGHT`],
/// [`LIMIT_IN_FLIGHT_BYTES`], [`LIMIT_SOURCE`] or [`LIMIT_TENANT`].
pub const LIMIT: &str = "calbridge.limit";
/// Open connections.
pub const LIMIT_CONNECTIONS: &str = "connections";
/// Requests in flight.
pub const LIMIT_IN_FLIGHT: &str = "in_flight";
/// Bytes of their bodies.
pub const LIMIT_IN_FLIGHT_BYTES: &str = "in_flight_bytes";
/// Requests of one source in a second.
pub const LIMIT_SOURCE: &str = "source_rate";
/// Webhooks of one tenant in a second.
pub const LIMIT_TENANT: &str = "tenant_rate";
/// `traces`, `metrics` or `logs`.
pub const SIGNAL: &str = "calbridge.telemetry.signal";
/// What a process waits for before it is ready: `spool`, `store`, `service`.
pub const CHECK: &str = "calbridge.check";

/// Metric names. What each is called on `/metrics` follows from the first words of its comment, its kind and, where it
/// has one, its unit (`_seconds`, `_bytes`; `_total` of a counter): by that a test judges alerts and dashboard.
pub mod metric {
    /// Histogram, seconds.
    pub const HTTP_SERVER_REQUEST_DURATION: &str = "http.server.request.duration";
    /// Up-down counter.
    pub const HTTP_SERVER_ACTIVE_REQUESTS: &str = "http.server.active_requests";
    /// Histogram, bytes.
    pub const HTTP_SERVER_REQUEST_BODY_SIZE: &str = "http.server.request.body.size";
    /// Histogram, seconds.
    pub const RPC_SERVER_CALL_DURATION: &str = "rpc.server.call.duration";
    /// Histogram, seconds.
    pub const RPC_CLIENT_CALL_DURATION: &str = "rpc.client.call.duration";
    /// Histogram, seconds.
    pub const DB_CLIENT_OPERATION_DURATION: &str = "db.client.operation.duration";
    /// Histogram, seconds.
    pub const MESSAGING_CLIENT_OPERATION_DURATION: &str = "messaging.client.operation.duration";
    /// Counter.
    pub const MESSAGING_CLIENT_SENT_MESSAGES: &str = "messaging.client.sent.messages";
    /// Counter.
    pub const MESSAGING_CLIENT_CONSUMED_MESSAGES: &str = "messaging.client.consumed.messages";
    /// Histogram, seconds.
    pub const MESSAGING_PROCESS_DURATION: &str = "messaging.process.duration";
    /// Counter by trigger and disposition: deliveries answered with a 2xx.
    pub const INGEST_ACCEPTED: &str = "calbridge.ingest.accepted";
    /// Histogram, seconds: from the request's first byte to the 2xx.
    pub const INGEST_ACK_DURATION: &str = "calbridge.ingest.ack.duration";
    /// Histogram: events in one round.
    pub const INGEST_BATCH_SIZE: &str = "calbridge.ingest.batch.size";
    /// Gauge: events that were taken in and are not answered yet.
    pub const INGEST_QUEUE_DEPTH: &str = "calbridge.ingest.queue.depth";
    /// Histogram, seconds: from the receipt of a webhook to the commit that makes it queryable.
    pub const E2E_VISIBLE_DURATION: &str = "calbridge.e2e.visible.duration";
    /// Histogram, seconds: from the event's own time at Cal.com to the commit that makes it queryable.
    pub const FRESHNESS_DURATION: &str = "calbridge.freshness.duration";
    /// Counter by level and layer.
    pub const DEDUPE_HITS: &str = "calbridge.dedupe.hits";
    /// Counter: hits of Redis which the store denied.
    pub const DEDUPE_REDIS_DISAGREEMENTS: &str = "calbridge.dedupe.redis_disagreements";
    /// Gauge: 1 while the Redis that is configured is left aside because it does not answer, else 0.
    pub const DEDUPE_REDIS_AWAY: &str = "calbridge.dedupe.redis_away";
    /// Counter: bookings that the clock completed, or took back, in rounds of its own.
    pub const CLOCK_TRANSITIONS: &str = "calbridge.clock.transitions";
    /// Gauge by consumer, seconds: how long the first entry behind its cursor has been committed; 0: it has caught up.
    pub const CONSUMER_LAG: &str = "calbridge.consumer.lag";
    /// Counter by consumer: entries that went out to its clients a further time.
    pub const CONSUMER_REDELIVERIES: &str = "calbridge.consumer.redeliveries";
    /// Counter by consumer: entries that became dead letters.
    pub const CONSUMER_PARKED: &str = "calbridge.consumer.parked";
    /// Gauge by consumer: its dead letters.
    pub const DEADLETTERS: &str = "calbridge.deadletters";
    /// Counter by kind: rows that were past their retention and are gone.
    pub const RETENTION_PURGED: &str = "calbridge.retention.purged";
    /// Counter: runs of the purge that did not take all away that was past its retention.
    pub const RETENTION_FAILED: &str = "calbridge.retention.failed";
    /// Counter: what the store gave back otherwise than it was written. A booking that lists leave out, or the
    /// clock, counts once; a round or a purge each time that it fails for that.
    pub const STORE_DAMAGED: &str = "calbridge.store.damaged";
    /// Gauge, seconds: how far a database server's clock is ahead of the service's own; negative: behind.
    pub const STORE_CLOCK_AHEAD: &str = "calbridge.store.clock_ahead";
    /// Counter by result and secret id.
    pub const SIGNATURE_VERIFICATIONS: &str = "calbridge.signature.verifications";
    /// Gauge by tenant and secret id, seconds: since the secret let a webhook in last; absent until it has.
    pub const SIGNATURE_SECRET_IDLE: &str = "calbridge.signature.secret.idle";
    /// Gauge by tenant and secret id, seconds: until the secret expires, negative afterwards; absent where it does not.
    pub const SIGNATURE_SECRET_TIME_LEFT: &str = "calbridge.signature.secret.time_left";
    /// Gauge: tenants that let unsigned webhooks in.
    pub const SIGNATURE_UNSIGNED_TENANTS: &str = "calbridge.signature.unsigned_tenants";
    /// Counter by limit: requests that were refused because of a bound on how many, or how much, may come.
    pub const EDGE_REFUSALS: &str = "calbridge.edge.refusals";
    /// Counter by status: streams from the adapter to the service that ended or did not open.
    pub const FORWARD_RECONNECTS: &str = "calbridge.forward.reconnects";
    /// Up-down counter by replica: open streams from the adapter to the service; 0 where there is none.
    pub const FORWARD_STREAMS: &str = "calbridge.forward.streams";
    /// Counter: events that went on from one replica of the service to another.
    pub const FORWARD_REROUTES: &str = "calbridge.forward.reroutes";
    /// Gauge: events in the spool.
    pub const SPOOL_DEPTH: &str = "calbridge.spool.depth";
    /// Gauge: events in the spool that the service will not take; they are tried again every minute.
    pub const SPOOL_ASIDE: &str = "calbridge.spool.aside";
    /// Gauge, seconds: since the oldest in the spool was received, those aside included; 0 where there is none.
    pub const SPOOL_OLDEST_AGE: &str = "calbridge.spool.oldest_age";
    /// Gauge, bytes: of the spool's files.
    pub const SPOOL_BYTES: &str = "calbridge.spool.bytes";
    /// Gauge, bytes: what the spool's files may grow to.
    pub const SPOOL_LIMIT: &str = "calbridge.spool.limit";
    /// Counter: places in the spool's files that the disk gives back otherwise than they were written. Each may have
    /// been an event that was answered 202.
    pub const SPOOL_DAMAGED: &str = "calbridge.spool.damaged";
    /// Histogram, seconds: for the disk to keep what was written to the spool.
    pub const SPOOL_FSYNC_DURATION: &str = "calbridge.spool.fsync.duration";
    /// Histogram: events that the disk kept at once.
    pub const SPOOL_BATCH_SIZE: &str = "calbridge.spool.batch.size";
    /// Counter: events of the spool that the service has committed.
    pub const SPOOL_DRAINED: &str = "calbridge.spool.drained";
    /// Counter by result: webhooks that a secret may have signed, but none of their tenant's had.
    pub const QUARANTINE_REFUSED: &str = "calbridge.quarantine.refused";
    /// Gauge: webhooks in the quarantine.
    pub const QUARANTINE_DEPTH: &str = "calbridge.quarantine.depth";
    /// Gauge, bytes: of the quarantine's files.
    pub const QUARANTINE_BYTES: &str = "calbridge.quarantine.bytes";
    /// Gauge by check: 1 while it holds, else 0. `/readyz` is 200 while all of them do.
    pub const READY: &str = "calbridge.ready";
    /// Counter by signal: spans, log records and collections whose export failed.
    pub const TELEMETRY_LOST: &str = "calbridge.telemetry.lost";
}

/// Units of instruments (UCUM).
pub mod unit {
    /// Seconds.
    pub const SECONDS: &str = "s";
    /// Bytes.
    pub const BYTES: &str = "By";
    /// Requests.
    pub const REQUESTS: &str = "{request}";
    /// Messages.
    pub const MESSAGES: &str = "{message}";
    /// Deliveries.
    pub const DELIVERIES: &str = "{delivery}";
    /// Streams.
    pub const STREAMS: &str = "{stream}";
    /// Rows of a store.
    pub const ROWS: &str = "{row}";
    /// Transitions.
    pub const TRANSITIONS: &str = "{transition}";
}

/// Bucket boundaries of histograms.
pub mod bucket {
    /// Seconds, of HTTP requests, RPC calls and messages, as the conventions advise.
    pub const DURATION: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
    /// Seconds, of database operations, as the conventions advise.
    pub const DB_DURATION: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];
    /// Seconds, of how far behind Cal.com we may be: up to a day.
    pub const FRESHNESS: [f64; 12] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0, 86_400.0];
    /// Bytes of a body, up to the largest that is accepted.
    pub const BODY_BYTES: [f64; 9] =
        [256.0, 1024.0, 2048.0, 4096.0, 8192.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0];
    /// Events of a batch.
    pub const BATCH_SIZE: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];
}
