//! `site.lock`: every package that goes into an image, with version and SHA-256; and the base, where it is a tar or an
//! image.
//!
//! With it two builds have the same inputs, and a build needs no network once the packages are in the cache. The lock
//! also has the request that it was made for, so that a changed request is noticed instead of silently ignored.
//!
//! Most nodes have the packages of the site. Other sets of packages follow as differences ([`Variant`]): a reviewer
//! sees what is special about those nodes, and the lock of a site with one system has no such part.

use super::BaseError;
use super::imported::{ImportedBase, RawImage, RawTar};
use super::index_digests::IndexDigests;
use super::locked_package::{LockedPackage, Part, RawPackage};
use super::variant::{RawVariant, Variant};
use crate::site::{Base, LOCK_FILE, PackageSet, Site};
use crate::store::{Inputs, StepName};
use handoff::architecture::{Architecture, UnknownArchitecture};
use handoff::shown::Shown;
use serde::{Deserialize, Serialize};
use std::path::Path;

const HEADER: &str =
    "# Every package of this site's images. Made by the builder: renew it with `psyops lock update`.\n\n";
const FORMAT: u32 = 1;
/// The most indexes of archives that a lock may name.
const MOST_INDEXES: usize = 8;
/// The version of the code that makes base systems of packages: it changes with that code.
const RECIPE: &str = env!("PSYOPS_RECIPE_BASE");

/// What a site requests from the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockRequest {
    /// The architecture of the nodes.
    pub architecture: &'static Architecture,
    /// The base of the nodes: micro, debian, or imported.
    pub base: Base,
    /// Debian's release name.
    pub suite: String,
    /// The name of the kernel package.
    pub kernel: String,
    /// Additional packages, with pinned versions as the user typed them.
    pub extra: Vec<String>,
    /// Whether rescue has an SSH server.
    pub rescue_ssh: bool,
}

impl LockRequest {
    /// The request of this site.
    #[must_use]
    pub fn of(site: &Site) -> Self {
        let packages = &site.packages;
        Self {
            architecture: site.architecture,
            base: site.base.clone(),
            suite: packages.suite.clone(),
            kernel: packages.kernel.clone(),
            extra: packages.extra.words(),
            rescue_ssh: !site.rescue.ssh_keys.is_empty(),
        }
    }
}

/// The packages of a site, or of one of its systems ([`Lock::of`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// The request that they were resolved for.
    pub request: LockRequest,
    /// The imported base, if the base is not made of packages.
    pub imported: Option<ImportedBase>,
    /// The packages, sorted by part and name.
    pub packages: Vec<LockedPackage>,
    /// The differences of other sets of packages, sorted; empty in the lock of one system.
    pub variants: Vec<Variant>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLock {
    format: u32,
    /// Left out for the first architecture, as in locks from before there was a choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    architecture: Option<String>,
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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    index: Vec<RawIndex>,
    #[serde(default)]
    package: Vec<RawPackage>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    variant: Vec<RawVariant>,
}

/// `[[index]]`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawIndex {
    in_release: String,
    packages: String,
}

impl RawLock {
    /// All texts that messages quote.
    fn words(&self) -> impl Iterator<Item = &String> {
        let of_variants = self.variant.iter().flat_map(RawVariant::words);
        [&self.base, &self.suite, &self.kernel].into_iter().chain(&self.extra).chain(of_variants)
    }
}

/// The parser's message about the text as one line. The parser's own message has several lines and quotes the text.
fn toml_problem(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    format!("line {}: {}", before.matches('\n').count() + 1, Shown(error.message()))
}

impl Lock {
    /// The packages that are taken for `part`.
    pub fn part(&self, part: Part) -> impl Iterator<Item = &LockedPackage> {
        self.packages.iter().filter(move |package| package.part == part)
    }

    /// Every package in the lock, for all nodes.
    pub fn all(&self) -> impl Iterator<Item = &LockedPackage> {
        self.packages.iter().chain(self.variants.iter().flat_map(|variant| &variant.packages))
    }

    /// The lock of the system with this set of packages, as if the site had no other system.
    pub fn of(&self, site: &Site, set: &PackageSet) -> Result<Self, BaseError> {
        let wanted = set.beyond(&site.packages.extra);
        let packages = if wanted.is_empty() {
            self.packages.clone()
        } else {
            let variant = self.variants.iter().find(|variant| variant.wanted == wanted);
            variant.ok_or_else(|| not_locked(site, set, &wanted))?.applied_to(&self.packages)
        };
        let request = LockRequest { extra: set.words(), ..self.request.clone() };
        Ok(Self { request, imported: self.imported.clone(), packages, variants: Vec::new() })
    }

    /// The inputs of a step that uses the packages of `part`.
    #[must_use]
    pub fn inputs(&self, step: StepName, part: Part) -> Inputs {
        let mut inputs = Inputs::new(step, RECIPE);
        for package in self.part(part) {
            inputs
                .add(format!("package {}", package.name), format!("{} {}", package.version, package.sha256));
        }
        inputs
    }

