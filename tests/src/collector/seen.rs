//! What a collector was sent, in a form that a test can read: ids in hex, attributes in maps, resources beside the
//! thing they describe.

use std::{collections::BTreeMap, fmt};

use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    },
    common::v1::{AnyValue, KeyValue, any_value},
    metrics::v1::{metric, number_data_point},
    resource::v1::Resource,
    trace::v1::span::SpanKind,
};

/// Attributes by name.
pub type Attributes = BTreeMap<String, Value>;

/// One attribute's value. The type counts: a status code that is a string is a fault.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A string.
    Text(String),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Double(f64),
    /// A boolean.
    Bool(bool),
    /// Anything else; nothing of ours sends one.
    Other(String),
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(out, "{text}"),
            Self::Int(number) => write!(out, "{number}"),
            Self::Double(number) => write!(out, "{number}"),
            Self::Bool(flag) => write!(out, "{flag}"),
            Self::Other(text) => write!(out, "({text})"),
        }
    }
}

/// A span's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Inside one program.
    Internal,
    /// Takes a call.
    Server,
    /// Makes a call.
    Client,
    /// Hands a message over.
    Producer,
    /// Works on a message.
    Consumer,
    /// Not said.
    Unspecified,
}

/// One link of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// In hex.
    pub trace_id: String,
    /// In hex.
    pub span_id: String,
}

/// One span.
#[derive(Debug, Clone)]
pub struct Span {
    /// The program that made it.
    pub resource: Attributes,
    /// The instrumentation scope.
    pub scope: String,
    /// Of the scope.
    pub schema_url: String,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// In hex.
    pub trace_id: String,
    /// In hex.
    pub span_id: String,
    /// In hex; empty for a root.
    pub parent_id: String,
    /// `tracestate`.
    pub trace_state: String,
    /// Its attributes.
    pub attributes: Attributes,
    /// Its links.
    pub links: Vec<Link>,
    /// The names of its events.
    pub events: Vec<String>,
    /// 0 unset, 1 OK, 2 error.
    pub status: i32,
    /// What the status says.
    pub status_message: String,
    /// Nanoseconds since 1970.
    pub start: u64,
    /// Nanoseconds since 1970.
    pub end: u64,
}

impl Span {
    /// `service.name` of its program.
    #[must_use]
    pub fn service(&self) -> String {
        self.resource.get("service.name").map_or_else(String::new, ToString::to_string)
    }

    /// One attribute as text; empty where it is not set.
    #[must_use]
    pub fn text(&self, attribute: &str) -> String {
        self.attributes.get(attribute).map_or_else(String::new, ToString::to_string)
    }

    /// Whether it links to another span.
    #[must_use]
    pub fn links_to(&self, other: &Span) -> bool {
        self.links.iter().any(|link| link.trace_id == other.trace_id && link.span_id == other.span_id)
    }
}

/// One data point of a metric.
#[derive(Debug, Clone)]
pub struct Point {
    /// Its attributes.
    pub attributes: Attributes,
    /// A number, or a histogram's count.
    pub value: f64,
}

/// One collection of one metric.
#[derive(Debug, Clone)]
pub struct Metric {
    /// The program that made it.
    pub resource: Attributes,
    /// Of the scope.
    pub schema_url: String,
    /// Its name.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Its points.
    pub points: Vec<Point>,
    /// Upper bounds of a histogram's buckets.
    pub bounds: Vec<f64>,
}

/// One log record.
#[derive(Debug, Clone)]
pub struct Log {
    /// The program that made it.
    pub resource: Attributes,
    /// Its message.
    pub body: String,
    /// Its fields.
    pub attributes: Attributes,
    /// In hex; empty outside any trace.
    pub trace_id: String,
    /// In hex; empty outside any span.
    pub span_id: String,
}

/// Everything that came in.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// In the order of their coming.
    pub spans: Vec<Span>,
    /// In the order of their coming.
    pub metrics: Vec<Metric>,
    /// In the order of their coming.
    pub logs: Vec<Log>,
}

