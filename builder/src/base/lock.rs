//! `site.lock`: every package that goes into an image, with version and SHA-256; and the base, where it is a tar or an
//! image.
//!
//! With it two builds have the same inputs, and a build needs no network once the packages are in the cache. The wish
//! that it answers stands in it too, so that a changed wish is noticed instead of silently ignored.

use super::BaseError;
use super::given::{Given, RawImage, RawTar};
use crate::atomic;
use crate::site::{Base, LOCK_FILE, Site};
use crate::store::Inputs;
use handoff::hash::Sha256Digest;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::Path;

const HEADER: &str =
    "# Every package of this site's images. Made by the builder: renew it with `psyops lock`.\n\n";
const FORMAT: u32 = 1;
/// Changes with the code that makes base systems of packages.
const RECIPE: &str = env!("PSYOPS_RECIPE_BASE");

/// What a site asks the archive for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Which system.
    pub base: Base,
    /// Debian's release name.
    pub suite: String,
    /// The kernel package.
    pub kernel: String,
    /// More packages.
    pub extra: Vec<String>,
    /// An SSH server for rescue.
    pub rescue_ssh: bool,
}

impl Wish {
    /// The wish of a site.
    #[must_use]
    pub fn of(site: &Site) -> Self {
        let packages = &site.packages;
        let mut extra = packages.extra.clone();
        extra.sort();
        extra.dedup();
        Self {
            base: site.base.clone(),
            suite: packages.suite.clone(),
            kernel: packages.kernel.clone(),
            extra,
            rescue_ssh: !site.rescue.ssh_keys.is_empty(),
        }
    }
}

/// What a package is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The root.
    Base,
    /// Kernel and modules.
    Kernel,
    /// What an UKI needs besides: the boot stub, and the programs of the rescue shell.
    Boot,
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

/// One package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockedPackage {
    /// What it is taken for.
    pub part: Part,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub architecture: String,
    /// The digest of its file.
    pub sha256: Sha256Digest,
    /// The size of its file, in bytes.
    pub size: u64,
    /// The archive.
    pub archive: Archive,
    /// Its file's path in the archive.
    pub file: String,
}

