//! One refused webhook as it lies on the disk: all that is needed to judge it again, and to make of it what it would
//! have been.
//!
//! It is encoded like a protobuf message, so that another release reads what this one wrote; nobody else ever sees it.

use bytes::Bytes;
use calbridge_proto::v1::BookingEvent;
use http::{HeaderMap, HeaderName, HeaderValue};
use prost::Message;
use sha2::{Digest as _, Sha256};

use crate::moment::time_of;

/// Its bytes beside the body, the signature and the texts: tags, lengths and the head of its record.
const OVERHEAD: u64 = 256;

/// What was refused, but for the tenant and the time, which the record has.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Webhook {
    /// The id that the request got.
    #[prost(string, tag = "1")]
    pub(super) request_id: String,
    /// The address that sent it, for the budget and for the operator.
    #[prost(string, tag = "2")]
    pub(super) source: String,
    /// The header that bore the signature.
    #[prost(string, tag = "3")]
    pub(super) signature_name: String,
    /// The signature as it was sent.
    #[prost(bytes = "vec", tag = "4")]
    pub(super) signature: Vec<u8>,
    /// `X-Cal-Webhook-Version` as an event has it.
    #[prost(string, tag = "5")]
    pub(super) version: String,
    /// `Content-Type` as an event has it.
    #[prost(string, tag = "6")]
    pub(super) content_type: String,
    /// Exactly as it came in.
    #[prost(bytes = "bytes", tag = "7")]
    pub(super) raw_body: Bytes,
}

/// What tells one claim from another.
pub(super) type Claim = [u8; 16];

impl Webhook {
    /// About as many bytes as it takes on the disk, and never fewer.
    pub(super) fn weight(&self) -> u64 {
        let texts = [&self.request_id, &self.source, &self.signature_name, &self.version, &self.content_type];
        let texts: usize = texts.iter().map(|text| text.len()).sum();
        (texts + self.signature.len() + self.raw_body.len()) as u64 + OVERHEAD
    }

    /// That this body is the tenant's, by this signature. The sender's next try claims the same; the same body with
    /// another signature does not, or whoever guesses a body could keep the authentic one out.
    pub(super) fn claim(&self, tenant: &str) -> Claim {
        let mut hash = Sha256::new();
        for part in [tenant.as_bytes(), self.signature.as_slice()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.update(&self.raw_body);
        let hash: [u8; 32] = hash.finalize().into();
        let mut claim = Claim::default();
        claim.copy_from_slice(&hash[..16]);
        claim
    }

    /// The headers by which the signature is judged.
    pub(super) fn headers(&self) -> HeaderMap {
        let name = HeaderName::try_from(self.signature_name.as_str());
        let value = HeaderValue::from_bytes(&self.signature);
        name.ok().zip(value.ok()).into_iter().collect()
    }

    /// The event that it becomes once this secret has verified it: received when it was, by the request that it was.
    pub(super) fn into_event(self, tenant: &str, time: i64, secret_id: &str) -> BookingEvent {
        let typed = calbridge_calcom::type_body(&self.raw_body);
        let mut event = BookingEvent {
            tenant: tenant.to_owned(),
            receive_time: Some(time_of(time).into()),
            webhook_version: self.version,
            content_type: self.content_type,
            secret_id: secret_id.to_owned(),
            request_id: self.request_id,
            raw_body: self.raw_body,
            recovered: true,
            ..BookingEvent::default()
        };
        typed.into_event(&mut event);
        event
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use prost_types::Timestamp;

    use super::*;

    pub(crate) fn webhook(body: &[u8]) -> Webhook {
        Webhook {
            request_id: "0192f0c1-2345-7abc-8def-0123456789ab".to_owned(),
            source: "192.0.2.7".to_owned(),
            signature_name: "x-cal-signature-256".to_owned(),
            signature: "ab".repeat(32).into_bytes(),
            version: "2021-10-20".to_owned(),
            content_type: "application/json".to_owned(),
            raw_body: Bytes::copy_from_slice(body),
        }
    }

    #[test]
    fn it_becomes_the_event_that_it_would_have_been() {
        let event = webhook(b"false").into_event("acme", 1_790_000_000_123_456, "literal:2");
        assert_eq!(event.receive_time, Some(Timestamp { seconds: 1_790_000_000, nanos: 123_456_000 }));
        assert_eq!((event.tenant.as_str(), event.secret_id.as_str()), ("acme", "literal:2"));
        assert_eq!(event.request_id, "0192f0c1-2345-7abc-8def-0123456789ab");
        assert!(event.recovered && event.payload.is_none() && event.trace_parent.is_empty());
        assert_eq!(event.raw_body, "false");
        let headers = webhook(b"").headers();
        assert_eq!(headers["x-cal-signature-256"], "ab".repeat(32));
    }

    #[test]
    fn the_same_body_with_another_signature_is_another_claim() {
        let one = webhook(b"body");
        let again = Webhook { request_id: "other".to_owned(), source: "192.0.2.8".to_owned(), ..one.clone() };
        assert_eq!(one.claim("acme"), again.claim("acme"));
        assert_ne!(one.claim("acme"), one.claim("other"));
        assert_ne!(one.claim("acme"), webhook(b"bod").claim("acme"));
        assert_ne!(one.claim("acme"), Webhook { signature: b"cd".repeat(32), ..one.clone() }.claim("acme"));
    }

    proptest! {
        #[test]
        fn it_weighs_no_less_than_it_takes(body: Vec<u8>, signature: Vec<u8>, text in ".{0,300}") {
            let version = text.clone();
            let webhook = Webhook { signature, version, content_type: text, ..webhook(&body) };
            let mut bytes = Vec::new();
            let kind = crate::segment::record::Kind::Quarantined;
            let tenant = "a".repeat(64);
            let length = crate::segment::record::encode(&mut bytes, 1, kind, &tenant, 5, &webhook.encode_to_vec());
            prop_assert!(length as u64 <= webhook.weight());
            prop_assert_eq!(Webhook::decode(webhook.encode_to_vec().as_slice()).unwrap(), webhook);
        }
    }
}
