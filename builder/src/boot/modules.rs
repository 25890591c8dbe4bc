//! The kernel modules of the initramfs: the closure of a declared list, each after all that it needs.
//!
//! Read from what depmod(8) makes: `modules.dep` (hard dependencies), `modules.softdep` (soft ones, which name modules
//! or aliases, see modprobe.d(5)), `modules.alias` and `modules.builtin`. Without the soft ones a mount dies: ext4
//! reaches crc32c only through the alias `crypto-crc32c`.
//!
//! It does not match device aliases with wildcards: what drives the disk stands in the declared list, so that an
//! initramfs is the same whatever machine it was built on.

use crate::error::{Class, Classified};
use handoff::modules::Module;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// What every initramfs loads: host controllers, disks, file systems, and a keyboard for the rescue shell.
pub const WANTED: [&str; 26] = [
    "xhci_pci",
    "xhci_hcd",
    "ehci_pci",
    "ehci_hcd",
    "uhci_hcd",
    "ohci_pci",
    "usb_storage",
    "uas",
    "sd_mod",
    "virtio_pci",
    "virtio_blk",
    "virtio_scsi",
    "nvme",
    "ahci",
    "ext4",
    "squashfs",
    "overlay",
    "dm_mod",
    "dm_verity",
    "efivarfs",
    "crc32c_generic",
    "crc32c_intel",
    "sha256_generic",
    "sha256_ssse3",
    "usbhid",
    "hid_generic",
];

/// A module's name as the kernel has it: with `_` where its file may have `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModuleName(String);

impl ModuleName {
    /// The name of the module that `text` names, however it is spelled.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.replace('-', "_"))
    }

    fn of_file(path: &str) -> Self {
        let file = path.rsplit('/').next().unwrap_or(path);
        Self::new(file.split_once(".ko").map_or(file, |(name, _)| name))
    }
}

impl fmt::Display for ModuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why there is no list of modules.
#[derive(Debug, Error)]
pub enum ModulesError {
    /// An index of depmod cannot be read.
    #[error("cannot read {path}: {source}; run depmod(8) on the unpacked kernel package")]
    Index {
        /// The index.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A declared module is neither a file nor built in.
    #[error(
        "the kernel {release} has no module {name}: choose another kernel package, or take it from the list"
    )]
    Unknown {
        /// The module.
        name: ModuleName,
        /// The kernel.
        release: String,
    },
    /// A file that the index names cannot be read.
    #[error("cannot read the kernel module {path}: {source}; unpack the kernel package again")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A module is packed in a way that `finit_module(2)` would need a library for.
    #[error("the kernel module {path} is compressed: only kernels with plain .ko files are supported")]
    Compressed {
        /// The file.
        path: PathBuf,
    },
}

impl Classified for ModulesError {
    fn class(&self) -> Class {
        match self {
            Self::Index { source, .. } | Self::File { source, .. } => Class::of_reading(source),
            Self::Unknown { .. } | Self::Compressed { .. } => Class::BadContent,
        }
    }
}

/// A module with its content, ready for the initramfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleFile {
    /// Name, and path in the initramfs.
    pub entry: Module,
    /// The `.ko` file.
    pub content: Vec<u8>,
}

/// What depmod knows of a kernel.
#[derive(Debug, Default)]
pub struct ModuleIndex {
    release: String,
    files: BTreeMap<ModuleName, Dependencies>,
    builtin: BTreeSet<ModuleName>,
    aliases: BTreeMap<ModuleName, Vec<ModuleName>>,
}

#[derive(Debug, Default)]
struct Dependencies {
    /// Relative to the folder of the kernel release.
    path: String,
    hard: Vec<ModuleName>,
    before: Vec<ModuleName>,
    after: Vec<ModuleName>,
}

impl ModuleIndex {
    /// Reads the indexes in `lib/modules/RELEASE`.
    pub fn read(folder: &Path) -> Result<Self, ModulesError> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).map_err(|source| ModulesError::Index { path, source })
        };
        let release = folder.file_name().map(|name| name.to_string_lossy().into_owned());
        let mut index = Self { release: release.unwrap_or_default(), ..Self::default() };
        index.take_dependencies(&read("modules.dep")?);
        index.take_soft_dependencies(&read("modules.softdep")?);
        index.take_aliases(&read("modules.alias")?);
        index.builtin = read("modules.builtin")?.lines().map(ModuleName::of_file).collect();
        Ok(index)
    }

    fn take_dependencies(&mut self, text: &str) {
        for (path, needs) in text.lines().filter_map(|line| line.split_once(':')) {
            // modules.dep names the nearest dependency first and the deepest last.
            let hard = needs.split_whitespace().rev().map(ModuleName::of_file).collect();
            let entry = Dependencies { path: path.to_owned(), hard, ..Dependencies::default() };
            self.files.insert(ModuleName::of_file(path), entry);
        }
    }

    /// Words before the first `pre:` or `post:` mean nothing to modprobe, and so nothing here.
    fn take_soft_dependencies(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if words.next() != Some("softdep") {
                continue;
            }
            let Some(module) = words.next().and_then(|name| self.files.get_mut(&ModuleName::new(name)))
            else {
                continue;
            };
            let mut list = None;
            for word in words {
                match word {
                    "pre:" => list = Some(&mut module.before),
                    "post:" => list = Some(&mut module.after),
                    name => {
                        if let Some(list) = list.as_mut() {
                            list.push(ModuleName::new(name));
                        }
                    }
                }
            }
        }
    }

    fn take_aliases(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if let (Some("alias"), Some(alias), Some(module), None) =
                (words.next(), words.next(), words.next(), words.next())
            {
                self.aliases.entry(ModuleName::new(alias)).or_default().push(ModuleName::new(module));
            }
        }
    }

    /// The modules that `name` stands for: itself, or those that have it as an alias.
    fn resolve(&self, name: &ModuleName) -> Vec<ModuleName> {
        if self.files.contains_key(name) {
            return vec![name.clone()];
        }
        self.aliases.get(name).cloned().unwrap_or_default()
    }

    /// `wanted` and all that they need, each after what it needs; built-in ones are left out.
    pub fn closure(&self, wanted: &[&str]) -> Result<Vec<ModuleName>, ModulesError> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        for name in wanted.iter().map(|name| ModuleName::new(name)) {
            let modules = self.resolve(&name);
            if modules.is_empty() && !self.builtin.contains(&name) {
                return Err(ModulesError::Unknown { name, release: self.release.clone() });
            }
            for module in modules {
                self.visit(&module, &mut seen, &mut order);
            }
        }
        Ok(order)
    }

    fn visit(&self, name: &ModuleName, seen: &mut BTreeSet<ModuleName>, order: &mut Vec<ModuleName>) {
        let Some(module) = self.files.get(name) else { return };
        if !seen.insert(name.clone()) {
            return;
        }
        for need in module.before.iter().flat_map(|soft| self.resolve(soft)).chain(module.hard.clone()) {
            self.visit(&need, seen, order);
        }
        order.push(name.clone());
        for follower in module.after.iter().flat_map(|soft| self.resolve(soft)) {
            self.visit(&follower, seen, order);
        }
    }
}

