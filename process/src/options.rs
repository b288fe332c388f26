//! The options that the programs share: one list, read from flags, environment and config file alike.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use clap::{Args, ValueEnum, builder::BoolishValueParser};
use secrecy::SecretString;
use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};

use crate::{Ack, Period, PrincipalOptions, RateStatus, RetentionOptions, SecretOptions};

/// Every shared option; each is unset where nobody said anything. The field names are the keys of the config file.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(clippy::doc_markdown, rustdoc::bare_urls, reason = "these comments are the help text of a terminal")]
pub struct Options {
    /// Where webhooks come in [default: 127.0.0.1:8080]
    #[arg(long, env = "CALBRIDGE_HTTP", value_name = "HOST:PORT")]
    pub http: Option<String>,

    /// Where the gRPC service listens [default: 127.0.0.1:50051]
    #[arg(long, env = "CALBRIDGE_GRPC", value_name = "HOST:PORT")]
    pub grpc: Option<String>,

    /// Where /healthz, /readyz and /metrics are [default: 127.0.0.1:9090; calbridge-service: 127.0.0.1:9091]
    #[arg(long, env = "CALBRIDGE_ADMIN", value_name = "HOST:PORT")]
    pub admin: Option<String>,

    /// The certificate of the HTTP edge, in PEM form, with those that lead to its authority [default: no TLS]
    #[arg(long, env = "CALBRIDGE_HTTP_CERTIFICATE", value_name = "FILE")]
    pub http_certificate: Option<PathBuf>,

    /// The private key of that certificate, in PEM form
    #[arg(long, env = "CALBRIDGE_HTTP_KEY", value_name = "FILE")]
    pub http_key: Option<PathBuf>,

    /// The certificate of the gRPC service, in PEM form, with those that lead to its authority [default: no TLS]
    #[arg(long, env = "CALBRIDGE_GRPC_CERTIFICATE", value_name = "FILE")]
    pub grpc_certificate: Option<PathBuf>,

    /// The private key of that certificate, in PEM form
    #[arg(long, env = "CALBRIDGE_GRPC_KEY", value_name = "FILE")]
    pub grpc_key: Option<PathBuf>,

    /// Who may vouch for callers of the gRPC service, in PEM form [default: callers are asked for no certificate]
    #[arg(long, env = "CALBRIDGE_GRPC_CLIENT_CA", value_name = "FILE")]
    pub grpc_client_ca: Option<PathBuf>,

    /// The booking service to talk to; several addresses, joined by commas, and all addresses of a name are replicas
    /// [default: http://127.0.0.1:50051]
    #[arg(long, env = "CALBRIDGE_SERVICE", value_name = "http://HOST:PORT,…")]
    #[serde(deserialize_with = "one_or_many")]
    pub service: Option<String>,

    /// Who may vouch for the booking service at https://, in PEM form [default: the public authorities]
    #[arg(long, env = "CALBRIDGE_SERVICE_CA", value_name = "FILE")]
    pub service_ca: Option<PathBuf>,

    /// The certificate that is shown to the booking service, in PEM form
    #[arg(long, env = "CALBRIDGE_SERVICE_CERTIFICATE", value_name = "FILE")]
    pub service_certificate: Option<PathBuf>,

    /// The private key of that certificate, in PEM form
    #[arg(long, env = "CALBRIDGE_SERVICE_KEY", value_name = "FILE")]
    pub service_key: Option<PathBuf>,

    /// The file of the token that is shown to the booking service
    #[arg(long, env = "CALBRIDGE_SERVICE_TOKEN_FILE", value_name = "FILE")]
    pub service_token_file: Option<PathBuf>,

    /// Networks of the proxies before the HTTP edge, joined by commas: what they say of a sender's address
    /// (X-Forwarded-For, Forwarded) is believed [default: none]
    #[arg(long, env = "CALBRIDGE_TRUSTED_PROXIES", value_name = "NETWORK,…")]
    #[serde(deserialize_with = "one_or_many")]
    pub trusted_proxies: Option<String>,

    /// Where data lies [default: the platform's data directory]
    #[arg(long, env = "CALBRIDGE_DATA_DIR", value_name = "PATH")]
    pub data_dir: Option<PathBuf>,

    /// Where the adapter keeps webhooks that the service does not commit in time; `none`: nowhere, they are answered
    /// 503 [default: DATA_DIR/spool]
    #[arg(long, env = "CALBRIDGE_SPOOL_DIR", value_name = "PATH|none")]
    pub spool_dir: Option<PathBuf>,

