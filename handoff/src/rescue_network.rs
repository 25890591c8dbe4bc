//! The rescue network: the fixed address that each network card has while the node is in rescue. The builder puts it
//! into the node's seal as the file [`crate::paths::RESCUE_NETWORK`]; PID 1 reads it when rescue allows logins by SSH.
//!
//! A line for each card: hardware address, address with prefix length, gateway. `*` in place of the hardware address
//! means any card that no other line names, `-` in place of the gateway means none.

use crate::network::{Card, HardwareAddress, InterfaceAddress};
use alloc::string::String;
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

const ANY_CARD: &str = "*";
const NO_GATEWAY: &str = "-";

/// The fixed address of one card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedAddress {
    /// The card's hardware address; `None` for any card that no other line names.
    pub mac: Option<HardwareAddress>,
    /// The address with its prefix length.
    pub address: InterfaceAddress,
    /// The address of the default route.
    pub gateway: Option<IpAddr>,
}

/// A line that is not a fixed address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadFixedAddress;

impl FixedAddress {
    /// The address of a card in rescue: its first fixed one. `None` if it has none.
    #[must_use]
    pub fn of(card: &Card) -> Option<Self> {
        let address = card.addresses.first().copied()?;
        Some(Self { mac: card.mac, address, gateway: card.gateway })
    }

    /// The text of the file.
    pub fn encode_all(addresses: impl IntoIterator<Item = Self>) -> String {
        addresses.into_iter().map(|address| alloc::format!("{address}\n")).collect()
    }

    /// Reads the file's lines. A bad line does not hide the others: in rescue, one usable address is enough.
    pub fn decode_all(text: &str) -> impl Iterator<Item = Result<Self, BadFixedAddress>> {
        text.lines().map(str::parse)
    }
}

impl fmt::Display for FixedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.mac {
            Some(mac) => write!(f, "{mac} {} ", self.address)?,
            None => write!(f, "{ANY_CARD} {} ", self.address)?,
        }
        match self.gateway {
            Some(gateway) => write!(f, "{gateway}"),
            None => f.write_str(NO_GATEWAY),
        }
    }
}

impl FromStr for FixedAddress {
    type Err = BadFixedAddress;

    fn from_str(line: &str) -> Result<Self, BadFixedAddress> {
        let mut words = line.split(' ');
        let (Some(mac), Some(address), Some(gateway), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(BadFixedAddress);
        };
        Ok(Self {
            mac: if mac == ANY_CARD { None } else { Some(mac.parse().map_err(|_| BadFixedAddress)?) },
            address: address.parse().map_err(|_| BadFixedAddress)?,
            gateway: if gateway == NO_GATEWAY {
                None
            } else {
                Some(gateway.parse().map_err(|_| BadFixedAddress)?)
            },
        })
    }
}

impl fmt::Display for BadFixedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a line has a hardware address or *, an address with its prefix length, and a gateway or -",
        )
    }
}

impl core::error::Error for BadFixedAddress {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const TEXT: &str = "* 192.0.2.1/24 -\n52:54:00:00:00:01 2001:db8::1/64 fe80::1\n";

    #[test]
    fn a_written_value_is_read_back() {
        let addresses: Vec<FixedAddress> = FixedAddress::decode_all(TEXT).collect::<Result<_, _>>().unwrap();
        assert_eq!(addresses[0].mac, None);
        assert_eq!(addresses[1].gateway, Some("fe80::1".parse().unwrap()));
        assert_eq!(FixedAddress::encode_all(addresses), TEXT);
    }

    #[test]
    fn a_bad_line_is_an_error_and_the_others_are_read() {
        for bad in
            ["short", "* 192.0.2.1 -", "x 192.0.2.1/24 -", "* 192.0.2.1/24 lan0", "* 192.0.2.1/24 - -", ""]
        {
            let text = alloc::format!("{bad}\n{TEXT}");
            let read: Vec<_> = FixedAddress::decode_all(&text).collect();
            assert_eq!((read[0], read.len()), (Err(BadFixedAddress), 3), "{bad:?}");
            assert!(read[1].is_ok() && read[2].is_ok());
        }
    }
}
