//! From options to a configuration in which nothing is missing.

mod file;
mod listeners;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use calbridge_telemetry::LogFormat;
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use self::listeners::{grpc_tls, http_tls, listener};
use crate::{
    Access, Ack, ConfigError, Limits, LogFormatOption, Options, Principal, QuarantineSettings, Retention,
    ServiceOptions, SpoolSettings, Tenant, access, principal, proxies, quarantine, retention, spool, tenant,
    tls::ServerFiles, workers,
};

pub(crate) use self::{
    file::{folder, parse, read_text, with_file},
    listeners::has_host_and_port,
};

const HTTP: &str = "127.0.0.1:8080";
const GRPC: &str = "127.0.0.1:50051";
const ADMIN: &str = "127.0.0.1:9090";
/// Both programs of a two-process installation find a free port on one machine.
const SERVICE_ADMIN: &str = "127.0.0.1:9091";
/// Cal.com's senders give up within minutes; replays by hand come days later.
const REDIS_TTL: Duration = Duration::from_hours(7 * 24);
/// A server of `PostgreSQL` has 100 by default: room for some services.
const DATABASE_CONNECTIONS: usize = 8;
/// Redis counts in seconds here.
const REDIS_TTL_MIN: Duration = Duration::from_secs(1);
/// Nobody sends a webhook again after so long, and Redis would only fill.
const REDIS_TTL_MAX: Duration = Duration::from_hours(90 * 24);
/// About 20 MB at the most.
const DEDUPE_KEYS: usize = 100_000;
/// How long after its end an accepted booking counts as over, where the operator says nothing: meetings run late, and
/// Cal.com's own timer comes within a minute.
pub const COMPLETE_GRACE: Duration = Duration::from_mins(10);
/// All authorities of the public web together have a quarter of it.
const MAX_PEM_BYTES: u64 = 1024 * 1024;

/// Which program asks: some defaults and duties differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `calbridge up`: adapter and service in one process.
    Up,
    /// `calbridge-adapter`.
    Adapter,
    /// `calbridge-service`.
    Service,
}

impl Program {
    /// `service.name` of the process's telemetry.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "calbridge",
            Self::Adapter => "calbridge-adapter",
            Self::Service => "calbridge-service",
        }
    }

    fn takes_webhooks(self) -> bool {
        self != Self::Service
    }

    fn keeps_data(self) -> bool {
        self != Self::Adapter
    }
}

/// Everything that a program needs to know before it starts.
#[derive(Debug, Clone)]
pub struct Config {
    /// `HOST:PORT` of the HTTP edge; port 0 lets the kernel pick.
    pub http: String,
    /// `HOST:PORT` of the gRPC service; port 0 lets the kernel pick.
    pub grpc: String,
    /// `HOST:PORT` of the admin listener; port 0 lets the kernel pick.
    pub admin: String,
    /// The certificate of the HTTP edge; without one it speaks no TLS.
    pub http_tls: Option<ServerFiles>,
    /// The certificate of the gRPC service; without one it speaks no TLS.
    pub grpc_tls: Option<ServerFiles>,
    /// Who may call the gRPC service. Empty: everybody who reaches it may do everything.
    pub principals: Vec<Principal>,
    /// The booking service to talk to, each `http://HOST:PORT` or `https://HOST:PORT`: at least one, at most
    /// [`SERVICES_MOST`](crate::SERVICES_MOST).
    pub services: Vec<String>,
    /// What is shown there, and who is believed.
    pub access: Access,
    /// Where data lies, unless `database` says otherwise. Not created yet; empty for a program that keeps none.
    pub data_dir: PathBuf,
    /// Where the adapter keeps what the service does not commit in time; `None` also for a program that takes no
    /// webhooks in.
    pub spool: Option<SpoolSettings>,
    /// What the adapter keeps of webhooks that no secret verifies; `None` also where there is no spool.
    pub quarantine: Option<QuarantineSettings>,
    /// When a webhook is answered with a 2xx.
    pub ack: Ack,
    /// The store.
    pub database: Database,
    /// Redis as the dedupe hint, where there is one.
    pub redis: Option<RedisSettings>,
    /// How many deliveries the cache in the process remembers where there is no Redis.
    pub dedupe_keys: usize,
    /// Threads that the program's tasks run on.
    pub workers: usize,
    /// The config file, where there is one: whoever goes on looking at it finds it here.
    pub config_file: Option<PathBuf>,
    /// Proxies before the HTTP edge whose word on a sender's address is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Who may send. Empty only for a program that takes no webhooks in.
    pub tenants: BTreeMap<String, Tenant>,
    /// How long after its end the clock completes an accepted booking, of the tenants that the config file names;
    /// `None`: it does not. Of all others it is [`COMPLETE_GRACE`]. Empty for a program that keeps no data.
    pub completion: BTreeMap<String, Option<Duration>>,
    /// How long what was received is kept.
    pub retention: Retention,
    /// The same of the tenants that the config file says otherwise of. Empty for a program that keeps no data.
    pub tenant_retention: BTreeMap<String, Retention>,
    /// gRPC may listen beyond loopback as it is.
    pub insecure: bool,
    /// Unsigned tenants may be reached beyond loopback.
    pub insecure_unsigned: bool,
    /// The bounds in force.
    pub limits: Limits,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines are written.
    pub log_filter: Option<String>,
}

