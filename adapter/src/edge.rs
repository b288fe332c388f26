//! One webhook, from its head to its answer. The order is the rule: whatever costs more, or tells more, comes later.
//!
//! Path, method, size of the head, declared length, the rate of its source, the body, a place among the requests in
//! flight, the signature, the rate of its tenant; only then is the body looked into, forwarded, and answered with a 2xx
//! if it is committed. The place comes after the body, or whoever opens requests without sending their bodies would
//! take the places of those who do.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use calbridge_process::{
    RateStatus,
    crash::{self, Point},
};
use calbridge_proto::v1::{BookingEvent, Trigger};
use calbridge_telemetry::semconv;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Version, header, request::Parts};
use http_body_util::Full;
use hyper::body::Body;
use tokio::sync::Semaphore;
use tracing::{Instrument as _, debug, info_span, record_all, warn};

use crate::{
    Moment, Settings,
    answer::{Answer, outcome_word},
    body::{self, BodyError, Received},
    copies::{Copies, Found},
    durable::{Content, Durable, Stored},
    keys::Keys,
    labels::{self, RequestLabels},
    metrics::Metrics,
    observe::{self, Ends, Serving},
    quarantine::{self, Quarantine},
    rates::Rates,
    route::{self, Route},
    signature::{self, Keyring, Verdict},
    throttle::Throttle,
};

/// Longest request target that is looked at. Our own are below 100 bytes; hyper alone would take 64 KiB.
const URI_BYTES_MOST: usize = 8 * 1024;

/// What a header costs beside its name and value: `: ` and the line end, as HTTP/1.1 sends them.
const HEADER_OVERHEAD: usize = 4;

/// When another try makes sense for a request that found no place: places are held for a fraction of a second.
const RETRY_AFTER_FULL: Duration = Duration::from_secs(1);

/// Of the places for requests one in so many is for a large body that nobody knows yet who sent: those wait for each
/// other, and a flood of them would have everybody else sent away.
const LARGE_SHARE: usize = 8;

/// How much of a header's text goes into an event, in bytes. Cal.com's are below 50, and the service refuses long ones.
const HEADER_TEXT_MOST: usize = 256;

/// Cal.com's version of the payload.
const WEBHOOK_VERSION: HeaderName = HeaderName::from_static("x-cal-webhook-version");

/// The W3C's name (Trace Context level 2) for telling a caller which trace its request became.
const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");

/// Everything a request is served with.
pub(crate) struct Edge {
    keys: Arc<Keys>,
    durable: Durable,
    rates: Rates,
    quarantine: Option<Quarantine>,
    settings: Settings,
    /// One permit for each request whose body is here.
    in_flight: Arc<Semaphore>,
    /// Places of large bodies that nobody knows yet who sent.
    large: Semaphore,
    /// One permit for each byte of the bodies held.
    budget: Arc<Semaphore>,
    copies: Copies,
    metrics: Arc<Metrics>,
    /// One for each kind of line: what strangers can cause must not hold back that webhooks are lost.
    said: Said,
}

/// Lines about refusals, by kind.
#[derive(Default)]
struct Said {
    undurable: Throttle,
    crowded: Throttle,
    full: Throttle,
    often: Throttle,
}

/// A request as it has come, and the keys that count for it.
struct Come<'a> {
    head: &'a Parts,
    peer: IpAddr,
    ring: &'a Keyring,
}

/// A request that holds one of its tenant's secrets.
struct Verified {
    secret_id: Arc<str>,
    body: Received,
    moment: Moment,
}

/// What a body is found to say.
struct Looked {
    trigger: Trigger,
    trigger_name: String,
    disposition: &'static str,
    content: Content,
}

impl Edge {
    /// An edge that lets in by `keys`, makes webhooks durable by `durable`, and hands what may be an operator's mistake
    /// to a quarantine.
    pub(crate) fn new(
        settings: Settings,
        keys: Arc<Keys>,
        durable: Durable,
        quarantine: Option<Quarantine>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let in_flight = settings.limits.in_flight.min(Semaphore::MAX_PERMITS);
        Self {
            keys,
            durable,
            rates: Rates::new(&settings.limits, settings.trusted_proxies.clone()),
            quarantine,
            in_flight: Arc::new(Semaphore::new(in_flight)),
            large: Semaphore::new(in_flight.div_ceil(LARGE_SHARE)),
            budget: Arc::new(Semaphore::new(settings.limits.in_flight_bytes.min(Semaphore::MAX_PERMITS))),
            settings,
            copies: Copies::new(),
            metrics,
            said: Said::default(),
        }
    }