    /// The text of a lock file that names these indexes.
    pub(super) fn encode(&self, indexes: &[IndexDigests]) -> Result<String, String> {
        let index = |digests: &IndexDigests| RawIndex {
            in_release: digests.in_release.to_string(),
            packages: digests.packages.to_string(),
        };
        let raw = RawLock {
            format: FORMAT,
            architecture: (self.request.architecture != Architecture::DEFAULT)
                .then(|| self.request.architecture.name.to_owned()),
            base: self.request.base.to_string(),
            suite: self.request.suite.clone(),
            kernel: self.request.kernel.clone(),
            extra: self.request.extra.clone(),
            rescue_ssh: self.request.rescue_ssh,
            tar: RawTar::of(self.imported.as_ref()),
            image: RawImage::of(self.imported.as_ref()),
            index: indexes.iter().map(index).collect(),
            package: self.packages.iter().map(RawPackage::from).collect(),
            variant: self.variants.iter().map(RawVariant::from).collect(),
        };
        let text = toml::to_string(&raw).map_err(|error| error.to_string())?;
        Ok(format!("{HEADER}{text}"))
    }

    /// Reads the text of a lock file: the lock, and the indexes that it names.
    pub(super) fn decode(path: &Path, text: &str) -> Result<(Self, Vec<IndexDigests>), BaseError> {
        let bad = |problem: String| BaseError::BadLock { path: path.to_owned(), problem };
        let raw: RawLock = toml::from_str(text).map_err(|error| bad(toml_problem(text, &error)))?;
        if raw.format != FORMAT {
            return Err(bad(format!("format {} is not supported, only {FORMAT} is", raw.format)));
        }
        if let Some(word) = raw.words().find(|word| word.chars().any(char::is_control)) {
            return Err(bad(format!("{word:?} has a control character")));
        }
        let architecture = match &raw.architecture {
            None => Architecture::DEFAULT,
            Some(name) => name.parse().map_err(|problem: UnknownArchitecture| bad(problem.to_string()))?,
        };
        let base: Base = raw.base.parse().map_err(|_| bad(format!("unknown base {:?}", raw.base)))?;
        let imported = ImportedBase::decode(raw.tar, raw.image).map_err(bad)?;
        let fits = match imported {
            None => base.is_of_packages(),
            Some(ImportedBase::Tar { .. }) => matches!(base, Base::Tar(_)),
            Some(ImportedBase::Image { .. }) => matches!(base, Base::Oci(_)),
        };
        if !fits {
            return Err(bad(format!("it has no tar or image for the base {base}")));
        }
        let indexes = indexes(&raw.index).map_err(bad)?;
        let (extra, rescue_ssh) = (raw.extra, raw.rescue_ssh);
        let request =
            LockRequest { architecture, base, suite: raw.suite, kernel: raw.kernel, extra, rescue_ssh };
        let packages: Result<Vec<LockedPackage>, String> =
            raw.package.into_iter().map(LockedPackage::try_from).collect();
        let mut packages = packages.map_err(bad)?;
        packages.sort();
        let variants: Result<Vec<Variant>, String> =
            raw.variant.into_iter().map(|raw| raw.resolve(&packages)).collect();
        let mut variants = variants.map_err(bad)?;
        variants.sort();
        let mut pairs = variants.iter().zip(variants.iter().skip(1));
        if let Some((twice, _)) = pairs.find(|(one, next)| one.wanted == next.wanted) {
            return Err(bad(format!("variant [{}] is listed twice", twice.wanted.join(", "))));
        }
        Ok((Self { request, imported, packages, variants }, indexes))
    }

    /// Whether this lock was made for `request`.
    pub(super) fn answers(&self, path: &Path, request: &LockRequest) -> Result<(), BaseError> {
        let list = |names: &[String]| format!("[{}]", names.join(", "));
        let settings = [
            ("architecture", self.request.architecture.to_string(), request.architecture.to_string()),
            ("base", self.request.base.to_string(), request.base.to_string()),
            ("suite", self.request.suite.clone(), request.suite.clone()),
            ("kernel", self.request.kernel.clone(), request.kernel.clone()),
            ("extra", list(&self.request.extra), list(&request.extra)),
            ("rescue over SSH", self.request.rescue_ssh.to_string(), request.rescue_ssh.to_string()),
        ];
        match settings.into_iter().find(|(_, locked, wanted)| locked != wanted) {
            None => Ok(()),
            Some((key, locked, wanted)) => {
                Err(BaseError::OutdatedLock { path: path.to_owned(), key, locked, wanted })
            }
        }
    }
}

/// The indexes that a lock names: three for Debian, and not so many that verifying them takes minutes.
fn indexes(raw: &[RawIndex]) -> Result<Vec<IndexDigests>, String> {
    if raw.len() > MOST_INDEXES {
        return Err(format!("it has {} indexes, more than {MOST_INDEXES}", raw.len()));
    }
    let digest = |text: &str| text.parse().map_err(|problem| format!("index: {problem}"));
    raw.iter()
        .map(|raw| {
            Ok(IndexDigests { in_release: digest(&raw.in_release)?, packages: digest(&raw.packages)? })
        })
        .collect()
}

/// The error for a set that the lock does not have, with the first node that has the set.
fn not_locked(site: &Site, set: &PackageSet, wanted: &[String]) -> BaseError {
    let node = site.nodes().find(|node| node.packages == *set);
    let place = |word: &String| {
        let asked = node.and_then(|node| node.wanted.iter().find(|package| package.to_string() == *word));
        asked.map_or_else(|| word.clone(), |package| format!("{word} ({})", package.at))
    };
    BaseError::OutdatedForNode {
        path: site.dir.join(LOCK_FILE),
        node: node.map_or_else(String::new, |node| node.name.to_string()),
        wanted: wanted.iter().map(place).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
pub(super) mod tests;
