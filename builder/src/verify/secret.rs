//! Comparing the files of the secret partition with the seal, as the loader does when a node starts.
//!
//! The seal is encrypted, so this needs an identity to decrypt it: a given one (an admin's), or else the node's own,
//! which is on the same partition. If the given one cannot decrypt the seal, that is not a fault of the image, and is
//! reported separately. Of secrets, only the names of files are shown.

use super::Check;
use super::signed::Slots;
use crate::browse::{self, BrowseError};
use crate::image::ext4;
use crate::image::reader::ImageReader;
use ext4_view::Ext4;
use handoff::manifest::{Entry, Store};
use handoff::paths::AGE_KEY;
use keys::identity::NodeIdentity;
use keys::seal::payload::BadPayload;
use keys::seal::{OpenedSeal, SealError, VerifiedSeal};
use std::collections::BTreeSet;

/// How many differing files are named.
const MOST_NAMED: usize = 5;
const PART: &str = "secret files";
/// A folder that mke2fs makes.
const LOST_AND_FOUND: &str = "lost+found";

/// The result for the files, and for the identity that the user gave.
pub(super) struct Compared {
    pub(super) check: Check,
    /// Why the identity that the user gave cannot decrypt the seal.
    pub(super) wrong_identity: Option<String>,
}

impl From<Check> for Compared {
    fn from(check: Check) -> Self {
        Self { check, wrong_identity: None }
    }
}

/// Compares the files; `given` is an identity from the user. If it cannot decrypt the seal, the node's own is used.
pub(super) fn check(image: &ImageReader, slots: &Slots, given: Option<&NodeIdentity>) -> Compared {
    let skipped = |why: &str| Check::skipped(PART, why.to_owned()).into();
    let Ok(volume) = ext4::open(image) else {
        return skipped("the file system cannot be read");
    };
    let newest = slots.trusted().as_ref().ok().and_then(|trusted| slots.newest_seal(image, trusted).chosen);
    let Some((_, seal)) = newest else {
        return skipped("there is no seal that the node would use");
    };
    let Some(identity) = given else { return with_own(&volume, seal, "--identity is not given").into() };
    let found = identity.recipient();
    let (number, node) = (seal.header().generation, seal.header().node.clone());
    let own = seal.clone();
    let opened =
        if found == seal.header().recipient { seal.open(identity) } else { seal.open_as_admin(identity) };
    if matches!(opened, Err(SealError::Payload { problem: BadPayload::NotForThisKey, .. })) {
        let check = with_own(&volume, own, "the identity from --identity does not open it");
        let wrong = format!(
            "{found} does not open seal {number}: it is neither the key of node {node} nor an admin's"
        );
        return Compared { check, wrong_identity: Some(wrong) };
    }
    compared(&volume, opened, "the identity from --identity").into()
}

/// Compares the files with the seal, decrypted with the node's own key; `otherwise` is why the user's identity was not
/// used.
fn with_own(volume: &Ext4, seal: VerifiedSeal, otherwise: &str) -> Check {
    match own_identity(volume) {
        Ok(Some(identity)) => compared(volume, seal.open(&identity), "the node's own key"),
        Ok(None) => {
            let why = format!("nothing opens the seal: the partition has no {AGE_KEY}, and {otherwise}");
            Check::skipped(PART, why)
        }
        Err(problem) => Check::of(PART, Err(problem)),
    }
}

fn compared(volume: &Ext4, opened: Result<OpenedSeal, SealError>, by: &str) -> Check {
    let opened = opened.map_err(|error| error.to_string());
    Check::of(PART, opened.and_then(|seal| compare(volume, &seal, by)))
}

fn own_identity(volume: &Ext4) -> Result<Option<NodeIdentity>, String> {
    match browse::secret_file(volume, AGE_KEY) {
        Ok((_, content)) => NodeIdentity::parse(&content)
            .map(Some)
            .map_err(|problem| format!("{AGE_KEY} is not the node's key: {problem}")),
        Err(BrowseError::NotFound(_)) => Ok(None),
        Err(error) => Err(format!("{AGE_KEY}: {error}")),
    }
}

fn compare(volume: &Ext4, seal: &OpenedSeal, by: &str) -> Result<String, String> {
    let entries: Vec<&Entry> = seal.manifest().stored_in(Store::Disk).collect();
    let differences: Vec<String> = entries
        .iter()
        .filter_map(|entry| Some(format!("{:?} {}", entry.path.as_str(), difference(volume, seal, entry)?)))
        .collect();
    let count = entries.len();
    if !differences.is_empty() {
        let named = differences.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join("; ");
        return Err(format!(
            "{} of {count} files do not match seal {}, opened with {by}: {named}",
            differences.len(),
            seal.header().generation
        ));
    }
    let known: BTreeSet<&str> = entries.iter().map(|entry| entry.path.as_str()).collect();
    let found = browse::secret_files(volume).map_err(|error| error.to_string())?;
    let unknown: Vec<String> = found
        .iter()
        .filter(|path| !known.contains(path.as_str()) && path.as_str() != AGE_KEY)
        .filter(|path| path.split('/').next() != Some(LOST_AND_FOUND))
        .map(|path| format!("{path:?}"))
        .collect();
    let mut said = format!("{count} files match seal {}, opened with {by}", seal.header().generation);
    if !unknown.is_empty() {
        let named = unknown.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join(", ");
        said.push_str(&format!("; {} that are not in it: {named}", unknown.len()));
    }
    Ok(said)
}

/// What is wrong with a file, if anything is.
fn difference(volume: &Ext4, seal: &OpenedSeal, entry: &Entry) -> Option<String> {
    let (facts, content) = match browse::secret_file(volume, entry.path.as_str()) {
        Ok(found) => found,
        Err(BrowseError::NotFound(_)) => return Some("is missing".into()),
        Err(error) => return Some(format!("cannot be read ({error})")),
    };
    let (mode, owner) = (u32::from(facts.mode() & 0o7777), (facts.uid(), facts.gid()));
    if seal.content(&entry.path) != Some(content.as_slice()) {
        return Some("has different content".into());
    }
    if mode != entry.attributes.mode {
        return Some(format!("has mode {mode:04o} instead of {:04o}", entry.attributes.mode));
    }
    (owner != (entry.attributes.uid, entry.attributes.gid))
        .then(|| format!("has the owner {}:{}", owner.0, owner.1))
}
