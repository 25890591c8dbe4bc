//! Comparing and repairing a real folder: every kind of difference, planted links, and files that must not be changed.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use keys::reconcile::{
    Action, Comparison, Errno, FileType, Problem, Step, What, compare, compare_copy, repair,
};
use keys::seal::OpenedSeal;
use nix::sys::stat::Mode;
use nix::unistd::{geteuid, mkfifo};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Fixture, builder, file, path};
use tempfile::TempDir;

const FILES: &[(&str, &[u8])] =
    &[("etc/ssh/key", b"a key"), ("etc/wifi", b"a network"), ("hostname", b"demo\n")];

struct Store {
    outer: TempDir,
    seal: OpenedSeal,
}

impl Store {
    fn new() -> Self {
        Self::with(false)
    }

    /// A store that matches its seal, with the files that every store has.
    fn with(remove_unknown: bool) -> Self {
        let site = Fixture::new();
        let mut sealed =
            keys::issue::seal_builder::SealBuilder::new(handoff::fault::Policy::default(), remove_unknown);
        for (name, content) in FILES {
            sealed.add(path(name), file(0o600), content.to_vec().into()).unwrap();
        }
        let seal = site.open(&site.seal(&sealed, 1));
        let store = Self { outer: TempDir::new().unwrap(), seal };
        fs::create_dir(store.folder()).unwrap();
        fs::create_dir(store.at("lost+found")).unwrap();
        fs::write(store.at("age.key"), "the one file that nothing heals").unwrap();
        store.repaired();
        store
    }

    fn folder(&self) -> PathBuf {
        self.outer.path().join("store")
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder().join(path)
    }

    fn compare(&self) -> Comparison {
        compare(&self.folder(), self.seal.manifest()).unwrap()
    }

    /// The path and kinds of the only difference.
    fn difference(&self) -> (String, Vec<What>) {
        let comparison = self.compare();
        assert_eq!(comparison.differing.len(), 1, "{comparison:?}");
        let difference = comparison.differing.into_iter().next().unwrap();
        (difference.subject.to_string(), difference.what)
    }

    /// Repairs, and checks that everything is right afterwards and that a second repair has nothing to do.
    fn repaired(&self) -> Vec<(String, Action)> {
        let done = repair(&self.folder(), &self.seal, &self.compare()).unwrap();
        let after = self.compare();
        assert!(!after.needs_repair(self.seal.manifest()), "{after:?}");
        assert_eq!(after.same.len(), FILES.len());
        assert_eq!(repair(&self.folder(), &self.seal, &after), Ok(Vec::new()));
        for (name, content) in FILES {
            assert_eq!(fs::read(self.at(name)).unwrap(), *content);
        }
        assert_eq!(fs::read(self.at("age.key")).unwrap(), b"the one file that nothing heals");
        done.into_iter().map(|one| (one.path.display().to_string(), one.action)).collect()
    }
}

fn rewritten(path: &str) -> Vec<(String, Action)> {
    vec![(path.to_owned(), Action::Rewritten)]
}

#[test]
fn changed_content_of_the_same_length() {
    let store = Store::new();
    fs::write(store.at("hostname"), "dEmo\n").unwrap();
    assert_eq!(store.difference(), ("hostname".into(), vec![What::Content]));
    assert_eq!(store.repaired(), rewritten("hostname"));
}

#[test]
fn changed_content_of_another_length() {
    let store = Store::new();
    fs::write(store.at("etc/wifi"), "a network and more").unwrap();
    assert_eq!(store.difference(), ("etc/wifi".into(), vec![What::Content]));
    assert_eq!(store.repaired(), rewritten("etc/wifi"));
}

#[test]
fn missing_file_and_missing_folder() {
    let store = Store::new();
    fs::remove_file(store.at("hostname")).unwrap();
    assert_eq!(store.difference(), ("hostname".into(), vec![What::Missing]));
    store.repaired();
    fs::remove_dir_all(store.at("etc/ssh")).unwrap();
    assert_eq!(store.difference(), ("etc/ssh/key".into(), vec![What::Missing]));
    assert_eq!(store.repaired(), rewritten("etc/ssh/key"));
}

