//! `site.lock.minisig`: a minisign signature over the bytes of `site.lock`.
//!
//! Its trusted comment names the site. So the signature of another site's lock by the same key is not accepted, nor is
//! any other signature by that key.

use super::error::NoSignature;
use handoff::name::Name;
use keys::issue::signing::{SigningFailed, SigningKey};
use keys::signature::{self, KeyId, PublicKey};
use std::io;
use std::path::Path;

/// Verifies the signature of a lock, either read from `file` or about to be written there.
pub(super) fn verify(
    content: &[u8],
    signature: io::Result<Vec<u8>>,
    file: &Path,
    site: &Name,
    trusted: &[PublicKey],
) -> Result<KeyId, NoSignature> {
    let path = || file.to_owned();
    let bytes = match signature {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(NoSignature::Missing { path: path() });
        }
        Err(source) => return Err(NoSignature::Read { path: path(), source }),
    };
    let text = String::from_utf8_lossy(&bytes);
    let key = signature::verify(content, &text, trusted)
        .map_err(|source| NoSignature::Bad { path: path(), source })?;
    let (says, expected) = (trusted_comment(&text), comment(site));
    if says == expected {
        Ok(key.id())
    } else {
        Err(NoSignature::OtherSubject { path: path(), says: says.to_owned(), expected })
    }
}

/// Signs the bytes of a lock for a site.
pub(super) fn sign(content: &[u8], site: &Name, key: &SigningKey) -> Result<String, SigningFailed> {
    key.sign(content, &comment(site))
}

fn comment(site: &Name) -> String {
    format!("site.lock of site {site}")
}

fn trusted_comment(text: &str) -> &str {
    text.lines().nth(2).and_then(|line| line.strip_prefix("trusted comment: ")).unwrap_or_default()
}
