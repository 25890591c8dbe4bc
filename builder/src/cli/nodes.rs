//! `--node NAME` and `--all`: which nodes of a site a command is for.

use crate::site::Site;
use clap::Args;

/// Which nodes.
#[derive(Debug, Clone, Default, Args)]
#[group(id = "which", required = true, multiple = false)]
pub struct NodesArgs {
    /// A node; may be given more than once
    #[arg(long, value_name = "NAME")]
    pub node: Vec<String>,
    /// All nodes of the site
    #[arg(long)]
    pub all: bool,
}

impl NodesArgs {
    /// Their names, in the order of the command line or of the site.
    #[must_use]
    pub fn names(&self, site: &Site) -> Vec<String> {
        if self.all { site.nodes().map(|node| node.name.to_string()).collect() } else { self.node.clone() }
    }

    /// Whether more than one may be meant.
    #[must_use]
    pub fn are_several(&self) -> bool {
        self.all || self.node.len() > 1
    }
}
