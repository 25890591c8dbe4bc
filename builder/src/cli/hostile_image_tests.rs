//! Partitions, archives and files that claim to be huge. The limits and the process that runs the commands are those of
//! [`super::hostile_tests`].

use super::hostile_tests::{BAD, grow, look, open, path, refused, replace_uki, told, with_files};
use crate::image::fixture;
use crate::limits;
use crate::tools;
use handoff::boot_record;
use handoff::hash::Sha256Digest;
use handoff::partition::Role;
use handoff::slot::Slot;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

#[test]
fn a_seal_partition_of_50_gib_in_a_sparse_file_is_refused() {
    let fixture = fixture::image();
    grow(&fixture, Role::Seal(Slot::A));
    let image = path(&fixture);
    let problem = format!(
        "cannot read partition seal-a of {}: a seal partition has 53687091200 bytes, more than the limit of 67108864 \
         bytes (a node holds the seal in memory)",
        image.display()
    );
    told(image, &format!("seal-a: {problem}"), "seal-a", &problem);
    let (code, said) = look("diff", image, &image.display().to_string());
    assert_eq!((code, said.matches(&problem).count()), (BAD, 2), "{said}");
}

#[test]
fn other_partitions_of_50_gib_are_refused() {
    let roles = [
        (Role::Esp, "esp", "the ESP has 53687091200 bytes, more than the limit of 1073741824 bytes"),
        (
            Role::Secret,
            "secret",
            "the secret partition has 53687091200 bytes, more than the limit of 4294967296",
        ),
    ];
    for (role, part, words) in roles {
        let fixture = with_files();
        grow(&fixture, role);
        let (code, said) = look("verify", path(&fixture), "");
        let bad = said.lines().find(|line| line.starts_with(&format!("BAD  {part} "))).unwrap_or_default();
        assert!(code == 1 && bad.contains(words), "{said}");
        for command in ["ls", "diff"] {
            let argument =
                if command == "ls" { part.to_owned() } else { path(&fixture).display().to_string() };
            let (code, said) = look(command, path(&fixture), &argument);
            assert!(code == BAD && said.contains(words), "{command}: {said}");
        }
        look("inspect", path(&fixture), "");
    }
}

/// A zstd frame of about 131 kB that unpacks to 4 GiB: one entry of zeros.
pub(super) fn bomb(says_its_size: bool) -> Vec<u8> {
    const PIECE: u32 = 128 << 10;
    let size: u64 = 4 << 30;
    let entry = crate::boot::initramfs::single_file("/zeros", 0o400, b"").unwrap();
    let mut start = entry.get(..120).unwrap().to_vec();
    start[54..62].copy_from_slice(b"fffffff0");
    let mut frame = 0xfd2f_b528_u32.to_le_bytes().to_vec();
    // A window of 8 MiB; with or without the size of the content.
    frame.extend_from_slice(if says_its_size { &[0xc0, 0x68] } else { &[0, 0x68] });
    if says_its_size {
        frame.extend_from_slice(&size.to_le_bytes());
    }
    let block = |kind: u32, length: u32| (kind << 1 | length << 3).to_le_bytes()[..3].to_vec();
    frame.extend(block(0, u32::try_from(start.len()).unwrap()));
    frame.extend_from_slice(&start);
    for _ in 0..size / u64::from(PIECE) {
        frame.extend(block(1, PIECE));
        frame.push(0);
    }
    frame
}

#[test]
fn an_initramfs_that_unpacks_to_4_gib_is_not_unpacked() {
    // Without the size, the number is what was unpacked when the limit was reached.
    for (says_its_size, found) in [(true, 4_294_967_296_u64), (false, 536_871_028)] {
        let fixture = fixture::image();
        let bomb = bomb(says_its_size);
        assert!(bomb.len() < 140_000, "{}", bomb.len());
        replace_uki(&fixture, &"0".repeat(64), Some(&bomb));
        let image = path(&fixture);
        let said = format!(
            "the initramfs cannot be read: the unpacked initramfs has {found} bytes, more than the limit of 536870912 bytes \
             (a node holds it in memory); psyops verify shows what is damaged"
        );
        refused(image, &[("ls", "initramfs")], &said);
        refused(image, &[("cat", "initramfs/init")], &said);
        let (code, said) = look("verify", image, "");
        assert!(
            code == 1 && said.contains("BAD  boot-a           the initramfs in the UKI cannot be unpacked"),
            "{said}"
        );
        look("inspect", image, "");
        look("diff", image, &image.display().to_string());
    }
}

