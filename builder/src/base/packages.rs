//! Which packages each base has, and how a site's request becomes a lock.

use super::apt::{Apt, Candidate};
use super::lock::{Lock, LockRequest};
use super::lock_file::LockFile;
use super::locked_package::{LockedPackage, Part};
use super::variant::Variant;
use super::{BaseError, imported};
use crate::site::{Base, PackageSet, Site};
use crate::store::Store;
use handoff::name::Name;
use std::collections::{BTreeMap, BTreeSet};

/// The packages requested for the micro base. Of their dependencies, only libraries are taken.
const MICRO: [&str; 4] = ["busybox-static", "openssh-server", "openssh-client", "openssh-sftp-server"];
/// Packages with names like libraries that do not work without maintainer scripts.
const NO_LIBRARIES: [&str; 3] = ["libpam-modules", "libpam-modules-bin", "libpam-runtime"];
/// Dependencies of an extra package that a micro base does not get: the programs that install packages.
const NOT_FOR_MICRO: [&str; 15] = [
    "adduser",
    "bash",
    "base-files",
    "base-passwd",
    "coreutils",
    "dash",
    "debconf",
    "debianutils",
    "dpkg",
    "init-system-helpers",
    "lsb-base",
    "passwd",
    "perl-base",
    "sensible-utils",
    "ucf",
];
/// The packages requested for the debian base. The first two are apt patterns, as in mmdebstrap's minbase variant,
/// without apt: a root that is verified block by block cannot install packages.
const DEBIAN: [&str; 13] = [
    "?essential",
    "?and(?priority(required),?not(?name(^apt$)))",
    "ca-certificates",
    "dbus",
    "iproute2",
    "kmod",
    "openssh-server",
    "openssh-sftp-server",
    "systemd",
    "systemd-resolved",
    "systemd-sysv",
    "udev",
    // Otherwise apt chooses usrmerge, which depends on Perl.
    "usr-is-merged",
];
/// Packages of every site besides the base: the boot stub, and the programs of the rescue shell.
pub(super) const STUB_PACKAGE: &str = "systemd-boot-efi";
pub(super) const BUSYBOX_PACKAGE: &str = "busybox-static";
pub(super) const E2FSCK_PACKAGE: &str = "e2fsck-static";
/// The SSH server of rescue, and the libraries that it is linked with.
pub(super) const SSH_SERVER_PACKAGE: &str = "dropbear-bin";
const SSH_SERVER_LIBRARIES: [&str; 6] =
    ["libc6", "libcrypt1", "libgmp10", "libtomcrypt1", "libtommath1", "zlib1g"];

/// Resolves the packages of the site and its nodes, all from one state of the archive.
pub(super) fn resolve(site: &Site, store: &Store, progress: &dyn Fn(&str)) -> Result<LockFile, BaseError> {
    let request = LockRequest::of(site);
    let imported = imported::resolve(site, progress)?;
    let apt = Apt::new(store, &site.packages)?;
    progress("fetching the package index");
    apt.update()?;
    let indexes = apt.keep_indexes(store)?;
    progress("choosing packages");
    let root = root(&apt, &request.base, &site.packages.extra)?;
    let mut variants = Vec::new();
    for (set, nodes) in site.other_sets() {
        let in_root = self::root(&apt, &request.base, set).map_err(|error| for_nodes(&nodes, error))?;
        variants.push(Variant::between(set.beyond(&site.packages.extra), &root, in_root));
    }
    variants.sort();
    let kernel = kernel(&apt, &request.kernel)?;
    let mut boot = vec![STUB_PACKAGE.to_owned(), BUSYBOX_PACKAGE.to_owned(), E2FSCK_PACKAGE.to_owned()];
    if request.rescue_ssh {
        boot.push(SSH_SERVER_PACKAGE.to_owned());
        boot.extend(SSH_SERVER_LIBRARIES.map(str::to_owned));
    }
    let mut packages = root;
    packages.extend(locked(&apt, Part::Kernel, &[kernel])?);
    packages.extend(locked(&apt, Part::Boot, &boot)?);
    packages.sort();
    LockFile::new(site, Lock { request, imported, packages, variants }, indexes)
}

