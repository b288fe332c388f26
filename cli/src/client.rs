//! The gRPC connection of the reading commands, and their errors in words that say what to do.

use std::{path::PathBuf, time::Duration};

use anyhow::anyhow;
use calbridge_process::service_addresses;
use calbridge_proto::v1::{
    booking_service_client::BookingServiceClient, delivery_service_client::DeliveryServiceClient,
};
use clap::Args;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};
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

/// Where to read, whose bookings, and how to print them.
#[derive(Args)]
pub(crate) struct Reader {
    /// The booking service; of several addresses, joined by commas, the first that answers [default:
    /// http://127.0.0.1:50051]
    #[arg(long, env = "CALBRIDGE_SERVICE", value_name = "http://HOST:PORT,…")]
    #[allow(clippy::doc_markdown, rustdoc::bare_urls, reason = "this comment is the help text of a terminal")]
    pub(crate) service: Option<String>,
    /// The config file; of it only `service` counts here
    #[arg(long, env = "CALBRIDGE_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Whose bookings [default: default]
    #[arg(long, env = "CALBRIDGE_TENANT", value_name = "TENANT")]
    tenant: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) output: Format,
}

/// Every command that reads bookings speaks through this client.
pub(crate) type Client = BookingServiceClient<Channel>;
/// And every command about what was received through this one.
pub(crate) type Deliveries = DeliveryServiceClient<Channel>;

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
        connect(&self.addresses()?).await
    }

    /// The same, to speak of deliveries.
    pub(crate) async fn connect_to_deliveries(&self) -> anyhow::Result<Deliveries> {
        let client = DeliveryServiceClient::new(channel(&self.addresses()?).await?);
        Ok(client.max_decoding_message_size(MAX_MESSAGE))
    }

    fn addresses(&self) -> anyhow::Result<Vec<String>> {
        Ok(service_addresses(self.service.clone(), self.config.clone())?)
    }
}

/// Connects to the booking service at the first of these `http://HOST:PORT` that answers.
pub(crate) async fn connect(services: &[String]) -> anyhow::Result<Client> {
    Ok(BookingServiceClient::new(channel(services).await?).max_decoding_message_size(MAX_MESSAGE))
}

/// One after the other: replicas read one store, so whichever is there will do.
async fn channel(services: &[String]) -> anyhow::Result<Channel> {
    for service in services {
        let endpoint = Endpoint::from_shared(service.clone()).map_err(|_| {
            anyhow!("--service = {service}: write it as http://HOST:PORT, for example http://127.0.0.1:50051")
        })?;
        let channel = endpoint.connect_timeout(CONNECT_TIMEOUT).timeout(REQUEST_TIMEOUT).connect().await;
        if let Ok(channel) = channel {
            return Ok(channel);
        }
    }
    Err(anyhow!(
        "no booking service answers at {}; is `calbridge up` running there? (another place: --service)",
        services.join(" or ")
    ))
}

/// The service's refusal in one line: its message, and the reason that scripts can match.
pub(crate) fn refused(status: &Status) -> anyhow::Error {
    match status.get_details_error_info() {
        Some(info) => anyhow!("{} ({})", status.message(), info.reason),
        None => anyhow!("{} ({:?})", status.message(), status.code()),
    }
}
