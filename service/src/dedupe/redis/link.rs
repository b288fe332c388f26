//! One connection to one Redis, or to a cluster of them, behind the two things that are asked of it.
//!
//! A cluster takes the commands side by side: it refuses a pipeline whose keys lie on several nodes.

use std::{sync::Once, time::Duration};

use calbridge_telemetry::semconv::{self, otel};
use futures_util::future::try_join_all;
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue, IntoConnectionInfo, Pipeline,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster::{ClusterClient, ClusterClientBuilder},
    cluster_async::ClusterConnection,
    io::tcp::TcpSettings,
};
use tracing::Span;

use super::RedisError;
use crate::settings::{REDIS_CONNECT_TIMEOUT, REDIS_TIMEOUT, REDIS_TRIAL_INTERVAL};

/// The key of the trial commands. It is written and asked for: a Redis that only reads, or may not be asked, counts as
/// away.
const TRIAL_KEY: &str = "calbridge:trial";
/// A slot that moved answers with its new place: that is one more try, not a failure.
const CLUSTER_RETRIES: u32 = 1;
/// Longest error code that is repeated in a span.
const CODE_BYTES: usize = 32;

/// Knows where Redis is.
pub(super) enum Client {
    One(Box<redis::Client>),
    Cluster(Box<ClusterClient>, Place),
}

/// A connection that answered. Clones share it.
#[derive(Clone)]
pub(super) enum Link {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// Where Redis is, as a span may say it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) database: String,
}

/// Why Redis did not do it.
#[derive(Debug)]
pub(super) enum Failure {
    /// No answer in time.
    Timeout,
    /// No connection, or it broke.
    Connection,
    /// It answered with an error.
    Refused(String),
    /// It answered with something else than was asked for.
    Nonsense,
}

impl Client {
    /// Reads the addresses; connects to nothing.
    pub(super) fn open(urls: &[&str]) -> Result<Self, RedisError> {
        let mut nodes = Vec::with_capacity(urls.len());
        for (index, url) in urls.iter().enumerate() {
            let node = url.into_connection_info().map_err(|_| RedisError::Url(index + 1))?;
            // A round is one small write and its answer: waiting to fill a packet would only delay both.
            let node = node.set_tcp_settings(TcpSettings::default().set_nodelay(true));
            if matches!(node.addr(), ConnectionAddr::TcpTls { .. }) {
                choose_tls_provider();
            }
            nodes.push(node);
        }
        let first = nodes.first().ok_or(RedisError::Url(1))?.clone();
        if nodes.len() == 1 {
            let client = redis::Client::open(first).map_err(|_| RedisError::Url(1))?;
            return Ok(Self::One(Box::new(client)));
        }
        let place = Place::of(&first);
        let client = ClusterClientBuilder::new(nodes)
            .connection_timeout(REDIS_CONNECT_TIMEOUT)
            .response_timeout(REDIS_TIMEOUT)
            .retries(CLUSTER_RETRIES)
            .build()
            .map_err(|_| RedisError::Url(1))?;
        Ok(Self::Cluster(Box::new(client), place))
    }

    pub(super) fn place(&self) -> Place {
        match self {
            Self::One(client) => Place::of(client.get_connection_info()),
            Self::Cluster(_, place) => place.clone(),
        }
    }

    /// A connection on which each command that events need was answered once.
    pub(super) async fn connect(&self) -> Result<Link, Failure> {
        let mut link = match self {
            Self::One(client) => {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(REDIS_CONNECT_TIMEOUT))
                    .set_response_timeout(Some(REDIS_TIMEOUT));
                Link::One(client.get_multiplexed_async_connection_with_config(&config).await?)
            }
            Self::Cluster(client, _) => Link::Cluster(client.get_async_connection().await?),
        };
        link.set(vec![TRIAL_KEY.to_owned()], REDIS_TRIAL_INTERVAL).await?;
        link.exist(vec![TRIAL_KEY.to_owned()]).await?;
        Ok(link)
    }
}

impl Link {
    /// Which keys are there, whatever their type, in order.
    pub(super) async fn exist(&mut self, keys: Vec<String>) -> Result<Vec<bool>, Failure> {
        let asked = keys.len();
        let answers: Vec<bool> = self.run(keys.iter().map(|key| redis::cmd("EXISTS").arg(key).clone())).await?;
        if answers.len() == asked { Ok(answers) } else { Err(Failure::Nonsense) }
    }

    /// Writes the keys, over whatever was there.
    pub(super) async fn set(&mut self, keys: Vec<String>, ttl: Duration) -> Result<(), Failure> {
        // Zero would be refused; below a second nothing is configured.
        let seconds = ttl.as_secs().max(1);
        let commands = keys.iter().map(|key| redis::cmd("SET").arg(key).arg("1").arg("EX").arg(seconds).clone());
        self.run::<String>(commands).await?;
        Ok(())
    }

    async fn run<T: FromRedisValue>(&mut self, commands: impl Iterator<Item = Cmd>) -> Result<Vec<T>, Failure> {
        match self {
            Self::One(connection) => {
                let mut pipeline = Pipeline::new();
                commands.for_each(|command| {
                    pipeline.add_command(command);
                });
                Ok(pipeline.query_async(connection).await?)
            }
            Self::Cluster(connection) => {
                let answers = commands.map(|command| {
                    let mut connection = connection.clone();
                    async move { command.query_async(&mut connection).await }
                });
                Ok(try_join_all(answers).await?)
            }
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, database) = match self {
            Self::One(connection) => ("One", connection.get_db()),
            Self::Cluster(_) => ("Cluster", 0),
        };
        formatter.debug_tuple(kind).field(&database).finish()
    }
}

impl Place {
    fn of(node: &ConnectionInfo) -> Self {
        let (host, port) = match node.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => (host.clone(), *port),
            other => (other.to_string(), 0),
        };
        Self { host, port, database: node.redis_settings().db().to_string() }
    }
}

impl Failure {
    /// Its `error.type`.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::Refused(_) => "refused",
            Self::Nonsense => "unexpected_answer",
        }
    }

    /// Marks the span of the operation as failed.
    pub(super) fn record(&self, span: &Span) {
        span.record(otel::STATUS_CODE, "ERROR");
        span.record(semconv::ERROR_TYPE, self.name());
        if let Self::Refused(code) = self {
            span.record(semconv::DB_RESPONSE_STATUS_CODE, code.as_str());
        }
    }
}

impl From<redis::RedisError> for Failure {
    fn from(error: redis::RedisError) -> Self {
        if error.is_timeout() {
            return Self::Timeout;
        }
        if error.is_io_error() {
            return Self::Connection;
        }
        match error.code() {
            // A code is one word; the text behind it may hold anything.
            Some(code) => Self::Refused(code.chars().take(CODE_BYTES).collect()),
            None => Self::Nonsense,
        }
    }
}

/// rustls asks which cryptography to use; the answer is the same for the whole process.
fn choose_tls_provider() {
    static CHOSEN: Once = Once::new();
    CHOSEN.call_once(|| {
        // Refused where another part of the process has chosen before: then that choice holds.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
