//! The booking service: takes verified webhooks in over gRPC, keeps them, folds them into bookings, and answers what is
//! known of them.
//!
//! An event comes in through `api/`, is committed together with its neighbours by `ingest/`, which asks `dedupe/` where
//! to look first and lets the store decide. Nothing is answered before it is on stable storage.

mod api;
mod audit;
mod auth;
mod clock;
mod completion;
mod dedupe;
#[doc(hidden)]
pub mod fuzzing;
mod ingest;
mod lag;
mod metrics;
mod refold;
mod retention;
mod retype;
mod server;
mod settings;
pub mod store;

use std::net::SocketAddr;

use calbridge_process::{Config, ConfigError, Database, Listener, loopback_or};
use calbridge_telemetry::Readiness;
use secrecy::ExposeSecret;
use tokio::{net::TcpListener, task::spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::store::{
    Store,
    postgres::{self, PostgresStore},
    sqlite::{self, SqliteStore},
};

pub use crate::{
    clock::{Clock, system_clock},
    dedupe::RedisError,
    settings::Settings,
};

/// Why the service could not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file can't be opened; the message says how to mend it.
    #[error(transparent)]
    Sqlite(#[from] sqlite::OpenError),
    /// The database can't be opened; the message says how to mend it.
    #[error(transparent)]
    Postgres(#[from] postgres::OpenError),
    /// The address of Redis is none.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The certificate of the listener can't be used any more: it could be a moment ago.
    #[error(transparent)]
    Tls(#[from] ConfigError),
    /// The server failed.
    #[error("the gRPC server failed: {0}")]
    Serve(#[source] tonic::transport::Error),
    /// The schema can't be shown.
    #[error("the schema can't be reflected: {0}")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// A task that must not end has ended.
    #[error("the ingest has ended unexpectedly; restart the service")]
    Stopped,
}

/// The service with its store open, not yet serving.
#[derive(Debug)]
pub struct Service {
    settings: Settings,
    store: Opened,
}

/// A store of either kind.
#[derive(Debug)]
enum Opened {
    Sqlite(SqliteStore),
    Postgres(PostgresStore),
}

impl Service {
    /// Opens the store: from here on no other process can.
    ///
    /// # Errors
    ///
    /// What keeps the store from being opened, and how to mend it; an address of Redis that is none.
    pub async fn open(settings: Settings) -> Result<Self, Error> {
        settings.redis.as_ref().map(dedupe::check).transpose()?;
        let store = match settings.database.clone() {
            Database::Sqlite(path) => {
                let opened = spawn_blocking(move || SqliteStore::open(&path, sqlite::Options::default())).await;
                // A panic while opening, or a runtime that is ending.
                Opened::Sqlite(opened.map_err(|_| Error::Stopped)??)
            }
            Database::Postgres { url, connections } => {
                let options = postgres::Options { readers: connections, ..postgres::Options::default() };
                Opened::Postgres(PostgresStore::open(url.expose_secret(), options).await?)
            }
        };
        let scratch = settings.scratch.clone();
        // With the store open no other process folds there: what lies there is a dead one's, and personal data.
        let swept = spawn_blocking(move || refold::sweep(&scratch)).await;
        swept.map_err(|_| Error::Stopped)?;
        Ok(Self { settings, store })
    }

    /// The same unless `shutdown` fires before: opening takes as long as a database is silent, or a file is brought to
    /// a new schema. What is given up was written in transactions, and the next start begins where they ended.
    ///
    /// # Errors
    ///
    /// As [`Service::open`].
    pub async fn open_until(settings: Settings, shutdown: &CancellationToken) -> Result<Option<Self>, Error> {
        tokio::select! {
            opened = Self::open(settings) => opened.map(Some),
            () = shutdown.cancelled() => Ok(None),
        }
    }

    /// Serves gRPC on the listener until `shutdown` fires, then finishes what was taken in and closes the store, within
    /// the grace of the settings. The readiness check `store` says whether the store can write.
    ///
    /// # Errors
    ///
    /// What ended the service before it was told to end.
    pub async fn serve(
        self,
        listener: TcpListener,
        readiness: Readiness,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        let settings = &self.settings;
        match self.store {
            Opened::Sqlite(store) => server::serve(store, system_clock, settings, listener, &readiness, shutdown).await,
            Opened::Postgres(store) => {
                server::serve(store, system_clock, settings, listener, &readiness, shutdown).await
            }
        }
    }
}

/// Refuses an address that other machines can reach, unless callers are known and nobody else hears them, or the
/// operator insists.
///
/// # Errors
///
/// With the address and what to do about it.
pub fn check_exposure(config: &Config, address: SocketAddr) -> Result<(), ConfigError> {
    let mend = match (config.principals.is_empty(), &config.grpc_tls) {
        (false, Some(_)) => return Ok(()),
        (false, None) => {
            "tokens would travel in the clear; say --grpc-certificate and --grpc-key, listen on 127.0.0.1, or say \
             --insecure where something else encrypts"
        }
        (true, _) => {
            "nobody is asked who he is; add [[principal]] to the config file with --grpc-certificate and --grpc-key, \
             listen on 127.0.0.1, or say --insecure where only trusted machines can reach it"
        }
    };
    loopback_or(config.insecure, "--grpc", address, mend)
}

/// Refuses an address, a certificate or a key for Redis that can't be used, before anything is opened. Whether Redis
/// answers is no condition of the start.
///
/// # Errors
///
/// With the option and what to do about it.
pub fn check_redis(config: &Config) -> Result<(), ConfigError> {
    match config.redis.as_ref().map(dedupe::check) {
        Some(Err(error)) => {
            let (option, mend) = (error.option(), error.mend());
            // Anything of an address may be a password, and a file's path was found good.
            Err(ConfigError::Value { option, value: "…".to_owned(), mend })
        }
        _ => Ok(()),
    }
}

/// Refuses a URL of `PostgreSQL` that can't be used, before anything is opened. Whether the database answers is another
/// matter.
///
/// # Errors
///
/// With the option and what is wrong with it; what it holds may be a password, and is not repeated.
pub fn check_database(config: &Config) -> Result<(), ConfigError> {
    let Database::Postgres { url, .. } = &config.database else { return Ok(()) };
    match postgres::check(url.expose_secret()) {
        Err(postgres::OpenError::Address { why: mend }) => {
            Err(ConfigError::Value { option: "--database-url", value: "postgres://…".to_owned(), mend })
        }
        _ => Ok(()),
    }
}

/// Opens and serves, in one, until `shutdown` fires.
///
/// # Errors
///
/// As [`Service::open`] and [`Service::serve`].
pub async fn run(
    settings: Settings,
    listener: TcpListener,
    readiness: Readiness,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    match Service::open_until(settings, &shutdown).await? {
        Some(service) => service.serve(listener, readiness, shutdown).await,
        None => Ok(()),
    }
}

/// Serves any store with any clock on any network, as [`Service::serve`] does with its own: for tests, and for stores
/// to come.
///
/// # Errors
///
/// As [`Service::serve`].
pub async fn serve_store<S: Store, L: Listener>(
    store: S,
    clock: Clock,
    settings: &Settings,
    listener: L,
    readiness: &Readiness,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    server::serve(store, clock, settings, listener, readiness, shutdown).await
}

#[cfg(test)]
mod tests {
    use calbridge_process::{
        Options, Principal, Program, Scopes, Tenants, resolve,
        tls::{GRPC_PROTOCOLS, NamedFile, ServerFiles},
    };

    use super::*;

    #[test]
    fn beyond_this_machine_callers_are_known_and_nobody_else_hears_them() {
        let options = Options { data_dir: Some("unused".into()), ..Options::default() };
        let mut config = resolve(options, Program::Service, &|_| None).unwrap();
        let [loopback, anywhere] = ["127.0.0.1:50051", "0.0.0.0:50051"].map(|address| address.parse().unwrap());
        let somebody = Principal {
            name: "somebody".to_owned(),
            token_sha256: vec![[0; 32]],
            certificates: Vec::new(),
            scopes: Scopes::default(),
            tenants: Tenants::Every,
        };
        let file = || NamedFile { option: "--file", path: "unused".into(), secret: false };
        let files = ServerFiles { certificate: file(), key: file(), client_ca: None, protocols: GRPC_PROTOCOLS };
        for (principals, tls, mend) in [
            (vec![], None, Some("[[principal]]")),
            (vec![], Some(files.clone()), Some("[[principal]]")),
            (vec![somebody.clone()], None, Some("--grpc-certificate")),
            (vec![somebody], Some(files), None),
        ] {
            (config.principals, config.grpc_tls, config.insecure) = (principals, tls, false);
            assert!(check_exposure(&config, loopback).is_ok());
            let why = check_exposure(&config, anywhere).err().map(|why| why.to_string());
            assert_eq!(why.is_some(), mend.is_some());
            for part in mend.into_iter().chain(mend.map(|_| "--insecure")) {
                assert!(why.as_ref().unwrap().contains(part), "{part} is not in {why:?}");
            }
            config.insecure = true;
            assert!(check_exposure(&config, anywhere).is_ok());
        }
    }
}
