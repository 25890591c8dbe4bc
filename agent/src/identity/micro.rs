//! Network settings for the micro base: `/etc/psyops/network`, which `/etc/init.d/network` reads line by line.

use super::Changes;
use crate::file::FileError;
use handoff::network::Card;

const SETTINGS: &str = "/etc/psyops/network";

pub(super) fn network(changes: &mut Changes<'_>, cards: &[Card]) -> Result<(), FileError> {
    changes.write(SETTINGS, &settings(cards), 0o644)
}

fn settings(cards: &[Card]) -> String {
    let mut lines = String::new();
    // First the cards with a hardware address: the remaining cards are for the other entries.
    let (known, free): (Vec<&Card>, Vec<&Card>) = cards.iter().partition(|card| card.mac.is_some());
    for card in known.into_iter().chain(free) {
        let mac = card.mac.map_or_else(|| "-".to_owned(), |mac| mac.to_string());
        lines.push_str(&format!("card {} {mac}\n", card.name));
        for address in &card.addresses {
            lines.push_str(&format!("address {address}\n"));
        }
        for (word, addresses) in [("gateway", card.gateway.as_slice()), ("dns", &card.dns)] {
            for address in addresses {
                lines.push_str(&format!("{word} {address}\n"));
            }
        }
        if card.dhcp {
            lines.push_str("dhcp\n");
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::{FULL, parse};

    #[test]
    fn a_card_is_a_few_lines() {
        let cards = format!("{FULL}\n[[network]]\nname = 'any'\ndhcp = true\n");
        let mut cards = parse(&cards).unwrap().network;
        cards.reverse();
        assert_eq!(
            settings(&cards),
            "card lan0 52:54:00:ab:cd:ef\naddress 192.0.2.10/24\naddress 2001:db8::1/64\ngateway 192.0.2.1\n\
             dns 192.0.2.53\ndhcp\ncard any -\ndhcp\n"
        );
    }
}
