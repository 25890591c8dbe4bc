//! Names of the variables that a role's templates see.

/// Names that templates always see: the node's name (twice), its site and the kind of its base. They would hide a
/// variable of the same name, so such variables are refused in sites and nodes.
pub const PREDEFINED: [&str; 4] = ["node", "site", "base", "hostname"];

/// Whether the name is one of [`PREDEFINED`], so that no variable may have it.
#[must_use]
pub fn is_predefined(name: &str) -> bool {
    PREDEFINED.contains(&name)
}