    /// Serves one request.
    pub(crate) async fn handle<B>(&self, request: Request<B>, ends: Ends) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (head, body) = request.into_parts();
        let route = route::resolve(head.uri.path());
        let labels = RequestLabels::of(&head, route, ends.scheme);
        // A reload while it is served changes nothing for this request.
        let ring = self.keys.ring();
        let tenant_known = route.is_some_and(|route| ring.knows(route.tenant));
        let trace = observe::begin(&head, route, tenant_known, ends);
        let span = trace.span.clone();

        let serving = Serving::new(&self.metrics, labels, trace);
        let come = Come { head: &head, peer: ends.peer.ip(), ring: &ring };
        let (answer, traced) = self.serve(&come, route, &serving, body).instrument(span).await;
        let trace = if traced { serving.trace.traceparent.clone() } else { String::new() };
        serving.answered(answer.status());
        let mut response = answer.into_response(head.version < Version::HTTP_2);
        if head.headers.contains_key(header::TRANSFER_ENCODING) {
            // Had it a length besides, the two could be read in two ways: hyper has taken the length away by now, so
            // whatever stands behind any such body is not read as a request.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        // Only who holds a secret is told: the refusals of all others are the same bytes.
        if let (false, Ok(value)) = (trace.is_empty(), HeaderValue::try_from(trace)) {
            response.headers_mut().insert(TRACERESPONSE, value);
        }
        response
    }

