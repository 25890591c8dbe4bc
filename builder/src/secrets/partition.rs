//! A node's secret partition: `age.key` and every file of its seal that is stored on the disk, in one ext4 file system.

use crate::error::{Class, Classified};
use crate::ids::{Owner, derived_uuid};
use crate::next_command::psyops;
use crate::secrets::ext4::{Ext4Error, File, Plan};
use crate::secrets::seal::NodeSeal;
use crate::site::{Node, Site};
use handoff::manifest::{FileAttributes, RelativePath, Store};
use handoff::name::Name;
use handoff::paths;
use keys::identity::NodeIdentity;
use keys::issue::identity_file;
use keys::reconcile::KEY_MODE;
use keys::timestamp::Timestamp;
use std::collections::BTreeMap;
use std::path::Path;

/// Why the secret partition could not be made.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum PartitionError {
    /// The file system could not be made.
    #[error(transparent)]
    Ext4(#[from] Ext4Error),
    /// The manifest of the seal lists a file that the seal does not have.
    #[error("the seal of node {node} lists the file {path} but has no content for it")]
    NoContent {
        /// The name of the node.
        node: Name,
        /// The path of the file.
        path: RelativePath,
    },
}

impl Classified for PartitionError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::NoContent { .. } => Class::BadContent,
            Self::Ext4(_) => return None,
        })
    }

    fn own_advice(&self) -> Option<String> {
        match self {
            Self::NoContent { node, .. } => {
                Some(format!("make the seal again: {}", psyops(&format!("seal --node {node}"))))
            }
            Self::Ext4(_) => None,
        }
    }
}

/// Writes the secret partition of `node` to the file `image`, with `length` bytes, private and sparse.
///
/// `identity` is the node's key, as [`node_keys::identity`](super::node_keys::identity) returns it. Two calls with the same
/// site and seal write the same bytes.
pub fn write_partition(
    site: &Site,
    node: &Node,
    seal: &NodeSeal,
    identity: &NodeIdentity,
    length: u64,
    image: &Path,
) -> Result<(), PartitionError> {
    // The key file is written again and not copied: the stick must not get comments of the given file.
    let identity = identity_file::text(identity, Timestamp::from_unix(site.build_time));
    let mut files = BTreeMap::new();
    files.insert(age_key(), File { mode: KEY_MODE, uid: 0, gid: 0, content: identity.as_bytes() });
    for entry in seal.opened.manifest().stored_in(Store::Disk) {
        let missing = || PartitionError::NoContent { node: node.name.clone(), path: entry.path.clone() };
        let content = seal.opened.content(&entry.path).ok_or_else(missing)?;
        let FileAttributes { mode, uid, gid, .. } = entry.attributes;
        files.insert(entry.path.clone(), File { mode, uid, gid, content });
    }
    let id = |role: &str| derived_uuid(&site.id, Owner::Node(&node.name), role);
    let plan = Plan {
        size: length,
        label: paths::SECRET_LABEL,
        uuid: id("secret-filesystem"),
        hash_seed: id("secret-hash-seed"),
        time: site.build_time,
        files,
    };
    Ok(plan.write(image)?)
}

fn age_key() -> RelativePath {
    RelativePath::new(paths::AGE_KEY).expect("a constant path that stays inside")
}