/// The closure of `wanted` with the files' contents, in loading order; `folder` is `lib/modules/RELEASE`.
pub fn collect(folder: &Path, wanted: &[&str]) -> Result<Vec<ModuleFile>, ModulesError> {
    let index = ModuleIndex::read(folder)?;
    let mut files = Vec::new();
    for name in index.closure(wanted)? {
        let Some(module) = index.files.get(&name) else { continue };
        let path = folder.join(&module.path);
        if path.extension().is_none_or(|extension| extension != "ko") {
            return Err(ModulesError::Compressed { path });
        }
        let content = std::fs::read(&path).map_err(|source| ModulesError::File { path, source })?;
        let entry = Module { file: format!("/lib/modules/{name}.ko"), name: name.to_string() };
        files.push(ModuleFile { entry, content });
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join("6.1.0-test").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(
            "modules.dep",
            "kernel/fs/ext4/ext4.ko: kernel/lib/crc16.ko kernel/fs/jbd2/jbd2.ko\n\
             kernel/fs/jbd2/jbd2.ko:\nkernel/lib/crc16.ko:\nkernel/crypto/crc32c-intel.ko:\n\
             kernel/crypto/crc32c_generic.ko:\nkernel/drivers/usb-storage.ko: kernel/drivers/scsi.ko\n\
             kernel/drivers/scsi.ko:\nkernel/drivers/late.ko:\nkernel/x.ko.xz:\n",
        );
        write(
            "modules.softdep",
            "# comment\nsoftdep ext4 pre: crypto-crc32c nothing\nsoftdep usb_storage late2 post: late\n",
        );
        write(
            "modules.alias",
            "alias crypto-crc32c crc32c_intel\nalias crypto-crc32c crc32c_generic\nalias late2 jbd2\n",
        );
        write("modules.builtin", "kernel/drivers/rtc-cmos.ko\n");
        for name in ["fs/ext4/ext4.ko", "fs/jbd2/jbd2.ko", "lib/crc16.ko", "crypto/crc32c-intel.ko"] {
            write(&format!("kernel/{name}"), name);
        }
        write("kernel/crypto/crc32c_generic.ko", "generic");
        folder
    }

    fn closure(wanted: &[&str]) -> Result<Vec<String>, ModulesError> {
        let folder = kernel();
        let index = ModuleIndex::read(&folder.path().join("6.1.0-test"))?;
        Ok(index.closure(wanted)?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn soft_dependencies_come_first_through_their_aliases() {
        assert_eq!(closure(&["ext4"]).unwrap(), ["crc32c_intel", "crc32c_generic", "jbd2", "crc16", "ext4"]);
    }

    #[test]
    fn followers_come_after_and_stray_words_mean_nothing() {
        assert_eq!(closure(&["usb-storage"]).unwrap(), ["scsi", "usb_storage", "late"]);
    }

    #[test]
    fn a_module_twice_in_the_list_is_loaded_once_and_a_builtin_one_never() {
        assert_eq!(closure(&["jbd2", "rtc_cmos", "jbd2"]).unwrap(), ["jbd2"]);
    }

    #[test]
    fn an_unknown_module_is_an_error_that_names_it() {
        let error = closure(&["ext4", "warp_drive"]).unwrap_err();
        assert!(
            matches!(&error, ModulesError::Unknown { name, release }
                if name.0 == "warp_drive" && release == "6.1.0-test"),
            "{error}"
        );
    }

    #[test]
    fn contents_come_along_and_compressed_modules_are_refused() {
        let folder = kernel();
        let release = folder.path().join("6.1.0-test");
        let files = collect(&release, &["ext4"]).unwrap();
        assert_eq!(files.last().unwrap().entry.file, "/lib/modules/ext4.ko");
        assert_eq!(files.last().unwrap().content, b"fs/ext4/ext4.ko");
        assert!(matches!(collect(&release, &["x"]), Err(ModulesError::Compressed { .. })));
        assert!(matches!(collect(&release, &["scsi"]), Err(ModulesError::File { .. })));
        assert!(matches!(collect(folder.path(), &["x"]), Err(ModulesError::Index { .. })));
    }
}
