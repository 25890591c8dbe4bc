//! `--node NAME` and `--all`: the nodes of a site that a command is for.

use crate::site::Site;
use clap::Args;

/// Which nodes.
#[derive(Debug, Clone, Default, Args)]
#[group(id = "which", required = true, multiple = false)]
pub struct NodesArgs {
    /// A node; can be repeated
    #[arg(long, value_name = "NAME")]
    pub node: Vec<String>,
    /// All nodes of the site
    #[arg(long)]
    pub all: bool,
}

impl NodesArgs {
    /// The names of the nodes, in the order of the command line or of the site.
    #[must_use]
    pub fn names(&self, site: &Site) -> Vec<String> {
        if self.all { site.nodes().map(|node| node.name.to_string()).collect() } else { self.node.clone() }
    }

    /// Whether there may be more than one node.
    #[must_use]
    pub fn are_several(&self) -> bool {
        self.all || self.node.len() > 1
    }
}