/// Whether this process is root, as whom only a file's owner can be changed. If not, it runs the test again as root of
/// its own user namespace.
fn as_root(test: &str) -> bool {
    geteuid().is_root() || {
        run_again(test, Command::new("unshare").args(["--user", "--map-root-user", "--map-auto"]));
        false
    }
}

/// Whether the permissions of files hold for this process. For root, they hold in a process without the capabilities:
/// then it runs the test again there.
fn without_rights(test: &str) -> bool {
    let is_again = std::env::var_os(AGAIN).is_some();
    !geteuid().is_root() || is_again || {
        run_again(test, Command::new("setpriv").arg("--bounding-set=-dac_override,-dac_read_search"));
        false
    }
}

const AGAIN: &str = "PSYOPS_TEST_AGAIN";

fn run_again(test: &str, command: &mut Command) {
    command.arg(std::env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]).env(AGAIN, "1");
    let output = command.output().expect("unshare and setpriv are needed (package util-linux)");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{test}: {output:?}");
}

#[test]
fn wrong_mode() {
    let store = Store::new();
    fs::set_permissions(store.at("hostname"), fs::Permissions::from_mode(0o4644)).unwrap();
    let what = vec![What::Mode { expected: 0o600, found: 0o4644 }];
    assert_eq!(store.difference(), ("hostname".into(), what));
    store.repaired();
    assert_eq!(fs::metadata(store.at("hostname")).unwrap().mode() & 0o7777, 0o600);
}

#[test]
fn wrong_owner() {
    if !as_root("wrong_owner") {
        return;
    }
    let store = Store::new();
    std::os::unix::fs::chown(store.at("hostname"), Some(12), Some(34)).unwrap();
    let what = vec![What::Owner { expected: (0, 0), found: (12, 34) }];
    assert_eq!(store.difference(), ("hostname".into(), what));
    assert_eq!(store.repaired(), rewritten("hostname"));
}

#[test]
fn a_link_in_place_of_a_file_is_replaced_and_not_followed() {
    let store = Store::new();
    // The link leads to a file with the right content and mode, so only its type is wrong.
    let target = store.outer.path().join("target");
    fs::rename(store.at("hostname"), &target).unwrap();
    symlink(&target, store.at("hostname")).unwrap();
    assert_eq!(store.difference(), ("hostname".into(), vec![What::Type(FileType::Link)]));
    fs::write(&target, "outside").unwrap();
    assert_eq!(store.repaired(), rewritten("hostname"));
    assert_eq!(fs::read(&target).unwrap(), b"outside");
    assert!(fs::symlink_metadata(store.at("hostname")).unwrap().is_file());
}

#[test]
fn folders_pipes_and_sockets_in_place_of_a_file() {
    let store = Store::new();
    let place = |kind: FileType| {
        fs::remove_file(store.at("hostname")).unwrap();
        match kind {
            FileType::Folder => {
                fs::create_dir_all(store.at("hostname/deep/er")).unwrap();
                fs::write(store.at("hostname/deep/file"), "x").unwrap();
                let outside = store.outer.path().join("outside");
                fs::create_dir_all(&outside).unwrap();
                fs::write(outside.join("kept"), "x").unwrap();
                symlink(&outside, store.at("hostname/deep/link")).unwrap();
            }
            FileType::Pipe => mkfifo(&store.at("hostname"), Mode::S_IRWXU).unwrap(),
            FileType::Socket => drop(UnixListener::bind(store.at("hostname")).unwrap()),
            _ => unreachable!(),
        }
    };
    for kind in [FileType::Folder, FileType::Pipe, FileType::Socket] {
        place(kind);
        assert_eq!(store.difference(), ("hostname".into(), vec![What::Type(kind)]));
        assert_eq!(store.repaired(), rewritten("hostname"));
    }
    assert!(store.outer.path().join("outside/kept").exists(), "a link in a removed tree was followed");
}

