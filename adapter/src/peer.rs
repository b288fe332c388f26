//! The booking service's address, as spans and metrics tell it.

/// Where the service is, as spans tell it.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Host name or address.
    pub(crate) host: String,
    /// TCP port.
    pub(crate) port: u16,
}
