//! The adapter's instruments, made once. No attribute has a value that a sender chooses.

mod requests;
mod streams;

use std::{sync::Arc, time::Duration};

use calbridge_telemetry::{
    Bound, meter,
    semconv::{self, bucket, metric, unit},
};
use opentelemetry::{
    KeyValue, StringValue,
    metrics::{Counter, Gauge, Histogram, Meter},
};

use self::streams::Streams;
pub(crate) use self::{
    requests::{Active, Requests},
    streams::Counted,
};
use crate::peer::Peer;

/// Sets of attributes that an instrument finds without a search: more than there are methods, and than one adapter
/// usually has routes, replicas or secrets in use.
const PLACES: usize = 16;
/// The same of what was accepted: every trigger of the schema, each typed or not.
const ACCEPTED_PLACES: usize = 64;

/// Everything the adapter counts.
pub(crate) struct Metrics {
    pub(crate) requests: Requests,
    accepted: Bound<Counter<u64>, (&'static str, &'static str), ACCEPTED_PLACES>,
    ack_duration: Histogram<f64>,
    verifications: Bound<Counter<u64>, (&'static str, Arc<str>), PLACES>,
    unsigned_tenants: Gauge<u64>,
    refusals: Counter<u64>,
    streams: Streams,
    reconnects: Counter<u64>,
    reroutes: Counter<u64>,
    stream_duration: Histogram<f64>,
    sent: Bound<Counter<u64>, Peer, PLACES>,
    send_duration: Bound<Histogram<f64>, Peer, PLACES>,
    spool_depth: Gauge<u64>,
    spool_aside: Gauge<u64>,
    spool_oldest_age: Gauge<f64>,
    spool_bytes: Gauge<u64>,
    spool_limit: Gauge<u64>,
    spool_damaged: Counter<u64>,
    spool_fsync: Histogram<f64>,
    spool_batch: Histogram<u64>,
    spool_drained: Counter<u64>,
    quarantine_refused: Counter<u64>,
    quarantine_depth: Gauge<u64>,
    quarantine_bytes: Gauge<u64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = meter();
        let seconds = |name, about| seconds(&meter, name, about);
        let count = |name: &'static str, about: &'static str| meter.u64_counter(name).with_description(about);
        Self {
            requests: Requests::new(&meter),
            accepted: Bound::new(
                count(metric::INGEST_ACCEPTED, "Webhooks answered with a 2xx").with_unit(unit::DELIVERIES).build(),
            ),
            ack_duration: seconds(metric::INGEST_ACK_DURATION, "From a webhook's head to its 2xx"),
            verifications: Bound::new(count(metric::SIGNATURE_VERIFICATIONS, "Signatures checked, by result").build()),
            unsigned_tenants: meter
                .u64_gauge(metric::SIGNATURE_UNSIGNED_TENANTS)
                .with_description("Tenants that let unsigned webhooks in")
                .build(),
            refusals: count(metric::EDGE_REFUSALS, "Requests refused because of a bound on how many may come")
                .with_unit(unit::REQUESTS)
                .build(),
            reconnects: count(metric::FORWARD_RECONNECTS, "Streams to the service that ended, or did not open").build(),
            streams: Streams::shown(),
            reroutes: count(metric::FORWARD_REROUTES, "Events that went on from one replica to another")
                .with_unit(unit::MESSAGES)
                .build(),
            stream_duration: seconds(metric::RPC_CLIENT_CALL_DURATION, "Whole streams to the service"),
            sent: Bound::new(
                count(metric::MESSAGING_CLIENT_SENT_MESSAGES, "Events handed to the stream, by how that ended")
                    .with_unit(unit::MESSAGES)
                    .build(),
            ),
            send_duration: Bound::new(seconds(
                metric::MESSAGING_CLIENT_OPERATION_DURATION,
                "From an event's handing to the stream to its commit",
            )),
            spool_depth: meter
                .u64_gauge(metric::SPOOL_DEPTH)
                .with_unit(unit::MESSAGES)
                .with_description("Events in the spool")
                .build(),
            spool_aside: meter
                .u64_gauge(metric::SPOOL_ASIDE)
                .with_unit(unit::MESSAGES)
                .with_description("Events in the spool that the service will not take")
                .build(),
            spool_oldest_age: meter
                .f64_gauge(metric::SPOOL_OLDEST_AGE)
                .with_unit(unit::SECONDS)
                .with_description(
                    "Since the oldest event in the spool was received, those that the service will not take included",
                )
                .build(),
            spool_bytes: meter
                .u64_gauge(metric::SPOOL_BYTES)
                .with_unit(unit::BYTES)
                .with_description("Of the spool's files")
                .build(),
            spool_limit: meter
                .u64_gauge(metric::SPOOL_LIMIT)
                .with_unit(unit::BYTES)
                .with_description("What the spool's files may grow to")
                .build(),
            spool_damaged: count(
                metric::SPOOL_DAMAGED,
                "Places in the spool's files that the disk gives back otherwise than they were written",
            )
            .build(),
            spool_fsync: meter
                .f64_histogram(metric::SPOOL_FSYNC_DURATION)
                .with_unit(unit::SECONDS)
                .with_description("For the disk to keep what was written to the spool")
                .with_boundaries(bucket::DB_DURATION.to_vec())
                .build(),
            spool_batch: meter
                .u64_histogram(metric::SPOOL_BATCH_SIZE)
                .with_unit(unit::MESSAGES)
                .with_description("Events that the disk kept at once")
                .with_boundaries(bucket::BATCH_SIZE.to_vec())
                .build(),
            spool_drained: count(metric::SPOOL_DRAINED, "Events of the spool that the service has committed")
                .with_unit(unit::MESSAGES)
                .build(),
            quarantine_refused: count(
                metric::QUARANTINE_REFUSED,
                "Webhooks that a secret may have signed, but none of their tenant's had; by what became of them",
            )
            .with_unit(unit::MESSAGES)
            .build(),
            quarantine_depth: meter
                .u64_gauge(metric::QUARANTINE_DEPTH)
                .with_unit(unit::MESSAGES)
                .with_description("Webhooks in the quarantine")
                .build(),
            quarantine_bytes: meter
                .u64_gauge(metric::QUARANTINE_BYTES)
                .with_unit(unit::BYTES)
                .with_description("Of the quarantine's files")
                .build(),
        }
    }