    /// The answer, and whether the sender may learn of the trace.
    async fn serve<B>(
        &self,
        come: &Come<'_>,
        route: Option<Route<'_>>,
        serving: &Serving<'_>,
        body: B,
    ) -> (Answer, bool)
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let verified = async {
            let route = self.admit(come.head, route, &body)?;
            self.rates.source(come.peer, &come.head.headers).map_err(|wait| self.often(semconv::LIMIT_SOURCE, wait))?;
            let body = self.read(serving, body).await?;
            let place = Arc::clone(&self.in_flight).try_acquire_owned();
            let place = place.map_err(|_| self.full(semconv::LIMIT_IN_FLIGHT))?;
            let large = signature::takes_turns(&body.bytes).then(|| self.large.try_acquire()).transpose();
            let large = large.map_err(|_| self.full(semconv::LIMIT_IN_FLIGHT))?;
            let verified = self.verify(come, route, serving, body).await?;
            drop(large);
            self.rates.tenant(route.tenant).map_err(|wait| self.often(semconv::LIMIT_TENANT, wait))?;
            Ok((route, verified, place))
        };
        match verified.await {
            Ok((route, verified, _place)) => (self.accept(come.head, route, serving, verified).await, true),
            Err(answer) => (answer, false),
        }
    }

    /// What the head alone can decide.
    fn admit<'a, B: Body>(&self, head: &Parts, route: Option<Route<'a>>, body: &B) -> Result<Route<'a>, Answer> {
        let limits = &self.settings.limits;
        if !is_framed_plainly(&head.headers) {
            return Err(Answer::BodyBroken);
        }
        if target_bytes(head) > URI_BYTES_MOST {
            return Err(Answer::UriTooLong);
        }
        if header_bytes(&head.headers) > limits.header_bytes || head.headers.len() > limits.header_count {
            return Err(Answer::HeadersTooLarge);
        }
        let route = route.ok_or(Answer::NotFound)?;
        if head.method != Method::POST {
            return Err(Answer::MethodNotAllowed);
        }
        if body::declares_more_than(body, limits.body_bytes) {
            return Err(Answer::BodyTooLarge);
        }
        Ok(route)
    }

    /// Reads the body to its end.
    async fn read<B>(&self, serving: &Serving<'_>, body: B) -> Result<Received, Answer>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let limits = &self.settings.limits;
        let body = body::receive(body, limits.body_bytes, limits.body_timeout, &self.budget).await.map_err(|why| {
            debug!(?why, "no whole body");
            match why {
                BodyError::TooLarge => Answer::BodyTooLarge,
                BodyError::TooSlow => Answer::BodyTooSlow,
                BodyError::Broken => Answer::BodyBroken,
                BodyError::NoRoom => self.full(semconv::LIMIT_IN_FLIGHT_BYTES),
            }
        })?;
        self.metrics.requests.body(serving.labels, body.bytes.len());
        let size = i64::try_from(body.bytes.len()).unwrap_or(i64::MAX);
        serving.trace.span.record(semconv::HTTP_REQUEST_BODY_SIZE, size);
        Ok(body)
    }

    /// Checks who sent the body.
    async fn verify(
        &self,
        come: &Come<'_>,
        route: Route<'_>,
        serving: &Serving<'_>,
        body: Received,
    ) -> Result<Verified, Answer> {
        let moment = (self.settings.moment)();
        let make = || info_span!("verify signature", { semconv::otel::NAME } = semconv::span::VERIFY_SIGNATURE);
        let span = serving.child(make);
        let verdict = come.ring.verify(route.tenant, &come.head.headers, &body.bytes, moment.time);
        let verdict = verdict.instrument(span).await;
        let result = verdict.name();
        match verdict {
            Verdict::Signed(secret_id) | Verdict::Unsigned(secret_id) => {
                self.metrics.verified(result, &secret_id);
                return Ok(Verified { secret_id, body, moment });
            }
            Verdict::Missing => {}
            Verdict::Invalid => self.offer(come, route, moment, &body),
        }
        // Anybody can cause this line: the metric counts, the line is for whoever looks closer.
        self.metrics.not_verified(result);
        debug!(result, "a webhook without a valid signature was refused");
        Err(Answer::InvalidSignature)
    }

    /// Hands the quarantine what some secret may have signed, at the same cost whether there is such a tenant or not.
    fn offer(&self, come: &Come<'_>, route: Route<'_>, moment: Moment, body: &Received) {
        let headers = &come.head.headers;
        let (Some(quarantine), Some(signature)) = (&self.quarantine, signature::claimed(headers)) else { return };
        quarantine.offer(quarantine::Refused {
            tenant: route.tenant,
            is_known: come.ring.knows(route.tenant),
            source: self.rates.address(come.peer, headers),
            moment,
            signature,
            webhook_version: text(headers, &WEBHOOK_VERSION),
            content_type: text(headers, &header::CONTENT_TYPE),
            body: &body.bytes,
        });
    }

    /// Types the body, now or later, and has it made durable.
    async fn accept(&self, head: &Parts, route: Route<'_>, serving: &Serving<'_>, verified: Verified) -> Answer {
        let Verified { secret_id, body, moment } = verified;
        // Kilobytes, which each state of a request's future would have a place for.
        let mut event = Box::new(BookingEvent {
            tenant: route.tenant.to_owned(),
            receive_time: Some(moment.time.into()),
            webhook_version: text(&head.headers, &WEBHOOK_VERSION),
            content_type: text(&head.headers, &header::CONTENT_TYPE),
            secret_id: secret_id.as_ref().to_owned(),
            request_id: moment.request_id.to_string(),
            raw_body: body.bytes.clone(),
            ..BookingEvent::default()
        });
        let Looked { trigger, trigger_name: name, disposition, content } = self.look_into(&mut event, serving);
        let trigger = labels::trigger_label(trigger);
        let span = &serving.trace.span;
        record_all!(
            span,
            { semconv::SECRET_ID } = event.secret_id,
            { semconv::TRIGGER } = trigger,
            { semconv::DELIVERY_DISPOSITION } = disposition,
            { semconv::WEBHOOK_VERSION } = Some(&event.webhook_version).filter(|version| !version.is_empty()),
        );
        match self.durable.keep(event, content, moment.micros(), &serving.trace).await {
            Ok(stored) => {
                self.metrics.accepted(trigger, disposition, serving.started.elapsed());
                let Stored::Committed(accepted) = stored else {
                    crash::at(Point::EdgeSpooled);
                    return Answer::Accepted { event: name };
                };
                crash::at(Point::EdgeCommitted);
                record_all!(
                    span,
                    { semconv::DELIVERY_ID } = accepted.delivery_id,
                    { semconv::DELIVERY_OUTCOME } = outcome_word(accepted.outcome),
                );
                Answer::Processed { event: name, outcome: accepted.outcome, delivery_id: accepted.delivery_id }
            }
            Err(refused) => {
                if let Some(more) = self.said.undurable.pass() {
                    warn!(
                        { semconv::TENANT_ID } = route.tenant,
                        { semconv::ERROR_TYPE } = refused.reason,
                        more,
                        "a webhook could not be made durable and was answered 503"
                    );
                }
                Answer::Unavailable { retry_after: refused.retry_after }
            }
        }
    }

    /// Fills in what the body says, as much of it as is looked at now. What that is, and where it is said.
    fn look_into(&self, event: &mut BookingEvent, serving: &Serving<'_>) -> Looked {
        if self.durable.is_typed_later(event.raw_body.len()) {
            let (trigger, trigger_name) = calbridge_calcom::first_trigger(&event.raw_body);
            (event.trigger, event.trigger_name) = (trigger.into(), trigger_name.clone());
            return Looked { trigger, trigger_name, disposition: labels::UNTYPED, content: Content::Later };
        }
        match serving.child(observe::parse_span).in_scope(|| self.copies.find(&event.raw_body)) {
            Found::Typed(typed) => {
                let (trigger, trigger_name) = (typed.trigger, typed.trigger_name.clone());
                let disposition = labels::disposition_label(&typed);
                typed.into_event(event);
                Looked { trigger, trigger_name, disposition, content: Content::Typed }
            }
            Found::Copy(said) => Looked {
                trigger: said.trigger,
                trigger_name: said.trigger_name.clone(),
                disposition: said.disposition,
                content: Content::Copy(said),
            },
        }
    }

    /// A connection was closed to make room for another.
    pub(crate) fn crowded(&self) {
        self.metrics.refused(semconv::LIMIT_CONNECTIONS);
        if let Some(more) = self.said.crowded.pass() {
            warn!(more, "as many connections are open as may be; one that was waited for made room for another");
        }
    }

    fn full(&self, of: &'static str) -> Answer {
        self.metrics.refused(of);
        if let Some(more) = self.said.full.pass() {
            warn!(of, more, "as much is in flight as may be; a webhook was answered 503");
        }
        Answer::Unavailable { retry_after: RETRY_AFTER_FULL }
    }

    fn often(&self, limit: &'static str, retry_after: Duration) -> Answer {
        self.metrics.refused(limit);
        if let Some(more) = self.said.often.pass() {
            warn!(limit, more, "more requests come than may; one was refused");
        }
        match self.settings.limits.rate_status {
            RateStatus::Unavailable => Answer::Unavailable { retry_after },
            RateStatus::TooManyRequests => Answer::TooManyRequests { retry_after },
        }
    }
}

