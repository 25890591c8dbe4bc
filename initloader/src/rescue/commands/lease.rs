//! `lease`: the script of udhcpc, which runs it when an address comes, changes or goes, if rescue has no shell.
//!
//! The values come from the network, through the environment. Each must be an address, a number or a card of this
//! machine; they are arguments of `ip`, never text of a script.

use crate::rescue::remote::{busybox, cards};
use std::net::Ipv4Addr;
use std::process::ExitCode;

pub(in crate::rescue) fn run(event: &str) -> ExitCode {
    let value = |name: &str| std::env::var(name).unwrap_or_default();
    let card = value("interface");
    if !cards().contains(&card) {
        return ExitCode::FAILURE;
    }
    match event {
        "deconfig" => {
            busybox(&["ip", "-4", "addr", "flush", "dev", &card]);
            busybox(&["ip", "link", "set", &card, "up"]);
        }
        "bound" | "renew" => {
            let Some(address) = address(&value("ip"), &value("mask")) else { return ExitCode::FAILURE };
            busybox(&["ip", "-4", "addr", "replace", &address, "broadcast", "+", "dev", &card]);
            if let Some(gateway) = gateway(&value("router")) {
                busybox(&["ip", "route", "replace", "default", "via", &gateway, "dev", &card]);
            }
            super::say(&format!("psyops rescue: {card} has the address {address}"));
        }
        _ => {}
    }
    ExitCode::SUCCESS
}

/// An address with its prefix length; 24 bits if the network sends none.
fn address(ip: &str, mask: &str) -> Option<String> {
    let ip: Ipv4Addr = ip.parse().ok()?;
    let prefix = if mask.is_empty() { 24 } else { mask.parse::<u8>().ok().filter(|prefix| *prefix <= 32)? };
    Some(format!("{ip}/{prefix}"))
}

/// The first of several addresses.
fn gateway(routers: &str) -> Option<String> {
    Some(routers.split(' ').next()?.parse::<Ipv4Addr>().ok()?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_become_arguments() {
        assert_eq!(address("10.0.2.15", "24").as_deref(), Some("10.0.2.15/24"));
        assert_eq!(address("10.0.2.15", "").as_deref(), Some("10.0.2.15/24"));
        for (ip, mask) in
            [("10.0.2.15;sh", "24"), ("10.0.2.15", "33"), ("10.0.2.15", "$(sh)"), ("", "24"), ("-4", "")]
        {
            assert_eq!(address(ip, mask), None, "{ip} {mask}");
        }
        assert_eq!(gateway("10.0.2.2 10.0.2.3").as_deref(), Some("10.0.2.2"));
        assert_eq!((gateway("x"), gateway("")), (None, None));
    }
}