    /// A webhook was refused that a secret may have signed, and this became of it.
    pub(crate) fn unverified(&self, result: &'static str) {
        self.quarantine_refused.add(1, &[KeyValue::new(semconv::RESULT, result)]);
    }

    /// So much is in the quarantine.
    pub(crate) fn quarantine_holds(&self, webhooks: usize, bytes: u64) {
        self.quarantine_depth.record(webhooks as u64, &[]);
        self.quarantine_bytes.record(bytes, &[]);
    }

    /// The disk kept so many events at once, after so long.
    pub(crate) fn spooled(&self, events: usize, took: Duration) {
        self.spool_batch.record(events as u64, &[]);
        self.spool_fsync.record(took.as_secs_f64(), &[]);
    }

    /// The service has committed an event of the spool.
    pub(crate) fn drained(&self) {
        self.spool_drained.add(1, &[]);
    }

    /// So many places in the spool's files are not what was written.
    pub(crate) fn spool_damaged(&self, places: u64) {
        if places > 0 {
            self.spool_damaged.add(places, &[]);
        }
    }

    /// What the spool's files may grow to.
    pub(crate) fn spool_limit(&self, bytes: u64) {
        self.spool_limit.record(bytes, &[]);
    }

    /// So many events are in the spool, so many of them aside, in so many bytes, and the oldest is so old.
    pub(crate) fn spool_holds(&self, events: usize, aside: usize, bytes: u64, age: Duration) {
        self.spool_depth.record(events as u64, &[]);
        self.spool_aside.record(aside as u64, &[]);
        self.spool_bytes.record(bytes, &[]);
        self.spool_oldest_age.record(age.as_secs_f64(), &[]);
    }

    /// A body was let in; `secret_id` names the secret that matched, or says that none is asked for.
    pub(crate) fn verified(&self, result: &'static str, secret_id: &Arc<str>) {
        let id = || StringValue::from(Arc::clone(secret_id));
        self.verifications.measure(1, &(result, Arc::clone(secret_id)), || {
            vec![KeyValue::new(semconv::RESULT, result), KeyValue::new(semconv::SECRET_ID, id())]
        });
    }