/// Whether a body in chunks is in nothing but chunks, once. hyper goes by the last word of the last line, and another
/// that forwards to us might not.
fn is_framed_plainly(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let first = codings.next();
    first.is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked")) && codings.next().is_none()
}

/// Bytes of the request's target as sent.
fn target_bytes(head: &Parts) -> usize {
    head.uri.path_and_query().map_or(0, |target| target.as_str().len())
}

/// Bytes of the headers as HTTP/1.1 sends them.
fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + HEADER_OVERHEAD).sum()
}

/// The beginning of a header as text; bytes that are no UTF-8 become U+FFFD, which is up to three times as long.
fn text(headers: &HeaderMap, name: &HeaderName) -> String {
    let Some(value) = headers.get(name) else { return String::new() };
    let mut text = String::from_utf8_lossy(value.as_bytes()).into_owned();
    text.truncate(text.floor_char_boundary(HEADER_TEXT_MOST));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_header_says_is_cut_between_two_characters() {
        let shown = |value: &[u8]| {
            let value = HeaderValue::from_bytes(value).unwrap();
            text(&HeaderMap::from_iter([(WEBHOOK_VERSION, value)]), &WEBHOOK_VERSION)
        };
        assert_eq!(text(&HeaderMap::new(), &WEBHOOK_VERSION), "");
        assert_eq!(shown(b"2021-10-20"), "2021-10-20");
        assert_eq!(shown(&[b'x'; HEADER_TEXT_MOST]), "x".repeat(HEADER_TEXT_MOST));
        assert_eq!(shown(&[b'x'; HEADER_TEXT_MOST + 1]), "x".repeat(HEADER_TEXT_MOST));
        assert_eq!(shown(&[0xff; 6000]), "\u{fffd}".repeat(HEADER_TEXT_MOST / 3));
        assert_eq!(shown(format!("x{}", "ä".repeat(200)).as_bytes()), format!("x{}", "ä".repeat(127)));
    }
}
