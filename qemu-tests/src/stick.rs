//! A node's stick: its disk, its secret partition opened with e2fsprogs, and booting it.

use crate::command::succeed;
use crate::disk::Disk;
use crate::unpacked_kernel;
use anyhow::{Context as _, Result, ensure};
use builder::image::reader::ImageReader;
use builder::run::watch::{SeenReport, wait_for_report};
use builder::run::{Access, Boot, Machine, Setup, direct};
use handoff::partition::Role;
use handoff::report::{Configure, Outcome};
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// From power-on to the final report. On an idle host a cold boot takes about 20 s and one without firmware 10 s; on a
/// busy one several times that.
pub const DEADLINE: Duration = Duration::from_mins(4);

/// A stick, in its own folder that is removed with it.
#[derive(Debug)]
pub struct Stick {
    disk: Disk,
    folder: TempDir,
}

impl Deref for Stick {
    type Target = Disk;

    fn deref(&self) -> &Disk {
        &self.disk
    }
}

/// A booted machine, and its report.
#[derive(Debug)]
pub struct Booted {
    /// The machine, still running.
    pub machine: Machine,
    /// The report and the console output.
    pub seen: SeenReport,
}

impl Stick {
    /// A stick that is a copy of an image.
    pub fn copy_of(image: &Path) -> Result<Self> {
        let folder = tempfile::tempdir().context("making a folder for a stick")?;
        let path = folder.path().join("stick.img");
        succeed(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(image).arg(&path))?;
        Ok(Self { disk: Disk::open(&path)?, folder })
    }

    /// A machine with this stick in it that starts cold, from firmware; writes to the stick are kept.
    #[must_use]
    pub fn cold(&self) -> Setup {
        let mut setup = Setup::with_stick(self.disk.path());
        for disk in &mut setup.disks {
            disk.access = Access::Write;
        }
        setup
    }

    /// The same machine without firmware and selector, in half the time: the kernel of the system on the stick is started
    /// directly, with the initramfs of that system. So no try is used, a restart for a fault becomes rescue, the loader
    /// finds the disk by its partitions alone, and the report has no selection and no times of firmware and selector.
    pub fn setup(&self) -> Result<Setup> {
        self.setup_with(&[])
    }

    /// The same with more kernel arguments.
    pub fn setup_with(&self, arguments: &[&str]) -> Result<Setup> {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let parts = direct::read_system(&ImageReader::open(self.disk.path())?, &arguments)?;
        let initrd = self.beside("initrd");
        fs::write(&initrd, parts.initrd)?;
        let kernel = unpacked_kernel::of(&parts.kernel)?;
        Ok(Setup { boot: Boot::Direct { kernel, initrd, command_line: parts.command_line }, ..self.cold() })
    }

    /// Boots without firmware, up to the final report.
    pub fn boot(&self) -> Result<Booted> {
        Booted::wait(&self.setup()?)
    }

    /// Boots cold, from firmware, up to the final report.
    pub fn boot_cold(&self) -> Result<Booted> {
        Booted::wait(&self.cold())
    }

    /// Boots a changed machine with this stick without firmware, and expects a final report without faults.
    pub fn boots_well(&self, change: impl FnOnce(&mut Setup)) -> Result<Booted> {
        boots_well(self.setup()?, change)
    }

    /// The same from firmware.
    pub fn boots_well_cold(&self, change: impl FnOnce(&mut Setup)) -> Result<Booted> {
        boots_well(self.cold(), change)
    }

    /// What `psyops run --direct` starts: kernel and initramfs as they are in the UKI, with the seal in the initramfs.
    pub fn direct(&self, more_arguments: &[String]) -> Result<Boot> {
        let parts = direct::read(&ImageReader::open(self.disk.path())?, more_arguments)?;
        let (kernel, initrd) = (self.beside("kernel"), self.beside("initrd-with-seal"));
        fs::write(&kernel, parts.kernel)?;
        fs::write(&initrd, parts.initrd)?;
        Ok(Boot::Direct { kernel, initrd, command_line: parts.command_line })
    }

    /// Boots without firmware, powers off by the button and returns the report.
    pub fn boot_and_power_off(&self) -> Result<SeenReport> {
        let mut booted = self.boot()?;
        booted.power_off()?;
        Ok(booted.seen)
    }

    /// The same from firmware.
    pub fn boot_cold_and_power_off(&self) -> Result<SeenReport> {
        let mut booted = self.boot_cold()?;
        booted.power_off()?;
        Ok(booted.seen)
    }

    /// The path of a file for the test beside the stick.
    #[must_use]
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Copies a partition into a file.
    pub fn extract(&self, role: Role) -> Result<PathBuf> {
        let extent = self.disk.extent(role)?;
        let path = self.beside(&format!("{role}.part"));
        fs::write(&path, self.disk.read(role, 0, usize::try_from(extent.length)?)?)?;
        Ok(path)
    }

