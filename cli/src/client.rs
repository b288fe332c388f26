//! The gRPC connection of the reading commands, and their errors in words that say what to do.

use std::{error::Error as _, path::PathBuf, time::Duration};

use anyhow::anyhow;
use calbridge_process::{Access, Credentials, ServiceOptions, is_https, service_access};
use calbridge_proto::v1::{
    booking_service_client::BookingServiceClient, consumer_service_client::ConsumerServiceClient,
    delivery_service_client::DeliveryServiceClient,
};
use clap::{Args, builder::BoolishValueParser};
use http::{Uri, header::AUTHORIZATION};
use tokio::time::timeout;
use tonic::{
    Request, Status,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt as _;

use crate::output::Format;

/// A service that does not accept within this time is as good as away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A page of a thousand bookings takes a fraction of this.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// One booking may be larger than gRPC takes unless told otherwise, and a difference shows two.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;
/// The most pages that one command reads: a bound on a server that never ends.
pub(crate) const MAX_PAGES: usize = 10_000;
/// The service's own maximum.
pub(crate) const PAGE_SIZE: i32 = 1000;

/// Where the booking service is, and what is shown there.
#[derive(Args)]
pub(crate) struct Target {
    /// The booking service; of several addresses, joined by commas, the first that answers [default:
    /// http://127.0.0.1:50051]
    #[arg(long, env = "CALBRIDGE_SERVICE", value_name = "http://HOST:PORT,…")]
    #[allow(clippy::doc_markdown, rustdoc::bare_urls, reason = "this comment is the help text of a terminal")]
    service: Option<String>,
    /// Who may vouch for the booking service at https://, in PEM form [default: the public authorities]
    #[arg(long, env = "CALBRIDGE_SERVICE_CA", value_name = "FILE")]
    service_ca: Option<PathBuf>,
    /// The certificate that is shown to the booking service, in PEM form
    #[arg(long, env = "CALBRIDGE_SERVICE_CERTIFICATE", value_name = "FILE")]
    service_certificate: Option<PathBuf>,
    /// The private key of that certificate, in PEM form
    #[arg(long, env = "CALBRIDGE_SERVICE_KEY", value_name = "FILE")]
    service_key: Option<PathBuf>,
    /// The file of the token that is shown to the booking service
    #[arg(long, env = "CALBRIDGE_SERVICE_TOKEN_FILE", value_name = "FILE")]
    service_token_file: Option<PathBuf>,
    /// Let the token travel beyond loopback without TLS
    #[arg(long, env = "CALBRIDGE_INSECURE", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL",
          value_parser = BoolishValueParser::new())]
    insecure: Option<bool>,
    /// The config file; of it only what says where things are counts here, and `insecure`
    #[arg(long, env = "CALBRIDGE_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// Where to read, whose bookings, and how to print them.
#[derive(Args)]
pub(crate) struct Reader {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Whose bookings [default: default]
    #[arg(long, env = "CALBRIDGE_TENANT", value_name = "TENANT")]
    tenant: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) output: Format,
}

/// Every command that reads bookings speaks through this client.
pub(crate) type Client = BookingServiceClient<Connection>;
/// And every command about what was received through this one.
pub(crate) type Deliveries = DeliveryServiceClient<Connection>;
/// And every command about consumers through this one.
pub(crate) type Consumers = ConsumerServiceClient<Connection>;
/// A channel that says at each call who we are.
pub(crate) type Connection = InterceptedService<Channel, Bearer>;

/// Adds our token to a call, where we have one.
#[derive(Debug, Clone)]
pub(crate) struct Bearer(Credentials);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(authorization) = self.0.authorization() {
            request.metadata_mut().as_mut().insert(AUTHORIZATION, authorization);
        }
        Ok(request)
    }
}

impl Reader {
    /// Whose bookings: those of the tenant that was said, or of `default`.
    pub(crate) fn tenant(&self) -> String {
        self.tenant.clone().unwrap_or_else(|| "default".to_owned())
    }

    /// The tenant that was said.
    pub(crate) fn said_tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    /// Connects to the booking service.
    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        let (services, access) = self.target.read()?;
        connect(&services, &access).await
    }

    /// The same, for whatever speaks through it.
    pub(crate) async fn connection(&self) -> anyhow::Result<Connection> {
        let (services, access) = self.target.read()?;
        channel(&services, &access).await
    }

    /// The same, to speak of deliveries.
    pub(crate) async fn connect_to_deliveries(&self) -> anyhow::Result<Deliveries> {
        let (services, access) = self.target.read()?;
        let client = DeliveryServiceClient::new(channel(&services, &access).await?);
        Ok(client.max_decoding_message_size(MAX_MESSAGE))
    }

    /// The same, to speak of consumers.
    pub(crate) async fn connect_to_consumers(&self) -> anyhow::Result<Consumers> {
        let (services, access) = self.target.read()?;
        let client = ConsumerServiceClient::new(channel(&services, &access).await?);
        Ok(client.max_decoding_message_size(MAX_MESSAGE))
    }
}

