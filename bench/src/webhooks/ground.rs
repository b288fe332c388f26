//! What a round of the comparison stands on, or a whole run of another kind: a folder on the disk that is measured, a
//! sink of telemetry, and a database server where one is asked for. All of it is gone with its owner.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, anyhow};
use calbridge_e2e::{
    postgres::{self, Durability, Postgres},
    program::{Program, Start},
    redis_server::RedisServer,
    system::{SECRET, TENANT, ready, tenants},
};
use calbridge_process::Database;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::{
    body::{Bodies, Traffic, passed},
    limits::Limit,
    meter::Watched,
    rig::{Plain, Rig, Spool, Store, Traces},
    seed,
    target::Target,
};

/// The programs that are measured.
const PROGRAMS: [&str; 2] = ["calbridge-adapter", "calbridge-service"];

/// The service's own default: those that it reads with.
const CONNECTIONS: usize = 8;

/// As the service names its file.
const DATABASE: &str = "calbridge.db";

/// `PostgreSQL`'s own default is made for the smallest machine there is; a quarter of a small server's memory is what
/// its manual begins with. Its log is as our README asks for, for plain handlers too. All else is as it ships: fsync
/// on, `synchronous_commit` on, autovacuum once a minute where tests, which last seconds, have it more often.
const SETTINGS: [&str; 5] =
    ["shared_buffers=512MB", "autovacuum_naptime=1min", "min_wal_size=1GB", "max_wal_size=8GB", "wal_compression=lz4"];

/// Brings a server to where one is that has been at work for a while: a gigabyte of log files that a checkpoint keeps
/// for later, and a cache whose pages the machine has given it. A new one stops all commits for some milliseconds with
/// each file that it makes, and where a host gives memory only when it is touched, it works up to half more for a
/// webhook.
const AT_WORK: [&str; 6] = [
    "SELECT pg_logical_emit_message(false, '', ''), pg_switch_wal() FROM generate_series(1, 64)",
    "CREATE UNLOGGED TABLE pages (filler text)",
    "ALTER TABLE pages ALTER filler SET STORAGE PLAIN",
    "INSERT INTO pages SELECT repeat('-', 5000) FROM generate_series(1, 65536)",
    "DROP TABLE pages",
    "CHECKPOINT",
];

/// Fails with what to do where the measured programs are not built.
///
/// # Errors
///
/// A program is not there.
pub fn check_built(folder: &Path) -> anyhow::Result<()> {
    for program in PROGRAMS {
        let path = folder.join(program);
        anyhow::ensure!(
            path.is_file(),
            "{} is not built: run `deploy/build` (target/trained) or `cargo build --release --workspace` \
             (target/release) first, and name the folder with --programs",
            path.display()
        );
    }
    Ok(())
}

/// Where a run takes place, and with what.
#[derive(Debug, Clone)]
pub struct Site {
    /// A folder that is there: all data is kept in it meanwhile.
    pub data: PathBuf,
    /// When the run began: the first webhook's time.
    pub origin: Timestamp,
    /// What is sent.
    pub traffic: Traffic,
    /// The folder of the programs that are measured.
    pub programs: PathBuf,
}

impl Site {
    /// A program that is measured.
    fn program(&self, name: &'static str) -> Start {
        Start::foreign(name, self.programs.join(name))
    }

    /// Bodies from the first on, of which so many were created before the run.
    #[must_use]
    pub fn bodies(&self, before: u64) -> Bodies {
        Bodies::new(self.origin - passed(before), self.traffic)
    }
}

/// What is shared by all that is measured on it.
#[derive(Debug)]
pub struct Ground {
    site: Site,
    /// On the disk that is measured; gone with this.
    folder: TempDir,
    sink: Program,
    /// Or why there is none.
    postgres: Result<Postgres, String>,
}

