//! Reading `node.toml`: first the shape, then what each value means.

use super::{ConfigureLimits, DEFAULT_DEADLINE, DEFAULT_RETRIES, FORMAT, NodeSettings};
use crate::base_kind::BaseKind;
use crate::hardening::Hardening;
use crate::login::ConsoleLogin;
use crate::network::Card;
use crate::toml_problem::TomlProblem;
use crate::variables::is_predefined;
use alloc::borrow::ToOwned as _;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU32;
use core::str::FromStr;
use serde::Deserialize;

/// Why a text is not valid as a node's settings.
#[derive(Debug, PartialEq, Eq)]
pub enum BadNodeSettings {
    /// It is not TOML, or has an unknown key or a value of the wrong type.
    Syntax(TomlProblem),
    /// A value has the right type but is not valid.
    Value {
        /// The key, with its table.
        key: &'static str,
        /// The value in the file; empty for a password hash.
        value: String,
        /// What is expected for this key.
        problem: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawNode {
    format: u64,
    site: String,
    node: String,
    base: String,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    variables: toml::Table,
    #[serde(default)]
    network: Vec<RawCard>,
    #[serde(default)]
    console: RawConsole,
    #[serde(default)]
    configure: RawConfigure,
    #[serde(default)]
    hardening: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCard {
    name: String,
    mac: Option<String>,
    #[serde(default)]
    dhcp: bool,
    #[serde(default)]
    addresses: Vec<String>,
    gateway: Option<String>,
    #[serde(default)]
    dns: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawConsole {
    login: Option<String>,
    password_hash: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawConfigure {
    deadline: Option<u32>,
    retries: Option<u32>,
}

impl NodeSettings {
    /// Reads the file's text.
    pub fn decode(text: &str) -> Result<Self, BadNodeSettings> {
        let raw: RawNode =
            toml::from_str(text).map_err(|error| BadNodeSettings::Syntax(TomlProblem::new(text, &error)))?;
        if raw.format != u64::from(FORMAT) {
            let problem = alloc::format!("this agent reads format {FORMAT}");
            return Err(wrong("format", &raw.format.to_string(), &problem));
        }
        if let Some(name) = raw.variables.keys().find(|name| is_predefined(name)) {
            return Err(wrong("variables", name, &"this name is predefined"));
        }
        Ok(Self {
            site: value("site", &raw.site)?,
            name: value("node", &raw.node)?,
            base: value::<BaseKind>("base", &raw.base)?,
            roles: raw.roles.iter().map(|role| value("roles", role)).collect::<Result<_, _>>()?,
            variables: raw.variables,
            network: raw.network.iter().map(RawCard::resolve).collect::<Result<_, _>>()?,
            login: raw.console.resolve()?,
            configure: raw.configure.resolve()?,
            hardening: hardening(&raw.hardening)?,
        })
    }
}

impl RawCard {
    fn resolve(&self) -> Result<Card, BadNodeSettings> {
        Ok(Card {
            name: value("network.name", &self.name)?,
            mac: self.mac.as_deref().map(|mac| value("network.mac", mac)).transpose()?,
            dhcp: self.dhcp,
            addresses: self
                .addresses
                .iter()
                .map(|address| value("network.addresses", address))
                .collect::<Result<_, _>>()?,
            gateway: self.gateway.as_deref().map(|address| value("network.gateway", address)).transpose()?,
            dns: self.dns.iter().map(|address| value("network.dns", address)).collect::<Result<_, _>>()?,
        })
    }
}

impl RawConsole {
    fn resolve(self) -> Result<ConsoleLogin, BadNodeSettings> {
        let hash = self.password_hash.as_deref().map(str::parse).transpose();
        let hash = hash.map_err(|problem| wrong("console.password-hash", "...", &problem))?;
        let word = self.login.unwrap_or_else(|| ConsoleLogin::default().word().to_owned());
        ConsoleLogin::new(&word, hash).map_err(|problem| wrong("console.login", &word, &problem))
    }
}

impl RawConfigure {
    fn resolve(&self) -> Result<ConfigureLimits, BadNodeSettings> {
        let deadline = match self.deadline {
            None => DEFAULT_DEADLINE,
            Some(seconds) => NonZeroU32::new(seconds)
                .ok_or_else(|| wrong("configure.deadline", "0", &"it must be at least 1 second"))?,
        };
        Ok(ConfigureLimits { deadline, retries: self.retries.unwrap_or(DEFAULT_RETRIES) })
    }
}

/// Reads `[hardening]`. The table of a newer release may have keys or words that this agent does not know.
fn hardening(typed: &BTreeMap<String, String>) -> Result<Hardening, BadNodeSettings> {
    let mut table = Hardening::default();
    for (key, word) in typed {
        table.set(key, word).map_err(|problem| {
            let problem = alloc::format!("{problem}; if a newer release has it, update this system first");
            wrong("hardening", &alloc::format!("{key} = {word}"), &problem)
        })?;
    }
    Ok(table)
}

fn value<T: FromStr<Err: fmt::Display>>(key: &'static str, text: &str) -> Result<T, BadNodeSettings> {
    text.parse().map_err(|problem| wrong(key, text, &problem))
}

fn wrong(key: &'static str, value: &str, problem: &impl fmt::Display) -> BadNodeSettings {
    BadNodeSettings::Value { key, value: value.to_owned(), problem: problem.to_string() }
}

impl fmt::Display for BadNodeSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(problem) => problem.fmt(f),
            Self::Value { key, value, problem } => write!(f, "{key} = {value:?}: {problem}"),
        }
    }
}

impl core::error::Error for BadNodeSettings {}
