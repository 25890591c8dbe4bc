//! The seal that a site keeps for a node (`seals/NODE.seal`), as a witness: of the node's keys and of the security epoch,
//! where this workstation noted none.
//!
//! Every reader of that file asks here, so that a file that is damaged is never taken for one that is missing.

use crate::site::Site;
use handoff::name::Name;
use keys::seal::{SealError, UnverifiedSeal, VerifiedSeal};
use keys::signature::PublicKey;
use std::io;

/// What to do with a stored seal that is not valid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UntrustedSeal {
    /// Return an error.
    #[default]
    Refuse,
    /// Replace it with a new seal, above the last generation that is known here.
    Replace,
}

/// The stored seal of a node cannot be read or verified.
pub(super) struct BadStoredSeal {
    /// The name of the node.
    pub(super) node: Name,
    /// What is wrong with the seal.
    pub(super) problem: String,
}

/// The bytes of a node's stored seal; `None` if there is none.
pub(super) fn read(site: &Site, node: &Name) -> io::Result<Option<Vec<u8>>> {
    match site.folder.read(Site::seal_name(node)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The stored seal of a node, if one of `signers` signed it for this site. It may be that of a node of another name.
///
/// A seal that a former signer made, or that was made under a former id of the site, is not damaged, but proves nothing:
/// it counts as none. Any other seal that cannot be verified is an error.
pub(super) fn verified(
    site: &Site,
    node: &Name,
    signers: &[PublicKey],
    former: &[PublicKey],
) -> Result<Option<VerifiedSeal>, BadStoredSeal> {
    let bad = |problem: String| BadStoredSeal { node: node.clone(), problem };
    let Some(bytes) = read(site, node).map_err(|error| bad(error.to_string()))? else { return Ok(None) };
    let seal = UnverifiedSeal::parse(&bytes).map_err(|error| bad(error.to_string()))?;
    match seal.clone().verify(signers, &site.id) {
        Ok(seal) => Ok(Some(seal)),
        Err(SealError::OtherSite { found, .. }) if seal.clone().verify(signers, &found).is_ok() => Ok(None),
        Err(_) if seal.verify(former, &site.id).is_ok() => Ok(None),
        Err(problem) => Err(bad(problem.to_string())),
    }
}
