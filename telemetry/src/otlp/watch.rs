//! An exporter that tells once that its collector is away, once that it is back, and counts what was lost.
//!
//! The SDK would log every failed batch at error level, several a minute for as long as a collector is away; it is
//! told that the export went well instead.

use std::fmt::{Debug, Display};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use crate::config::Signal;

/// How many spans, log records and metric collections could not be exported.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    traces: AtomicU64,
    metrics: AtomicU64,
    logs: AtomicU64,
}

impl Lost {
    /// Each signal with its count.
    pub(crate) fn counts(&self) -> [(Signal, u64); 3] {
        [Signal::Traces, Signal::Metrics, Signal::Logs].map(|signal| (signal, self.of(signal).load(Ordering::Relaxed)))
    }

    fn of(&self, signal: Signal) -> &AtomicU64 {
        match signal {
            Signal::Traces => &self.traces,
            Signal::Metrics => &self.metrics,
            Signal::Logs => &self.logs,
        }
    }
}

/// An exporter under watch.
#[derive(Debug)]
pub(crate) struct Watched<E> {
    signal: Signal,
    exporter: E,
    lost: Arc<Lost>,
    failing: AtomicBool,
}

impl<E> Watched<E> {
    pub(crate) fn new(signal: Signal, exporter: E, lost: &Arc<Lost>) -> Self {
        Self { signal, exporter, lost: Arc::clone(lost), failing: AtomicBool::new(false) }
    }

    /// Takes note of how the export of `count` items ended. The exporters' errors carry no URL and no header.
    fn note(&self, count: usize, result: Result<(), impl Display>) {
        let signal = self.signal.name();
        match result {
            Ok(()) => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!(signal, "telemetry is exported again");
                }
            }
            Err(error) => {
                self.lost.of(self.signal).fetch_add(count as u64, Ordering::Relaxed);
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(signal, %error, "telemetry can't be exported and is lost until this is mended");
                }
            }
        }
    }
}

impl<E: SpanExporter> SpanExporter for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let result = self.exporter.export(batch).await;
        self.note(count, result);
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: LogExporter> LogExporter for Watched<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let count = batch.iter().count();
        let result = self.exporter.export(batch).await;
        self.note(count, result);
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: PushMetricExporter + Debug> PushMetricExporter for Watched<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = self.exporter.export(metrics).await;
        self.note(1, result);
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}
