//! The settings of a node from its site: the content of `node.toml`.

use crate::site::{Node, Site};
use handoff::node_settings::NodeSettings;

/// The settings of a node.
#[must_use]
pub fn node_settings(site: &Site, node: &Node) -> NodeSettings {
    NodeSettings {
        site: site.id.clone(),
        name: node.name.clone(),
        base: site.base.kind(),
        roles: node.roles.clone(),
        variables: node.variables.clone(),
        network: node.network.clone(),
        login: site.console.login.clone(),
        configure: site.configure,
        hardening: site.hardening,
    }
}
