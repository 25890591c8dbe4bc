//! Files that are not in the seal, and what an interrupted repair left.

use crate::Store;
use keys::reconcile::Action;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

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
fn files_in_lost_and_found_are_unknown_too() {
    let store = Store::new();
    fs::write(store.at("lost+found/#12"), "x").unwrap();
    assert_eq!(store.compare().unknown, [Path::new("lost+found/#12")]);
    fs::remove_dir_all(store.at("lost+found")).unwrap();
    fs::write(store.at("lost+found"), "x").unwrap();
    assert_eq!(store.compare().unknown, [Path::new("lost+found")]);
}
