//! The checks before a disk is written: pure functions of what is known of it and what the user allows.

use super::consent::Consent;
use super::content::{Content, ContentKind};
use super::hardware::Bus;
use super::number::Number;
use super::refusal::Refusal;
use super::uses::What;
use super::{Disk, devices_under};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// The sector size, in bytes, that images are made for.
const SECTOR: u64 = 512;
/// What may be overwritten without consent.
const STICK: &str = "a stick of this site";
const SECRETS: &str = "an old secret partition";

/// What will be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purpose {
    /// The path of the image.
    image: PathBuf,
    /// The devices that the image is stored on.
    lies_on: BTreeSet<Number>,
    site: String,
    node: String,
    length: u64,
}

impl Purpose {
    /// A stick of this node, from an image of `length` bytes.
    pub fn new(image: &Path, site: &str, node: &str, length: u64) -> io::Result<Self> {
        let lies_on = devices_under(image)?;
        Ok(Self { image: image.to_owned(), lies_on, site: site.to_owned(), node: node.to_owned(), length })
    }

    /// The same, with the image stored on that device.
    #[cfg(test)]
    pub(super) fn lying_on(self, number: Number) -> Self {
        Self { lies_on: BTreeSet::from([number]), ..self }
    }
}

/// The request to the helper that opens disks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Whether it is for a partition, and not for a whole disk.
    pub partition: bool,
    /// The path again, for a disk that is neither removable nor on USB.
    pub fixed_disk: Option<PathBuf>,
}

impl Disk {
    /// Checks whether the disk may be written, as far as that can be known before it is opened.
    ///
    /// These disks are never written, whatever the user allows: one that is in use, has the running system or the image
    /// on it, is read-only or too small, or is not a whole disk.
    pub fn preflight(&self, purpose: &Purpose, consent: &Consent) -> Result<(), Refusal> {
        let path = || self.path.clone();
        if let Some(disk) = &self.partition_of {
            return Err(Refusal::Partition { path: path(), disk: disk.clone() });
        }
        self.preflight_root()?;
        if !self.carries.is_disjoint(&purpose.lies_on) {
            return Err(Refusal::ImageDisk { path: path(), image: purpose.image.clone() });
        }
        self.preflight_whole(consent, purpose.length)
    }

    /// The check before the image is read, because reading all of it takes time. A file is not a disk, and is allowed.
    pub fn preflight_before_reading(path: &Path, image: &Path, consent: &Consent) -> Result<(), Refusal> {
        if path.is_file() {
            return Ok(());
        }
        // The code that reads the image reports why it cannot be found.
        let Ok(purpose) = Purpose::new(image, "", "", 0) else { return Ok(()) };
        Self::of(path)?.preflight(&purpose, consent)
    }

    /// The same without an image, for a list of disks.
    pub fn preflight_for_any(&self, consent: &Consent) -> Result<(), Refusal> {
        self.preflight_root()?;
        self.preflight_whole(consent, 0)
    }

    /// Checks whether a partition may be written. A disk without partitions is allowed, too.
    pub fn preflight_partition(&self, consent: &Consent) -> Result<(), Refusal> {
        if !self.partitions.is_empty() {
            let partitions = self.partitions.iter().map(|partition| partition.name.clone()).collect();
            return Err(Refusal::WholeDisk { path: self.path.clone(), partitions });
        }
        self.preflight_root()?;
        self.check_use()?;
        self.check_fixed(consent)
    }

    /// Checks whether the helper, which has more rights than the user, may open the disk. The user can start the helper
    /// with any arguments, so it repeats the checks that need no image.
    pub fn preflight_for_helper(&self, asked: &Asked) -> Result<(), Refusal> {
        let named_twice = asked.fixed_disk.as_deref() == Some(&*self.path);
        let consent = Consent { fixed_disk: named_twice, ..Consent::default() };
        if asked.partition {
            return self.preflight_partition(&consent);
        }
        if let Some(disk) = &self.partition_of {
            return Err(Refusal::Partition { path: self.path.clone(), disk: disk.clone() });
        }
        self.preflight_root()?;
        self.check_use()?;
        self.check_fixed(&consent)
    }

