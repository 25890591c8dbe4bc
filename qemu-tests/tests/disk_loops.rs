//! Disks of this machine that are files: loop devices, which only root can make, and not every kernel has.

use anyhow::{Result, ensure};
use builder::disks::Disk;
use builder::disks::open::{OpenError, open};
use builder::error::Classified as _;
use qemu_tests::command::succeed;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

const MIB: u64 = 1 << 20;

/// A loop device of a number that nobody else takes, until the value ends.
struct Loop {
    device: PathBuf,
}

impl Loop {
    fn over(file: &Path, number: u32) -> Result<Self> {
        let device = PathBuf::from(format!("/dev/loop{number}"));
        succeed(Command::new("losetup").arg(&device).arg(file))?;
        Ok(Self { device })
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // It fails only where somebody else took it away.
        let _ = Command::new("losetup").arg("--detach").arg(&self.device).status();
    }
}

/// Whether loop devices can be made here.
#[expect(clippy::print_stdout, reason = "why nothing was tested")]
fn loops_work() -> bool {
    let opened = File::options().read(true).write(true).open("/dev/loop-control");
    if let Err(error) = &opened {
        println!("not tested: /dev/loop-control cannot be opened: {error}");
    }
    opened.is_ok()
}

fn medium(folder: &Path, name: &str) -> Result<PathBuf> {
    let file = folder.join(name);
    File::create(&file)?.set_len(16 * MIB)?;
    Ok(file)
}

#[test]
fn a_disk_that_was_exchanged_after_it_was_looked_at_is_not_opened() -> Result<()> {
    if !loops_work() {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let (first, second) = (medium(folder.path(), "first")?, medium(folder.path(), "second")?);
    let device = Loop::over(&first, 201)?;
    let disk = Disk::of(&device.device)?;
    drop(open(&disk, true)?);
    drop(device);
    // Gone; then another one of the same number and size.
    ensure!(open(&disk, false).is_err(), "what is gone was opened");
    let _device = Loop::over(&second, 201)?;
    match open(&disk, false) {
        Err(error @ OpenError::Changed { .. }) => ensure!(error.exit_code() == 94, "{error}"),
        other => anyhow::bail!("another disk was opened, or not for that reason: {other:?}"),
    }
    Ok(())
}

#[test]
fn a_disk_under_a_loop_device_is_in_use_though_the_kernel_would_give_it_away() -> Result<()> {
    if !loops_work() {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let below = Loop::over(&medium(folder.path(), "medium")?, 202)?;
    let uses = |device: &Loop| -> Result<Vec<String>> {
        Ok(Disk::of(&device.device)?.uses.iter().map(ToString::to_string).collect())
    };
    ensure!(uses(&below)?.is_empty(), "{:?}", uses(&below)?);
    let above = Loop::over(&below.device, 203)?;
    ensure!(uses(&below)? == ["loop203 is made of it"], "{:?}", uses(&below)?);
    // Opened by a second one alone, the first is nobody's any more.
    let alone = open(&Disk::of(&above.device)?, false)?;
    match open(&Disk::of(&above.device)?, false) {
        Err(error) => ensure!(error.exit_code() == 82, "{error}"),
        Ok(_) => anyhow::bail!("two had it, each alone"),
    }
    drop(alone);
    Ok(())
}
