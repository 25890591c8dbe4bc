//! The kernel modules of the initramfs: the closure of a declared list, each after all that it needs.
//!
//! Read from what depmod(8) makes: `modules.dep` (hard dependencies), `modules.softdep` (soft ones, which name modules
//! or aliases, see modprobe.d(5)), `modules.alias` and `modules.builtin`. Without the soft ones a mount dies: ext4
//! reaches crc32c only through the alias `crypto-crc32c`.
//!
//! What drives the disk stands in the declared list, so that an initramfs is the same whatever machine it was built on.
//! Device aliases go into it for the loader, which leaves out what the machine at hand has no device for.

use crate::error::{Class, Classified};
use handoff::modules::{Kind, Module};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// What every initramfs has for the boot. The faster SHA-256 comes first: with it the kernel checks the signatures of all
/// others, a seventh of the time that they take. Then come controllers, the slowest to find its devices before the
/// others: while they look, the rest is loaded. Drivers of virtio devices come before their bus, which then finds them
/// there.
pub const WANTED: [&str; 24] = [
    "sha256_ssse3",
    "sha256_generic",
    "xhci_pci",
    "xhci_hcd",
    "ehci_pci",
    "ehci_hcd",
    "uhci_hcd",
    "ohci_pci",
    "usb_storage",
    "uas",
    "sd_mod",
    "virtio_blk",
    "virtio_scsi",
    VIRTIO_BUS,
    "nvme",
    "ahci",
    "efivarfs",
    "crc32c_intel",
    "crc32c_generic",
    "ext4",
    "squashfs",
    "overlay",
    "dm_mod",
    "dm_verity",
];

/// What it has for a keyboard, in the rescue shell. The root has it, too.
pub const FOR_PEOPLE: [&str; 2] = ["usbhid", "hid_generic"];

/// Virtio devices are PCI devices of this driver. It drives all of them, those for which the initramfs has no driver too.
const VIRTIO_BUS: &str = "virtio_pci";
/// Any USB controller.
const USB_CONTROLLER: &str = "pci:v*d*sv*sd*bc0Csc03i*";

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
    /// The devices that it drives, as `bus:pattern`.
    devices: Vec<String>,
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
                let module = ModuleName::new(module);
                if let Some(known) = self.files.get_mut(&module).filter(|_| bus(alias).is_some()) {
                    known.devices.push(alias.to_owned());
                }
                self.aliases.entry(ModuleName::new(alias)).or_default().push(module);
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

    /// The module's line in the list.
    fn entry(&self, name: &ModuleName, module: &Dependencies) -> Module {
        let before = module.before.iter().flat_map(|soft| self.resolve(soft));
        let needs: Vec<String> = before
            .chain(module.hard.clone())
            .filter(|need| self.files.contains_key(need))
            .map(|need| need.0)
            .collect();
        let kind = match module.devices.iter().filter_map(|alias| bus(alias)).max_by_key(|bus| *bus == "pci")
        {
            Some("pci") => Kind::Controller,
            Some(_) => Kind::Driver,
            None => Kind::Part,
        };
        let mut drives: Vec<String> = module.devices.iter().flat_map(|alias| pci_patterns(alias)).collect();
        // Hundreds of USB devices, one kind of controller.
        drives.dedup();
        Module { name: name.to_string(), file: format!("/lib/modules/{name}.ko"), kind, needs, drives }
    }
}

/// The bus of a device alias; none for what names no device (`fs-ext4`, `crypto-crc32c`, a feature of the processor).
fn bus(alias: &str) -> Option<&str> {
    alias.split_once(':').map(|(bus, _)| bus).filter(|bus| !matches!(*bus, "cpu" | "devname"))
}

/// The PCI devices behind a device alias. What is plugged into USB hangs on a USB controller, which PCI knows by its
/// class (PCI Code and ID Assignment, 1.13: 0C 03). A virtio device of version 1 has the PCI id 0x1040 and its own; one
/// before it has its own as subsystem id, and a PCI id of its own below 0x1010 (Virtio 1.2, section 4.1.2).
fn pci_patterns(alias: &str) -> Vec<String> {
    let virtio = alias.strip_prefix("virtio:d").and_then(|rest| rest.split_once('v'));
    match virtio.and_then(|(id, _)| u32::from_str_radix(id, 16).ok()) {
        Some(id) => vec![
            format!("pci:v00001AF4d{:08X}*", id.saturating_add(0x1040)),
            format!("pci:v00001AF4d0000100*sv*sd{id:08X}*"),
        ],
        None => match bus(alias) {
            Some("pci") => vec![alias.to_owned()],
            Some("usb") => vec![USB_CONTROLLER.to_owned()],
            _ => Vec::new(),
        },
    }
}