impl Ground {
    /// Starts what is shared, a fresh `PostgreSQL` server too where one is asked for.
    ///
    /// # Errors
    ///
    /// Something is missing on this machine. `PostgreSQL` alone may be.
    pub async fn prepare(site: &Site, postgres: bool) -> anyhow::Result<Self> {
        check_built(&site.programs)?;
        let data = &site.data;
        let folder = TempDir::with_prefix_in("run-", data).with_context(|| format!("in {}", data.display()))?;
        let sink = Start::new("webhooks").arg("sink").try_serve().await.map_err(|why| anyhow!("the sink: {why}"))?;
        let postgres = if postgres { start_postgres(&folder) } else { Err("it was not asked for".to_owned()) };
        Ok(Self { site: site.clone(), folder, sink, postgres })
    }

    /// What is sent.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.site.traffic
    }

    /// Starts a limit.
    ///
    /// # Errors
    ///
    /// It does not start.
    pub async fn limit(&self, limit: Limit) -> anyhow::Result<(Program, Arc<Target>)> {
        let mut start = Start::new("webhooks").arg("limit").arg(limit.word());
        if limit == Limit::Log {
            start = start.arg("--file").arg(self.folder.path().join("log"));
        }
        let started = start.try_serve().await;
        let program = started.map_err(|why| anyhow!("{}: {why}", limit.name()))?;
        let watched = vec![Watched::alone("server", program.id()), Watched::generator()];
        let target = Target::new(program.listening().http(), self.site.bodies(0), watched);
        Ok((program, Arc::new(target)))
    }

    /// Starts a plain handler over a fresh store.
    ///
    /// # Errors
    ///
    /// A program does not start; it says why.
    pub async fn plain(&self, name: &str, store: Store) -> anyhow::Result<Plain> {
        let Plot { folder, database, .. } = self.plot(name, store)?;
        let redis = RedisServer::start();
        let keeper = Start::new("webhooks").arg("keeper").flag("--redis-url", redis.url());
        let keeper = match &database {
            Database::Sqlite(_) => keeper.flag("--file", folder.join("plain.db")),
            Database::Postgres { url, .. } => keeper.flag("--database-url", url.expose_secret()),
        };
        let keeper = keeper.try_serve().await.map_err(|why| anyhow!("a plain keeper: {why}"))?;
        let address = format!("http://{}", keeper.listening().grpc());
        let edge = Start::new("webhooks").arg("limit").arg(Limit::Plain.word()).flag("--keeper", address);
        let edge = edge.try_serve().await.map_err(|why| anyhow!("a plain edge: {why}"))?;
        let target = self.target(&edge, &keeper, &redis, store == Store::Postgres, 0);
        Ok(Plain::new(edge, keeper, target, redis))
    }

    /// Starts adapter and service over a fresh store.
    ///
    /// # Errors
    ///
    /// A program does not start; it says why.
    pub async fn rig(&self, name: &str, store: Store, traces: Traces) -> anyhow::Result<Rig> {
        self.rig_with(name, store, traces, Spool::Off).await
    }

    /// The same with a spool.
    ///
    /// # Errors
    ///
    /// A program does not start; it says why.
    pub async fn rig_with(&self, name: &str, store: Store, traces: Traces, spool: Spool) -> anyhow::Result<Rig> {
        self.rig_over(self.plot(name, store)?, traces, 0, spool).await
    }

    /// The same over a store that holds the first `webhooks` of the run.
    ///
    /// # Errors
    ///
    /// The store can't be filled, or a program does not start; it says why.
    pub async fn seeded(&self, name: &str, store: Store, traces: Traces, webhooks: u64) -> anyhow::Result<Rig> {
        let plot = self.plot(name, store)?;
        let bodies = self.site.bodies(webhooks);
        seed::fill(&plot.database, bodies, webhooks).await?;
        self.rig_over(plot, traces, webhooks, Spool::Off).await
    }

    /// Makes room for a store.
    fn plot(&self, name: &str, store: Store) -> anyhow::Result<Plot> {
        let folder = self.folder.path().join(name);
        fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        let data = folder.join("data");
        let database = match store {
            Store::Sqlite => Database::Sqlite(data.join(DATABASE)),
            Store::Postgres => {
                let server = self.postgres.as_ref().map_err(|why| anyhow!("{why}"))?;
                let database = name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
                let _ = server.query(&format!("CREATE DATABASE \"{database}\""));
                Database::Postgres { url: server.url_of(&database).into(), connections: CONNECTIONS }
            }
        };
        Ok(Plot { folder, data, database })
    }

    async fn rig_over(&self, plot: Plot, traces: Traces, stored: u64, spool: Spool) -> anyhow::Result<Rig> {
        let Plot { folder, data, database } = plot;
        let redis = RedisServer::start();
        let config = folder.join("calbridge.toml");
        let secrets = BTreeMap::from([(TENANT.to_owned(), SECRET.to_owned())]);
        fs::write(&config, tenants(&secrets)).with_context(|| format!("writing {}", config.display()))?;
        let service = self
            .telemetry(self.site.program("calbridge-service"), traces)
            .flag("--grpc", "127.0.0.1:0")
            .flag("--admin", "127.0.0.1:0")
            .flag("--data-dir", &data)
            .flag("--config", &config)
            .flag("--redis-url", redis.url());
        let service = match &database {
            Database::Sqlite(_) => service,
            Database::Postgres { url, .. } => service.flag("--database-url", url.expose_secret()),
        };
        let service = service.try_serve().await.map_err(anyhow::Error::msg)?;
        let adapter = self
            .telemetry(self.site.program("calbridge-adapter"), traces)
            .flag("--http", "127.0.0.1:0")
            .flag("--admin", "127.0.0.1:0")
            .flag("--config", &config)
            .flag("--service", format!("http://{}", service.listening().grpc()));
        let adapter =
            spool.flags(&folder).into_iter().fold(adapter, |adapter, (flag, value)| adapter.flag(flag, value));
        let adapter = adapter.try_serve().await.map_err(anyhow::Error::msg)?;
        ready(&adapter).await;
        let target = self.target(&adapter, &service, &redis, matches!(database, Database::Postgres { .. }), stored);
        Ok(Rig::new((adapter, service), target, database, redis))
    }

    fn target(&self, adapter: &Program, service: &Program, redis: &RedisServer, postgres: bool, stored: u64) -> Target {
        let mut watched = vec![
            Watched::alone("adapter", adapter.id()),
            Watched::alone("service", service.id()),
            Watched::alone("redis", redis.id()),
            Watched::alone("sink", self.sink.id()),
            Watched::generator(),
        ];
        if let (true, Ok(server)) = (postgres, &self.postgres) {
            watched.push(Watched { role: "postgres", id: server.pid(), family: true });
        }
        let target = Target::new(adapter.listening().http(), self.site.bodies(stored), watched);
        target.skip(stored);
        target
    }

    fn telemetry(&self, start: Start, traces: Traces) -> Start {
        let endpoint = format!("http://{}", self.sink.listening().grpc());
        let start = start.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        traces.environment().into_iter().fold(start, |start, (name, value)| start.env(name, value))
    }
}

/// The folder is made for one user; a server that runs as another must be let through.
fn start_postgres(folder: &TempDir) -> Result<Postgres, String> {
    use std::os::unix::fs::PermissionsExt as _;
    let through = fs::Permissions::from_mode(0o711);
    fs::set_permissions(folder.path(), through).map_err(|why| why.to_string())?;
    if !postgres::is_installed() {
        return Err("PostgreSQL is not installed".to_owned());
    }
    let cluster = TempDir::new_in(folder.path()).map_err(|why| why.to_string())?;
    let server = Postgres::start_in(cluster, Durability::Synced, &SETTINGS);
    for statement in AT_WORK {
        let _ = server.query(statement);
    }
    Ok(server)
}

/// Where a store lies, or will.
struct Plot {
    folder: PathBuf,
    data: PathBuf,
    database: Database,
}
