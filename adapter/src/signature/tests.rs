use std::time::{Duration, UNIX_EPOCH};

use calbridge_process::Secret;
use http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use proptest::prelude::*;
use tokio::time;

use super::*;

fn tenant(secrets: &[(&str, &str)]) -> Tenant {
    let secrets = secrets.iter().map(|(id, value)| Secret::always(*id, *value)).collect();
    Tenant { secrets, allow_unsigned: false }
}

fn keyring() -> Keyring {
    Keyring::new(&BTreeMap::from([
        ("one".to_owned(), tenant(&[("a", "first")])),
        ("three".to_owned(), tenant(&[("x", "old"), ("y", "current"), ("z", "next")])),
        ("open".to_owned(), Tenant { secrets: Vec::new(), allow_unsigned: true }),
    ]))
}

fn mac(secret: &str, body: &[u8]) -> String {
    hex::encode(key(secret.as_bytes()).chain_update(body).finalize().into_bytes())
}

fn headers(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
    }
    headers
}

fn verify(tenant: &str, headers: &HeaderMap, body: &[u8]) -> Verdict {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(keyring().verify(tenant, headers, body, UNIX_EPOCH))
}

/// RFC 4231, test case 2.
#[test]
fn the_mac_is_hmac_sha256_over_the_body_with_the_secrets_bytes() {
    let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(mac("Jefe", b"what do ya want for nothing?"), expected);
}

#[test]
fn any_place_on_the_tenants_list_lets_in_and_names_itself() {
    for (secret, id) in [("old", "x"), ("current", "y"), ("next", "z")] {
        let verdict = verify("three", &headers(&[("cal-signature", mac(secret, b"body").as_bytes())]), b"body");
        assert_eq!(verdict, Verdict::Signed(id.into()));
    }
}

#[test]
fn what_nobody_signs_with_lets_nobody_in() {
    let dummy = mac("nobody signs with this", b"body");
    for tenant in ["one", "three", "absent"] {
        assert_eq!(verify(tenant, &headers(&[("cal-signature", dummy.as_bytes())]), b"body"), Verdict::Invalid);
    }
}

