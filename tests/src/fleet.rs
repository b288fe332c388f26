//! Several services behind several adapters, and senders that never pause.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::{task::JoinSet, time::sleep};

use crate::{
    metrics::Page,
    port,
    program::{Program, Start},
    system::{SECRET, TENANT, config_of, ready},
    wait,
    webhook::Sender,
};

/// Between a refusal and the sender's next webhook: Cal.com does not hammer either.
const REFUSED_PAUSE: Duration = Duration::from_millis(50);

/// How a fleet is built.
#[derive(Debug)]
pub struct Plan {
    services: usize,
    adapters: usize,
    deadline: &'static str,
    tenants: BTreeMap<String, String>,
    service: Vec<(&'static str, String)>,
    clock: bool,
}

impl Plan {
    /// A number of each, and the adapters' deadline for a commit. Tenant `default` with [`SECRET`].
    #[must_use]
    pub fn new(services: usize, adapters: usize, deadline: &'static str) -> Self {
        let tenants = BTreeMap::from([(TENANT.to_owned(), SECRET.to_owned())]);
        Self { services, adapters, deadline, tenants, service: Vec::new(), clock: true }
    }

    /// Adds tenants, all with [`SECRET`].
    #[must_use]
    pub fn tenants(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.tenants.extend(names.into_iter().map(|name| (name, SECRET.to_owned())));
        self
    }

    /// Adds a flag for every service.
    #[must_use]
    pub fn service(mut self, flag: &'static str, value: impl Into<String>) -> Self {
        self.service.push((flag, value.into()));
        self
    }

    /// Keeps the clock from completing bookings: what they are does not depend on when the test runs.
    #[must_use]
    pub fn without_clock(mut self) -> Self {
        self.clock = false;
        self
    }

    fn service_start(&self, number: usize, folder: &Path, database: String) -> Start {
        let start = Start::new("calbridge-service")
            .flag("--grpc", format!("127.0.0.1:{}", port::free()))
            .flag("--admin", "127.0.0.1:0")
            .flag("--data-dir", folder.join(format!("data{number}")))
            .flag("--database-url", database)
            .flag("--config", folder.join(CONFIG));
        self.service.iter().fold(start, |start, (flag, value)| start.flag(flag, value))
    }

    fn adapter_start(&self, services: &[Program], folder: &Path) -> Start {
        let addresses = services.iter().map(|service| format!("http://{}", service.listening().grpc()));
        Start::new("calbridge-adapter")
            .flag("--http", "127.0.0.1:0")
            .flag("--admin", "127.0.0.1:0")
            .flag("--service", addresses.collect::<Vec<_>>().join(","))
            .flag("--forward-deadline", self.deadline)
            .flag("--spool-dir", "none")
            // Longer than any deadline of a test.
            .flag("--shutdown-grace", "30s")
            .flag("--config", folder.join(CONFIG))
    }
}

/// One file for all programs.
const CONFIG: &str = "calbridge.toml";

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
        deadline: &'static str,
        database: impl Fn(usize, &Path) -> String,
    ) -> Self {
        Self::of(Plan::new(services, adapters, deadline), database).await
    }

    /// The same by a plan. The services start at the same moment.
    pub async fn of(plan: Plan, database: impl Fn(usize, &Path) -> String) -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join(CONFIG), config_of(&plan.tenants, plan.clock)).unwrap();
        let starts: Vec<Start> = (0..plan.services)
            .map(|number| plan.service_start(number, folder.path(), database(number, folder.path())))
            .collect();
        let services: Vec<Program> = thread::scope(|scope| {
            let serving: Vec<_> = starts.iter().map(|start| scope.spawn(|| start.serve())).collect();
            serving.into_iter().map(|serving| serving.join().unwrap()).collect()
        });
        let adapter = plan.adapter_start(&services, folder.path());
        let adapters = (0..plan.adapters).map(|_| adapter.serve()).collect();
        let fleet = Self { services, adapters, starts, _folder: folder };
        fleet.ready().await;
        for service in 0..fleet.services.len() {
            fleet.linked(service, true).await;
        }
        fleet
    }

    /// Waits until every adapter can make a webhook durable.
    pub async fn ready(&self) {
        for adapter in &self.adapters {
            ready(adapter).await;
        }
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
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicUsize,
    refused: AtomicUsize,
    end: AtomicBool,
}

/// One webhook and how it was answered.
#[derive(Debug)]
pub struct Sent {
    /// What was sent.
    pub body: Vec<u8>,
    /// The answer's status.
    pub status: u16,
    /// `outcome` of a 200; empty where there is none.
    pub outcome: String,
    /// `Retry-After`, where the answer says it.
    pub retry_after: Option<u64>,
    /// How long the answer took.
    pub took: Duration,
}

impl Load {
    /// So many senders; `body` makes a body that no other call makes, of two numbers.
    pub fn start(fleet: &Fleet, senders: usize, body: fn(usize, usize) -> Vec<u8>) -> Self {
        let edges: Vec<_> = fleet.adapters.iter().map(|adapter| adapter.listening().http()).collect();
        let mut load = Self { senders: JoinSet::new(), counts: Arc::default() };
        for number in 0..senders {
            let edges: Vec<Sender> = edges.iter().map(|edge| Sender::new(*edge)).collect();
            let counts = Arc::clone(&load.counts);
            load.senders.spawn(async move {
                let mut all = Vec::new();
                while !counts.end.load(Ordering::Relaxed) {
                    let edge = &edges[(number + all.len()) % edges.len()];
                    let sent = send(edge, body(number, all.len())).await;
                    let accepted = sent.status == 200;
                    all.push(sent);
                    if accepted {
                        counts.accepted.fetch_add(1, Ordering::Relaxed);
                    } else {
                        counts.refused.fetch_add(1, Ordering::Relaxed);
                        sleep(REFUSED_PAUSE).await;
                    }
                }
                all
            });
        }
        load
    }

    /// Waits until so many more are answered 200.
    pub async fn flows(&self, more: usize) {
        grows("webhooks are answered", &self.counts.accepted, more).await;
    }

    /// Waits until so many more are answered otherwise.
    pub async fn is_refused(&self, more: usize) {
        grows("webhooks are refused", &self.counts.refused, more).await;
    }

    /// Ends it; everything that was sent.
    pub async fn end(self) -> Vec<Sent> {
        self.counts.end.store(true, Ordering::Relaxed);
        wait::within("the last answers", self.senders.join_all()).await.into_iter().flatten().collect()
    }
}

/// Sends a body of the tenant `default` and says how it was answered.
pub async fn send(edge: &Sender, body: Vec<u8>) -> Sent {
    let began = Instant::now();
    let answer = edge.send(TENANT, SECRET, body.clone()).await;
    let took = began.elapsed();
    let retry_after = answer.headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    Sent { body, status: answer.status.as_u16(), outcome: answer.outcome(), retry_after, took }
}

async fn grows(what: &str, count: &AtomicUsize, more: usize) {
    let enough = count.load(Ordering::Relaxed) + more;
    wait::until(what, || std::future::ready((count.load(Ordering::Relaxed) >= enough).then_some(()))).await;
}
