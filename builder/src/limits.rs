//! The limits of everything that the builder reads from outside: images, sticks, layers, receipts, reports.
//!
//! A sparse file of a few kilobytes can claim any size, and a few compressed bytes can unpack to any size. So a size is
//! compared with a limit before memory is allocated or a tool is started for it. Each limit follows from a format or
//! from what a node can hold, and the error names the limit and the size that was found. `image::plan` refuses to make
//! an image with a part over its limit: the builder can read whatever it makes.

use crate::width::to_usize;
use thiserror::Error;

/// The largest size or number that a reader accepts.
#[derive(Debug, PartialEq, Eq)]
pub struct Limit {
    /// The thing that is counted, as the start of a sentence.
    pub what: &'static str,
    /// The largest accepted number.
    pub most: u64,
    /// The unit of the number.
    pub unit: &'static str,
    /// The reason for the number.
    pub because: &'static str,
}

/// A size or number is over its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "{} has {found} {unit}, more than the limit of {} {unit} ({})", limit.what, limit.most, limit.because, unit = limit.unit
)]
pub struct OverLimit {
    /// The limit that was exceeded.
    pub limit: &'static Limit,
    /// The size or number that was found.
    pub found: u64,
}

impl Limit {
    /// Compares a size with the limit and returns it.
    pub fn check(&'static self, found: u64) -> Result<u64, OverLimit> {
        if found > self.most { Err(OverLimit { limit: self, found }) } else { Ok(found) }
    }

