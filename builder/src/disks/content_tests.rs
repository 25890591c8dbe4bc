//! What is recognised on files with the content of disks.

use super::consent::Consent;
use super::content::{Content, ContentKind};
use super::preflight::Purpose;
use super::refusal::Refusal;
use crate::error::Classified as _;
use crate::image::fixture::{self, Recipe};
use crate::site::{Bytes, Sizes};
use handoff::partition::Role;
use handoff::paths::SECRET_LABEL;
use handoff::slot::Slot;
use keys::issue::signing::SigningKey;
use rustix::fs::{OFlags, fcntl_getfl};
use std::fs::File;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::Command;

const MIB: u64 = 1 << 20;

/// A disk of that size, on which these programs were run.
fn disk(size: u64, commands: &[&[&str]]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(size).unwrap();
    for words in commands {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(file.path());
        let output = command.output().unwrap_or_else(|error| panic!("{words:?}: {error}"));
        assert!(output.status.success(), "{words:?}: {output:?}");
    }
    file
}

fn look(file: &tempfile::NamedTempFile) -> Content {
    Content::of(file.path(), file.as_file(), file.as_file().metadata().unwrap().len()).unwrap()
}

fn purpose(site: &str, node: &str) -> Purpose {
    Purpose::new(Path::new("/"), site, node, 0).unwrap()
}

fn code(result: Result<(), Refusal>) -> u8 {
    result.map_or_else(|refusal| refusal.exit_code(), |()| 0)
}

#[test]
fn a_stick_of_another_node_must_be_reassigned() {
    let image = fixture::image();
    let file = File::open(&image.image.path).unwrap();
    let size = file.metadata().unwrap().len();
    let content = Content::of(Path::new("disk"), &file, size).unwrap();
    assert_eq!(content.kind, ContentKind::Stick { site: "site".into(), node: "demo".into() });
    let preflight =
        |purpose: &Purpose, consent: &Consent| content.preflight(Path::new("/dev/x"), purpose, consent);
    let none = Consent::default();
    preflight(&purpose("site", "demo"), &none).unwrap();
    let other = preflight(&purpose("site", "pi1"), &none).unwrap_err();
    assert_eq!(other.to_string(), "/dev/x is the stick of the node demo, not of pi1");
    assert_eq!((other.exit_code(), other.advice().unwrap().contains("--reassign demo")), (88, true));
    let reassigned = |node: &str| Consent { reassign: vec![node.into()], ..Consent::default() };
    preflight(&purpose("site", "pi1"), &reassigned("demo")).unwrap();
    assert_eq!(code(preflight(&purpose("site", "pi1"), &reassigned("pi1"))), 88);
    let named = |name: &str| Consent { overwrite: vec![name.into()], ..reassigned("demo") };
    assert_eq!(code(preflight(&purpose("elsewhere", "demo"), &reassigned("demo"))), 89);
    assert_eq!(code(preflight(&purpose("elsewhere", "demo"), &named("demo"))), 89);
    preflight(&purpose("elsewhere", "demo"), &named("site/demo")).unwrap();
    assert_eq!(code(content.preflight_partition(Path::new("/dev/x"), &none)), 89);
}

