//! The debian base: mmdebstrap installs exactly the locked packages, maintainer scripts included, in a sandbox.
//!
//! Its [`archive`] is a folder with those packages and an index that is signed here, so nothing else can get in. What
//! must differ between nodes, or must not be in a root at all, is removed afterwards.

mod archive;

use super::BaseError;
use super::leftovers::{self, Machine, Span};
use super::locked_package::Part;
use super::sandbox::{INTO_ROOT, OUT_OF_ROOT, Sandbox};
use super::vouch::VouchedLock;
use crate::atomic::AtomicFile;
use crate::progress::{Count, Goal, while_it_grows};
use crate::store::{StepName, Store, StoreError};
use crate::tools::MMDEBSTRAP;
use crate::tree::LayeredTree;
use crate::width::to_u64;
use handoff::architecture::Architecture;
use handoff::hash::Sha256Digest;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// These files are removed: state of the installation itself, identities, and what mmdebstrap copies from this machine.
const REMOVED: [&str; 29] = [
    "etc/.pwd.lock",
    "etc/.resolv.conf.systemd-resolved.bak",
    "etc/apt/apt.conf.d/99mmdebstrap",
    "etc/apt/sources.list",
    "etc/apt/trusted.gpg.d",
    "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
    "etc/group-",
    "etc/gshadow-",
    "etc/hostname",
    "etc/passwd-",
    "etc/resolv.conf",
    "etc/shadow-",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "var/cache/apt",
    "var/cache/debconf/config.dat-old",
    "var/cache/debconf/templates.dat-old",
    "var/cache/ldconfig/aux-cache",
    "var/lib/apt",
    "var/lib/dbus/machine-id",
    "var/lib/dpkg/status-old",
    "var/lib/dpkg/diversions-old",
    "var/lib/systemd/random-seed",
    "var/log/alternatives.log",
    "var/log/apt",
    "var/log/bootstrap.log",
    "var/log/dpkg.log",
];

/// mmdebstrap accepts only character devices; the sandbox's random devices are files.
const RANDOM_DEVICES: &str = "--setup-hook=mkdir -p \"$1/dev\"; for d in random urandom; do : >\"$1/dev/$d\"; mount --bind /dev/$d \"$1/dev/$d\"; done";
const NO_RANDOM_DEVICES: &str =
    "--customize-hook=for d in random urandom; do umount \"$1/dev/$d\"; rm \"$1/dev/$d\"; done";

/// dpkg prints a line when it unpacks a package and one when it sets it up.
const STEPS_OF_A_PACKAGE: u64 = 2;

/// Whether this machine can install the base: it has the programs, and allows the sandbox.
pub(super) fn check_machine(
    architecture: &'static Architecture,
    store: &Store,
    build_time: u64,
) -> Result<(), BaseError> {
    MMDEBSTRAP.find()?;
    Sandbox::new(architecture, store, &Sha256Digest::of(b""), build_time).map(drop)
}

/// Makes the debian base, as a tar at `place`.
pub(super) fn make(
    lock: &VouchedLock,
    store: &Store,
    build_time: u64,
    place: &Path,
    progress: &dyn Fn(&str),
) -> Result<(), BaseError> {
    let machine = Machine::this(lock.part(Part::Base).map(|package| package.name.as_str()));
    make_on(&machine, lock, store, build_time, place, progress)
}

fn make_on(
    machine: &Machine,
    lock: &VouchedLock,
    store: &Store,
    build_time: u64,
    place: &Path,
    progress: &dyn Fn(&str),
) -> Result<(), BaseError> {
    let started = now();
    let scratch = store.scratch()?;
    let installed = scratch.path().join("installed.tar");
    let packages = to_u64(lock.part(Part::Base).count());
    let steps = Count::default();
    while_it_grows(
        Goal::Packages(packages),
        || steps.get() / STEPS_OF_A_PACKAGE,
        progress,
        || install(lock, store, build_time, &installed, &steps),
    )?;
    let mut tree = LayeredTree::new();
    tree.add_tar(&installed, &wanted)?;
    clean(&mut tree)?;
    let span = Span { from: started, to: now(), build_time };
    leftovers::clean(&mut tree, lock, store, machine, span)?;
    let mut file = AtomicFile::create(place)?;
    tree.write_tar(&mut file, build_time)?;
    file.commit()?;
    Ok(Store::remember(place)?)
}

