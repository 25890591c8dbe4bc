//! `psyops secret set|get|list`: the values that a site stores encrypted for its nodes.
//!
//! A value is read from the standard input and never from an argument, where every process of the machine could read
//! it.

use crate::cli::credential_args::CredentialArgs;
use crate::cli::site::{load_locked_site, load_site};
use crate::cli::trust::tell_first_use;
use crate::error::{Class, Classified, Error};
use crate::next_command::psyops;
use crate::secrets::credentials::{load_identity, secret_store};
use crate::secrets::store::{Secret, Store};
use clap::{Args, Subcommand};
use handoff::name::Name;
use std::io::Read as _;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Store and show the encrypted values of a site
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops secret --site fleet set wifi < wifi.conf    store the file as the value wifi
  psyops secret --site fleet get wifi
  psyops secret --site fleet list

To put a value on a node as a file, add a [[file]] with secret = \"wifi\" and a path to
nodes/NODE.toml.")]
pub struct SecretArgs {
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
    /// Store the standard input as a value; an old value is replaced
    #[command(after_help = "Examples:
  psyops secret set wifi --site fleet < wifi.conf
  printf %s \"$TOKEN\" | psyops secret set token --site fleet   without a newline at the end

Writes secrets/NAME.age in the site, encrypted to its admins. What was stored before
is kept in secrets/ as history.")]
    Set {
        /// The value's name
        name: Name,
    },
    /// Print a value
    #[command(after_help = "Examples:
  psyops secret get wifi --site fleet
  psyops secret get wifi --site fleet --identity admin.age.txt > wifi.conf")]
    Get {
        /// The value's name
        name: Name,
    },
    /// Print the names of the values
    #[command(after_help = "Examples:
  psyops secret list --site fleet
  psyops secret list --site fleet --json

Needs no key, because names are not encrypted.")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// The standard input could not be read.
#[derive(Debug, thiserror::Error, classified::Cause)]
#[error("cannot read the value from the standard input: {0}")]
pub struct InputError(std::io::Error);

impl Classified for InputError {
    fn own_class(&self) -> Option<Class> {
        Some(Class::of_reading(&self.0))
    }
}

/// The standard input has no byte.
#[derive(Debug, thiserror::Error, classified::Cause)]
#[error("the standard input is empty, so the secret {0} was not changed")]
pub struct EmptyValue(Name);

impl Classified for EmptyValue {
    fn own_class(&self) -> Option<Class> {
        Some(Class::BadContent)
    }

    fn own_advice(&self) -> Option<String> {
        Some(format!(
            "to set it to the content of a file: {} < FILE",
            psyops(&format!("secret set {}", self.0))
        ))
    }
}

/// Reads the whole standard input.
pub fn standard_input() -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut bytes = Zeroizing::default();
    std::io::stdin().lock().read_to_end(&mut bytes).map_err(InputError)?;
    Ok(bytes)
}

/// Runs the command, with the bytes of the standard input for [`Action::Set`]; returns what to print.
pub fn run(
    args: &SecretArgs,
    input: &dyn Fn() -> Result<Zeroizing<Vec<u8>>, Error>,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let dir = args.site.as_deref();
    match &args.action {
        Action::Set { name } => {
            let (site, _lock) = load_locked_site(dir)?.into_parts();
            let (site, identity) = load_identity(site, &args.credentials.locations())?;
            tell_first_use(&site);
            let store = secret_store(&site)?;
            let value = input()?;
            if value.is_empty() {
                return Err(EmptyValue(name.clone()).into());
            }
            store.write(&Secret::Value(name.clone()), &value, &identity)?;
            Ok(Zeroizing::default())
        }
        Action::Get { name } => {
            let site = load_site(dir)?;
            let (site, identity) = load_identity(site, &args.credentials.locations())?;
            tell_first_use(&site);
            Ok(secret_store(&site)?.read(&Secret::Value(name.clone()), &identity)?)
        }
        Action::List { json } => {
            let names = Store::without_admins(&load_site(dir)?).values()?;
            let text = if *json {
                let names: Vec<String> = names.iter().map(ToString::to_string).collect();
                format!("{}\n", serde_json::json!({"format": 1, "names": names}))
            } else {
                names.iter().map(|name| format!("{name}\n")).collect()
            };
            Ok(Zeroizing::new(text.into_bytes()))
        }
    }
}
