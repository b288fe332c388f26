//! Adapter and service as two processes, with what they keep and whom they know.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{
    api::Api,
    collector,
    disk::Disk,
    metrics::Page,
    program::{Program, Start},
    wait,
    webhook::Sender,
};

/// A secret like those that Cal.com's users make.
pub const SECRET: &str = "whsec_of_the_tests_1f0e5c9d";
/// The tenant that every system knows.
pub const TENANT: &str = "default";

/// How a system is built.
#[derive(Debug, Default)]
pub struct Plan {
    tenants: BTreeMap<String, String>,
    environment: Vec<(String, String)>,
    adapter: Vec<(String, String)>,
    service: Vec<(String, String)>,
    first_life: Vec<(String, String)>,
    fixed_port: bool,
    clock: bool,
    spool: bool,
    data_disk: Option<Place>,
    spool_disk: Option<Place>,
}

/// A directory on a disk of its own, and what a program needs to feel that disk.
#[derive(Debug)]
struct Place {
    directory: PathBuf,
    environment: [(String, String); 4],
}

impl Plan {
    /// Tenant `default` with [`SECRET`].
    #[must_use]
    pub fn new() -> Self {
        Self::default().tenant(TENANT, SECRET)
    }

    /// Adds a tenant.
    #[must_use]
    pub fn tenant(mut self, name: &str, secret: &str) -> Self {
        self.tenants.insert(name.to_owned(), secret.to_owned());
        self
    }