#[test]
fn a_link_in_place_of_a_parent_folder_leads_nowhere() {
    let store = Store::new();
    let outside = store.outer.path().join("outside");
    fs::rename(store.at("etc"), &outside).unwrap();
    symlink(&outside, store.at("etc")).unwrap();
    fs::write(outside.join("wifi"), "not ours").unwrap();
    let comparison = store.compare();
    let parent = vec![What::Parent { folder: "etc".into(), found: FileType::Link }];
    let found: Vec<_> =
        comparison.differing.iter().map(|d| (d.subject.to_string(), d.what.clone())).collect();
    assert_eq!(found, [("etc/ssh/key".to_owned(), parent.clone()), ("etc/wifi".to_owned(), parent)]);
    assert_eq!(store.repaired().len(), 2);
    assert_eq!(fs::read(outside.join("wifi")).unwrap(), b"not ours");
    assert!(!outside.join(".psyops-new").exists());
    assert!(fs::symlink_metadata(store.at("etc")).unwrap().is_dir());
}

#[test]
fn a_file_in_place_of_a_parent_folder() {
    let store = Store::new();
    fs::remove_dir_all(store.at("etc/ssh")).unwrap();
    fs::write(store.at("etc/ssh"), "x").unwrap();
    let parent = vec![What::Parent { folder: "etc/ssh".into(), found: FileType::File }];
    assert_eq!(store.difference(), ("etc/ssh/key".into(), parent));
    store.repaired();
}

#[test]
fn unknown_files_are_reported_and_kept() {
    let store = Store::new();
    fs::write(store.at("etc/extra"), "x").unwrap();
    fs::create_dir_all(store.at("more/and/more")).unwrap();
    symlink("/", store.at("root")).unwrap();
    let comparison = store.compare();
    let unknown: Vec<&Path> = vec![Path::new("etc/extra"), Path::new("more"), Path::new("root")];
    assert_eq!(comparison.unknown, unknown);
    assert!(!comparison.needs_repair(store.seal.manifest()));
    assert_eq!(store.repaired(), []);
    assert!(store.at("etc/extra").exists());
}

#[test]
fn unknown_files_are_removed_where_the_site_says_so() {
    let store = Store::with(true);
    fs::write(store.at("etc/extra"), "x").unwrap();
    fs::create_dir_all(store.at("more/and/more")).unwrap();
    symlink(store.at("etc"), store.at("more/link")).unwrap();
    let removed = |path: &str| (path.to_owned(), Action::UnknownRemoved);
    assert_eq!(store.repaired(), [removed("etc/extra"), removed("more")]);
    assert!(store.at("lost+found").exists());
    assert!(store.compare().unknown.is_empty());
}

#[test]
fn leftovers_of_a_repair_are_removed() {
    let store = Store::new();
    fs::write(store.at("etc/.psyops-new"), "half").unwrap();
    let comparison = store.compare();
    assert_eq!(comparison.leftovers, [Path::new("etc/.psyops-new")]);
    assert!(comparison.needs_repair(store.seal.manifest()));
    assert_eq!(store.repaired(), [("etc/.psyops-new".into(), Action::LeftoverRemoved)]);
    assert!(!store.at("etc/.psyops-new").exists());
}

#[test]
fn a_folder_in_place_of_the_temporary_file_does_not_stop_a_repair() {
    let store = Store::new();
    fs::create_dir_all(store.at(".psyops-new/x")).unwrap();
    fs::remove_file(store.at("hostname")).unwrap();
    assert_eq!(store.repaired().len(), 2);
}

#[test]
fn entries_in_memory_are_not_looked_for() {
    let site = Fixture::new();
    let mut sealed = builder(&[]);
    let memory = handoff::manifest::FileAttributes { store: handoff::manifest::Store::Memory, ..file(0o600) };
    sealed.add(path("node.toml"), memory, Vec::new().into()).unwrap();
    let seal = site.open(&site.seal(&sealed, 1));
    let folder = TempDir::new().unwrap();
    assert_eq!(compare_copy(folder.path(), seal.manifest()), Ok(Comparison::default()));
}

#[test]
fn no_store_is_an_error_that_names_it() {
    let store = Store::new();
    let missing = store.outer.path().join("missing");
    let error = compare(&missing, store.seal.manifest()).unwrap_err();
    assert_eq!((error.path, error.errno), (missing, Errno::ENOENT));
}