/// The time of this machine in seconds since 1970. It must not appear in the base.
fn now() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "what it says is looked for in the base, and never written there"
    )]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

fn install(
    lock: &VouchedLock,
    store: &Store,
    build_time: u64,
    output: &Path,
    steps: &Count,
) -> Result<(), BaseError> {
    let architecture = lock.request.architecture;
    let seed = lock.inputs(StepName::RandomDevices, Part::Base).key();
    let sandbox = Sandbox::new(architecture, store, &seed, build_time)?;
    archive::fill(lock, store, build_time, &sandbox.archive())?;
    let names: Vec<&str> = lock.part(Part::Base).map(|package| package.name.as_str()).collect();
    bootstrap(&sandbox, architecture, &names, build_time, output, steps)
}

/// Installs these packages and the essential ones from the sandbox's archive, as a tar at `output`.
fn bootstrap(
    sandbox: &Sandbox,
    architecture: &Architecture,
    names: &[&str],
    build_time: u64,
    output: &Path,
    steps: &Count,
) -> Result<(), BaseError> {
    let include = format!("--include={}", names.join(","));
    let architectures = format!("--architectures={}", architecture.debian);
    let source = archive::source();
    let time = build_time.to_string();
    let command = [
        "mmdebstrap",
        "--verbose",
        "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
        RANDOM_DEVICES,
        NO_RANDOM_DEVICES,
        INTO_ROOT,
        OUT_OF_ROOT,
        "--variant=essential",
        "--format=tar",
        // mmdebstrap is root of the sandbox.
        "--mode=root",
        &architectures,
        // The sandbox does not show the machine's hardware (`/sys`).
        "--skip=check/empty,chroot/mount/sys",
        &include,
        "--aptopt=APT::Sandbox::User \"root\"",
        "--aptopt=APT::Install-Recommends \"false\"",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        // The result is packed into a tar: what a power cut would leave behind does not matter.
        "--dpkgopt=force-unsafe-io",
        // No suite: the archive made here is flat, and has none.
        "",
        "-",
        &source,
    ];
    let environment = [("SOURCE_DATE_EPOCH", time.as_str()), ("DEBIAN_FRONTEND", "noninteractive")];
    let file = fs::File::create(output).map_err(|source| StoreError { path: output.to_owned(), source })?;
    let hear = |line: &str| {
        if line.starts_with("Unpacking ") || line.starts_with("Setting up ") {
            steps.add(1);
        }
    };
    Ok(sandbox.run(&command, &environment, file.into(), hear)?)
}

/// Whether this path of the installation goes into the base.
fn wanted(path: &str) -> bool {
    if path.starts_with("usr/share/doc/") {
        return path.ends_with("/copyright");
    }
    // The kernel (devtmpfs) makes device nodes, and some of mmdebstrap's only replace nodes that it may not make.
    if path.starts_with("dev/") || path.starts_with("tmp/") || path.starts_with("run/") {
        return false;
    }
    let host_key = path.starts_with("etc/ssh/ssh_host_");
    let removed = REMOVED.iter().any(|&folder| {
        path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    !host_key && !removed
}

fn clean(tree: &mut LayeredTree) -> Result<(), BaseError> {
    // Empty, and not "uninitialized": the node's own id is written there before init starts.
    tree.insert_file("etc/machine-id", 0o444, *b"")?;
    tree.insert_symlink("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf")?;
    Ok(())
}

#[cfg(test)]
mod machine_tests;
#[cfg(test)]
mod tests;
