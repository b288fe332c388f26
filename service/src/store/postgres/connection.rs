//! Connections: where the database is, how it is spoken to, and how long one may be waited for.
//!
//! A connection goes back to its pool only when its work ended well. One whose work failed, or was given up half way,
//! is closed: the server then undoes what it had begun.

mod hosts;
mod origin;
mod tell;

use std::{fmt, fs, ops::Deref, sync::Arc, time::Duration};

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, QueueMode, RecyclingMethod,
    Runtime, TimeoutType,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    select,
    time::{Instant, sleep},
};
use tokio_postgres::{Config, config::Host};
use tracing::warn;

pub(super) use self::{
    hosts::Stream,
    tell::{ASYNCHRONOUS, STANDBY, is_standby},
};
use self::{
    hosts::{HOSTS_MAX, Hosts, Pooled},
    tell::tell_in_time,
};
use super::{OpenError, error};
use crate::store::StoreError;

/// For a free connection of a pool. A round that waits longer helps no caller.
const WAIT_TIMEOUT: Duration = Duration::from_secs(2);
/// For a connection to be made: each step of it has a time of its own, and this ends all of them.
const CREATE_TIMEOUT: Duration = Duration::from_secs(30);
/// Where a URL names no port.
const DEFAULT_PORT: u16 = 5432;
/// Between two tries of the first connection.
const START_PAUSE: Duration = Duration::from_millis(500);
/// For the server's machine to confirm what was sent; then the connection counts as dead.
const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Rounds, and what consumers say.
    Writer,
    Reader,
    /// What an operator asks for: of a standby as well, and of a copy that is to stay as it is.
    Operator,
}

/// Where the database is, read from a URL.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) config: Config,
    /// What the URL says of TLS, where connections are to have it.
    pub(super) said: Option<Tls>,
    pub(super) hosts: Arc<Hosts>,
}

/// Connections for one kind of work.
#[derive(Clone)]
pub(super) struct Connections {
    pool: Pool,
    hosts: Arc<Hosts>,
}

/// A connection on loan.
pub(super) struct Lease {
    object: Option<Object>,
}

impl Address {
    /// Reads a URL as libpq knows them: `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…&sslrootcert=…`.
    ///
    /// Of `sslmode` there is `disable` and `verify-full`: whatever lies between sends passwords to whoever answers.
    pub(super) fn read(url: &str) -> Result<Self, OpenError> {
        let refuse = |why: &str| OpenError::Address { why: why.to_owned() };
        let (bare, said) = Tls::cut_out(url)?;
        let mut config: Config = bare.parse().map_err(|_| refuse("it is not of the form postgres://USER@HOST/NAME"))?;
        if config.get_hosts().is_empty() {
            return Err(refuse("it names no host"));
        }
        if config.get_hosts().len() > HOSTS_MAX {
            return Err(refuse("it names more than four hosts"));
        }
        // Credentials end at the first @: what is behind it of a password would be shown as the server's name.
        if config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(name) if name.contains('@'))) {
            return Err(refuse("a host has an @ in its name; write %40 for each @ of a user's name or password"));
        }
        config.application_name("calbridge-service").tcp_user_timeout(USER_TIMEOUT).keepalives_idle(USER_TIMEOUT);
        let is_far = config.get_hosts().iter().any(|host| !is_here(host));
        let tls = match said.mode.as_deref() {
            Some("disable") => None,
            None if !is_far => None,
            None | Some("verify-full" | "verify-ca" | "require") => Some(said.client()?),
            Some(_) => {
                return Err(refuse("sslmode is disable, or verify-full with sslrootcert=FILE for a CA of your own"));
            }
        };
        config.ssl_mode(match tls {
            Some(_) => tokio_postgres::config::SslMode::Require,
            None => tokio_postgres::config::SslMode::Disable,
        });
        Ok(Self { said: tls.is_some().then_some(said), hosts: Arc::new(Hosts::of(&config, tls)), config })
    }

    /// The database's name.
    pub(super) fn database(&self) -> &str {
        self.config.get_dbname().or(self.config.get_user()).unwrap_or_default()
    }

    /// All hosts with their ports, as messages have them.
    pub(super) fn servers(&self) -> String {
        let ports = self.config.get_ports();
        let port = |index| ports.get(index).or(ports.first()).copied().unwrap_or(DEFAULT_PORT);
        let named = self.config.get_hosts().iter().enumerate();
        named.map(|(index, host)| format!("{}:{}", name(host), port(index))).collect::<Vec<_>>().join(",")
    }

    /// The first host and its port, as telemetry has them.
    pub(super) fn server(&self) -> (String, u16) {
        let host = self.config.get_hosts().first().map(name).unwrap_or_default();
        (host, self.config.get_ports().first().copied().unwrap_or(DEFAULT_PORT))
    }

    /// A pool of at most so many connections, opened as they are needed.
    pub(super) fn connections(&self, role: Role, most: usize) -> Result<Connections, OpenError> {
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(self.config.clone(), Pooled(Arc::clone(&self.hosts)), recycling);
        let pool = Pool::builder(manager)
            .max_size(most)
            // The one that was used last: what its server process needs is in the caches.
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(WAIT_TIMEOUT))
            .create_timeout(Some(CREATE_TIMEOUT))
            .post_create(Hook::async_fn(move |client: &mut ClientWrapper, _| Box::pin(tell_in_time(client, role))))
            .build()
            .map_err(|error| OpenError::Address { why: error.to_string() })?;
        Ok(Connections { pool, hosts: Arc::clone(&self.hosts) })
    }
}

