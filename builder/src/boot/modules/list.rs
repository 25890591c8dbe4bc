//! The list of modules that is stored in the initramfs, and its files.
//!
//! The drivers of the disk are in the declared list, so that an initramfs is the same on whatever machine it is built.
//! The list also has device aliases: the loader leaves out modules for which its machine has no device.

use super::ModulesError;
use super::index::{Dependencies, ModuleIndex, ModuleName, bus};
use crate::input::read_limited;
use crate::limits;
use crate::site::SiteFolder;
use crate::width::to_u64;
use handoff::modules::{Module, ModuleKind};
use std::path::Path;

/// The modules that every initramfs has for the boot. The faster SHA-256 comes first: with it the kernel checks the
/// signatures of all others in a seventh of the time. Then come the controllers, the slowest to find its devices first:
/// while they search, the others are loaded. Drivers of virtio devices come before their bus, which then finds the
/// drivers loaded.
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

/// The modules for a keyboard in the rescue shell. The root has them, too.
pub const FOR_PEOPLE: [&str; 2] = ["usbhid", "hid_generic"];

/// The driver of PCI devices that are virtio devices. It drives all of them, even those for which the initramfs has no
/// driver.
const VIRTIO_BUS: &str = "virtio_pci";
/// The alias of any USB controller.
const USB_CONTROLLER: &str = "pci:v*d*sv*sd*bc0Csc03i*";

/// A module with its content, ready for the initramfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleFile {
    /// The module's name, and its path in the initramfs.
    pub entry: Module,
    /// The bytes of the `.ko` file.
    pub content: Vec<u8>,
}

impl ModuleIndex {
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
            Some("pci") => ModuleKind::Controller,
            Some(_) => ModuleKind::Driver,
            None => ModuleKind::Part,
        };
        let mut drives: Vec<String> = module.devices.iter().flat_map(|alias| pci_patterns(alias)).collect();
        // Hundreds of USB devices become one kind of controller.
        drives.dedup();
        Module { name: name.to_string(), file: format!("/lib/modules/{name}.ko"), kind, needs, drives }
    }
}

/// The PCI devices behind a device alias. A USB device is attached to a USB controller, which PCI identifies by its
/// class (PCI Code and ID Assignment, 1.13: 0C 03). A virtio device of version 1 has the PCI id 0x1040 plus its own id;
/// an older one has its own id as subsystem id, and a PCI id below 0x1010 (Virtio 1.2, section 4.1.2).
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

/// The modules in `wanted` and `for_people` and all that they need, with the contents of their files, in loading order;
/// `folder` is `lib/modules/RELEASE`.
pub fn collect(folder: &Path, wanted: &[&str], for_people: &[&str]) -> Result<Vec<ModuleFile>, ModulesError> {
    let opened = SiteFolder::open(folder);
    let opened = opened.map_err(|source| ModulesError::Index { path: folder.to_owned(), source })?;
    let (index, mut total) = (ModuleIndex::read(&opened)?, 0);
    let for_the_boot = index.closure(wanted)?.len();
    let all: Vec<&str> = wanted.iter().chain(for_people).copied().collect();
    let mut files = Vec::new();
    for (position, name) in index.closure(&all)?.into_iter().enumerate() {
        let Some(module) = index.files.get(&name) else { continue };
        let path = folder.join(&module.path);
        if path.extension().is_none_or(|extension| extension != "ko") {
            return Err(ModulesError::Compressed { path });
        }
        let content = opened.file(&module.path).and_then(|file| read_limited(file, &limits::MODULES));
        let content = content.map_err(|source| ModulesError::File { path, source })?;
        total += to_u64(content.len());
        limits::MODULES.check(total)?;
        let mut entry = index.entry(&name, module);
        if position >= for_the_boot {
            entry.kind = ModuleKind::Input;
            entry.drives.clear();
        }
        files.push(ModuleFile { entry, content });
    }
    of_the_virtio_bus(&mut files);
    Ok(files)
}

/// Marks the bus as needed by the devices of all drivers on it.
fn of_the_virtio_bus(files: &mut [ModuleFile]) {
    let vendor = |pattern: &&String| pattern.starts_with("pci:v00001AF4d");
    let drivers = files.iter().filter(|file| file.entry.kind == ModuleKind::Driver);
    let devices: Vec<String> =
        drivers.flat_map(|file| file.entry.drives.iter().filter(vendor).cloned()).collect();
    for bus in files.iter_mut().filter(|file| file.entry.name == VIRTIO_BUS) {
        bus.entry.drives.clone_from(&devices);
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::kernel;
    use super::*;

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