impl Target {
    /// Its addresses, and what is shown there.
    pub(crate) fn read(&self) -> anyhow::Result<(Vec<String>, Access)> {
        Ok(service_access(ServiceOptions {
            service: self.service.clone(),
            ca: self.service_ca.clone(),
            certificate: self.service_certificate.clone(),
            key: self.service_key.clone(),
            token_file: self.service_token_file.clone(),
            config: self.config.clone(),
            insecure: self.insecure,
        })?)
    }
}

/// Connects to the booking service at the first of these addresses that answers.
pub(crate) async fn connect(services: &[String], access: &Access) -> anyhow::Result<Client> {
    Ok(BookingServiceClient::new(channel(services, access).await?).max_decoding_message_size(MAX_MESSAGE))
}

/// One after the other: replicas read one store, so whichever is there will do.
pub(crate) async fn channel(services: &[String], access: &Access) -> anyhow::Result<Connection> {
    let credentials = access.open()?;
    let mut refused = Vec::new();
    for service in services {
        match reach(service, &credentials).await {
            Ok(channel) => match answers(channel.clone()).await {
                Ok(()) => return Ok(InterceptedService::new(channel, Bearer(credentials))),
                Err(failure) if is_https(service) => refused.push(format!("{service}: {failure}")),
                Err(failure) => {
                    refused.push(format!("{service}: {failure}; if that port speaks TLS, it must begin with https://"));
                }
            },
            // Where nobody listens there is nothing more to say; what TLS says of a certificate is worth knowing.
            Err(failure) if is_https(service) => refused.push(format!("{service}: {failure:#}")),
            Err(_) => {}
        }
    }
    let mut why = format!(
        "no booking service answers at {}; is `calbridge up` running there? (another place: --service)",
        services.join(" or ")
    );
    for refused in refused {
        why.push('\n');
        why.push_str(&refused);
    }
    Err(anyhow!(why))
}

/// Whether a service is behind a connection: the system takes one for a process that hangs as well, and a port may
/// speak something else. Whatever a service says is an answer.
async fn answers(channel: Channel) -> anyhow::Result<()> {
    let mut health = HealthClient::new(channel);
    let asked = timeout(CONNECT_TIMEOUT, health.check(HealthCheckRequest::default())).await;
    match asked.map_err(|_| anyhow!("it takes a connection and does not answer"))? {
        // What a service says has no cause on this side.
        Err(status) if status.source().is_some() => Err(refused(&status)),
        _ => Ok(()),
    }
}

async fn reach(service: &str, credentials: &Credentials) -> anyhow::Result<Channel> {
    let mend = || anyhow!("--service = {service}: write it as http://HOST:PORT or https://HOST:PORT");
    let origin: Uri = service.parse().map_err(|_| mend())?;
    let host = origin.host().ok_or_else(mend)?.to_owned();
    if !is_https(service) {
        return Ok(bounded(Endpoint::from(origin)).connect().await?);
    }
    let connector = credentials.connector(&host).ok_or_else(mend)?;
    let authority = origin.authority().ok_or_else(mend)?.as_str();
    // Without TLS as far as tonic is concerned: the connector has seen to that.
    let to = Uri::builder().scheme("http").authority(authority).path_and_query("/").build()?;
    Ok(bounded(Endpoint::from(to)).origin(origin).connect_with_connector(connector).await?)
}

fn bounded(endpoint: Endpoint) -> Endpoint {
    endpoint.connect_timeout(CONNECT_TIMEOUT).timeout(REQUEST_TIMEOUT)
}

/// The service's refusal in one line: its message, and the reason that scripts can match. What no service has said, but
/// whatever lies between, is told with its causes.
pub(crate) fn refused(status: &Status) -> anyhow::Error {
    if let Some(info) = status.get_details_error_info() {
        return anyhow!("{} ({})", status.message(), info.reason);
    }
    let mut why = format!("{} ({:?})", status.message(), status.code());
    let mut said = status.message().to_owned();
    let mut cause = status.source();
    while let Some(of_it) = cause {
        // A cause often says what is said already.
        if of_it.to_string() != said {
            said = of_it.to_string();
            why = format!("{why}: {said}");
        }
        cause = of_it.source();
    }
    anyhow!(why)
}
