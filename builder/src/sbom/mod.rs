//! The software bill of materials of an image: the packages of its lock, our programs, and the crates in them, as SPDX
//! and as CycloneDX. Both documents are in the root; they depend neither on a node nor on the date.

mod crates;
mod cyclonedx;
pub mod provenance;
mod spdx;

use crate::base::imported::ImportedBase;
use crate::base::lock::{Lock, LockRequest};
use crate::base::locked_package::Part;
use crate::ids::{Owner, derived_uuid};
use crate::site::{Base, ImageSource, Site};

/// The SBOM of a system in both formats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sbom {
    /// The document in SPDX 2.3, in JSON.
    pub spdx: String,
    /// The document in CycloneDX 1.5, in JSON.
    pub cyclonedx: String,
}

/// A component of an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Component {
    kind: ComponentKind,
    name: String,
    version: String,
    /// The architecture of a package, if it has one.
    architecture: Option<String>,
    /// The digest of a package's file or a crate's archive.
    sha256: Option<String>,
}

/// The kind of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum ComponentKind {
    /// A program of this project.
    Own,
    /// A package of Debian, in the root, the kernel or the initramfs.
    Debian,
    /// A crate that our programs are linked with.
    Crate,
    /// The OCI image of an imported base.
    Image,
    /// The tar of an imported base.
    Tar,
}

impl Component {
    /// The package URL (purl specification).
    fn purl(&self) -> String {
        let version = escaped(&self.version);
        match self.kind {
            ComponentKind::Own => format!("pkg:generic/{}@{version}", escaped(&self.name)),
            ComponentKind::Debian => {
                let architecture = self.architecture.as_deref().unwrap_or("all");
                format!("pkg:deb/debian/{}@{version}?arch={architecture}", escaped(&self.name))
            }
            ComponentKind::Crate => format!("pkg:cargo/{}@{version}", escaped(&self.name)),
            ComponentKind::Image => {
                let architecture = self.architecture.as_deref().unwrap_or_default();
                let name = self.name.rsplit('/').next().unwrap_or(&self.name).to_lowercase();
                let name = escaped(&name);
                // A local folder cannot be found by other people.
                if self.name.starts_with(['.', '/']) {
                    return format!("pkg:oci/{name}@{version}?arch={architecture}");
                }
                format!("pkg:oci/{name}@{version}?arch={architecture}&repository_url={}", escaped(&self.name))
            }
            ComponentKind::Tar => {
                let name = self.name.rsplit('/').next().unwrap_or(&self.name);
                format!("pkg:generic/{}@{version}", escaped(name))
            }
        }
    }

    /// A name that is unique in the image.
    fn id(&self) -> String {
        let kind = match self.kind {
            ComponentKind::Own => "program",
            ComponentKind::Debian => "deb",
            ComponentKind::Crate => "crate",
            ComponentKind::Image => "image",
            ComponentKind::Tar => "tar",
        };
        let text = format!("{kind}-{}-{}", self.name, self.version);
        text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect()
    }
}

/// Percent-encoding of all but unreserved characters (RFC 3986, section 2.3).
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

impl Sbom {
    /// The SBOM of the system that `site` makes from `lock`.
    #[must_use]
    pub fn of(site: &Site, lock: &Lock) -> Self {
        let components = components(lock);
        let uuid = derived_uuid(&site.id, Owner::Release(&site.release), "bill-of-materials");
        // The release may keep its name while its packages change, and two documents must not have the same id.
        let content: String = components.iter().map(|component| component.purl() + "\n").collect();
        let id = uuid::Uuid::new_v5(&uuid, content.as_bytes());
        let subject = Subject { name: format!("{}-{}", site.id, site.release), id, time: site.build_time };
        Self {
            spdx: spdx::document(&subject, &components),
            cyclonedx: cyclonedx::document(&subject, &components),
        }
    }
}

/// The image that a document describes.
struct Subject {
    name: String,
    id: uuid::Uuid,
    time: u64,
}

fn components(lock: &Lock) -> Vec<Component> {
    let mut components = crates::linked();
    components.extend(lock.imported.as_ref().map(|imported| base(&lock.request, imported)));
    for part in [Part::Base, Part::Kernel, Part::Boot] {
        components.extend(lock.part(part).map(|package| Component {
            kind: ComponentKind::Debian,
            name: package.name.clone(),
            version: package.version.clone(),
            architecture: Some(package.architecture.clone()),
            sha256: Some(package.sha256.to_string()),
        }));
    }
    components.sort();
    // A package may be in both the root and the initramfs.
    components.dedup();
    components
}

/// The component for an imported base. Its contents are not listed.
fn base(request: &LockRequest, imported: &ImportedBase) -> Component {
    let (kind, name) = match &request.base {
        Base::Oci(ImageSource::Registry(image)) => {
            (ComponentKind::Image, format!("{}/{}", image.registry(), image.repository()))
        }
        Base::Oci(ImageSource::Layout { folder, .. }) => (ComponentKind::Image, folder.display().to_string()),
        Base::Tar(path) => (ComponentKind::Tar, path.display().to_string()),
        base @ (Base::Micro | Base::Debian) => (ComponentKind::Tar, base.to_string()),
    };
    let digest = imported.digest().to_string();
    let architecture = (kind == ComponentKind::Image).then(|| request.architecture.oci.to_owned());
    Component { kind, name, version: format!("sha256:{digest}"), architecture, sha256: Some(digest) }
}

#[cfg(test)]
mod tests;
