//! The kernel modules of the initramfs: the closure of a declared list, each after all that it needs.
//!
//! `index` reads the indexes of depmod(8) for a kernel, `list` selects the modules of the initramfs.

mod index;
mod list;

pub use index::{ModuleIndex, ModuleName};
pub use list::{FOR_PEOPLE, ModuleFile, WANTED, collect};

use crate::error::{Class, Classified};
use crate::limits::OverLimit;
use std::path::PathBuf;
use thiserror::Error;

/// Why the list of modules could not be made.
#[derive(Debug, Error, classified::Cause)]
pub enum ModulesError {
    /// An index of depmod could not be read.
    #[error("cannot read {path}: {source}; run depmod(8) on the unpacked kernel package")]
    Index {
        /// The path of the index.
        path: PathBuf,
        /// The error from opening or reading it.
        r#source: std::io::Error,
    },
    /// A declared module is neither a file nor built in.
    #[error(
        "the kernel {release} has no module {name}: choose another kernel package, or remove the module from the list"
    )]
    Unknown {
        /// The name of the module.
        name: ModuleName,
        /// The release of the kernel.
        release: String,
    },
    /// A module's file that the index names could not be read.
    #[error("cannot read the kernel module {path}: {source}; unpack the kernel package again")]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The error from opening or reading it.
        r#source: std::io::Error,
    },
    /// A module is compressed: unpacking it before `finit_module(2)` would need a library.
    #[error("the kernel module {path} is compressed: only kernels with plain .ko files are supported")]
    Compressed {
        /// The path of the file.
        path: PathBuf,
    },
    /// The indexes or the modules are larger than those of any kernel.
    #[error("the kernel package has no usable kernel: {0}")]
    Limit(OverLimit),
}

impl From<OverLimit> for ModulesError {
    fn from(error: OverLimit) -> Self {
        Self::Limit(error)
    }
}

impl Classified for ModulesError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::Index { source, .. } | Self::File { source, .. } => Class::of_reading(source),
            Self::Unknown { .. } | Self::Compressed { .. } | Self::Limit(_) => Class::BadContent,
        })
    }
}

#[cfg(test)]
mod fixture {
    /// A folder with the modules of a small kernel, below its release.
    pub(super) fn kernel() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join("6.1.0-test").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(
            "modules.dep",
            "kernel/fs/ext4/ext4.ko: kernel/lib/crc16.ko kernel/fs/jbd2/jbd2.ko\n\
             kernel/fs/jbd2/jbd2.ko:\nkernel/lib/crc16.ko:\nkernel/crypto/crc32c-intel.ko:\n\
             kernel/crypto/crc32c_generic.ko:\nkernel/drivers/usb-storage.ko: kernel/drivers/scsi.ko\n\
             kernel/drivers/scsi.ko:\nkernel/drivers/late.ko:\nkernel/x.ko.xz:\n",
        );
        write(
            "modules.softdep",
            "# comment\nsoftdep ext4 pre: crypto-crc32c nothing\nsoftdep usb_storage late2 post: late\n",
        );
        write(
            "modules.alias",
            "alias crypto-crc32c crc32c_intel\nalias crypto-crc32c crc32c_generic\nalias late2 jbd2\n",
        );
        write("modules.builtin", "kernel/drivers/rtc-cmos.ko\n");
        for name in ["fs/ext4/ext4.ko", "fs/jbd2/jbd2.ko", "lib/crc16.ko", "crypto/crc32c-intel.ko"] {
            write(&format!("kernel/{name}"), name);
        }
        write("kernel/crypto/crc32c_generic.ko", "generic");
        folder
    }
}