    /// The most that is kept there, in bytes; 503 above [default: 2147483648]
    #[arg(long, env = "CALBRIDGE_SPOOL_BYTES", value_name = "BYTES")]
    pub spool_bytes: Option<u64>,

    /// The longest that anything waits there before nothing more is taken in; 503 then [default: 7days]
    #[arg(long, env = "CALBRIDGE_SPOOL_AGE", value_name = "TIME")]
    pub spool_age: Option<Period>,

    /// The most that is kept of webhooks that no secret verifies, in bytes; 0: they are only counted
    /// [default: 268435456]
    #[arg(long, env = "CALBRIDGE_QUARANTINE_BYTES", value_name = "BYTES")]
    pub quarantine_bytes: Option<u64>,

    /// How long they are kept [default: 7days]
    #[arg(long, env = "CALBRIDGE_QUARANTINE_AGE", value_name = "TIME")]
    pub quarantine_age: Option<Period>,

    /// How many of one tenant from one address are kept in a second, for longer [default: 10]
    #[arg(long, env = "CALBRIDGE_QUARANTINE_RATE", value_name = "COUNT")]
    pub quarantine_rate: Option<u32>,

    /// When a webhook is answered with a 2xx [default: committed]
    #[arg(long, env = "CALBRIDGE_ACK", value_name = "WHEN")]
    pub ack: Option<Ack>,

    /// The store [default: sqlite://DATA_DIR/calbridge.db]
    #[arg(long, env = "CALBRIDGE_DATABASE_URL", value_name = "sqlite://…|postgres://…", hide_env_values = true)]
    pub database_url: Option<SecretString>,

    /// Most connections to PostgreSQL for reading; nine more are kept for the rest [default: 8]
    #[arg(long, env = "CALBRIDGE_DATABASE_CONNECTIONS", value_name = "COUNT")]
    pub database_connections: Option<usize>,

    /// Redis as the dedupe hint; several URLs, joined by commas, are a cluster [default: a cache in the process]
    #[arg(long, env = "CALBRIDGE_REDIS_URL", value_name = "redis://…|rediss://…", hide_env_values = true)]
    pub redis_url: Option<SecretString>,

    /// Who may vouch for the servers of rediss://, in PEM form [default: the public authorities]
    #[arg(long, env = "CALBRIDGE_REDIS_CA_FILE", value_name = "FILE")]
    pub redis_ca_file: Option<PathBuf>,

    /// The certificate that rediss:// shows to servers which ask for one, in PEM form
    #[arg(long, env = "CALBRIDGE_REDIS_CERT_FILE", value_name = "FILE")]
    pub redis_cert_file: Option<PathBuf>,

    /// The private key of that certificate, in PEM form
    #[arg(long, env = "CALBRIDGE_REDIS_KEY_FILE", value_name = "FILE")]
    pub redis_key_file: Option<PathBuf>,

    /// How long Redis remembers a delivery [default: 7days]
    #[arg(long, env = "CALBRIDGE_REDIS_TTL", value_name = "TIME")]
    pub redis_ttl: Option<Period>,

    /// How many deliveries the cache in the process remembers where there is no Redis [default: 100000]
    #[arg(long, env = "CALBRIDGE_DEDUPE_KEYS", value_name = "COUNT")]
    pub dedupe_keys: Option<usize>,

    /// Threads that the program's tasks run on [default: half of the cores, at least 1; calbridge up: the cores]
    #[arg(long, env = "CALBRIDGE_WORKERS", value_name = "COUNT")]
    pub workers: Option<usize>,

    /// The config file (TOML): these options with `_` for `-`, and the tenants
    #[arg(long, env = "CALBRIDGE_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Let gRPC listen beyond loopback without TLS, and without principals for everybody; let a token travel beyond
    /// loopback without TLS
    #[arg(long, env = "CALBRIDGE_INSECURE", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL",
          value_parser = BoolishValueParser::new())]
    pub insecure: Option<bool>,

    /// Let a tenant with `allow_unsigned` be reached beyond loopback
    #[arg(long, env = "CALBRIDGE_INSECURE_UNSIGNED", num_args = 0..=1, default_missing_value = "true",
          value_name = "BOOL", value_parser = BoolishValueParser::new())]
    pub insecure_unsigned: Option<bool>,

    /// How log lines look on stderr [default: auto, text on a terminal and JSON elsewhere]
    #[arg(long, env = "CALBRIDGE_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormatOption>,

    /// Which log lines are written, as in `info` or `calbridge_adapter=debug,info` [default: info]
    #[arg(long, env = "CALBRIDGE_LOG", value_name = "FILTER")]
    pub log: Option<String>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment here would become the help text's heading")]
    pub limits: LimitOptions,

    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment here would become the help text's heading")]
    pub retention: RetentionOptions,

    #[arg(skip)]
    #[allow(missing_docs, reason = "read from the config file alone; see TenantOptions")]
    pub tenants: BTreeMap<String, TenantOptions>,

    #[arg(skip)]
    #[allow(missing_docs, reason = "read from the config file alone; see PrincipalOptions")]
    pub principal: Vec<PrincipalOptions>,
}