    /// Writes a file over a partition.
    pub fn insert(&self, role: Role, file: &Path) -> Result<()> {
        self.disk.write(role, 0, &fs::read(file)?)
    }

    /// Changes the secret partition with lines for debugfs(8).
    pub fn debugfs(&self, lines: &str) -> Result<()> {
        let partition = self.extract(Role::Secret)?;
        let script = self.beside("debugfs.script");
        fs::write(&script, lines)?;
        let output = succeed(Command::new("debugfs").args(["-w", "-f"]).arg(&script).arg(&partition))?;
        // debugfs always succeeds; its errors are on standard error after its banner.
        let said = String::from_utf8_lossy(&output.stderr).lines().skip(1).collect::<Vec<_>>().join("\n");
        ensure!(said.trim().is_empty(), "debugfs {lines:?} says: {said}");
        self.insert(Role::Secret, &partition)
    }

    /// The content of a file on the secret partition.
    pub fn secret_file(&self, path: &str) -> Result<Vec<u8>> {
        let partition = self.extract(Role::Secret)?;
        let out = self.beside("dumped");
        let _ = fs::remove_file(&out);
        let request = format!("dump -p /{path} {}", out.display());
        succeed(Command::new("debugfs").args(["-R", &request]).arg(&partition))?;
        fs::read(&out).with_context(|| format!("there is no {path} on the secret partition"))
    }

    /// The first sector on the disk of a file of the secret partition.
    pub fn sector_of(&self, path: &str) -> Result<u64> {
        let partition = self.extract(Role::Secret)?;
        let blocks =
            succeed(Command::new("debugfs").args(["-R", &format!("blocks /{path}")]).arg(&partition))?;
        let blocks = String::from_utf8(blocks.stdout)?;
        let block: u64 = blocks.split_whitespace().next().context("the file has no block")?.parse()?;
        // The superblock begins at 1024; at 0x18 in it is the logarithm of the block size over 1024.
        let logarithm = self.disk.read(Role::Secret, 1024 + 0x18, 1)?;
        let size = 1024_u64 << logarithm.first().context("no superblock")?;
        Ok((self.disk.extent(Role::Secret)?.start + block * size) / 512)
    }

    /// Fills all free blocks of the secret partition.
    pub fn fill_secret(&self) -> Result<()> {
        let partition = self.extract(Role::Secret)?;
        let filler = self.beside("filler");
        fs::write(&filler, vec![b'x'; 4096])?;
        let write = |number: u32, times: usize| -> Result<()> {
            fs::write(&filler, vec![b'x'; 4096 * times])?;
            let request = format!("write {} /filler-{number}", filler.display());
            // If the file does not fit, debugfs reports it and keeps the part that fits.
            succeed(Command::new("debugfs").args(["-w", "-R", &request]).arg(&partition)).map(|_| ())
        };
        // Smaller and smaller files: the last blocks are taken one by one.
        for (number, times) in (0..).zip([1024, 512, 256, 128, 64, 32, 16, 8, 4, 2, 1, 1, 1, 1]) {
            for copy in 0..4 {
                write(number * 4 + copy, times)?;
            }
        }
        let stats = succeed(Command::new("debugfs").args(["-R", "show_super_stats -h"]).arg(&partition))?;
        let stats = String::from_utf8_lossy(&stats.stdout).into_owned();
        ensure!(
            stats.lines().any(|l| l.starts_with("Free blocks:") && l.trim_end().ends_with(" 0")),
            "{stats}"
        );
        self.insert(Role::Secret, &partition)
    }

    /// Checks the secret partition's file system without changing it.
    pub fn fsck_secret(&self) -> Result<()> {
        let partition = self.extract(Role::Secret)?;
        succeed(Command::new("e2fsck").arg("-fn").arg(&partition)).map(|_| ())
    }
}

fn boots_well(mut setup: Setup, change: impl FnOnce(&mut Setup)) -> Result<Booted> {
    change(&mut setup);
    let booted = Booted::wait(&setup)?;
    booted.assert_well()?;
    Ok(booted)
}

impl Booted {
    /// Starts a machine and waits for its final report.
    pub fn wait(setup: &Setup) -> Result<Self> {
        let mut machine = Machine::start(setup)?;
        let seen = wait_for_report(&mut machine, DEADLINE)?;
        Ok(Self { machine, seen })
    }

    /// Fails unless the report has no fault.
    pub fn assert_well(&self) -> Result<()> {
        let report = &self.seen.report;
        ensure!(report.outcome == Outcome::Ok && report.configure == Configure::Ok, "{report:?}");
        ensure!(report.repaired.is_empty() && report.faults.is_empty() && report.verified > 3, "{report:?}");
        Ok(())
    }

    /// Presses the power button until the machine is off.
    pub fn power_off(&mut self) -> Result<()> {
        let status = self.machine.power_down(Duration::from_mins(1))?;
        ensure!(status.success(), "QEMU ended with {status}");
        Ok(())
    }
}
