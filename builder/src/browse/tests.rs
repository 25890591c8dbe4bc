use super::*;
use crate::image::fixture;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

fn names(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.name.as_str()).collect()
}

#[test]
fn the_parts_their_folders_and_their_files() {
    let fixture = fixture::image();
    let image = fixture.image.path.as_path();
    let list = |path: &str| list(image, path).unwrap();
    let read = |path: &str| read(image, path).unwrap();
    assert_eq!(names(&list("")), ["esp", "initramfs", "root", "secret"]);
    assert_eq!(names(&list("esp")), ["EFI", "STARTUP.NSH"]);
    assert_eq!(names(&list("esp/EFI/BOOT/")), ["BOOTX64.EFI"]);
    let selector = &list("esp/EFI/BOOT/BOOTX64.EFI")[0];
    assert_eq!((selector.name.as_str(), selector.size, selector.mode), ("BOOTX64.EFI", 8, None));
    assert_eq!(read("esp/EFI/BOOT/BOOTX64.EFI"), b"selector");

    assert!(names(&list("initramfs")).starts_with(&["dev", "init", "proc", "psyops"]));
    assert_eq!(names(&list("initramfs-a/psyops")), ["end", "modules", "trust"]);
    let init = &list("initramfs/init")[0];
    assert_eq!((init.mode, init.owner, init.kind), (Some(0o755), Some((0, 0)), EntryKind::File));
    assert_eq!(init.to_string(), "- 0755       0:0          6  init");
    assert!(String::from_utf8(read("initramfs/psyops/trust")).unwrap().starts_with("site: site\n"));

    let secret = list("secret");
    assert_eq!(names(&secret), ["lost+found"]);
    assert_eq!((secret[0].kind, secret[0].mode), (EntryKind::Folder, Some(0o700)));
    assert_eq!(secret[0].to_json()["mode"], "0700");
}

#[test]
fn a_missing_path_and_a_folder_are_reported() {
    let fixture = fixture::image();
    let image = fixture.image.path.as_path();
    for path in ["esp/no", "esp/EFI/no", "initramfs/no", "initramfs/psyops/no", "secret/no", "nowhere/x"] {
        for error in [list(image, path).unwrap_err(), read(image, path).unwrap_err()] {
            assert_eq!(error.class(), Class::MissingInput, "{path}: {error}");
            assert!(error.to_string().contains(path), "{path}: {error}");
        }
    }
    for path in ["esp", "esp/EFI", "initramfs/psyops", "initramfs/dev/null", "secret/lost+found"] {
        let error = read(image, path).unwrap_err();
        assert!(matches!(error, BrowseError::Kind { .. }), "{path}: {error}");
    }
    for (path, role) in [("initramfs-b/init", "slot b"), ("root/etc", "the root")] {
        let error = list(image, path).unwrap_err();
        assert!(error.to_string().contains(role) && error.class() == Class::BadContent, "{path}: {error}");
    }
}

#[test]
fn a_damaged_part_is_named() {
    let fixture = fixture::image();
    let file = File::options().write(true).open(&fixture.image.path).unwrap();
    for (role, path, words) in [
        (handoff::partition::Role::Esp, "esp", "the ESP cannot be read"),
        (handoff::partition::Role::Boot(Slot::A), "initramfs/init", "slot a has no system"),
        (handoff::partition::Role::Secret, "secret", "the secret partition cannot be read"),
    ] {
        file.write_all_at(&[0x55; 4096], fixture.image.plan.partition(role).unwrap().offset.0).unwrap();
        let error = list(&fixture.image.path, path).unwrap_err();
        assert!(error.to_string().contains(words) && error.class() == Class::BadContent, "{error}");
    }
}
