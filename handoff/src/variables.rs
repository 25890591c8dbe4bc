//! Names of the variables that a role's templates see.

/// Names that templates always see: the node's name (twice), its site and the kind of its base. A variable with such a name
/// would be hidden, so neither a site nor a node takes it.
pub const PREDEFINED: [&str; 4] = ["node", "site", "base", "hostname"];

/// Whether templates see something else under this name than a node's variable.
#[must_use]
pub fn is_predefined(name: &str) -> bool {
    PREDEFINED.contains(&name)
}
