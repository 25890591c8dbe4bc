//! The options by which commands find a site's private keys, and their passphrases.

use crate::secrets::credentials::Locations;
use crate::secrets::passphrase::Passphrases;
use clap::Args;
use std::path::PathBuf;

/// Where the private keys of a site are.
#[derive(Debug, Clone, Default, Args)]
pub struct CredentialArgs {
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        help = "An admin's age identity (by default $XDG_CONFIG_HOME/psyops/SITE/admin.age.txt)"
    )]
    #[allow(missing_docs, reason = "its text is the help's")]
    pub identity: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a text here would take the place of the command's own")]
    pub signing: SigningKeyArgs,
}

/// Where the signing key of a site is.
#[derive(Debug, Clone, Default, Args)]
pub struct SigningKeyArgs {
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        help = "The signing key (by default $XDG_CONFIG_HOME/psyops/SITE/signing.key)"
    )]
    #[allow(missing_docs, reason = "its text is the help's")]
    pub signing_key: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a text here would take the place of the command's own")]
    pub passphrase: PassphraseArgs,
}

/// Where the passphrase of locked keys comes from.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct PassphraseArgs {
    /// Read the passphrase of locked keys from this descriptor, a line for each (by default it is asked for on the terminal)
    #[arg(long, value_name = "N", global = true)]
    pub passphrase_fd: Option<u32>,
}

impl PassphraseArgs {
    /// The passphrases in the form of the library.
    #[must_use]
    pub fn passphrases(self) -> Passphrases {
        Passphrases::from_descriptor(self.passphrase_fd)
    }
}

impl SigningKeyArgs {
    /// The locations in the form of the library.
    #[must_use]
    pub fn locations(&self) -> Locations {
        Locations {
            identity: None,
            signing_key: self.signing_key.clone(),
            passphrases: self.passphrase.passphrases(),
        }
    }
}

impl CredentialArgs {
    /// The locations in the form of the library.
    #[must_use]
    pub fn locations(&self) -> Locations {
        Locations { identity: self.identity.clone(), ..self.signing.locations() }
    }
}