/// The packages of a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// What they are the answer to.
    pub wish: Wish,
    /// The base, where it is not made of packages.
    pub given: Option<Given>,
    /// Sorted by part and name.
    pub packages: Vec<LockedPackage>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLock {
    format: u32,
    base: String,
    suite: String,
    kernel: String,
    extra: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    rescue_ssh: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tar: Option<RawTar>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<RawImage>,
    #[serde(default)]
    package: Vec<RawPackage>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPackage {
    part: Part,
    name: String,
    version: String,
    architecture: String,
    sha256: String,
    size: u64,
    archive: Archive,
    file: String,
}

impl Lock {
    /// The packages that are taken for `part`.
    pub fn part(&self, part: Part) -> impl Iterator<Item = &LockedPackage> {
        self.packages.iter().filter(move |package| package.part == part)
    }

    /// The inputs of a step that is made of the packages of `part`.
    #[must_use]
    pub fn inputs(&self, step: &str, part: Part) -> Inputs {
        let mut inputs = Inputs::new(step, RECIPE);
        for package in self.part(part) {
            inputs
                .add(format!("package {}", package.name), format!("{} {}", package.version, package.sha256));
        }
        inputs
    }

    /// Reads the lock file of a site; `None` where it has none yet.
    pub fn read(site: &Site) -> Result<Option<Self>, BaseError> {
        let path = site.dir.join(LOCK_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(BaseError::ReadLock { path, source }),
        };
        let lock = Self::decode(&path, &text)?;
        lock.answers(&path, &Wish::of(site))?;
        Ok(Some(lock))
    }

    /// Writes the lock file of a site.
    pub fn write(&self, site: &Site) -> Result<(), BaseError> {
        let path = site.dir.join(LOCK_FILE);
        let text = self.encode().map_err(|problem| BaseError::BadLock { path: path.clone(), problem })?;
        Ok(atomic::write_file(&path, text.as_bytes())?)
    }

    fn encode(&self) -> Result<String, String> {
        let raw = RawLock {
            format: FORMAT,
            base: self.wish.base.to_string(),
            suite: self.wish.suite.clone(),
            kernel: self.wish.kernel.clone(),
            extra: self.wish.extra.clone(),
            rescue_ssh: self.wish.rescue_ssh,
            tar: RawTar::of(self.given.as_ref()),
            image: RawImage::of(self.given.as_ref()),
            package: self.packages.iter().map(RawPackage::from).collect(),
        };
        let text = toml::to_string(&raw).map_err(|error| error.to_string())?;
        Ok(format!("{HEADER}{text}"))
    }

    fn decode(path: &Path, text: &str) -> Result<Self, BaseError> {
        let bad = |problem: String| BaseError::BadLock { path: path.to_owned(), problem };
        let raw: RawLock = toml::from_str(text).map_err(|error| bad(error.to_string().trim().to_owned()))?;
        if raw.format != FORMAT {
            return Err(bad(format!("format {} is not known, only {FORMAT} is", raw.format)));
        }
        let base: Base = raw.base.parse().map_err(|_| bad(format!("unknown base {:?}", raw.base)))?;
        let given = Given::decode(raw.tar, raw.image).map_err(bad)?;
        let fits = match given {
            None => base.is_of_packages(),
            Some(Given::Tar { .. }) => matches!(base, Base::Tar(_)),
            Some(Given::Image { .. }) => matches!(base, Base::Oci(_)),
        };
        if !fits {
            return Err(bad(format!("it does not say what the base {base} is")));
        }
        let (extra, rescue_ssh) = (raw.extra, raw.rescue_ssh);
        let wish = Wish { base, suite: raw.suite, kernel: raw.kernel, extra, rescue_ssh };
        let mut packages = Vec::new();
        for raw in raw.package {
            let sha256 = raw.sha256.parse();
            let sha256 = sha256.map_err(|problem| bad(format!("package {}: {problem}", raw.name)))?;
            let inside = !raw.file.starts_with('/') && !raw.file.split('/').any(|part| part == "..");
            if !inside || raw.file.contains(char::is_whitespace) {
                return Err(bad(format!("package {}: {:?} is no path in an archive", raw.name, raw.file)));
            }
            packages.push(LockedPackage {
                part: raw.part,
                name: raw.name,
                version: raw.version,
                architecture: raw.architecture,
                sha256,
                size: raw.size,
                archive: raw.archive,
                file: raw.file,
            });
        }
        packages.sort();
        Ok(Self { wish, given, packages })
    }

    /// Whether this is the answer to `wish`.
    fn answers(&self, path: &Path, wish: &Wish) -> Result<(), BaseError> {
        let list = |names: &[String]| format!("[{}]", names.join(", "));
        let settings = [
            ("base", self.wish.base.to_string(), wish.base.to_string()),
            ("suite", self.wish.suite.clone(), wish.suite.clone()),
            ("kernel", self.wish.kernel.clone(), wish.kernel.clone()),
            ("extra", list(&self.wish.extra), list(&wish.extra)),
            ("rescue over SSH", self.wish.rescue_ssh.to_string(), wish.rescue_ssh.to_string()),
        ];
        match settings.into_iter().find(|(_, locked, wanted)| locked != wanted) {
            None => Ok(()),
            Some((key, locked, wanted)) => {
                Err(BaseError::OutdatedLock { path: path.to_owned(), key, locked, wanted })
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::given::LockedLayer;

    fn lock() -> Lock {
        let wish = Wish {
            base: Base::Micro,
            suite: "bookworm".into(),
            kernel: "linux-image-amd64".into(),
            extra: vec!["tree".into()],
            rescue_ssh: true,
        };
        let package = |part, name: &str| LockedPackage {
            part,
            name: name.into(),
            version: "1:1.0-1+b1".into(),
            architecture: "amd64".into(),
            sha256: Sha256Digest::of(name.as_bytes()),
            size: 17,
            archive: Archive::Main,
            file: format!("pool/main/{name}_1.0-1%2bb1_amd64.deb"),
        };
        Lock {
            wish,
            given: None,
            packages: vec![package(Part::Base, "tree"), package(Part::Boot, "systemd-boot-efi")],
        }
    }

    fn problem(text: &str) -> String {
        match Lock::decode(Path::new("site.lock"), text).unwrap_err() {
            BaseError::BadLock { problem, .. } => problem,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let text = lock().encode().unwrap();
        assert_eq!(Lock::decode(Path::new("x"), &text).unwrap(), lock(), "{text}");
    }

    #[test]
    fn each_mistake_has_its_message() {
        let text = lock().encode().unwrap();
        assert!(problem(&text.replace("format = 1", "format = 2")).starts_with("format 2 is not known"));
        assert_eq!(problem(&text.replace("\"micro\"", "\"nano\"")), "unknown base \"nano\"");
        assert!(problem(&text.replace("sha256 = \"", "sha256 = \"x")).contains("not a SHA-256 digest"));
        assert!(problem(&text.replace("pool/main", "../pool")).contains("no path in an archive"));
        assert!(problem(&text.replace("size = 17", "colour = 17")).contains("unknown field"));
    }

    #[test]
    fn a_base_that_was_given_is_written_and_read() {
        let digest = |text: &str| Sha256Digest::of(text.as_bytes());
        let layers = ["one", "two"].map(|text| LockedLayer { sha256: digest(text), size: 5 }).to_vec();
        for (base, given) in [
            ("tar:root.tar", Given::Tar { sha256: digest("tar"), size: 9 }),
            ("oci:./images:stable", Given::Image { manifest: digest("manifest"), layers }),
        ] {
            let wish = Wish { base: base.parse().unwrap(), ..lock().wish };
            let lock = Lock { wish, given: Some(given), ..lock() };
            let text = lock.encode().unwrap();
            assert_eq!(Lock::decode(Path::new("x"), &text).unwrap(), lock, "{text}");
            assert!(problem(&text.replace("sha256 = \"", "sha256 = \"x")).contains("not a SHA-256 digest"));
            for other in ["micro", "tar:x", "oci:./x"] {
                let text = text.replace(&format!("{base:?}"), &format!("{other:?}"));
                let read = Lock::decode(Path::new("x"), &text);
                assert_eq!(read.is_ok(), other.get(..4) == base.get(..4), "{text}");
            }
            let none = Lock { given: None, ..lock.clone() };
            assert_ne!(none.digest(), lock.digest());
        }
    }

    #[test]
    fn another_wish_is_noticed() {
        let other = Wish { base: Base::Debian, ..lock().wish };
        let error = lock().answers(Path::new("site.lock"), &other).unwrap_err();
        assert_eq!(error.to_string(), "site.lock was made for base = micro, but the site says debian");
        assert!(matches!(error, BaseError::OutdatedLock { key: "base", .. }));
        lock().answers(Path::new("site.lock"), &lock().wish).unwrap();
    }

    #[test]
    fn the_key_follows_the_packages_of_its_part() {
        let (one, mut other) = (lock(), lock());
        other.packages[0].sha256 = Sha256Digest::of(b"changed");
        let key = |lock: &Lock, step, part| lock.inputs(step, part).key();
        assert_ne!(key(&one, "x", Part::Base), key(&other, "x", Part::Base));
        assert_eq!(key(&one, "x", Part::Boot), key(&other, "x", Part::Boot));
        assert_ne!(key(&one, "x", Part::Boot), key(&one, "y", Part::Boot));
    }
}
