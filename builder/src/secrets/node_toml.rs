//! `node.toml` as the agent reads it on the node: roles, variables, network cards, consoles.
//!
//! Keys stand in one order and nothing changes from run to run, so the same node gives the same text.

use crate::site::{Card, Login, Node, Site};
use handoff::hardening::Hardening;
use std::net::IpAddr;
use toml::{Table, Value};

/// The version of the form.
pub const FORMAT: i64 = 1;

/// The settings of a node.
#[must_use]
pub fn text(site: &Site, node: &Node) -> String {
    let mut table = Table::new();
    table.insert("format".into(), Value::Integer(FORMAT));
    table.insert("site".into(), string(site.id.as_str()));
    table.insert("node".into(), string(node.name.as_str()));
    table.insert("base".into(), string(site.base.name()));
    let roles = node.roles.iter().map(|role| string(role.as_str())).collect();
    table.insert("roles".into(), Value::Array(roles));
    let variables = node.variables.iter().map(|(name, value)| (name.clone(), value.clone()));
    table.insert("variables".into(), Value::Table(variables.collect()));
    let cards = node.network.iter().map(|card| Value::Table(card_table(card))).collect();
    table.insert("network".into(), Value::Array(cards));
    let mut console = Table::new();
    console.insert("login".into(), string(site.console.login.name()));
    if let Login::Password { hash } = &site.console.login {
        console.insert("password-hash".into(), string(hash));
    }
    table.insert("console".into(), Value::Table(console));
    let mut configure = Table::new();
    configure.insert("deadline".into(), Value::Integer(site.configure.deadline.into()));
    configure.insert("retries".into(), Value::Integer(site.configure.retries.into()));
    table.insert("configure".into(), Value::Table(configure));
    // Agents from before this table refuse it, so only a site that wants something else needs one that knows it.
    if site.hardening != Hardening::default() {
        table.insert("hardening".into(), Value::Table(hardening_table(site.hardening)));
    }
    let mut text = format!("# Made by the site {} for the node {}; a copy in memory.\n", site.id, node.name);
    text.push_str(&table.to_string());
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn hardening_table(hardening: Hardening) -> Table {
    let words = [
        ("kernel-log", hardening.kernel_log.word()),
        ("kernel-addresses", hardening.kernel_addresses.word()),
        ("trace", hardening.trace.word()),
        ("user-namespaces", hardening.user_namespaces.word()),
        ("bpf", hardening.bpf.word()),
        ("modules", hardening.modules.word()),
    ];
    words.into_iter().map(|(key, word)| (key.to_owned(), string(word))).collect()
}

fn card_table(card: &Card) -> Table {
    let mut table = Table::new();
    table.insert("name".into(), string(&card.name));
    if let Some(mac) = &card.mac {
        table.insert("mac".into(), string(mac));
    }
    table.insert("dhcp".into(), Value::Boolean(card.dhcp));
    let addresses = card.addresses.iter().map(|address| string(address)).collect();
    table.insert("addresses".into(), Value::Array(addresses));
    if let Some(gateway) = &card.gateway {
        table.insert("gateway".into(), string(&gateway.to_string()));
    }
    let dns = card.dns.iter().map(|server: &IpAddr| string(&server.to_string())).collect();
    table.insert("dns".into(), Value::Array(dns));
    table
}

fn string(text: &str) -> Value {
    Value::String(text.to_owned())
}
