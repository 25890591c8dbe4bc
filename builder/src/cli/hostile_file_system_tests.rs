//! File systems in an image that were made by an attacker: the ESP, the secret partition and the root. The limits and the
//! process that runs the commands are those of [`super::hostile_tests`].

use super::hostile_tests::{BAD, debugfs, grow, look, open, path, refused, replace_uki, told, with_files};
use crate::image::fixture::{self, Fixture};
use crate::image::slot;
use crate::root::verity;
use crate::site::Bytes;
use handoff::partition::Role;
use handoff::slot::Slot;
use std::fs;
use std::os::unix::fs::FileExt as _;

/// Sets the entry of a cluster in both tables.
fn link(fixture: &Fixture, path: &str, next: u32) -> u32 {
    let (file, image) = open(fixture);
    let esp = image.partition(Role::Esp).unwrap().offset.0;
    let cluster = crate::image::esp_reader::open(&image).unwrap().get(path).unwrap().first_cluster().unwrap();
    let next = if next == 0 { cluster } else { next };
    let boot = image.read(Role::Esp, Bytes(0), 512).unwrap();
    let reserved = u64::from(u16::from_le_bytes([boot[14], boot[15]])) * 512;
    let table = u64::from(u32::from_le_bytes(boot[36..40].try_into().unwrap())) * 512;
    for number in 0..2 {
        let place = esp + reserved + table * number + u64::from(cluster) * 4;
        file.write_all_at(&next.to_le_bytes(), place).unwrap();
    }
    cluster
}

#[test]
fn circular_and_crossed_chains_of_the_esp_end() {
    let (selector, folder) = ("EFI/BOOT/BOOTX64.EFI", "EFI/BOOT");
    for (from, to, blamed) in
        [(selector, 0, selector), (folder, 0, folder), ("STARTUP.NSH", 2, "STARTUP.NSH")]
    {
        let fixture = fixture::image();
        let cluster = link(&fixture, from, to);
        let cluster = if to == 0 { cluster } else { to };
        let image = path(&fixture);
        let problem = format!(
            "its file allocation table is damaged: cluster {cluster} is used by {blamed} and by another file, or twice by it"
        );
        let looks = [("ls", "esp"), ("cat", "esp/EFI/BOOT/BOOTX64.EFI")];
        refused(
            image,
            &looks,
            &format!("the ESP cannot be read: {problem}; psyops verify shows what is damaged"),
        );
        told(image, &format!("esp: {problem}"), "esp", &format!("the selector cannot be read: {problem}"));
        let (code, said) = look("diff", image, &image.display().to_string());
        assert!(code == BAD && said.contains(&problem), "{said}");
    }
}

#[test]
fn an_ext4_file_of_1_tib_is_not_read() {
    let fixture = with_files();
    debugfs(&fixture, "sif hostname size 1099511627776");
    let image = path(&fixture);
    refused(
        image,
        &[("cat", "secret/hostname")],
        "the secret partition cannot be read: the file has 1099511627776 bytes, more than the limit of 67108864 bytes \
         (a seal has at most as much); psyops verify shows what is damaged",
    );
    let (code, said) = look("ls", image, "secret");
    assert!(code == 0 && said.contains("1099511627776  hostname"), "{said}");
    // For e2fsck, a hole at the end of a file is not an error.
    assert_eq!(look("verify", image, "").0, 0);
    look("inspect", image, "");
}

#[test]
fn an_ext4_folder_of_1_tib_is_not_listed() {
    let fixture = with_files();
    debugfs(&fixture, "sif / size 1099511627776");
    refused(
        path(&fixture),
        &[("ls", "secret"), ("cat", "secret/hostname")],
        "the secret partition cannot be read: the folder has 1099511627776 bytes, more than the limit of 16777216 bytes \
         (a seal has at most 100000 files); psyops verify shows what is damaged",
    );
}

