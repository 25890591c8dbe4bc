//! The uses of a disk: mounts, swap, and devices made of it, of its partitions, or of such devices.

use super::kernel::{Kernel, Node};
use super::mounts::Mounts;
use super::number::Number;
use handoff::shown::Shown;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// A way in which a device is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The running system's root is on it.
    Root,
    /// It is mounted on this folder.
    Mounted(PathBuf),
    /// The kernel swaps to it.
    Swap,
    /// The device of this name is made of it.
    Held(String),
}

/// A use of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// The kind of use.
    pub what: What,
    /// The kernel's names of the devices between the disk and the use, beginning with the disk's own partition; none if
    /// the disk itself is used.
    pub through: Vec<String>,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Root => f.write_str("the root of the running system")?,
            What::Mounted(place) => write!(f, "mounted at {}", Shown(place.display()))?,
            What::Swap => f.write_str("swap")?,
            What::Held(by) => write!(f, "{by} uses it")?,
        }
        if !self.through.is_empty() {
            write!(f, " ({})", self.through.join(", "))?;
        }
        Ok(())
    }
}

/// The mounts, swap and loop devices of the running system.
pub(super) struct System<'k> {
    kernel: &'k Kernel,
    mounts: Mounts,
    /// Loop devices, and the devices that their files are on.
    loops: Vec<(Node, BTreeSet<Number>)>,
}

/// What was found for one disk.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) uses: Vec<Use>,
    /// All devices that are stored on it: itself, its partitions, and those made of them.
    pub(super) carries: BTreeSet<Number>,
}

impl<'k> System<'k> {
    /// Reads the state of the running system.
    pub(super) fn read(kernel: &'k Kernel) -> io::Result<Self> {
        let mounts = Mounts::read(kernel)?;
        let mut loops = Vec::new();
        for node in kernel.nodes()? {
            if let Some(file) = node.text("loop/backing_file") {
                let file = file.strip_suffix(" (deleted)").unwrap_or(&file);
                let under = mounts.under(kernel, file.as_ref());
                loops.push((node, under));
            }
        }
        Ok(Self { kernel, mounts, loops })
    }

    /// The uses of a disk and its partitions; for a partition, the uses of it or of the whole disk around it.
    pub(super) fn uses_of(&self, node: &Node) -> io::Result<Found> {
        let mut found = Found::default();
        self.walk(node, &[], &mut found)?;
        for partition in node.partitions()? {
            self.walk(&partition, std::slice::from_ref(&partition.name), &mut found)?;
        }
        if node.is_partition() {
            let whole = node.whole()?;
            // The uses of the whole disk besides its partitions; its devices are not counted as stored on this
            // partition.
            let mut around = Found::default();
            self.walk(&whole, std::slice::from_ref(&whole.name), &mut around)?;
            found.uses.append(&mut around.uses);
        }
        Ok(found)
    }

    /// The devices that a file is stored on, or that it is.
    pub(super) fn under(&self, file: &std::path::Path) -> BTreeSet<Number> {
        self.mounts.under(self.kernel, file)
    }

    /// Adds the uses of a device and of all devices made of it; returns whether there are any.
    fn walk(&self, node: &Node, through: &[String], found: &mut Found) -> io::Result<bool> {
        if !found.carries.insert(node.number) {
            return Ok(false);
        }
        let direct = self.direct(node.number);
        let mut used = !direct.is_empty();
        found.uses.extend(direct.into_iter().map(|what| Use { what, through: through.to_owned() }));
        for above in self.above(node)? {
            let further: Vec<String> = through.iter().chain([&above.name]).cloned().collect();
            let mut ends = !self.walk(&above, &further, found)?;
            // A disk that is made of others may have its own partitions.
            for partition in above.partitions()? {
                let further: Vec<String> = further.iter().chain([&partition.name]).cloned().collect();
                ends &= !self.walk(&partition, &further, found)?;
            }
            if ends {
                found.uses.push(Use { what: What::Held(above.name), through: through.to_owned() });
            }
            used = true;
        }
        Ok(used)
    }

    /// The uses of only this device.
    fn direct(&self, number: Number) -> Vec<What> {
        let root = self.mounts.root().filter(|(_, devices)| devices.contains(&number));
        let root = root.map(|_| What::Root);
        let mounts = self.mounts.mounts.iter().filter(|(_, devices)| devices.contains(&number));
        let mut places: Vec<&PathBuf> = mounts.map(|(mount, _)| &mount.place).collect();
        places.dedup();
        let mounts = places.into_iter().map(|place| What::Mounted(place.clone()));
        let swap = self.mounts.swaps.iter().any(|devices| devices.contains(&number));
        root.into_iter().chain(mounts).chain(swap.then_some(What::Swap)).collect()
    }

    /// The devices that are made of this one.
    fn above(&self, node: &Node) -> io::Result<Vec<Node>> {
        let mut above = node.holders()?;
        let loops = self.loops.iter().filter(|(_, devices)| devices.contains(&node.number));
        above.extend(loops.map(|(node, _)| node.clone()));
        Ok(above)
    }
}
