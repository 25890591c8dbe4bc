//! Network settings for the debian base: files of systemd-networkd (systemd.link(5), systemd.network(5)).

use super::Changes;
use crate::file::FileError;
use handoff::network::Card;

const FOLDER: &str = "/etc/systemd/network";

pub(super) fn network(changes: &mut Changes<'_>, cards: &[Card]) -> Result<(), FileError> {
    for card in cards {
        // The first file that matches a card is used: those with a hardware address come before those for any card.
        let (order, matching) = match &card.mac {
            Some(mac) => (10, format!("PermanentMACAddress={mac}")),
            None => (20, "Type=ether\nKind=!*".into()),
        };
        let stem = format!("{FOLDER}/{order}-psyops-{}", card.name);
        if card.mac.is_some() {
            let link = format!("[Match]\n{matching}\n\n[Link]\nName={}\n", card.name);
            changes.write(&format!("{stem}.link"), &link, 0o644)?;
        }
        changes.write(&format!("{stem}.network"), &settings(card, &matching), 0o644)?;
    }
    resolver(changes, cards)
}

fn settings(card: &Card, matching: &str) -> String {
    let mut lines =
        format!("[Match]\n{matching}\n\n[Network]\nDHCP={}\n", if card.dhcp { "yes" } else { "no" });
    for address in &card.addresses {
        lines.push_str(&format!("Address={address}\n"));
    }
    for (word, addresses) in [("Gateway", card.gateway.as_slice()), ("DNS", &card.dns)] {
        for address in addresses {
            lines.push_str(&format!("{word}={address}\n"));
        }
    }
    lines.push_str("\n[Link]\nRequiredForOnline=no\n");
    lines
}

/// Writes the fixed name servers into a file: without systemd-resolved no other program does.
fn resolver(changes: &mut Changes<'_>, cards: &[Card]) -> Result<(), FileError> {
    let servers: String =
        cards.iter().flat_map(|card| &card.dns).map(|server| format!("nameserver {server}\n")).collect();
    if servers.is_empty() || changes.root.at("/usr/lib/systemd/systemd-resolved").exists() {
        return Ok(());
    }
    changes.write("/etc/resolv.conf", &servers, 0o644)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file;
    use crate::node::tests::{FULL, parse};
    use crate::root::Root;

    #[test]
    fn a_card_with_an_address_is_renamed_and_one_without_is_taken_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let cards = parse(&format!("{FULL}\n[[network]]\nname = 'any'\ndhcp = true\n")).unwrap().network;
        network(&mut Changes { root: &root, changed: Vec::new() }, &cards).unwrap();
        let names = file::names(&root.at(FOLDER)).unwrap();
        assert_eq!(names, ["10-psyops-lan0.link", "10-psyops-lan0.network", "20-psyops-any.network"]);
        let text = file::read_text(&root.at(FOLDER).join("10-psyops-lan0.network")).unwrap();
        assert_eq!(
            text,
            "[Match]\nPermanentMACAddress=52:54:00:ab:cd:ef\n\n[Network]\nDHCP=yes\nAddress=192.0.2.10/24\n\
             Address=2001:db8::1/64\nGateway=192.0.2.1\nDNS=192.0.2.53\n\n[Link]\nRequiredForOnline=no\n"
        );
        assert_eq!(file::read_text(&root.at("/etc/resolv.conf")).unwrap(), "nameserver 192.0.2.53\n");
    }
}
