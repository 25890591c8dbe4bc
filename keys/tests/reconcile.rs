//! Comparing and repairing a real folder: each way to differ, planted links, and what must not be touched.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use keys::reconcile::{Action, Comparison, Errno, FileType, Problem, Step, What, compare, repair};
use keys::seal::OpenedSeal;
use nix::sys::stat::Mode;
use nix::unistd::{geteuid, mkfifo};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
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

    /// A store that is as its seal says, with the files that every store has.
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

    /// The one difference there is.
    fn difference(&self) -> (String, Vec<What>) {
        let comparison = self.compare();
        assert_eq!(comparison.differing.len(), 1, "{comparison:?}");
        let difference = comparison.differing.into_iter().next().unwrap();
        (difference.path.to_string(), difference.what)
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
    if !geteuid().is_root() {
        // Only root can give a file away; that the owner is compared shows where root runs the tests.
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
    let found: Vec<_> = comparison.differing.iter().map(|d| (d.path.as_str(), d.what.clone())).collect();
    assert_eq!(found, [("etc/ssh/key", parent.clone()), ("etc/wifi", parent)]);
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
    let memory = keys::issue::seal_builder::File { store: handoff::manifest::Store::Memory, ..file(0o600) };
    sealed.add(path("node.toml"), memory, Vec::new().into()).unwrap();
    let seal = site.open(&site.seal(&sealed, 1));
    let folder = TempDir::new().unwrap();
    assert_eq!(compare(folder.path(), seal.manifest()), Ok(Comparison::default()));
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
    if geteuid().is_root() {
        // Folder permissions do not stop root; boot tests have the read-only medium.
        return;
    }
    let store = Store::new();
    fs::write(store.at("etc/wifi"), "other").unwrap();
    fs::set_permissions(store.at("etc"), fs::Permissions::from_mode(0o500)).unwrap();
    let error = repair(&store.folder(), &store.seal, &store.compare()).unwrap_err();
    fs::set_permissions(store.at("etc"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(error.failures.len(), 1);
    assert_eq!(error.failures[0].step, Step::Create);
    assert_eq!(error.failures[0].problem, Problem::Errno(Errno::EACCES));
}
