//! A machine's disks: how each is attached, and what lies between the machine and the image file.

use super::arguments::{Arguments, with_path};
use super::trouble::Trouble;
use crate::image::storage::is_layered;
use std::path::{Path, PathBuf};

/// Whether a machine can write to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It can; what it wrote is forgotten when it ends.
    Snapshot,
    /// It can, and it stays.
    Write,
    /// It cannot, as with a stick whose switch is set.
    ReadOnly,
}

/// How a disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// A stick in a USB 3 port.
    Usb,
    /// The same behind a hub of USB 1.1.
    UsbHub,
    /// A paravirtual disk.
    Virtio,
    /// A stick that somebody has in his hand: [`super::Machine::plug`] plugs it in.
    Unplugged,
    /// A disk at the board's AHCI controller.
    Sata,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The image.
    pub path: PathBuf,
    /// Whether it can be written.
    pub access: Access,
    /// How it is attached.
    pub bus: Bus,
    /// A file, there and empty, that gets every write and flush in the log-writes format (QEMU's filter `blklogwrites`).
    /// Such a disk is written for good, and tells the machine that it has a write cache.
    pub write_log: Option<PathBuf>,
}

impl Disk {
    /// A disk of which no log is kept.
    #[must_use]
    pub fn new(path: &Path, access: Access, bus: Bus) -> Self {
        Self { path: path.to_owned(), access, bus, write_log: None }
    }

    pub(super) fn add(&self, arguments: &mut Arguments, number: usize, trouble: &Trouble) {
        let mut cache = "";
        match (&self.write_log, self.bus) {
            (Some(log), _) => {
                self.add_logged(arguments, number, log);
                cache = ",write-cache=on";
            }
            (None, Bus::Unplugged) => self.add_medium(arguments, number),
            (None, _) => self.add_drive(arguments, number, trouble),
        }
        let device = match self.bus {
            Bus::Usb => "usb-storage,bus=usb.0",
            Bus::UsbHub => "usb-storage,bus=usb.0,port=1.1",
            Bus::Virtio => "virtio-blk-pci",
            Bus::Unplugged => return,
            // The board has six ports, each a bus of its own.
            Bus::Sata => &format!("ide-hd,bus=ide.{number}"),
        };
        // Place 0 belongs to a kernel that is started without firmware.
        let place = if trouble.passed_over && number == 0 {
            String::new()
        } else {
            format!(",bootindex={}", number + 1)
        };
        arguments.pair("-device", format!("{device},drive=disk{number}{place}{cache}"));
    }

    /// What QEMU calls the form of the image.
    fn format(&self) -> &'static str {
        if is_layered(&self.path) { "qcow2" } else { "raw" }
    }

    fn add_drive(&self, arguments: &mut Arguments, number: usize, trouble: &Trouble) {
        let access = match self.access {
            Access::Snapshot => "snapshot=on",
            Access::Write => "snapshot=off",
            Access::ReadOnly => "readonly=on",
        };
        let (throttling, file) = (trouble.throttling(), trouble.file_option(number));
        let options = format!(
            "if=none,id=disk{number},format={},discard=unmap,{access},{throttling}{file}",
            self.format()
        );
        arguments.pair("-drive", with_path(&options, &self.path, ""));
    }

    /// Only a medium: a drive of the other kind goes away with the first device that it was plugged in as.
    fn add_medium(&self, arguments: &mut Arguments, number: usize) {
        let read_only = if self.access == Access::ReadOnly { "on" } else { "off" };
        let options = format!(
            "driver={},node-name=disk{number},discard=unmap,read-only={read_only},file.driver=file,file.filename=",
            self.format()
        );
        arguments.pair("-blockdev", with_path(&options, &self.path, ""));
    }

    fn add_logged(&self, arguments: &mut Arguments, number: usize, log: &Path) {
        for (node, file) in [("image", self.path.as_path()), ("log", log)] {
            let options = format!("driver=file,node-name={node}{number},filename=");
            arguments.pair("-blockdev", with_path(&options, file, ""));
        }
        let filter = format!("driver=blklogwrites,node-name=disk{number},file=image{number},log=log{number}");
        arguments.pair("-blockdev", filter);
    }
}
