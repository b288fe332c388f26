use proptest::prelude::*;

use super::*;

const TRUSTED: [&str; 2] = ["10.0.0.0/8", "fd00::/8"];

fn of(peer: &str, lines: &[(&'static str, &str)]) -> Option<Source> {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, value.parse().unwrap());
    }
    source(peer.parse().unwrap(), &headers, &TRUSTED.map(|network| network.parse().unwrap()))
}

#[expect(clippy::unnecessary_wraps, reason = "it is compared with what may be none")]
fn at(address: &str) -> Option<Source> {
    Some(Source::Address(address.parse().unwrap()))
}

#[test]
fn whoever_is_no_trusted_proxy_is_its_own_source_whatever_it_says() {
    let said = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.1")];
    assert_eq!(of("198.51.100.7", &said), at("198.51.100.7"));
    assert_eq!(of("::ffff:198.51.100.7", &said), at("198.51.100.7"));
    assert_eq!(of("2001:db8:1:2:3:4:5:6", &said), at("2001:db8:1:2::"), "whoever has one of these has them all");
}

#[test]
fn the_last_address_that_is_no_proxy_is_the_source() {
    for (chain, expected) in [
        ("192.0.2.1", at("192.0.2.1")),
        ("203.0.113.9, 192.0.2.1", at("192.0.2.1")),
        ("203.0.113.9,192.0.2.1, 10.1.2.3,fd00::1", at("192.0.2.1")),
        ("nonsense, 192.0.2.1", at("192.0.2.1")),
        ("192.0.2.1:4711", at("192.0.2.1")),
        ("2001:db8:1:2::3", at("2001:db8:1:2::")),
        ("[2001:db8:1:2::3]", at("2001:db8:1:2::")),
        ("[2001:db8:1:2::3]:4711", at("2001:db8:1:2::")),
        ("::ffff:192.0.2.1", at("192.0.2.1")),
        // The proxies alone: nobody else is known.
        ("10.1.2.3", None),
        ("192.0.2.1, unknown", None),
        ("192.0.2.1,", None),
        ("", None),
    ] {
        for peer in ["10.0.0.1", "fd00::2", "::ffff:10.0.0.1"] {
            assert_eq!(of(peer, &[("x-forwarded-for", chain)]), expected, "{chain}");
        }
    }
    assert_eq!(of("10.0.0.1", &[]), None, "a proxy's address is no source");
    let lines = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "192.0.2.1"), ("x-forwarded-for", "10.9.9.9")];
    assert_eq!(of("10.0.0.1", &lines), at("192.0.2.1"), "several lines are one chain");
}

#[test]
fn forwarded_is_read_as_rfc_7239_writes_it() {
    for (chain, expected) in [
        ("for=192.0.2.1", at("192.0.2.1")),
        ("For=\"[2001:db8:1:2::3]:4711\"", at("2001:db8:1:2::")),
        ("proto=http; FOR=192.0.2.1;by=203.0.113.43", at("192.0.2.1")),
        ("for=203.0.113.9, for=\"192.0.2.1:80\";proto=https, for=10.1.1.1", at("192.0.2.1")),
        // A quote that a sender left open hides nothing of what the proxy adds.
        ("for=\"203.0.113.9, for=192.0.2.1", at("192.0.2.1")),
        ("for=unknown", None),
        ("for=192.0.2.1, by=10.0.0.1", None),
    ] {
        assert_eq!(of("10.0.0.1", &[("forwarded", chain)]), expected, "{chain}");
    }
}

#[test]
fn a_header_that_the_proxy_does_not_write_changes_no_source() {
    let both = |listed, forwarded| of("10.0.0.1", &[("x-forwarded-for", listed), ("forwarded", forwarded)]);
    assert_eq!(both("192.0.2.1", "for=192.0.2.1"), at("192.0.2.1"));
    assert_eq!(both("10.0.0.2", "for=192.0.2.1"), at("192.0.2.1"), "two proxies, each with its own");
    assert_eq!(both("192.0.2.1", "for=203.0.113.9"), Some(Source::Disputed));
    assert_eq!(both("203.0.113.10", "for=192.0.2.1"), Some(Source::Disputed));
}

proptest! {
    #[test]
    fn a_sender_behind_a_proxy_is_the_address_that_the_proxy_saw(began in "[ -~]{0,40}", truth: u32) {
        let truth = std::net::Ipv4Addr::from(truth);
        prop_assume!(truth.octets()[0] != 10);
        let chain = format!("{began}, {truth}");
        prop_assert_eq!(of("10.0.0.1", &[("x-forwarded-for", &chain)]), Some(Source::Address(truth.into())));
        let chain = format!("{began}, for={truth}");
        prop_assert_eq!(of("10.0.0.1", &[("forwarded", &chain)]), Some(Source::Address(truth.into())));
    }
}
