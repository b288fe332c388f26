//! Spans recorded in memory, made by the very layer that production uses.
//!
//! One recording is of one thread: use it in a `#[test]`, or in a `#[tokio::test]` of the current-thread flavour.

use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt;

use crate::setup::span_layer;

/// The spans of this thread, from [`record`] until it is dropped.
#[derive(Debug)]
pub struct Recording {
    exporter: InMemorySpanExporter,
    provider: SdkTracerProvider,
    _guard: DefaultGuard,
}

/// Records the spans of this thread from now on.
#[must_use]
pub fn record() -> Recording {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let subscriber = tracing_subscriber::registry().with(span_layer(&provider));
    Recording { exporter, provider, _guard: tracing::subscriber::set_default(subscriber) }
}

impl Recording {
    /// The spans that have ended, in the order of their ends.
    #[must_use]
    pub fn spans(&self) -> Vec<SpanData> {
        // The simple exporter holds nothing back, and the memory is readable as long as no test has panicked in it.
        let _ = self.provider.force_flush();
        self.exporter.get_finished_spans().unwrap_or_default()
    }

    /// The ended spans of that name.
    #[must_use]
    pub fn named(&self, name: &str) -> Vec<SpanData> {
        self.spans().into_iter().filter(|span| span.name == name).collect()
    }
}

/// The value of a span's attribute as text, if it has it.
#[must_use]
pub fn attribute(span: &SpanData, name: &str) -> Option<String> {
    span.attributes.iter().find(|attribute| attribute.key.as_str() == name).map(|found| found.value.to_string())
}
