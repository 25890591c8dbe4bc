//! A site: the folder (a git repository, usually) that says everything about its nodes.
//!
//! Files are parsed in two layers: [`raw`] is what was typed, the public types are what it means. Anything unknown or
//! senseless is an error that names file, line and column; nothing is guessed and nothing is ignored.

mod base;
mod boot;
mod default_site;
mod edit;
mod error;
mod folder;
mod hardening;
mod init;
mod issue;
mod node;
mod overlay;
mod package;
mod quantity;
mod raw;
mod rescue;
mod resolve;
mod role;
mod settings;
mod source;
mod value;

pub use base::{Base, ImageSource, NotABase};
pub use default_site::{
    DEFAULT_NAME, DefaultSiteError, default_site, default_site_in, has_default_site_in, site_or_default,
};
pub use error::{Known, Location, SiteError};
pub use folder::SiteFolder;
pub(crate) use folder::{DataFolder, SiteEntryKind, open_anywhere};
pub use init::{
    GeneratedKeys, InitError, InitOptions, add_node, can_hold_a_site, init_site, set_least_serial,
    set_recipient, set_security_epoch,
};
pub use issue::{ADMIN_IDENTITY_FILE, IssueError, SIGNING_KEY_FILE, issue_keys};
pub use node::{FileSource, Node, NodeFile};
pub use overlay::{OverlayManifest, OverlayRule, Which};
pub use package::{PackageSet, WantedPackage};
pub(crate) use package::{is_name as is_package_name, is_version as is_package_version};
pub use quantity::{Bytes, NotASize, SizeSpec, rfc3339, unix_seconds};
pub use role::{Overlay, Role};
pub use settings::{BootPolicy, Console, Packages, Sizes};

use crate::secrets::trust::Accepted;
use handoff::architecture::Architecture;
use handoff::hardening::Hardening;
use handoff::least_serial::LeastSerial;
use handoff::name::Name;
use handoff::node_settings::ConfigureLimits;
use handoff::rescue::RescuePolicy;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file that makes a folder a site.
pub const SITE_FILE: &str = "site.toml";
/// The folder of nodes.
pub const NODES: &str = "nodes";
/// The folder of roles.
pub const ROLES: &str = "roles";
/// The folder of overlays.
pub const OVERLAYS: &str = "overlays";
/// The folder of encrypted values.
pub const SECRETS: &str = "secrets";
/// The folder of seals.
pub const SEALS: &str = "seals";
/// The file that records the packages of the base.
pub const LOCK_FILE: &str = "site.lock";

/// A site, read and understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// Its folder.
    pub dir: PathBuf,
    /// The same, open: everything in the site is read and written through it.
    pub folder: SiteFolder,
    /// Its name.
    pub id: Name,
    /// The release that is built from it.
    pub release: Name,
    /// Grows when older releases must not run any more.
    pub security_epoch: u32,
    /// The lowest serial that a seal of any node may have on this release; 0 where every serial is accepted.
    pub least_serial: u64,
    /// The time that everything built from it bears, in seconds since 1970. Never the clock.
    pub build_time: u64,
    /// The processors of its nodes.
    pub architecture: &'static Architecture,
    /// Which system its nodes run.
    pub base: Base,
    /// Where packages come from, and which ones.
    pub packages: Packages,
    /// How big the partitions are.
    pub sizes: Sizes,
    /// How nodes start.
    pub boot: BootPolicy,
    /// What consoles offer.
    pub console: Console,
    /// Who gets into a machine that stands in rescue.
    pub rescue: RescuePolicy,
    /// Public age keys of those who can open everything.
    pub admin_recipients: Vec<String>,
    /// minisign public keys (base64) whose seals nodes accept.
    pub signing_keys: Vec<String>,
    /// Lines of root's `authorized_keys`.
    pub ssh_keys: Vec<String>,
    /// Limits of the configuration run.
    pub configure: ConfigureLimits,
    /// How nodes keep their users apart from the kernel and from each other.
    pub hardening: Hardening,
    /// The keys that the user accepted, once they were looked up (`secrets::trust`). Reading a site does not do that.
    pub accepted: Option<Arc<Accepted>>,
    /// Its roles.
    pub roles: BTreeMap<Name, Role>,
    /// The overlays that every node's root has, the lowest first.
    pub overlays: Vec<Overlay>,
    nodes: BTreeMap<Name, Node>,
}

impl Site {
    /// Reads the site in `dir` with everything in it.
    pub fn load(dir: &Path) -> Result<Self, SiteError> {
        resolve::load(dir)
    }

    /// The node of that name.
    pub fn node(&self, name: &str) -> Result<&Node, SiteError> {
        let found = name.parse::<Name>().ok().and_then(|name| self.nodes.get(&name));
        found.ok_or_else(|| SiteError::UnknownNode {
            site: self.id.to_string(),
            dir: self.dir.clone(),
            name: name.to_owned(),
            known: Known::near(name, self.nodes.keys().map(Name::as_str)),
        })
    }

    /// The floors of seal serials that the systems of this site carry.
    #[must_use]
    pub fn floors(&self) -> LeastSerial {
        let mut floors = LeastSerial::default();
        floors.raise_all(self.least_serial);
        for node in self.nodes().filter(|node| node.least_serial > self.least_serial) {
            floors.raise(node.name.clone(), node.least_serial);
        }
        floors
    }

    /// All nodes, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// The sets of packages that nodes have and the site itself does not, each with its nodes.
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

    /// Where the file of a node lies.
    #[must_use]
    pub fn node_file(&self, name: &Name) -> PathBuf {
        self.dir.join(Self::node_name(name))
    }

    /// The name of a node's seal in the site's folder.
    #[must_use]
    pub fn seal_name(name: &Name) -> PathBuf {
        Path::new(SEALS).join(format!("{name}.seal"))
    }

    /// Where the seal of a node lies.
    #[must_use]
    pub fn seal_file(&self, name: &Name) -> PathBuf {
        self.dir.join(Self::seal_name(name))
    }

    /// The folder of encrypted values.
    #[must_use]
    pub fn secrets_dir(&self) -> SiteFolder {
        self.folder.folder(SECRETS)
    }
}

#[cfg(test)]
mod tests;
