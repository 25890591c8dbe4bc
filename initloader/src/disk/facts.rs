//! What is known of each disk: its data in `/sys/block`, and its partition table.

use crate::sysfs;
use handoff::gpt::{self, CopyFault, DuplicateRole, Geometry, GptPartitionEntry, Table};
use handoff::guid::Guid;
use handoff::partition::Role;
use handoff::shown::Shown;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// A node does not boot from disks with these name prefixes.
const VIRTUAL: [&str; 7] = ["dm-", "loop", "md", "nbd", "ram", "sr", "zram"];

/// A partition that the kernel has a device for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlockDevice {
    /// The partition's name in `/sys` and `/dev`, such as `sda3`.
    pub(crate) name: String,
    /// `major:minor`, as the device mapper takes it.
    pub(crate) numbers: String,
}

impl BlockDevice {
    /// The path of the device file.
    pub(crate) fn path(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }
}

impl fmt::Display for BlockDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/dev/{}", self.name)
    }
}

/// One partition of the table that has a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    /// The partition's number, from 1, as the kernel counts.
    pub(crate) number: u64,
    /// The role of the partition.
    pub(crate) role: Role,
    /// The partition's unique GUID.
    pub(crate) guid: Guid,
}

impl Partition {
    fn of(entry: &GptPartitionEntry) -> Option<Self> {
        let guid = entry.unique_partition_guid;
        Some(Self { number: entry.number.into(), role: entry.role()?, guid })
    }
}

/// A partition with a role, and its device once the kernel has made one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownPartition {
    /// The partition's entry in the table.
    pub(crate) entry: Partition,
    /// The kernel's device, once it exists.
    pub(crate) device: Option<BlockDevice>,
}

/// A disk of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Disk {
    /// The disk's name in `/sys` and `/dev`, such as `sda`.
    pub(crate) name: String,
    /// For messages: path, vendor and model, serial number, size.
    pub(crate) description: String,
    /// Its partitions that have a role; none if there is no table.
    pub(crate) partitions: Vec<KnownPartition>,
    /// Roles that more than one partition has.
    pub(crate) duplicate_roles: Vec<DuplicateRole>,
    /// What is wrong with one copy of the table, if the other is used.
    pub(crate) table_fault: Option<CopyFault>,
    /// Why the table cannot be used.
    pub(crate) problem: Option<String>,
}

impl Disk {
    /// The partitions with this role; a usable disk has exactly one.
    pub(crate) fn with_role(&self, role: Role) -> impl Iterator<Item = &KnownPartition> {
        self.partitions.iter().filter(move |partition| partition.entry.role == role)
    }

    /// The device of the only partition with this role.
    pub(crate) fn device(&self, role: Role) -> Option<&BlockDevice> {
        let mut found = self.with_role(role);
        let first = found.next()?;
        if found.next().is_some() { None } else { first.device.as_ref() }
    }
}

/// All disks that the kernel has now, in the order of their names.
pub(crate) fn all() -> Vec<Disk> {
    let names = sysfs::names("/sys/block");
    let real = names.iter().filter(|name| !VIRTUAL.iter().any(|prefix| name.starts_with(prefix)));
    real.filter_map(|name| one(name)).collect()
}

fn one(name: &str) -> Option<Disk> {
    let folder = Path::new("/sys/block").join(name);
    // In units of 512 bytes, whatever the disk's own sectors are. A card reader without a card has none.
    let size = sysfs::number(folder.join("size")).filter(|&size| size > 0)?.saturating_mul(512);
    let sector = sysfs::number(folder.join("queue/logical_block_size")).filter(|&n| n > 0).unwrap_or(512);
    let mut disk = Disk {
        name: name.to_owned(),
        description: describe(name, &folder, size),
        partitions: Vec::new(),
        duplicate_roles: Vec::new(),
        table_fault: None,
        problem: None,
    };
    match read_table(&Path::new("/dev").join(name), sector, size) {
        Ok((table, fault)) => {
            disk.duplicate_roles = table.duplicate_roles();
            disk.table_fault = fault;
            let partitions = table.partitions().iter().filter_map(Partition::of);
            let known = |entry: Partition| KnownPartition { device: device(&folder, entry.number), entry };
            disk.partitions = partitions.map(known).collect();
        }
        Err(problem) => disk.problem = Some(problem),
    }
    Some(disk)
}

/// The table itself is read and not the kernel's view of it: only the table has the partitions' GUIDs.
fn read_table(path: &Path, sector: u64, size: u64) -> Result<(Table, Option<CopyFault>), String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let geometry = Geometry::new(sector, size).map_err(|problem| problem.to_string())?;
    let found = gpt::read::first(geometry, |offset, length| {
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, offset).map(|()| bytes)
    });
    let found = found.map_err(|none| none.to_string())?;
    match found.table.cut(geometry) {
        Some(problem) => Err(problem.to_string()),
        None => Ok((found.table, found.fault)),
    }
}

/// The kernel's device for partition `number`.
fn device(disk: &Path, number: u64) -> Option<BlockDevice> {
    let names = sysfs::names(disk);
    let name =
        names.into_iter().find(|name| sysfs::number(disk.join(name).join("partition")) == Some(number))?;
    let numbers = sysfs::attribute(disk.join(&name).join("dev"))?;
    Some(BlockDevice { name, numbers })
}

fn describe(name: &str, folder: &Path, size: u64) -> String {
    let mut words = vec![format!("/dev/{name}")];
    let device = folder.join("device");
    words.extend(["vendor", "model"].iter().filter_map(|attribute| sysfs::attribute(device.join(attribute))));
    if let Some(serial) = serial(folder) {
        words.push(format!("serial {serial}"));
    }
    words.push(format!("{} MiB", size / (1024 * 1024)));
    words.retain(|word| !word.is_empty());
    // Vendor, model and serial number come from the device.
    Shown(words.join(" ")).to_string()
}

/// The serial number: the disk's own (virtio, `NVMe`), or that of the USB device that it is part of.
fn serial(folder: &Path) -> Option<String> {
    let own = [folder.join("serial"), folder.join("device/serial")];
    let own = own.iter().find_map(sysfs::attribute);
    own.or_else(|| {
        let place = folder.canonicalize().ok()?;
        let usb = place.ancestors().find(|parent| parent.join("idVendor").exists())?;
        sysfs::attribute(usb.join("serial"))
    })
    .filter(|serial| !serial.is_empty())
}
