//! A machine's disks: how each is attached, and what is between the machine and the image file.

use super::arguments::{Arguments, with_path};
use super::chain::Chain;
use super::trouble::Trouble;
use std::path::{Path, PathBuf};

/// Whether a machine can write to a disk, and what happens to the writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It can write; what it wrote is discarded when it ends.
    Snapshot,
    /// It can write, and what it wrote is kept.
    Write,
    /// It cannot write, as with a stick with a write-protect switch.
    ReadOnly,
}

/// The way in which a disk is attached to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// A stick in a USB 3 port.
    Usb,
    /// A stick behind a USB 1.1 hub.
    UsbHub,
    /// A paravirtual disk (virtio).
    Virtio,
    /// A stick that is not plugged in yet: [`super::Machine::plug`] plugs it in.
    Unplugged,
    /// A disk at the AHCI controller of the machine's board.
    Sata,
}

/// A disk of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The path of the image.
    pub path: PathBuf,
    /// Whether the machine can write to it.
    pub access: Access,
    /// The way in which it is attached.
    pub bus: Bus,
    /// An existing empty file that gets every write and flush in the log-writes format (QEMU's filter `blklogwrites`).
    /// Writes to such a disk are kept, and it reports a write cache to the machine.
    pub write_log: Option<PathBuf>,
}

impl Disk {
    /// A disk without a log of its writes.
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
            // The board has six ports, each a bus.
            Bus::Sata => &format!("ide-hd,bus=ide.{number}"),
        };
        // Boot index 0 is that of a kernel that is started without firmware.
        let place = if trouble.passed_over && number == 0 {
            String::new()
        } else {
            format!(",bootindex={}", number + 1)
        };
        arguments.pair("-device", format!("{device},drive=disk{number}{place}{cache}"));
    }

    /// The files behind the disk. An image that the builder cannot read (such a machine is never started) is treated as
    /// plain bytes.
    fn chain(&self) -> Chain {
        Chain::of(&self.path).unwrap_or_else(|_| Chain::Raw(self.path.clone()))
    }

    fn add_drive(&self, arguments: &mut Arguments, number: usize, trouble: &Trouble) {
        let access = match self.access {
            Access::Snapshot => "snapshot=on",
            Access::Write => "snapshot=off",
            Access::ReadOnly => "readonly=on",
        };
        let options = format!("if=none,id=disk{number},discard=unmap");
        let throttling = trouble.throttling();
        // Only whole images can have bad sectors.
        let option = if let Some(name) = self.chain().file_name() {
            with_path(&format!("{options},{access},{throttling}file="), name.as_ref(), "")
        } else {
            let file = trouble.file_option(number);
            with_path(&format!("{options},format=raw,{access},{throttling}{file}"), &self.path, "")
        };
        arguments.pair("-drive", option);
    }

    /// Adds only a medium: a drive of the other kind is removed with the first device that it was plugged in as.
    fn add_medium(&self, arguments: &mut Arguments, number: usize) {
        let read_only = if self.access == Access::ReadOnly { "on" } else { "off" };
        if let Some(mut node) = self.chain().node() {
            node["node-name"] = format!("disk{number}").into();
            node["discard"] = "unmap".into();
            node["read-only"] = (self.access == Access::ReadOnly).into();
            arguments.pair("-blockdev", node.to_string());
            return;
        }
        let options = format!(
            "driver=raw,node-name=disk{number},discard=unmap,read-only={read_only},file.driver=file,file.filename="
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
