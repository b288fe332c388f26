//! Reads the log as a service of somebody's would, watching it or consuming it, and writes down what it saw before it
//! acts on it. What it does is drawn by chance from a number; it may be killed at any moment, and goes on from what it
//! wrote down.
//!
//!     history_reader ORDER
//!
//! An order is JSON: [`Order`]. The exit code is 0 where it ended because chance had it so.
#![allow(clippy::panic, clippy::unwrap_used, reason = "what nothing explains ends the test that started it")]

mod consume;
mod notebook;
mod watch;

use std::{path::PathBuf, time::Duration};

use calbridge_e2e::chance::Chance;
use serde::Deserialize;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

use self::notebook::Notebook;

/// For a connection to a service: one that is gone refuses at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Before the next service is tried.
const PAUSE: Duration = Duration::from_millis(20);

/// What it is to do.
#[derive(Debug, Deserialize)]
struct Order {
    /// Where it writes.
    notebook: PathBuf,
    /// The services, as `HOST:PORT`; it takes any of them.
    services: Vec<String>,
    tenant: String,
    seed: u64,
    task: Task,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Task {
    Watch {
        filter: String,
        recorded: bool,
    },
    Consume {
        consumer: String,
        /// Entries that it asks for at a time, at the most.
        most: usize,
        /// It acks whatever it gets.
        orderly: bool,
    },
}

/// Whether it goes on after a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Again,
    Exit,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let order = std::env::args().nth(1).expect("the order is the one argument");
    let order: Order = serde_json::from_str(&order).unwrap();
    let mut notebook = Notebook::open(&order.notebook);
    // Each life is another one.
    let mut chance = Chance::new(order.seed.wrapping_add(notebook.lives()));
    loop {
        let service = &order.services[chance.below(order.services.len())];
        let Ok(channel) = connect(service).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let after = match &order.task {
            Task::Watch { filter, recorded } => {
                watch::one(channel, (&order.tenant, filter, *recorded), &mut notebook, &mut chance).await
            }
            Task::Consume { consumer, most, orderly } => {
                let stream = consume::Stream { tenant: &order.tenant, consumer, most: *most, orderly: *orderly };
                stream.run(channel, &mut notebook, &mut chance).await
            }
        };
        if after == After::Exit {
            return;
        }
    }
}

async fn connect(service: &str) -> Result<Channel, tonic::transport::Error> {
    Endpoint::from_shared(format!("http://{service}"))?.connect_timeout(CONNECT_TIMEOUT).connect().await
}

/// In words, where a service may end so that is killed.
fn end(status: &Status) -> String {
    let of_crashes = [Code::Unavailable, Code::Unknown, Code::Internal, Code::Cancelled];
    assert!(of_crashes.contains(&status.code()), "no crash explains this: {status:?}");
    format!("{:?}: {}", status.code(), status.message())
}
