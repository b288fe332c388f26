//! Works off a durable consumer of its own until Ctrl-C: killed and started again, it goes on where it was.
//!
//!     cargo run --example consume -- http://127.0.0.1:50051 billing

use anyhow::Context as _;
use calbridge_client::{
    Access, Consume, Settled,
    v1::{Consumer, consume_response::Item},
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (service, consumer) =
        (arguments.next().context("which service?")?, arguments.next().context("which consumer?")?);
    let connection = Access { service, ..Access::default() }.connection()?;
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    Consume::new(connection, "default", consumer).made_with(Consumer::default()).run(&handle, stop).await?;
    Ok(())
}

async fn handle(item: Item) -> Settled {
    let Some(made) = item.transition else { return Settled::Skip };
    println!("{} {}", made.uid, made.to_status().as_str_name());
    Settled::Ack
}
