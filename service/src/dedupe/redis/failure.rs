//! Why Redis did not do it, in words that may be logged: neither a password nor a foreign text is among them.

use std::{error::Error as _, fmt, io, sync::Arc};

use calbridge_telemetry::semconv::{self, otel};
use redis::ErrorKind;
use tracing::Span;

/// Longest error code that is repeated: a code is one word.
const CODE_BYTES: usize = 32;
/// Longest reason of TLS that is repeated: it may list the names that a certificate is for.
const TLS_BYTES: usize = 256;
/// The client tells the failures of a cluster's nodes as text. This is how the text of rustls begins.
const TLS_WORDS: [&str; 2] = ["invalid peer certificate", "received fatal alert"];
/// So the client tells that a connection was refused its database; of which kind is not said otherwise.
const SELECT_REFUSED: &str = "Redis server refused to switch database";
/// A server that answers reads and takes no keys: its memory is full, or its disk refuses the copy it has to keep.
const FULL: [&str; 2] = ["OOM", "MISCONF"];
/// Of a cluster's node that does not have the key's slot, or will soon not, or is asked for several at once.
const MOVED: [&str; 3] = ["MOVED", "ASK", "CROSSSLOT"];

/// Why Redis did not do it.
#[derive(Debug)]
pub(super) enum Failure {
    /// No answer in time.
    Timeout,
    /// No connection, or it broke.
    Connection(Option<io::ErrorKind>),
    /// TLS did not come about: the words of rustls, which speak of certificates alone.
    Tls(String),
    /// It knows no such user, or another password.
    Credentials,
    /// It does not have the database that the address names, or does not let this user have it.
    Database,
    /// It answered with an error of this code.
    Refused(String),
    /// It takes no keys for now, by this code. It may be asked all the same.
    Full(String),
    /// A node of the cluster does not have the slot any more.
    Moved,
    /// It answered with something else than was asked for.
    Nonsense,
}

impl Failure {
    /// Its `error.type`.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connection(_) => "connection",
            Self::Tls(_) => "tls",
            Self::Credentials => "authentication",
            Self::Database => "database",
            Self::Refused(_) => "refused",
            Self::Full(_) => "full",
            Self::Moved => "moved",
            Self::Nonsense => "unexpected_answer",
        }
    }

    /// An error that Redis answered with.
    pub(super) fn of_code(code: &str) -> Self {
        match code {
            full if FULL.contains(&full) => Self::Full(full.to_owned()),
            moved if MOVED.contains(&moved) => Self::Moved,
            // The text behind a code may hold anything.
            other => Self::Refused(other.chars().take(CODE_BYTES).collect()),
        }
    }

    /// Marks the span of the operation as failed.
    pub(super) fn record(&self, span: &Span) {
        span.record(otel::STATUS_CODE, "ERROR");
        span.record(semconv::ERROR_TYPE, self.name());
        if let Self::Refused(code) | Self::Full(code) = self {
            span.record(semconv::DB_RESPONSE_STATUS_CODE, code.as_str());
        }
    }

    fn tls(text: &str) -> Self {
        Self::Tls(text.chars().take(TLS_BYTES).collect())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => formatter.write_str("no answer in time"),
            Self::Connection(None) => formatter.write_str("no connection"),
            Self::Connection(Some(kind)) => write!(formatter, "no connection: {kind}"),
            Self::Tls(why) => write!(formatter, "TLS: {why}"),
            Self::Credentials => formatter.write_str("the user or the password in --redis-url is wrong"),
            Self::Database => formatter.write_str(
                "it has no such database as --redis-url names, or the user there lacks the right to SELECT it",
            ),
            Self::Refused(code) if code == "NOAUTH" => formatter.write_str("NOAUTH: --redis-url needs a password"),
            Self::Refused(code) if code == "NOPERM" => {
                formatter.write_str("NOPERM: the user in --redis-url lacks a right")
            }
            Self::Refused(code) => write!(formatter, "it answers {code}"),
            Self::Full(code) => write!(formatter, "it takes no keys ({code})"),
            // Of a cluster that is known as one it costs some keys their hint, and is no failure.
            Self::Moved => {
                formatter.write_str("it is a node of a cluster: --redis-url needs several, joined by commas")
            }
            Self::Nonsense => formatter.write_str("its answer is none that Redis gives"),
        }
    }
}

impl From<redis::RedisError> for Failure {
    fn from(error: redis::RedisError) -> Self {
        if error.is_timeout() {
            return Self::Timeout;
        }
        match (error.kind(), error.code()) {
            (ErrorKind::AuthenticationFailed, _) => Self::Credentials,
            _ if error.to_string().starts_with(SELECT_REFUSED) => Self::Database,
            (ErrorKind::Io, _) => connection(&error),
            (ErrorKind::ClusterConnectionNotFound, _) => Self::Connection(None),
            (_, Some(code)) => Self::of_code(code),
            _ => Self::Nonsense,
        }
    }
}

fn connection(error: &redis::RedisError) -> Failure {
    // The client keeps its cause behind a pointer that counts.
    let cause = error.source().and_then(|cause| cause.downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>());
    if let Some(cause) = cause.and_then(|cause| cause.downcast_ref::<io::Error>()) {
        let tls = cause.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        return tls.map_or(Failure::Connection(Some(cause.kind())), |why| Failure::tls(&why.to_string()));
    }
    match error.detail() {
        Some(detail) if TLS_WORDS.iter().any(|words| detail.starts_with(words)) => Failure::tls(detail),
        Some(detail) if detail.contains("AuthenticationFailed") => Failure::Credentials,
        _ => Failure::Connection(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_by_its_kind_alone() {
        let io = |kind: io::ErrorKind| Failure::from(redis::RedisError::from(io::Error::from(kind)));
        assert_eq!(io(io::ErrorKind::TimedOut).name(), "timeout");
        let broken = io(io::ErrorKind::BrokenPipe);
        assert_eq!((broken.name(), broken.to_string().as_str()), ("connection", "no connection: broken pipe"));
        let nonsense = redis::RedisError::from((ErrorKind::UnexpectedReturnType, "odd"));
        assert_eq!(Failure::from(nonsense).name(), "unexpected_answer");
    }

    #[test]
    fn the_reason_of_tls_is_told_and_a_foreign_text_is_not() {
        let certificate = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let why = "TLS: invalid peer certificate: UnknownIssuer";
        let one = redis::RedisError::from(io::Error::new(io::ErrorKind::InvalidData, certificate.clone()));
        assert_eq!(Failure::from(one).to_string(), why);
        let nodes = |detail: String| Failure::from(redis::RedisError::from((ErrorKind::Io, "Failed", detail)));
        assert_eq!(nodes(certificate.to_string()).to_string(), why);
        assert_eq!(nodes("Password authentication failed - AuthenticationFailed".into()).name(), "authentication");
        assert_eq!(nodes("hunter2".into()).to_string(), "no connection");
    }

    #[test]
    fn a_full_redis_and_a_moved_slot_are_told_apart_from_a_refusal() {
        assert!(Failure::of_code("CROSSSLOT").to_string().contains("--redis-url needs several"));
        let names = ["OOM", "MISCONF", "MOVED", "ASK", "READONLY", "NOPERM"].map(|code| Failure::of_code(code).name());
        assert_eq!(names, ["full", "full", "moved", "moved", "refused", "refused"]);
        assert!(Failure::of_code(&"x".repeat(1000)).to_string().len() < 100);
    }
}
