//! The service's instruments, built once. Names and buckets are those of `calbridge_telemetry::semconv`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use calbridge_proto::v1;
use calbridge_telemetry::{
    Bound, meter,
    semconv::{self, bucket, metric, unit},
};
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram},
};

use crate::store::{ConsumerKey, Micros};

/// Triggers whose attributes an instrument finds without a search: all that Cal.com has.
const TRIGGER_PLACES: usize = 32;

/// Every instrument of ingest and dedupe.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Duplicates, by who told them.
    hits: Counter<u64>,
    /// Hits of the hint that the store denied.
    disagreements: Counter<u64>,
    /// Events that were answered.
    consumed: Bound<Counter<u64>, (), 1>,
    /// From an event's arrival here to its answer.
    process: Bound<Histogram<f64>, (), 1>,
    /// From the adapter's receipt to the commit.
    visible: Bound<Histogram<f64>, &'static str, TRIGGER_PLACES>,
    /// From Cal.com's own time of the event to the commit.
    freshness: Bound<Histogram<f64>, &'static str, TRIGGER_PLACES>,
    /// Events of a round.
    round: Histogram<u64>,
    /// Events that were taken in and are not answered yet: read by whoever collects, so that it moves while the store
    /// stands still.
    waiting: Arc<AtomicU64>,
    /// Bookings that the clock completed.
    completed: Counter<u64>,
    /// Rows that were past their retention.
    purged: Counter<u64>,
    /// Runs of the purge that left something.
    unpurged: Counter<u64>,
    /// What the store gave back otherwise than it was written.
    damaged: Counter<u64>,
    /// Operations on Redis; the store's own are watched there.
    database: Histogram<f64>,
    /// Entries of the log that went out.
    sent: Counter<u64>,
    /// Those of them that had been out before.
    redeliveries: Counter<u64>,
    /// Entries that became dead letters.
    parked: Counter<u64>,
}

