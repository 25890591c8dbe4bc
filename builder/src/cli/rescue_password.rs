//! `psyops rescue-password`: makes the hash for `site.toml` of the password of a rescue shell.
//!
//! The password is read from the terminal without echo, or from the standard input, and never from an argument, where
//! every process of the machine could read it.

use crate::error::{Class, Classified, Error};
use crate::rescue_password::{BadPassword, hash};
use clap::Args;
use serde_json::json;
use std::io::{self, IsTerminal as _};
use zeroize::Zeroizing;

/// Make the hash of a rescue password
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops rescue-password                                   asks twice; what you type is not shown
  pass show fleet/rescue | psyops rescue-password --json   reads one line

Write the hash into `password-hash` under [rescue] in site.toml. Nothing is stored.")]
pub struct RescuePasswordArgs {
    /// Print the hash as JSON
    #[arg(long)]
    pub json: bool,
}

/// Why the hash could not be made.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum RescuePasswordError {
    /// The password could not be read.
    #[error("cannot read the password: {0}")]
    Read(io::Error),
    /// The user typed another password the second time.
    #[error("the two passwords differ; type the same one twice")]
    Differ,
    /// The password is not accepted.
    #[error(transparent)]
    Password(#[from] BadPassword),
    /// The kernel gave no random numbers for the salt.
    #[error("cannot get random numbers from the system: {0}")]
    Random(io::Error),
}

impl Classified for RescuePasswordError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::Read(error) | Self::Random(error) => Class::of_reading(error),
            Self::Differ | Self::Password(_) => Class::BadContent,
        })
    }
}

/// Asks for the password; returns what to print.
pub fn run(args: &RescuePasswordArgs) -> Result<Zeroizing<Vec<u8>>, Error> {
    let hash = make().map_err(Error::from)?;
    let text = if args.json {
        format!("{}\n", json!({ "format": 1, "password_hash": hash }))
    } else {
        format!("[rescue]\nconsole = \"password\"\npassword-hash = \"{hash}\"\n")
    };
    Ok(Zeroizing::new(text.into_bytes()))
}

fn make() -> Result<String, RescuePasswordError> {
    let password =
        if io::stdin().is_terminal() { from_terminal()? } else { from_input(&mut io::stdin().lock())? };
    Ok(hash(&password, salt().map_err(RescuePasswordError::Random)?)?)
}

fn from_terminal() -> Result<Zeroizing<String>, RescuePasswordError> {
    let ask = |question: &str| {
        rpassword::prompt_password(question).map(Zeroizing::new).map_err(RescuePasswordError::Read)
    };
    let password = ask("Password for the rescue shell: ")?;
    if ask("The same password again: ")? == password {
        Ok(password)
    } else {
        Err(RescuePasswordError::Differ)
    }
}

/// The first line: the output of a password manager ends with one line end.
fn from_input(input: &mut dyn io::BufRead) -> Result<Zeroizing<String>, RescuePasswordError> {
    let mut line = Zeroizing::new(String::new());
    input.read_line(&mut line).map_err(RescuePasswordError::Read)?;
    Ok(Zeroizing::new(line.trim_end_matches(['\n', '\r']).to_owned()))
}

fn salt() -> io::Result<[u8; 16]> {
    use std::io::Read as _;
    let mut salt = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut salt)?;
    Ok(salt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_line_end_is_taken_off() {
        let read = |mut bytes: &[u8]| from_input(&mut bytes).unwrap().to_string();
        assert_eq!(read(b" a secret \r\nmore"), " a secret ");
        assert_eq!(read(b"no line end"), "no line end");
    }
}
