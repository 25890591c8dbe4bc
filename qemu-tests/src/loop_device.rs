//! A loop device over a file, which ends with its value. Only root has any.

use crate::command::succeed;
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::Command;

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
