//! The init of a base: the program that becomes PID 1 after the loader, and the builder's overlay for it.

use super::imported::error::ImportError;
use crate::site::Base;
use crate::store::StoreError;
use crate::tree::LayeredTree;
use handoff::architecture::Architecture;
use handoff::init::InitKind;
use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

/// Where systemd is, after and before Debian moved programs to /usr.
const SYSTEMD: [&str; 2] = ["usr/lib/systemd/systemd", "lib/systemd/systemd"];
/// The paths under which busybox can be init. Debian's busybox has its init under the name `linuxrc`.
const BUSYBOX: [&str; 6] =
    ["sbin/init", "usr/sbin/init", "bin/init", "usr/sbin/linuxrc", "linuxrc", "bin/linuxrc"];
/// `e_machine` of an ELF header (elf(5)).
const MACHINE_AT: std::ops::Range<usize> = 18..20;

/// The program that starts the userspace of a base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Init {
    /// systemd or busybox.
    pub kind: InitKind,
    /// The path in the root.
    pub path: String,
}

impl Init {
    /// The folder of the builder's overlay for this init.
    #[must_use]
    pub fn overlay(&self) -> &'static str {
        match self.kind {
            InitKind::Busybox => "micro",
            InitKind::Systemd => "debian",
        }
    }

    /// The init of a base that the builder makes; `None` for an imported base.
    pub(super) fn known(base: &Base) -> Option<Self> {
        let (kind, path) = match base {
            Base::Micro => (InitKind::Busybox, "/usr/sbin/linuxrc"),
            Base::Debian => (InitKind::Systemd, "/usr/lib/systemd/systemd"),
            Base::Tar(_) | Base::Oci(_) => return None,
        };
        Some(Self { kind, path: path.to_owned() })
    }

    /// Reads the file beside a tree in the store; `None` if it is missing or not valid.
    pub(super) fn read(place: &Path) -> Option<Self> {
        fs::read_to_string(place).ok()?.trim_end().parse().ok()
    }

    /// Writes the file beside a tree in the store.
    pub(super) fn write(&self, place: &Path) -> Result<(), StoreError> {
        let written = crate::atomic::write_file(place, format!("{self}\n").as_bytes());
        written.map_err(|error| StoreError { path: place.to_owned(), source: error.into() })
    }
}

impl fmt::Display for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.path)
    }
}

impl FromStr for Init {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (word, path) = text.split_once(' ').ok_or(())?;
        Ok(Self { kind: word.parse().map_err(|_| ())?, path: path.to_owned() })
    }
}

/// Looks for an init in a tree, first for systemd: in a system that has it, busybox is only a tool.
pub(super) fn detect(
    tree: &LayeredTree,
    architecture: &Architecture,
) -> Result<Option<Init>, super::BaseError> {
    let is_busybox = |path: &&str| {
        let mut names = tree.names_of(path).into_iter();
        names.any(|name| name.rsplit('/').next().is_some_and(|name| name.starts_with("busybox")))
    };
    let systemd = SYSTEMD.into_iter().find(|path| !tree.names_of(path).is_empty());
    let busybox = || BUSYBOX.into_iter().find(is_busybox).filter(|_| tree.contains("bin/sh"));
    let found = systemd.map(|path| (InitKind::Systemd, path));
    let Some((kind, path)) = found.or_else(|| busybox().map(|path| (InitKind::Busybox, path))) else {
        return Ok(None);
    };
    check_machine(tree, path, architecture)?;
    Ok(Some(Init { kind, path: format!("/{path}") }))
}

fn check_machine(
    tree: &LayeredTree,
    path: &str,
    architecture: &Architecture,
) -> Result<(), super::BaseError> {
    let bytes = tree.read(path)?.unwrap_or_default();
    if bytes.starts_with(b"\x7fELF") && bytes.get(MACHINE_AT) == Some(&architecture.elf_machine.to_le_bytes())
    {
        return Ok(());
    }
    Err(ImportError::OtherMachine { path: path.to_owned(), wanted: architecture.name }.into())
}
