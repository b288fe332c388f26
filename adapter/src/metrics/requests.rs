//! What is measured of every request, whether it is a webhook or not.

use std::time::Duration;

use calbridge_telemetry::{
    Bound,
    semconv::{self, bucket, metric, unit},
};
use http::StatusCode;
use opentelemetry::{
    KeyValue,
    metrics::{Histogram, Meter, UpDownCounter},
};

use super::{PLACES, seconds};
use crate::labels::{RequestLabels, error_type};

/// The instruments of requests.
pub(crate) struct Requests {
    duration: Bound<Histogram<f64>, (RequestLabels, StatusCode), PLACES>,
    active: Bound<UpDownCounter<i64>, (&'static str, &'static str), PLACES>,
    body_size: Bound<Histogram<u64>, (&'static str, Option<&'static str>), PLACES>,
}

/// A request that is being served, however it ends.
pub(crate) struct Active<'a> {
    requests: &'a Requests,
    labels: RequestLabels,
}

impl Requests {
    pub(super) fn new(meter: &Meter) -> Self {
        let duration = "From a request's head to its answer";
        Self {
            duration: Bound::new(seconds(meter, metric::HTTP_SERVER_REQUEST_DURATION, duration)),
            active: Bound::new(
                meter
                    .i64_up_down_counter(metric::HTTP_SERVER_ACTIVE_REQUESTS)
                    .with_unit(unit::REQUESTS)
                    .with_description("Requests being served")
                    .build(),
            ),
            body_size: Bound::new(
                meter
                    .u64_histogram(metric::HTTP_SERVER_REQUEST_BODY_SIZE)
                    .with_unit(unit::BYTES)
                    .with_description("Bodies that were read to their end")
                    .with_boundaries(bucket::BODY_BYTES.to_vec())
                    .build(),
            ),
        }
    }

    /// Counts a request for as long as the guard lives.
    pub(crate) fn active(&self, labels: RequestLabels) -> Active<'_> {
        let active = Active { requests: self, labels };
        active.count(1);
        active
    }

    /// A request was answered, or ended without an answer.
    pub(crate) fn ended(&self, labels: RequestLabels, status: Option<StatusCode>, took: Duration) {
        let attributes = || {
            let mut attributes = vec![
                KeyValue::new(semconv::HTTP_REQUEST_METHOD, labels.method),
                KeyValue::new(semconv::URL_SCHEME, labels.scheme),
                KeyValue::new(semconv::NETWORK_PROTOCOL_VERSION, labels.version),
            ];
            let code = status.map(|status| i64::from(status.as_u16()));
            attributes.extend(code.map(|code| KeyValue::new(semconv::HTTP_RESPONSE_STATUS_CODE, code)));
            attributes.extend(labels.route.map(|route| KeyValue::new(semconv::HTTP_ROUTE, route)));
            attributes.extend(error_type(status).map(|error| KeyValue::new(semconv::ERROR_TYPE, error)));
            attributes
        };
        match status {
            Some(status) if status.is_success() => {
                self.duration.measure(took.as_secs_f64(), &(labels, status), attributes);
            }
            // A stranger can bring these about, and would take the places.
            _ => self.duration.measure_unbound(took.as_secs_f64(), &attributes()),
        }
    }

    /// A body was read.
    pub(crate) fn body(&self, labels: RequestLabels, bytes: usize) {
        self.body_size.measure(bytes as u64, &(labels.method, labels.route), || {
            let mut attributes = vec![KeyValue::new(semconv::HTTP_REQUEST_METHOD, labels.method)];
            attributes.extend(labels.route.map(|route| KeyValue::new(semconv::HTTP_ROUTE, route)));
            attributes
        });
    }
}

impl Active<'_> {
    fn count(&self, more: i64) {
        let RequestLabels { method, scheme, .. } = self.labels;
        self.requests.active.measure(more, &(method, scheme), || {
            vec![KeyValue::new(semconv::HTTP_REQUEST_METHOD, method), KeyValue::new(semconv::URL_SCHEME, scheme)]
        });
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.count(-1);
    }
}
