//! The inner parsers of a seal as functions of bytes, for the fuzz targets in `fuzz/`: the same code that PID 1 runs.

use crate::identity::NodeIdentity;
use crate::seal::age_file;
use crate::seal::payload::{BadPayload, Contents};
use handoff::manifest::Manifest;
use zeroize::Zeroizing;

/// Opens an age file with the loader's own reader; `None` if the reader refuses it.
#[must_use]
pub fn age_file(file: &[u8], identity: &NodeIdentity) -> Option<Zeroizing<Vec<u8>>> {
    age_file::open(file, identity).ok()
}

/// Reads the tar inside a seal; returns its manifest, and whether each entry has content.
pub fn payload(tar: &[u8]) -> Result<(Manifest, bool), BadPayload> {
    let contents = Contents::read(Zeroizing::new(tar.to_vec()))?;
    let all = contents.manifest.entries.iter().all(|entry| contents.of(&entry.path).is_some());
    Ok((contents.manifest, all))
}
