//! Something under load: where it listens, what is sent to it, and whose costs are looked at.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use calbridge_e2e::{
    system::{SECRET, TENANT},
    webhook::SIGNATURE,
};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{body::Bodies, meter::Watched};

/// Where webhooks go; the tenant's name follows.
pub(super) const PATH: &str = "/webhooks/calcom/";

/// Signs webhooks and prints them as requests.
#[derive(Debug)]
pub struct Sender {
    bodies: Bodies,
    key: Hmac<Sha256>,
    /// Up to the signature.
    head: Vec<u8>,
}

impl Sender {
    /// Of one run's bodies, to `address`.
    #[must_use]
    pub fn new(bodies: Bodies, address: SocketAddr) -> Self {
        let head = format!(
            "POST {PATH}{TENANT} HTTP/1.1\r\nHost: {address}\r\nAccept: */*\r\nUser-Agent: node\r\n\
             Content-Type: application/json\r\nX-Cal-Webhook-Version: 2021-10-20\r\n{SIGNATURE}: "
        );
        Self { bodies, key: key(), head: head.into_bytes() }
    }

    /// Writes a webhook's body and returns its signature.
    pub fn sign(&self, number: u64, body: &mut Vec<u8>) -> [u8; 64] {
        body.clear();
        self.bodies.write(number, body);
        let mut mac = self.key.clone();
        mac.update(body);
        let mut signature = [0; 64];
        // Twice the digest's length, so it fits.
        let _ = hex::encode_to_slice(mac.finalize().into_bytes(), &mut signature);
        signature
    }

    /// Writes a whole request; `body` is room for its body.
    pub fn write(&self, number: u64, body: &mut Vec<u8>, request: &mut Vec<u8>) {
        let signature = self.sign(number, body);
        request.extend_from_slice(&self.head);
        request.extend_from_slice(&signature);
        request.extend_from_slice(format!("\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes());
        request.extend_from_slice(body);
    }
}

/// The key of the tenant that is written to.
#[must_use]
pub(super) fn key() -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "no length of key is refused by HMAC")]
    Hmac::new_from_slice(SECRET.as_bytes()).expect("HMAC takes keys of every length")
}

/// Which webhook is sent next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// One that was never sent.
    New,
    /// The very first, over and over: a retry storm.
    TheFirst,
}

/// Something under load.
#[derive(Debug)]
pub struct Target {
    /// Where it takes webhooks.
    pub address: SocketAddr,
    /// Prints the requests.
    pub sender: Sender,
    /// The processes whose costs are looked at.
    pub watched: Vec<Watched>,
    sent: AtomicU64,
}

impl Target {
    /// Nothing was sent to it yet.
    #[must_use]
    pub fn new(address: SocketAddr, bodies: Bodies, watched: Vec<Watched>) -> Self {
        Self { address, sender: Sender::new(bodies, address), watched, sent: AtomicU64::new(0) }
    }

    /// The number of the webhook to send next.
    pub fn next(&self, next: Next) -> u64 {
        match next {
            Next::New => self.sent.fetch_add(1, Ordering::Relaxed),
            Next::TheFirst => 0,
        }
    }

    /// Goes on behind the first `count`: they were sent before, to the same store.
    pub fn skip(&self, count: u64) {
        self.sent.fetch_max(count, Ordering::Relaxed);
    }

    /// How many different numbers were handed out.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use calbridge_e2e::webhook::sign;
    use jiff::Timestamp;

    use super::*;
    use crate::webhooks::body::{Mix, Traffic};

    #[test]
    fn a_request_carries_its_bodys_signature() {
        let traffic = Traffic { mix: Mix::Life, copies_per_thousand: 0 };
        let address = SocketAddr::from(([127, 0, 0, 1], 8080));
        let sender = Sender::new(Bodies::new(Timestamp::UNIX_EPOCH, traffic), address);
        let (mut body, mut request) = (Vec::new(), Vec::new());
        sender.write(3, &mut body, &mut request);
        let request = String::from_utf8(request).unwrap();
        let (head, sent) = request.split_once("\r\n\r\n").unwrap();
        assert_eq!(sent.as_bytes(), body);
        assert!(head.contains(&format!("{SIGNATURE}: {}\r\n", sign(SECRET, &body))), "{head}");
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{head}");
    }
}
