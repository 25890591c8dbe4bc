//! A site: the folder (usually a git repository) that describes all of its nodes.
//!
//! Files are parsed in two layers: [`raw`] has what the user typed, and the public types have its meaning. An unknown
//! key or an invalid value is an error with file, line and column; nothing is guessed or ignored.

mod base;
mod boot;
mod default_site;
mod edit;
mod edits;
mod entry;
mod error;
mod folder;
mod hardening;
mod init;
mod known;
mod location;
mod locked;
mod network;
mod node;
mod number;
mod overlay;
mod package;
mod problems;
mod quantity;
mod raw;
mod rescue;
mod resolve;
mod role;
mod role_content;
mod role_program;
mod search;
mod settings;
mod source;
mod ssh_key;
mod value;
mod wanted_package;

pub use base::{Base, ImageSource, NotABase};
pub use default_site::{DEFAULT_NAME, default_site_dir, has_default_site_in};
pub use edits::SiteEdits;
pub(crate) use entry::SiteEntryKind;
pub use error::SiteError;
pub use folder::SiteFolder;
pub(crate) use folder::{DataFolder, open_anywhere};
pub use init::{GeneratedKeys, InitError, InitOptions, add_node, can_hold_a_site, init_site};
pub use known::Known;
pub use location::Location;
pub use locked::LockedSite;
pub use node::{FileSource, Node, NodeFile};
pub use number::SiteNumber;
pub use overlay::{OverlayManifest, OverlayRule, Which};
pub use package::PackageSet;
pub(crate) use package::{is_name as is_package_name, is_version as is_package_version};
pub use quantity::{Bytes, NotASize, SizeSpec, rfc3339, unix_seconds};
pub use role::{Overlay, Role};
pub use search::{FoundBy, FoundSite, SITE_VARIABLE, SiteSearchError, find_site};
pub use settings::{BootPolicy, Console, Packages, Sizes};
pub(crate) use ssh_key::is_login_key;
pub use wanted_package::WantedPackage;

use handoff::architecture::Architecture;
use handoff::hardening::Hardening;
use handoff::least_generation::LeastGeneration;
use handoff::login::ConsoleLogin;
use handoff::name::Name;
use handoff::node_settings::ConfigureLimits;
use handoff::rescue::RescuePolicy;
use keys::signature::PublicKey;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tracing::info_span;

/// The file that makes a folder a site.
pub const SITE_FILE: &str = "site.toml";
/// The folder for nodes.
pub const NODES: &str = "nodes";
/// The folder for roles.
pub const ROLES: &str = "roles";
/// The folder for overlays.
pub const OVERLAYS: &str = "overlays";
/// The folder for encrypted values.
pub const SECRETS: &str = "secrets";
/// The folder for seals.
pub const SEALS: &str = "seals";
/// The file with the locked packages.
pub const LOCK_FILE: &str = "site.lock";

/// A site whose files were read and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// The path of the site's folder.
    pub dir: PathBuf,
    /// The open folder: all files of the site are read and written through it.
    pub folder: SiteFolder,
    /// The id of the site.
    pub id: Name,
    /// The name of the release that is built from it.
    pub release: Name,
    /// The security epoch of the release; it is raised to make nodes refuse older releases.
    pub security_epoch: u32,
    /// The lowest generation that a seal of any node may have on this release; 0 if every generation is accepted.
    pub least_generation: u64,
    /// The time of everything that is built from the site, in seconds since 1970. It is never the clock's.
    pub build_time: u64,
    /// The architecture of its nodes.
    pub architecture: &'static Architecture,
    /// The base of its nodes.
    pub base: Base,
    /// The archives, and the packages from them.
    pub packages: Packages,
    /// The sizes of the partitions.
    pub sizes: Sizes,
    /// How nodes start, and how they react to faults.
    pub boot: BootPolicy,
    /// Which consoles there are, and who may log in.
    pub console: Console,
    /// Who may log in to a machine in rescue.
    pub rescue: RescuePolicy,
    /// The public age keys of the people who can decrypt everything.
    pub admin_recipients: Vec<String>,
    /// The minisign public keys whose signatures nodes accept.
    pub signing_keys: Vec<PublicKey>,
    /// The lines of root's `authorized_keys`.
    pub ssh_keys: Vec<String>,
    /// The limits of the configuration run.
    pub configure: ConfigureLimits,
    /// How nodes isolate users from the kernel and from each other.
    pub hardening: Hardening,
    /// The roles of the site.
    pub roles: BTreeMap<Name, Role>,
    /// The overlays in every node's root, the lowest first.
    pub overlays: Vec<Overlay>,
    nodes: BTreeMap<Name, Node>,
}

