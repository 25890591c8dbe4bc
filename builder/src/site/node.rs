//! A node: `nodes/NAME.toml`.

use super::base::TAKES_NO_PACKAGES;
use super::entry::SiteEntryKind;
use super::error::SiteError;
use super::folder::SiteFolder;
use super::known::Known;
use super::network::{TakenAddresses, cards};
use super::package::PackageSet;
use super::problems::Problems;
use super::raw::{RawFile, RawNode};
use super::role::Role;
use super::source::Source;
use super::value::{check_recipient, positive, required};
use super::wanted_package::WantedPackage;
use handoff::manifest::{FileAttributes, FileKind, RelativePath, Required, Store};
use handoff::name::Name;
use handoff::network::Card;
use handoff::paths;
use handoff::variables::{PREDEFINED, is_predefined};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use toml::Spanned;

/// A node: one machine of the site.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The name of the node, which is also its host name.
    pub name: Name,
    /// The roles, in the order in which they run.
    pub roles: Vec<Name>,
    /// The packages in addition to the base's: those of the site, of the node's roles and of the node.
    pub packages: PackageSet,
    /// Where each of these packages is requested.
    pub wanted: Vec<WantedPackage>,
    /// The values that templates can use.
    pub variables: toml::Table,
    /// The network cards.
    pub network: Vec<Card>,
    /// The lowest generation for seals of this node, if it is higher than the site's; otherwise 0.
    pub least_generation: u64,
    /// The public age key; `None` until the key is made.
    pub recipient: Option<String>,
    /// The files that it gets in addition to its identity.
    pub files: Vec<NodeFile>,
}

/// The source of a file's content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileSource {
    /// An encrypted value of the site: `secrets/NAME.age`.
    Secret(Name),
    /// A plain file of the site; its path is relative to the site's folder.
    Plain(PathBuf),
}

/// A file that a node gets in its seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFile {
    /// The source of the content.
    pub source: FileSource,
    /// The path in the store of files on the node.
    pub path: RelativePath,
    /// Owner, mode and other attributes in the site.
    pub attributes: FileAttributes,
}

/// The parts of the site that are needed to read a node's file.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    /// The folder of the site.
    pub(super) site: &'a SiteFolder,
    /// The roles of the site.
    pub(super) roles: &'a BTreeMap<Name, Role>,
    /// The packages that every node gets.
    pub(super) extra: &'a [WantedPackage],
    /// Whether the base is made of packages.
    pub(super) takes_packages: bool,
    /// The default for how much a node needs a file.
    pub(super) required: Required,
}

impl Node {
    /// Reads `nodes/NAME.toml` of a site; `None` after a mistake in it.
    pub(super) fn read(
        folder: &SiteFolder,
        file_name: &str,
        name: Name,
        against: Context<'_>,
        taken: &mut TakenAddresses,
        problems: &mut Problems,
    ) -> Option<Self> {
        let source = problems.take(Source::read(folder, file_name))?;
        let raw: RawNode = problems.take(source.parse())?;
        let roles = problems.take(resolve_roles(&source, &raw.roles, against.roles));
        if !against.takes_packages {
            problems.take(refuse_packages(&source, &raw, against.roles));
        }
        let recipient =
            problems.take(raw.recipient.map(|typed| check_recipient(&source, &typed)).transpose());
        let own = problems.take(WantedPackage::read_all(&source, "packages", &raw.packages));
        let network = problems.take(cards(&source, &name, &raw.network, taken));
        let variables = problems.take(resolve_variables(&source, raw.variables));
        let least_generation = problems.take(positive(&source, "least-serial", raw.least_generation, 0));
        let files = problems.take(resolve_files(&source, &raw.file, against));
        let roles = roles?;
        let mut wanted = against.extra.to_vec();
        for role in roles.iter().filter_map(|name| against.roles.get(name)) {
            wanted.extend_from_slice(&role.packages);
        }
        wanted.extend(own?);
        Some(Self {
            packages: problems.take(PackageSet::of(&format!("node {name}"), &wanted))?,
            name,
            roles,
            wanted,
            variables: variables?,
            network: network?,
            least_generation: least_generation?,
            recipient: recipient?,
            files: files?,
        })
    }
}

/// An imported base cannot have packages, neither those in the node's file nor those of its roles.
fn refuse_packages(source: &Source, raw: &RawNode, roles: &BTreeMap<Name, Role>) -> Result<(), SiteError> {
    if let Some(package) = raw.packages.first() {
        return Err(source.wrong("packages", package, TAKES_NO_PACKAGES));
    }
    let with_packages = |typed: &&Spanned<String>| {
        roles.iter().any(|(name, role)| name.as_str() == typed.get_ref() && !role.packages.is_empty())
    };
    match raw.roles.iter().find(with_packages) {
        Some(role) => {
            Err(source.wrong("roles", role, format!("this role names packages, and {TAKES_NO_PACKAGES}")))
        }
        None => Ok(()),
    }
}