    /// A body was not.
    pub(crate) fn not_verified(&self, result: &'static str) {
        self.verifications.measure_unbound(1, &[KeyValue::new(semconv::RESULT, result)]);
    }

    /// A webhook was answered with a 2xx.
    pub(crate) fn accepted(&self, trigger: &'static str, disposition: &'static str, took: Duration) {
        self.accepted.measure(1, &(trigger, disposition), || {
            vec![KeyValue::new(semconv::TRIGGER, trigger), KeyValue::new(semconv::DELIVERY_DISPOSITION, disposition)]
        });
        self.ack_duration.record(took.as_secs_f64(), &[]);
    }

    /// A request was refused because of this limit.
    pub(crate) fn refused(&self, limit: &'static str) {
        self.refusals.add(1, &[KeyValue::new(semconv::LIMIT, limit)]);
    }

    /// How many tenants let unsigned webhooks in.
    pub(crate) fn unsigned_tenants(&self, count: usize) {
        self.unsigned_tenants.record(count as u64, &[]);
    }

    /// An event was handed to a stream, if there was one, and committed if there is no error.
    pub(crate) fn sent(&self, peer: Option<&Peer>, error: Option<&'static str>, took: Duration) {
        let attributes = || {
            let mut attributes = vec![
                KeyValue::new(semconv::MESSAGING_SYSTEM, semconv::MESSAGING_SYSTEM_VALUE),
                KeyValue::new(semconv::MESSAGING_OPERATION_NAME, semconv::MESSAGING_SEND),
                KeyValue::new(semconv::MESSAGING_DESTINATION_NAME, semconv::MESSAGING_INGEST),
            ];
            attributes.extend(peer.into_iter().flat_map(replica));
            attributes.extend(error.map(|error| KeyValue::new(semconv::ERROR_TYPE, error)));
            attributes
        };
        // The conventions have the type on the histogram alone.
        let with_type = || {
            let mut attributes = attributes();
            attributes.push(KeyValue::new(semconv::MESSAGING_OPERATION_TYPE, semconv::MESSAGING_SEND));
            attributes
        };
        if let (Some(peer), None) = (peer, error) {
            self.sent.measure(1, peer, attributes);
            self.send_duration.measure(took.as_secs_f64(), peer, with_type);
        } else {
            self.sent.measure_unbound(1, &attributes());
            self.send_duration.measure_unbound(took.as_secs_f64(), &with_type());
        }
    }

    /// A link to this replica begins.
    pub(crate) fn link(&self, peer: &Arc<Peer>) -> Counted {
        self.streams.link(peer)
    }

    /// So many events went on to another replica.
    pub(crate) fn rerouted(&self, events: u64) {
        self.reroutes.add(events, &[]);
    }

    /// The stream ended or did not open, and another is tried.
    pub(crate) fn reconnect(&self, code: &'static str) {
        self.reconnects.add(1, &[KeyValue::new(semconv::RPC_STATUS_CODE, code)]);
    }

    /// A stream ended, after however long.
    pub(crate) fn stream_ended(&self, rpc: &'static str, peer: &Peer, code: &'static str, took: Duration) {
        let mut attributes = vec![
            KeyValue::new(semconv::RPC_SYSTEM_NAME, semconv::RPC_SYSTEM_GRPC),
            KeyValue::new(semconv::RPC_METHOD, rpc),
            KeyValue::new(semconv::RPC_STATUS_CODE, code),
        ];
        attributes.extend(replica(peer));
        if code != "OK" {
            attributes.push(KeyValue::new(semconv::ERROR_TYPE, code));
        }
        self.stream_duration.record(took.as_secs_f64(), &attributes);
    }
}

/// Which replica: as many values as there are replicas.
fn replica(peer: &Peer) -> [KeyValue; 2] {
    let host = StringValue::from(Arc::clone(&peer.host));
    [KeyValue::new(semconv::SERVER_ADDRESS, host), KeyValue::new(semconv::SERVER_PORT, i64::from(peer.port))]
}

/// A histogram of times at the edge.
fn seconds(meter: &Meter, name: &'static str, about: &'static str) -> Histogram<f64> {
    let histogram = meter.f64_histogram(name).with_unit(unit::SECONDS).with_description(about);
    histogram.with_boundaries(bucket::DURATION.to_vec()).build()
}
