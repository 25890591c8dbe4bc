//! A block device with limited rates for the programs that are started here: their own control group with limits of the
//! kernel's I/O controller. Only root can make one.

use anyhow::{Context as _, Result, bail};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

/// The mount point of control groups.
const ROOT: &str = "/sys/fs/cgroup";

/// The limits. They end when this is dropped.
#[derive(Debug)]
pub struct SlowMedium {
    group: PathBuf,
}

impl SlowMedium {
    /// Limits for a device, in bytes a second.
    pub fn new(device: &Path, reads: u64, writes: u64) -> Result<Self> {
        let number = fs::metadata(device)?.rdev();
        let device = format!("{}:{}", nix::sys::stat::major(number), nix::sys::stat::minor(number));
        let name = format!("psyops-slow-medium-{}", process::id());
        // Version 1 if its controller is mounted (Documentation/admin-guide/cgroup-v1/blkio-controller.rst), or else
        // version 2 (Documentation/admin-guide/cgroup-v2.rst).
        let (old, new) = (Path::new(ROOT).join("blkio"), Path::new(ROOT));
        if old.is_dir() {
            let slow = Self::group(old.join(name))?;
            slow.set("blkio.throttle.read_bps_device", &format!("{device} {reads}"))?;
            slow.set("blkio.throttle.write_bps_device", &format!("{device} {writes}"))?;
            return Ok(slow);
        }
        let controllers = fs::read_to_string(new.join("cgroup.controllers")).unwrap_or_default();
        if !controllers.split_whitespace().any(|controller| controller == "io") {
            bail!("the kernel has no I/O controller for control groups in {ROOT}");
        }
        fs::write(new.join("cgroup.subtree_control"), "+io").context("handing on the I/O controller")?;
        let slow = Self::group(new.join(name))?;
        slow.set("io.max", &format!("{device} rbps={reads} wbps={writes}"))?;
        Ok(slow)
    }

    fn group(group: PathBuf) -> Result<Self> {
        fs::create_dir(&group).with_context(|| format!("making {}", group.display()))?;
        Ok(Self { group })
    }

    fn set(&self, name: &str, value: &str) -> Result<()> {
        let file = self.group.join(name);
        fs::write(&file, value).with_context(|| format!("writing {value:?} to {}", file.display()))
    }

    /// The same command within the limits.
    #[must_use]
    pub fn command(&self, command: &Command) -> Command {
        let mut limited = Command::new("sh");
        limited.args(["-c", "echo $$ >\"$0/cgroup.procs\" && exec \"$@\""]).arg(&self.group);
        limited.arg(command.get_program()).args(command.get_args());
        if let Some(folder) = command.get_current_dir() {
            limited.current_dir(folder);
        }
        for (name, value) in command.get_envs() {
            limited.env(name, value.unwrap_or_default());
        }
        limited
    }
}

impl Drop for SlowMedium {
    fn drop(&mut self) {
        // This fails only while a program runs in it.
        let _ = fs::remove_dir(&self.group);
    }
}
