use calbridge_process::Secret;
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;
use tokio::time;

use super::*;

fn tenant(secrets: &[(&str, &str)]) -> Tenant {
    let secrets = secrets.iter().map(|(id, value)| Secret { id: (*id).to_owned(), value: (*value).into() }).collect();
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
    runtime.block_on(keyring().verify(tenant, headers, body))
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
        // A large body leaves the thread once for each key that is tried.
        let mut polls = 0;
        let mut verifying = std::pin::pin!(keyring.verify(tenant, &forged, &large));
        let verdict = std::future::poll_fn(|context| {
            polls += 1;
            verifying.as_mut().poll(context)
        });
        assert_eq!(time::timeout(time::Duration::from_secs(1), verdict).await.unwrap(), Verdict::Invalid);
        steps.push(polls);
    }
    assert_eq!(steps, [4, 4, 4], "three keys are tried, then it is over");
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
    let mut first = std::pin::pin!(ring.verify("three", &forged, &large));
    let mut second = std::pin::pin!(ring.verify("three", &forged, &large));
    assert!(futures_util::poll!(first.as_mut()).is_pending());
    // Without a turn it yields before each of the three keys, and no oftener.
    for _ in 0..10 {
        assert!(futures_util::poll!(second.as_mut()).is_pending());
    }
    assert_eq!(ring.verify("three", &forged, b"small").await, Verdict::Invalid);
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
