//! Which addresses may be reached.

use std::{net::IpAddr, sync::LazyLock};

use runtime::Network;

/// IPv4 networks that are not of the public internet (IANA, "IPv4 Special-Purpose
/// Address Registry"), and multicast.
const SPECIAL_V4: [&str; 15] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
];

/// Where public IPv6 addresses are given out.
const PUBLIC_V6: &str = "2000::/3";

/// What is special within that, or leads elsewhere: Teredo, benchmarks, 6to4,
/// documentation (IANA, "IPv6 Special-Purpose Address Registry").
const SPECIAL_V6: [&str; 4] = ["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"];

static SPECIAL: LazyLock<Vec<Network>> = LazyLock::new(|| {
    let texts = SPECIAL_V4.iter().chain(&SPECIAL_V6);
    texts.filter_map(|text| text.parse().ok()).collect()
});
static PUBLIC: LazyLock<Option<Network>> = LazyLock::new(|| PUBLIC_V6.parse().ok());

/// Which addresses may be reached.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    private_networks: Vec<Network>,
    is_everywhere: bool,
}

impl Reach {
    /// Every address there is: for what the operator has written down.
    pub(crate) fn everywhere() -> Self {
        Self {
            private_networks: Vec::new(),
            is_everywhere: true,
        }
    }

    /// The public internet and these networks.
    pub(crate) fn new(private_networks: Vec<Network>) -> Self {
        Self {
            private_networks,
            is_everywhere: false,
        }
    }

    /// Whether any private network may be reached.
    pub(crate) fn has_private(&self) -> bool {
        !self.private_networks.is_empty()
    }

    /// Whether `address` is in a network that the configuration lists.
    pub(crate) fn is_listed(&self, address: IpAddr) -> bool {
        let mut networks = self.private_networks.iter();
        self.is_everywhere || networks.any(|network| network.contains(address))
    }

    /// Whether `address` may be reached. An IPv4 address in IPv6 form counts as itself.
    pub(crate) fn allows(&self, address: IpAddr) -> bool {
        self.is_listed(address) || is_public(address.to_canonical())
    }
}

fn is_public(address: IpAddr) -> bool {
    let is_given_out = address.is_ipv4() || PUBLIC.is_some_and(|network| network.contains(address));
    is_given_out && !SPECIAL.iter().any(|network| network.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_of_the_tables_is_one() {
        assert_eq!(SPECIAL.len(), SPECIAL_V4.len() + SPECIAL_V6.len());
        assert!(PUBLIC.is_some());
    }

    #[test]
    fn the_public_internet_is_reached_and_nothing_else() {
        let reach = Reach::new(Vec::new());
        assert!(!reach.has_private());
        for (address, allowed) in [
            ("1.1.1.1", true),
            ("9.255.255.255", true),
            ("11.0.0.0", true),
            ("172.32.0.1", true),
            ("192.0.1.1", true),
            ("223.255.255.255", true),
            ("0.0.0.0", false),
            ("10.1.2.3", false),
            ("100.64.0.1", false),
            ("100.127.255.255", false),
            ("100.128.0.0", true),
            ("127.0.0.1", false),
            ("127.255.255.255", false),
            ("169.254.169.254", false),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("192.0.0.8", false),
            ("192.0.2.1", false),
            ("192.88.99.1", false),
            ("192.168.1.1", false),
            ("198.18.0.1", false),
            ("198.19.255.255", false),
            ("198.51.100.7", false),
            ("203.0.113.9", false),
            ("224.0.0.1", false),
            ("239.255.255.255", false),
            ("240.0.0.1", false),
            ("255.255.255.255", false),
            ("2606:4700::1111", true),
            ("2a00::1", true),
            ("2001:200::1", true),
            ("::", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:10.0.0.1", false),
            ("::ffff:1.1.1.1", true),
            ("::127.0.0.1", false),
            ("64:ff9b::7f00:1", false),
            ("64:ff9b:1::1", false),
            ("100::1", false),
            ("2001::1", false),
            ("2001:2::1", false),
            ("2001:db8::1", false),
            ("2002:7f00:1::", false),
            ("3fff::1", false),
            ("5f00::1", false),
            ("fc00::1", false),
            ("fd12:3456::1", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(reach.allows(address), allowed, "{address}");
        }
    }

    #[test]
    fn listed_networks_are_reached_too() {
        let listed = ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().unwrap());
        let reach = Reach::new(listed.to_vec());
        for (address, allowed, is_listed) in [
            ("10.9.9.9", true, true),
            ("::ffff:10.9.9.9", true, true),
            ("fd00::1", true, true),
            ("192.168.0.1", false, false),
            ("fe80::1", false, false),
            ("1.1.1.1", true, false),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(reach.allows(address), allowed, "{address}");
            assert_eq!(reach.is_listed(address), is_listed, "{address}");
        }
    }
}
