//! Which address a request really comes from.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use runtime::Network;

/// The header in which each proxy appends the address it was asked from.
pub(crate) const FORWARDED_FOR: &str = "x-forwarded-for";

/// The client's address: `peer`, unless that is a trusted proxy; then the
/// rightmost address in `X-Forwarded-For` that is not one.
///
/// What stands further left was sent by the client itself and may be a lie.
pub(crate) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    let lines: Vec<&str> = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .collect();
    let hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
    for hop in hops {
        if !is_trusted(client) {
            break;
        }
        match parse_hop(hop.trim()) {
            Some(address) => client = address,
            // A trusted proxy that writes nonsense: its own address is the last
            // one that is known to be true.
            None => break,
        }
    }
    client
}

/// An address as proxies write it: bare, with a port, or in brackets.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let bare = hop
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(hop);
    let address = bare
        .parse::<IpAddr>()
        .ok()
        .or_else(|| hop.parse::<SocketAddr>().ok().map(|socket| socket.ip()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_rightmost_untrusted_address_is_the_client() {
        for (peer, lines, expected) in [
            // Nobody in between, or nobody we trust: what it claims is ignored.
            ("203.0.113.5", vec![], "203.0.113.5"),
            ("203.0.113.5", vec!["192.0.2.1"], "203.0.113.5"),
            // One proxy, two proxies, a liar behind a proxy.
            ("10.0.0.1", vec!["192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", vec!["192.0.2.1, 10.0.0.2"], "192.0.2.1"),
            ("10.0.0.1", vec!["198.51.100.9, 192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", vec!["192.0.2.1", "10.0.0.2"], "192.0.2.1"),
            // With ports and brackets; in the IPv6 form of IPv4.
            ("10.0.0.1", vec!["192.0.2.1:4711"], "192.0.2.1"),
            ("10.0.0.1", vec!["[2001:db8::7]:4711"], "2001:db8::7"),
            ("10.0.0.1", vec!["[2001:db8::7]"], "2001:db8::7"),
            ("::ffff:10.0.0.1", vec!["192.0.2.1"], "192.0.2.1"),
            ("fd00::1", vec!["2001:db8::7"], "2001:db8::7"),
            // Nonsense, and nobody but proxies.
            ("10.0.0.1", vec!["unknown"], "10.0.0.1"),
            ("10.0.0.1", vec!["192.0.2.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", vec!["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ] {
            let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
            let mut headers = HeaderMap::new();
            for line in &lines {
                headers.append(FORWARDED_FOR, HeaderValue::from_static(line));
            }
            let client = client_address(peer.parse().unwrap(), &headers, &trusted);
            assert_eq!(
                client,
                expected.parse::<IpAddr>().unwrap(),
                "{peer} {lines:?}"
            );
        }
    }
}
