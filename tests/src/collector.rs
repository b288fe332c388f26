//! A receiver of OTLP, over gRPC and over HTTP/protobuf, on a thread of its own: a program under test may send at any
//! moment, whatever the test is doing.

mod receive;
mod seen;

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    thread,
};

use tokio::{runtime, sync::watch};

pub use self::seen::{Attributes, Kind, Link, Log, Metric, Point, Seen, Span, Value};
use crate::wait::{self, PATIENCE};

/// A collector that is ended with its test.
#[derive(Debug)]
pub struct Collector {
    grpc: SocketAddr,
    http: SocketAddr,
    shared: Arc<Shared>,
    changes: watch::Receiver<u64>,
    _stop: watch::Sender<bool>,
}

/// What the receiving side writes and the test reads.
#[derive(Debug)]
struct Shared {
    seen: Mutex<Seen>,
    /// Counts what came in, so that waiting is waking.
    changed: watch::Sender<u64>,
}

impl Shared {
    fn add(&self, add: impl FnOnce(&mut Seen)) {
        add(&mut self.seen.lock().unwrap());
        self.changed.send_modify(|count| *count += 1);
    }
}

impl Collector {
    /// Listens on two ports of its own.
    #[must_use]
    pub fn start() -> Self {
        let (changed, news) = watch::channel(0);
        let (stop, until) = watch::channel(false);
        let shared = Arc::new(Shared { seen: Mutex::default(), changed });
        let grpc = listener();
        let http = listener();
        let collector = Self {
            grpc: grpc.local_addr().unwrap(),
            http: http.local_addr().unwrap(),
            shared: Arc::clone(&shared),
            changes: news,
            _stop: stop,
        };
        thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(receive::serve(grpc, http, shared, until));
        });
        collector
    }

    /// `OTEL_EXPORTER_OTLP_ENDPOINT` and `…_PROTOCOL` for gRPC.
    #[must_use]
    pub fn grpc(&self) -> [(&'static str, String); 2] {
        endpoint(self.grpc, "grpc")
    }

    /// The same for HTTP with protobuf bodies.
    #[must_use]
    pub fn http(&self) -> [(&'static str, String); 2] {
        endpoint(self.http, "http/protobuf")
    }

    /// All that came in so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Waits until `look` finds what it looks for; fails the test with `what` and the names of all spans otherwise.
    pub async fn wait<T>(&self, what: &str, mut look: impl FnMut(&Seen) -> Option<T>) -> T {
        let mut changes = self.changes.clone();
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                changes.mark_unchanged();
                if let Some(found) = look(&self.shared.seen.lock().unwrap()) {
                    return found;
                }
                changes.changed().await.unwrap();
            }
        });
        let found = waited.await.ok();
        found.unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain: {what}\n{}", self.seen().outline()))
    }
}

/// Where nobody listens: what a program sees whose collector is dead.
#[must_use]
pub fn dead() -> [(&'static str, String); 2] {
    endpoint(([127, 0, 0, 1], crate::port::free()).into(), "grpc")
}

fn endpoint(address: SocketAddr, protocol: &str) -> [(&'static str, String); 2] {
    [("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}")), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned())]
}

fn listener() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

/// The variables that make exporting prompt, so that a test does not wait for timers of seconds.
#[must_use]
pub fn prompt() -> [(&'static str, &'static str); 3] {
    [("OTEL_BSP_SCHEDULE_DELAY", "50"), ("OTEL_BLRP_SCHEDULE_DELAY", "50"), ("OTEL_METRIC_EXPORT_INTERVAL", "200")]
}

/// Waits for something that a program under test does by itself.
pub async fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    let mut look = look;
    wait::until(what, || std::future::ready(look())).await
}
