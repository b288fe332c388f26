use calbridge_process::{CertificateName, Scopes, Tenants, token_sha256};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair, SanType};

use super::*;

fn principal(name: &str, tokens: &[&str], certificates: &[CertificateName]) -> Principal {
    Principal {
        name: name.to_owned(),
        token_sha256: tokens.iter().map(|token| token_sha256(token.as_bytes())).collect(),
        certificates: certificates.to_vec(),
        scopes: [Scope::Read].into_iter().collect::<Scopes>(),
        tenants: Tenants::Only(["acme".to_owned()].into()),
    }
}

fn guard() -> Guard {
    let dns = CertificateName::Dns("edge.test".to_owned());
    Guard::new(&[principal("one", &["first", "second"], &[]), principal("two", &["third"], &[dns])])
}

fn headers(values: &[&[u8]]) -> HeaderMap {
    let values = values.iter().filter_map(|value| HeaderValue::from_bytes(value).ok());
    values.map(|value| (AUTHORIZATION, value)).collect()
}

fn who(values: &[&[u8]], shown: Option<&Shown>) -> Result<String, Denied> {
    guard().identify(&headers(values), shown).map(|caller| caller.name().to_owned())
}

fn certificate(names: Vec<SanType>) -> Vec<u8> {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.subject_alt_names = names;
    parameters.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

#[test]
fn a_token_says_who_calls() {
    for (value, expected) in [
        ("Bearer first", Ok("one")),
        ("bearer second", Ok("one")),
        ("BEARER   third ", Ok("two")),
        ("Bearer fourth", Err(Denied::TokenInvalid)),
        ("Bearer first second", Err(Denied::TokenInvalid)),
        ("Bearer", Err(Denied::TokenInvalid)),
        ("Bearer ", Err(Denied::TokenInvalid)),
        ("Bearerfirst", Err(Denied::TokenInvalid)),
        ("Basic first", Err(Denied::TokenInvalid)),
        ("first", Err(Denied::TokenInvalid)),
        ("", Err(Denied::TokenInvalid)),
    ] {
        assert_eq!(who(&[value.as_bytes()], None), expected.map(str::to_owned), "{value:?}");
    }
    assert_eq!(who(&[b"Bearer first", b"Bearer first"], None), Err(Denied::TokenInvalid), "one is enough");
    assert_eq!(who(&[], None), Err(Denied::TokenMissing));
}

#[test]
fn a_certificate_says_who_calls_where_no_token_does() {
    let edge = guard().by_certificate(&certificate(vec![SanType::DnsName("Edge.test".try_into().unwrap())]));
    assert_eq!(who(&[], Some(&edge)), Ok("two".to_owned()));
    assert_eq!(who(&[b"Bearer first"], Some(&edge)), Ok("one".to_owned()));
    assert_eq!(who(&[b"Bearer wrong"], Some(&edge)), Err(Denied::TokenInvalid), "a wrong token is not passed over");
    for names in [
        vec![],
        vec![SanType::DnsName("edge.test.evil".try_into().unwrap())],
        vec![SanType::DnsName("*.test".try_into().unwrap())],
        vec![SanType::URI("edge.test".try_into().unwrap())],
        vec![SanType::Rfc822Name("edge.test".try_into().unwrap())],
    ] {
        let stranger = guard().by_certificate(&certificate(names));
        assert_eq!(who(&[], Some(&stranger)), Err(Denied::TokenMissing));
    }
}

#[test]
fn a_certificate_is_known_by_each_of_its_names_and_by_itself() {
    let uri = SanType::URI("spiffe://x/edge".try_into().unwrap());
    let der = certificate(vec![uri]);
    for name in [CertificateName::Uri("spiffe://x/edge".to_owned()), CertificateName::Sha256(token_sha256(&der))] {
        let guard = Guard::new(&[principal("edge", &[], &[name])]);
        assert!(guard.by_certificate(&der).0.is_some());
        assert!(guard.by_certificate(&certificate(vec![])).0.is_none());
    }
}

#[test]
fn nobody_has_everything_but_where_nobody_is_configured() {
    let request = Request::new(());
    let nobody = Caller::of(&request);
    assert!(!Scope::ALL.into_iter().any(|scope| nobody.has(scope)) && !nobody.knows("acme") && !nobody.knows_all());
    let anybody = Guard::new(&[]).identify(&headers(&[b"Bearer whatever"]), None).unwrap();
    assert!(Scope::ALL.into_iter().all(|scope| anybody.has(scope)) && anybody.knows("acme") && anybody.knows_all());
    let one = guard().identify(&headers(&[b"Bearer first"]), None).unwrap();
    assert!(one.has(Scope::Read) && !one.has(Scope::ReadPii) && one.knows("acme") && !one.knows("beta"));
}

#[test]
fn only_who_is_known_is_said_to_be() {
    let met = |guard: &Guard, token: &str| {
        let request = http::Request::builder().header("authorization", format!("Bearer {token}")).body(()).unwrap();
        guard.meet(request).extensions().get::<Known>().is_some()
    };
    assert!(met(&guard(), "first") && !met(&guard(), "guessed"));
    assert!(met(&Guard::new(&[]), "whatever"), "where nobody is configured, everybody is");
}

proptest! {
    #[test]
    fn no_bytes_are_a_token_but_the_right_ones(values in proptest::collection::vec(any::<Vec<u8>>(), 0..3)) {
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        prop_assert!(who(&values, None).is_err());
    }

    #[test]
    fn a_token_that_is_changed_anywhere_is_none(at in 0_usize..6, to in any::<u8>(), rest in "[ -~]{0,4}") {
        let mut token = [b"second", rest.as_bytes()].concat();
        token[at] = to;
        let value = [b"Bearer ", token.as_slice()].concat();
        let is_right = token.trim_ascii() == b"second";
        prop_assert_eq!(who(&[&value], None).is_ok(), is_right);
    }

    #[test]
    fn no_bytes_are_a_certificate(der in any::<Vec<u8>>()) {
        prop_assert!(guard().by_certificate(&der).0.is_none());
    }

    #[test]
    fn a_changed_certificate_is_not_found_by_its_print(at in any::<prop::sample::Index>(), bit in 0..8) {
        let der = certificate(vec![]);
        let guard = Guard::new(&[principal("edge", &[], &[CertificateName::Sha256(token_sha256(&der))])]);
        let mut changed = der.clone();
        let at = at.index(changed.len());
        changed[at] ^= 1_u8 << bit;
        prop_assert!(guard.by_certificate(&der).0.is_some());
        prop_assert!(guard.by_certificate(&changed).0.is_none());
    }
}
