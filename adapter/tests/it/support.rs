//! A running adapter on port 0, a booking service that does as it is told, and senders on raw sockets.

pub(crate) mod sender;
pub(crate) mod service;

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use calbridge_adapter::{
    Error, Moment, Resolver, Settings,
    simulation::{self, Disk},
};
use calbridge_calcom::golden::{self, Golden};
use calbridge_e2e::wait;
use calbridge_process::{Access, Ack, Limits, RateStatus, Secret, Tenant};
use calbridge_proto::v1::Trigger;
use calbridge_telemetry::Readiness;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// The secret of the tenant `default`.
pub(crate) const SECRET: &str = "whsec_of_the_default_tenant";

/// The two secrets of the tenant `acme`, the old one first.
pub(crate) const ACME: [&str; 2] = ["acme_before_the_rotation", "acme_after_the_rotation"];

/// A running adapter.
pub(crate) struct Adapter {
    pub(crate) address: SocketAddr,
    pub(crate) readiness: Readiness,
    pub(crate) shutdown: CancellationToken,
    pub(crate) running: JoinHandle<Result<(), Error>>,
}

impl Adapter {
    /// Starts one that forwards to `service`, with these limits.
    pub(crate) async fn start(service: SocketAddr, limits: Limits) -> Self {
        Self::start_with(settings(&[format!("http://{service}")], limits)).await
    }

    /// Starts one that forwards to all of these, and waits until it could make a webhook durable.
    pub(crate) async fn among(services: &[service::Service], limits: Limits) -> Self {
        let services: Vec<String> = services.iter().map(|service| format!("http://{}", service.address)).collect();
        let adapter = Self::start_with(settings(&services, limits)).await;
        wait::holds("the adapter is ready", async || adapter.readiness.is_ready()).await;
        adapter
    }

    pub(crate) async fn start_with(settings: Settings) -> Self {
        Self::begin(|listener, readiness, shutdown| calbridge_adapter::run(settings, listener, readiness, shutdown))
            .await
    }

    /// Starts one whose spool is on this disk.
    pub(crate) async fn start_on(disk: Disk, settings: Settings) -> Self {
        Self::begin(|listener, readiness, shutdown| simulation::run(settings, disk, listener, readiness, shutdown))
            .await
    }

    async fn begin<R>(run: impl FnOnce(TcpListener, Readiness, CancellationToken) -> R) -> Self
    where
        R: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (readiness, shutdown) = (Readiness::new(), CancellationToken::new());
        let running = tokio::spawn(run(listener, readiness.clone(), shutdown.clone()));
        Self { address, readiness, shutdown, running }
    }

    /// Starts one and waits until it could make a webhook durable.
    pub(crate) async fn ready(service: &service::Service, limits: Limits) -> Self {
        let adapter = Self::start(service.address, limits).await;
        wait::holds("the adapter is ready", async || adapter.readiness.is_ready()).await;
        adapter
    }
}

/// The tests' tenants, and these services.
pub(crate) fn settings(services: &[String], limits: Limits) -> Settings {
    let (services, resolver) = (services.to_vec(), Resolver::system());
    Settings {
        tenants: tenants(),
        reload: None,
        trusted_proxies: Vec::new(),
        tls: None,
        services,
        access: Access::default(),
        resolver,
        limits,
        spool: None,
        quarantine: None,
        ack: Ack::Committed,
        moment: Moment::now,
    }
}

/// The defaults, with waits that suit a test.
pub(crate) fn limits() -> Limits {
    Limits {
        body_bytes: 1024 * 1024,
        header_bytes: 16 * 1024,
        header_count: 100,
        header_timeout: Duration::from_secs(10),
        body_timeout: Duration::from_secs(10),
        connections: 1024,
        in_flight: 1024,
        in_flight_bytes: 256 * 1024 * 1024,
        tenant_rate: None,
        source_rate: None,
        rate_status: RateStatus::Unavailable,
        forward_deadline: Duration::from_secs(5),
        shutdown_grace: Duration::from_secs(8),
    }
}

/// `default` has one secret, `acme` two, `open` none.
pub(crate) fn tenants() -> BTreeMap<String, Tenant> {
    let secret = |id: &str, value: &str| Secret::always(id, value);
    let signed = |secrets| Tenant { secrets, allow_unsigned: false };
    BTreeMap::from([
        ("default".to_owned(), signed(vec![secret("env:CALCOM_WEBHOOK_SECRET", SECRET)])),
        ("acme".to_owned(), signed(vec![secret("file:old", ACME[0]), secret("file:new", ACME[1])])),
        ("open".to_owned(), Tenant { secrets: Vec::new(), allow_unsigned: true }),
    ])
}

/// The body of a `BOOKING_CREATED`.
pub(crate) fn created(uid: &str) -> Vec<u8> {
    let time = |seconds| jiff::Timestamp::from_second(seconds).unwrap();
    golden::body(Trigger::BookingCreated, &Golden::new(uid, 1, time(1_790_000_000), time(1_790_100_000)))
}

/// What Cal.com puts into `X-Cal-Signature-256`.
pub(crate) fn sign(secret: &str, body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(body);
    hex::encode(mac.finalize().into_bytes())
}