#[test]
fn a_read_only_medium_names_the_step_and_leaves_the_rest_alone() {
    if !without_rights("a_read_only_medium_names_the_step_and_leaves_the_rest_alone") {
        return;
    }
    let store = Store::new();
    fs::write(store.at("etc/wifi"), "other").unwrap();
    fs::set_permissions(store.at("etc"), fs::Permissions::from_mode(0o500)).unwrap();
    let mut comparison = store.compare();
    comparison.differing.retain(|difference| difference.subject.file().is_some());
    let error = repair(&store.folder(), &store.seal, &comparison).unwrap_err();
    fs::set_permissions(store.at("etc"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(error.failures.len(), 1);
    assert_eq!(error.failures[0].step, Step::Create);
    assert_eq!(error.failures[0].problem, Problem::Errno(Errno::EACCES));
}

fn restricted(path: &str) -> Vec<(String, Action)> {
    vec![(path.to_owned(), Action::Restricted)]
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_readable_key_is_restricted_and_its_content_stays() {
    let store = Store::new();
    let before = fs::metadata(store.at("age.key")).unwrap();
    fs::set_permissions(store.at("age.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let what = vec![What::Mode { expected: 0o600, found: 0o644 }];
    assert_eq!(store.difference(), ("age.key".into(), what));
    assert_eq!(store.repaired(), restricted("age.key"));
    let after = fs::metadata(store.at("age.key")).unwrap();
    assert_eq!((after.ino(), after.mtime_nsec()), (before.ino(), before.mtime_nsec()), "it was written");
    assert_eq!(mode_of(&store.at("age.key")), 0o600);
}

#[test]
fn folders_that_others_can_enter_are_restricted() {
    let store = Store::new();
    for (folder, name) in [("", "/"), ("etc", "etc"), ("etc/ssh", "etc/ssh"), ("lost+found", "lost+found")] {
        let path = store.at(folder);
        for found in [0o755, 0o1777, 0o2700] {
            fs::set_permissions(&path, fs::Permissions::from_mode(found)).unwrap();
            assert_eq!(store.difference(), (name.into(), vec![What::Mode { expected: 0o700, found }]));
            assert_eq!(store.repaired(), restricted(name));
            assert_eq!(mode_of(&path), 0o700);
        }
    }
}

#[test]
fn the_owner_of_key_and_folders_is_root() {
    if !as_root("the_owner_of_key_and_folders_is_root") {
        return;
    }
    let store = Store::new();
    for name in ["age.key", "etc"] {
        std::os::unix::fs::chown(store.at(name), Some(1000), Some(1000)).unwrap();
        let what = vec![What::Owner { expected: (0, 0), found: (1000, 1000) }];
        assert_eq!(store.difference(), (name.into(), what));
        assert_eq!(store.repaired(), restricted(name));
        let now = fs::metadata(store.at(name)).unwrap();
        assert_eq!((now.uid(), now.gid()), (0, 0));
    }
}

/// An access control list by which the user 65534 may read: `posix_acl_xattr_header` and its entries (linux
/// `posix_acl_xattr.h`), little-endian: version 2, then tag, permissions and id.
fn list_for_another_user() -> Vec<u8> {
    let entries =
        [(1_u16, 6_u16, u32::MAX), (2, 4, 65534), (4, 0, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)];
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

#[test]
fn access_control_lists_and_other_attributes_are_removed() {
    let store = Store::new();
    let attach = |name: &str, attribute: &str, value: &[u8]| {
        rustix::fs::setxattr(store.at(name), attribute, value, rustix::fs::XattrFlags::empty()).unwrap();
    };
    for (name, attribute, action) in [
        ("age.key", "system.posix_acl_access", Action::Restricted),
        ("hostname", "system.posix_acl_access", Action::Rewritten),
        ("etc", "system.posix_acl_default", Action::Restricted),
        ("etc/wifi", "user.note", Action::Rewritten),
        ("age.key", "user.note", Action::Restricted),
    ] {
        attach(name, attribute, &list_for_another_user());
        let (subject, what) = store.difference();
        assert_eq!(subject, name);
        assert!(what.contains(&What::Attributes(vec![attribute.to_owned()])), "{what:?}");
        assert_eq!(store.repaired(), [(name.to_owned(), action)]);
    }
}

#[test]
fn hard_links_of_a_file_or_the_key_are_removed() {
    let store = Store::new();
    fs::hard_link(store.at("hostname"), store.at("etc/second")).unwrap();
    let comparison = store.compare();
    assert_eq!(store.difference(), ("hostname".into(), vec![What::Links(2)]));
    assert_eq!(comparison.unknown, [Path::new("etc/second")]);
    assert_eq!(store.repaired(), rewritten("hostname"));
    fs::remove_file(store.at("etc/second")).unwrap();
    // The other names of the key are removed, wherever they are; other unknown files stay.
    fs::create_dir_all(store.at("more/deep")).unwrap();
    fs::write(store.at("more/kept"), "x").unwrap();
    fs::hard_link(store.at("age.key"), store.at("more/deep/second")).unwrap();
    fs::remove_file(store.at("etc/wifi")).unwrap();
    fs::hard_link(store.at("age.key"), store.at("etc/wifi")).unwrap();
    let found: Vec<_> =
        store.compare().differing.into_iter().map(|d| (d.subject.to_string(), d.what)).collect();
    assert_eq!(found[1], ("age.key".into(), vec![What::Links(3)]));
    assert_eq!(store.repaired(), [rewritten("etc/wifi"), restricted("age.key")].concat());
    assert!(!store.at("more/deep/second").exists() && store.at("more/kept").exists());
}

#[test]
#[expect(clippy::print_stdout, reason = "why nothing was tested, for scripts/skipped")]
fn immutable_files_and_folders_are_unlocked() {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    let store = Store::new();
    let lock = |name: &str, flags: IFlags| {
        let file = fs::File::open(store.at(name)).unwrap();
        let before = ioctl_getflags(&file).unwrap_or(IFlags::empty());
        ioctl_setflags(&file, before | flags)
    };
    if let Err(error) = lock("hostname", IFlags::IMMUTABLE) {
        // Only root can set these flags, on some file systems; a boot test has one.
        println!("not tested: files cannot be made immutable here: {error}");
        return;
    }
    assert_eq!(store.difference(), ("hostname".into(), vec![What::Locked]));
    assert_eq!(store.repaired(), rewritten("hostname"));
    for (name, flags) in [("age.key", IFlags::IMMUTABLE), ("etc", IFlags::APPEND), ("", IFlags::IMMUTABLE)] {
        lock(name, flags).unwrap();
        assert_eq!(store.difference().1, [What::Locked]);
        assert_eq!(store.repaired().len(), 1);
    }
    // A file is missing in an immutable folder: both are corrected in one repair.
    fs::remove_file(store.at("etc/wifi")).unwrap();
    lock("etc", IFlags::IMMUTABLE).unwrap();
    assert_eq!(store.repaired(), [restricted("etc"), rewritten("etc/wifi")].concat());
}

#[test]
fn files_in_lost_and_found_are_unknown_too() {
    let store = Store::new();
    fs::write(store.at("lost+found/#12"), "x").unwrap();
    assert_eq!(store.compare().unknown, [Path::new("lost+found/#12")]);
    fs::remove_dir_all(store.at("lost+found")).unwrap();
    fs::write(store.at("lost+found"), "x").unwrap();
    assert_eq!(store.compare().unknown, [Path::new("lost+found")]);
}

#[test]
fn a_key_that_is_not_a_file_is_reported_and_left() {
    let store = Store::new();
    let target = store.outer.path().join("key");
    fs::rename(store.at("age.key"), &target).unwrap();
    symlink(&target, store.at("age.key")).unwrap();
    assert_eq!(store.difference(), ("age.key".into(), vec![What::Type(FileType::Link)]));
    let error = repair(&store.folder(), &store.seal, &store.compare()).unwrap_err();
    assert_eq!(
        error.failures[0].to_string(),
        "age.key: opening its folder: it is the node's key, which a node never writes: is a symbolic link, not a file"
    );
    assert!(fs::symlink_metadata(store.at("age.key")).unwrap().is_symlink());
}
