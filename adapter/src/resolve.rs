//! From a host's name to its addresses. It is a setting, so that a test can change the answer without a name server.

use std::{fmt, future::Future, io, net::SocketAddr, sync::Arc};

use futures_util::{FutureExt as _, future::BoxFuture};

/// The addresses of a name, on their way.
type Lookup = BoxFuture<'static, io::Result<Vec<SocketAddr>>>;

/// Answers the addresses of a name, each with the port that was asked for.
#[derive(Clone)]
pub struct Resolver(Arc<dyn Fn(String, u16) -> Lookup + Send + Sync>);

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
        Self(Arc::new(move |host, port| lookup(host, port).boxed()))
    }

    pub(crate) async fn lookup(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        (self.0)(host.to_owned(), port).await
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Resolver")
    }
}
