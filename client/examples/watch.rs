//! Prints what is kept of the log, then what is committed from now on, through whatever happens to the service.
//!
//!     cargo run --example watch -- http://127.0.0.1:50051

use anyhow::Context as _;
use calbridge_client::{
    Access, Watch, Watched,
    v1::{WatchTransitionsRequest, watch_transitions_response::Entry},
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let service = std::env::args().nth(1).context("which service?")?;
    let connection = Access { service, ..Access::default() }.connection()?;
    let request = WatchTransitionsRequest { tenant: "default".to_owned(), ..WatchTransitionsRequest::default() };
    let mut watch = Watch::new(connection, request);
    while let Some(watched) = watch.next().await? {
        match watched {
            Watched::Entry(Entry::Transition(made)) => println!("{} {}", made.uid, made.to_status().as_str_name()),
            Watched::Entry(_) => {}
            Watched::Interrupted { status, pause } => eprintln!("{}; going on in {pause:?}", status.message()),
        }
    }
    Ok(())
}
