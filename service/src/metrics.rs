//! The service's instruments, built once. Names and buckets are those of `calbridge_telemetry::semconv`.

use std::time::Duration;

use calbridge_proto::v1;
use calbridge_telemetry::{
    meter,
    semconv::{self, bucket, metric, unit},
};
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Histogram},
};

/// Every instrument of ingest and dedupe.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    /// Duplicates, by who told them.
    hits: Counter<u64>,
    /// Hits of the hint that the store denied.
    disagreements: Counter<u64>,
    /// From an event's arrival here to its answer.
    process: Histogram<f64>,
    /// From the adapter's receipt to the commit.
    visible: Histogram<f64>,
    /// Events of a round.
    round: Histogram<u64>,
    /// Events that wait for a round.
    queue: Gauge<u64>,
    /// Redis operations.
    database: Histogram<f64>,
}

impl Metrics {
    /// Takes the instruments from the global meter: after telemetry was installed.
    pub(crate) fn new() -> Self {
        let meter = meter();
        let seconds = |name, boundaries: &[f64]| {
            meter.f64_histogram(name).with_unit(unit::SECONDS).with_boundaries(boundaries.to_vec()).build()
        };
        Self {
            hits: meter.u64_counter(metric::DEDUPE_HITS).with_unit(unit::DELIVERIES).build(),
            disagreements: meter.u64_counter(metric::DEDUPE_REDIS_DISAGREEMENTS).with_unit(unit::DELIVERIES).build(),
            process: seconds(metric::MESSAGING_PROCESS_DURATION, &bucket::DURATION),
            visible: seconds(metric::E2E_VISIBLE_DURATION, &bucket::DURATION),
            round: meter
                .u64_histogram(metric::INGEST_BATCH_SIZE)
                .with_unit(unit::DELIVERIES)
                .with_boundaries(bucket::BATCH_SIZE.to_vec())
                .build(),
            queue: meter.u64_gauge(metric::INGEST_QUEUE_DEPTH).with_unit(unit::DELIVERIES).build(),
            database: seconds(metric::DB_CLIENT_OPERATION_DURATION, &bucket::DB_DURATION),
        }
    }

    /// A round begins with so many events and leaves so many waiting.
    pub(crate) fn round(&self, events: usize, waiting: usize) {
        self.round.record(count(events), &[]);
        self.queue.record(count(waiting), &[]);
    }

    /// A body that was kept before, recognised by this layer.
    pub(crate) fn duplicate(&self, layer: &'static str) {
        self.hits
            .add(1, &[KeyValue::new(semconv::DEDUPE_LEVEL, "transport"), KeyValue::new(semconv::DEDUPE_LAYER, layer)]);
    }

    /// The hint knew deliveries that the store does not.
    pub(crate) fn disagreements(&self, events: usize) {
        self.disagreements.add(count(events), &[]);
    }

    /// An event was answered.
    pub(crate) fn answered(&self, took: Duration, error: Option<&'static str>) {
        let mut attributes = vec![
            KeyValue::new(semconv::MESSAGING_SYSTEM, semconv::MESSAGING_SYSTEM_VALUE),
            KeyValue::new(semconv::MESSAGING_OPERATION_NAME, "bookings"),
        ];
        attributes.extend(error.map(|error| KeyValue::new(semconv::ERROR_TYPE, error)));
        self.process.record(took.as_secs_f64(), &attributes);
    }

    /// A new delivery can be read this many microseconds after the adapter had it.
    pub(crate) fn visible(&self, micros: i64, trigger: i32) {
        let seconds = Duration::from_micros(u64::try_from(micros).unwrap_or(0)).as_secs_f64();
        self.visible.record(seconds, &[KeyValue::new(semconv::TRIGGER, trigger_name(trigger))]);
    }

    /// One operation on Redis.
    pub(crate) fn redis(&self, operation: &'static str, took: Duration, error: Option<&'static str>) {
        let mut attributes =
            vec![KeyValue::new(semconv::DB_SYSTEM_NAME, "redis"), KeyValue::new(semconv::DB_OPERATION_NAME, operation)];
        attributes.extend(error.map(|error| KeyValue::new(semconv::ERROR_TYPE, error)));
        self.database.record(took.as_secs_f64(), &attributes);
    }
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
    fn a_trigger_is_named_as_cal_com_names_it() {
        assert_eq!(trigger_name(v1::Trigger::BookingCreated.into()), "BOOKING_CREATED");
        assert_eq!(trigger_name(v1::Trigger::Ping.into()), "PING");
        assert_eq!(trigger_name(0), "_OTHER");
        assert_eq!(trigger_name(999), "_OTHER");
    }
}
