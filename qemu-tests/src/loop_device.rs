//! A loop device over a file, which is removed when its value is dropped. Only root can make one.

use crate::command::succeed;
use anyhow::Result;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether loop devices can be made here: as root, if the kernel has them. Prints the reason if not.
#[must_use]
#[expect(clippy::print_stdout, reason = "why nothing was tested, for scripts/skipped")]
pub fn work() -> bool {
    let opened = File::options().read(true).write(true).open("/dev/loop-control");
    if let Err(error) = &opened {
        println!("not tested: /dev/loop-control cannot be opened: {error}");
    }
    opened.is_ok()
}

/// A loop device of this machine.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
}

impl LoopDevice {
    /// A loop device with these arguments of losetup(8).
    pub fn over(file: &Path, arguments: &[&str]) -> Result<Self> {
        let mut losetup = Command::new("losetup");
        let output = succeed(losetup.args(["--find", "--show"]).args(arguments).arg(file))?;
        Ok(Self { path: String::from_utf8(output.stdout)?.trim().into() })
    }

    /// The loop device of this number, which no other program takes.
    pub fn at(number: u32, file: &Path) -> Result<Self> {
        let path = PathBuf::from(format!("/dev/loop{number}"));
        succeed(Command::new("losetup").arg(&path).arg(file))?;
        Ok(Self { path })
    }

    /// The path of the device file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // This fails only if another process has removed it.
        let _ = Command::new("losetup").arg("--detach").arg(&self.path).status();
    }
}