#[test]
fn data_of_a_node_is_not_overwritten_without_consent() {
    let signing = SigningKey::generate().unwrap();
    let sizes = Sizes { data: Some(Bytes::mib(8)), ..Sizes::default() };
    let image = fixture::image_of(&Recipe { sizes, ..Recipe::plain(&signing) });
    let path = image.image.path.as_path();
    let data = image.image.plan.partition(Role::Data).unwrap();
    let look = || {
        let file = File::open(path).unwrap();
        Content::of(path, &file, file.metadata().unwrap().len()).unwrap()
    };
    let preflight = |content: &Content, node: &str, consent: &Consent| {
        content.preflight(Path::new("/dev/x"), &purpose("site", node), consent)
    };
    let none = Consent::default();
    // The partition is as it was flashed.
    assert_eq!(look().data, None);
    preflight(&look(), "demo", &none).unwrap();

    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(b"something", data.offset.0 + 70_000).unwrap();
    assert_eq!(look().data.as_deref(), Some("data"));
    let mut make = Command::new("mke2fs");
    make.args(["-q", "-t", "ext4", "-L", "logs", "-E", &format!("offset={}", data.offset.0)]);
    assert!(make.arg(path).arg("4M").output().unwrap().status.success());
    let content = look();
    assert_eq!(content.data.as_deref(), Some("logs"));
    assert!(content.description().starts_with("node demo of site site, with logs on its data partition"));
    let refusal = preflight(&content, "demo", &none).unwrap_err();
    assert_eq!(refusal.to_string(), "/dev/x has logs on its data partition, which would be lost");
    assert_eq!((refusal.exit_code(), refusal.advice().unwrap().contains("--overwrite logs")), (89, true));
    let named =
        |name: &str| Consent { overwrite: vec![name.into()], reassign: vec!["demo".into()], ..none.clone() };
    preflight(&content, "demo", &named("logs")).unwrap();
    assert_eq!(code(preflight(&content, "pi1", &named("demo"))), 89);
    preflight(&content, "pi1", &named("logs")).unwrap();
    assert_eq!(code(content.preflight_for_any(Path::new("/dev/x"), Some("site"))), 89);
}

#[test]
fn a_stick_whose_tables_were_wiped_is_blank_and_one_whose_seals_are_lost_is_named() {
    let image = fixture::image();
    let file = File::options().read(true).write(true).open(&image.image.path).unwrap();
    let size = file.metadata().unwrap().len();
    for slot in Slot::BOTH {
        let seal = image.image.plan.partition(Role::Seal(slot)).unwrap();
        file.write_all_at(&vec![0; 4096], seal.offset.0).unwrap();
    }
    assert_eq!(
        Content::of(Path::new("disk"), &file, size).unwrap().kind,
        ContentKind::Other("psyopsOS".into())
    );
    file.write_all_at(&vec![0; 34 * 512], 0).unwrap();
    assert_ne!(
        Content::of(Path::new("disk"), &file, size).unwrap().kind,
        ContentKind::Blank,
        "the backup table is there"
    );
    file.write_all_at(&vec![0; 33 * 512], size - 33 * 512).unwrap();
    let content = Content::of(Path::new("disk"), &file, size).unwrap();
    assert_eq!(
        content,
        Content {
            table: None,
            found: Vec::new(),
            kind: ContentKind::Blank,
            data: None,
            table_faults: Vec::new()
        }
    );
    content.preflight(Path::new("/dev/x"), &purpose("site", "pi1"), &Consent::default()).unwrap();
}

#[test]
fn file_systems_are_named_by_label_or_kind() {
    let cases: [(u64, &[&str], &str); 6] = [
        (8 * MIB, &["/usr/sbin/mke2fs", "-q", "-t", "ext4", "-L", "my photos"], "my photos"),
        (8 * MIB, &["/usr/sbin/mke2fs", "-q", "-t", "ext2"], "ext2"),
        (8 * MIB, &["/usr/sbin/mkfs.vfat", "-n", "CAMERA"], "CAMERA"),
        // The folder with the label is after tables of 2 MiB.
        (16 << 30, &["/usr/sbin/mkfs.vfat", "-F32", "-s8", "-n", "MUSIC"], "MUSIC"),
        (8 * MIB, &["/usr/sbin/mkswap", "-q"], "swap"),
        (
            64 * MIB,
            &[
                "/usr/sbin/cryptsetup",
                "-q",
                "luksFormat",
                "--pbkdf=pbkdf2",
                "--pbkdf-force-iterations=1000",
                "--key-file=/proc/version",
            ],
            "crypto_LUKS",
        ),
    ];
    for (size, command, name) in cases {
        let content = look(&disk(size, &[command]));
        assert_eq!(content.kind, ContentKind::Other(name.into()), "{command:?}: {content:?}");
        assert_eq!((content.table.as_deref(), content.names()), (None, vec![name.to_owned()]), "{command:?}");
    }
}

