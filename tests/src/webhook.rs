//! Cal.com's side of the HTTP edge: a signed POST and what came back. The signature is written here from Cal.com's
//! rules, apart from the product's own.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use calbridge_calcom::golden::{self, Golden};
use calbridge_proto::v1::Trigger;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The header that Cal.com signs in.
pub const SIGNATURE: &str = "X-Cal-Signature-256";

/// Lower-case hex HMAC-SHA256 of the body under the secret's bytes, as Cal.com sends it.
#[must_use]
pub fn sign(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

/// SHA-256, as a delivery's key has it.
#[must_use]
pub fn sha256(body: &[u8]) -> Vec<u8> {
    Sha256::digest(body).to_vec()
}

/// A `BOOKING_CREATED` of a booking of its own: the same body each time for one uid.
#[must_use]
pub fn created(uid: &str) -> Vec<u8> {
    of(Trigger::BookingCreated, uid)
}

/// A webhook about a booking of its own, by any trigger.
#[must_use]
pub fn of(trigger: Trigger, uid: &str) -> Vec<u8> {
    let [made, begins] = [1_790_000_000, 1_790_090_000].map(|second| Timestamp::from_second(second).unwrap());
    golden::body(trigger, &Golden::new(uid, 2_001, made, begins))
}

/// What the edge answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, whole.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; null where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// `outcome` of a 200; empty where there is none.
    #[must_use]
    pub fn outcome(&self) -> String {
        self.json()["outcome"].as_str().unwrap_or_default().to_owned()
    }

    /// `delivery_id` of a 200; empty where there is none.
    #[must_use]
    pub fn delivery_id(&self) -> String {
        self.json()["delivery_id"].as_str().unwrap_or_default().to_owned()
    }
}

/// A sender with connections that stay open.
#[derive(Debug, Clone)]
pub struct Sender {
    client: Client<HttpConnector, Full<Bytes>>,
    edge: SocketAddr,
}

impl Sender {
    /// HTTP/1.1, as Cal.com sends.
    #[must_use]
    pub fn new(edge: SocketAddr) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), edge }
    }

    /// HTTP/1.1 from another address of this machine.
    #[must_use]
    pub fn from(address: IpAddr, edge: SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_local_address(Some(address));
        Self { client: Client::builder(TokioExecutor::new()).build(connector), edge }
    }

    /// HTTP/2 without TLS, as a proxy may speak.
    #[must_use]
    pub fn h2c(edge: SocketAddr) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).http2_only(true).build_http(), edge }
    }

    /// Signs and posts to a tenant; fails the test where no answer comes at all.
    pub async fn send(&self, tenant: &str, secret: &str, body: impl Into<Bytes>) -> Answer {
        self.try_send(tenant, secret, body).await.unwrap()
    }

    /// Signs and posts to a tenant; the error says that the connection gave no answer.
    ///
    /// # Errors
    ///
    /// What the connection said.
    pub async fn try_send(&self, tenant: &str, secret: &str, body: impl Into<Bytes>) -> Result<Answer, String> {
        let body = body.into();
        let signature = sign(secret, &body);
        let headers = [("Content-Type", "application/json"), (SIGNATURE, &signature), VERSION];
        self.request(Method::POST, &format!("/webhooks/calcom/{tenant}"), &headers, body).await
    }

    /// Any request.
    ///
    /// # Errors
    ///
    /// What the connection said where it gave no answer.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, String> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.edge));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).map_err(|why| why.to_string())?;
        let response = self.client.request(request).await.map_err(|why| format!("{why:?}"))?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|why| why.to_string())?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// GET, for admin listeners.
    pub async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path, &[], Bytes::new()).await.unwrap()
    }
}

const VERSION: (&str, &str) = ("X-Cal-Webhook-Version", "2021-10-20");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_rfc_4231_says() {
        assert_eq!(
            sign("Jefe", b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
