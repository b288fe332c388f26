//! From options to a configuration in which nothing is missing.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use calbridge_telemetry::LogFormat;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::{ConfigError, Limits, LogFormatOption, Options, Tenant, tenant};

const HTTP: &str = "127.0.0.1:8080";
const GRPC: &str = "127.0.0.1:50051";
const ADMIN: &str = "127.0.0.1:9090";
/// Both programs of a two-process installation find a free port on one machine.
const SERVICE_ADMIN: &str = "127.0.0.1:9091";
const SERVICE: &str = "http://127.0.0.1:50051";
/// Cal.com's senders give up within minutes; replays by hand come days later.
const REDIS_TTL: Duration = Duration::from_hours(7 * 24);
/// A server of PostgreSQL has 100 by default: room for some services.
const DATABASE_CONNECTIONS: usize = 8;
/// About 20 MB at the most.
const DEDUPE_KEYS: usize = 100_000;
/// How long after its end an accepted booking counts as over, where the operator says nothing: meetings run late, and
/// Cal.com's own timer comes within a minute.
pub const COMPLETE_GRACE: Duration = Duration::from_mins(10);
/// A config file is read whole; the longest that makes sense is far shorter.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

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
    /// The booking service to talk to: `http://HOST:PORT`.
    pub service: String,
    /// Where data lies, unless `database` says otherwise. Not created yet; empty for a program that keeps none.
    pub data_dir: PathBuf,
    /// The store.
    pub database: Database,
    /// Redis as the dedupe hint, where there is one.
    pub redis: Option<RedisSettings>,
    /// How many deliveries the cache in the process remembers where there is no Redis.
    pub dedupe_keys: usize,
    /// Who may send. Empty only for a program that takes no webhooks in.
    pub tenants: BTreeMap<String, Tenant>,
    /// How long after its end the clock completes an accepted booking, of the tenants that the config file names;
    /// `None`: it does not. Of all others it is [`COMPLETE_GRACE`]. Empty for a program that keeps no data.
    pub completion: BTreeMap<String, Option<Duration>>,
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
    /// PostgreSQL, or what speaks its protocol: shared by any number of services.
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
    let folder = options.config.as_deref().and_then(Path::parent).unwrap_or(Path::new("")).to_owned();
    let options = with_file(options)?;
    let (takes, keeps) = (program.takes_webhooks(), program.keeps_data());
    let tenants = if takes { tenant::read(&options.tenants, &folder, environment)? } else { BTreeMap::new() };
    if takes && tenants.is_empty() {
        return Err(ConfigError::NoSecret);
    }
    let data_dir = match options.data_dir {
        Some(path) => path,
        None if keeps => platform_data_dir().ok_or(ConfigError::NoDataDirectory)?,
        None => PathBuf::new(),
    };
    let database_url = options.database_url.as_ref().filter(|_| keeps);
    let redis_urls = options.redis_url.filter(|_| keeps);
    let admin_default = if program == Program::Service { SERVICE_ADMIN } else { ADMIN };
    Ok(Config {
        http: listener("--http", options.http.filter(|_| takes), HTTP)?,
        grpc: listener("--grpc", options.grpc.filter(|_| keeps), GRPC)?,
        admin: listener("--admin", options.admin, admin_default)?,
        service: service(options.service.filter(|_| program == Program::Adapter))?,
        database: database(database_url, &data_dir, options.database_connections)?,
        data_dir,
        redis: redis_urls.map(|urls| redis(&urls, options.redis_ttl.map(|ttl| ttl.0))).transpose()?,
        dedupe_keys: options.dedupe_keys.unwrap_or(DEDUPE_KEYS),
        completion: if keeps { tenant::completion(&options.tenants)? } else { BTreeMap::new() },
        tenants,
        insecure: options.insecure.unwrap_or(false),
        insecure_unsigned: options.insecure_unsigned.unwrap_or(false),
        limits: Limits::resolve(&options.limits)?,
        log_format: match options.log_format {
            None | Some(LogFormatOption::Auto) => LogFormat::Auto,
            Some(LogFormatOption::Text) => LogFormat::Text,
            Some(LogFormatOption::Json) => LogFormat::Json,
        },
        log_filter: options.log,
    })
}

