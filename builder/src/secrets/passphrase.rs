//! Passphrases of private keys: asked for once per command on the terminal, or read from a descriptor.
//!
//! They are never read from an argument or an environment variable, where other processes of the user can read them.

use crate::error::{Class, Classified};
use crate::next_command::psyops;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// The most bytes that are read from a descriptor.
const LARGEST: u64 = 1 << 16;

/// Why a passphrase was not read, or is wrong.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum PassphraseError {
    /// A key is locked, and there is neither a terminal nor a descriptor for its passphrase.
    #[error(
        "the {what} {path} is protected by a passphrase, and there is no terminal to ask for it: {source}"
    )]
    NoTerminal {
        /// What the file is, for the message.
        what: &'static str,
        /// The path of the key file.
        path: PathBuf,
        /// The error from opening the terminal.
        r#source: io::Error,
    },
    /// A new passphrase is needed, and there is neither a terminal nor a descriptor.
    #[error("there is no terminal to ask for a new passphrase: {source}")]
    NoTerminalForNew {
        /// The error from opening the terminal.
        r#source: io::Error,
    },
    /// The descriptor is not open.
    #[error("the descriptor {descriptor}, which should have a passphrase, is not open")]
    Closed {
        /// The number of the descriptor.
        descriptor: u32,
        /// The option that names it.
        option: &'static str,
    },
    /// The descriptor could not be read.
    #[error("cannot read passphrases from the descriptor {descriptor}: {source}")]
    Descriptor {
        /// The number of the descriptor.
        descriptor: u32,
        /// The option that names it.
        option: &'static str,
        /// The error from reading it.
        r#source: io::Error,
    },
    /// The user typed nothing, or the descriptor has no line for the key.
    #[error("the passphrase from {from} for the {what} {path} is empty")]
    Empty {
        /// The source of the passphrase, for the message.
        from: String,
        /// What the file is, for the message.
        what: &'static str,
        /// The path of the key file.
        path: PathBuf,
    },
    /// None of the passphrases decrypts the key.
    #[error("the passphrase does not open the {what} {path}")]
    Wrong {
        /// What the file is, for the message.
        what: &'static str,
        /// The path of the key file.
        path: PathBuf,
    },
    /// The user typed another new passphrase the second time.
    #[error("the two passphrases differ; type the same one twice")]
    Differ,
    /// The new passphrase is empty.
    #[error("the new passphrase is empty")]
    NewIsEmpty,
    /// The new passphrase is too short.
    #[error("a passphrase has at least {SHORTEST} characters")]
    TooShort,
}

/// The least number of characters: shorter passphrases are guessed too fast.
const SHORTEST: usize = 8;

impl Classified for PassphraseError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::NoTerminal { .. } | Self::Closed { .. } => Class::MissingInput,
            Self::Descriptor { source, .. } => Class::of_reading(source),
            Self::NoTerminalForNew { .. } | Self::Empty { .. } | Self::Wrong { .. } => Class::Refused,
            Self::Differ | Self::NewIsEmpty | Self::TooShort => Class::BadContent,
        })
    }

    fn own_advice(&self) -> Option<String> {
        match self {
            Self::NoTerminalForNew { .. } => Some(
                "pass the new passphrase over a descriptor: --new-passphrase-fd 4 4< <(pass show psyops)".into(),
            ),
            Self::NoTerminal { .. } => Some(
                "pass the passphrase over a descriptor: --passphrase-fd 3 3< <(pass show psyops), a line for each"
                    .into(),
            ),
            Self::Closed { descriptor, option } => {
                Some(format!("open it for the same command: {option} {descriptor} {descriptor}< FILE"))
            }
            Self::Descriptor { descriptor, option, .. } => {
                Some(format!("connect it to a file or a pipe: {option} {descriptor} {descriptor}< FILE"))
            }
            Self::Empty { .. } => Some(
                "run the command again and type the passphrase, or write one on each line of the descriptor"
                    .into(),
            ),
            Self::Wrong { .. } => Some("run the command again with the right passphrase".into()),
            Self::NewIsEmpty => Some(format!(
                "run the command again with at least {SHORTEST} characters; for no passphrase: {}",
                psyops("keys passphrase --remove")
            )),
            Self::TooShort => Some("choose a longer one, and run the command again".into()),
            Self::Differ => None,
        }
    }
}

/// The passphrases that are known so far, and where to get more. Clones share both.
#[derive(Clone, Default)]
pub struct Passphrases(Arc<Mutex<PassphraseState>>);

#[derive(Default)]
struct PassphraseState {
    descriptor: Option<u32>,
    was_read: bool,
    known: Vec<Zeroizing<String>>,
    // Set if no more passphrases may be asked for.
    is_closed: bool,
}

