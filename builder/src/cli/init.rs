//! `psyops init DIR`: makes a site, or adds a node to one.

use crate::cli::credential_args::PassphraseArgs;
use crate::cli::site::how_to_let_in;
use crate::error::{Class, Classified, Error};
use crate::folders::Folder;
use crate::login_keys::{self, LoginKey};
use crate::next_command::{note_site, with_site};
use crate::secrets::credentials::accept_new_site;
use crate::secrets::issue::issue_keys;
use crate::secrets::key_file::{ADMIN_IDENTITY_FILE, SIGNING_KEY_FILE};
use crate::secrets::trust::SiteAndKeys;
use crate::site::{Base, InitOptions, LockedSite, SITE_FILE, add_node, can_hold_a_site, init_site};
use clap::Args;
use handoff::name::Name;
use handoff::shown::Shown;
use keys::timestamp::Timestamp;
use serde_json::json;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The node of a site if the user gave no name.
const FIRST_NODE: &str = "node1";

/// Create a site with one node, or add a node to a site
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops init fleet --node pi1      a new site with one node
  psyops init fleet --node pi2      another node in the same site
  psyops init lab --base debian     a site whose nodes run Debian with systemd

Writes the site's files into DIR, and new private keys into $XDG_CONFIG_HOME/psyops/ID (by default
~/.config/psyops/ID). Keep a copy of the keys: without them no seal can be made.")]
pub struct InitArgs {
    /// The site's folder: new or empty, or with --node an existing site
    pub dir: PathBuf,
    /// The node's name (default: node1)
    #[arg(long, value_name = "NAME")]
    pub node: Option<Name>,
    /// The site's id (default: the folder's name)
    #[arg(long, value_name = "NAME")]
    pub id: Option<Name>,
    /// The base system; others can be written into site.toml
    #[arg(long, value_enum, default_value_t)]
    pub base: NewBase,
    /// A public SSH key that may log in to the nodes; can be repeated (default: those in ~/.ssh)
    #[arg(long, value_name = "FILE", conflicts_with = "no_ssh_keys")]
    pub ssh_key: Vec<PathBuf>,
    /// Let no one log in over SSH
    #[arg(long)]
    pub no_ssh_keys: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a text here would take the place of the command's own")]
    pub passphrase: PassphraseArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// The bases that need nothing but packages.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
pub enum NewBase {
    /// Kernel, busybox and SSH.
    #[default]
    Micro,
    /// A small Debian with systemd.
    Debian,
}

/// The result of `init`, and how to print it.
#[derive(Debug)]
pub struct InitOutput {
    made: Made,
    json: bool,
}

/// What this command made.
#[derive(Debug)]
enum Made {
    /// A new site.
    Site {
        /// The site, read back from its files.
        site: Box<SiteAndKeys>,
        /// The name of its first node.
        node: Name,
        /// The folder of its private keys.
        keys: PathBuf,
        /// Whether these keys were there before.
        has_old_keys: bool,
        /// The files with the SSH keys that may log in.
        ssh_keys: Vec<PathBuf>,
    },
    /// A new node of a site.
    Node {
        /// The name of the node.
        node: Name,
        /// The path of its file.
        file: PathBuf,
    },
}

/// Why `init` stopped before making anything.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum InitUsageError {
    /// The folder is a site already, and the user named no node to add.
    #[error("{dir} is a site already")]
    AlreadyASite {
        /// The path of the folder.
        dir: PathBuf,
    },
    /// The name of the folder is not a valid id of a site.
    #[error("the name of the folder {dir} is not valid for a site: {problem}")]
    FolderName {
        /// The path of the folder.
        dir: PathBuf,
        /// Why the name is not valid.
        problem: String,
    },
}

impl Classified for InitUsageError {
    fn own_class(&self) -> Option<Class> {
        Some(Class::CannotCreate)
    }

    fn own_advice(&self) -> Option<String> {
        Some(match self {
            Self::AlreadyASite { .. } => "add a node to it with --node NAME".into(),
            Self::FolderName { .. } => "give the site a name with --id NAME".into(),
        })
    }
}

/// Runs the command.
pub fn run(args: &InitArgs) -> Result<InitOutput, Error> {
    note_site(&args.dir);
    Ok(InitOutput { made: make(args)?, json: args.json })
}