/// Which store.
#[derive(Debug, Clone)]
pub enum Database {
    /// A file on this machine.
    Sqlite(PathBuf),
    /// `PostgreSQL`, or what speaks its protocol: shared by any number of services.
    Postgres {
        /// It may hold a password.
        url: SecretString,
        /// Most connections of those who read; those who write have a few of their own.
        connections: usize,
    },
}

/// How to reach Redis.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// One server, or the first nodes of a cluster. They may hold a password.
    pub urls: Vec<SecretString>,
    /// How long a delivery is remembered.
    pub ttl: Duration,
    /// The operator's own certificates, where there are some.
    pub tls: Option<RedisTls>,
}

/// Certificates for `rediss://`, in PEM form as they were read.
#[derive(Debug, Clone)]
pub struct RedisTls {
    /// Who may vouch for a server, instead of the public authorities.
    pub ca: Option<String>,
    /// What we show to a server that asks who we are: a certificate and its key.
    pub client: Option<(String, SecretString)>,
}

/// Reads the config file, puts flags and environment over it, and fills the rest with the defaults. What the program
/// does not use is not looked at: one file and one environment serve all programs.
///
/// # Errors
///
/// The first thing that can't be used, with the mend.
pub fn resolve(
    options: Options,
    program: Program,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, ConfigError> {
    let options = with_file(options)?;
    let folder = options.config.as_deref().map_or(Path::new(""), folder);
    let (takes, keeps) = (program.takes_webhooks(), program.keeps_data());
    let tenants = if takes { tenant::read(&options.tenants, folder, environment)? } else { BTreeMap::new() };
    if takes && tenants.is_empty() {
        return Err(ConfigError::NoSecret);
    }
    let redis = if keeps { redis(&options)? } else { None };
    let (services, access) =
        if program == Program::Adapter { access::resolve(&options)? } else { access::resolve(&Options::default())? };
    let http_tls = if takes { http_tls(&options)? } else { None };
    let grpc_tls = if keeps { grpc_tls(&options)? } else { None };
    let asked = grpc_tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    // An adapter keeps its spool there, where it is not said to be elsewhere.
    let data_dir = match &options.data_dir {
        Some(path) => path.clone(),
        None if keeps || options.spool_dir.is_none() => platform_data_dir().ok_or(ConfigError::NoDataDirectory)?,
        None => PathBuf::new(),
    };
    let (spool, ack) = if takes { spool::resolve(&options, &data_dir)? } else { (None, Ack::default()) };
    let quarantine = if takes { quarantine::resolve(&options, spool.as_ref())? } else { None };
    let (retention, tenant_retention) = if keeps {
        retention::resolve(&options.retention, &options.tenants)?
    } else {
        (Retention::DEFAULT, BTreeMap::new())
    };
    let database_url = options.database_url.as_ref().filter(|_| keeps);
    let admin_default = if program == Program::Service { SERVICE_ADMIN } else { ADMIN };
    Ok(Config {
        http: listener("--http", options.http.filter(|_| takes), HTTP)?,
        grpc: listener("--grpc", options.grpc.filter(|_| keeps), GRPC)?,
        admin: listener("--admin", options.admin, admin_default)?,
        http_tls,
        grpc_tls,
        principals: if keeps { principal::resolve(&options.principal, asked)? } else { Vec::new() },
        services,
        access,
        database: database(database_url, &data_dir, options.database_connections)?,
        data_dir,
        redis,
        dedupe_keys: options.dedupe_keys.unwrap_or(DEDUPE_KEYS),
        workers: workers::resolve(options.workers, takes && keeps)?,
        completion: if keeps { tenant::completion(&options.tenants)? } else { BTreeMap::new() },
        retention,
        tenant_retention,
        trusted_proxies: proxies::resolve(options.trusted_proxies.as_deref().filter(|_| takes))?,
        tenants,
        insecure: options.insecure.unwrap_or(false),
        insecure_unsigned: options.insecure_unsigned.unwrap_or(false),
        limits: Limits::resolve(&options.limits, spool.is_some())?,
        quarantine,
        spool,
        ack,
        log_format: match options.log_format {
            None | Some(LogFormatOption::Auto) => LogFormat::Auto,
            Some(LogFormatOption::Text) => LogFormat::Text,
            Some(LogFormatOption::Json) => LogFormat::Json,
        },
        log_filter: options.log,
        config_file: options.config,
    })
}

/// How a program that only calls the booking service reaches it: as was said, else as the config file says, else by
/// the default. Any of the addresses will do: all of them read one store.
///
/// # Errors
///
/// A file that can't be read or used, or an address that is none.
pub fn service_access(said: ServiceOptions) -> Result<(Vec<String>, Access), ConfigError> {
    access::resolve(&with_file(Options {
        service: said.service,
        service_ca: said.ca,
        service_certificate: said.certificate,
        service_key: said.key,
        service_token_file: said.token_file,
        config: said.config,
        insecure: said.insecure,
        ..Options::default()
    })?)
}

/// The store, for a program that works on it beside the service: what was said, else what the config file says, else
/// the default. Secrets and listeners are not looked at.
///
/// # Errors
///
/// A file that can't be read, a URL that is none, or no place for data.
pub fn store(
    data_dir: Option<PathBuf>,
    database_url: Option<SecretString>,
    config: Option<PathBuf>,
) -> Result<Database, ConfigError> {
    let options = with_file(Options { data_dir, database_url, config, ..Options::default() })?;
    let data_dir = match options.data_dir {
        Some(path) => path,
        None if options.database_url.is_some() => PathBuf::new(),
        None => platform_data_dir().ok_or(ConfigError::NoDataDirectory)?,
    };
    database(options.database_url.as_ref(), &data_dir, options.database_connections)
}

/// The spool, for a program that looks at it beside the adapter: what was said, else what the config file says, else
/// the default.
///
/// # Errors
///
/// A file that can't be read, a spool that is none, or no place for data.
pub fn spool_settings(
    spool_dir: Option<PathBuf>,
    data_dir: Option<PathBuf>,
    config: Option<PathBuf>,
) -> Result<SpoolSettings, ConfigError> {
    let options = with_file(Options { data_dir, spool_dir, config, ..Options::default() })?;
    let data_dir = match &options.data_dir {
        Some(path) => path.clone(),
        None if options.spool_dir.is_some() => PathBuf::new(),
        None => platform_data_dir().ok_or(ConfigError::NoDataDirectory)?,
    };
    let (spool, _) = spool::resolve(&options, &data_dir)?;
    let mend = "names no spool to look at: say the directory".to_owned();
    spool.ok_or(ConfigError::Value { option: "--spool-dir", value: "none".to_owned(), mend })
}

fn platform_data_dir() -> Option<PathBuf> {
    directories::ProjectDirs::from("", "", "calbridge").map(|folders| folders.data_dir().to_owned())
}

fn database(url: Option<&SecretString>, data_dir: &Path, connections: Option<usize>) -> Result<Database, ConfigError> {
    let connections = connections.unwrap_or(DATABASE_CONNECTIONS);
    if connections == 0 {
        let mend = "at least 1 is needed for reading".to_owned();
        return Err(ConfigError::Value { option: "--database-connections", value: "0".to_owned(), mend });
    }
    let Some(url) = url.map(ExposeSecret::expose_secret) else {
        return Ok(Database::Sqlite(data_dir.join("calbridge.db")));
    };
    match url.split_once("://") {
        Some(("sqlite", path)) if !path.is_empty() => Ok(Database::Sqlite(PathBuf::from(path))),
        Some(("postgres" | "postgresql", _)) => Ok(Database::Postgres { url: url.into(), connections }),
        scheme => Err(ConfigError::Value {
            option: "--database-url",
            // Anything but the scheme may be a password.
            value: match scheme {
                Some((scheme, _)) if is_scheme(scheme) => format!("{scheme}://…"),
                _ => "…".to_owned(),
            },
            mend: "write sqlite://PATH, for example sqlite:///var/lib/calbridge/calbridge.db, or \
                   postgres://USER:PASSWORD@HOST:PORT/DATABASE"
                .to_owned(),
        }),
    }
}

fn is_scheme(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'+')
}

