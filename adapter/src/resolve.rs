//! From a host's name to its addresses, and to a connection with one of them. It is a setting, so that a test can
//! change the answer without a name server, and the simulation the network.

use std::{fmt, future::Future, io, net::SocketAddr, sync::Arc};

use futures_util::{FutureExt as _, future::BoxFuture};
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// The addresses of a name, on their way.
type Lookup = BoxFuture<'static, io::Result<Vec<SocketAddr>>>;

/// A connection on its way.
type Dial = Arc<dyn Fn(SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Wire>>> + Send + Sync>;

/// What bytes travel over in another network than the machine's own.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Answers the addresses of a name, each with the port that was asked for.
#[derive(Clone)]
pub struct Resolver {
    lookup: Arc<dyn Fn(String, u16) -> Lookup + Send + Sync>,
    /// How an address is reached without TLS; `None`: through the machine's own network.
    dial: Option<Dial>,
}

impl Resolver {
    /// The system's own.
    #[must_use]
    pub fn system() -> Self {
        Self::by(|host, port| async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }

    /// Whatever this function answers.
    pub fn by<F>(lookup: impl Fn(String, u16) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        Self { lookup: Arc::new(move |host, port| lookup(host, port).boxed()), dial: None }
    }

    /// The same, with connections from this function.
    #[doc(hidden)]
    #[must_use]
    pub fn dialing<F>(self, dial: impl Fn(SocketAddr) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<Box<dyn Wire>>> + Send + 'static,
    {
        Self { dial: Some(Arc::new(move |address| dial(address).boxed())), ..self }
    }

    pub(crate) async fn lookup(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        (self.lookup)(host.to_owned(), port).await
    }

    /// A channel without TLS that connects to this address when it is first used, and again whenever it must.
    pub(crate) fn channel(&self, endpoint: &Endpoint, address: SocketAddr) -> Channel {
        let Some(dial) = self.dial.clone() else { return endpoint.connect_lazy() };
        endpoint.connect_with_connector_lazy(service_fn(move |_: Uri| dial(address).map(|wire| wire.map(TokioIo::new))))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Resolver")
    }
}