fn for_nodes(nodes: &[&Name], error: BaseError) -> BaseError {
    let nodes = nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    BaseError::ForNodes { nodes, source: Box::new(error) }
}

/// The packages of a root with its base and this set.
fn root(apt: &Apt, base: &Base, set: &PackageSet) -> Result<Vec<LockedPackage>, BaseError> {
    let exactly = match base {
        Base::Micro => micro(apt, set)?,
        Base::Debian => names(&apt.closure(&debian(set))?),
        // No package can be installed there; a site that asks for some is refused.
        Base::Tar(_) | Base::Oci(_) => return Ok(Vec::new()),
    };
    let packages = locked(apt, Part::Base, &exactly)?;
    for (name, pin) in set.iter() {
        let found = packages.iter().find(|package| package.name == name);
        match (found, pin) {
            (None, _) if *base == Base::Micro => {
                return Err(BaseError::NoSuchName { name: name.to_owned() });
            }
            (Some(found), Some(pin)) if found.version != pin => {
                let (package, pinned, chosen) = (name.to_owned(), pin.to_owned(), found.version.clone());
                return Err(BaseError::NotThePin { package, pinned, chosen });
            }
            _ => {}
        }
    }
    Ok(packages)
}

/// Exactly these packages as they are stored in a lock, sorted.
fn locked(apt: &Apt, part: Part, wanted: &[String]) -> Result<Vec<LockedPackage>, BaseError> {
    let candidates = apt.exactly(wanted)?;
    let packages: Result<Vec<LockedPackage>, BaseError> =
        candidates.into_iter().map(|candidate| lock_one(part, candidate)).collect();
    let mut packages = packages?;
    packages.sort();
    packages.dedup();
    Ok(packages)
}

fn lock_one(part: Part, candidate: Candidate) -> Result<LockedPackage, BaseError> {
    let Candidate { name, version, architecture, size, sha256, archive, file } = candidate;
    let sha256 =
        sha256.ok_or_else(|| BaseError::AptAnswer { line: format!("{name} {version} without SHA-256") })?;
    Ok(LockedPackage { part, name, version, architecture, sha256, size, archive, file })
}

fn names(candidates: &[Candidate]) -> Vec<String> {
    candidates.iter().map(Candidate::exactly).collect()
}

/// The packages of a micro base: those requested, and the libraries that they depend on.
fn micro(apt: &Apt, set: &PackageSet) -> Result<Vec<String>, BaseError> {
    // apt uses the last version that it is given for a package, and a bare name counts as one.
    let ours = MICRO.iter().filter(|name| set.pin(name).is_none()).map(|&name| name.to_owned());
    let asked: Vec<String> = ours.chain(set.words()).collect();
    let extra = extra(set);
    let closure = apt.closure(&asked)?;
    let versions: BTreeMap<&str, &Candidate> =
        closure.iter().map(|candidate| (candidate.name.as_str(), candidate)).collect();
    let dependencies = apt.dependencies(&names(&closure))?;
    let chosen = reachable(&extra, &dependencies, &|name| versions.contains_key(name));
    Ok(chosen.iter().filter_map(|name| versions.get(name.as_str())).map(|c| c.exactly()).collect())
}

/// The packages that a micro base gets with all dependencies. A pin of a package that the base has anyway selects
/// another version of it, and adds nothing.
fn extra(set: &PackageSet) -> Vec<String> {
    let is_extra = |(name, pin): &(&str, Option<&str>)| pin.is_none() || !MICRO.contains(name);
    set.iter().filter(is_extra).map(|(name, _)| name.to_owned()).collect()
}

/// The packages to request for a debian base. A pattern would choose the newest version of a pinned package.
fn debian(set: &PackageSet) -> Vec<String> {
    let pins: Vec<&str> = set.iter().filter_map(|(name, pin)| pin.map(|_| name)).collect();
    let without_pins = |pattern: &str| {
        pins.iter().fold(pattern.to_owned(), |pattern, name| {
            // A regular expression (apt-patterns(7)), in which both characters have a special meaning.
            let name = name.replace('.', "[.]").replace('+', "[+]");
            format!("?and({pattern},?not(?name(^{name}$)))")
        })
    };
    let ours = DEBIAN
        .iter()
        .filter(|name| !pins.contains(name))
        .map(|name| if name.starts_with('?') { without_pins(name) } else { (*name).to_owned() });
    ours.chain(set.words()).collect()
}

