//! Whether a disk may be written: pure functions of what is known of it and what the user agreed to.

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

/// Sectors that images are made for.
const SECTOR: u64 = 512;
/// What may be lost without a word.
const STICK: &str = "a stick of this site";
const SECRETS: &str = "an old secret partition";

/// What is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purpose {
    /// The image.
    image: PathBuf,
    /// The devices that it lies on.
    lies_on: BTreeSet<Number>,
    site: String,
    node: String,
    length: u64,
}

impl Purpose {
    /// A stick of this node out of this image, which needs that many bytes.
    pub fn new(image: &Path, site: &str, node: &str, length: u64) -> io::Result<Self> {
        let lies_on = devices_under(image)?;
        Ok(Self { image: image.to_owned(), lies_on, site: site.to_owned(), node: node.to_owned(), length })
    }

    /// The same, with the image on that device.
    #[cfg(test)]
    pub(super) fn lying_on(self, number: Number) -> Self {
        Self { lies_on: BTreeSet::from([number]), ..self }
    }
}

/// What the helper that opens disks is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// A partition, and not a whole disk.
    pub partition: bool,
    /// The disk once more, where it is neither removable nor on USB.
    pub fixed_disk: Option<PathBuf>,
}

impl Disk {
    /// Whether the disk may be written, as far as that can be known before it is opened.
    ///
    /// A disk that is in use, that carries the system or the image, is read-only, too small or no whole disk is never
    /// written, whatever the user agrees to.
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

    /// Whether the disk under `path` may be written, as far as that can be known before the image is read: reading it to its
    /// last byte takes its time. A file is no disk, and may.
    pub fn preflight_before_reading(path: &Path, image: &Path, consent: &Consent) -> Result<(), Refusal> {
        if path.is_file() {
            return Ok(());
        }
        // Why an image cannot be found is said by whoever reads it.
        let Ok(purpose) = Purpose::new(image, "", "", 0) else { return Ok(()) };
        Self::of(path)?.preflight(&purpose, consent)
    }

    /// The same without an image, for a list of disks.
    pub fn preflight_for_any(&self, consent: &Consent) -> Result<(), Refusal> {
        self.preflight_root()?;
        self.preflight_whole(consent, 0)
    }

    /// Whether a partition may be written. A disk without any may, too.
    pub fn preflight_partition(&self, consent: &Consent) -> Result<(), Refusal> {
        if !self.partitions.is_empty() {
            let partitions = self.partitions.iter().map(|partition| partition.name.clone()).collect();
            return Err(Refusal::WholeDisk { path: self.path.clone(), partitions });
        }
        self.preflight_root()?;
        self.judge_use()?;
        self.judge_fixed(consent)
    }

    /// Whether the helper that runs with more rights than the user may open it. Whoever may start the helper can pass it any
    /// arguments, so it judges again what can be known without the image.
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
        self.judge_use()?;
        self.judge_fixed(&consent)
    }

    /// What the helper has to be asked for this disk, which was judged before.
    pub(super) fn asked(&self) -> Asked {
        let fixed = !self.removable && self.bus != Bus::Usb;
        Asked { partition: self.partition_of.is_some(), fixed_disk: fixed.then(|| self.path.clone()) }
    }

    fn preflight_whole(&self, consent: &Consent, wanted: u64) -> Result<(), Refusal> {
        let path = || self.path.clone();
        self.judge_use()?;
        if self.sector != SECTOR {
            return Err(Refusal::Sectors { path: path(), sector: self.sector });
        }
        if self.size < wanted {
            return Err(Refusal::TooSmall { path: path(), size: self.size, wanted });
        }
        self.judge_fixed(consent)
    }

    fn preflight_root(&self) -> Result<(), Refusal> {
        if self.uses.iter().any(|found| found.what == What::Root) {
            return Err(Refusal::Root { path: self.path.clone(), uses: self.uses.clone() });
        }
        Ok(())
    }

    fn judge_use(&self) -> Result<(), Refusal> {
        if !self.uses.is_empty() {
            return Err(Refusal::InUse { path: self.path.clone(), uses: self.uses.clone() });
        }
        if self.read_only {
            return Err(Refusal::ReadOnly { path: self.path.clone() });
        }
        Ok(())
    }

    fn judge_fixed(&self, consent: &Consent) -> Result<(), Refusal> {
        if self.removable || self.bus == Bus::Usb || consent.fixed_disk {
            return Ok(());
        }
        Err(Refusal::Fixed { path: self.path.clone(), bus: self.bus })
    }
}

impl Content {
    /// Whether what is on the disk under `path` may be lost for a stick.
    pub fn preflight(&self, path: &Path, purpose: &Purpose, consent: &Consent) -> Result<(), Refusal> {
        match &self.kind {
            ContentKind::Blank => Ok(()),
            ContentKind::Stick { site, node } if *site == purpose.site => {
                if *node == purpose.node || consent.reassign.contains(node) {
                    return self.judge_data(path, consent);
                }
                let (there, wanted) = (node.clone(), purpose.node.clone());
                Err(Refusal::OtherNode { path: path.to_owned(), there, wanted })
            }
            ContentKind::Stick { .. } | ContentKind::OldSecrets | ContentKind::Other(_) => {
                self.judge_foreign(path, STICK, consent)
            }
        }
    }

    /// The same without an image, for a list of disks, where sticks of that site may be written again.
    pub fn preflight_for_any(&self, path: &Path, own_site: Option<&str>) -> Result<(), Refusal> {
        match &self.kind {
            ContentKind::Blank => Ok(()),
            ContentKind::Stick { site, .. } if Some(site.as_str()) == own_site => {
                self.judge_data(path, &Consent::default())
            }
            _ => self.judge_foreign(path, STICK, &Consent::default()),
        }
    }

    /// Whether what is on the partition under `path` may be lost for a secret partition.
    pub fn preflight_partition(&self, path: &Path, consent: &Consent) -> Result<(), Refusal> {
        match &self.kind {
            ContentKind::Blank | ContentKind::OldSecrets => Ok(()),
            ContentKind::Stick { .. } | ContentKind::Other(_) => self.judge_foreign(path, SECRETS, consent),
        }
    }

    /// Whether what a node has put into its data partition may be lost.
    fn judge_data(&self, path: &Path, consent: &Consent) -> Result<(), Refusal> {
        match &self.data {
            Some(name) if !consent.overwrite.contains(name) => {
                Err(Refusal::Data { path: path.to_owned(), name: name.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Whether anything else may be lost.
    fn judge_foreign(&self, path: &Path, wanted: &'static str, consent: &Consent) -> Result<(), Refusal> {
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
