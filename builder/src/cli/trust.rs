//! `psyops trust show|accept`: shows which keys count for a site on this workstation, and changes that.

use crate::cli::credential_args::CredentialArgs;
use crate::cli::finish;
use crate::cli::site::load_site;
use crate::details::Details;
use crate::error::{Class, Classified, Error};
use crate::next_command::psyops;
use crate::secrets::credentials::{Locations, own_keys, with_accepted};
use crate::secrets::trust::SiteAndKeys;
use crate::secrets::trust::{self, Acceptance, Difference, KeySet, Review, Signed};
use crate::site::Site;
use clap::{Args, Subcommand};
use handoff::shown::Shown;
use serde_json::{Value, json};
use std::fmt;
use std::path::PathBuf;

/// Show or change the keys of a site that this workstation accepts
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops trust show --site fleet
  psyops trust accept --site fleet           asks for each key that changed in site.toml
  psyops trust accept --site fleet age1...   accept the change of this key in site.toml

The accepted keys are stored beside the private keys, in SITE.trust.toml. Commands refuse a site
with other keys (exit code 77).")]
pub struct TrustArgs {
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
    /// Show the accepted keys, and how the site differs from them
    #[command(after_help = "Examples:
  psyops trust show --site fleet
  psyops trust show --site fleet --json

Nothing is changed.")]
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Accept changes of keys in site.toml
    #[command(after_help = "Examples:
  psyops trust accept --site fleet                  asks for each key that changed in site.toml
  psyops trust accept --site fleet age1...          accept the change of this key
  psyops trust accept --site fleet pi1:AAAA...      the SSH host key of node pi1
  psyops trust accept --site fleet least-serial=3   a floor that is lower than before

Find out whose key it is before you accept it: secrets are then encrypted to it, or seals and images
that it signed are then valid.")]
    Accept {
        /// What to accept: the age1... of an admin or node, the RW... of a signing key, the AAAA... of a host
        /// key, or a lower floor (least-serial=3). Default: ask on the terminal
        #[arg(value_name = "KEY")]
        keys: Vec<String>,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
}

/// There are keys to accept, but no terminal on which the user could type them.
#[derive(Debug, thiserror::Error, classified::Cause)]
#[error("the site has differences that are not accepted, and there is no terminal to ask on")]
pub struct NoTerminal {
    #[source]
    differences: Details,
}

impl Classified for NoTerminal {
    fn own_class(&self) -> Option<Class> {
        Some(Class::Refused)
    }

    fn own_advice(&self) -> Option<String> {
        Some(format!(
            "add what you accept as arguments (age1..., RW..., AAAA..., least-serial=N), or run this on a terminal, where it \
             asks for each: {}",
            psyops("trust accept")
        ))
    }
}

/// The answer could not be read.
#[derive(Debug, thiserror::Error, classified::Cause)]
#[error("cannot read the answer from the terminal: {0}")]
pub struct AnswerError(std::io::Error);

impl Classified for AnswerError {
    fn own_class(&self) -> Option<Class> {
        Some(Class::of_reading(&self.0))
    }
}

/// The result of `trust`.
#[derive(Debug)]
pub enum TrustOutput {
    /// The result of `show`, and whether to print JSON.
    State(Box<Review>, bool),
    /// The result of `accept`, and whether to print JSON.
    Accepted(Box<Acceptance>, bool),
}

impl TrustOutput {
    /// 77 if the site still differs from what was accepted, as for any command that needs the keys.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let differences = match self {
            Self::State(review, _) => &review.differences,
            Self::Accepted(acceptance, _) => &acceptance.remaining,
        };
        if differences.is_empty() { 0 } else { Class::Refused.exit_code() }
    }
}

/// Runs the command. `ask` asks the user a question and returns the typed line, or `None` without a terminal.
pub fn run(
    args: &TrustArgs,
    ask: &mut dyn FnMut(&str) -> std::io::Result<Option<String>>,
) -> Result<TrustOutput, Error> {
    let site = load_site(args.site.as_deref())?;
    let at = args.credentials.locations();
    match &args.action {
        Action::Show { json } => Ok(TrustOutput::State(
            Box::new(trust::review_with_nodes(&site, &at).map_err(Error::from)?),
            *json,
        )),
        Action::Accept { keys, json } => {
            let own = own_keys(&site, &at)?;
            let accepted = if keys.is_empty() {
                let open = trust::open(&site, &at, &own, false)?;
                trust::accept(&site, &at, &own, typed(&open, ask)?)?
            } else {
                trust::accept_typed(&site, &at, &own, keys)?
            };
            Ok(TrustOutput::Accepted(Box::new(accepted), *json))
        }
    }
}

/// What the user accepts: one question for each difference. An answer counts only for its question.
fn typed(
    open: &[Difference],
    ask: &mut dyn FnMut(&str) -> std::io::Result<Option<String>>,
) -> Result<Vec<Difference>, Error> {
    let mut accepted = Vec::new();
    for difference in open {
        let Some(text) = difference.to_type() else { continue };
        let what = match difference {
            Difference::Floor { .. } => text.as_str(),
            Difference::NewSite { .. } => "the site's id",
            Difference::HostKey { .. } => "the key without its kind",
            _ => "the key",
        };
        let question = format!("{}\nto accept that, type {what} (Enter skips it): ", Shown(difference));
        let Some(answer) = ask(&question).map_err(AnswerError)? else {
            let differences = Details::listed(open);
            return Err(NoTerminal { differences }.into());
        };
        match answer.trim() {
            "" => {}
            typed if typed == text => accepted.push(difference.clone()),
            _ => finish::progress("that is a different text: it is not accepted"),
        }
    }
    Ok(accepted)
}

