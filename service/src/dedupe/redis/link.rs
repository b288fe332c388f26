//! One connection to one Redis, or to a cluster of them, behind the two things that are asked of it.
//!
//! One server is asked in one MGET: half of the time of as many EXISTS, and two thirds of our work. A cluster takes no
//! command whose keys lie in several slots, so each of its nodes gets a pipeline of its own, all side by side: a sixth
//! of the work of a command for each key.

use std::{
    sync::{Arc, Once},
    time::Duration,
};

use calbridge_process::RedisSettings;
use calbridge_telemetry::semconv;
use futures_util::future::join_all;
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline, TlsCertificates, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster::{ClusterClient, ClusterClientBuilder},
    cluster_async::ClusterConnection,
    cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr},
    io::tcp::TcpSettings,
};
use secrecy::ExposeSecret;

use super::{
    RedisError,
    failure::Failure,
    name,
    shards::{Group, Shards},
    tls,
};
use crate::settings::{REDIS_CONNECT_TIMEOUT, REDIS_TIMEOUT, REDIS_TRIAL_INTERVAL};

/// A slot that moved answers with its new place: that is one more try, not a failure.
const CLUSTER_RETRIES: u32 = 1;

/// Knows where Redis is.
pub(super) enum Client {
    One(Box<redis::Client>),
    Cluster(Box<ClusterClient>, Place),
}

/// A connection that answered. Clones share it.
#[derive(Clone)]
pub(super) enum Link {
    One(MultiplexedConnection),
    Cluster(ClusterConnection, Arc<Shards>),
}

/// Where Redis is, as a span may say it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) database: String,
}

impl Client {
    /// Reads the addresses and the certificates; connects to nothing.
    pub(super) fn open(settings: &RedisSettings) -> Result<Self, RedisError> {
        let certificates = settings.tls.as_ref().map(tls::certificates).transpose()?;
        let mut nodes = Vec::with_capacity(settings.urls.len());
        for (index, url) in settings.urls.iter().enumerate() {
            let url = url.expose_secret();
            let node = url.into_connection_info().map_err(|_| RedisError::Url(index + 1))?;
            // A round is one small write and its answer: waiting to fill a packet would only delay both.
            let node = node.set_tcp_settings(TcpSettings::default().set_nodelay(true));
            if matches!(node.addr(), ConnectionAddr::TcpTls { .. }) {
                choose_tls_provider();
            }
            nodes.push(node);
        }
        let first = nodes.first().ok_or(RedisError::Url(1))?.clone();
        match nodes.len() {
            1 => one(first, certificates),
            // The client would take the credentials of the first node for all.
            _ if nodes.iter().any(|node| !alike(node, &first)) => Err(RedisError::Unlike),
            _ => cluster(nodes, Place::of(&first), certificates),
        }
    }

    pub(super) fn place(&self) -> Place {
        match self {
            Self::One(client) => Place::of(client.get_connection_info()),
            Self::Cluster(_, place) => place.clone(),
        }
    }

    /// How a round is asked for, as spans and metrics say it.
    pub(super) fn asking(&self) -> &'static str {
        match self {
            Self::One(_) => semconv::span::REDIS_MGET,
            Self::Cluster(..) => semconv::span::REDIS_PIPELINE_EXISTS,
        }
    }

    /// A connection on which each command that events need was answered once, by each node of a cluster. A Redis that
    /// may not be asked, or is a replica that only reads, counts as away: the address may lead to its master next time.
    pub(super) async fn connect(&self) -> Result<Link, Failure> {
        let (mut link, keys) = match self {
            Self::One(client) => {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(REDIS_CONNECT_TIMEOUT))
                    .set_response_timeout(Some(REDIS_TIMEOUT));
                let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
                (Link::One(connection), name::trials().take(1).collect())
            }
            Self::Cluster(client, _) => {
                let mut connection = client.get_async_connection().await?;
                let shards = Arc::new(Shards::read(&slots(&mut connection).await?)?);
                let keys = shards.trial_keys();
                (Link::Cluster(connection, shards), keys)
            }
        };
        match link.set(&keys, REDIS_TRIAL_INTERVAL).await {
            // One that is full can still be asked.
            Ok(()) | Err(Failure::Full(_)) => {}
            Err(failure) => return Err(failure),
        }
        link.exist(&keys).await?;
        Ok(link)
    }
}

impl Link {
    /// Which keys are there, in order. A key whose slot is just moving counts as not there.
    pub(super) async fn exist(&mut self, keys: &[String]) -> Result<Vec<bool>, Failure> {
        match self {
            Self::One(connection) => {
                let answers = match connection.req_packed_command(redis::cmd("MGET").arg(keys)).await? {
                    Value::Array(answers) => answers,
                    Value::ServerError(error) => return Err(Failure::of_code(error.code())),
                    _ => return Err(Failure::Nonsense),
                };
                // One of another type is no value, and no hint.
                sane(&answers, keys.len())?;
                Ok(answers.iter().map(|answer| *answer != Value::Nil).collect())
            }
            Self::Cluster(connection, shards) => {
                let command = |key: &String| redis::cmd("EXISTS").arg(key).clone();
                let mut exist = vec![false; keys.len()];
                for (group, answers) in by_node(connection, shards, keys, command).await? {
                    sane(&answers, group.len())?;
                    for (place, answer) in group.into_iter().zip(answers) {
                        exist[place] = answer == Value::Int(1);
                    }
                }
                Ok(exist)
            }
        }
    }

