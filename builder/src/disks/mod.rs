//! Disks of the workstation: what they are, what is on them, what uses them, whether one may be written, and opening
//! it.
//!
//! All facts come from the kernel, found by device number: links and other names of a device make no difference, and
//! nothing is guessed from a name. The checks before writing are pure functions.

pub mod blkid;
pub mod confirm;
pub mod consent;
pub mod content;
mod exclusive;
pub mod hardware;
mod kernel;
pub mod look_error;
mod mounts;
pub mod number;
pub mod open;
mod pieces;
pub mod preflight;
pub mod presence;
pub mod privileged;
pub mod refusal;
mod udev;
pub mod uses;

use hardware::{Bus, Hardware};
use kernel::{Kernel, Node};
use number::Number;
use refusal::Refusal;
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use uses::{System, Use};

/// A partition of a disk, as the kernel knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The kernel's name of the partition.
    pub name: String,
    /// Its device number.
    pub number: Number,
}

/// A block device, and what is known of it without opening it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The path that the user gave.
    pub path: PathBuf,
    /// The kernel's name of the device.
    pub name: String,
    /// Its device number.
    pub number: Number,
    /// The kernel's sequence number: it differs when another disk gets the same device number.
    pub sequence: Option<u64>,
    /// The size of the device in bytes.
    pub size: u64,
    /// The size of the whole disk in bytes: its own, or that of the disk that it is a partition of.
    pub whole_size: u64,
    /// The size of its logical sectors in bytes.
    pub sector: u64,
    /// Vendor and model.
    pub model: Option<String>,
    /// The serial number; none if the hardware has none.
    pub serial: Option<String>,
    /// The bus that the disk is attached to.
    pub bus: Bus,
    /// Whether the disk is removable, or a card.
    pub removable: bool,
    /// Whether the kernel allows no writes to it.
    pub read_only: bool,
    /// The kernel's name of the disk that this is a partition of; none for a whole disk.
    pub partition_of: Option<String>,
    /// The partitions of the disk.
    pub partitions: Vec<Partition>,
    /// What uses the disk, its partitions, or devices made of them.
    pub uses: Vec<Use>,
    /// All devices that are stored on it: itself, its partitions, and those made of them.
    carries: BTreeSet<Number>,
}

impl Disk {
    /// Reads the facts of a block device. It is neither opened nor written.
    pub fn of(path: &Path) -> Result<Self, Refusal> {
        let metadata = std::fs::metadata(path)
            .map_err(|source| Refusal::NoDisk { path: path.to_owned(), reason: source.to_string() })?;
        let Some(number) = Number::of_device(path) else {
            let what =
                if metadata.file_type().is_char_device() { "a character device" } else { "not a device" };
            return Err(Refusal::NoDisk { path: path.to_owned(), reason: format!("it is {what}") });
        };
        let kernel = Kernel::running();
        let look = |source| Refusal::Look { path: path.to_owned(), source };
        let system = System::read(&kernel).map_err(look)?;
        kernel.node(number).and_then(|node| disk(&kernel, &system, &node, path)).map_err(look)
    }

    /// All whole disks, without those that are made of others.
    pub fn list() -> Result<Vec<Self>, Refusal> {
        list(&Kernel::running()).map_err(|source| Refusal::Look { path: "/sys/dev/block".into(), source })
    }

    /// The sequence number of the disk that now has this device number; it differs after the disk was unplugged.
    fn sequence_now(&self) -> io::Result<Option<u64>> {
        sequence(&Kernel::running().node(self.number)?)
    }
}

/// The devices that a file is stored on, or that it is.
fn devices_under(file: &Path) -> io::Result<BTreeSet<Number>> {
    let kernel = Kernel::running();
    Ok(System::read(&kernel)?.under(&std::fs::canonicalize(file)?))
}

fn list(kernel: &Kernel) -> io::Result<Vec<Disk>> {
    let system = System::read(kernel)?;
    let mut disks = Vec::new();
    for node in kernel.nodes()? {
        if is_disk(&node) {
            let path = kernel.device_file(&node).unwrap_or_else(|| kernel.dev.join(&node.name));
            disks.push(disk(kernel, &system, &node, &path)?);
        }
    }
    Ok(disks)
}

/// The major number of disks in memory (Documentation/admin-guide/devices.txt).
const MEMORY: u64 = 1;

/// Whether this is a disk with a medium, and not a partition, memory, or made of other disks.
fn is_disk(node: &Node) -> bool {
    let made = ["partition", "dm", "md", "bcache", "disksize"].iter().any(|kind| node.has(kind));
    !made && node.number.major() != MEMORY && node.number_in("size").is_ok_and(|size| size > 0)
}

fn disk(kernel: &Kernel, system: &System<'_>, node: &Node, path: &Path) -> io::Result<Disk> {
    let whole = node.whole()?;
    let Hardware { model, serial, bus, removable } = Hardware::of(kernel, &whole);
    let found = system.uses_of(node)?;
    let named = |node: Node| Partition { name: node.name, number: node.number };
    Ok(Disk {
        path: path.to_owned(),
        name: node.name.clone(),
        number: node.number,
        sequence: sequence(node)?,
        size: size(node)?,
        whole_size: size(&whole)?,
        sector: whole.number_in("queue/logical_block_size")?,
        model,
        serial,
        bus,
        removable,
        read_only: node.number_in("ro")? != 0 || whole.number_in("ro")? != 0,
        partition_of: node.is_partition().then_some(whole.name),
        partitions: node.partitions()?.into_iter().map(named).collect(),
        uses: found.uses,
        carries: found.carries,
    })
}

/// The size in bytes. The kernel counts in units of 512 bytes, whatever the size of the disk's sectors.
fn size(node: &Node) -> io::Result<u64> {
    Ok(node.number_in("size")?.saturating_mul(512))
}

/// The sequence number of this disk among all that were ever attached; kernels before 5.15 do not have it.
fn sequence(node: &Node) -> io::Result<Option<u64>> {
    let whole = node.whole()?;
    whole.has("diskseq").then(|| whole.number_in("diskseq")).transpose()
}

#[cfg(test)]
mod content_tests;
#[cfg(test)]
mod tests;