impl Site {
    /// Reads the site in `dir`, with all its files.
    pub fn load(dir: &Path) -> Result<Self, SiteError> {
        Self::check(dir).map_err(|mut problems| problems.swap_remove(0))
    }

    /// The same; the errors are all mistakes in its files, at least one.
    pub fn check(dir: &Path) -> Result<Self, Vec<SiteError>> {
        let _span = info_span!("site", dir = %dir.display()).entered();
        resolve::load(dir)
    }

    /// The node with this name.
    pub fn node(&self, name: &str) -> Result<&Node, SiteError> {
        let found = name.parse::<Name>().ok().and_then(|name| self.nodes.get(&name));
        found.ok_or_else(|| SiteError::UnknownNode {
            site: self.id.to_string(),
            dir: self.dir.clone(),
            name: name.to_owned(),
            known: Known::near(name, self.nodes.keys().map(Name::as_str)),
        })
    }

    /// Whether the site gives anyone a login on its nodes. An imported base may have users of its own.
    #[must_use]
    pub fn has_login(&self) -> bool {
        !self.ssh_keys.is_empty() || self.console.login != ConsoleLogin::Off || !self.base.is_of_packages()
    }

    /// The lowest generations of seals that the systems of this site accept.
    #[must_use]
    pub fn floors(&self) -> LeastGeneration {
        let mut floors = LeastGeneration::default();
        floors.raise_all(self.least_generation);
        for node in self.nodes().filter(|node| node.least_generation > self.least_generation) {
            floors.raise(node.name.clone(), node.least_generation);
        }
        floors
    }

    /// All nodes, sorted by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// The sets of packages of nodes that differ from the site's, each with its nodes.
    #[must_use]
    pub fn other_sets(&self) -> BTreeMap<&PackageSet, Vec<&Name>> {
        let mut sets: BTreeMap<&PackageSet, Vec<&Name>> = BTreeMap::new();
        for node in self.nodes().filter(|node| node.packages != self.packages.extra) {
            sets.entry(&node.packages).or_default().push(&node.name);
        }
        sets
    }

    /// The name of a node's file in the site's folder.
    #[must_use]
    pub fn node_name(name: &Name) -> PathBuf {
        Path::new(NODES).join(format!("{name}.toml"))
    }

    /// The path of a node's file.
    #[must_use]
    pub fn node_file(&self, name: &Name) -> PathBuf {
        self.dir.join(Self::node_name(name))
    }

    /// The name of a node's seal in the site's folder.
    #[must_use]
    pub fn seal_name(name: &Name) -> PathBuf {
        Path::new(SEALS).join(format!("{name}.seal"))
    }

    /// The path of a node's seal.
    #[must_use]
    pub fn seal_file(&self, name: &Name) -> PathBuf {
        self.dir.join(Self::seal_name(name))
    }

    /// The folder with the encrypted values.
    #[must_use]
    pub fn secrets_dir(&self) -> SiteFolder {
        self.folder.folder(SECRETS)
    }
}

#[cfg(test)]
mod link_tests;
#[cfg(test)]
mod package_tests;
#[cfg(test)]
mod policy_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod value_tests;
