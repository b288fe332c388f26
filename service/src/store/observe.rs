//! One CLIENT span and one measurement for each operation on the database, as its caller sees it: waiting included.

use std::{fmt, future::Future, path::Path, time::Instant};

use calbridge_telemetry::semconv;
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram},
};
use tracing::{Instrument, Span, field::Empty, info_span};

use crate::{
    metrics::{damages, database_operations},
    store::StoreError,
};

/// What an operation is called.
#[derive(Clone, Copy)]
pub(crate) struct Operation {
    summary: &'static str,
    name: &'static str,
    collection: &'static str,
}

pub(crate) const COMMIT_DELIVERIES: Operation =
    Operation { summary: semconv::span::COMMIT_DELIVERIES, name: "COMMIT", collection: "deliveries" };
pub(crate) const COMMIT_BOOKINGS: Operation =
    Operation { summary: semconv::span::COMMIT_BOOKINGS, name: "COMMIT", collection: "bookings" };
pub(crate) const SELECT_HEAD: Operation =
    Operation { summary: semconv::span::SELECT_HEAD, name: "SELECT", collection: "head" };
pub(crate) const SELECT_DELIVERIES: Operation =
    Operation { summary: semconv::span::SELECT_DELIVERIES, name: "SELECT", collection: "deliveries" };
pub(crate) const SELECT_BOOKINGS: Operation =
    Operation { summary: semconv::span::SELECT_BOOKINGS, name: "SELECT", collection: "bookings" };
pub(crate) const SELECT_TRANSITIONS: Operation =
    Operation { summary: semconv::span::SELECT_TRANSITIONS, name: "SELECT", collection: "transitions" };
pub(crate) const COMMIT_CONSUMERS: Operation =
    Operation { summary: semconv::span::COMMIT_CONSUMERS, name: "COMMIT", collection: "consumers" };
pub(crate) const SELECT_CONSUMERS: Operation =
    Operation { summary: semconv::span::SELECT_CONSUMERS, name: "SELECT", collection: "consumers" };
pub(crate) const SELECT_MENTIONS: Operation =
    Operation { summary: semconv::span::SELECT_MENTIONS, name: "SELECT", collection: "mentions" };

impl Operation {
    /// Rounds and the clock do not: whoever asks for them goes past what is damaged, and counts it himself. A replay is
    /// written as the clock's changes are; what stops one is told to its caller alone.
    fn fails_by_damage(self) -> bool {
        let goes_past = [COMMIT_DELIVERIES, COMMIT_BOOKINGS];
        !goes_past.iter().any(|operation| operation.summary == self.summary)
    }
}

/// Which database, as telemetry has it.
pub(crate) struct Place {
    system: &'static str,
    /// The file's name, never its path; or database and schema.
    namespace: String,
    server: Option<(String, u16)>,
}

/// Watches the operations on one database.
pub(crate) struct Observer {
    place: Place,
    duration: Histogram<f64>,
    damaged: Counter<u64>,
}

/// One operation under way.
pub(crate) struct Watch {
    began: Instant,
    span: Span,
    attributes: Vec<KeyValue>,
    duration: Histogram<f64>,
    /// Of an operation that fails by damage.
    damaged: Option<Counter<u64>>,
}

impl Place {
    pub(crate) fn of_file(path: &Path) -> Self {
        let namespace = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Self { system: "sqlite", namespace, server: None }
    }

    pub(crate) fn of_server(database: &str, host: String, port: u16) -> Self {
        Self { system: "postgresql", namespace: database.to_owned(), server: Some((host, port)) }
    }
}

impl Observer {
    pub(crate) fn new(place: Place) -> Self {
        Self { place, duration: database_operations(), damaged: damages() }
    }

    /// Runs `work`, which speaks of so many rows, under a span of its own.
    pub(crate) async fn watch<T>(
        &self,
        operation: Operation,
        rows: usize,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let watch = self.begin(operation, rows);
        let done = watch.over(work).await;
        watch.end(done)
    }

    /// An operation that ends elsewhere.
    pub(crate) fn begin(&self, operation: Operation, rows: usize) -> Watch {
        Watch {
            began: Instant::now(),
            span: self.span(operation, rows),
            attributes: vec![
                KeyValue::new(semconv::DB_SYSTEM_NAME, self.place.system),
                KeyValue::new(semconv::DB_OPERATION_NAME, operation.name),
                KeyValue::new(semconv::DB_COLLECTION_NAME, operation.collection),
            ],
            duration: self.duration.clone(),
            damaged: operation.fails_by_damage().then(|| self.damaged.clone()),
        }
    }

    fn span(&self, operation: Operation, rows: usize) -> Span {
        let span = info_span!(
            "database",
            { semconv::otel::NAME } = operation.summary,
            { semconv::otel::KIND } = "client",
            { semconv::otel::STATUS_CODE } = Empty,
            { semconv::DB_SYSTEM_NAME } = self.place.system,
            { semconv::DB_NAMESPACE } = self.place.namespace,
            { semconv::DB_OPERATION_NAME } = operation.name,
            { semconv::DB_COLLECTION_NAME } = operation.collection,
            { semconv::DB_QUERY_SUMMARY } = operation.summary,
            { semconv::DB_OPERATION_BATCH_SIZE } = Empty,
            { semconv::DB_RESPONSE_STATUS_CODE } = Empty,
            { semconv::SERVER_ADDRESS } = Empty,
            { semconv::SERVER_PORT } = Empty,
            { semconv::ERROR_TYPE } = Empty,
        );
        if let Some((host, port)) = &self.place.server {
            span.record(semconv::SERVER_ADDRESS, host.as_str());
            span.record(semconv::SERVER_PORT, i64::from(*port));
        }
        // The conventions want it from two on.
        if rows > 1 {
            span.record(semconv::DB_OPERATION_BATCH_SIZE, i64::try_from(rows).unwrap_or(i64::MAX));
        }
        span
    }
}

impl Watch {
    /// `work` under the operation's span.
    pub(crate) fn over<F: Future>(&self, work: F) -> impl Future<Output = F::Output> {
        work.instrument(self.span.clone())
    }

    /// Writes down how it ended, and hands that on.
    pub(crate) fn end<T>(self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        let Self { began, span, mut attributes, duration, damaged } = self;
        if let (Err(StoreError::Damaged { .. }), Some(damaged)) = (&done, damaged) {
            damaged.add(1, &[]);
        }
        if let Err(error) = &done {
            let kind = error.kind();
            span.record(semconv::ERROR_TYPE, kind);
            span.record(semconv::otel::STATUS_CODE, "ERROR");
            attributes.push(KeyValue::new(semconv::ERROR_TYPE, kind));
            if let StoreError::Unavailable { code: Some(code), .. } = error {
                span.record(semconv::DB_RESPONSE_STATUS_CODE, code.as_str());
                attributes.push(KeyValue::new(semconv::DB_RESPONSE_STATUS_CODE, code.clone()));
            }
        }
        duration.record(began.elapsed().as_secs_f64(), &attributes);
        done
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Observer").field("namespace", &self.place.namespace).finish_non_exhaustive()
    }
}
