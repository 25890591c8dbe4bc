//! Writing `node.toml`. Keys have one order and no value changes from run to run: the same node gives the same text.

use super::{FORMAT, NodeSettings};
use crate::hardening::Hardening;
use crate::network::Card;
use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::{String, ToString};
use toml::{Table, Value};

impl NodeSettings {
    /// The text of `node.toml`.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut table = Table::new();
        table.insert("format".into(), Value::Integer(FORMAT.into()));
        table.insert("site".into(), string(&self.site));
        table.insert("node".into(), string(&self.name));
        table.insert("base".into(), string(&self.base));
        table.insert("roles".into(), Value::Array(self.roles.iter().map(string).collect()));
        table.insert("variables".into(), Value::Table(self.variables.clone()));
        table.insert("network".into(), Value::Array(self.network.iter().map(card).collect()));
        table.insert("console".into(), self.console());
        let mut configure = Table::new();
        configure.insert("deadline".into(), Value::Integer(self.configure.deadline.get().into()));
        configure.insert("retries".into(), Value::Integer(self.configure.retries.into()));
        table.insert("configure".into(), Value::Table(configure));
        // Older agents refuse this table, so it is written only for a site that does not use the defaults.
        if self.hardening != Hardening::default() {
            table.insert("hardening".into(), hardening(self.hardening));
        }
        let mut text =
            format!("# Made by the site {} for the node {}; a copy in memory.\n", self.site, self.name);
        text.push_str(&table.to_string());
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text
    }

    fn console(&self) -> Value {
        let mut console = Table::new();
        console.insert("login".into(), string(&self.login.word()));
        if let Some(hash) = self.login.hash() {
            console.insert("password-hash".into(), string(&hash.as_str()));
        }
        Value::Table(console)
    }
}

fn hardening(hardening: Hardening) -> Value {
    Value::Table(hardening.words().iter().map(|(key, word)| ((*key).to_owned(), string(word))).collect())
}

fn card(card: &Card) -> Value {
    let mut table = Table::new();
    table.insert("name".into(), string(&card.name));
    if let Some(mac) = &card.mac {
        table.insert("mac".into(), string(mac));
    }
    table.insert("dhcp".into(), Value::Boolean(card.dhcp));
    table.insert("addresses".into(), Value::Array(card.addresses.iter().map(string).collect()));
    if let Some(gateway) = &card.gateway {
        table.insert("gateway".into(), string(gateway));
    }
    table.insert("dns".into(), Value::Array(card.dns.iter().map(string).collect()));
    Value::Table(table)
}

fn string(text: &impl ToString) -> Value {
    Value::String(text.to_string())
}