/// The closure of `wanted` and `for_people` with the files' contents, in loading order; `folder` is
/// `lib/modules/RELEASE`.
pub fn collect(folder: &Path, wanted: &[&str], for_people: &[&str]) -> Result<Vec<ModuleFile>, ModulesError> {
    let index = ModuleIndex::read(folder)?;
    let for_the_boot = index.closure(wanted)?.len();
    let all: Vec<&str> = wanted.iter().chain(for_people).copied().collect();
    let mut files = Vec::new();
    for (position, name) in index.closure(&all)?.into_iter().enumerate() {
        let Some(module) = index.files.get(&name) else { continue };
        let path = folder.join(&module.path);
        if path.extension().is_none_or(|extension| extension != "ko") {
            return Err(ModulesError::Compressed { path });
        }
        let content = std::fs::read(&path).map_err(|source| ModulesError::File { path, source })?;
        let mut entry = index.entry(&name, module);
        if position >= for_the_boot {
            entry.kind = Kind::Input;
            entry.drives.clear();
        }
        files.push(ModuleFile { entry, content });
    }
    of_the_virtio_bus(&mut files);
    Ok(files)
}

/// The bus is needed where one of the drivers on it is.
fn of_the_virtio_bus(files: &mut [ModuleFile]) {
    let vendor = |pattern: &&String| pattern.starts_with("pci:v00001AF4d");
    let drivers = files.iter().filter(|file| file.entry.kind == Kind::Driver);
    let devices: Vec<String> =
        drivers.flat_map(|file| file.entry.drives.iter().filter(vendor).cloned()).collect();
    for bus in files.iter_mut().filter(|file| file.entry.name == VIRTIO_BUS) {
        bus.entry.drives.clone_from(&devices);
    }
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
    fn each_module_comes_with_what_it_is_for() {
        let folder = kernel();
        let release = folder.path().join("6.1.0-test");
        for (file, text) in [
            (
                "modules.dep",
                "ahci.ko: libata.ko\nlibata.ko:\nvirtio_pci.ko:\nvirtio_blk.ko:\nuas.ko:\nusbhid.ko: hid.ko\nhid.ko:\n\
                 crc.ko:\nfs.ko:\n",
            ),
            (
                "modules.alias",
                "alias pci:v*d*sv*sd*bc01sc06i01* ahci\nalias crc32c crc\nalias cpu:type:x86,ven* crc\n\
                 alias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci\nalias virtio:d00000002v* virtio_blk\n\
                 alias usb:v*p*d*dc*dsc*dp*ic08isc06ip62in* uas\nalias usb:v0BC2p2312d*dc*dsc*dp*ic*isc*ip*in* uas\n\
                 alias usb:v*p*d*dc*dsc*dp*ic03isc*ip*in* usbhid\n",
            ),
            ("modules.softdep", "softdep fs pre: crc32c\n"),
        ] {
            std::fs::write(release.join(file), text).unwrap();
        }
        for file in ["ahci", "libata", "virtio_pci", "virtio_blk", "uas", "usbhid", "hid", "crc", "fs"] {
            std::fs::write(release.join(format!("{file}.ko")), file).unwrap();
        }
        let files =
            collect(&release, &["ahci", "virtio_blk", "virtio_pci", "uas", "fs"], &["usbhid"]).unwrap();
        let entries: Vec<Module> = files.into_iter().map(|file| file.entry).collect();
        let list = "libata /lib/modules/libata.ko part\n\
             ahci /lib/modules/ahci.ko controller needs=libata drives=pci:v*d*sv*sd*bc01sc06i01*\n\
             virtio_blk /lib/modules/virtio_blk.ko driver drives=pci:v00001AF4d00001042* \
             drives=pci:v00001AF4d0000100*sv*sd00000002*\n\
             virtio_pci /lib/modules/virtio_pci.ko controller drives=pci:v00001AF4d00001042* \
             drives=pci:v00001AF4d0000100*sv*sd00000002*\n\
             uas /lib/modules/uas.ko driver drives=pci:v*d*sv*sd*bc0Csc03i*\n\
             crc /lib/modules/crc.ko part\n\
             fs /lib/modules/fs.ko part needs=crc\n\
             hid /lib/modules/hid.ko input\n\
             usbhid /lib/modules/usbhid.ko input needs=hid\n";
        assert_eq!(handoff::modules::encode(&entries), list);
    }

    #[test]
    fn contents_come_along_and_compressed_modules_are_refused() {
        let folder = kernel();
        let release = folder.path().join("6.1.0-test");
        let files = collect(&release, &["ext4"], &[]).unwrap();
        assert_eq!(files.last().unwrap().entry.file, "/lib/modules/ext4.ko");
        assert_eq!(files.last().unwrap().content, b"fs/ext4/ext4.ko");
        assert!(matches!(collect(&release, &["x"], &[]), Err(ModulesError::Compressed { .. })));
        assert!(matches!(collect(&release, &["scsi"], &[]), Err(ModulesError::File { .. })));
        assert!(matches!(collect(folder.path(), &["x"], &[]), Err(ModulesError::Index { .. })));
    }
}