    /// The request to the helper for this disk, which passed the checks.
    pub(super) fn asked(&self) -> Asked {
        let fixed = !self.removable && self.bus != Bus::Usb;
        Asked { partition: self.partition_of.is_some(), fixed_disk: fixed.then(|| self.path.clone()) }
    }

    fn preflight_whole(&self, consent: &Consent, wanted: u64) -> Result<(), Refusal> {
        let path = || self.path.clone();
        self.check_use()?;
        if self.sector != SECTOR {
            return Err(Refusal::Sectors { path: path(), sector: self.sector });
        }
        if self.size < wanted {
            return Err(Refusal::TooSmall { path: path(), size: self.size, wanted });
        }
        self.check_fixed(consent)
    }

    fn preflight_root(&self) -> Result<(), Refusal> {
        if self.uses.iter().any(|found| found.what == What::Root) {
            return Err(Refusal::Root { path: self.path.clone(), uses: self.uses.clone() });
        }
        Ok(())
    }

    fn check_use(&self) -> Result<(), Refusal> {
        if !self.uses.is_empty() {
            return Err(Refusal::InUse { path: self.path.clone(), uses: self.uses.clone() });
        }
        if self.read_only {
            return Err(Refusal::ReadOnly { path: self.path.clone() });
        }
        Ok(())
    }

    fn check_fixed(&self, consent: &Consent) -> Result<(), Refusal> {
        if self.removable || self.bus == Bus::Usb || consent.fixed_disk {
            return Ok(());
        }
        Err(Refusal::Fixed { path: self.path.clone(), bus: self.bus })
    }
}

impl Content {
    /// Checks whether the content of the disk under `path` may be overwritten with a stick.
    pub fn preflight(&self, path: &Path, purpose: &Purpose, consent: &Consent) -> Result<(), Refusal> {
        match &self.kind {
            ContentKind::Blank => Ok(()),
            ContentKind::Stick { site, node } if *site == purpose.site => {
                if *node == purpose.node || consent.reassign.contains(node) {
                    return self.check_data(path, consent);
                }
                let (there, wanted) = (node.clone(), purpose.node.clone());
                Err(Refusal::OtherNode { path: path.to_owned(), there, wanted })
            }
            ContentKind::Stick { .. } | ContentKind::OldSecrets | ContentKind::Other(_) => {
                self.check_foreign(path, STICK, consent)
            }
        }
    }

    /// The same without an image, for a list of disks; sticks of `own_site` may be written again.
    pub fn preflight_for_any(&self, path: &Path, own_site: Option<&str>) -> Result<(), Refusal> {
        match &self.kind {
            ContentKind::Blank => Ok(()),
            ContentKind::Stick { site, .. } if Some(site.as_str()) == own_site => {
                self.check_data(path, &Consent::default())
            }
            _ => self.check_foreign(path, STICK, &Consent::default()),
        }
    }

    /// Checks whether the content of the partition under `path` may be overwritten with a secret partition.
    pub fn preflight_partition(&self, path: &Path, consent: &Consent) -> Result<(), Refusal> {
        match &self.kind {
            ContentKind::Blank | ContentKind::OldSecrets => Ok(()),
            ContentKind::Stick { .. } | ContentKind::Other(_) => self.check_foreign(path, SECRETS, consent),
        }
    }

    /// Checks whether the files that a node wrote to its data partition may be lost.
    fn check_data(&self, path: &Path, consent: &Consent) -> Result<(), Refusal> {
        match &self.data {
            Some(name) if !consent.overwrite.contains(name) => {
                Err(Refusal::Data { path: path.to_owned(), name: name.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Checks whether any other content may be lost.
    fn check_foreign(&self, path: &Path, wanted: &'static str, consent: &Consent) -> Result<(), Refusal> {
        let name = self.kind.name();
        if consent.overwrite.contains(&name) {
            return Ok(());
        }
        let path = path.to_owned();
        if consent.overwrite.is_empty() {
            return Err(Refusal::Foreign { path, name, all: self.names(), wanted });
        }
        Err(Refusal::HoldsOther { path, there: self.kind.clone(), named: consent.overwrite.clone() })
    }
}