    /// Sets variables for both programs.
    #[must_use]
    pub fn env(mut self, variables: impl IntoIterator<Item = (&'static str, impl Into<String>)>) -> Self {
        self.environment.extend(variables.into_iter().map(|(name, value)| (name.to_owned(), value.into())));
        self
    }

    /// Sets a variable for the first life of both programs, and for none that they are started anew for.
    #[must_use]
    pub fn first_life(mut self, name: &str, value: impl Into<String>) -> Self {
        self.first_life.push((name.to_owned(), value.into()));
        self
    }

    /// Sends all telemetry to a collector, promptly.
    #[must_use]
    pub fn export(self, to: [(&'static str, String); 2]) -> Self {
        self.env(to).env(collector::prompt())
    }

    /// Adds a flag for the adapter.
    #[must_use]
    pub fn adapter(mut self, flag: &str, value: impl Into<String>) -> Self {
        self.adapter.push((flag.to_owned(), value.into()));
        self
    }

    /// Adds a flag for the service.
    #[must_use]
    pub fn service(mut self, flag: &str, value: impl Into<String>) -> Self {
        self.service.push((flag.to_owned(), value.into()));
        self
    }

    /// Lets the clock complete bookings. Without it what a booking is does not depend on when the test runs: the times
    /// of golden and recorded webhooks are fixed.
    #[must_use]
    pub fn with_clock(mut self) -> Self {
        self.clock = true;
        self
    }

    /// The service listens on a port that it can come back to.
    #[must_use]
    pub fn returning(mut self) -> Self {
        self.fixed_port = true;
        self
    }

    /// Lets the adapter keep in a spool what the service does not commit in time. Without it that is a 503.
    #[must_use]
    pub fn with_spool(mut self) -> Self {
        self.spool = true;
        self
    }

    /// Puts the service's data on a disk that fails as it is told to.
    #[must_use]
    pub fn data_on(mut self, disk: &Disk) -> Self {
        self.data_disk = Some(Place { directory: disk.root().join("data"), environment: disk.environment() });
        self
    }

    /// Lets the adapter have a spool on a disk that fails as it is told to.
    #[must_use]
    pub fn spool_on(mut self, disk: &Disk) -> Self {
        self.spool_disk = Some(Place { directory: disk.root().join("spool"), environment: disk.environment() });
        self.with_spool()
    }

    /// Starts both and waits until a webhook can be made durable.
    pub async fn start(self) -> System {
        let folder = TempDir::new().unwrap();
        let port = if self.fixed_port { crate::port::free() } else { 0 };
        fs::write(config(&folder), config_of(&self.tenants, self.clock)).unwrap();
        let service = self.service_start(&folder, port);
        let first = |start: &Start| {
            let variables = self.first_life.iter();
            variables.fold(start.clone(), |start, (name, value)| start.env(name, value)).serve()
        };
        let service_program = first(&service);
        let adapter = self.adapter_start(&folder, &service_program);
        let (data, spool) = (self.data(&folder), self.spool(&folder));
        let adapter_program = first(&adapter);
        let plans = (adapter, service);
        let system = System { adapter: adapter_program, service: service_program, plans, data, spool, folder };
        system.ready().await;
        system
    }

    fn service_start(&self, folder: &TempDir, port: u16) -> Start {
        let start = Start::new("calbridge-service")
            .flag("--grpc", format!("127.0.0.1:{port}"))
            .flag("--admin", "127.0.0.1:0")
            .flag("--data-dir", self.data(folder))
            .flag("--config", config(folder));
        let start = on(start, self.data_disk.as_ref());
        let start = self.service.iter().fold(start, |start, (flag, value)| start.flag(flag, value));
        self.environment.iter().fold(start, |start, (name, value)| start.env(name, value))
    }

    fn adapter_start(&self, folder: &TempDir, service: &Program) -> Start {
        let start = Start::new("calbridge-adapter")
            .flag("--http", "127.0.0.1:0")
            .flag("--admin", "127.0.0.1:0")
            .flag("--service", format!("http://{}", service.listening().grpc()))
            .flag("--spool-dir", if self.spool { self.spool(folder) } else { "none".into() })
            .flag("--config", config(folder));
        let start = on(start, self.spool_disk.as_ref());
        let start = if self.spool { start } else { self.patient(start) };
        let start = self.adapter.iter().fold(start, |start, (flag, value)| start.flag(flag, value));
        self.environment.iter().fold(start, |start, (name, value)| start.env(name, value))
    }

    /// Without a spool a commit that comes late is a 503: where no test asks for one, none comes from a machine that
    /// has much to do.
    fn patient(&self, start: Start) -> Start {
        let is_said = |flag: &str| self.adapter.iter().any(|(said, _)| said == flag);
        if is_said("--forward-deadline") || is_said("--shutdown-grace") {
            return start;
        }
        start.flag("--forward-deadline", "20s").flag("--shutdown-grace", "60s")
    }

    fn data(&self, folder: &TempDir) -> PathBuf {
        self.data_disk.as_ref().map_or_else(|| folder.path().join("data"), |place| place.directory.clone())
    }

    fn spool(&self, folder: &TempDir) -> PathBuf {
        self.spool_disk.as_ref().map_or_else(|| folder.path().join("spool"), |place| place.directory.clone())
    }
}

fn on(start: Start, place: Option<&Place>) -> Start {
    let environment = place.iter().flat_map(|place| &place.environment);
    environment.fold(start, |start, (name, value)| start.env(name, value))
}

fn config(folder: &TempDir) -> PathBuf {
    folder.path().join("calbridge.toml")
}

/// The tenants' part of a config file.
#[must_use]
pub fn tenants(tenants: &BTreeMap<String, String>) -> String {
    config_of(tenants, true)
}

/// The tenants' part of a config file; without the clock it completes no booking.
#[must_use]
pub fn config_of(tenants: &BTreeMap<String, String>, clock: bool) -> String {
    tenants.iter().fold(String::new(), |mut text, (name, secret)| {
        let secrets = toml::Value::Array(vec![toml::Value::String(secret.clone())]);
        writeln!(text, "[tenants.{name}]\nsecrets = {secrets}").unwrap();
        if !clock {
            writeln!(text, "complete_by_clock = false").unwrap();
        }
        text
    })
}

/// `calbridge up` on free ports, with its data in this folder. It has no secret yet. A commit may take as long as it
/// does where the machine has much to do, so that every webhook is answered with what became of it.
#[must_use]
pub fn up(data: &Path) -> Start {
    Start::new("calbridge")
        .arg("up")
        .flag("--http", "127.0.0.1:0")
        .flag("--grpc", "127.0.0.1:0")
        .flag("--admin", "127.0.0.1:0")
        .flag("--data-dir", data)
        .flag("--forward-deadline", "2s")
}

/// Two programs that work together.
#[derive(Debug)]
pub struct System {
    /// The HTTP edge.
    pub adapter: Program,
    /// The gRPC service.
    pub service: Program,
    plans: (Start, Start),
    data: PathBuf,
    spool: PathBuf,
    folder: TempDir,
}

impl System {
    /// Where the service keeps its data.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// The config file of both.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        config(&self.folder)
    }

    /// Where the adapter's spool is.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        self.spool.clone()
    }

    /// Gives a tenant another secret, for whoever reads the config file from now on.
    pub fn change_secret(&self, tenant: &str, secret: &str) {
        let path = self.config();
        let mut file: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
        file["tenants"][tenant]["secrets"] = toml::Value::Array(vec![toml::Value::String(secret.to_owned())]);
        fs::write(path, file.to_string()).unwrap();
    }

    /// Takes the database's only place for a writer: until this is dropped the service can commit nothing.
    #[must_use]
    pub fn block_the_store(&self) -> StoreBlock {
        let database = rusqlite::Connection::open(self.data().join("calbridge.db")).unwrap();
        database.busy_timeout(wait::PATIENCE).unwrap();
        database.execute_batch("BEGIN IMMEDIATE").unwrap();
        StoreBlock { database }
    }

    /// How the adapter was started.
    #[must_use]
    pub fn adapter_plan(&self) -> &Start {
        &self.plans.0
    }

    /// How the service was started.
    #[must_use]
    pub fn service_plan(&self) -> &Start {
        &self.plans.1
    }

    /// A sender to the edge.
    #[must_use]
    pub fn sender(&self) -> Sender {
        Sender::new(self.adapter.listening().http())
    }

    /// A client of the service.
    #[must_use]
    pub fn api(&self) -> Api {
        Api::new(self.service.listening().grpc())
    }

    /// The adapter's metrics.
    pub async fn adapter_metrics(&self) -> Page {
        Page::read(self.adapter.listening().admin()).await
    }

    /// The service's metrics.
    pub async fn service_metrics(&self) -> Page {
        Page::read(self.service.listening().admin()).await
    }

    /// Waits until the adapter says that it can make a webhook durable.
    pub async fn ready(&self) {
        ready(&self.adapter).await;
    }

    /// Starts a service anew after its end, as it was started first.
    pub fn restart_service(&mut self) {
        self.service = self.plans.1.serve();
    }

    /// Starts an adapter anew after its end. It listens elsewhere.
    pub fn restart_adapter(&mut self) {
        self.adapter = self.plans.0.serve();
    }

    /// Stops both in the order that lets everything be finished.
    pub async fn stop(&mut self) {
        self.adapter.stop().await;
        self.service.stop().await;
    }
}

/// An open transaction in the service's database.
#[derive(Debug)]
pub struct StoreBlock {
    database: rusqlite::Connection,
}

impl Drop for StoreBlock {
    fn drop(&mut self) {
        // Closing the connection rolls back as well.
        let _ = self.database.execute_batch("ROLLBACK");
    }
}

/// Waits until a program's `/readyz` says 200.
pub async fn ready(program: &Program) {
    readiness_of(program, 200).await;
}

/// Waits until a program's `/readyz` has this status.
pub async fn readiness_of(program: &Program, status: u16) {
    let admin = Sender::new(program.listening().admin());
    let what = format!("/readyz says {status}");
    wait::until(&what, || async { (admin.get("/readyz").await.status == status).then_some(()) }).await;
}
