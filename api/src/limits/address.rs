//! Whose request it is, as far as an address tells.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::HeaderMap;

/// The other end of a connection, as the accept loop saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// The address that is counted. Each proxy adds whom it was called by to the end of `X-Forwarded-For`; what stands before
/// the entries of the trusted ones is what the client wrote. So the entry of the outermost trusted proxy counts, from the
/// right; where there are fewer entries, or it is no address, the connection's other end.
#[must_use]
pub fn client_of(peer: Option<Peer>, headers: &HeaderMap, trusted_proxies: usize) -> IpAddr {
    let peer = peer.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |Peer(address)| address.ip());
    let forwarded = || {
        let values = headers.get_all("x-forwarded-for").iter().rev();
        let mut entries = values.flat_map(|value| value.to_str().unwrap_or("?").rsplit(','));
        address_of(entries.nth(trusted_proxies.checked_sub(1)?)?.trim())
    };
    network_of(forwarded().unwrap_or(peer))
}

/// `192.0.2.1`, `2001:db8::1`, and both with a port.
fn address_of(entry: &str) -> Option<IpAddr> {
    entry.parse().ok().or_else(|| entry.parse().ok().map(|address: SocketAddr| address.ip()))
}

/// One customer of a provider has a whole /64 of IPv6 addresses.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &[&str], trusted: usize) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        client_of(Some(Peer(peer.parse().unwrap())), &headers, trusted).to_string()
    }

    #[test]
    fn only_what_trusted_proxies_wrote_counts() {
        let peer = "10.0.0.1:1234";
        for (forwarded, trusted, expected) in [
            (&["203.0.113.7"][..], 0, "10.0.0.1"),
            (&["203.0.113.7"], 1, "203.0.113.7"),
            (&["6.6.6.6, 203.0.113.7"], 1, "203.0.113.7"),
            (&["6.6.6.6, 203.0.113.7, 10.0.0.2"], 2, "203.0.113.7"),
            // Several headers are one list.
            (&["6.6.6.6", "203.0.113.7,10.0.0.2"], 2, "203.0.113.7"),
            (&["6.6.6.6, 203.0.113.7", "10.0.0.2"], 2, "203.0.113.7"),
            // Fewer entries than proxies, or none that is an address.
            (&["203.0.113.7"], 2, "10.0.0.1"),
            (&[], 1, "10.0.0.1"),
            (&["unknown"], 1, "10.0.0.1"),
            (&["203.0.113.7, "], 1, "10.0.0.1"),
            // With ports.
            (&["203.0.113.7:5555"], 1, "203.0.113.7"),
            (&["[2001:db8:1:2:3::4]:5555"], 1, "2001:db8:1:2::"),
        ] {
            assert_eq!(client(peer, forwarded, trusted), expected, "{forwarded:?} behind {trusted}");
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        assert_eq!(client("[2001:db8:1:2:3:4:5:6]:1", &[], 0), "2001:db8:1:2::");
        assert_eq!(client("[2001:db8:1:2:ffff::1]:1", &[], 0), "2001:db8:1:2::");
        assert_eq!(client("[2001:db8:1:3::1]:1", &[], 0), "2001:db8:1:3::");
        assert_eq!(client("[::ffff:192.0.2.1]:1", &[], 0), "192.0.2.1", "mapped");
    }
}