#[test]
fn absent_and_no_secret_are_missing_and_the_rest_is_invalid() {
    assert_eq!(verify("one", &HeaderMap::new(), b""), Verdict::Missing);
    assert_eq!(verify("one", &headers(&[("cal-signature", b"no-secret-provided")]), b""), Verdict::Missing);
    assert_eq!(verify("one", &headers(&[("cal-signature", b"")]), b""), Verdict::Invalid);
    assert_eq!(verify("absent", &headers(&[("cal-signature", mac("first", b"").as_bytes())]), b""), Verdict::Invalid);
    assert_eq!(verify("open", &HeaderMap::new(), b""), Verdict::Unsigned("unsigned".into()));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_takes_the_same_work_for_every_tenant() {
    let keyring = keyring();
    let forged = headers(&[("cal-signature", mac("guessed", b"x").as_bytes())]);
    let large = vec![b'x'; LARGE_ABOVE_BYTES + 1];
    let mut steps = Vec::new();
    for tenant in ["one", "three", "absent"] {
        // A large body leaves the thread before each of its two pieces, for each key that is tried.
        let mut polls = 0;
        let mut verifying = std::pin::pin!(keyring.verify(tenant, &forged, &large, UNIX_EPOCH));
        let verdict = std::future::poll_fn(|context| {
            polls += 1;
            verifying.as_mut().poll(context)
        });
        assert_eq!(time::timeout(time::Duration::from_secs(1), verdict).await.unwrap(), Verdict::Invalid);
        steps.push(polls);
    }
    assert_eq!(steps, [7, 7, 7], "three keys are tried, then it is over");
}

/// Seconds since 1970.
fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A tenant `dated` whose first secret holds within a time, and whose second always.
fn dated(not_before: Option<i64>, expires: Option<i64>) -> BTreeMap<String, Tenant> {
    let (not_before, expires) = (not_before.map(second), expires.map(second));
    let first = Secret { not_before, expires, ..Secret::always("first", "first") };
    let secrets = vec![first, Secret::always("second", "second")];
    BTreeMap::from([("dated".to_owned(), Tenant { secrets, allow_unsigned: false })])
}

#[tokio::test(start_paused = true)]
async fn a_secret_outside_its_time_costs_what_it_costs_within() {
    let ring = Keyring::new(&dated(Some(10), Some(20)));
    let large = vec![b'x'; LARGE_ABOVE_BYTES + 1];
    let signed = headers(&[("cal-signature", mac("guessed", &large).as_bytes())]);
    let mut steps = Vec::new();
    for now in [0, 15, 20] {
        let mut polls = 0;
        let mut verifying = std::pin::pin!(ring.verify("dated", &signed, &large, second(now).into()));
        let verdict = std::future::poll_fn(|context| {
            polls += 1;
            verifying.as_mut().poll(context)
        });
        assert_eq!(verdict.await, Verdict::Invalid);
        steps.push(polls);
    }
    assert_eq!(steps, [5, 5, 5]);
}

#[tokio::test]
async fn when_a_secret_was_used_is_known_across_a_reload() {
    let ring = Keyring::new(&dated(None, Some(20)));
    let signed = headers(&[("cal-signature", mac("first", b"body").as_bytes())]);
    let at = |second| UNIX_EPOCH + Duration::from_secs(second);
    let used =
        |ring: &Keyring| ring.held().iter().map(|held| (held.id.to_string(), held.last_used())).collect::<Vec<_>>();
    let shown = |first| vec![("first".to_owned(), first), ("second".to_owned(), None)];
    assert_eq!(used(&ring), shown(None));
    assert_eq!(ring.verify("dated", &signed, b"body", at(7)).await, Verdict::Signed("first".into()));
    // A request with an earlier moment may come to its end later.
    assert_eq!(ring.verify("dated", &signed, b"body", at(5)).await, Verdict::Signed("first".into()));
    assert_eq!(used(&ring), shown(Some(at(7))));
    let other_time = ring.renewed(&dated(None, Some(9)));
    assert_eq!(used(&other_time), shown(Some(at(7))));
    // A request in flight holds the ring that it began with; what it finds is known to the next one.
    assert_eq!(ring.verify("dated", &signed, b"body", at(8)).await, Verdict::Signed("first".into()));
    assert_eq!(used(&other_time), shown(Some(at(8))));
    let mut other_value = dated(None, None);
    other_value.get_mut("dated").unwrap().secrets[0].value = "another".into();
    assert_eq!(used(&other_time.renewed(&other_value)), shown(None), "another secret of that name was not used yet");
}

#[test]
fn nothing_of_a_secret_is_shown() {
    let verdict = verify("one", &headers(&[("cal-signature", mac("first", b"").as_bytes())]), b"");
    assert_eq!(format!("{verdict:?}"), r#"Signed("a")"#);
}

#[tokio::test]
async fn large_bodies_take_turns_and_small_ones_do_not() {
    let (ring, large) = (keyring(), vec![b'x'; LARGE_ABOVE_BYTES + 1]);
    let forged = headers(&[("cal-signature", mac("guessed", b"").as_bytes())]);
    let mut first = std::pin::pin!(ring.verify("three", &forged, &large, UNIX_EPOCH));
    let mut second = std::pin::pin!(ring.verify("three", &forged, &large, UNIX_EPOCH));
    assert!(futures_util::poll!(first.as_mut()).is_pending());
    // With a turn it would be over after seven.
    for _ in 0..10 {
        assert!(futures_util::poll!(second.as_mut()).is_pending());
    }
    assert_eq!(ring.verify("three", &forged, b"small", UNIX_EPOCH).await, Verdict::Invalid);
    assert_eq!(first.await, Verdict::Invalid);
    assert_eq!(second.await, Verdict::Invalid);
}

proptest! {
    #[test]
    fn a_signature_holds_for_its_own_body_and_secret_alone(
        body in proptest::collection::vec(any::<u8>(), 0..64),
        other in proptest::collection::vec(any::<u8>(), 0..64),
        prefix in "(|sha256=|SHA256=)",
        upper: bool,
    ) {
        let digits = mac("first", &body);
        let digits = if upper { digits.to_uppercase() } else { digits };
        let signed = headers(&[("x-cal-signature-256", format!("{prefix}{digits}").as_bytes())]);
        prop_assert_eq!(verify("one", &signed, &body), Verdict::Signed("a".into()));
        prop_assert_eq!(verify("three", &signed, &body), Verdict::Invalid);
        let without = messages(&other).last().unwrap().to_vec();
        prop_assume!(other != body && without != body);
        prop_assert_eq!(verify("one", &signed, &other), Verdict::Invalid);
    }

    #[test]
    fn a_secret_lets_in_exactly_within_its_time(
        now in 0_i64..100,
        start in proptest::option::of(0_i64..100),
        end in proptest::option::of(0_i64..100),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ring = Keyring::new(&dated(start, end));
        let verify = |secret| {
            let signed = headers(&[("cal-signature", mac(secret, b"body").as_bytes())]);
            runtime.block_on(ring.verify("dated", &signed, b"body", second(now).into()))
        };
        let within = start.unwrap_or(0) <= now && now < end.unwrap_or(100);
        prop_assert_eq!(verify("first"), if within { Verdict::Signed("first".into()) } else { Verdict::Invalid });
        prop_assert_eq!(verify("second"), Verdict::Signed("second".into()));
    }

    #[test]
    fn no_header_is_too_strange(
        values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..3)
    ) {
        let mut headers = HeaderMap::new();
        for value in values {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append("cal-signature", value);
            }
        }
        prop_assert!(matches!(verify("one", &headers, b"body"), Verdict::Invalid | Verdict::Missing));
    }
}
