//! A replica of the booking service, as spans and metrics tell it.

use std::{net::SocketAddr, sync::Arc};

/// Where a replica is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its address, not the name that led to it: two replicas of one name are told apart by it.
    pub(crate) host: Arc<str>,
    /// TCP port.
    pub(crate) port: u16,
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string().into(), port: address.port() }
    }
}
