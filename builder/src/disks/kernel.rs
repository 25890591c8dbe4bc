//! Facts about block devices from sysfs (Documentation/ABI/stable/sysfs-block), found by device number.

use super::number::Number;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Finds the number of the block device under a path.
type Lookup = Box<dyn Fn(&Path) -> Option<Number>>;

/// The folders and functions that the facts are read with.
pub(super) struct Kernel {
    pub(super) sys: PathBuf,
    pub(super) proc: PathBuf,
    pub(super) dev: PathBuf,
    /// The number of the block device under a path.
    pub(super) lookup: Lookup,
}

/// A block device in sysfs: a whole disk, a partition, or one made of others.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) number: Number,
    /// The kernel's name of the device.
    pub(super) name: String,
    pub(super) folder: PathBuf,
}

impl Kernel {
    /// The running kernel.
    pub(super) fn running() -> Self {
        Self {
            sys: "/sys".into(),
            proc: "/proc".into(),
            dev: "/dev".into(),
            lookup: Box::new(Number::of_device),
        }
    }

    /// The device with that number.
    pub(super) fn node(&self, number: Number) -> io::Result<Node> {
        let folder = fs::canonicalize(self.sys.join(format!("dev/block/{number}")))?;
        Node::at(&folder)
    }

    /// All block devices, by number.
    pub(super) fn nodes(&self) -> io::Result<Vec<Node>> {
        let folder = self.sys.join("dev/block");
        let mut nodes = Vec::new();
        for name in names(&folder)? {
            match Node::at(&folder.join(name)) {
                Ok(node) => nodes.push(node),
                // The device disappeared meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        nodes.sort_by_key(|node| node.number);
        Ok(nodes)
    }

    /// The file under which the device can be opened, by the kernel's name of it.
    pub(super) fn device_file(&self, node: &Node) -> Option<PathBuf> {
        let event = node.text("uevent")?;
        let name = event.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
        let path = self.dev.join(name);
        ((self.lookup)(&path) == Some(node.number)).then_some(path)
    }
}

impl Node {
    /// The device of this folder, which may be a link.
    fn at(folder: &Path) -> io::Result<Self> {
        let folder = fs::canonicalize(folder)?;
        let number = fs::read_to_string(folder.join("dev"))?;
        let number = number.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let name = folder.file_name().ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "the folder of a device has no name")
        })?;
        let name = name.to_string_lossy().into_owned();
        Ok(Self { number, name, folder })
    }

    /// The text of an attribute, without blanks around it; `None` if it is missing or empty.
    pub(super) fn text(&self, attribute: &str) -> Option<String> {
        text(&self.folder.join(attribute))
    }

    /// An attribute that must exist and be a number.
    pub(super) fn number_in(&self, attribute: &str) -> io::Result<u64> {
        let text = fs::read_to_string(self.folder.join(attribute))?;
        text.trim().parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Whether the device has that attribute or folder.
    pub(super) fn has(&self, attribute: &str) -> bool {
        self.folder.join(attribute).exists()
    }

    /// Whether the device is a partition.
    pub(super) fn is_partition(&self) -> bool {
        self.has("partition")
    }

    /// The disk that it is a partition of, or else the device itself.
    pub(super) fn whole(&self) -> io::Result<Self> {
        match self.folder.parent() {
            Some(parent) if self.is_partition() => Self::at(parent),
            _ => Ok(self.clone()),
        }
    }

    /// The partitions of the device, by number.
    pub(super) fn partitions(&self) -> io::Result<Vec<Self>> {
        let partitions = self.below("")?.into_iter().filter(Self::is_partition);
        let numbered = partitions.map(|partition| Ok((partition.number_in("partition")?, partition)));
        let mut numbered: Vec<(u64, Self)> = numbered.collect::<io::Result<_>>()?;
        numbered.sort_by_key(|(number, _)| *number);
        Ok(numbered.into_iter().map(|(_, partition)| partition).collect())
    }

    /// The devices that are made of this one.
    pub(super) fn holders(&self) -> io::Result<Vec<Self>> {
        self.below("holders")
    }

    /// The devices whose folders are in that folder, or linked from it.
    fn below(&self, folder: &str) -> io::Result<Vec<Self>> {
        let folder = self.folder.join(folder);
        let devices = names(&folder)?.into_iter().map(|name| folder.join(name));
        devices.filter(|device| device.join("dev").is_file()).map(|device| Self::at(&device)).collect()
    }
}

/// The names in a folder, sorted; none if the folder does not exist.
pub(super) fn names(folder: &Path) -> io::Result<Vec<String>> {
    #[expect(clippy::disallowed_methods, reason = "sorted right below")]
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// The text of a file, without blanks around it; `None` if the file is missing or empty.
pub(super) fn text(path: &Path) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty()).then(|| text.to_owned())
}