/// An event that is not answered yet.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<AtomicU64>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// Takes the instruments from the global meter: after telemetry was installed.
    pub(crate) fn new() -> Self {
        let meter = meter();
        let seconds = |name, boundaries: &[f64]| {
            meter.f64_histogram(name).with_unit(unit::SECONDS).with_boundaries(boundaries.to_vec()).build()
        };
        let waiting = Arc::default();
        show_waiting(Arc::clone(&waiting));
        Self {
            hits: meter.u64_counter(metric::DEDUPE_HITS).with_unit(unit::DELIVERIES).build(),
            disagreements: meter.u64_counter(metric::DEDUPE_REDIS_DISAGREEMENTS).with_unit(unit::DELIVERIES).build(),
            consumed: Bound::new(
                meter.u64_counter(metric::MESSAGING_CLIENT_CONSUMED_MESSAGES).with_unit(unit::MESSAGES).build(),
            ),
            process: Bound::new(seconds(metric::MESSAGING_PROCESS_DURATION, &bucket::DURATION)),
            visible: Bound::new(seconds(metric::E2E_VISIBLE_DURATION, &bucket::DURATION)),
            freshness: Bound::new(seconds(metric::FRESHNESS_DURATION, &bucket::FRESHNESS)),
            round: meter
                .u64_histogram(metric::INGEST_BATCH_SIZE)
                .with_unit(unit::DELIVERIES)
                .with_boundaries(bucket::BATCH_SIZE.to_vec())
                .build(),
            waiting,
            completed: meter.u64_counter(metric::CLOCK_TRANSITIONS).with_unit(unit::TRANSITIONS).build(),
            purged: meter.u64_counter(metric::RETENTION_PURGED).with_unit(unit::ROWS).build(),
            unpurged: meter.u64_counter(metric::RETENTION_FAILED).build(),
            damaged: damages(),
            database: database_operations(),
            sent: meter.u64_counter(metric::MESSAGING_CLIENT_SENT_MESSAGES).with_unit(unit::MESSAGES).build(),
            redeliveries: meter.u64_counter(metric::CONSUMER_REDELIVERIES).with_unit(unit::MESSAGES).build(),
            parked: meter.u64_counter(metric::CONSUMER_PARKED).with_unit(unit::MESSAGES).build(),
        }
    }

    /// So many entries of the log went out to a watch, or to a client of this consumer.
    pub(crate) fn sent(&self, entries: usize, consumer: Option<&ConsumerKey>) {
        let mut attributes = vec![
            KeyValue::new(semconv::MESSAGING_SYSTEM, semconv::MESSAGING_SYSTEM_VALUE),
            KeyValue::new(semconv::MESSAGING_OPERATION_NAME, semconv::MESSAGING_SEND),
            KeyValue::new(semconv::MESSAGING_DESTINATION_NAME, semconv::MESSAGING_TRANSITIONS),
        ];
        attributes.extend(consumer.into_iter().flat_map(of_consumer));
        self.sent.add(count(entries), &attributes);
    }

    /// So many entries went out to clients of this consumer again.
    pub(crate) fn sent_again(&self, entries: usize, consumer: &ConsumerKey) {
        self.redeliveries.add(count(entries), &of_consumer(consumer));
    }

    /// So many entries of this consumer became dead letters.
    pub(crate) fn parked(&self, entries: usize, consumer: &ConsumerKey) {
        self.parked.add(count(entries), &of_consumer(consumer));
    }

    /// The clock changed so many bookings.
    pub(crate) fn completed(&self, bookings: usize) {
        self.completed.add(count(bookings), &[]);
    }

    /// So many rows of a kind were past their retention.
    pub(crate) fn purged(&self, kind: &'static str, rows: usize) {
        self.purged.add(count(rows), &[KeyValue::new(semconv::RETENTION_KIND, kind)]);
    }

    /// A run of the purge left something that was past its retention.
    pub(crate) fn unpurged(&self) {
        self.unpurged.add(1, &[]);
    }

    /// So much of what was read was not what had been written.
    pub(crate) fn damaged(&self, met: usize) {
        if met > 0 {
            self.damaged.add(count(met), &[]);
        }
    }

    /// An event was taken in; it counts as waiting until the guard is dropped.
    pub(crate) fn waits(&self) -> Waiting {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(Arc::clone(&self.waiting))
    }

    /// Events that were taken in and are not answered yet.
    pub(crate) fn waiting(&self) -> usize {
        usize::try_from(self.waiting.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// A round begins with so many events.
    pub(crate) fn round(&self, events: usize) {
        self.round.record(count(events), &[]);
    }

    /// A body that was kept before, recognised by this layer.
    pub(crate) fn duplicate(&self, layer: &'static str) {
        self.hits
            .add(1, &[KeyValue::new(semconv::DEDUPE_LEVEL, "transport"), KeyValue::new(semconv::DEDUPE_LAYER, layer)]);
    }

    /// The hint knew deliveries that the store does not.
    pub(crate) fn disagreements(&self, deliveries: usize) {
        self.disagreements.add(count(deliveries), &[]);
    }

    /// An event was answered.
    pub(crate) fn answered(&self, took: Duration, error: Option<&'static str>) {
        let attributes = || {
            let mut attributes = vec![
                KeyValue::new(semconv::MESSAGING_SYSTEM, semconv::MESSAGING_SYSTEM_VALUE),
                KeyValue::new(semconv::MESSAGING_OPERATION_NAME, semconv::MESSAGING_PROCESS),
                KeyValue::new(semconv::MESSAGING_DESTINATION_NAME, semconv::MESSAGING_BOOKINGS),
            ];
            attributes.extend(error.map(|error| KeyValue::new(semconv::ERROR_TYPE, error)));
            attributes
        };
        if error.is_none() {
            self.process.measure(took.as_secs_f64(), &(), attributes);
            self.consumed.measure(1, &(), attributes);
        } else {
            self.process.measure_unbound(took.as_secs_f64(), &attributes());
            self.consumed.measure_unbound(1, &attributes());
        }
    }

    /// A new delivery can be read since `now`: so long after the adapter had it, and after Cal.com says that it
    /// happened.
    pub(crate) fn visible(&self, now: Micros, receive_time: Micros, event_time: Option<Micros>, trigger: i32) {
        let trigger = trigger_name(trigger);
        let attributes = || vec![KeyValue::new(semconv::TRIGGER, trigger)];
        self.visible.measure(seconds_between(receive_time, now), &trigger, attributes);
        if let Some(event_time) = event_time {
            self.freshness.measure(seconds_between(event_time, now), &trigger, attributes);
        }
    }

    /// One operation on Redis.
    pub(crate) fn redis(&self, operation: &'static str, took: Duration, error: Option<&'static str>) {
        let mut attributes =
            vec![KeyValue::new(semconv::DB_SYSTEM_NAME, "redis"), KeyValue::new(semconv::DB_OPERATION_NAME, operation)];
        attributes.extend(error.map(|error| KeyValue::new(semconv::ERROR_TYPE, error)));
        self.database.record(took.as_secs_f64(), &attributes);
    }
}

/// A consumer as numbers name it. They are as many as somebody has made who may; beyond the SDK's limit of 2,000 sets
/// of attributes an instrument counts the rest as one.
pub(crate) fn of_consumer((tenant, name): &ConsumerKey) -> [KeyValue; 2] {
    [
        KeyValue::new(semconv::TENANT_ID, Arc::clone(tenant)),
        KeyValue::new(semconv::MESSAGING_CONSUMER_GROUP_NAME, name.clone()),
    ]
}

/// Has the gauge of the queue read how many wait.
fn show_waiting(waiting: Arc<AtomicU64>) {
    // The instrument lives in the meter provider, which keeps the callback.
    let _ = meter()
        .u64_observable_gauge(metric::INGEST_QUEUE_DEPTH)
        .with_description("Events that were taken in and are not answered yet.")
        .with_unit(unit::DELIVERIES)
        .with_callback(move |gauge| gauge.observe(waiting.load(Ordering::Relaxed), &[]))
        .build();
}

/// What stores gave back otherwise than it was written. The store's observer counts the reads that fail by it, and
/// whoever goes past it counts what he met: they share it by its name.
pub(crate) fn damages() -> Counter<u64> {
    meter().u64_counter(metric::STORE_DAMAGED).build()
}

/// The one instrument for operations on the store and on Redis: its users share it by its name.
pub(crate) fn database_operations() -> Histogram<f64> {
    meter()
        .f64_histogram(metric::DB_CLIENT_OPERATION_DURATION)
        .with_description("How long operations on the store and on Redis took, waiting included.")
        .with_unit(unit::SECONDS)
        .with_boundaries(bucket::DB_DURATION.to_vec())
        .build()
}

/// Zero where the other machine's clock is ahead.
pub(crate) fn seconds_between(from: Micros, to: Micros) -> f64 {
    Duration::from_micros(u64::try_from(to.saturating_sub(from)).unwrap_or(0)).as_secs_f64()
}

/// Cal.com's name of a trigger, as long as it is one that the schema knows.
pub(crate) fn trigger_name(trigger: i32) -> &'static str {
    match v1::Trigger::try_from(trigger) {
        Err(_) | Ok(v1::Trigger::Unspecified) => semconv::OTHER,
        Ok(known) => {
            let name = known.as_str_name();
            name.strip_prefix("TRIGGER_").unwrap_or(name)
        }
    }
}

