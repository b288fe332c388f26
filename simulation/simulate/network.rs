//! The simulated network, as adapter, service and clients see it; and the time that all of them are told.

use std::{
    cell::RefCell,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use calbridge_adapter::{Moment, simulation::Wire};
use calbridge_e2e::chance::Chance;
use calbridge_process::Listener;
use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint};
use turmoil::net::{TcpListener, TcpStream};
use uuid::Builder;

use crate::plan::Host;

/// Where an adapter listens.
pub(crate) const HTTP: u16 = 8080;
/// Where a service does.
pub(crate) const GRPC: u16 = 50051;
/// When it all begins, in seconds since 1970-01-01T00:00:00Z: after the golden lives are booked, before they start.
const BEGIN: u64 = 1_790_000_000 + 3_600;
/// A reader's connection is asked whether it lives this often.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

thread_local! {
    static IDS: RefCell<Chance> = RefCell::new(Chance::new(0));
}

/// A listener of a simulated host.
pub(crate) struct Door(TcpListener);

impl Door {
    pub(crate) async fn open(port: u16) -> io::Result<Self> {
        Ok(Self(TcpListener::bind((IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)).await?))
    }
}

impl Listener for Door {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.0.accept().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A connection to an address, as an adapter asks for it.
pub(crate) async fn dial(address: SocketAddr) -> io::Result<Box<dyn Wire>> {
    Ok(Box::new(TcpStream::connect(address).await?))
}

/// A channel to a service, as a client of it has one.
pub(crate) fn channel(service: Host) -> Channel {
    let endpoint = Endpoint::from_static("http://service")
        .connect_timeout(KEEP_ALIVE)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true);
    endpoint.connect_with_connector_lazy(tower::service_fn(move |_| async move {
        Ok::<_, io::Error>(TokioIo::new(TcpStream::connect((service.to_string(), GRPC)).await?))
    }))
}

/// Begins the ids of a seed.
pub(crate) fn begin(seed: u64) {
    IDS.set(Chance::new(seed ^ 0x1D5));
    fastrand::seed(seed);
}

/// The time of all machines.
pub(crate) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(BEGIN) + turmoil::sim_elapsed().unwrap_or_default()
}

/// The same as the service counts it.
pub(crate) fn micros() -> i64 {
    let since = now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// The same as the adapter is told it, with an id.
pub(crate) fn moment() -> Moment {
    let (time, mut random) = (now(), [0; 10]);
    IDS.with_borrow_mut(|ids| random.iter_mut().for_each(|byte| *byte = ids.number().to_le_bytes()[0]));
    let milliseconds = u64::try_from(micros() / 1_000).unwrap_or(0);
    Moment { time, request_id: Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid() }
}
