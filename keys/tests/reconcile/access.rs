//! Mode, owner, attributes and links of files, of folders, and of the node's key, whose content stays.

use crate::{Store, as_root, rewritten};
use keys::reconcile::{Action, FileType, What, repair};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

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
    if !as_root("access::wrong_owner") {
        return;
    }
    let store = Store::new();
    std::os::unix::fs::chown(store.at("hostname"), Some(12), Some(34)).unwrap();
    let what = vec![What::Owner { expected: (0, 0), found: (12, 34) }];
    assert_eq!(store.difference(), ("hostname".into(), what));
    assert_eq!(store.repaired(), rewritten("hostname"));
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
    if !as_root("access::the_owner_of_key_and_folders_is_root") {
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
