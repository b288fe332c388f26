//! The gRPC connection of the reading commands, and their errors in words that say what to do.

use std::{path::PathBuf, time::Duration};

use anyhow::anyhow;
use calbridge_process::service_address;
use calbridge_proto::v1::booking_service_client::BookingServiceClient;
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

/// Where to read, whose bookings, and how to print them.
#[derive(Args)]
pub(crate) struct Reader {
    /// The booking service [default: http://127.0.0.1:50051]
    #[arg(long, env = "CALBRIDGE_SERVICE", value_name = "http://HOST:PORT")]
    #[allow(clippy::doc_markdown, rustdoc::bare_urls, reason = "this comment is the help text of a terminal")]
    pub(crate) service: Option<String>,
    /// The config file; of it only `service` counts here
    #[arg(long, env = "CALBRIDGE_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Whose bookings
    #[arg(long, env = "CALBRIDGE_TENANT", default_value = "default")]
    pub(crate) tenant: String,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) output: Format,
}

/// Every reading command speaks through this client.
pub(crate) type Client = BookingServiceClient<Channel>;

impl Reader {
    /// Connects to the booking service.
    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        connect(&service_address(self.service.clone(), self.config.clone())?).await
    }
}

/// Connects to the booking service at `http://HOST:PORT`.
pub(crate) async fn connect(service: &str) -> anyhow::Result<Client> {
    let endpoint = Endpoint::from_shared(service.to_owned()).map_err(|_| {
        anyhow!("--service = {service}: write it as http://HOST:PORT, for example http://127.0.0.1:50051")
    })?;
    let channel = endpoint.connect_timeout(CONNECT_TIMEOUT).timeout(REQUEST_TIMEOUT).connect().await;
    let channel = channel.map_err(|_| {
        anyhow!("no booking service answers at {service}; is `calbridge up` running there? (another place: --service)")
    })?;
    Ok(BookingServiceClient::new(channel))
}

/// The service's refusal in one line: its message, and the reason that scripts can match.
pub(crate) fn refused(status: &Status) -> anyhow::Error {
    match status.get_details_error_info() {
        Some(info) => anyhow!("{} ({})", status.message(), info.reason),
        None => anyhow!("{} ({:?})", status.message(), status.code()),
    }
}