/// The booking service's address for a program that only reads: the one that was said, else that of the config file,
/// else the default.
///
/// # Errors
///
/// A file that can't be read, or an address that is none.
pub fn service_address(said: Option<String>, config: Option<PathBuf>) -> Result<String, ConfigError> {
    service(with_file(Options { service: said, config, ..Options::default() })?.service)
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

fn with_file(options: Options) -> Result<Options, ConfigError> {
    match options.config.clone() {
        Some(path) => Ok(options.over(read_file(&path)?)),
        None => Ok(options),
    }
}

fn read_file(path: &Path) -> Result<Options, ConfigError> {
    let unreadable = |why| ConfigError::Unreadable { path: path.to_owned(), why };
    let size = fs::metadata(path).map_err(unreadable)?.len();
    if size > MAX_FILE_BYTES {
        let why = format!("the file has {size} bytes; at most {MAX_FILE_BYTES} are read");
        return Err(unreadable(std::io::Error::other(why)));
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    toml::from_str(&text).map_err(|error| ConfigError::File {
        path: path.to_owned(),
        line: error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1),
        why: without_value(error.message()),
    })
}

/// serde quotes the value of a wrong type, and that value may be a secret in the wrong place.
fn without_value(message: &str) -> String {
    match (message.split_once("string \""), message.rsplit_once("\", expected")) {
        (Some((before, _)), Some((_, after))) => format!("{before}a string, expected{after}"),
        _ => message.to_owned(),
    }
}

fn platform_data_dir() -> Option<PathBuf> {
    directories::ProjectDirs::from("", "", "calbridge").map(|folders| folders.data_dir().to_owned())
}

/// `HOST:PORT`; whether the host exists is found out by listening.
fn listener(option: &'static str, said: Option<String>, default: &str) -> Result<String, ConfigError> {
    let address = said.unwrap_or_else(|| default.to_owned());
    if has_host_and_port(&address) {
        return Ok(address);
    }
    let mend = format!("write it as HOST:PORT, for example {default} (port 0 lets the system pick one)");
    Err(ConfigError::Value { option, value: address, mend })
}

fn service(said: Option<String>) -> Result<String, ConfigError> {
    let url = said.unwrap_or_else(|| SERVICE.to_owned());
    let authority = url.strip_prefix("http://").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    if authority.is_some_and(has_host_and_port) && Url::parse(&url).is_ok() {
        return Ok(url);
    }
    let mend = "write it as http://HOST:PORT, for example http://127.0.0.1:50051".to_owned();
    Err(ConfigError::Value { option: "--service", value: url, mend })
}

fn has_host_and_port(authority: &str) -> bool {
    let plain = |host: &str| !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "/@?#".contains(c));
    authority.rsplit_once(':').is_some_and(|(host, port)| plain(host) && port.parse::<u16>().is_ok())
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
            // Anything behind the scheme may be a password.
            value: scheme.map_or_else(|| "…".to_owned(), |(scheme, _)| format!("{scheme}://…")),
            mend: "write sqlite://PATH, for example sqlite:///var/lib/calbridge/calbridge.db, or \
                   postgres://USER:PASSWORD@HOST:PORT/DATABASE"
                .to_owned(),
        }),
    }
}

fn redis(urls: &SecretString, ttl: Option<Duration>) -> Result<RedisSettings, ConfigError> {
    let refuse = |option, value: &str, mend: &str| {
        Err(ConfigError::Value { option, value: value.to_owned(), mend: mend.to_owned() })
    };
    let urls: Vec<SecretString> = urls.expose_secret().split(',').map(|url| url.trim().into()).collect();
    let known = |url: &SecretString| {
        let url = Url::parse(url.expose_secret());
        url.is_ok_and(|url| matches!(url.scheme(), "redis" | "rediss") && url.host().is_some())
    };
    if !urls.iter().all(known) {
        return refuse(
            "--redis-url",
            "…",
            "write redis://HOST:PORT or rediss://HOST:PORT; several, joined by commas, for a cluster",
        );
    }
    let ttl = ttl.unwrap_or(REDIS_TTL);
    if ttl < Duration::from_secs(1) {
        return refuse("--redis-ttl", "less than 1s", "Redis counts in seconds here: at least 1s");
    }
    Ok(RedisSettings { urls, ttl })
}

#[cfg(test)]
mod tests;
