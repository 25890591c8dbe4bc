//! Nodes grouped by system: nodes with the same set of packages share a system, and only that set tells systems apart.

use crate::error::Error;
use crate::secrets::prepare::Prepared;
use crate::site::PackageSet;

/// The nodes that share a system.
#[derive(Debug)]
pub(super) struct Group {
    /// The packages that they have in addition to the base.
    pub(super) set: PackageSet,
    /// Each node with its position in the request.
    pub(super) nodes: Vec<(usize, Prepared)>,
}

/// Sorts nodes into groups, in the order in which each system is first needed.
pub(super) fn groups(prepared: Vec<Prepared>) -> Result<Vec<Group>, Error> {
    let mut groups: Vec<Group> = Vec::new();
    for (number, node) in prepared.into_iter().enumerate() {
        let set = node.node()?.packages.clone();
        match groups.iter_mut().find(|group| group.set == set) {
            Some(group) => group.nodes.push((number, node)),
            None => groups.push(Group { set, nodes: vec![(number, node)] }),
        }
    }
    Ok(groups)
}

impl Group {
    /// A line with the nodes and their packages, for builds of several systems.
    pub(super) fn line(&self) -> String {
        let names: Vec<&str> = self.nodes.iter().map(|(_, node)| node.node.as_str()).collect();
        let beyond = self.nodes.first().map(|(_, node)| self.set.beyond(&node.site.packages.extra));
        let with = match beyond.unwrap_or_default().as_slice() {
            [] => "the site's packages".to_owned(),
            packages => format!("the site's packages and {}", packages.join(", ")),
        };
        format!("system of {}: {with}", names.join(", "))
    }
}
