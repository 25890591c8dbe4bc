//! Real base systems from Debian's archive. These tests need the network; packages are taken from the user's cache (or
//! the one that `PSYOPS_TEST_CACHE` names) if it has them.
//!
//! The second build of micro runs in a network namespace without any interface, which proves that it needs none. (For
//! Debian, the boot tests of `repro` show that.)

use builder::base::locked_package::Part;
use builder::base::{self, BaseSystem};
use builder::error::{Class, Error};
use builder::folders::Folder;
use builder::secrets::credentials::Locations;
use builder::secrets::trust::SiteAndKeys;
use builder::site::{GeneratedKeys, InitOptions, LOCK_FILE, Site, init_site};
use builder::store::Store;
use builder::tree::LayeredTree;
use keys::issue::identity_file;
use keys::issue::signing::SigningKey;
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const OFFLINE_SITE: &str = "PSYOPS_TEST_OFFLINE_SITE";
const CACHE: &str = "PSYOPS_TEST_CACHE";

fn site(folder: &Path, base: &str, extra: &str) -> SiteAndKeys {
    let keys = GeneratedKeys {
        admin_recipient: identity_file::generate().recipient().to_string(),
        signing_public: SigningKey::generate().unwrap().public().as_str().to_owned(),
    };
    let options = InitOptions { build_time: 1_793_491_200, open_consoles: false, ..InitOptions::default() };
    let dir = folder.join("site");
    init_site(&dir, &"lab".parse().unwrap(), &"alpha".parse().unwrap(), &keys, &options).unwrap();
    let path = dir.join("site.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("base = \"micro\"", &format!("base = \"{base}\""));
    std::fs::write(&path, format!("{text}\n[packages]\nextra = [{extra}]\n")).unwrap();
    Site::load(&dir).unwrap().into()
}

fn prepare(site: &SiteAndKeys, cache: &Store) -> BaseSystem {
    let keys = Locations::default();
    base::prepare(site, &site.packages.extra, cache, &keys, &|line| eprintln_line(line)).unwrap()
}

#[expect(clippy::print_stderr, reason = "a test that takes a minute says what it does")]
fn eprintln_line(line: &str) {
    eprintln!("{line}");
}

fn tree(system: &BaseSystem) -> LayeredTree {
    let mut tree = LayeredTree::new();
    tree.add_tar(&system.tree_tar, &|_| true).unwrap();
    tree
}

/// The libraries that the ELF files of the tree need and that it lacks, according to readelf.
fn missing_libraries(tree: &LayeredTree, folder: &Path) -> BTreeSet<String> {
    let (mut needed, mut there) = (BTreeSet::new(), BTreeSet::new());
    for path in tree.paths() {
        let name = path.rsplit('/').next().unwrap();
        if path.starts_with("usr/lib") && name.contains(".so") {
            there.insert(name.to_owned());
        }
        if !tree.is_file(path) {
            continue;
        }
        let bytes = tree.read(path).unwrap().unwrap();
        if !bytes.starts_with(b"\x7fELF") {
            continue;
        }
        let file = folder.join("elf");
        std::fs::write(&file, bytes).unwrap();
        let output = Command::new("readelf").args(["-dW"]).arg(&file).output().expect("readelf of binutils");
        for line in String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.contains("(NEEDED)")) {
            let library = line.split('[').nth(1).and_then(|rest| rest.split(']').next()).unwrap();
            needed.insert(library.to_owned());
        }
    }
    assert!(needed.contains("libc.so.6"), "{needed:?}");
    needed.difference(&there).cloned().collect()
}

/// Builds the same again, only from packages, without any network.
fn again_without_network(site: &Site, cache: &Store) {
    // The lock is not signed here, so the second build needs the index that the first one stored.
    assert!(!site.dir.join("site.lock.minisig").exists());
    for kind in ["derived", "apt"] {
        std::fs::remove_dir_all(cache.dir().join(kind)).unwrap();
    }
    let output = Command::new("unshare")
        .arg(if nix::unistd::geteuid().is_root() { "-n" } else { "-rn" })
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "base::without_network", "--ignored", "--nocapture"])
        .env(OFFLINE_SITE, &site.dir)
        .env(CACHE, cache.dir())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "runs inside the network namespace that the other tests make"]
