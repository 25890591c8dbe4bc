//! `[[network]]` of a node's file: its cards, and their addresses beside those of the other nodes.

use super::error::SiteError;
use super::location::Location;
use super::raw::RawCard;
use super::source::Source;
use handoff::name::Name;
use handoff::network::{Card, CardName, InterfaceAddress};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;
use toml::Spanned;

/// The fixed addresses of the nodes that were read so far, with their places.
#[derive(Debug, Default)]
pub(super) struct TakenAddresses(BTreeMap<IpAddr, (Name, Location)>);

impl TakenAddresses {
    /// Notes an address of a node; an error names the other node or card that has it.
    fn take(
        &mut self,
        source: &Source,
        node: &Name,
        typed: &Spanned<String>,
        address: &InterfaceAddress,
    ) -> Result<(), SiteError> {
        let ip = address.ip();
        // Such addresses are valid on one machine or one cable only.
        let is_local = match ip {
            IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
        };
        if is_local {
            return Ok(());
        }
        match self.0.entry(ip) {
            Entry::Vacant(free) => {
                free.insert((node.clone(), source.at(&typed.span())));
                Ok(())
            }
            Entry::Occupied(taken) => {
                let (other, at) = taken.get();
                Err(source.wrong(
                    "addresses",
                    typed,
                    format!("the node {other} has this address already ({at})"),
                ))
            }
        }
    }
}

/// Checks the cards of a node and converts them.
pub(super) fn cards(
    source: &Source,
    node: &Name,
    typed: &[RawCard],
    taken: &mut TakenAddresses,
) -> Result<Vec<Card>, SiteError> {
    let mut cards: Vec<Card> = Vec::new();
    for raw in typed {
        let name: CardName = source.value("name", &raw.name)?;
        if cards.iter().any(|card| card.name == name) {
            return Err(source.wrong("name", &raw.name, "two cards have this name"));
        }
        let mut addresses = Vec::new();
        for typed in &raw.addresses {
            let address = source.value("addresses", typed)?;
            taken.take(source, node, typed, &address)?;
            addresses.push(address);
        }
        let address = |typed: &Spanned<String>| source.value::<IpAddr>("address", typed);
        let gateway =
            raw.gateway.as_ref().map(|typed| gateway(source, typed, raw.dhcp, &addresses)).transpose()?;
        cards.push(Card {
            name,
            mac: raw.mac.as_ref().map(|typed| source.value("mac", typed)).transpose()?,
            dhcp: raw.dhcp,
            gateway,
            dns: raw.dns.iter().map(address).collect::<Result<_, _>>()?,
            addresses,
        });
    }
    Ok(cards)
}

/// A gateway must be in a network of its card: the kernel refuses a route by one that it cannot reach. What a DHCP
/// server will give is not known here, and each cable has the local network of IPv6.
fn gateway(
    source: &Source,
    typed: &Spanned<String>,
    has_dhcp: bool,
    addresses: &[InterfaceAddress],
) -> Result<IpAddr, SiteError> {
    let gateway = source.value::<IpAddr>("gateway", typed)?;
    if addresses.iter().any(|address| address.ip() == gateway) {
        return Err(source.wrong("gateway", typed, "this is the card's own address"));
    }
    let is_on_the_cable = matches!(gateway, IpAddr::V6(ip) if ip.is_unicast_link_local());
    if has_dhcp || is_on_the_cable || addresses.iter().any(|address| address.is_neighbour_of(gateway)) {
        return Ok(gateway);
    }
    let networks: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    Err(source.wrong(
        "gateway",
        typed,
        match networks.as_slice() {
            [] => "a card with a gateway needs an address in the gateway's network".to_owned(),
            networks => format!("it is in no network of this card ({})", networks.join(", ")),
        },
    ))
}

#[cfg(test)]
mod tests {
    use crate::site::add_node;
    use crate::site::tests::Sample;

    fn with_cards(cards: &[(&str, &str)]) -> Result<(), String> {
        let sample = Sample::new();
        add_node(&sample.load().unwrap(), &"beta".parse().unwrap(), None).unwrap();
        for (node, lines) in cards {
            sample
                .append(&format!("nodes/{node}.toml"), &format!("\n[[network]]\nname = \"lan1\"\n{lines}\n"));
        }
        sample.load().map(|_| ()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_gateway_is_in_a_network_of_its_card() {
        for good in [
            "addresses = [\"192.0.2.10/24\"]\ngateway = \"192.0.2.1\"",
            "addresses = [\"198.51.100.7/32\", \"192.0.2.10/24\"]\ngateway = \"192.0.2.1\"",
            "addresses = [\"2001:db8::7/64\"]\ngateway = \"2001:db8::1\"",
            "addresses = [\"2001:db8::7/64\"]\ngateway = \"fe80::1\"",
            "dhcp = true\ngateway = \"192.0.2.1\"",
        ] {
            assert_eq!(with_cards(&[("alpha", good)]), Ok(()), "{good}");
        }
        for (lines, problem) in [
            (
                "addresses = [\"192.0.2.10/24\"]\ngateway = \"192.0.3.1\"",
                "gateway = \"192.0.3.1\": it is in no network of this card (192.0.2.10/24)",
            ),
            (
                "addresses = [\"192.0.2.10/24\"]\ngateway = \"2001:db8::1\"",
                "gateway = \"2001:db8::1\": it is in no network of this card (192.0.2.10/24)",
            ),
            (
                "addresses = [\"192.0.2.10/32\"]\ngateway = \"192.0.2.1\"",
                "gateway = \"192.0.2.1\": it is in no network of this card (192.0.2.10/32)",
            ),
            (
                "addresses = [\"192.0.2.1/24\"]\ngateway = \"192.0.2.1\"",
                "gateway = \"192.0.2.1\": this is the card's own address",
            ),
            (
                "gateway = \"192.0.2.1\"",
                "gateway = \"192.0.2.1\": a card with a gateway needs an address in the gateway's network",
            ),
        ] {
            let error = with_cards(&[("alpha", lines)]).unwrap_err();
            assert!(error.ends_with(problem), "{lines}\n{error}");
        }
    }
    #[test]
    fn an_address_is_on_one_node() {
        let of = |addresses: &str| format!("addresses = [{addresses}]");
        let (one, two) = (of("\"192.0.2.10/24\", \"2001:db8::1/64\""), of("\"192.0.2.11/24\""));
        assert_eq!(with_cards(&[("alpha", &one), ("beta", &two)]), Ok(()));
        // The same address in another notation, with another prefix.
        for again in ["192.0.2.10/16", "2001:DB8:0::1/128"] {
            let error = with_cards(&[("alpha", &one), ("beta", &of(&format!("\"{again}\"")))]).unwrap_err();
            let problem = format!("addresses = \"{again}\": the node alpha has this address already (");
            assert!(error.contains("nodes/beta.toml:") && error.contains(&problem), "{error}");
            assert!(error.contains("nodes/alpha.toml:"), "{error}");
        }
        let local = of("\"fe80::1/64\", \"127.0.0.2/8\", \"169.254.1.1/16\"");
        assert_eq!(with_cards(&[("alpha", &local), ("beta", &local)]), Ok(()));
    }
}
