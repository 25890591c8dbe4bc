//! Commands for the workstation that messages on a node tell people to type. SITE is the site's folder, NAME the node,
//! `/dev/sdX` the stick, `/dev/sdXN` a partition of it. `builder/tests/suite/advice.rs` parses every command that a
//! message, help text or document names; these are in one file because several programs print them.

/// Puts a node's current system, seal and secrets onto its stick.
pub const WRITE_STICK: &str =
    "build-image --site SITE --node NAME, then psyops flash NAME.img /dev/sdX --site SITE";
/// Makes the node's current secret partition on a stick that already has the other partitions.
pub const WRITE_SECRETS: &str = "mksecrets --site SITE --node NAME --device /dev/sdXN";

/// Makes a seal with a generation above one that the node has seen.
#[must_use]
pub fn newer_seal(node: &str, generation: u64) -> alloc::string::String {
    alloc::format!("psyops seal --site SITE --node {node} --above {generation}")
}
