//! Several services behind several adapters, and senders that never pause.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::{
    metrics::Page,
    port,
    program::{Program, Start},
    system::{SECRET, TENANT, ready, tenants},
    wait,
    webhook::Sender,
};

/// A number of each; every adapter knows every service.
#[derive(Debug)]
pub struct Fleet {
    /// The gRPC services. Each comes back on the port it had.
    pub services: Vec<Program>,
    /// The HTTP edges.
    pub adapters: Vec<Program>,
    starts: Vec<Start>,
    _folder: TempDir,
}

impl Fleet {
    /// Starts them and waits until every adapter has a stream to every service. `database` says the store of each
    /// service, by its number and a folder that lives as long as the fleet; `deadline` is the adapters' for a commit.
    pub async fn start(
        services: usize,
        adapters: usize,
        deadline: &str,
        database: impl Fn(usize, &Path) -> String,
    ) -> Self {
        let folder = TempDir::new().unwrap();
        let config = folder.path().join("calbridge.toml");
        fs::write(&config, tenants(&BTreeMap::from([(TENANT.to_owned(), SECRET.to_owned())]))).unwrap();
        let starts: Vec<Start> = (0..services)
            .map(|number| {
                Start::new("calbridge-service")
                    .flag("--grpc", format!("127.0.0.1:{}", port::free()))
                    .flag("--admin", "127.0.0.1:0")
                    .flag("--data-dir", folder.path().join(format!("data{number}")))
                    .flag("--database-url", database(number, folder.path()))
                    .flag("--config", &config)
            })
            .collect();
        let services: Vec<Program> = starts.iter().map(Start::serve).collect();
        let addresses: Vec<String> =
            services.iter().map(|service| format!("http://{}", service.listening().grpc())).collect();
        let adapter = Start::new("calbridge-adapter")
            .flag("--http", "127.0.0.1:0")
            .flag("--admin", "127.0.0.1:0")
            .flag("--service", addresses.join(","))
            .flag("--forward-deadline", deadline)
            // Longer than any deadline of a test.
            .flag("--shutdown-grace", "30s")
            .flag("--config", &config);
        let adapters = (0..adapters).map(|_| adapter.serve()).collect();
        let fleet = Self { services, adapters, starts, _folder: folder };
        for adapter in &fleet.adapters {
            ready(adapter).await;
        }
        for service in 0..fleet.services.len() {
            fleet.linked(service, true).await;
        }
        fleet
    }

    /// Starts a service anew after its end, as it was started first.
    pub fn restart(&mut self, service: usize) {
        self.services[service] = self.starts[service].serve();
    }

    /// Waits until every adapter has, or has not, a stream to this service.
    pub async fn linked(&self, service: usize, linked: bool) {
        let port = format!("server_port=\"{}\"", self.services[service].listening().grpc().port());
        let expected = if linked { 1.0 } else { 0.0 };
        for adapter in &self.adapters {
            let look = || async {
                let page = Page::read(adapter.listening().admin()).await;
                let streams = page.sum("calbridge_forward_streams", &[&port]);
                ((streams - expected).abs() < f64::EPSILON).then_some(())
            };
            wait::until("the adapter's stream to the service", look).await;
        }
    }

    /// How many events this service has committed in its present life.
    pub async fn committed(&self, service: usize) -> f64 {
        let page = Page::read(self.services[service].listening().admin()).await;
        page.sum("calbridge_e2e_visible_duration_seconds_count", &[])
    }

    /// Stops all in the order that lets everything be finished.
    pub async fn stop(&mut self) {
        for program in self.adapters.iter_mut().chain(&mut self.services) {
            program.stop().await;
        }
    }
}

/// Senders that send one webhook after the other, each to the next edge, until they are told to end.
#[derive(Debug)]
pub struct Load {
    senders: JoinSet<Vec<Sent>>,
    answered: Arc<AtomicUsize>,
    end: Arc<AtomicBool>,
}

/// One webhook and how it was answered.
#[derive(Debug)]
pub struct Sent {
    /// What was sent.
    pub body: Vec<u8>,
    /// The answer's status.
    pub status: u16,
    /// How long the answer took.
    pub took: Duration,
}

impl Load {
    /// So many senders; `body` makes a body that no other call makes, of two numbers.
    pub fn start(fleet: &Fleet, senders: usize, body: fn(usize, usize) -> Vec<u8>) -> Self {
        let edges: Vec<_> = fleet.adapters.iter().map(|adapter| adapter.listening().http()).collect();
        let (answered, end) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let mut load = Self { senders: JoinSet::new(), answered, end };
        for number in 0..senders {
            let edges: Vec<Sender> = edges.iter().map(|edge| Sender::new(*edge)).collect();
            let (answered, end) = (Arc::clone(&load.answered), Arc::clone(&load.end));
            load.senders.spawn(async move {
                let mut sent = Vec::new();
                while !end.load(Ordering::Relaxed) {
                    let body = body(number, sent.len());
                    let edge = &edges[(number + sent.len()) % edges.len()];
                    let began = Instant::now();
                    let status = edge.send(TENANT, SECRET, body.clone()).await.status.as_u16();
                    sent.push(Sent { body, status, took: began.elapsed() });
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                sent
            });
        }
        load
    }

    /// Waits until so many more are answered.
    pub async fn flows(&self, more: usize) {
        let enough = self.answered.load(Ordering::Relaxed) + more;
        let look = || std::future::ready((self.answered.load(Ordering::Relaxed) >= enough).then_some(()));
        wait::until("webhooks are answered", look).await;
    }

    /// Ends it; everything that was sent.
    pub async fn end(self) -> Vec<Sent> {
        self.end.store(true, Ordering::Relaxed);
        wait::within("the last answers", self.senders.join_all()).await.into_iter().flatten().collect()
    }
}
