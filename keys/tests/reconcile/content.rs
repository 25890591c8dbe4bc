//! Content, kind and place of files: what differs is rewritten, and links are not followed.

use crate::support::{Fixture, builder, file, path};
use crate::{Store, rewritten, without_rights};
use keys::reconcile::{Comparison, Errno, FileType, Problem, Step, What, compare, compare_copy, repair};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use tempfile::TempDir;

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
    if !without_rights("content::a_read_only_medium_names_the_step_and_leaves_the_rest_alone") {
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
