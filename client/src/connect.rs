//! How a reader reaches the service: whatever can make a channel of tonic's, and for the usual case [`Access`], which
//! takes an address, an authority and a token.

use std::{fmt, future::Future, str::FromStr as _, time::Duration};

use http::{Uri, header::AUTHORIZATION};
use tonic::{
    Request, Status,
    body::Body,
    client::GrpcService,
    codegen::{Body as ResponseBody, Bytes, StdError},
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

/// A service that does not accept within this time is as good as away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection that is silent for so long is asked whether it lives: streams may be silent for ten seconds.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// And has this long to say so.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest token: the service takes no longer heads.
const TOKEN_BYTES_MAX: usize = 1024;

/// What the generated clients speak through: a channel of tonic's, with or without layers around it.
pub trait Service:
    GrpcService<Body, Error: Into<StdError>, ResponseBody = <Self as Service>::Reply, Future: Send> + Send
{
    /// The body of a response.
    type Reply: ResponseBody<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static;
}

impl<T> Service for T
where
    T: GrpcService<Body, Error: Into<StdError>, Future: Send> + Send,
    T::ResponseBody: ResponseBody<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
{
    type Reply = T::ResponseBody;
}

/// Where streams come from: asked before each, so that one that broke may be followed by one to another replica. A
/// channel of tonic's reconnects by itself and is simply used again; anything else is a function.
pub trait Connect {
    /// What it makes.
    type Service: Service;

    /// A service to speak to.
    fn connect(&self) -> impl Future<Output = Result<Self::Service, Status>> + Send;
}

impl Connect for Channel {
    type Service = Self;

    async fn connect(&self) -> Result<Self, Status> {
        Ok(self.clone())
    }
}

impl<I: Interceptor + Clone + Send + Sync> Connect for InterceptedService<Channel, I> {
    type Service = Self;

    async fn connect(&self) -> Result<Self, Status> {
        Ok(self.clone())
    }
}

impl<F, Made, T> Connect for F
where
    F: Fn() -> Made + Sync,
    Made: Future<Output = Result<T, Status>> + Send,
    T: Service,
{
    type Service = T;

    async fn connect(&self) -> Result<T, Status> {
        self().await
    }
}

/// Where the service is, whom to believe there, and what to show.
#[derive(Clone, Default)]
pub struct Access {
    /// `http://HOST:PORT` or `https://HOST:PORT`.
    pub service: String,
    /// Who vouches for a service at `https://`, in PEM form; the public authorities where it is unset.
    pub authority: Option<String>,
    /// The token that `calbridge token` printed.
    pub token: Option<String>,
}

/// A channel that says at each call who we are.
pub type Connection = InterceptedService<Channel, Bearer>;

/// Adds a token to each call, where there is one.
#[derive(Debug, Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

/// What is wrong with an [`Access`], and how to mend it. The token is never told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessError {
    /// The address is none.
    Service(String),
    /// The token is no word.
    Token,
    /// Others could read the token on its way.
    Clear(String),
    /// The authority is no certificate, or does not fit to the address.
    Authority(String),
}

impl Access {
    /// A connection that is made with its first call, and again whenever it breaks.
    ///
    /// # Errors
    ///
    /// What of the access can't be used.
    pub fn connection(&self) -> Result<Connection, AccessError> {
        let address: Uri = self.service.parse().map_err(|_| AccessError::Service(self.service.clone()))?;
        let (secure, host) = match (address.scheme_str(), address.host()) {
            (Some("https"), Some(host)) => (true, host),
            (Some("http"), Some(host)) => (false, host),
            _ => return Err(AccessError::Service(self.service.clone())),
        };
        if self.token.is_some() && !secure && !is_loopback(host) {
            return Err(AccessError::Clear(self.service.clone()));
        }
        let bearer = Bearer(self.token.as_deref().map(bearer).transpose()?);
        let mut endpoint = Endpoint::from(address)
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT);
        let unfit = |_| AccessError::Authority(self.service.clone());
        match (&self.authority, secure) {
            (Some(_), false) => return Err(AccessError::Authority(self.service.clone())),
            (None, false) => {}
            (authority, true) => {
                let trusted = ClientTlsConfig::new();
                let tls = match authority {
                    Some(pem) => trusted.ca_certificate(Certificate::from_pem(pem)),
                    None => trusted.with_webpki_roots(),
                };
                endpoint = endpoint.tls_config(tls).map_err(unfit)?;
            }
        }
        Ok(InterceptedService::new(endpoint.connect_lazy(), bearer))
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("service", &self.service).finish_non_exhaustive()
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert(AUTHORIZATION.as_str(), token.clone());
        }
        Ok(request)
    }
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(service) => {
                write!(f, "the service {service}: write it as http://HOST:PORT or https://HOST:PORT")
            }
            Self::Token => write!(f, "the token is none: one word, as `calbridge token` prints it"),
            Self::Clear(service) => {
                write!(f, "the token would travel in the clear to {service}: write https://")
            }
            Self::Authority(service) => write!(
                f,
                "the authority for {service} can't be used: a certificate in PEM form, of a service at https://"
            ),
        }
    }
}

impl std::error::Error for AccessError {}

/// The header's value, marked so that nobody on its way shows it.
fn bearer(token: &str) -> Result<MetadataValue<Ascii>, AccessError> {
    let token = token.trim();
    if token.is_empty() || token.len() > TOKEN_BYTES_MAX || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(AccessError::Token);
    }
    let mut value = MetadataValue::from_str(&format!("Bearer {token}")).map_err(|_| AccessError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(service: &str, token: Option<&str>) -> Access {
        Access { service: service.to_owned(), authority: None, token: token.map(str::to_owned) }
    }

    #[tokio::test]
    async fn a_token_travels_encrypted_or_not_at_all() {
        for fit in ["http://127.0.0.1:50051", "http://[::1]:50051", "http://localhost:50051", "https://cal.example:443"]
        {
            assert!(access(fit, Some("word")).connection().is_ok(), "{fit}");
        }
        let clear = access("http://cal.example:50051", Some("word")).connection().map(drop);
        assert_eq!(clear, Err(AccessError::Clear("http://cal.example:50051".to_owned())));
        assert!(access("http://cal.example:50051", None).connection().is_ok());
    }

    #[tokio::test]
    async fn what_can_not_be_used_is_named() {
        for bad in ["", "cal.example", "ftp://cal.example:1", "/path"] {
            assert!(matches!(access(bad, None).connection(), Err(AccessError::Service(_))), "{bad}");
        }
        let loopback = "http://127.0.0.1:50051";
        for bad in ["", "two words", "n\u{e4}chst"] {
            assert!(matches!(access(loopback, Some(bad)).connection(), Err(AccessError::Token)), "{bad}");
        }
        let authority = Access { authority: Some("-".to_owned()), ..access(loopback, None) };
        assert!(matches!(authority.connection(), Err(AccessError::Authority(_))));
    }

    #[tokio::test]
    async fn nobody_shows_a_token() {
        let access = access("http://127.0.0.1:50051", Some("word-of-mine"));
        let connection = access.connection().unwrap();
        let shown = format!("{access:?} {:?}", bearer("word-of-mine"));
        assert!(!shown.contains("word-of-mine") && !format!("{connection:?}").contains("word-of-mine"), "{shown}");
    }
}
