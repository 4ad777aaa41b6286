//! Addresses and ranges. IPv4 and IPv6 never match one another, but an IPv4-mapped IPv6 address is an IPv4 address.

use std::net::IpAddr;

use ipnet::IpNet;

/// An address of a request.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// A range of a policy: an address alone is a range of one, host bits do not count.
pub(super) fn network(text: &str) -> Option<IpNet> {
    match text.split_once('/') {
        None => address(text).map(IpNet::from),
        Some(_) => text.parse::<IpNet>().ok().map(|net| mapped(net).trunc()),
    }
}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
fn mapped(net: IpNet) -> IpNet {
    match (net.addr().to_canonical(), net.prefix_len()) {
        (IpAddr::V4(address), length @ 96..=128) if net.addr().is_ipv6() => {
            IpNet::new(address.into(), length - 96).unwrap_or(net)
        }
        _ => net,
    }
}

#[cfg(test)]
mod tests {
    use super::{address, network};

    #[test]
    fn ranges() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.1.2.3/8", "10.0.0.1", "9.0.0.1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("2001:db8::/32", "2001:db8::1", "10.0.0.1"),
            ("2001:db8::7", "2001:db8::7", "2001:db8::8"),
            ("::ffff:10.0.0.0/104", "10.0.0.1", "::1"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::ffff:11.0.0.1"),
            ("0.0.0.0/0", "1.2.3.4", "::1"),
        ] {
            let net = network(range).expect(range);
            assert!(net.contains(&address(inside).expect(inside)), "{range} {inside}");
            assert!(!net.contains(&address(outside).expect(outside)), "{range} {outside}");
        }
        for text in ["", "10.0.0", "10.0.0.0/33", "10.0.0.0/", "*", "10.0.0.*"] {
            assert!(network(text).is_none(), "{text}");
        }
    }
}
