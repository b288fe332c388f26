//! Connecting to one of the hosts that a URL names: whichever takes writes. Each address is tried by itself, with a
//! time of its own: the client knows no bound for one that takes a connection and then says nothing.

use std::{
    future,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use deadpool_postgres::Connect;
use futures_util::{FutureExt, future::BoxFuture};
use rustls::ClientConfig;
use tokio::{net::lookup_host, sync::Notify, task::JoinHandle, time::timeout};
use tokio_postgres::{
    AsyncMessage, Client, Config, Connection, Error, NoTls, Socket,
    config::{Host, TargetSessionAttrs},
    tls::{MakeTlsConnect, NoTlsStream},
};
use tokio_postgres_rustls::MakeRustlsConnect;
use tracing::warn;

use super::DEFAULT_PORT;
use crate::store::{StoreError, postgres::error::with_causes};

/// For a connection to be made to one address: TCP, TLS, password.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// For a name to be looked up: a system's resolver asks the second name server when the first has been silent for five
/// seconds.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(6);
/// Addresses of one host.
const ADDRESSES_MAX: usize = 8;
/// Hosts of one URL.
pub(super) const HOSTS_MAX: usize = 4;

/// Where the database may be.
pub(in crate::store::postgres) struct Hosts {
    /// A configuration for each.
    each: Vec<Config>,
    tls: Option<Arc<ClientConfig>>,
    /// The one that took the last connection; behind it, where it took none.
    first: AtomicUsize,
    /// Told when none of them answered.
    pub(super) silent: Notify,
}

/// As a pool connects to them.
pub(super) struct Pooled(pub(super) Arc<Hosts>);

/// What comes in on a connection of nobody's pool.
pub(in crate::store::postgres) enum Stream {
    Plain(Box<Connection<Socket, NoTlsStream>>),
    Tls(Box<Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>>),
}

impl Hosts {
    /// Those of a configuration.
    pub(super) fn of(config: &Config, tls: Option<Arc<ClientConfig>>) -> Self {
        let each = match config.get_hosts() {
            // As it is: it may name an address beside its host.
            [_] => vec![config.clone()],
            hosts => (0..hosts.len()).map(|index| alone(config, index)).collect(),
        };
        Self { each, tls, first: AtomicUsize::new(0), silent: Notify::new() }
    }

    /// A connection that belongs to no pool, and the stream that whoever holds it must drive.
    pub(in crate::store::postgres) async fn open(&self) -> Result<(Client, Stream), StoreError> {
        self.first_of_them().await?.ok_or_else(|| StoreError::unavailable("PostgreSQL does not answer"))
    }

    /// None where nobody answers.
    async fn first_of_them(&self) -> Result<Option<(Client, Stream)>, Error> {
        let count = self.each.len();
        let first = self.first.load(Ordering::Relaxed);
        let mut refused = None;
        for index in (first..first + count).map(|index| index % count) {
            // Before the look: whoever waits may have less time than all of them take.
            self.first.store(index + 1, Ordering::Relaxed);
            for address in addresses(&self.each[index]).await {
                match timeout(CONNECT_TIMEOUT, self.connect(&address)).await {
                    Ok(Ok(connected)) => {
                        self.first.store(index, Ordering::Relaxed);
                        return Ok(Some(connected));
                    }
                    // What a server itself says is worth more than that another is not there.
                    Ok(Err(error)) if refused.as_ref().is_none_or(|before: &Error| before.as_db_error().is_none()) => {
                        refused = Some(error);
                    }
                    Ok(Err(_)) | Err(_) => {}
                }
            }
        }
        refused.map_or(Ok(None), Err)
    }

    async fn connect(&self, config: &Config) -> Result<(Client, Stream), Error> {
        if let Some(tls) = &self.tls {
            let (client, stream) = config.connect(MakeRustlsConnect::new(tls.as_ref().clone())).await?;
            return Ok((client, Stream::Tls(Box::new(stream))));
        }
        let (client, stream) = config.connect(NoTls).await?;
        Ok((client, Stream::Plain(Box::new(stream))))
    }
}

impl Connect for Pooled {
    fn connect(&self, _: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), Error>> {
        async move {
            let Some((client, stream)) = self.0.first_of_them().await? else {
                // The client has no word for it: whoever waits for a connection hears of it beside the pool.
                self.0.silent.notify_waiters();
                return future::pending().await;
            };
            let driven = tokio::spawn(async move {
                if let Err(error) = stream.drive().await {
                    warn!(error = with_causes(&error), "a connection to PostgreSQL broke");
                }
            });
            Ok((client, driven))
        }
        .boxed()
    }
}

impl Stream {
    /// The next message that nobody asked for; none at the end.
    pub(in crate::store::postgres) fn poll_message(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<AsyncMessage, Error>>> {
        match self {
            Self::Plain(stream) => stream.poll_message(context),
            Self::Tls(stream) => stream.poll_message(context),
        }
    }

    /// Until its client is gone.
    async fn drive(self) -> Result<(), Error> {
        match self {
            Self::Plain(stream) => stream.await,
            Self::Tls(stream) => stream.await,
        }
    }
}

/// The configuration for each address of its one host, so that one that is silent does not hide the next.
async fn addresses(config: &Config) -> Vec<Config> {
    let name = match config.get_hosts() {
        [Host::Tcp(name)] if config.get_hostaddrs().is_empty() => name,
        _ => return vec![config.clone()],
    };
    let port = config.get_ports().first().copied().unwrap_or(DEFAULT_PORT);
    match timeout(LOOKUP_TIMEOUT, lookup_host((name.as_str(), port))).await {
        Ok(Ok(found)) => {
            // In the system's order, which knows whether there is a way.
            let mut found: Vec<IpAddr> = found.map(|address| address.ip()).collect();
            found.dedup();
            let several = found.len() > 1;
            let at = |address| {
                let mut config = config.clone();
                config.hostaddr(address);
                if several {
                    config.target_session_attrs(TargetSessionAttrs::ReadWrite);
                }
                config
            };
            found.into_iter().take(ADDRESSES_MAX).map(at).collect()
        }
        // The client looks it up again, and says what is wrong.
        Ok(Err(_)) => vec![config.clone()],
        Err(_) => Vec::new(),
    }
}

/// The configuration with one of its hosts, which must take writes: one of several may be a standby.
fn alone(of: &Config, index: usize) -> Config {
    let mut config = Config::new();
    match &of.get_hosts()[index] {
        Host::Tcp(name) => config.host(name),
        #[cfg(unix)]
        Host::Unix(path) => config.host_path(path),
    };
    if let Some(address) = of.get_hostaddrs().get(index) {
        config.hostaddr(*address);
    }
    if let Some(port) = of.get_ports().get(index).or(of.get_ports().first()) {
        config.port(*port);
    }
    if let Some(user) = of.get_user() {
        config.user(user);
    }
    if let Some(password) = of.get_password() {
        config.password(password);
    }
    if let Some(name) = of.get_dbname() {
        config.dbname(name);
    }
    if let Some(options) = of.get_options() {
        config.options(options);
    }
    if let Some(name) = of.get_application_name() {
        config.application_name(name);
    }
    if let Some(limit) = of.get_connect_timeout() {
        config.connect_timeout(*limit);
    }
    if let Some(limit) = of.get_tcp_user_timeout() {
        config.tcp_user_timeout(*limit);
    }
    if let Some(interval) = of.get_keepalives_interval() {
        config.keepalives_interval(interval);
    }
    if let Some(retries) = of.get_keepalives_retries() {
        config.keepalives_retries(retries);
    }
    config
        .ssl_mode(of.get_ssl_mode())
        .ssl_negotiation(of.get_ssl_negotiation())
        .keepalives(of.get_keepalives())
        .keepalives_idle(of.get_keepalives_idle())
        .channel_binding(of.get_channel_binding())
        .target_session_attrs(TargetSessionAttrs::ReadWrite);
    config
}