fn without_network() {
    let dir = std::env::var_os(OFFLINE_SITE).expect("started by another test");
    let cache = std::env::var_os(CACHE).expect("started by another test");
    prepare(&Site::load(Path::new(&dir)).unwrap().into(), &Store::at(Path::new(&cache)).unwrap());
}

/// A cache of the test. Packages may come from the user's cache; everything derived from them is made here.
fn own_cache(folder: &TempDir) -> Store {
    let own = Store::at(&folder.path().join("cache")).unwrap();
    let other = std::env::var_os(CACHE).map(PathBuf::from).or_else(|| Folder::Cache.of_psyops().ok());
    if let Some(debs) = other.map(|dir| dir.join("debs")).filter(|debs| debs.is_dir()) {
        let status = Command::new("cp").arg("-rT").arg(debs).arg(own.dir().join("debs")).status().unwrap();
        assert!(status.success());
    }
    own
}

#[test]
fn the_micro_base_is_whole_and_the_second_build_needs_no_network() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path(), "micro", "");
    let cache = own_cache(&folder);
    let system = prepare(&site, &cache);
    let tree = tree(&system);
    assert_eq!(missing_libraries(&tree, folder.path()), BTreeSet::new());
    for file in ["usr/sbin/sshd", "usr/bin/ssh-keygen", "usr/lib/openssh/sftp-server", "usr/bin/busybox"] {
        assert!(tree.is_file(file), "{file}");
    }
    assert_eq!(tree.link_target("usr/sbin/linuxrc"), Some("../bin/busybox"));
    assert_eq!(tree.link_target("usr/bin/sh"), Some("busybox"));
    assert_eq!(tree.link_target("lib64"), Some("usr/lib64"));
    assert!(tree.contains("lib64/ld-linux-x86-64.so.2"));
    for absent in ["usr/share/man", "etc/passwd", "usr/lib/systemd", "usr/bin/perl", "usr/bin/debconf"] {
        assert!(!tree.contains(absent), "{absent}");
    }
    assert!(system.modules_dir.ends_with(&system.kernel_release));
    for file in ["modules.dep", "modules.alias", "modules.softdep", "modules.builtin"] {
        assert!(system.modules_dir.join(file).is_file(), "{file}");
    }
    for file in [&system.vmlinuz, &system.stub, &system.busybox] {
        assert!(file.is_file(), "{}", file.display());
    }
    for part in [Part::Base, Part::Kernel, Part::Boot] {
        assert!(system.lock.part(part).count() > 0, "{part:?}");
    }
    let locked = std::fs::read_to_string(site.dir.join(LOCK_FILE)).unwrap();
    let first = std::fs::read(&system.tree_tar).unwrap();
    again_without_network(&site, &cache);
    assert!(std::fs::read(&system.tree_tar).unwrap() == first, "the same lock gave another tree");
    assert_eq!(std::fs::read_to_string(site.dir.join(LOCK_FILE)).unwrap(), locked);
}

#[test]
fn a_package_that_does_not_exist_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path(), "micro", "\"no-such-package-here\"");
    let keys = Locations::default();
    let error = base::prepare(&site, &site.packages.extra, &own_cache(&folder), &keys, &|_| ()).unwrap_err();
    assert!(error.to_string().contains("no-such-package-here"), "{error}");
    assert!(!site.dir.join(LOCK_FILE).exists());
}

