//! Ids that are derived from inputs: the same site, node and release have the same ids on every machine and on every
//! day.
//!
//! The ids of a node's own parts (disk, ESP, seal, secret) are derived from site and node, and those of shared parts
//! (root, verity salt) from site and release. UUIDs are of version 5 (RFC 9562, section 5.5).

use handoff::hash::Sha256Digest;
use handoff::name::Name;
use uuid::Uuid;

/// The namespace of all derived ids, once chosen at random.
const NAMESPACE: Uuid = Uuid::from_u128(0x2f6f_0f8c_94f4_4b0e_8d3b_51a2_7c40_66d9);

/// What a part belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner<'a> {
    /// To a node.
    Node(&'a Name),
    /// To a release, whose nodes share it.
    Release(&'a Name),
}

/// The text that an id is derived from. Names have no `/`, so two different inputs never give the same text.
fn text(site: &Name, owner: Owner<'_>, role: &str) -> String {
    match owner {
        Owner::Node(node) => format!("site/{site}/node/{node}/{role}"),
        Owner::Release(release) => format!("site/{site}/release/{release}/{role}"),
    }
}

/// The UUID of a part.
#[must_use]
pub fn derived_uuid(site: &Name, owner: Owner<'_>, role: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, text(site, owner, role).as_bytes())
}

/// 32 derived bytes, for salts and seeds.
#[must_use]
pub fn derived_bytes(site: &Name, owner: Owner<'_>, role: &str) -> [u8; 32] {
    *Sha256Digest::of_parts(&[NAMESPACE.as_bytes(), text(site, owner, role).as_bytes()]).as_bytes()
}

/// The serial number of a FAT volume.
#[must_use]
pub fn derived_serial(site: &Name, owner: Owner<'_>, role: &str) -> u32 {
    let [a, b, c, d, ..] = derived_bytes(site, owner, role);
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_input_changes_the_id() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        let (site, other, node) = (name("site"), name("other"), name("demo"));
        let base = derived_uuid(&site, Owner::Node(&node), "esp");
        assert_eq!(base.get_version_num(), 5);
        assert_eq!(base, derived_uuid(&site, Owner::Node(&node), "esp"));
        for changed in [
            derived_uuid(&other, Owner::Node(&node), "esp"),
            derived_uuid(&site, Owner::Node(&other), "esp"),
            derived_uuid(&site, Owner::Release(&node), "esp"),
            derived_uuid(&site, Owner::Node(&node), "seal-a"),
        ] {
            assert_ne!(changed, base);
        }
        assert_ne!(
            derived_bytes(&site, Owner::Release(&node), "salt"),
            derived_bytes(&other, Owner::Release(&node), "salt")
        );
    }
}