/// The bounds of the HTTP edge and of stopping; `[limits]` in the config file.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[command(next_help_heading = "Limits")]
pub struct LimitOptions {
    /// Largest webhook body, in bytes [default: 1048576]
    #[arg(long, env = "CALBRIDGE_BODY_BYTES", value_name = "BYTES")]
    pub body_bytes: Option<usize>,
    /// Largest request head, in bytes [default: 16384]
    #[arg(long, env = "CALBRIDGE_HEADER_BYTES", value_name = "BYTES")]
    pub header_bytes: Option<usize>,
    /// Most headers of a request [default: 100]
    #[arg(long, env = "CALBRIDGE_HEADER_COUNT", value_name = "COUNT")]
    pub header_count: Option<usize>,
    /// For a request's head, and for a connection's first byte [default: 10s]
    #[arg(long, env = "CALBRIDGE_HEADER_TIMEOUT", value_name = "TIME")]
    pub header_timeout: Option<Period>,
    /// For a request's body [default: 5s]
    #[arg(long, env = "CALBRIDGE_BODY_TIMEOUT", value_name = "TIME")]
    pub body_timeout: Option<Period>,
    /// Most open connections [default: 1024]
    #[arg(long, env = "CALBRIDGE_CONNECTIONS", value_name = "COUNT")]
    pub connections: Option<usize>,
    /// Most requests served at once [default: 1024]
    #[arg(long, env = "CALBRIDGE_IN_FLIGHT", value_name = "COUNT")]
    pub in_flight: Option<usize>,
    /// Most bytes of bodies held at once [default: 268435456]
    #[arg(long, env = "CALBRIDGE_IN_FLIGHT_BYTES", value_name = "BYTES")]
    pub in_flight_bytes: Option<usize>,
    /// Webhooks of one tenant in a second, once their signature is verified [default: no limit]
    #[arg(long, env = "CALBRIDGE_TENANT_RATE", value_name = "COUNT")]
    pub tenant_rate: Option<u32>,
    /// Of them so many may come at once [default: those of one second]
    #[arg(long, env = "CALBRIDGE_TENANT_BURST", value_name = "COUNT")]
    pub tenant_burst: Option<u32>,
    /// Requests of one address in a second, before anything else is known of them [default: no limit]
    #[arg(long, env = "CALBRIDGE_SOURCE_RATE", value_name = "COUNT")]
    pub source_rate: Option<u32>,
    /// Of them so many may come at once [default: those of one second]
    #[arg(long, env = "CALBRIDGE_SOURCE_BURST", value_name = "COUNT")]
    pub source_burst: Option<u32>,
    /// What is answered above these rates, 503 or 429; Cal.com may count a 429 as a loss [default: 503]
    #[arg(long, env = "CALBRIDGE_RATE_STATUS", value_name = "STATUS")]
    pub rate_status: Option<RateStatus>,
    /// For the service to commit an event [default: 250ms, and 2s where there is no spool]
    #[arg(long, env = "CALBRIDGE_FORWARD_DEADLINE", value_name = "TIME")]
    pub forward_deadline: Option<Period>,
    /// For what was accepted to be finished after SIGTERM [default: 8s]
    #[arg(long, env = "CALBRIDGE_SHUTDOWN_GRACE", value_name = "TIME")]
    pub shutdown_grace: Option<Period>,
}

/// `[tenants.NAME]` of the config file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantOptions {
    /// Any of them may have signed.
    pub secrets: Vec<SecretOptions>,
    /// Take webhooks in whose subscription has no secret.
    pub allow_unsigned: bool,
    /// Let the clock complete accepted bookings that are past their end. Unset: it does.
    pub complete_by_clock: Option<bool>,
    /// How long after the end. Unset: ten minutes.
    pub complete_grace: Option<Period>,
    /// How long what was received for it is kept. What is unset is that of all tenants.
    pub retention: Option<RetentionOptions>,
}

