//! A disk as a piece of hardware: model, serial number, bus, and whether it is removable.

use super::kernel::{Kernel, Node, text};
use serde::Serialize;
use std::fmt;
use std::fs;
use std::path::Path;

/// The bus that a disk is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bus {
    /// A stick, or a disk in a USB case.
    Usb,
    /// An SD card, or soldered memory that uses the same protocol.
    Mmc,
    /// A SATA or old ATA disk.
    Sata,
    /// NVM Express.
    Nvme,
    /// A virtual machine's disk.
    Virtio,
    /// A file that acts as a disk.
    Loop,
    /// Anything else, such as a disk made of other disks.
    Other,
}

impl fmt::Display for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Usb => "USB",
            Self::Mmc => "MMC",
            Self::Sata => "SATA",
            Self::Nvme => "NVMe",
            Self::Virtio => "virtio",
            Self::Loop => "loop",
            Self::Other => "no bus that is known",
        })
    }
}

/// What is known of the hardware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hardware {
    pub(super) model: Option<String>,
    pub(super) serial: Option<String>,
    pub(super) bus: Bus,
    pub(super) removable: bool,
}

/// The kernel's number for loop devices (Documentation/admin-guide/devices.txt).
const LOOP_MAJOR: u64 = 7;

impl Hardware {
    /// Reads the facts of a whole disk.
    pub(super) fn of(kernel: &Kernel, disk: &Node) -> Self {
        let bus = bus(kernel, disk);
        // A memory card counts as removable, although its slot, which the kernel describes, is not.
        let card = bus == Bus::Mmc && disk.text("device/type").as_deref() == Some("SD");
        let removable = disk.text("removable").as_deref() == Some("1") || card;
        Self { model: model(disk), serial: serial(kernel, disk), bus, removable }
    }
}

/// The bus of the nearest device above the disk that has one of these buses.
fn bus(kernel: &Kernel, disk: &Node) -> Bus {
    if disk.number.major() == LOOP_MAJOR {
        return Bus::Loop;
    }
    above(kernel, disk).find_map(bus_of).unwrap_or(Bus::Other)
}

fn bus_of(folder: &Path) -> Option<Bus> {
    if folder.join("ata_port").is_dir() {
        return Some(Bus::Sata);
    }
    let subsystem = fs::read_link(folder.join("subsystem")).ok()?;
    match subsystem.file_name()?.to_str()? {
        "usb" => Some(Bus::Usb),
        "mmc" => Some(Bus::Mmc),
        "nvme" => Some(Bus::Nvme),
        "virtio" => Some(Bus::Virtio),
        _ => None,
    }
}

/// The folders of the devices that a disk is attached to, nearest first.
fn above<'d>(kernel: &Kernel, disk: &'d Node) -> impl Iterator<Item = &'d Path> {
    let top = fs::canonicalize(&kernel.sys).unwrap_or_else(|_| kernel.sys.clone());
    disk.folder.ancestors().skip(1).take_while(move |folder| *folder != top)
}

fn model(disk: &Node) -> Option<String> {
    // For virtio the vendor is a number, and for ATA disks always the same word.
    let vendor = disk.text("device/vendor").filter(|vendor| !vendor.starts_with("0x") && vendor != "ATA");
    let words: Vec<String> = vendor.into_iter().chain(disk.text("device/model")).collect();
    let words = (!words.is_empty()).then(|| words.join(" "));
    words.or_else(|| disk.text("device/name"))
}

/// The serial number of the USB device, which is printed on many; or else of the disk; or else page 0x80 of SCSI's
/// vital product data, after its first four bytes.
fn serial(kernel: &Kernel, disk: &Node) -> Option<String> {
    let usb = above(kernel, disk).find(|folder| folder.join("idVendor").is_file());
    let of_usb = usb.and_then(|folder| text(&folder.join("serial")));
    let own = || disk.text("serial").or_else(|| disk.text("device/serial"));
    of_usb.or_else(own).or_else(|| {
        let page = fs::read(disk.folder.join("device/vpd_pg80")).ok()?;
        let serial = String::from_utf8_lossy(page.get(4..)?).trim_matches([' ', '\0']).to_owned();
        (!serial.is_empty()).then_some(serial)
    })
}