/// An outcome as spans and metrics write it: `applied`, `no_change`, …
pub(crate) fn outcome_name(outcome: v1::SubmitOutcome) -> &'static str {
    match outcome {
        v1::SubmitOutcome::Unspecified => semconv::OTHER,
        v1::SubmitOutcome::Applied => "applied",
        v1::SubmitOutcome::NoChange => "no_change",
        v1::SubmitOutcome::Duplicate => "duplicate",
        v1::SubmitOutcome::Recorded => "recorded",
        v1::SubmitOutcome::Unparsed => "unparsed",
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_behind_makes_no_negative_time() {
        for (from, to, seconds) in [(1_000_000, 3_500_000, 2.5), (2, 1, 0.0), (i64::MAX, i64::MIN, 0.0)] {
            assert!((seconds_between(from, to) - seconds).abs() < f64::EPSILON, "{from} {to}");
        }
    }

    #[test]
    fn a_trigger_is_named_as_cal_com_names_it() {
        assert_eq!(trigger_name(v1::Trigger::BookingCreated.into()), "BOOKING_CREATED");
        assert_eq!(trigger_name(v1::Trigger::Ping.into()), "PING");
        assert_eq!(trigger_name(0), "_OTHER");
        assert_eq!(trigger_name(999), "_OTHER");
    }
}