impl Seen {
    /// The spans of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Vec<&Span> {
        self.spans.iter().filter(|span| span.name == name).collect()
    }

    /// The spans of this trace.
    #[must_use]
    pub fn trace(&self, trace_id: &str) -> Vec<&Span> {
        self.spans.iter().filter(|span| span.trace_id == trace_id).collect()
    }

    /// The children of a span.
    #[must_use]
    pub fn children(&self, parent: &Span) -> Vec<&Span> {
        self.trace(&parent.trace_id).into_iter().filter(|span| span.parent_id == parent.span_id).collect()
    }

    /// The newest collection of a metric from one program.
    #[must_use]
    pub fn metric(&self, service: &str, name: &str) -> Option<&Metric> {
        let of_service =
            |metric: &&Metric| metric.resource.get("service.name").is_some_and(|value| value.to_string() == service);
        self.metrics.iter().rev().filter(of_service).find(|metric| metric.name == name)
    }

    /// One line a span, for a test that fails.
    #[must_use]
    pub fn outline(&self) -> String {
        let line = |span: &Span| {
            let Span { name, kind, trace_id, span_id, parent_id, .. } = span;
            format!("{} {kind:?} {name:?} trace {trace_id} span {span_id} parent {parent_id}", span.service())
        };
        self.spans.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    pub(super) fn add_traces(&mut self, request: ExportTraceServiceRequest) {
        for of_resource in request.resource_spans {
            let resource = resource(of_resource.resource);
            for of_scope in of_resource.scope_spans {
                let scope = of_scope.scope.map_or_else(String::new, |scope| scope.name);
                for span in of_scope.spans {
                    self.spans.push(read_span(span, &resource, &scope, &of_scope.schema_url));
                }
            }
        }
    }

    pub(super) fn add_metrics(&mut self, request: ExportMetricsServiceRequest) {
        for of_resource in request.resource_metrics {
            let resource = resource(of_resource.resource);
            for of_scope in of_resource.scope_metrics {
                for metric in of_scope.metrics {
                    let (points, bounds) = metric.data.map_or_else(Default::default, read_points);
                    self.metrics.push(Metric {
                        resource: resource.clone(),
                        schema_url: of_scope.schema_url.clone(),
                        name: metric.name,
                        unit: metric.unit,
                        points,
                        bounds,
                    });
                }
            }
        }
    }

    pub(super) fn add_logs(&mut self, request: ExportLogsServiceRequest) {
        for of_resource in request.resource_logs {
            let resource = resource(of_resource.resource);
            for record in of_resource.scope_logs.into_iter().flat_map(|of_scope| of_scope.log_records) {
                self.logs.push(Log {
                    resource: resource.clone(),
                    body: record.body.map_or_else(String::new, |body| value(body).to_string()),
                    attributes: attributes(record.attributes),
                    trace_id: hex::encode(record.trace_id),
                    span_id: hex::encode(record.span_id),
                });
            }
        }
    }
}

fn read_span(
    span: opentelemetry_proto::tonic::trace::v1::Span,
    resource: &Attributes,
    scope: &str,
    schema_url: &str,
) -> Span {
    let kind = match span.kind() {
        SpanKind::Internal => Kind::Internal,
        SpanKind::Server => Kind::Server,
        SpanKind::Client => Kind::Client,
        SpanKind::Producer => Kind::Producer,
        SpanKind::Consumer => Kind::Consumer,
        SpanKind::Unspecified => Kind::Unspecified,
    };
    let links = span.links.iter();
    let links =
        links.map(|link| Link { trace_id: hex::encode(&link.trace_id), span_id: hex::encode(&link.span_id) }).collect();
    let (status, status_message) = span.status.map_or((0, String::new()), |status| (status.code, status.message));
    Span {
        resource: resource.clone(),
        scope: scope.to_owned(),
        schema_url: schema_url.to_owned(),
        name: span.name,
        kind,
        trace_id: hex::encode(span.trace_id),
        span_id: hex::encode(span.span_id),
        parent_id: hex::encode(span.parent_span_id),
        trace_state: span.trace_state,
        attributes: attributes(span.attributes),
        links,
        events: span.events.into_iter().map(|event| event.name).collect(),
        status,
        status_message,
        start: span.start_time_unix_nano,
        end: span.end_time_unix_nano,
    }
}

fn read_points(data: metric::Data) -> (Vec<Point>, Vec<f64>) {
    let numbers = match data {
        metric::Data::Gauge(gauge) => gauge.data_points,
        metric::Data::Sum(sum) => sum.data_points,
        metric::Data::Histogram(histogram) => {
            let bounds = histogram.data_points.first().map_or_else(Vec::new, |point| point.explicit_bounds.clone());
            let points = histogram.data_points.into_iter();
            #[expect(clippy::cast_precision_loss, reason = "counts of a test are small")]
            let points = points
                .map(|point| Point { attributes: attributes(point.attributes), value: point.count as f64 })
                .collect();
            return (points, bounds);
        }
        _ => Vec::new(),
    };
    let points = numbers.into_iter().map(|point| {
        #[expect(clippy::cast_precision_loss, reason = "counts of a test are small")]
        let value = match point.value {
            Some(number_data_point::Value::AsInt(number)) => number as f64,
            Some(number_data_point::Value::AsDouble(number)) => number,
            None => f64::NAN,
        };
        Point { attributes: attributes(point.attributes), value }
    });
    (points.collect(), Vec::new())
}

fn resource(resource: Option<Resource>) -> Attributes {
    attributes(resource.map_or_else(Vec::new, |resource| resource.attributes))
}

fn attributes(pairs: Vec<KeyValue>) -> Attributes {
    pairs.into_iter().map(|pair| (pair.key, pair.value.map_or_else(|| Value::Other(String::new()), value))).collect()
}

fn value(value: AnyValue) -> Value {
    match value.value {
        Some(any_value::Value::StringValue(text)) => Value::Text(text),
        Some(any_value::Value::IntValue(number)) => Value::Int(number),
        Some(any_value::Value::DoubleValue(number)) => Value::Double(number),
        Some(any_value::Value::BoolValue(flag)) => Value::Bool(flag),
        other => Value::Other(format!("{other:?}")),
    }
}
