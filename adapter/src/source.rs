//! Where a request comes from: the other end of its connection or, where that is a proxy which the operator trusts, the
//! address that the proxy took it from.
//!
//! Invariant: a sender can't choose its source. Only what a trusted proxy wrote is believed: of a chain of addresses,
//! each added at its end, the last one that is no trusted proxy. A proxy's own address is no source.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

/// What most proxies write.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Of an IPv6 address so many bits are a source: whoever has one address has its whole /64.
const IPV6_SOURCE_BITS: u32 = 64;

/// Whom a request is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// An IPv4 address, or the network of an IPv6 address.
    Address(IpAddr),
    /// The two headers name two sources. The proxy writes one of them, and the sender has made the other up: all who do
    /// that are one source.
    Disputed,
}

/// The source, if there is one: a trusted proxy may not say where a request is from.
pub(crate) fn source(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Option<Source> {
    let peer = peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return Some(Source::Address(network(peer)));
    }
    let listed = last_untrusted(headers, &X_FORWARDED_FOR, trusted, address);
    let forwarded = last_untrusted(headers, &header::FORWARDED, trusted, forwarded_for);
    match (listed, forwarded) {
        (Some(one), Some(other)) if one != other => Some(Source::Disputed),
        (one, other) => one.or(other).map(|address| Source::Address(network(address))),
    }
}

/// Walks a chain of addresses from its end. What can't be read ends the walk: nothing before it can be believed.
fn last_untrusted(
    headers: &HeaderMap,
    name: &HeaderName,
    trusted: &[IpNet],
    read: fn(&str) -> Option<IpAddr>,
) -> Option<IpAddr> {
    let lines = headers.get_all(name).iter().map(|value| value.to_str().ok());
    for line in lines.collect::<Vec<_>>().into_iter().rev() {
        // A quoted text could hold a comma, an address can't: from its end a chain is read past what a sender began.
        for element in line?.rsplit(',') {
            let address = read(element.trim())?.to_canonical();
            if !is_trusted(address, trusted) {
                return Some(address);
            }
        }
    }
    None
}

/// An element of `X-Forwarded-For`, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// An element of `Forwarded` (RFC 7239): `for` is one of its pairs.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.eq_ignore_ascii_case("for"))?;
    address(value.trim_matches('"'))
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// The address itself; of IPv6 its /64: whoever has one address there has them all.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> IPV6_SOURCE_BITS << IPV6_SOURCE_BITS).into(),
    }
}

#[cfg(test)]
mod tests;