fn resolve_roles(
    source: &Source,
    typed: &[Spanned<String>],
    roles: &BTreeMap<Name, Role>,
) -> Result<Vec<Name>, SiteError> {
    let mut resolved: Vec<Name> = Vec::new();
    for role in typed {
        let name: Name = source.value("roles", role)?;
        if !roles.contains_key(&name) {
            return Err(SiteError::UnknownRole {
                at: source.at(&role.span()),
                name: name.to_string(),
                known: Known::near(name.as_str(), roles.keys().map(Name::as_str)),
            });
        }
        if resolved.contains(&name) {
            return Err(source.wrong("roles", role, "the role is listed twice"));
        }
        resolved.push(name);
    }
    Ok(resolved)
}

fn resolve_variables(
    source: &Source,
    typed: BTreeMap<Spanned<String>, toml::Value>,
) -> Result<toml::Table, SiteError> {
    match typed.keys().find(|name| is_predefined(name.get_ref())) {
        Some(name) => {
            let problem = format!("these names are predefined in templates: {}", PREDEFINED.join(", "));
            Err(source.wrong("variables", name, problem))
        }
        None => Ok(typed.into_iter().map(|(name, value)| (name.into_inner(), value)).collect()),
    }
}

fn resolve_files(
    source: &Source,
    typed: &[RawFile],
    against: Context<'_>,
) -> Result<Vec<NodeFile>, SiteError> {
    let mut paths = BTreeSet::new();
    let mut files = Vec::new();
    for raw in typed {
        let file = resolve_file(source, raw, against)?;
        if !paths.insert(file.path.clone()) {
            return Err(source.wrong("path", &raw.path, "two files have this path"));
        }
        files.push(file);
    }
    Ok(files)
}

fn resolve_file(source: &Source, raw: &RawFile, against: Context<'_>) -> Result<NodeFile, SiteError> {
    let content = match (&raw.secret, &raw.source) {
        (Some(secret), None) => FileSource::Secret(source.value("secret", secret)?),
        (None, Some(plain)) => FileSource::Plain(plain_source(source, plain, against.site)?),
        _ => {
            return Err(source.wrong(
                "path",
                &raw.path,
                "a file has either secret = \"NAME\" or source = \"PATH\"",
            ));
        }
    };
    let path = RelativePath::new(raw.path.get_ref())
        .ok_or_else(|| source.wrong("path", &raw.path, "the path must be relative and stay inside"))?;
    if path.as_str() == paths::AGE_KEY || path.as_str().split('/').next() == Some("lost+found") {
        return Err(source.wrong(
            "path",
            &raw.path,
            "this path is reserved for the node's key and the file system",
        ));
    }
    let kinds = [FileKind::SshHostKey, FileKind::Hostname, FileKind::Text, FileKind::Opaque]
        .map(|kind| (kind.word(), kind));
    let stores = [Store::Disk, Store::Memory].map(|store| (store.word(), store));
    let kind = raw.kind.as_ref().map(|typed| source.word("kind", typed, &kinds)).transpose()?;
    let store = raw.store.as_ref().map(|typed| source.word("store", typed, &stores)).transpose()?;
    let need = raw.required.as_ref().map(|typed| required(source, typed)).transpose()?;
    let mode = raw.mode.as_ref().map(|typed| source.permission_bits(typed)).transpose()?;
    let install = raw.install.as_ref().map(|typed| install_path(source, typed)).transpose()?;
    Ok(NodeFile {
        source: content,
        path,
        attributes: FileAttributes {
            mode: mode.unwrap_or(0o600),
            uid: raw.uid,
            gid: raw.gid,
            kind: kind.unwrap_or(FileKind::Opaque),
            store: store.unwrap_or(Store::Disk),
            install,
            required: need.unwrap_or(against.required),
        },
    })
}

fn plain_source(source: &Source, typed: &Spanned<String>, folder: &SiteFolder) -> Result<PathBuf, SiteError> {
    if RelativePath::new(typed.get_ref()).is_none() {
        return Err(source.wrong("source", typed, "the path must be relative to the site's folder"));
    }
    let relative = PathBuf::from(typed.get_ref());
    let path = folder.path_of(&relative);
    match folder.kind(&relative) {
        Ok(Some(SiteEntryKind::File)) => Ok(relative),
        Ok(_) => Err(SiteError::MissingSource { at: source.at(&typed.span()), path }),
        Err(problem) => Err(SiteError::UnusableSource { at: source.at(&typed.span()), path, problem }),
    }
}

fn install_path(source: &Source, typed: &Spanned<String>) -> Result<String, SiteError> {
    let inside = typed.get_ref().strip_prefix('/').and_then(RelativePath::new);
    match inside {
        Some(_) => Ok(typed.get_ref().clone()),
        None => Err(source.wrong("install", typed, "the path must be absolute and without '..'")),
    }
}
