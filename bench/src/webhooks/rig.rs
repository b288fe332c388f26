//! What is measured, as processes: a plain handler, or adapter and service, with Redis and a store.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use calbridge_e2e::{metrics::Page, program::Program, redis_server::RedisServer};
use calbridge_process::Database;

use super::target::Target;

/// Where the events are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Store {
    /// The embedded one.
    Sqlite,
    /// A server's.
    Postgres,
}

impl Store {
    /// As the report names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

/// How many traces are exported. Metrics and logs are exported in each case, as they are whenever there is a collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traces {
    /// None.
    Off,
    /// One in ten.
    Tenth,
    /// Every one.
    All,
}

impl Traces {
    /// As the report names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "traces off",
            Self::Tenth => "traces 10 %",
            Self::All => "traces 100 %",
        }
    }

    pub(super) fn environment(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::Off => vec![("OTEL_TRACES_EXPORTER", "none"), ("OTEL_TRACES_SAMPLER", "always_off")],
            Self::Tenth => {
                vec![("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.1")]
            }
            Self::All => vec![("OTEL_TRACES_SAMPLER", "parentbased_always_on")],
        }
    }
}

/// What the adapter does with its spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spool {
    /// It has none.
    Off,
    /// It takes what is not committed in time: what is shipped.
    Behind,
    /// Every webhook is answered when it is there.
    First,
}

impl Spool {
    /// As the report names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "no spool",
            Self::Behind => "a spool behind the commit",
            Self::First => "--ack spooled",
        }
    }

    /// In one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Behind => "behind",
            Self::First => "first",
        }
    }

    pub(super) fn flags(self, folder: &Path) -> Vec<(&'static str, PathBuf)> {
        let directory = ("--spool-dir", folder.join("spool"));
        match self {
            Self::Off => vec![("--spool-dir", "none".into())],
            Self::Behind => vec![directory],
            Self::First => vec![directory, ("--ack", "spooled".into())],
        }
    }
}

/// A plain handler at work.
#[derive(Debug)]
pub struct Plain {
    keeper: Program,
    _edge: Program,
    /// Its webhooks.
    pub target: Arc<Target>,
    _redis: RedisServer,
}

impl Plain {
    pub(super) fn new(edge: Program, keeper: Program, target: Target, redis: RedisServer) -> Self {
        Self { keeper, _edge: edge, target: Arc::new(target), _redis: redis }
    }

    /// What the keeper said besides its work.
    #[must_use]
    pub fn said(&self) -> String {
        self.keeper.stderr()
    }
}

/// Adapter and service at work.
#[derive(Debug)]
pub struct Rig {
    adapter: Program,
    service: Program,
    /// The adapter's webhooks.
    pub target: Arc<Target>,
    database: Database,
    _redis: RedisServer,
}

impl Rig {
    pub(super) fn new(
        (adapter, service): (Program, Program),
        target: Target,
        database: Database,
        redis: RedisServer,
    ) -> Self {
        Self { adapter, service, target: Arc::new(target), database, _redis: redis }
    }

    /// What the service said besides its work.
    #[must_use]
    pub fn said(&self) -> String {
        format!("{}{}", self.adapter.stderr(), self.service.stderr())
    }

    /// How many webhooks wait in the adapter's spool.
    pub async fn spooled(&self) -> f64 {
        Page::read(self.adapter.listening().admin()).await.sum("calbridge_spool_depth", &[])
    }

    /// Stops both, the way that lets everything be finished, and answers what they leave behind.
    pub async fn stop(mut self) -> Database {
        self.adapter.stop().await;
        self.service.stop().await;
        self.database
    }

    /// Where the service is asked.
    #[must_use]
    pub fn grpc(&self) -> SocketAddr {
        self.service.listening().grpc()
    }
}