    /// Writes the keys, over whatever was there.
    pub(super) async fn set(&mut self, keys: &[String], ttl: Duration) -> Result<(), Failure> {
        // Zero would be refused; below a second nothing is configured.
        let seconds = ttl.as_secs().max(1);
        let command = |key: &String| redis::cmd("SET").arg(key).arg("1").arg("EX").arg(seconds).clone();
        match self {
            Self::One(connection) => {
                let answers =
                    connection.req_packed_commands(&pipeline(keys.iter().map(command)), 0, keys.len()).await?;
                sane(&answers, keys.len())
            }
            Self::Cluster(connection, shards) => {
                if shards.take_stale() {
                    // Here nobody waits.
                    let renewed = slots(connection).await.and_then(|answer| shards.renew(&answer));
                    renewed.inspect_err(|_| shards.spoil())?;
                }
                let mut room = Ok(());
                for (group, answers) in by_node(connection, shards, keys, command).await? {
                    match sane(&answers, group.len()) {
                        Err(full @ Failure::Full(_)) => room = Err(full),
                        other => other?,
                    }
                }
                room
            }
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::One(_) => "One",
            Self::Cluster(..) => "Cluster",
        })
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

fn one(node: ConnectionInfo, certificates: Option<TlsCertificates>) -> Result<Client, RedisError> {
    let client = match certificates {
        None => redis::Client::open(node),
        Some(certificates) => redis::Client::build_with_tls(node, certificates),
    };
    client.map(|client| Client::One(Box::new(client))).map_err(|_| RedisError::Url(1))
}

fn cluster(
    nodes: Vec<ConnectionInfo>,
    place: Place,
    certificates: Option<TlsCertificates>,
) -> Result<Client, RedisError> {
    let builder = ClusterClientBuilder::new(nodes)
        .connection_timeout(REDIS_CONNECT_TIMEOUT)
        .response_timeout(REDIS_TIMEOUT)
        .tcp_settings(TcpSettings::default().set_nodelay(true))
        .retries(CLUSTER_RETRIES);
    let builder = match certificates {
        None => builder,
        Some(certificates) => builder.certs(certificates),
    };
    let client = builder.build().map_err(|_| RedisError::Unlike)?;
    Ok(Client::Cluster(Box::new(client), place))
}

/// Whether both may be nodes of one cluster.
fn alike(one: &ConnectionInfo, other: &ConnectionInfo) -> bool {
    let tls = |node: &ConnectionInfo| matches!(node.addr(), ConnectionAddr::TcpTls { .. });
    let (redis, of_other) = (one.redis_settings(), other.redis_settings());
    tls(one) == tls(other)
        && (redis.username(), redis.password(), redis.db()) == (of_other.username(), of_other.password(), of_other.db())
}

/// Which slots lie together.
async fn slots(connection: &mut ClusterConnection) -> Result<Value, Failure> {
    let anywhere = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
    Ok(connection.route_command(redis::cmd("CLUSTER").arg("SLOTS").clone(), anywhere).await?)
}

/// Sends each node its commands, all nodes side by side. Groups whose slots are moving have no answers.
async fn by_node(
    connection: &ClusterConnection,
    shards: &Shards,
    keys: &[String],
    command: impl Fn(&String) -> Cmd,
) -> Result<Vec<(Group, Vec<Value>)>, Failure> {
    let sent = shards.groups(keys).into_iter().map(|group| {
        let commands = pipeline(group.iter().map(|place| command(&keys[*place])));
        let node = SingleNodeRoutingInfo::SpecificNode(Route::with_key(&keys[group[0]], SlotAddr::Master));
        let mut connection = connection.clone();
        async move {
            let answers = connection.route_pipeline(commands, 0, group.len(), node).await;
            (group, answers.map_err(Failure::from))
        }
    });
    let mut answered = Vec::new();
    for (group, answers) in join_all(sent).await {
        match answers {
            Ok(answers) => answered.push((group, answers)),
            Err(Failure::Moved) => shards.spoil(),
            Err(failure) => return Err(failure),
        }
    }
    Ok(answered)
}

fn pipeline(commands: impl ExactSizeIterator<Item = Cmd>) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(commands.len());
    for command in commands {
        pipeline.add_command(command);
    }
    pipeline
}

/// As many answers as commands, and none of them an error. That there is no room for a key is the least of errors.
fn sane(answers: &[Value], commands: usize) -> Result<(), Failure> {
    if answers.len() != commands {
        return Err(Failure::Nonsense);
    }
    let mut full = Ok(());
    for answer in answers {
        if let Value::ServerError(error) = answer {
            match Failure::of_code(error.code()) {
                room @ Failure::Full(_) => full = Err(room),
                failure => return Err(failure),
            }
        }
    }
    full
}

/// rustls asks which cryptography to use; the answer is the same for the whole process.
fn choose_tls_provider() {
    static CHOSEN: Once = Once::new();
    CHOSEN.call_once(|| {
        // Refused where another part of the process has chosen before: then that choice holds.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