impl Connections {
    pub(super) async fn lease(&self) -> Result<Lease, StoreError> {
        Ok(self.try_lease().await?)
    }

    /// The first connection, however long the database takes to start.
    pub(super) async fn first(&self, patience: Duration, server: &str) -> Result<Lease, OpenError> {
        let began = Instant::now();
        let mut said = false;
        loop {
            let error = match self.try_lease().await {
                Ok(lease) => return Ok(lease),
                Err(error) => error,
            };
            let passes = error::passes(&error);
            let why = StoreError::from(error);
            if !passes || began.elapsed() >= patience {
                return Err(OpenError::Store { server: server.to_owned(), why });
            }
            if !said {
                warn!(server, %why, "the database does not answer yet; waiting for it");
                said = true;
            }
            sleep(START_PAUSE).await;
        }
    }

    async fn try_lease(&self) -> Result<Lease, PoolError> {
        select! {
            biased;
            object = self.pool.get() => Ok(Lease { object: Some(object?) }),
            () = self.hosts.silent.notified() => Err(PoolError::Timeout(TimeoutType::Create)),
        }
    }

    /// No connection is given out any more.
    pub(super) fn close(&self) {
        self.pool.close();
    }
}

impl Lease {
    /// Its work ended well: somebody else may have the connection.
    pub(super) fn give_back(mut self) {
        self.object.take();
    }
}

impl Deref for Lease {
    type Target = ClientWrapper;

    #[expect(clippy::expect_used, reason = "it is taken out by those who consume the lease")]
    fn deref(&self) -> &ClientWrapper {
        self.object.as_ref().expect("a lease holds its connection")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            drop(Object::take(object));
        }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The configuration of a pool holds the password.
        formatter.debug_struct("Connections").field("status", &self.pool.status()).finish_non_exhaustive()
    }
}

impl From<PoolError> for StoreError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => error.into(),
            PoolError::Closed => Self::unavailable("closed"),
            PoolError::Timeout(TimeoutType::Wait) => Self::unavailable("every connection to PostgreSQL is taken"),
            PoolError::Timeout(_) => Self::unavailable("PostgreSQL does not answer"),
            PoolError::PostCreateHook(HookError::Message(why)) => Self::unavailable(why),
            PoolError::NoRuntimeSpecified => Self::unavailable("a new connection to PostgreSQL failed"),
        }
    }
}

fn name(host: &Host) -> String {
    match host {
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(path) => path.display().to_string(),
    }
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

/// What a URL says of TLS.
#[derive(Clone, Default)]
pub(super) struct Tls {
    mode: Option<String>,
    pub(super) root: Option<String>,
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
}

impl Tls {
    /// The URL without it: the client's own reader knows less of it.
    fn cut_out(url: &str) -> Result<(String, Self), OpenError> {
        let Some((address, query)) = url.split_once('?') else { return Ok((url.to_owned(), Self::default())) };
        let mut tls = Self::default();
        let mut rest = Vec::new();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let place = match name {
                "sslmode" => &mut tls.mode,
                "sslrootcert" => &mut tls.root,
                "sslcert" => &mut tls.certificate,
                "sslkey" => &mut tls.key,
                _ => {
                    rest.push(pair);
                    continue;
                }
            };
            let value = value.replace("%2F", "/").replace("%2f", "/");
            if value.contains('%') {
                let why = format!("{name} may hold no % but %2F");
                return Err(OpenError::Address { why });
            }
            *place = Some(value);
        }
        let bare = if rest.is_empty() { address.to_owned() } else { format!("{address}?{}", rest.join("&")) };
        Ok((bare, tls))
    }

    fn client(&self) -> Result<Arc<ClientConfig>, OpenError> {
        let refuse = |file: &str, why: &dyn fmt::Display| OpenError::Address { why: format!("{file}: {why}") };
        let mut roots = RootCertStore::empty();
        match &self.root {
            Some(file) => {
                for certificate in certificates(file)? {
                    roots.add(certificate).map_err(|why| refuse(file, &why))?;
                }
            }
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|why| refuse("TLS", &why))?
            .with_root_certificates(roots);
        let config = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                let bytes = fs::read(key).map_err(|why| refuse(key, &why))?;
                let parsed = PrivateKeyDer::from_pem_slice(&bytes).map_err(|why| refuse(key, &why))?;
                let own = certificates(certificate)?;
                builder.with_client_auth_cert(own, parsed).map_err(|why| refuse(certificate, &why))?
            }
            (None, None) => builder.with_no_client_auth(),
            _ => return Err(OpenError::Address { why: "sslcert and sslkey go together".to_owned() }),
        };
        Ok(Arc::new(config))
    }
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, OpenError> {
    let refuse = |why: &dyn fmt::Display| OpenError::Address { why: format!("{file}: {why}") };
    let found = CertificateDer::pem_file_iter(file).map_err(|why| refuse(&why))?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(|why| refuse(&why))?;
    if found.is_empty() {
        return Err(refuse(&"it holds no certificate in PEM"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
