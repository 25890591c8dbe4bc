//! Asking whether to write a lock or its signature, and the errors if it is not written.

use crate::error::{Class, Classified};
use std::io;
use std::path::{Path, PathBuf};

/// The user's options, and a function that asks the user.
pub(super) struct Consent<'a> {
    pub(super) dry_run: bool,
    pub(super) yes: bool,
    pub(super) ask: &'a dyn Fn(&str) -> io::Result<Option<bool>>,
}

/// Why the lock, or its signature, was not written.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub(super) enum NotWritten {
    /// There is no terminal for the question, or the output is JSON.
    #[error("{path} was not written: there is no terminal to ask on")]
    NoTerminal {
        /// The path of the lock or signature.
        path: PathBuf,
    },
    /// The user answered no.
    #[error("{path} was not written: you answered no")]
    Declined {
        /// The path of the lock or signature.
        path: PathBuf,
    },
    /// Another process wrote the lock meanwhile.
    #[error("{path} was not written: site.lock was changed while you were asked")]
    Changed {
        /// The path of the lock or signature.
        path: PathBuf,
    },
    /// The answer could not be read.
    #[error("{path} was not written: cannot read the answer: {source}")]
    NoAnswer {
        /// The path of the lock or signature.
        path: PathBuf,
        /// The error from reading the answer.
        r#source: io::Error,
    },
}

impl Classified for NotWritten {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::NoTerminal { .. } | Self::Declined { .. } | Self::Changed { .. } => Class::Refused,
            Self::NoAnswer { source, .. } => Class::of_reading(source),
        })
    }

    fn own_advice(&self) -> Option<String> {
        match self {
            Self::NoTerminal { .. } => Some("to write it without a question, add --yes".into()),
            Self::Changed { .. } => Some("look at the change, then run the command again".into()),
            Self::Declined { .. } | Self::NoAnswer { .. } => None,
        }
    }
}

impl Consent<'_> {
    /// Asks the question, unless an option answers it; with JSON output, nothing is asked.
    pub(super) fn ask_for(&self, path: &Path, question: &str, json: bool) -> Result<(), NotWritten> {
        let path = path.to_owned();
        let answer = if json { Ok(None) } else { (self.ask)(question) };
        match answer {
            Ok(Some(true)) => Ok(()),
            Ok(Some(false)) => Err(NotWritten::Declined { path }),
            Ok(None) => Err(NotWritten::NoTerminal { path }),
            Err(source) => Err(NotWritten::NoAnswer { path, source }),
        }
    }
}