/// A tar whose first header is of `kind` and has `size` bytes of zeros.
fn tar(kind: tar::EntryType, size: u64) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_path("long").unwrap();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_cksum();
    file.as_file().write_all_at(header.as_bytes(), 0).unwrap();
    file.as_file().set_len(512 + size + 1024).unwrap();
    file
}

#[test]
fn headers_of_2_gib_in_a_tar_are_refused() {
    use tar::EntryType::{GNULongLink, GNULongName, XHeader};
    for kind in [XHeader, GNULongName, GNULongLink] {
        let file = tar(kind, 2 << 30);
        let error = format!(
            "{}: an extended tar header has 2147483648 bytes, more than the limit of 1048576 bytes (an attribute has at \
             most 64 KiB)",
            file.path().display()
        );
        refused(file.path(), &[("tar", ""), ("layer", "")], &error);
    }
    let sparse = tar(tar::EntryType::GNUSparse, 1 << 40);
    let error =
        format!("{}: entry \"long\": an entry of a type that a root cannot have", sparse.path().display());
    refused(sparse.path(), &[("tar", ""), ("layer", "")], &error);
}

#[test]
fn a_uki_of_50_gib_is_not_read() {
    let fixture = fixture::image();
    grow(&fixture, Role::Boot(Slot::A));
    let (file, image) = open(&fixture);
    let partition = image.partition(Role::Boot(Slot::A)).unwrap();
    let record = handoff::boot_record::BootRecord {
        length: 49 << 30,
        digest: Sha256Digest::of(b""),
        security_epoch: 1,
        release: "1.0".parse().unwrap(),
        signature: String::new(),
    };
    let place = partition.offset.0 + partition.size.0 - boot_record::SIZE_U64;
    file.write_all_at(&record.encode().unwrap(), place).unwrap();
    let image = path(&fixture);
    let problem = format!(
        "cannot read partition boot-a of {}: the UKI has 52613349376 bytes, more than the limit of 100663296 bytes (a \
         node holds it in memory)",
        image.display()
    );
    refused(image, &[("ls", "initramfs")], &format!("slot a has no system: {problem}"));
    told(image, &format!("slot a: {problem}"), "boot-a", &problem);
}

#[test]
fn a_qemu_disk_with_huge_tables_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("evil.qcow2");
    let mut create = tools::QEMU_IMG.command().unwrap();
    assert!(create.args(["create", "-q", "-f", "qcow2"]).arg(&image).arg("1M").status().unwrap().success());
    let file = File::options().write(true).open(&image).unwrap();
    file.write_all_at(&u32::MAX.to_be_bytes(), 36).unwrap();
    file.set_len(100 << 30).unwrap();
    let error = format!(
        "cannot read {}: the first-level table of the QEMU disk has 4294967295 entries, more than the limit of 262144 \
         entries (64 GiB in clusters of 64 KiB need 128)",
        image.display()
    );
    refused(&image, &[("inspect", ""), ("verify", ""), ("ls", "esp"), ("cat", "esp/x")], &error);
}

#[test]
fn a_boot_log_of_1_tib_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(1 << 40).unwrap();
    let error = format!(
        "cannot read {}: the boot log has {} bytes, more than the limit of 16777216 bytes (a boot prints less than a MiB)\n  \
         use /run/psyops/boot.json of the node, or the output of psyops run --headless",
        file.path().display(),
        limits::REPORT.most + 1
    );
    let (code, said) = look("chart", file.path(), "");
    assert_eq!((code, said.lines().next()), (BAD, error.lines().next()));
}