/// A lock that names a package of ours, and a mirror on this machine that has it. Nothing is fetched, and the package
/// is not read.
#[test]
fn an_unvouched_package_is_not_fetched() {
    let folder = tempfile::tempdir().unwrap();
    let mirror = TcpListener::bind("127.0.0.1:0").unwrap();
    mirror.set_nonblocking(true).unwrap();
    let site = site(folder.path(), "micro", "");
    let toml = std::fs::read_to_string(site.dir.join("site.toml")).unwrap();
    let address = mirror.local_addr().unwrap();
    let lines = format!("[packages]\nmirror = \"http://{address}/debian\"\nsecurity-mirror = \"\"");
    std::fs::write(site.dir.join("site.toml"), toml.replace("[packages]", &lines)).unwrap();
    let site = SiteAndKeys::from(Site::load(&site.dir).unwrap());
    let package = |part: &str, name: &str| {
        format!(
            "[[package]]\npart = \"{part}\"\nname = \"{name}\"\nversion = \"1\"\narchitecture = \"amd64\"\n\
             sha256 = \"{}\"\nsize = 17\narchive = \"main\"\nfile = \"pool/{name}.deb\"\n\n",
            "5".repeat(64)
        )
    };
    let lock = format!(
        "format = 1\nbase = \"micro\"\nsuite = \"bookworm\"\nkernel = \"linux-image-amd64\"\nextra = []\n\n{}{}",
        package("base", "busybox-static"),
        package("kernel", "linux-image-1")
    );
    std::fs::write(site.dir.join(LOCK_FILE), lock).unwrap();
    let store = Store::at(&folder.path().join("store")).unwrap();
    let keys = Locations::default();
    let error =
        base::prepare(&site, &site.packages.extra, &store, &keys, &|line| panic!("{line}")).unwrap_err();
    let error = Error::from(error);
    let signature = site.dir.join("site.lock.minisig");
    assert_eq!(
        error.report(),
        format!(
            "neither the site's signing key ({} is missing) nor the archive's index (site.lock has none) vouches for busybox-static 1 and 1 more in site.lock\n  to take the packages that the archive has now: psyops lock update; or, if the packages in this lock are right, sign it: psyops lock sign",
            signature.display()
        )
    );
    assert_eq!(error.class(), Class::BadContent);
    assert_eq!(mirror.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "the mirror was asked");
    for made in ["debs", "derived", "apt", "tmp"] {
        assert_eq!(store.entries(made).unwrap(), Vec::<PathBuf>::new());
    }
}

/// Only the user can know whether a tar is the right one: a build that cannot ask refuses it.
#[test]
fn the_first_build_refuses_an_unconfirmed_tar() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path(), "tar:root.tar", "");
    std::fs::write(site.dir.join("root.tar"), "a tar").unwrap();
    let (store, keys) = (own_cache(&folder), Locations::default());
    let error = Error::from(base::prepare(&site, &site.packages.extra, &store, &keys, &|_| ()).unwrap_err());
    let digest = handoff::hash::Sha256Digest::of(b"a tar");
    assert_eq!(
        error.report(),
        format!(
            "the site has no site.lock yet, and the archive's index does not vouch for the base (sha256 {digest}) (no archive lists a tar or an image)\n  look at the packages and confirm them with: psyops lock update"
        )
    );
    assert!(!site.dir.join(LOCK_FILE).exists());
}

#[test]
fn the_debian_base_is_whole_and_has_no_keys() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path(), "debian", "\"ssl-cert\"");
    let cache = own_cache(&folder);
    let system = prepare(&site, &cache);
    let tree = tree(&system);
    // The package's script makes a key and a certificate, and links to it.
    assert!(tree.is_file("usr/sbin/make-ssl-cert"));
    assert!(!tree.paths().any(|path| path.contains("snakeoil")));
    for path in tree.paths().filter(|path| tree.is_file(path) && path.starts_with("etc/")) {
        let bytes = tree.read(path).unwrap().unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("PRIVATE KEY-----"), "{path}");
    }
    for file in ["usr/lib/systemd/systemd", "usr/sbin/sshd", "usr/bin/dbus-daemon", "usr/bin/logger"] {
        assert!(tree.is_file(file), "{file}");
    }
    // tc's module for ATM networks, whose library iproute2 only recommends.
    assert_eq!(missing_libraries(&tree, folder.path()), BTreeSet::from(["libatm.so.1".to_owned()]));
    assert_eq!(tree.read("etc/machine-id").unwrap().unwrap(), b"");
    assert!(
        !tree.paths().any(|path| path.starts_with("etc/ssh/ssh_host_") || path.starts_with("var/lib/apt/"))
    );
    assert!(tree.metadata("usr/bin/su").unwrap().mode & 0o4000 != 0);
    assert_ne!(tree.metadata("etc/shadow").unwrap().gid, 0);
}
