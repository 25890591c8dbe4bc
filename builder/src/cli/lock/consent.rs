//! Asking whether a lock or its signature is to be written, and the ways in which it then is not.

use crate::error::{Class, Classified};
use std::io;
use std::path::{Path, PathBuf};

/// What the options say, and a way to ask.
pub(super) struct Consent<'a> {
    pub(super) dry_run: bool,
    pub(super) yes: bool,
    pub(super) ask: &'a dyn Fn(&str) -> io::Result<Option<bool>>,
}

/// The lock, or its signature, was not written.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub(super) enum NotWritten {
    /// There is no terminal to put the question on, or the output is JSON.
    #[error("{path} was not written: there is no terminal to ask on")]
    NoTerminal {
        /// The file.
        path: PathBuf,
    },
    /// The user did not agree.
    #[error("{path} was not written, as you wished")]
    Declined {
        /// The file.
        path: PathBuf,
    },
    /// Another process wrote the lock meanwhile.
    #[error("{path} was not written: site.lock is not what it was when you were asked")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The answer could not be read.
    #[error("{path} was not written: cannot read the answer: {source}")]
    NoAnswer {
        /// The file.
        path: PathBuf,
        /// What the system said.
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
            Self::Changed { .. } => Some("look at it, then update again".into()),
            Self::Declined { .. } | Self::NoAnswer { .. } => None,
        }
    }
}

impl Consent<'_> {
    /// Puts the question, where no option answers it; programs that read JSON are not asked.
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