    /// The limit as a size in memory.
    #[must_use]
    pub fn in_memory(&self) -> usize {
        to_usize(self.most)
    }
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The ESP is made and compared in memory.
pub static ESP: Limit = bytes("the ESP", GIB, "it holds a selector of less than a MiB");
/// UEFI sets no limit; our ESPs have two files, and Secure Boot adds a few.
pub static ESP_FILES: Limit =
    Limit { what: "the ESP", most: 1000, unit: "files and folders", because: "the builder makes four" };
/// FAT32, section 6.1: a folder has at most 65,536 entries of 32 bytes.
pub static ESP_FOLDER: Limit = bytes("a folder of the ESP", 2 * MIB, "FAT32, section 6.1");
/// Firmware and kernel hold the UKI in memory, beside what it unpacks to; `diff` holds two of them.
pub static UKI: Limit = bytes("the UKI", 96 * MIB, "a node holds it in memory");
/// The kernel unpacks all of it into memory before it starts the loader.
pub static INITRAMFS: Limit = bytes("the unpacked initramfs", 512 * MIB, "a node holds it in memory");
/// Linux, `init/initramfs.c`: `PATH_MAX`, with its zero byte.
pub static CPIO_NAME: Limit = bytes("a name in the initramfs", 4096, "PATH_MAX of the kernel");
/// The same for a link's target.
pub static CPIO_LINK: Limit = bytes("a link in the initramfs", 4096, "PATH_MAX of the kernel");
/// Names and targets of all files together, which a listing holds in memory.
pub static CPIO_NAMES: Limit = bytes(
    "the initramfs, in names of files and targets of links,",
    16 * MIB,
    "a kernel's modules have 500 kB",
);
/// Each file takes an inode of the node's memory.
pub static CPIO_FILES: Limit = Limit {
    what: "the initramfs",
    most: 65_536,
    unit: "files",
    because: "a kernel has fewer than 5000 modules",
};
/// A trust file has a few keys and words.
pub static TRUST: Limit = bytes("the file of loader settings", MIB, "it holds a few keys");
/// Both partitions are read as a whole. The payload is unpacked in the node's memory.
pub static SEAL: Limit = bytes("a seal partition", 64 * MIB, "a node holds the seal in memory");
/// It has the files of the seal.
pub static SECRET: Limit = bytes("the secret partition", 4 * GIB, "it holds the files of a seal");
/// Kernel documentation, ext4, "Layout": one descriptor of 64 bytes for each group, all of which are kept.
pub static EXT4_GROUPS: Limit = Limit {
    what: "the file system",
    most: 65_536,
    unit: "block groups",
    because: "4 GiB with blocks of 1 KiB have 512",
};
/// A file of the secret partition that is shown.
pub static SECRET_FILE: Limit = bytes("the file", 64 * MIB, "a seal has at most as much");
/// A folder of the secret partition that is listed.
pub static SECRET_FOLDER: Limit = bytes("the folder", 16 * MIB, "a seal has at most 100000 files");
/// All files and folders of the secret partition.
pub static SECRET_FILES: Limit = Limit {
    what: "the secret partition",
    most: 200_000,
    unit: "files and folders",
    because: "a seal has at most 100000 files",
};
/// The reads for one path: a file of [`SECRET_FILE`] in blocks of 1 KiB, and as many again for its tree.
pub static EXT4_READS: Limit = Limit {
    what: "reading this path",
    most: 262_144,
    unit: "reads of the secret partition",
    because: "64 MiB in blocks of 1 KiB take fewer",
};
/// The data of a root; its hash tree has 1/127 of their size.
pub static ROOT: Limit = bytes("the root", 16 * GIB, "its hash tree is held in memory");
/// The bytes that `diff` reads when a root is unpacked.
pub static ROOT_UNPACKED: Limit = bytes("the unpacked root", 64 * GIB, "four times the largest root");
/// Each file is a line of a listing in memory.
pub static ROOT_FILES: Limit =
    Limit { what: "the root", most: 400_000, unit: "files", because: "their list is held in memory" };
/// A listing by `unsquashfs`: at most [`ROOT_FILES`] lines.
pub static ROOT_LIST: Limit = bytes("the list of files", 128 * MIB, "it is held in memory");
/// Each volume needs a run of blkid; the largest volumes are probed.
pub static VOLUMES: Limit = Limit {
    what: "the disk",
    most: 32,
    unit: "partitions that are looked into",
    because: "each takes a run of blkid",
};
/// squashfs 4.0, superblock: `block_size` is at most 1 MiB.
pub static SQUASHFS_BLOCK: Limit = bytes("a block of the squashfs", MIB, "squashfs 4.0");
/// A file that `cat` shows is held in memory.
pub static SHOWN_FILE: Limit = bytes("the file", 64 * MIB, "it is held in memory");
/// POSIX pax and GNU tar: a header that only describes the next one. An attribute has at most 64 KiB (xattr(7)).
pub static TAR_EXTENSION: Limit = bytes("an extended tar header", MIB, "an attribute has at most 64 KiB");
/// The same as the most files of a root.
pub static TAR_ENTRIES: Limit =
    Limit { what: "the tar", most: 400_000, unit: "entries", because: "their list is held in memory" };
/// The unpacked bytes of a layer.
pub static LAYER: Limit = bytes("the unpacked layer", 16 * GIB, "a root has at most as much");
/// OCI distribution specification, "Pushing Manifests": registries take manifests of at least 4 MiB, and no larger ones
/// are in use.
pub static MANIFEST: Limit = bytes("the manifest or configuration", 4 * MIB, "OCI distribution, manifests");
/// `site.toml`, the files of nodes and `role.toml` are written by hand.
pub static SITE_TEXT: Limit = bytes("a file of settings", MIB, "people write it");
/// depmod(8): Debian's `modules.alias` has 1 MiB.
pub static MODULE_INDEX: Limit = bytes("an index of kernel modules", 16 * MIB, "Debian's have 1 MiB");
/// A link counts each time it is followed.
pub static MODULE_LINKS: Limit = Limit {
    what: "an index of kernel modules",
    most: 1 << 20,
    unit: "dependencies on the way to the required modules",
    because: "a kernel has fewer than 5000 modules",
};
/// The modules are a part of the UKI.
pub static MODULES: Limit = bytes("the required kernel modules", 96 * MIB, "they are a part of the UKI");
/// A kernel, a boot stub or a program that becomes a part of a UKI or the ESP.
pub static INPUT: Limit = bytes("a part of the UKI or the ESP", 96 * MIB, "a UKI has at most as much");
/// Container engines stop at 127 (overlayfs); each layer is unpacked to its own file.
pub static IMAGE_LAYERS: Limit =
    Limit { what: "the image", most: 127, unit: "layers", because: "container engines take no more" };
/// A signed text of some hundred bytes.
pub static REGISTRY_TOKEN: Limit = bytes("the registry's token", 64 << 10, "a token is a part of a header");
/// A registry's error message is shown; only this much of it is read.
pub static REGISTRY_ERROR: Limit = bytes("the registry's error", 4 << 10, "it is shown");
/// A receipt has a digest for each part of an image.
pub static RECEIPT: Limit = bytes("the receipt", MIB, "it has nine digests");
/// A boot report has a line for each event; a log around it has everything that was printed.
pub static REPORT: Limit = bytes("the boot log", 16 * MIB, "a boot prints less than a MiB");
/// QEMU, `docs/interop/qcow2.txt`, "Header": one cluster of at most 2 MiB.
pub static QCOW2_SIZE: Limit =
    bytes("the QEMU disk", 64 * GIB, "twice the largest root and all other partitions");
/// Entries of 8 bytes in the first-level table, as many as the size of the disk needs.
pub static QCOW2_L1: Limit = Limit {
    what: "the first-level table of the QEMU disk",
    most: 1 << 18,
    unit: "entries",
    because: "64 GiB in clusters of 64 KiB need 128",
};

const fn bytes(what: &'static str, most: u64, because: &'static str) -> Limit {
    Limit { what, most, unit: "bytes", because }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_limit_and_what_was_found() {
        assert_eq!(SEAL.check(64 << 20), Ok(64 << 20));
        let error = SEAL.check(50 << 30).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a seal partition has 53687091200 bytes, more than the limit of 67108864 bytes \
             (a node holds the seal in memory)"
        );
    }
}