#[test]
fn an_ext4_superblock_is_compared_with_its_partition() {
    for (request, problem) in [
        (
            "ssv blocks_count 4294967295",
            "its superblock has 4294967295 blocks of 1024 bytes, which is more than the partition's 16777216 bytes",
        ),
        // Blocks of 128 KiB, which no kernel supports, and as many groups as blocks: 34 GiB for their list.
        (
            "ssv log_block_size 7\nssv blocks_per_group 1\nssv blocks_count 1000000",
            "the file system has 1000000 block groups, more than the limit of 65536 block groups",
        ),
        // ext4-view would allocate memory for such a block immediately.
        ("ssv log_block_size 20", "its superblock has blocks of 2^30 bytes; the largest are 2^16 bytes"),
        ("ssv blocks_per_group 0", "corrupt filesystem: blocks per group is zero"),
    ] {
        let fixture = with_files();
        debugfs(&fixture, request);
        let (code, said) = look("ls", path(&fixture), "secret");
        let prefix = "the secret partition cannot be read: ";
        assert!(code == BAD && said.starts_with(prefix) && said.contains(problem), "{request}: {said}");
        look("verify", path(&fixture), "");
        look("inspect", path(&fixture), "");
    }
}

/// Changes the squashfs of a root, and gives it a hash tree and a root hash that fit.
fn change_root(fixture: &Fixture, change: impl FnOnce(&mut [u8])) {
    let (file, image) = open(fixture);
    let blocks = slot::superblock(&image, Slot::A).unwrap().data_blocks;
    let (role, tree_role) = (Role::Root(Slot::A), Role::Verity(Slot::A));
    let mut root = image.read(role, Bytes(0), usize::try_from(blocks * 4096).unwrap()).unwrap();
    change(&mut root);
    let folder = tempfile::tempdir().unwrap();
    let (data, tree) = (folder.path().join("root"), folder.path().join("tree"));
    fs::write(&data, &root).unwrap();
    let parameters = verity::Parameters { uuid: uuid::Uuid::nil(), salt: [1; 32] };
    let hash = verity::format(&data, &tree, &parameters).unwrap();
    file.write_all_at(&root, image.partition(role).unwrap().offset.0).unwrap();
    let place = image.partition(tree_role).unwrap().offset.0;
    file.write_all_at(&fs::read(&tree).unwrap(), place).unwrap();
    replace_uki(fixture, &hash.to_string(), None);
}

#[test]
fn a_squashfs_is_checked_before_unsquashfs_is_started() {
    let cases: [(usize, &[u8], &str); 3] = [
        (
            4,
            &[0xff; 4],
            "the root has 4294967295 files, more than the limit of 400000 files (their list is held in memory)",
        ),
        (
            12,
            &[0, 0, 0, 0x40],
            "a block of the squashfs has 1073741824 bytes, more than the limit of 1048576 bytes (squashfs 4.0)",
        ),
        (46, &[0xff], "its squashfs has "),
    ];
    for (at, bytes, problem) in cases {
        let fixture = with_files();
        change_root(&fixture, |root| root[at..at + bytes.len()].copy_from_slice(bytes));
        for (command, argument) in [("ls", "root/etc"), ("cat", "root/etc/motd")] {
            let (code, said) = look(command, path(&fixture), argument);
            let prefix = format!("the root cannot be read: {problem}");
            assert!(code == BAD && said.starts_with(&prefix), "{command}: {said}");
        }
    }
}

#[test]
fn a_root_of_50_gib_is_not_hashed() {
    let fixture = with_files();
    grow(&fixture, Role::Root(Slot::A));
    let (file, image) = open(&fixture);
    let mut superblock = slot::superblock(&image, Slot::A).unwrap();
    superblock.data_blocks = (50 << 30) / 4096;
    let place = image.partition(Role::Verity(Slot::A)).unwrap().offset.0;
    file.write_all_at(&superblock.encode(), place).unwrap();
    let image = path(&fixture);
    let problem = format!(
        "cannot read partition root-a of {}: the root has 53687091200 bytes, more than the limit of 17179869184 bytes \
         (its hash tree is held in memory)",
        image.display()
    );
    refused(
        image,
        &[("ls", "root/etc"), ("cat", "root/etc/motd")],
        &format!("the root cannot be read: {problem}; psyops verify shows what is damaged"),
    );
    told(image, &format!("slot a: {problem}"), "root-a", &problem);
}
