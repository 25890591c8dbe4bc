//! Disks of this machine that are files: loop devices, which only root can make, and not every kernel has.

use anyhow::{Context as _, Result, ensure};
use builder::disks::Disk;
use builder::disks::open::{OpenError, open};
use builder::error::Classified as _;
use qemu_tests::loop_device::{self, LoopDevice};
use std::fs::File;
use std::path::{Path, PathBuf};

const MIB: u64 = 1 << 20;

fn medium(folder: &Path, name: &str) -> Result<PathBuf> {
    let file = folder.join(name);
    File::create(&file)?.set_len(16 * MIB)?;
    Ok(file)
}

#[test]
fn a_disk_that_was_replaced_after_the_check_is_not_opened() -> Result<()> {
    if !loop_device::work() {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let (first, second) = (medium(folder.path(), "first")?, medium(folder.path(), "second")?);
    let device = LoopDevice::at(201, &first)?;
    let disk = Disk::of(device.path())?;
    drop(open(&disk, true)?);
    drop(device);
    // The disk is gone; then another one gets the same number and size.
    let gone = open(&disk, false).err().context("what is gone was opened")?;
    ensure!(gone.exit_code() == 94, "{gone}: {}", gone.exit_code());
    let _device = LoopDevice::at(201, &second)?;
    match open(&disk, false) {
        Err(error @ OpenError::Changed { .. }) => ensure!(error.exit_code() == 94, "{error}"),
        other => anyhow::bail!("another disk was opened, or not for that reason: {other:?}"),
    }
    Ok(())
}

#[test]
fn a_disk_under_a_loop_device_is_in_use_even_if_the_kernel_opens_it() -> Result<()> {
    if !loop_device::work() {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let below = LoopDevice::at(202, &medium(folder.path(), "medium")?)?;
    let uses = |device: &LoopDevice| -> Result<Vec<String>> {
        Ok(Disk::of(device.path())?.uses.iter().map(ToString::to_string).collect())
    };
    ensure!(uses(&below)?.is_empty(), "{:?}", uses(&below)?);
    let above = LoopDevice::at(203, below.path())?;
    ensure!(uses(&below)? == ["loop203 uses it"], "{:?}", uses(&below)?);
    // Once a second process has opened it exclusively, the first one cannot.
    let alone = open(&Disk::of(above.path())?, false)?;
    match open(&Disk::of(above.path())?, false) {
        Err(error) => ensure!(error.exit_code() == 82, "{error}"),
        Ok(_) => anyhow::bail!("two had it, each alone"),
    }
    drop(alone);
    Ok(())
}
