//! Writers that lose files in a power cut, each by leaving out one step. The harness must find the losses.

use keys::reconcile::{Comparison, FOLDER_MODE};
use keys::seal::OpenedSeal;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

/// The error of a writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// Writes over the existing file.
    InPlace,
    /// Renames a file whose content is not on the medium.
    NoFileSync,
    /// Reports that it is done while the new name is not on the medium.
    NoFolderSync,
}

impl Wrong {
    /// Every wrong writer.
    pub const ALL: [Self; 3] = [Self::InPlace, Self::NoFileSync, Self::NoFolderSync];

    /// The writer's name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::InPlace => "wrong-in-place",
            Self::NoFileSync => "wrong-no-file-sync",
            Self::NoFolderSync => "wrong-no-folder-sync",
        }
    }

    /// Writes the differing files in the wrong way.
    pub fn write(self, store: &Path, seal: &OpenedSeal, comparison: &Comparison) -> io::Result<()> {
        for path in comparison.differing.iter().filter_map(|difference| difference.subject.file()) {
            let entry = seal.manifest().entries.iter().find(|entry| entry.path == *path);
            let (Some(entry), Some(content)) = (entry, seal.content(path)) else {
                return Err(io::Error::other("the seal does not have it"));
            };
            self.write_one(&store.join(path.as_str()), content, entry.attributes.mode)?;
        }
        Ok(())
    }

    fn write_one(self, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
        let folder = path.parent().unwrap_or(path);
        fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
        let temporary = path.with_extension("new");
        let written = if self == Self::InPlace { path } else { &temporary };
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(written)?;
        file.write_all(content)?;
        file.set_len(content.len() as u64)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        if self != Self::NoFileSync {
            file.sync_all()?;
        }
        if self != Self::InPlace {
            fs::rename(&temporary, path)?;
        }
        if self != Self::NoFolderSync {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}
