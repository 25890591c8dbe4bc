//! A package as a lock holds it.

use crate::site::{is_package_name, is_package_version};
use handoff::hash::Sha256Digest;
use serde::{Deserialize, Serialize};

/// The most bytes of a package, a tar or a layer: sizes are added up to tell how much will be fetched.
pub(super) const MOST_BYTES: u64 = 1 << 40;

/// The part of the image that a package is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The root file system.
    Base,
    /// The kernel and its modules.
    Kernel,
    /// Other files of a UKI: the boot stub, and the programs of the rescue shell.
    Boot,
}

impl Part {
    /// The name in lock files and lists.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Kernel => "kernel",
            Self::Boot => "boot",
        }
    }
}

/// The archive that a package comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Archive {
    /// `mirror` of the site.
    Main,
    /// `security-mirror` of the site.
    Security,
}

/// One package of a lock.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockedPackage {
    /// The part of the image that it is taken for.
    pub part: Part,
    /// The name of the package.
    pub name: String,
    /// The version, as Debian writes it.
    pub version: String,
    /// The architecture in Debian's words, or `all`.
    pub architecture: String,
    /// The digest of the `.deb` file.
    pub sha256: Sha256Digest,
    /// The size of the `.deb` file in bytes.
    pub size: u64,
    /// The archive that it comes from.
    pub archive: Archive,
    /// The file's path in the archive.
    pub file: String,
}

/// `[[package]]`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPackage {
    part: Part,
    name: String,
    version: String,
    architecture: String,
    sha256: String,
    size: u64,
    archive: Archive,
    file: String,
}

impl TryFrom<RawPackage> for LockedPackage {
    type Error = String;

    fn try_from(raw: RawPackage) -> Result<Self, String> {
        let sha256 = raw.sha256.parse().map_err(|problem| format!("package {}: {problem}", raw.name))?;
        let wrong =
            |what: &str, text: &str| format!("a package has {what} {text:?}, which is not valid in Debian");
        if !is_package_name(&raw.name) {
            return Err(wrong("the name", &raw.name));
        }
        if !is_package_version(&raw.version) {
            return Err(format!("package {}: {}", raw.name, wrong("the version", &raw.version)));
        }
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if raw.architecture.is_empty() || !raw.architecture.chars().all(plain) {
            return Err(format!("package {}: {}", raw.name, wrong("the architecture", &raw.architecture)));
        }
        if raw.size > MOST_BYTES {
            return Err(format!("package {}: its size cannot be {} bytes", raw.name, raw.size));
        }
        let inside = !raw.file.starts_with('/') && !raw.file.split('/').any(|part| part == "..");
        if !inside || !raw.file.chars().all(|c| c.is_ascii_graphic()) {
            return Err(format!("package {}: {:?} is not a path in an archive", raw.name, raw.file));
        }
        Ok(Self {
            part: raw.part,
            name: raw.name,
            version: raw.version,
            architecture: raw.architecture,
            sha256,
            size: raw.size,
            archive: raw.archive,
            file: raw.file,
        })
    }
}

impl From<&LockedPackage> for RawPackage {
    fn from(package: &LockedPackage) -> Self {
        Self {
            part: package.part,
            name: package.name.clone(),
            version: package.version.clone(),
            architecture: package.architecture.clone(),
            sha256: package.sha256.to_string(),
            size: package.size,
            archive: package.archive,
            file: package.file.clone(),
        }
    }
}