/// Follows dependencies from the requested packages: from our own packages only to libraries, from extra ones to
/// everything except the programs that install packages. Of alternatives, the first that apt chose counts.
fn reachable(
    extra: &[String],
    dependencies: &BTreeMap<String, Vec<Vec<String>>>,
    is_there: &dyn Fn(&str) -> bool,
) -> BTreeSet<String> {
    let library =
        |name: &str| (name.starts_with("lib") || name.starts_with("zlib")) && !NO_LIBRARIES.contains(&name);
    let useful = |name: &str| !NOT_FOR_MICRO.contains(&name) && !NO_LIBRARIES.contains(&name);
    let mut chosen = BTreeSet::new();
    let mut todo: Vec<(String, bool)> = MICRO.iter().map(|&name| (name.to_owned(), false)).collect();
    todo.extend(extra.iter().map(|name| (name.clone(), true)));
    let mut seen = BTreeSet::new();
    while let Some((name, generous)) = todo.pop() {
        if !seen.insert((name.clone(), generous)) {
            continue;
        }
        for alternatives in dependencies.get(&name).into_iter().flatten() {
            let Some(dependency) = alternatives.iter().find(|name| is_there(name)) else { continue };
            if library(dependency) || (generous && useful(dependency)) {
                todo.push((dependency.clone(), generous));
            }
        }
        chosen.insert(name);
    }
    chosen
}

/// The package that contains the kernel: for a meta package, the image that it depends on.
fn kernel(apt: &Apt, wanted: &str) -> Result<String, BaseError> {
    let dependencies = apt.dependencies(&[wanted.to_owned()])?;
    let image = dependencies.values().flatten().flatten().find(|name| name.starts_with("linux-image-"));
    Ok(image.map_or_else(|| wanted.to_owned(), Clone::clone))
}

#[cfg(test)]
mod tests {
    use super::super::lock::tests::site;
    use super::*;

    #[test]
    fn a_pin_replaces_the_bases_own_request() {
        let folder = tempfile::tempdir().unwrap();
        let site = site(
            folder.path(),
            "extra = [\"bash=5.2-1\", \"g++=1\", \"kmod=30\", \"openssh-server=1\", \"jq\"]",
            "",
        );
        let set = &site.packages.extra;
        assert_eq!(extra(set), ["bash", "g++", "jq", "kmod"]);
        let asked = debian(set);
        let pattern = ["bash", "g[+][+]", "kmod", "openssh-server"]
            .iter()
            .fold("?essential".to_owned(), |text, name| format!("?and({text},?not(?name(^{name}$)))"));
        assert_eq!(asked[0], pattern);
        let of_kmod: Vec<&String> = asked.iter().filter(|word| word.starts_with("kmod")).collect();
        assert_eq!(of_kmod, ["kmod=30"]);
        assert_eq!(debian(&PackageSet::default()), DEBIAN);
    }

    #[test]
    fn libraries_are_followed_and_installers_are_not() {
        let list = |names: &[&str]| names.iter().map(|name| vec![(*name).to_owned()]).collect::<Vec<_>>();
        let dependencies = BTreeMap::from([
            ("openssh-server".to_owned(), list(&["libc6", "adduser", "libpam-modules", "debconf"])),
            ("libc6".to_owned(), list(&["libgcc-s1"])),
            ("adduser".to_owned(), list(&["libsemanage2"])),
            ("python3".to_owned(), list(&["python3.11", "debconf"])),
            ("python3.11".to_owned(), list(&["libexpat1", "missing"])),
        ]);
        let chosen = reachable(&["python3".to_owned()], &dependencies, &|name| name != "missing");
        for there in ["openssh-server", "libc6", "libgcc-s1", "python3", "python3.11", "libexpat1"] {
            assert!(chosen.contains(there), "{there}");
        }
        for not_there in ["adduser", "debconf", "libsemanage2", "libpam-modules", "missing"] {
            assert!(!chosen.contains(not_there), "{not_there}");
        }
    }
}