/// `--log-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormatOption {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Options {
    /// These options, with the gaps filled from `below`.
    #[must_use]
    pub(crate) fn over(self, below: Self) -> Self {
        Self {
            http: self.http.or(below.http),
            grpc: self.grpc.or(below.grpc),
            admin: self.admin.or(below.admin),
            http_certificate: self.http_certificate.or(below.http_certificate),
            http_key: self.http_key.or(below.http_key),
            grpc_certificate: self.grpc_certificate.or(below.grpc_certificate),
            grpc_key: self.grpc_key.or(below.grpc_key),
            grpc_client_ca: self.grpc_client_ca.or(below.grpc_client_ca),
            service: self.service.or(below.service),
            service_ca: self.service_ca.or(below.service_ca),
            service_certificate: self.service_certificate.or(below.service_certificate),
            service_key: self.service_key.or(below.service_key),
            service_token_file: self.service_token_file.or(below.service_token_file),
            trusted_proxies: self.trusted_proxies.or(below.trusted_proxies),
            data_dir: self.data_dir.or(below.data_dir),
            spool_dir: self.spool_dir.or(below.spool_dir),
            spool_bytes: self.spool_bytes.or(below.spool_bytes),
            spool_age: self.spool_age.or(below.spool_age),
            quarantine_bytes: self.quarantine_bytes.or(below.quarantine_bytes),
            quarantine_age: self.quarantine_age.or(below.quarantine_age),
            quarantine_rate: self.quarantine_rate.or(below.quarantine_rate),
            ack: self.ack.or(below.ack),
            database_url: self.database_url.or(below.database_url),
            database_connections: self.database_connections.or(below.database_connections),
            redis_url: self.redis_url.or(below.redis_url),
            redis_ca_file: self.redis_ca_file.or(below.redis_ca_file),
            redis_cert_file: self.redis_cert_file.or(below.redis_cert_file),
            redis_key_file: self.redis_key_file.or(below.redis_key_file),
            redis_ttl: self.redis_ttl.or(below.redis_ttl),
            dedupe_keys: self.dedupe_keys.or(below.dedupe_keys),
            config: self.config.or(below.config),
            insecure: self.insecure.or(below.insecure),
            insecure_unsigned: self.insecure_unsigned.or(below.insecure_unsigned),
            workers: self.workers.or(below.workers),
            log_format: self.log_format.or(below.log_format),
            log: self.log.or(below.log),
            limits: self.limits.over(&below.limits),
            retention: self.retention.over(&below.retention),
            tenants: below.tenants,
            principal: below.principal,
        }
    }
}

impl LimitOptions {
    fn over(self, below: &Self) -> Self {
        Self {
            body_bytes: self.body_bytes.or(below.body_bytes),
            header_bytes: self.header_bytes.or(below.header_bytes),
            header_count: self.header_count.or(below.header_count),
            header_timeout: self.header_timeout.or(below.header_timeout),
            body_timeout: self.body_timeout.or(below.body_timeout),
            connections: self.connections.or(below.connections),
            in_flight: self.in_flight.or(below.in_flight),
            in_flight_bytes: self.in_flight_bytes.or(below.in_flight_bytes),
            tenant_rate: self.tenant_rate.or(below.tenant_rate),
            tenant_burst: self.tenant_burst.or(below.tenant_burst),
            source_rate: self.source_rate.or(below.source_rate),
            source_burst: self.source_burst.or(below.source_burst),
            rate_status: self.rate_status.or(below.rate_status),
            forward_deadline: self.forward_deadline.or(below.forward_deadline),
            shutdown_grace: self.shutdown_grace.or(below.shutdown_grace),
        }
    }
}

/// A text, or several that are joined by commas as they would be in a flag.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    texts(deserializer).map(|texts| Some(texts.join(",")))
}

/// A text, or several.
pub(crate) fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct OneOrMany;

    impl<'de> Visitor<'de> for OneOrMany {
        type Value = Vec<String>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a string or an array of strings")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Vec<String>, E> {
            Ok(vec![text.to_owned()])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut texts: A) -> Result<Vec<String>, A::Error> {
            let mut all = Vec::new();
            while let Some(text) = texts.next_element::<String>()? {
                all.push(text);
            }
            Ok(all)
        }
    }

    deserializer.deserialize_any(OneOrMany)
}