fn redis(options: &Options) -> Result<Option<RedisSettings>, ConfigError> {
    let Some(urls) = &options.redis_url else { return Ok(None) };
    let refuse = |option, value: String, mend: &str| Err(ConfigError::Value { option, value, mend: mend.to_owned() });
    let urls: Vec<SecretString> = urls.expose_secret().split(',').map(|url| url.trim().into()).collect();
    let is_of = |url: &SecretString, schemes: &[&str]| {
        let url = Url::parse(url.expose_secret());
        url.is_ok_and(|url| schemes.contains(&url.scheme()) && url.host().is_some())
    };
    if !urls.iter().all(|url| is_of(url, &["redis", "rediss"])) {
        let mend = "write redis://HOST:PORT or rediss://HOST:PORT; several, joined by commas, for a cluster";
        return refuse("--redis-url", "…".to_owned(), mend);
    }
    let ttl = options.redis_ttl.map_or(REDIS_TTL, |ttl| ttl.0);
    if ttl < REDIS_TTL_MIN {
        return refuse("--redis-ttl", "less than 1s".to_owned(), "Redis counts in seconds here: at least 1s");
    }
    if ttl > REDIS_TTL_MAX {
        let mend = "deliveries are kept for 90 days, so a longer memory recognises nothing: at most 90days";
        return refuse("--redis-ttl", format!("{} s", ttl.as_secs()), mend);
    }
    let tls = redis_tls(options)?;
    if tls.is_some() && !urls.iter().all(|url| is_of(url, &["rediss"])) {
        let mend = "only TLS knows certificates: write rediss://HOST:PORT, or leave --redis-ca-file, \
                    --redis-cert-file and --redis-key-file out";
        return refuse("--redis-url", "redis://…".to_owned(), mend);
    }
    Ok(Some(RedisSettings { urls, ttl, tls }))
}