fn make(args: &InitArgs) -> Result<Made, Error> {
    if args.dir.join(SITE_FILE).exists() {
        let node = args.node.clone().ok_or_else(|| InitUsageError::AlreadyASite { dir: args.dir.clone() })?;
        let locked = LockedSite::load(&args.dir)?;
        let file = add_node(&locked.site, &node, None)?;
        return Ok(Made::Node { file, node });
    }
    let bad_name = |problem: handoff::name::BadName| InitUsageError::FolderName {
        dir: args.dir.clone(),
        problem: problem.to_string(),
    };
    let id = match &args.id {
        Some(id) => id.clone(),
        None => folder_name(&args.dir).parse().map_err(bad_name)?,
    };
    let node = match &args.node {
        Some(node) => node.clone(),
        None => FIRST_NODE.parse().map_err(bad_name)?,
    };
    // Checked before making keys that would not be used.
    can_hold_a_site(&args.dir)?;
    let login_keys = login_keys(args)?;
    let now = now();
    let config = Folder::Config.of_psyops()?;
    let passphrases = args.passphrase.passphrases();
    let own_keys = config.join(id.as_str());
    let has_old_keys =
        [ADMIN_IDENTITY_FILE, SIGNING_KEY_FILE].iter().any(|file| own_keys.join(file).exists());
    let keys = issue_keys(&config, &id, Timestamp::from_unix(now), &passphrases)?;
    let (paths, ssh_keys) = login_keys.into_iter().map(|LoginKey { path, line }| (path, line)).unzip();
    let base = match args.base {
        NewBase::Micro => Base::Micro,
        NewBase::Debian => Base::Debian,
    };
    let options = InitOptions { build_time: now, open_consoles: false, ssh_keys, base };
    let site = init_site(&args.dir, &id, &node, &keys, &options)?;
    let site = accept_new_site(site, &config, &passphrases)?;
    Ok(Made::Site { site: Box::new(site), node, keys: own_keys, has_old_keys, ssh_keys: paths })
}

fn login_keys(args: &InitArgs) -> Result<Vec<LoginKey>, Error> {
    if args.no_ssh_keys {
        return Ok(Vec::new());
    }
    if args.ssh_key.is_empty() {
        return Ok(login_keys::own());
    }
    Ok(args.ssh_key.iter().map(|path| login_keys::read(path)).collect::<Result<_, _>>()?)
}

/// The last part of a folder's path, also for `.`.
fn folder_name(dir: &Path) -> String {
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let absolute = absolute.canonicalize().unwrap_or(absolute);
    absolute.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn now() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "a new site is an event; its time is written down as an input"
    )]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

impl Made {
    fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Site { site, node, keys, has_old_keys, ssh_keys } => {
                let (site, dir) = (site.id.to_string(), site.dir.display().to_string());
                let keys = keys.display().to_string();
                let ssh_keys: Vec<_> = ssh_keys.iter().map(|path| path.display().to_string()).collect();
                json!({
                    "format": 1, "site": site, "dir": dir, "node": node.to_string(), "keys": keys,
                    "has_old_keys": has_old_keys, "ssh_keys": ssh_keys,
                })
            }
            Self::Node { node, file } => {
                json!({ "format": 1, "node": node.to_string(), "file": file.display().to_string() })
            }
        }
    }
}

impl fmt::Display for InitOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.json { self.made.to_json().fmt(f) } else { self.made.fmt(f) }
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Site { site, node, keys, has_old_keys, ssh_keys } => {
                writeln!(
                    f,
                    "made the site {} with the node {node} in {}",
                    site.id,
                    Shown(site.dir.display())
                )?;
                let keys = Shown(keys.display());
                if *has_old_keys {
                    writeln!(
                        f,
                        "it has the private keys that were in {keys} before: another site with this id has the same ones"
                    )?;
                } else {
                    writeln!(f, "its private keys are in {keys}: keep a copy in a safe place")?;
                }
                for path in ssh_keys {
                    writeln!(f, "may log in as root over SSH: the key {}", Shown(path.display()))?;
                }
                if ssh_keys.is_empty() {
                    writeln!(f, "no one can log in to its nodes yet: {}", Shown(how_to_let_in(site)))?;
                }
                let build = with_site(&format!("build-image --node {node}"), Some(&site.dir));
                write!(f, "next: {}", Shown(build))
            }
            Self::Node { node, file } => write!(f, "added the node {node}: {}", Shown(file.display())),
        }
    }
}