impl fmt::Debug for Passphrases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrases")
    }
}

/// Passphrases are not compared: two `Locations` are equal if their paths are.
impl PartialEq for Passphrases {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Passphrases {}

/// The passphrase does not decrypt the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongPassphrase;

impl Passphrases {
    /// Passphrases from the lines of a descriptor, if there is one; otherwise from the terminal.
    #[must_use]
    pub fn from_descriptor(descriptor: Option<u32>) -> Self {
        Self(Arc::new(Mutex::new(PassphraseState {
            descriptor,
            is_closed: descriptor.is_some(),
            ..PassphraseState::default()
        })))
    }

    /// Only these passphrases: the user is not asked.
    #[must_use]
    pub fn of(known: &[&str]) -> Self {
        let known = known.iter().map(|text| Zeroizing::new((*text).to_owned())).collect();
        Self(Arc::new(Mutex::new(PassphraseState { known, is_closed: true, ..PassphraseState::default() })))
    }

    /// Opens the key `what` in `path`: with a known passphrase, or with one that the user is asked for, once.
    pub fn open<K, E: From<PassphraseError>>(
        &self,
        what: &'static str,
        path: &Path,
        attempt: impl Fn(&str) -> Result<K, Attempt<E>>,
    ) -> Result<K, E> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(descriptor) = state.descriptor.filter(|_| !state.was_read) {
            state.known = lines_of(descriptor, "--passphrase-fd")?;
            state.was_read = true;
        }
        let empty = |from| PassphraseError::Empty { from, what, path: path.to_owned() };
        if let Some(descriptor) = state.descriptor.filter(|_| state.known.iter().all(|line| line.is_empty()))
        {
            return Err(empty(format!("the descriptor {descriptor}")).into());
        }
        for known in &state.known {
            match attempt(known) {
                Ok(key) => return Ok(key),
                Err(Attempt::Wrong) => {}
                Err(Attempt::Other(error)) => return Err(error),
            }
        }
        let wrong = || PassphraseError::Wrong { what, path: path.to_owned() };
        if state.is_closed {
            return Err(wrong().into());
        }
        let typed = ask(&format!("Passphrase of the {what} {}: ", path.display()))
            .map_err(|source| PassphraseError::NoTerminal { what, path: path.to_owned(), source })?;
        match attempt(&typed) {
            Ok(key) => {
                state.known.push(typed);
                Ok(key)
            }
            Err(Attempt::Wrong) if typed.is_empty() => Err(empty("the terminal".into()).into()),
            Err(Attempt::Wrong) => Err(wrong().into()),
            Err(Attempt::Other(error)) => Err(error),
        }
    }
}

/// Why an attempt with a passphrase failed.
#[derive(Debug)]
pub enum Attempt<E> {
    /// The passphrase is wrong.
    Wrong,
    /// The key is not valid in another way.
    Other(E),
}

/// A new passphrase: the first line of the descriptor, or typed twice.
pub fn new_passphrase(descriptor: Option<u32>) -> Result<Zeroizing<String>, PassphraseError> {
    let passphrase = if let Some(descriptor) = descriptor {
        lines_of(descriptor, "--new-passphrase-fd")?.into_iter().next().unwrap_or_default()
    } else {
        let no_terminal = |source| PassphraseError::NoTerminalForNew { source };
        let first = ask("New passphrase: ").map_err(no_terminal)?;
        let second = ask("The same passphrase again: ").map_err(no_terminal)?;
        if first != second {
            return Err(PassphraseError::Differ);
        }
        first
    };
    if passphrase.is_empty() {
        return Err(PassphraseError::NewIsEmpty);
    }
    if passphrase.chars().count() < SHORTEST { Err(PassphraseError::TooShort) } else { Ok(passphrase) }
}

fn ask(question: &str) -> io::Result<Zeroizing<String>> {
    rpassword::prompt_password(question).map(Zeroizing::new)
}

/// The lines of a descriptor that this process was started with.
fn lines_of(descriptor: u32, option: &'static str) -> Result<Vec<Zeroizing<String>>, PassphraseError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => PassphraseError::Closed { descriptor, option },
        _ => PassphraseError::Descriptor { descriptor, option, source },
    };
    // The number may be any; only the kernel knows whether it is open. Opening it by name does not take ownership of
    // it.
    let file = File::open(format!("/proc/self/fd/{descriptor}")).map_err(failed)?;
    let mut text = Zeroizing::new(String::with_capacity(4096));
    file.take(LARGEST).read_to_string(&mut text).map_err(failed)?;
    Ok(text.lines().map(|line| Zeroizing::new(line.to_owned())).collect())
}