/// What the files hold; whether that is a certificate is found out by whoever connects.
fn redis_tls(options: &Options) -> Result<Option<RedisTls>, ConfigError> {
    let read = |option, path: &Option<PathBuf>| path.as_ref().map(|path| read_pem(option, path)).transpose();
    let ca = read("--redis-ca-file", &options.redis_ca_file)?;
    let certificate = read("--redis-cert-file", &options.redis_cert_file)?;
    let key = read("--redis-key-file", &options.redis_key_file)?.map(SecretString::from);
    let alone = |option, other, path: &Option<PathBuf>| {
        let value = path.as_ref().map_or_else(String::new, |path| path.display().to_string());
        Err(ConfigError::Value { option, value, mend: format!("a certificate and its key go together: say {other}") })
    };
    let client = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => return alone("--redis-cert-file", "--redis-key-file", &options.redis_cert_file),
        (None, Some(_)) => return alone("--redis-key-file", "--redis-cert-file", &options.redis_key_file),
    };
    Ok((ca.is_some() || client.is_some()).then_some(RedisTls { ca, client }))
}

fn read_pem(option: &'static str, path: &Path) -> Result<String, ConfigError> {
    let refuse = |why: String| {
        let mend = format!("{why}; name a file with PEM text in it");
        ConfigError::Value { option, value: path.display().to_string(), mend }
    };
    let size = fs::metadata(path).map_err(|why| refuse(format!("it can't be read: {why}")))?.len();
    if size > MAX_PEM_BYTES {
        return Err(refuse(format!("it has {size} bytes, and at most {MAX_PEM_BYTES} are read")));
    }
    fs::read_to_string(path).map_err(|why| refuse(format!("it can't be read: {why}")))
}

#[cfg(test)]
mod tests;
