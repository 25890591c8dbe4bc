//! What a command decided to write into a site, and the one place that writes it, after the last decision.
//!
//! Nothing here can refuse the content of a file any more. The order is such that the same command can be repeated after
//! an interruption at any place:
//!
//! 1. The notes of keys and generations. A noted key that never came into the site is replaced by the next one that is made, and
//!    a noted generation is only skipped. The other way round, a key that is in the site and not noted is refused.
//! 2. The accepted keys (`trust.toml`), which depend on nothing else.
//! 3. Keys of nodes in the store, then the files that name them: a node without a public key in its file gets the key that
//!    the store has.
//! 4. Floors are in the same files, and are noted after them: a floor that was noted and is not in the site counts as
//!    lowered.
//! 5. Seals: the next command makes one that is missing or not current.

use crate::error::Error;
use crate::secrets::node_keys::NodeKeys;
use crate::secrets::node_notes::{Floors, NodeNote, NodeNotes};
use crate::secrets::seal::NodeSeal;
use crate::secrets::trust::{Accepted, SignedKeys};
use crate::site::{Site, SiteEdits};
use handoff::name::Name;

/// Everything that one command writes.
#[derive(Debug)]
pub(super) struct Pending<'p> {
    /// The accepted keys of the site, beside which the notes are stored.
    pub(super) accepted: &'p Accepted,
    /// What is to be noted of nodes.
    pub(super) notes: Vec<(&'p Name, NodeNote)>,
    /// The accepted keys, if the site does not have them yet.
    pub(super) trust: Option<&'p SignedKeys>,
    /// The keys of nodes.
    pub(super) keys: Vec<(&'p Name, &'p NodeKeys)>,
    /// The changes of `site.toml` and of the nodes' files.
    pub(super) edits: &'p SiteEdits,
    /// The seals of nodes.
    pub(super) seals: Vec<(&'p Name, &'p NodeSeal)>,
}

impl Pending<'_> {
    /// Writes everything. `site` is the site with all changes.
    pub(super) fn write(self, site: &Site) -> Result<(), Error> {
        NodeNotes::note(self.accepted, None, self.notes)?;
        if let Some(trust) = self.trust {
            trust.write(site)?;
        }
        for (node, keys) in self.keys {
            keys.write(site, node)?;
        }
        self.edits.write(site)?;
        NodeNotes::note(self.accepted, Some(&Floors::of(site)), [])?;
        for (node, seal) in self.seals {
            seal.write(site, node)?;
        }
        Ok(())
    }
}
