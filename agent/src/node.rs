//! `node.toml`: what the seal says about this node besides its files.
//!
//! The builder writes it into the seal; the loader puts it at `handoff::paths::NODE`. Unknown keys are errors on this
//! side too: a key that an older agent does not know would otherwise be a setting that silently does nothing.

use crate::file::{self, FileError};
use crate::root::Root;
use crate::toml_problem::TomlProblem;
use handoff::hardening::{Hardening, Modules, Trace, Who};
use handoff::init::{InitKind, NoInit};
use handoff::name::{BadName, Name};
use handoff::paths::INIT_KIND;
use serde::Deserialize;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The version of the form.
pub const FORMAT: u64 = 1;
/// The longest interface name that the kernel takes (`IFNAMSIZ` less the final zero).
const LONGEST_CARD_NAME: usize = 15;
/// Names that templates see besides the node's variables, and that no variable may hide.
pub const PREDEFINED: [&str; 4] = ["node", "site", "base", "hostname"];

/// The base system under the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Base {
    /// busybox's init, no package manager.
    Micro,
    /// A minimal Debian with systemd.
    Debian,
    /// The files of a tar, with one init or the other.
    Tar,
    /// The files of an OCI image, likewise.
    Oci,
}

impl Base {
    /// The word in files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Micro => "micro",
            Self::Debian => "debian",
            Self::Tar => "tar",
            Self::Oci => "oci",
        }
    }

    /// The init of the root, which decides how the node is configured. Of a base that somebody gave, the builder found
    /// it and wrote it into the root.
    pub fn init(self, root: &Root) -> Result<InitKind, FileError> {
        match self {
            Self::Micro => return Ok(InitKind::Busybox),
            Self::Debian => return Ok(InitKind::Systemd),
            Self::Tar | Self::Oci => {}
        }
        let path = root.at(INIT_KIND);
        let word = file::read_text(&path)?;
        let kind = word.trim_end().parse().map_err(|problem: NoInit| io::Error::other(problem));
        file::failing("use", &path, kind)
    }
}

/// What a console offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Login {
    /// A root shell without a question.
    Shell,
    /// A login prompt.
    Password,
    /// Nothing.
    #[default]
    Off,
}

/// A network card and its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// The interface's name.
    pub name: String,
    /// The hardware address, lower case; without it the first card that nobody claims.
    pub mac: Option<String>,
    /// Ask for an address.
    pub dhcp: bool,
    /// Fixed addresses.
    pub addresses: Vec<Address>,
    /// Where everything else goes.
    pub gateway: Option<IpAddr>,
    /// Name servers.
    pub dns: Vec<IpAddr>,
}

/// An address with the length of its network's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// The prefix length.
    pub prefix: u8,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

/// How the configure stage is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For the whole stage.
    pub deadline: Duration,
    /// Further attempts of a failing command.
    pub retries: u32,
}