/// Prints that a site was accepted at its first use, which must not happen silently.
pub fn tell_first_use(site: &SiteAndKeys) {
    if let Some(line) = trust::first_use(site) {
        finish::progress(&line);
    }
}

/// The site with the keys that were accepted on this workstation. If none were, the site's own keys are used, and this
/// is printed.
pub fn with_trusted_keys(site: Site, at: &Locations) -> Result<SiteAndKeys, Error> {
    let site = with_accepted(site, at)?;
    if site.accepted().is_none() {
        finish::progress(&format!("{}; to accept them: {}", not_accepted(&site), psyops("trust accept")));
    }
    Ok(site)
}

/// A sentence that no keys of a site were accepted, and whose keys count instead.
#[must_use]
pub fn not_accepted(site: &Site) -> String {
    format!(
        "no keys of the site {} were accepted on this workstation, so the keys in site.toml are used",
        site.id
    )
}

fn keys_json(keys: &KeySet) -> Value {
    let texts = |keys: &[keys::signature::PublicKey]| {
        keys.iter().map(|key| key.as_str().to_owned()).collect::<Vec<_>>()
    };
    json!({
        "site": keys.site.as_str(),
        "admins": keys.admins.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "signing_keys": texts(&keys.signers),
        "former_signing_keys": texts(&keys.former_signers),
    })
}

fn differences_json(differences: &[Difference]) -> Vec<Value> {
    differences.iter().map(Difference::to_json).collect()
}

fn write_keys(f: &mut fmt::Formatter<'_>, keys: &KeySet) -> fmt::Result {
    for key in &keys.admins {
        writeln!(f, "  admin        {key}")?;
    }
    for key in &keys.signers {
        writeln!(f, "  signing key  {}", key.as_str())?;
    }
    for key in &keys.former_signers {
        writeln!(f, "  former       {}", key.as_str())?;
    }
    Ok(())
}

fn write_differences(f: &mut fmt::Formatter<'_>, differences: &[Difference]) -> fmt::Result {
    for difference in differences {
        writeln!(f, "  {difference}")?;
    }
    Ok(())
}

/// Writes how to accept keys if none were accepted yet.
fn write_how_to_accept(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let accept = psyops("trust accept");
    write!(
        f,
        "nothing is accepted on this workstation yet; until then, commands that only verify use the keys in the site.\nOnce you know whose keys these are, accept them: {accept}"
    )
}

impl fmt::Display for TrustOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(review, true) => {
                let signed = match &review.signed {
                    Signed::Missing => json!({ "state": "missing" }),
                    Signed::Bad(problem) => json!({ "state": "bad", "problem": problem }),
                    Signed::By(key, _) => json!({ "state": "signed", "by": key.as_str() }),
                };
                let accepted = review.accepted.as_ref();
                let value = json!({
                    "format": 1,
                    "site": review.site_keys.site.as_str(),
                    "accepted": accepted.map(|accepted| keys_json(&accepted.keys)),
                    "stored_in": accepted.map(|accepted| accepted.folder.display().to_string()),
                    "trust_toml": signed,
                    "differences": differences_json(&review.differences),
                });
                write!(f, "{value:#}")
            }
            Self::State(review, false) => {
                if let Some(accepted) = &review.accepted {
                    let (site, folder) = (&accepted.keys.site, accepted.folder.display());
                    writeln!(
                        f,
                        "keys of the site {site} that were accepted on this workstation ({folder}):"
                    )?;
                    write_keys(f, &accepted.keys)?;
                } else {
                    writeln!(
                        f,
                        "no keys of the site {} are accepted on this workstation yet; its keys are:",
                        review.site_keys.site
                    )?;
                    write_keys(f, &review.site_keys)?;
                }
                match &review.signed {
                    Signed::Missing => writeln!(f, "trust.toml: missing")?,
                    Signed::Bad(_) => {}
                    Signed::By(key, _) => writeln!(f, "trust.toml: signed by {}", key.as_str())?,
                }
                if !review.differences.is_empty() {
                    writeln!(f, "the site differs:")?;
                    write_differences(f, &review.differences)?;
                }
                match (&review.accepted, review.differences.is_empty()) {
                    (Some(_), true) => write!(f, "the site has the same keys"),
                    (Some(_), false) => Ok(()),
                    (None, _) => write_how_to_accept(f),
                }
            }
            Self::Accepted(done, true) => {
                let value = json!({
                    "format": 1,
                    "accepted": keys_json(&done.keys),
                    "first": done.is_first,
                    "file": done.file.display().to_string(),
                    "published": done.published,
                    "differences": differences_json(&done.remaining),
                });
                write!(f, "{value:#}")
            }
            Self::Accepted(done, false) => {
                let (site, file) = (&done.keys.site, Shown(done.file.display()));
                let first = if done.is_first { ", the first ones on this workstation" } else { "" };
                writeln!(f, "accepted for the site {site}{first} ({file}):")?;
                write_keys(f, &done.keys)?;
                for difference in &done.chosen {
                    writeln!(f, "accepted just now: {}", Shown(difference))?;
                }
                if done.chosen.is_empty() && !done.is_first {
                    writeln!(f, "nothing was accepted just now")?;
                }
                if done.published {
                    writeln!(f, "signed trust.toml: commit it with the site")?;
                }
                if !done.remaining.is_empty() {
                    writeln!(f, "the site still differs; commands refuse it until it does not:")?;
                    write_differences(f, &done.remaining)?;
                }
                Ok(())
            }
        }
    }
}
