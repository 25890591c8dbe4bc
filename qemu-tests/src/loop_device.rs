//! A loop device over a file, which ends with its value. Only root has any.

use crate::command::succeed;
use anyhow::Result;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether loop devices can be made here: as root, where the kernel has them. Where not, why is printed.
#[must_use]
#[expect(clippy::print_stdout, reason = "why nothing was tested")]
pub fn work() -> bool {
    let opened = File::options().read(true).write(true).open("/dev/loop-control");
    if let Err(error) = &opened {
        println!("not tested: /dev/loop-control cannot be opened: {error}");
    }
    opened.is_ok()
}

/// The device.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
}

impl LoopDevice {
    /// One with these arguments of losetup(8).
    pub fn over(file: &Path, arguments: &[&str]) -> Result<Self> {
        let mut losetup = Command::new("losetup");
        let output = succeed(losetup.args(["--find", "--show"]).args(arguments).arg(file))?;
        Ok(Self { path: String::from_utf8(output.stdout)?.trim().into() })
    }

    /// The one of this number, which nobody else takes.
    pub fn at(number: u32, file: &Path) -> Result<Self> {
        let path = PathBuf::from(format!("/dev/loop{number}"));
        succeed(Command::new("losetup").arg(&path).arg(file))?;
        Ok(Self { path })
    }

    /// Its name.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // It fails only where somebody else took it away.
        let _ = Command::new("losetup").arg("--detach").arg(&self.path).status();
    }
}
