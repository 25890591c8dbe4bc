//! Making a site from the embedded template, and adding nodes to one.
//!
//! The files of a new site are written one by one, with `site.toml` last, so an interrupted site does not count as one.
//! If the folder has any other entry than `.git`, nothing is written.

use super::base::Base;
use super::edit::with_key;
use super::folder::SiteFolder;
use super::quantity::rfc3339;
use super::{NODES, SITE_FILE, Site, SiteError};
use crate::atomic::AtomicError;
use crate::error::{Class, Classified};
use handoff::name::Name;
use include_dir::{Dir, include_dir};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

static TEMPLATE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/site-template");
/// The node file of the template.
const TEMPLATE_NODE: &str = "nodes/NODE.toml";

/// The public halves of a new site's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedKeys {
    /// The admin's age recipient (`age1...`).
    pub admin_recipient: String,
    /// The minisign public key in base64 (`RW...`).
    pub signing_public: String,
}

/// Further settings of a new site.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InitOptions {
    /// The value for its `build-time`, in seconds since 1970.
    pub build_time: u64,
    /// Whether consoles give every user a root shell.
    pub open_consoles: bool,
    /// Lines of `authorized_keys`: who may log in as root over SSH.
    pub ssh_keys: Vec<String>,
    /// The base of its nodes.
    pub base: Base,
}

/// Why a site or a node could not be made.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum InitError {
    /// The folder is not empty.
    #[error("{dir} is not empty ({found} is in it)")]
    NotEmpty {
        /// The path of the folder.
        dir: PathBuf,
        /// One of its entries.
        found: String,
    },
    /// The node exists already.
    #[error("the node {name} exists already: {path}")]
    NodeExists {
        /// The name of the node.
        name: Name,
        /// The path of its file.
        path: PathBuf,
    },
    /// A folder could not be made or read.
    #[error("cannot make {path}: {source}")]
    Folder {
        /// The path of the folder.
        path: PathBuf,
        /// The error from making or reading it.
        r#source: io::Error,
    },
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] AtomicError),
    /// The site is not valid, before or after the change.
    #[error(transparent)]
    Site(#[from] SiteError),
}

impl Classified for InitError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::NotEmpty { .. } | Self::NodeExists { .. } => Class::CannotCreate,
            Self::Folder { source, .. } => Class::of_writing(source),
            Self::Write(_) | Self::Site(_) => return None,
        })
    }

    fn own_advice(&self) -> Option<String> {
        match self {
            Self::NotEmpty { .. } => Some("choose a folder that is empty or does not exist".into()),
            Self::NodeExists { .. } => Some("choose another name, or edit that file".into()),
            _ => None,
        }
    }
}

/// Makes a site with one node in `dir`.
pub fn init_site(
    dir: &Path,
    id: &Name,
    node: &Name,
    keys: &GeneratedKeys,
    options: &InitOptions,
) -> Result<Site, InitError> {
    let folder = |path: &Path| {
        fs::create_dir_all(path).map_err(|source| InitError::Folder { path: path.to_owned(), source })
    };
    can_hold_a_site(dir)?;
    folder(dir)?;
    let site = SiteFolder::open(dir).map_err(|source| InitError::Folder { path: dir.to_owned(), source })?;
    let mut files = Vec::new();
    collect(&TEMPLATE, &mut files);
    // The file that marks a site comes last.
    files.sort_by_key(|file| (file.path() == Path::new(SITE_FILE), file.path()));
    for file in files {
        let mut relative = file.path().to_owned();
        if relative == Path::new(TEMPLATE_NODE) {
            relative = Path::new(NODES).join(format!("{node}.toml"));
        }
        let program = file.contents().starts_with(b"#!");
        let text = fill(file.contents_utf8().unwrap_or_default(), id, node, keys, options);
        site.write(relative, text.as_bytes(), if program { 0o755 } else { 0o644 })?;
    }
    Ok(Site::load(dir)?)
}

/// Writes the file of a new node, with its public key if it has one already; returns its path. The loaded site stays
/// without the node.
pub fn add_node(site: &Site, name: &Name, recipient: Option<&str>) -> Result<PathBuf, InitError> {
    let path = site.node_file(name);
    match site.folder.kind(Site::node_name(name)) {
        Ok(None) => {}
        Ok(Some(_)) => return Err(InitError::NodeExists { name: name.clone(), path }),
        Err(source) => return Err(SiteError::Read { path, source }.into()),
    }
    let template =
        TEMPLATE.get_file(TEMPLATE_NODE).and_then(include_dir::File::contents_utf8).unwrap_or_default();
    // The roles of the template are an example for the first node.
    let text = template.replace(r#"roles = ["hello", "example"]"#, "roles = []");
    let text = recipient.map_or_else(|| text.clone(), |recipient| with_recipient(&text, recipient));
    site.folder.write(Site::node_name(name), text.as_bytes(), 0o644)?;
    Ok(path)
}

/// The text of a node file with this `recipient`.
fn with_recipient(text: &str, recipient: &str) -> String {
    with_key(text, "recipient", &format!("{recipient:?}"))
}

/// Whether a new site can be made in `dir`: it does not exist yet, or has no entry but `.git`.
pub fn can_hold_a_site(dir: &Path) -> Result<(), InitError> {
    #[expect(clippy::disallowed_methods, reason = "only asks whether anything is there")]
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|source| InitError::Folder { path: dir.to_owned(), source })?,
    };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != ".git" {
            return Err(InitError::NotEmpty { dir: dir.to_owned(), found: name });
        }
    }
    Ok(())
}

fn fill(text: &str, id: &Name, node: &Name, keys: &GeneratedKeys, options: &InitOptions) -> String {
    text.replace("@ID@", id.as_str())
        .replace("@NODE@", node.as_str())
        .replace("@ADMIN@", &keys.admin_recipient)
        .replace("@SIGNING@", &keys.signing_public)
        .replace("@BUILD_TIME@", &rfc3339(options.build_time))
        .replace("@LOGIN@", if options.open_consoles { "shell" } else { "off" })
        .replace("@SSH@", &toml_lines(&options.ssh_keys))
        .replace("@BASE@", &options.base.to_string())
}

/// Texts as the content of a TOML array: in one line if there are none, else a line for each.
fn toml_lines(texts: &[String]) -> String {
    let lines: String =
        texts.iter().map(|text| format!("    {},\n", toml::Value::from(text.as_str()))).collect();
    if lines.is_empty() { lines } else { format!("\n{lines}") }
}

fn collect<'a>(dir: &'a Dir<'a>, out: &mut Vec<&'a include_dir::File<'a>>) {
    for entry in dir.entries() {
        match entry {
            include_dir::DirEntry::Dir(dir) => collect(dir, out),
            include_dir::DirEntry::File(file) => out.push(file),
        }
    }
}
