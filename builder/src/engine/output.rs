//! Where images go, and in what form.

use handoff::name::Name;
use std::path::{Path, PathBuf};

/// How the bytes of images are spread over files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Layout {
    /// Each image is a file of its own
    #[default]
    Whole,
    /// One file with what nodes share, and for each node a small QEMU disk over it
    Split,
}

/// Which files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputPlace {
    /// The one image has this name.
    File(PathBuf),
    /// Each has the node's name in this folder, which is made where it does not exist.
    Folder(PathBuf),
}

/// Where images go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Which files.
    pub place: OutputPlace,
    /// How the bytes are spread over them.
    pub layout: Layout,
}

impl Output {
    /// Where the image of a node goes.
    pub(super) fn of(&self, node: &Name) -> PathBuf {
        match (&self.place, self.layout) {
            (OutputPlace::File(path), _) => path.clone(),
            (OutputPlace::Folder(folder), Layout::Whole) => folder.join(format!("{node}.img")),
            (OutputPlace::Folder(folder), Layout::Split) => folder.join(format!("{node}.qcow2")),
        }
    }

    /// The folder to be made, if any.
    pub(super) fn folder(&self) -> Option<&Path> {
        match &self.place {
            OutputPlace::File(_) => None,
            OutputPlace::Folder(folder) => Some(folder),
        }
    }
}
