//! The client's address: the peer's, unless the peer is a proxy that we trust to name it.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

const FORWARDED_FOR: &str = "x-forwarded-for";
/// Hops that are looked at, from the nearest.
const MAX_HOPS: usize = 32;

/// Walks `X-Forwarded-For` from its right end, where the nearest proxy wrote, as long as the hops are trusted; the first that
/// is not is the client. What stands left of it is the client's own invention.
///
/// A hop that is no address ends the walk at the last one that was.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
    let mut client = peer.to_canonical();
    if !is_trusted(client) {
        return client;
    }
    // Several lines are one list (RFC 9110, section 5.3).
    let hops = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .rev()
        .flat_map(|line| line.to_str().unwrap_or_default().rsplit(','))
        .take(MAX_HOPS);
    for hop in hops {
        let Some(address) = address_of(hop.trim()) else { break };
        client = address;
        if !is_trusted(client) {
            break;
        }
    }
    client
}

/// `192.0.2.1`, `2001:db8::1`, and with a port `192.0.2.1:80`, `[2001:db8::1]:80`; the brackets alone, too.
fn address_of(hop: &str) -> Option<IpAddr> {
    let address = hop
        .parse::<IpAddr>()
        .or_else(|_| hop.parse::<SocketAddr>().map(|socket| socket.ip()))
        .or_else(|error| match hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')) {
            Some(bare) => bare.parse::<std::net::Ipv6Addr>().map(IpAddr::V6),
            None => Err(error),
        });
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rightmost_untrusted() {
        let check = |peer: &str, lines: &[&str], expect: &str| {
            let trusted: Vec<IpNet> =
                ["10.0.0.0/8", "2001:db8::/32"].iter().map(|net| net.parse().expect("a net")).collect();
            let mut headers = HeaderMap::new();
            for line in lines {
                headers
                    .append(FORWARDED_FOR, http::HeaderValue::from_bytes(line.as_bytes()).expect("a value"));
            }
            let found = client_address(peer.parse().expect("an address"), &headers, &trusted);
            assert_eq!(found.to_string(), expect, "{peer} {lines:?}");
        };
        check("192.0.2.1", &[], "192.0.2.1");
        check("192.0.2.1", &["198.51.100.7"], "192.0.2.1");
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &["198.51.100.7"], "198.51.100.7");
        check("10.0.0.1", &["1.1.1.1, 198.51.100.7"], "198.51.100.7");
        check("10.0.0.1", &["1.1.1.1, 198.51.100.7 , 10.0.0.2,10.0.0.3"], "198.51.100.7");
        check("10.0.0.1", &["1.1.1.1", "198.51.100.7, 10.0.0.2"], "198.51.100.7");
        check("10.0.0.1", &["198.51.100.7:4711"], "198.51.100.7");
        check("10.0.0.1", &["[2001:db9::1]:80"], "2001:db9::1");
        check("10.0.0.1", &["[2001:db9::1]"], "2001:db9::1");
        check("10.0.0.1", &["2001:db9::1"], "2001:db9::1");
        check("2001:db8::5", &["198.51.100.7"], "198.51.100.7");
        check("::ffff:10.0.0.1", &["198.51.100.7"], "198.51.100.7");
        check("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3");
        for bad in ["unknown", "", "198.51.100.7, unknown", "198.51.100.7,", "1.2.3", "ä", "[10.0.0.9"] {
            check("10.0.0.1", &[bad], "10.0.0.1");
        }
        check("10.0.0.1", &["198.51.100.7, unknown, 10.0.0.2"], "10.0.0.2");
    }

    #[test]
    fn walks_a_bounded_number_of_hops() {
        let trusted = ["10.0.0.0/8".parse().expect("a net")];
        let mut headers = HeaderMap::new();
        let line = format!("198.51.100.7{}", ",10.0.0.2".repeat(MAX_HOPS));
        headers.insert(FORWARDED_FOR, line.parse().expect("a value"));
        let peer = "10.0.0.1".parse().expect("an address");
        assert_eq!(client_address(peer, &headers, &trusted).to_string(), "10.0.0.2");
    }
}
