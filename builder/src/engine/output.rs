//! The output files for images, and their layout.

use handoff::name::Name;
use std::path::{Path, PathBuf};

/// How the bytes of images are spread over files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Layout {
    /// Each image is one file, NAME.img
    #[default]
    Whole,
    /// One file with the shared part, and for each node a small QEMU disk NAME.qcow2 on top of it
    Split,
}

/// The paths of the images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputPlace {
    /// The path of the only image.
    File(PathBuf),
    /// A folder, which is made if necessary. Each image has the name of its node.
    Folder(PathBuf),
}

/// The output files for images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The paths of the images.
    pub place: OutputPlace,
    /// How the bytes are spread over files.
    pub layout: Layout,
}

impl Output {
    /// The path of a node's image.
    pub(super) fn of(&self, node: &Name) -> PathBuf {
        match (&self.place, self.layout) {
            (OutputPlace::File(path), _) => path.clone(),
            (OutputPlace::Folder(folder), Layout::Whole) => folder.join(format!("{node}.img")),
            (OutputPlace::Folder(folder), Layout::Split) => folder.join(format!("{node}.qcow2")),
        }
    }

    /// The folder to be made, if there is one.
    pub(super) fn folder(&self) -> Option<&Path> {
        match &self.place {
            OutputPlace::File(_) => None,
            OutputPlace::Folder(folder) => Some(folder),
        }
    }
}
