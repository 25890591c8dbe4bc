//! The private keys of this workstation's user, and their public halves.

use keys::identity::{NodeIdentity, Recipient};
use keys::issue::signing::SigningKey;
use keys::signature::PublicKey;

/// The private keys that exist on this workstation.
#[derive(Debug, Default)]
pub struct OwnKeys {
    /// The admin's age identity, if it is here.
    pub identity: Option<NodeIdentity>,
    /// The signing key, if it is here.
    pub signing: Option<SigningKey>,
}

impl OwnKeys {
    /// The public halves of these keys.
    #[must_use]
    pub fn public(&self) -> OwnPublicKeys {
        OwnPublicKeys {
            identity: self.identity.as_ref().map(NodeIdentity::recipient),
            signing: self.signing.as_ref().map(|key| key.public().clone()),
        }
    }
}

/// The public halves of the private keys that exist on this workstation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnPublicKeys {
    /// The public half of the admin's identity.
    pub identity: Option<Recipient>,
    /// The public half of the signing key.
    pub signing: Option<PublicKey>,
}
