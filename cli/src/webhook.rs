//! Playing Cal.com: sign a body as its sender does, post it, read the answer.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Request, Uri, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

/// The adapter answers within its forwarding deadline; this leaves room for a slow line.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The adapter's answers have a few hundred bytes; whatever else listens there is not read for long.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// The version of the payload that the golden events have.
const VERSION: &str = "2021-10-20";

/// Posts webhooks as Cal.com does.
pub(crate) struct Sender {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// What the HTTP edge answered.
pub(crate) struct Answer {
    pub(crate) status: http::StatusCode,
    /// As sent; not JSON where something else than calbridge listens there.
    pub(crate) body: String,
    /// W3C trace id of the request's way, where the edge said it.
    pub(crate) trace_id: Option<String>,
}

impl Sender {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let provider = rustls::crypto::ring::default_provider();
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(provider)
            .context("TLS can't be set up")?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    /// Posts `body` with this value of `X-Cal-Signature-256`.
    pub(crate) async fn post(&self, url: &Uri, signature: &str, body: Bytes) -> anyhow::Result<Answer> {
        let request = Request::post(url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("X-Cal-Signature-256", signature)
            .header("X-Cal-Webhook-Version", VERSION)
            .body(Full::new(body))?;
        tokio::time::timeout(TIMEOUT, self.exchange(request))
            .await
            .map_err(|_| anyhow!("no answer within {} s", TIMEOUT.as_secs()))?
            .with_context(|| {
                format!("{url} could not be posted to; is `calbridge up` running there? (another place: --url)")
            })
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
        let (head, body) = self.client.request(request).await?.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(|why| anyhow!(why))?.to_bytes();
        let trace_id = head.headers.get("traceresponse").and_then(|value| value.to_str().ok()).and_then(trace_id);
        Ok(Answer { status: head.status, body: String::from_utf8_lossy(&body).into_owned(), trace_id })
    }
}

/// What Cal.com puts into `X-Cal-Signature-256`: HMAC-SHA256 of the body, in lower-case hex, keyed by the secret's
/// bytes.
pub(crate) fn sign(secret: &SecretString, body: &[u8]) -> anyhow::Result<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())?;
    mac.update(body);
    Ok(hex::encode(mac.finalize().into_bytes()))
}

/// A body that no longer fits its signature: one bit of its last byte is another.
pub(crate) fn tampered(body: &[u8]) -> Bytes {
    let mut body = body.to_vec();
    match body.last_mut() {
        Some(byte) => *byte ^= 1,
        None => body.push(b'!'),
    }
    body.into()
}

/// The trace id of a `traceresponse` header: `00-TRACE-SPAN-FLAGS`.
fn trace_id(traceresponse: &str) -> Option<String> {
    traceresponse.split('-').nth(1).filter(|id| id.len() == 32).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_rfc_4231_says() {
        // Test case 2 of RFC 4231.
        let signature = sign(&"Jefe".into(), b"what do ya want for nothing?").unwrap();
        assert_eq!(signature, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn a_tampered_body_is_another() {
        for body in [&b""[..], b"{}"] {
            assert_ne!(tampered(body), body);
        }
    }

    #[test]
    fn the_trace_id_is_read_from_the_answer() {
        assert_eq!(trace_id("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap().len(), 32);
        assert_eq!(trace_id("00"), None);
    }
}