#[test]
fn partitions_are_read_and_the_largest_gives_the_name() {
    for (make, kind) in [("label: gpt\n,8M\n,32M\n,\n", "gpt"), ("label: dos\n,8M\n,32M\n,\n", "dos")] {
        let file = disk(64 * MIB, &[]);
        let mut table = Command::new("/usr/sbin/sfdisk");
        table.args(["-q"]).arg(file.path()).stdin(std::process::Stdio::piped());
        let mut table = table.spawn().unwrap();
        std::io::Write::write_all(table.stdin.as_mut().unwrap(), make.as_bytes()).unwrap();
        assert!(table.wait().unwrap().success());
        assert_eq!(look(&file).kind, ContentKind::Other(kind.into()), "an empty table is something, too");
        // The first partition begins at 1 MiB.
        for (offset, size, command) in
            [(1, 8, ["/usr/sbin/mkfs.vfat", "-n", "SMALL"]), (9, 32, ["/usr/sbin/mkfs.vfat", "-n", "LARGE"])]
        {
            let volume = disk(size * MIB, &[&command]);
            file.as_file().write_all_at(&std::fs::read(volume.path()).unwrap(), offset * MIB).unwrap();
        }
        let content = look(&file);
        assert_eq!(
            (content.table.as_deref(), content.names()),
            (Some(kind), vec!["SMALL".into(), "LARGE".into()])
        );
        let refusal = content
            .preflight(Path::new("/dev/x"), &purpose("fleet", "pi1"), &Consent::default())
            .unwrap_err();
        assert_eq!(
            (refusal.exit_code(), refusal.to_string()),
            (89, "/dev/x has LARGE (and SMALL) on it, not a stick of this site".into())
        );
        assert!(refusal.advice().unwrap().ends_with("--overwrite LARGE"));
        let named = |name: &str| Consent { overwrite: vec![name.into()], ..Consent::default() };
        let other =
            content.preflight(Path::new("/dev/x"), &purpose("fleet", "pi1"), &named("SMALL")).unwrap_err();
        assert_eq!((other.exit_code(), other.to_string()), (89, "/dev/x has LARGE on it, not SMALL".into()));
        content.preflight(Path::new("/dev/x"), &purpose("fleet", "pi1"), &named("LARGE")).unwrap();
    }
}

#[test]
fn an_old_secret_partition_may_only_be_replaced_by_a_new_one() {
    let content = look(&disk(8 * MIB, &[&["/usr/sbin/mke2fs", "-q", "-t", "ext4", "-L", SECRET_LABEL]]));
    assert_eq!(content.kind, ContentKind::OldSecrets);
    let none = Consent::default();
    content.preflight_partition(Path::new("/dev/x1"), &none).unwrap();
    assert_eq!(code(content.preflight(Path::new("/dev/x"), &purpose("fleet", "pi1"), &none)), 89);
    let vfat = look(&disk(8 * MIB, &[&["/usr/sbin/mkfs.vfat", "-n", "psyops-sec"]]));
    assert_eq!(code(vfat.preflight_partition(Path::new("/dev/x1"), &none)), 89);
}

#[test]
fn only_zeros_are_blank() {
    let empty = disk(8 * MIB, &[]);
    assert_eq!(look(&empty).kind, ContentKind::Blank);
    assert_eq!(look(&disk(0, &[])).kind, ContentKind::Blank);
    for place in [0, 511, MIB - 1, 8 * MIB - 1, 8 * MIB - 33 * 512] {
        let file = disk(8 * MIB, &[]);
        file.as_file().write_all_at(&[1], place).unwrap();
        assert_eq!(look(&file).kind, ContentKind::Other("data".into()), "{place}");
    }
}

#[test]
fn a_descriptor_for_direct_reading_is_restored_afterwards() {
    let file = disk(8 * MIB, &[&["/usr/sbin/mkfs.vfat", "-n", "CAMERA"]]);
    let mut options = File::options();
    options.read(true).custom_flags(OFlags::DIRECT.bits().try_into().unwrap());
    let direct = options.open(file.path()).unwrap();
    assert_eq!(
        Content::of(Path::new("disk"), &direct, 8 * MIB).unwrap().kind,
        ContentKind::Other("CAMERA".into())
    );
    assert!(fcntl_getfl(&direct).unwrap().contains(OFlags::DIRECT));
}
