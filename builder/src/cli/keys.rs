//! `psyops keys status|passphrase`: the private keys of a site on this workstation.

use crate::atomic;
use crate::cli::credential_args::CredentialArgs;
use crate::cli::site::load_site;
use crate::error::Error;
use crate::secrets::key_file::{self, KeyFile, KeyState};
use crate::secrets::passphrase::new_passphrase;
use crate::site::Site;
use clap::{Args, Subcommand};
use handoff::shown::Shown;
use keys::timestamp::Timestamp;
use serde_json::{Value, json};
use std::fmt;
use std::path::PathBuf;

/// Show the private keys of a site, and protect them with a passphrase
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops keys status --site fleet
  psyops keys passphrase --site fleet             set or change it; asks for the old and the new one
  psyops keys passphrase --site fleet --remove
  psyops keys --passphrase-fd 3 passphrase --site fleet --new-passphrase-fd 4 3<old 4<new

Locked keys are plain age files (age -d opens admin.age.txt) and minisign files (minisign -C changes
the passphrase of signing.key). A command that needs a locked key asks for the passphrase once, on
the terminal, or reads it from --passphrase-fd.")]
pub struct KeysArgs {
    /// The site's folder (default: `PSYOPS_SITE`, or the site around the current folder)
    #[arg(long, value_name = "DIR", global = true)]
    pub site: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a text here would take the place of the command's own")]
    pub credentials: CredentialArgs,
    #[command(subcommand)]
    #[allow(missing_docs, reason = "a text here would take the place of the command's own")]
    pub action: Action,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Show where the keys are, whether they have a passphrase, and whether the site lists them
    #[command(after_help = "Examples:
  psyops keys status --site fleet
  psyops keys status --site fleet --json

Nothing is changed, and no passphrase is needed.")]
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Set, change or remove the passphrase of both keys
    #[command(after_help = "Examples:
  psyops keys passphrase --site fleet             asks for the old and the new one
  psyops keys passphrase --site fleet --remove
  psyops keys passphrase --site fleet --passphrase-fd 3 --new-passphrase-fd 4 3<old 4<new

Replaces both key files. The keys themselves stay the same, so no seal or image has to be made
again.")]
    Passphrase {
        /// Remove the passphrase
        #[arg(long, conflicts_with = "new_passphrase_fd")]
        remove: bool,
        /// Read the new passphrase from the first line of this descriptor
        #[arg(long, value_name = "N")]
        new_passphrase_fd: Option<u32>,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
}

/// The result of `keys`.
#[derive(Debug)]
pub enum KeysOutput {
    /// The result of `status`.
    Status {
        /// The two key files and their states.
        keys: Vec<(KeyFile, KeyState)>,
        /// The site that may name the keys.
        site: Box<Site>,
        /// Whether to print JSON.
        json: bool,
    },
    /// The result of `passphrase`.
    Changed {
        /// The key files that were rewritten.
        files: Vec<PathBuf>,
        /// The key files that do not exist, so their keys were not changed.
        missing: Vec<PathBuf>,
        /// Whether the keys are locked now.
        locked: bool,
        /// Whether to print JSON.
        json: bool,
    },
}

/// Runs the command.
pub fn run(args: &KeysArgs) -> Result<KeysOutput, Error> {
    let site = load_site(args.site.as_deref())?;
    let at = args.credentials.locations();
    let files = key_file::of_site(&site, &at)?;
    match &args.action {
        Action::Status { json } => {
            let keys = files.into_iter().map(|file| {
                let state = file.state();
                (file, state)
            });
            Ok(KeysOutput::Status { keys: keys.collect(), site: Box::new(site), json: *json })
        }
        Action::Passphrase { remove, new_passphrase_fd, json } => {
            let (mut opened, mut missing) = (Vec::new(), Vec::new());
            for file in files {
                match file.open_if_there(&at.passphrases)? {
                    Some(key) => opened.push((file, key)),
                    None => missing.push(file.path),
                }
            }
            let passphrase = if *remove { None } else { Some(new_passphrase(*new_passphrase_fd)?) };
            let created = Timestamp::from_unix(site.build_time);
            // All new files are made and tested before the first one is replaced.
            let mut made = Vec::new();
            for (file, key) in &opened {
                let text = key.text(created, passphrase.as_deref().map(String::as_str))?;
                file.check(text.as_bytes(), key, passphrase.as_deref().map(String::as_str))?;
                made.push((file, key, text));
            }
            let mut files = Vec::new();
            for (file, key, text) in made {
                // Otherwise the public half of a locked key would not be known.
                atomic::write_file(&file.public_path(), key.public_text().as_bytes())?;
                atomic::write_file_with_mode(&file.path, text.as_bytes(), 0o600)?;
                files.push(file.path.clone());
            }
            Ok(KeysOutput::Changed { files, missing, locked: passphrase.is_some(), json: *json })
        }
    }
}

fn is_named(site: &Site, public: &str) -> bool {
    site.admin_recipients.iter().any(|key| key == public)
        || site.signing_keys.iter().any(|key| key.as_str() == public)
}

fn status_json(site: &Site, file: &KeyFile, state: &KeyState) -> Value {
    let named = state.public().map(|public| is_named(site, public));
    let mut value =
        json!({ "key": file.kind.word(), "path": file.path.display().to_string(), "state": state.word() });
    if let Value::Object(fields) = &mut value {
        if let Some(mode) = state.mode() {
            fields.insert("mode".into(), format!("{mode:04o}").into());
        }
        if let Some(public) = state.public() {
            fields.insert("public".into(), public.into());
        }
        if let Some(named) = named {
            fields.insert("named_by_site".into(), named.into());
        }
        if let KeyState::Unusable { problem, advice } = state {
            fields.insert("problem".into(), problem.clone().into());
            fields.insert("advice".into(), advice.clone().into());
        }
    }
    value
}

impl fmt::Display for KeysOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { keys, site, json: true } => {
                let keys: Vec<Value> =
                    keys.iter().map(|(file, state)| status_json(site, file, state)).collect();
                write!(f, "{:#}", json!({ "format": 1, "site": site.id.as_str(), "keys": keys }))
            }
            Self::Status { keys, site, json: false } => {
                for (file, state) in keys {
                    write!(f, "{}: {}", file.kind.what(), Shown(file.path.display()))?;
                    if let Some(mode) = state.mode() {
                        write!(f, ", mode {mode:04o}")?;
                    }
                    match state {
                        KeyState::Unusable { problem, advice } => {
                            writeln!(f, "\n  cannot be used: {problem}")?;
                            advice.iter().try_for_each(|advice| writeln!(f, "  {advice}"))?;
                        }
                        other => writeln!(f, ", {}", other.word())?,
                    }
                    match state.public() {
                        Some(public) if is_named(site, public) => {
                            writeln!(f, "  {public}, which is in the site {}", site.id)?;
                        }
                        Some(public) => writeln!(f, "  {public}, which is not in the site {}", site.id)?,
                        None => {}
                    }
                }
                Ok(())
            }
            Self::Changed { files, missing, locked, json: true } => {
                let value = json!({ "format": 1, "files": files, "missing": missing, "locked": locked });
                write!(f, "{value:#}")
            }
            Self::Changed { files, missing, locked, json: false } => {
                let now = if *locked { "is protected by the new passphrase" } else { "has no passphrase" };
                for file in files {
                    writeln!(f, "{} {now}", Shown(file.display()))?;
                }
                for file in missing {
                    writeln!(
                        f,
                        "{} does not exist: a key that is stored elsewhere was not changed",
                        Shown(file.display())
                    )?;
                }
                Ok(())
            }
        }
    }
}
