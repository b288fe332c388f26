//! Ports for servers that must be told theirs: redis-server, and a program that comes back on the port it had.
//!
//! They lie below the kernel's ephemeral range, so that no outgoing connection takes one while its server is away (a
//! client that reconnects to a port of that range can even meet itself).

use std::{
    net::TcpListener,
    process,
    sync::atomic::{AtomicU16, Ordering},
};

const FIRST: u16 = 12_000;
const COUNT: u16 = 18_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port on which nobody listens at this moment.
#[must_use]
pub fn free() -> u16 {
    // Each test is a process of its own under nextest, and these run side by side.
    let start = u16::try_from(process::id() * 37 % u32::from(COUNT)).unwrap();
    for _ in 0..COUNT {
        let port = FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}