/// The node's settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The site.
    pub site: Name,
    /// The node; also its host name.
    pub name: Name,
    /// Its base system.
    pub base: Base,
    /// Its roles, in the order in which they are applied.
    pub roles: Vec<Name>,
    /// The site's revision, where the seal names one.
    pub site_rev: Option<String>,
    /// What templates see.
    pub variables: toml::Table,
    /// Network cards.
    pub network: Vec<Card>,
    /// What consoles offer.
    pub login: Login,
    /// root's password hash, for [`Login::Password`].
    pub password_hash: Option<String>,
    /// Deadline and retries.
    pub limits: Limits,
    /// How its users are kept apart from the kernel and from each other.
    pub hardening: Hardening,
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The file cannot be read.
    #[error("{0}; the loader puts it there from the seal: make the node's seal anew with `mksecrets`")]
    File(#[from] FileError),
    /// The file is no TOML, or has unknown keys or wrong values.
    #[error("{path}: {source}", path = path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: TomlProblem,
    },
    /// A value of the right type that makes no sense.
    #[error("{path}: {key} = {value:?}: {problem}", path = path.display())]
    Value {
        /// Which file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What it says.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawNode {
    format: u64,
    site: String,
    node: String,
    base: Base,
    #[serde(default)]
    roles: Vec<String>,
    site_rev: Option<String>,
    #[serde(default)]
    variables: toml::Table,
    #[serde(default)]
    network: Vec<RawCard>,
    #[serde(default)]
    console: RawConsole,
    #[serde(default)]
    configure: RawConfigure,
    #[serde(default)]
    hardening: RawHardening,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawHardening {
    kernel_log: Option<String>,
    kernel_addresses: Option<String>,
    trace: Option<String>,
    user_namespaces: Option<String>,
    bpf: Option<String>,
    modules: Option<String>,
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
    gateway: Option<IpAddr>,
    #[serde(default)]
    dns: Vec<IpAddr>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawConsole {
    #[serde(default)]
    login: Login,
    password_hash: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawConfigure {
    deadline: u64,
    retries: u32,
}

impl Default for RawConfigure {
    fn default() -> Self {
        Self { deadline: 600, retries: 3 }
    }
}

/// A key, what it says, and what is wrong with that.
struct BadValue(&'static str, String, String);

impl Node {
    /// Reads the settings of the node under `root`.
    pub fn load(root: &Root) -> Result<Self, NodeError> {
        let path = root.at(handoff::paths::NODE);
        let text = file::read_text(&path)?;
        let raw: RawNode = toml::from_str(&text).map_err(|error| {
            let source = TomlProblem::new(&text, &error);
            NodeError::Syntax { path: path.clone(), source }
        })?;
        raw.resolve().map_err(|BadValue(key, value, problem)| NodeError::Value { path, key, value, problem })
    }
}

impl RawNode {
    fn resolve(self) -> Result<Node, BadValue> {
        if self.format != FORMAT {
            let problem = format!("this agent reads format {FORMAT}");
            return Err(BadValue("format", self.format.to_string(), problem));
        }
        let hidden = PREDEFINED.into_iter().find(|key| self.variables.contains_key(*key));
        if let Some(key) = hidden {
            return Err(BadValue("variables", key.into(), "this name is predefined".into()));
        }
        let hash = self.console.password_hash;
        if let Some(hash) = hash.as_ref().filter(|hash| hash.contains([':', '\n']) || !hash.starts_with('$'))
        {
            return Err(BadValue("console.password-hash", hash.clone(), "not a crypt(3) hash".into()));
        }
        Ok(Node {
            site: name("site", &self.site)?,
            name: name("node", &self.node)?,
            base: self.base,
            roles: self.roles.iter().map(|role| name("roles", role)).collect::<Result<_, _>>()?,
            site_rev: self.site_rev,
            variables: self.variables,
            network: self.network.into_iter().map(RawCard::resolve).collect::<Result<_, _>>()?,
            login: self.console.login,
            password_hash: hash,
            limits: Limits {
                deadline: Duration::from_secs(self.configure.deadline),
                retries: self.configure.retries,
            },
            hardening: self.hardening.resolve()?,
        })
    }
}

impl RawHardening {
    fn resolve(self) -> Result<Hardening, BadValue> {
        let default = Hardening::default();
        let not_all = |who: &Who| *who != Who::Nobody;
        let log = |word: &str| Who::from_word(word).filter(not_all);
        Ok(Hardening {
            kernel_log: choice("hardening.kernel-log", self.kernel_log, log, default.kernel_log)?,
            kernel_addresses: choice(
                "hardening.kernel-addresses",
                self.kernel_addresses,
                Who::from_word,
                default.kernel_addresses,
            )?,
            trace: choice("hardening.trace", self.trace, Trace::from_word, default.trace)?,
            user_namespaces: choice(
                "hardening.user-namespaces",
                self.user_namespaces,
                Who::from_word,
                default.user_namespaces,
            )?,
            bpf: choice("hardening.bpf", self.bpf, log, default.bpf)?,
            modules: choice("hardening.modules", self.modules, Modules::from_word, default.modules)?,
        })
    }
}

fn choice<T>(
    key: &'static str,
    word: Option<String>,
    read: impl Fn(&str) -> Option<T>,
    default: T,
) -> Result<T, BadValue> {
    let Some(word) = word else { return Ok(default) };
    read(&word)
        .ok_or_else(|| BadValue(key, word, "this agent does not know it; update the system first".into()))
}

impl RawCard {
    fn resolve(self) -> Result<Card, BadValue> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.name.is_empty() || self.name.len() > LONGEST_CARD_NAME || !self.name.chars().all(plain) {
            let problem =
                format!("a card's name has 1 to {LONGEST_CARD_NAME} letters, digits, '-', '_' or '.'");
            return Err(BadValue("network.name", self.name, problem));
        }
        let mac = self.mac.map(|mac| hardware_address(&mac)).transpose()?;
        let addresses = self.addresses.iter().map(|text| address(text)).collect::<Result<_, _>>()?;
        Ok(Card { name: self.name, mac, dhcp: self.dhcp, addresses, gateway: self.gateway, dns: self.dns })
    }
}

fn name(key: &'static str, value: &str) -> Result<Name, BadValue> {
    value.parse().map_err(|problem: BadName| BadValue(key, value.into(), problem.to_string()))
}

fn hardware_address(text: &str) -> Result<String, BadValue> {
    let lower = text.to_ascii_lowercase();
    let octets: Vec<&str> = lower.split(':').collect();
    let hexadecimal = |octet: &&str| octet.len() == 2 && octet.bytes().all(|byte| byte.is_ascii_hexdigit());
    if octets.len() == 6 && octets.iter().all(hexadecimal) {
        Ok(lower)
    } else {
        Err(BadValue("network.mac", text.into(), "expected six octets, as in 52:54:00:12:34:56".into()))
    }
}

fn address(text: &str) -> Result<Address, BadValue> {
    let bad = || {
        BadValue(
            "network.addresses",
            text.into(),
            "expected an address and a length, as in 192.0.2.10/24".into(),
        )
    };
    let (ip, prefix) = text.split_once('/').ok_or_else(bad)?;
    let ip: IpAddr = ip.parse().map_err(|_| bad())?;
    let prefix: u8 = prefix.parse().map_err(|_| bad())?;
    let most = if ip.is_ipv4() { 32 } else { 128 };
    if prefix <= most { Ok(Address { ip, prefix }) } else { Err(bad()) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const FULL: &str = r#"
format = 1
site = "lab"
node = "node-1"
base = "micro"
roles = ["hello"]
[variables]
greeting = "hi"
[[network]]
name = "lan0"
mac = "52:54:00:AB:cd:ef"
dhcp = true
addresses = ["192.0.2.10/24", "2001:db8::1/64"]
gateway = "192.0.2.1"
dns = ["192.0.2.53"]
[console]
login = "shell"
[configure]
deadline = 7
retries = 1
[hardening]
user-namespaces = "all"
modules = "closed"
"#;

    pub(crate) fn parse(text: &str) -> Result<Node, NodeError> {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        file::write(&root.at(handoff::paths::NODE), text.as_bytes(), 0o600).unwrap();
        Node::load(&root)
    }

    #[test]
    fn all_keys_are_read() {
        let node = parse(FULL).unwrap();
        assert_eq!((node.name.as_str(), node.base, node.login), ("node-1", Base::Micro, Login::Shell));
        assert_eq!(node.limits, Limits { deadline: Duration::from_secs(7), retries: 1 });
        let hardening =
            Hardening { user_namespaces: Who::All, modules: Modules::Closed, ..Hardening::default() };
        assert_eq!(node.hardening, hardening);
        let card = &node.network[0];
        assert_eq!(card.mac.as_deref(), Some("52:54:00:ab:cd:ef"));
        assert_eq!(card.addresses[1].to_string(), "2001:db8::1/64");
    }

    #[test]
    fn little_is_enough() {
        let node = parse("format = 1\nsite = 'a'\nnode = 'b'\nbase = 'debian'").unwrap();
        assert_eq!((node.login, node.limits.retries), (Login::Off, 3));
        assert_eq!(node.hardening, Hardening::default());
        assert!(node.roles.is_empty() && node.network.is_empty());
    }

    #[test]
    fn each_wrong_value_is_named() {
        for (from, to, wanted) in [
            ("format = 1", "format = 2", "format"),
            ("\"lab\"", "\"La b\"", "site"),
            ("[\"hello\"]", "[\"../x\"]", "roles"),
            ("greeting", "node", "variables"),
            ("lan0", "a-very-long-card-name", "network.name"),
            ("AB:cd:ef", "AB:cd", "network.mac"),
            ("10/24", "10/33", "network.addresses"),
            ("login = \"shell\"", "password-hash = \"a:b\"", "console.password-hash"),
            ("\"all\"", "\"some\"", "hardening.user-namespaces"),
            ("\"closed\"", "\"shut\"", "hardening.modules"),
        ] {
            assert!(FULL.contains(from), "{from}");
            match parse(&FULL.replace(from, to)).unwrap_err() {
                NodeError::Value { key, .. } => assert_eq!(key, wanted),
                other => panic!("{wanted}: {other}"),
            }
        }
    }

    #[test]
    fn unknown_keys_and_missing_files_are_errors() {
        let error = parse(&FULL.replace("retries", "retrys")).unwrap_err();
        assert!(matches!(error, NodeError::Syntax { .. }), "{error}");
        let nowhere = Root::new("/nowhere");
        assert!(matches!(Node::load(&nowhere), Err(NodeError::File(error)) if error.is_missing()));
    }
}
