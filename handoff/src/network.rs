//! Network cards and their addresses, as a site's node file, `node.toml` and the rescue network write them.

use alloc::borrow::ToOwned as _;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

/// The longest name of a network interface: `IFNAMSIZ` of Linux (16) less the final NUL.
pub const LONGEST_CARD_NAME: usize = 15;

/// The name of a network interface, only in characters without a special meaning in configuration files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CardName(String);

/// An Ethernet hardware address (EUI-48, IEEE 802). It is written in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HardwareAddress([u8; 6]);

/// An IP address with the length of its network's prefix (CIDR notation, RFC 4632 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct InterfaceAddress {
    ip: IpAddr,
    prefix: u8,
}

/// A network card and its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// The interface's name.
    pub name: CardName,
    /// The hardware address by which the card is found; without one, the first card that no other entry names.
    pub mac: Option<HardwareAddress>,
    /// Whether it asks for an address by DHCP.
    pub dhcp: bool,
    /// Fixed addresses.
    pub addresses: Vec<InterfaceAddress>,
    /// The address of the default route.
    pub gateway: Option<IpAddr>,
    /// Addresses of name servers.
    pub dns: Vec<IpAddr>,
}

/// A text that is not valid where it was found. The message says what is expected there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadNetworkValue {
    /// Not a [`CardName`].
    CardName,
    /// Not a [`HardwareAddress`].
    HardwareAddress,
    /// Not an [`InterfaceAddress`].
    InterfaceAddress,
}

impl CardName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CardName {
    type Err = BadNetworkValue;

    fn from_str(text: &str) -> Result<Self, BadNetworkValue> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        // The kernel accepts neither "." nor ".." (`dev_valid_name`).
        let good = (1..=LONGEST_CARD_NAME).contains(&text.len())
            && text.chars().all(plain)
            && !matches!(text, "." | "..");
        if good { Ok(Self(text.to_owned())) } else { Err(BadNetworkValue::CardName) }
    }
}

impl fmt::Display for CardName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HardwareAddress {
    type Err = BadNetworkValue;

    fn from_str(text: &str) -> Result<Self, BadNetworkValue> {
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part =
                parts.next().filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()));
            let value = part.and_then(|part| u8::from_str_radix(part, 16).ok());
            *octet = value.ok_or(BadNetworkValue::HardwareAddress)?;
        }
        if parts.next().is_none() { Ok(Self(octets)) } else { Err(BadNetworkValue::HardwareAddress) }
    }
}

impl fmt::Display for HardwareAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, octet) in self.0.iter().enumerate() {
            write!(f, "{}{octet:02x}", if position == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl InterfaceAddress {
    /// The address without its prefix length.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// Whether another address is in the same network, so that it is reached without a gateway.
    #[must_use]
    pub fn is_neighbour_of(&self, other: IpAddr) -> bool {
        let (own, other, bits) = match (self.ip, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (u128::from(own.to_bits()), u128::from(other.to_bits()), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits(), 128),
            _ => return false,
        };
        // A shift by all bits of the type has no result: a prefix of 0 bits is every network.
        (own ^ other)
            .checked_shr(u32::saturating_sub(bits, self.prefix.into()))
            .is_none_or(|difference| difference == 0)
    }
}

impl FromStr for InterfaceAddress {
    type Err = BadNetworkValue;

    fn from_str(text: &str) -> Result<Self, BadNetworkValue> {
        let bad = BadNetworkValue::InterfaceAddress;
        let (ip, prefix) = text.split_once('/').ok_or(bad)?;
        let ip: IpAddr = ip.parse().map_err(|_| bad)?;
        // `u8::from_str` takes a plus sign, which no tool that configures networks does.
        let prefix: u8 = if prefix.starts_with('+') { None } else { prefix.parse().ok() }.ok_or(bad)?;
        let longest = if ip.is_ipv4() { 32 } else { 128 };
        if prefix <= longest { Ok(Self { ip, prefix }) } else { Err(bad) }
    }
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

impl fmt::Display for BadNetworkValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CardName => write!(
                f,
                "a card's name has 1 to {LONGEST_CARD_NAME} letters, digits, '-', '_' or '.', and is not \".\" or \"..\""
            ),
            Self::HardwareAddress => f.write_str(
                "a hardware address is six pairs of hexadecimal digits, as in \"52:54:00:12:34:56\"",
            ),
            Self::InterfaceAddress => {
                f.write_str("an address has a prefix length, as in \"192.0.2.10/24\" or \"2001:db8::10/64\"")
            }
        }
    }
}

impl core::error::Error for BadNetworkValue {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;

    #[test]
    fn names_are_those_that_the_kernel_and_configuration_files_take() {
        for good in ["lan0", "a", "enp0s31f6.4_x-", "fifteen-letters"] {
            assert_eq!(good.parse::<CardName>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "sixteen-letters-", "a b", "a/b", "a:b", "ä", "a\n"] {
            assert_eq!(bad.parse::<CardName>(), Err(BadNetworkValue::CardName), "{bad:?}");
        }
    }

    #[test]
    fn neighbours_are_in_the_network_of_the_prefix() {
        for (address, other, is_neighbour) in [
            ("192.0.2.10/24", "192.0.2.1", true),
            ("192.0.2.10/24", "192.0.3.1", false),
            ("192.0.2.10/31", "192.0.2.11", true),
            ("192.0.2.10/31", "192.0.2.12", false),
            ("192.0.2.10/32", "192.0.2.10", true),
            ("192.0.2.10/32", "192.0.2.11", false),
            ("192.0.2.10/0", "8.8.8.8", true),
            ("2001:db8::1/64", "2001:db8::ffff", true),
            ("2001:db8::1/64", "2001:db8:0:1::1", false),
            ("2001:db8::1/0", "::", true),
            ("::/0", "192.0.2.1", false),
        ] {
            let parsed: InterfaceAddress = address.parse().unwrap();
            assert_eq!(parsed.is_neighbour_of(other.parse().unwrap()), is_neighbour, "{address} {other}");
        }
    }

    #[test]
    fn hardware_addresses_become_lower_case() {
        let address: HardwareAddress = "52:54:00:AB:cd:0f".parse().unwrap();
        assert_eq!(address.to_string(), "52:54:00:ab:cd:0f");
        for bad in [
            "",
            "52:54:00:ab:cd",
            "52:54:00:ab:cd:0f:01",
            "52:54:00:ab:cd:+f",
            "52-54-00-ab-cd-0f",
            "5:254:00:ab:cd:0f",
        ] {
            assert_eq!(bad.parse::<HardwareAddress>(), Err(BadNetworkValue::HardwareAddress), "{bad:?}");
        }
    }

    #[test]
    fn addresses_have_a_prefix_of_their_family() {
        for (text, shown) in [
            ("192.0.2.1/32", "192.0.2.1/32"),
            ("2001:DB8:0::1/128", "2001:db8::1/128"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ] {
            assert_eq!(text.parse::<InterfaceAddress>().unwrap().to_string(), shown);
        }
        for bad in [
            "192.0.2.1",
            "192.0.2.1/33",
            "2001:db8::1/129",
            "192.0.2.1/+8",
            "192.0.2.1/",
            "lan0/8",
            "192.0.2.1/8/8",
        ] {
            assert_eq!(bad.parse::<InterfaceAddress>(), Err(BadNetworkValue::InterfaceAddress), "{bad:?}");
        }
    }
}
