//! What an internal service written in Rust takes in: the generated clients of `calbridge.v1`, and the two things that
//! every reader of the log would write again: a [`Watch`] that carries its cursor through disconnects, and [`Consume`],
//! which hands a durable consumer's items to a [`Handler`] and tells the service what became of each.
//!
//! Both reach the service through a [`Connect`]: a tonic channel as the caller builds it, with its TLS and its token,
//! what [`Access`] makes of an address and a token, or a function. What may pass by itself is waited out; what never
//! will is the caller's error.
//!
//! ```no_run
//! use calbridge_client::{Consume, Settled, v1::consume_response::Item};
//! use tonic::transport::Endpoint;
//!
//! async fn handle(item: Item) -> Settled {
//!     let Some(made) = item.transition else { return Settled::Skip };
//!     println!("{} is {}", made.uid, made.to_status().as_str_name());
//!     Settled::Ack
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let channel = Endpoint::from_static("http://127.0.0.1:50051").connect_lazy();
//!     let stop = async { drop(tokio::signal::ctrl_c().await) };
//!     Consume::new(channel, "default", "billing").run(&handle, stop).await?;
//!     Ok(())
//! }
//! ```

mod connect;
mod consume;
mod pauses;
mod status;
mod watch;

/// Messages, enums and clients of the package `calbridge.v1`.
pub use calbridge_proto::v1;

pub use connect::{Access, AccessError, Bearer, Connect, Connection, Service};
pub use consume::{Consume, Handler, Notice, Settled};
pub use status::{passes, reason};
pub use watch::{Watch, Watched};

/// One booking may be larger than gRPC takes unless told otherwise.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;
/// The service is never silent on a stream for longer than ten seconds; after three times that it is as good as gone,
/// whatever the connection says.
const SILENCE_MAX: std::time::Duration = std::time::Duration::from_secs(30);
/// For a call to be answered, or for a stream to begin.
const CALL_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
