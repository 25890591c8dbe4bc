//! Making age identities, and the text of the file that holds one, as `age-keygen` writes it.

use crate::identity::NodeIdentity;
use crate::timestamp::Timestamp;
use age::secrecy::ExposeSecret as _;
use zeroize::Zeroizing;

/// Makes a new identity, for a node or for an admin.
#[must_use]
pub fn generate() -> NodeIdentity {
    NodeIdentity::from_age(age::x25519::Identity::generate())
}

/// The file of an identity: two comments and the secret key, readable by `age -i` and `age-keygen -y`.
#[must_use]
pub fn text(identity: &NodeIdentity, created: Timestamp) -> Zeroizing<String> {
    let secret = identity.as_age().to_string();
    Zeroizing::new(format!(
        "# created: {created}\n# public key: {}\n{}\n",
        identity.recipient(),
        secret.expose_secret()
    ))
}
