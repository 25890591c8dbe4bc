//! What a node gets: its identity, its settings and the files that the site gives it, as entries of a seal.
//!
//! Composing uses neither random numbers nor the clock: the same site gives the same entries.

use crate::error::{Class, Classified};
use crate::ids::{Owner, derived_uuid};
use crate::secrets::credentials::{CredentialError, Credentials, secret_store};
use crate::secrets::key_guard::{FileOrigin, GuardError, KeyGuard};
use crate::secrets::node_keys::HOST_KEY_PUBLIC;
use crate::secrets::node_settings::node_settings;
use crate::secrets::store::{Secret, StoreError};
use crate::secrets::trust::SiteAndKeys;
use crate::site::{FileSource, Node, Site};
use handoff::manifest::{FileAttributes, FileKind, RelativePath, Required, Store as FileStore};
use handoff::name::Name;
use handoff::paths;
use handoff::rescue_network::FixedAddress;
use keys::issue::host_key::{BadHostKey, HostKey};
use keys::issue::seal_builder::{BuildError, SealBuilder};
use std::io;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Why the entries of a node's seal could not be collected.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum ComposeError {
    /// A value of the store is missing or could not be decrypted.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys of the site are not valid or not accepted.
    #[error(transparent)]
    Site(#[from] CredentialError),
    /// A file has a private key of the site.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// A plain file of the site could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The path of the file.
        path: PathBuf,
        /// The error from reading it.
        r#source: io::Error,
    },
    /// The host key could not be written as text.
    #[error("the SSH host key of node {node}: {problem}")]
    HostKey {
        /// The name of the node.
        node: Name,
        /// Why the key could not be written.
        problem: BadHostKey,
    },
    /// A file cannot be part of a seal.
    #[error("node {node}: {problem}")]
    Seal {
        /// The name of the node.
        node: Name,
        /// Why the seal does not accept the file.
        problem: BuildError,
    },
}

impl Classified for ComposeError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::Read { source, .. } => Class::of_reading(source),
            Self::HostKey { .. } | Self::Seal { .. } => Class::BadContent,
            Self::Store(_) | Self::Site(_) | Self::Guard(_) => return None,
        })
    }
}

/// Collects the entries for `node`, which has this SSH host key, with the secrets that the admin can decrypt. A file with a private key of the site
/// is refused.
pub fn compose(
    site: &SiteAndKeys,
    node: &Node,
    credentials: &Credentials,
    host_key: &HostKey,
    guard: &KeyGuard,
) -> Result<SealBuilder, ComposeError> {
    let (store, admin) = (secret_store(site)?, &credentials.identity);
    let mut parts = Parts {
        node: &node.name,
        builder: SealBuilder::new(site.boot.faults.clone(), site.boot.remove_unknown),
    };
    parts.identity(site)?;
    parts.host_key(host_key)?;
    let settings = node_settings(site, node).encode();
    guard.check(settings.as_bytes(), &site.node_file(&node.name), FileOrigin::Plain)?;
    parts.settings(site, node, settings)?;
    for file in &node.files {
        let content = match &file.source {
            FileSource::Secret(name) => store.read(&Secret::Value(name.clone()), admin)?,
            FileSource::Plain(path) => site
                .folder
                .read(path)
                .map(Zeroizing::new)
                .map_err(|source| ComposeError::Read { path: site.folder.path_of(path), source })?,
        };
        let (place, origin) = match &file.source {
            FileSource::Secret(name) => (store.file(&Secret::Value(name.clone())), FileOrigin::Secret),
            FileSource::Plain(path) => (site.folder.path_of(path), FileOrigin::Plain),
        };
        guard.check(content.as_slice(), &place, origin)?;
        parts.add(file.path.clone(), file.attributes.clone(), content)?;
    }
    Ok(parts.builder)
}

struct Parts<'n> {
    node: &'n Name,
    builder: SealBuilder,
}

impl Parts<'_> {
    fn add(
        &mut self,
        path: RelativePath,
        file: FileAttributes,
        content: Zeroizing<Vec<u8>>,
    ) -> Result<(), ComposeError> {
        let failed = |problem| ComposeError::Seal { node: self.node.clone(), problem };
        self.builder.add(path, file, content).map_err(failed)
    }

    fn add_own(
        &mut self,
        path: &'static str,
        file: FileAttributes,
        content: Zeroizing<Vec<u8>>,
    ) -> Result<(), ComposeError> {
        self.add(RelativePath::new(path).expect("the literals below stay inside"), file, content)
    }

    fn add_text(
        &mut self,
        path: &'static str,
        mode: u32,
        install: &str,
        text: String,
    ) -> Result<(), ComposeError> {
        let file = own(FileKind::Text, mode, install);
        self.add_own(path, file, Zeroizing::new(text.into_bytes()))
    }

    fn identity(&mut self, site: &Site) -> Result<(), ComposeError> {
        let name = format!("{}\n", self.node).into_bytes();
        self.add_own("hostname", own(FileKind::Hostname, 0o644, "/etc/hostname"), name.into())?;
        let id = derived_uuid(&site.id, Owner::Node(self.node), "machine-id");
        self.add_text("machine-id", 0o444, "/etc/machine-id", format!("{}\n", id.simple()))
    }

    fn host_key(&mut self, key: &HostKey) -> Result<(), ComposeError> {
        let failed = |problem| ComposeError::HostKey { node: self.node.clone(), problem };
        let private = Zeroizing::new(key.private_text().map_err(failed)?.as_bytes().to_vec());
        let public = key.public_line().map_err(failed)?;
        let file = own(FileKind::SshHostKey, 0o600, "/etc/ssh/ssh_host_ed25519_key");
        self.add_own("ssh/ssh_host_ed25519_key", file, private)?;
        self.add_text(HOST_KEY_PUBLIC, 0o644, "/etc/ssh/ssh_host_ed25519_key.pub", public)
    }

    fn settings(&mut self, site: &Site, node: &Node, settings: String) -> Result<(), ComposeError> {
        if !site.ssh_keys.is_empty() {
            let lines: String = site.ssh_keys.iter().map(|line| format!("{}\n", line.trim_end())).collect();
            self.add_text("ssh/authorized_keys", 0o600, "/root/.ssh/authorized_keys", lines)?;
        }
        // Names of network cards by hardware address, in the form of nameif(8), for tools and people that read the
        // partition.
        let cards = node.network.iter().filter_map(|card| Some(format!("{} {}\n", card.name, card.mac?)));
        let cards: String = cards.collect();
        if !cards.is_empty() {
            self.add_text("mactab", 0o644, "/etc/mactab", cards)?;
        }
        let addresses = FixedAddress::encode_all(node.network.iter().filter_map(FixedAddress::of));
        if !site.rescue.ssh_keys.is_empty() && !addresses.is_empty() {
            let optional = Required::Optional;
            let file = own(FileKind::Text, 0o600, paths::NODE);
            let file = FileAttributes { store: FileStore::Memory, install: None, required: optional, ..file };
            self.add_own(paths::RESCUE_NETWORK, file, Zeroizing::new(addresses.into_bytes()))?;
        }
        let file = FileAttributes { store: FileStore::Memory, ..own(FileKind::Text, 0o600, paths::NODE) };
        self.add_own("node.toml", file, Zeroizing::new(settings.into_bytes()))
    }
}

/// The attributes of a file of root that the boot needs.
fn own(kind: FileKind, mode: u32, install: &str) -> FileAttributes {
    FileAttributes {
        mode,
        uid: 0,
        gid: 0,
        kind,
        store: FileStore::Disk,
        install: Some(install.to_owned()),
        required: Required::Boot,
    }
}
