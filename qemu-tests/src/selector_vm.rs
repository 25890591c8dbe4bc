//! A small stick for the selector alone: ESP, control, boot-a, boot-b, with a probe in place of a UKI.
//!
//! It is made with tools and crates that the builder does not use, so that the selector is also tested with another
//! writer of the same formats.

use crate::disk::Disk;
use crate::programs::uefi_program;
use anyhow::{Context as _, Result, bail, ensure};
use builder::run::{Access, Bus, Disk as Drive, Machine, OnReset, Setup};
use handoff::boot_record::{BootRecord, SIZE_U64};
use handoff::control::ControlRecord;
use handoff::hash::Sha256Digest;
use handoff::partition::Role;
use handoff::selection::Selection;
use handoff::slot::Slot;
use std::fs::{self, File};
use std::io::{Cursor, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// Partitions and their sizes, in MiB.
const LAYOUT: [(Role, u32); 4] =
    [(Role::Esp, 8), (Role::Control, 1), (Role::Boot(Slot::A), 2), (Role::Boot(Slot::B), 2)];
const DISK_BYTES: u64 = 16 * 1024 * 1024;
const ESP_BYTES: usize = 8 * 1024 * 1024;
/// The bytes of the probe before the byte that selects its behaviour.
const BEHAVIOUR: &[u8] = b"probe-behaviour:";
/// Firmware without KVM takes about six seconds; on a busy machine several times that.
pub const DEADLINE: Duration = Duration::from_mins(2);

/// The behaviour of the probe in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Powers off, like a system at the end of its use.
    ShutsDown,
    /// Returns with an error, like a UKI that finds no kernel.
    ComesBack,
}

/// The small stick, in its own folder that is removed with it.
#[derive(Debug)]
pub struct SelectorVm {
    /// The image of the stick.
    pub disk: Disk,
    _folder: TempDir,
}

impl SelectorVm {
    /// A new stick: slot a with the probe and three tries, slot b empty.
    pub fn fresh() -> Result<Self> {
        let folder = tempfile::tempdir().context("making a folder for the stick")?;
        let path = folder.path().join("stick.img");
        File::create(&path)?.set_len(DISK_BYTES)?;
        let mut sgdisk = Command::new("sgdisk");
        for (number, (role, size)) in (1..).zip(LAYOUT) {
            sgdisk.arg(format!("--new={number}:0:+{size}M"));
            sgdisk.arg(format!(
                "--typecode={number}:{}",
                role.type_guid(handoff::architecture::Architecture::DEFAULT)
            ));
            sgdisk.arg(format!("--change-name={number}:{role}"));
        }
        let made = sgdisk.arg(&path).output().context("running sgdisk (Debian package gdisk)")?;
        ensure!(made.status.success(), "sgdisk: {}", String::from_utf8_lossy(&made.stderr));
        let vm = Self { disk: Disk::open(&path)?, _folder: folder };
        vm.disk.write(Role::Esp, 0, &esp()?)?;
        vm.disk.set_control(0, &ControlRecord::fresh(3))?;
        vm.install(Slot::A, &probe(Probe::ShutsDown)?)?;
        Ok(vm)
    }

    /// A stick with the probe in both slots, and with this control record in place 0.
    pub fn with_both_slots(record: &ControlRecord) -> Result<Self> {
        let vm = Self::fresh()?;
        vm.install(Slot::B, &probe(Probe::ShutsDown)?)?;
        vm.disk.set_control(0, record)?;
        Ok(vm)
    }

    /// Writes `uki` and its boot record into a slot; the release is named for the slot.
    pub fn install(&self, slot: Slot, uki: &[u8]) -> Result<()> {
        self.disk.write(Role::Boot(slot), 0, uki)?;
        self.record(slot, u64::try_from(uki.len())?, Sha256Digest::of(uki))
    }

    /// Writes a boot record with this length and digest for the slot's UKI.
    pub fn record(&self, slot: Slot, length: u64, digest: Sha256Digest) -> Result<()> {
        let release = format!("release-{slot}").parse()?;
        let record = BootRecord { length, digest, security_epoch: 1, release, signature: String::new() };
        let record = record.encode().context("the boot record does not fit")?;
        self.disk.write(Role::Boot(slot), self.record_offset(slot)?, &record)
    }

    /// The offset of a slot's boot record in its partition.
    pub fn record_offset(&self, slot: Slot) -> Result<u64> {
        Ok(self.disk.extent(Role::Boot(slot))?.length - SIZE_U64)
    }

    /// Starts a machine with this stick.
    pub fn start(&self, access: Access) -> Result<Machine> {
        Ok(Machine::start(&self.setup(access))?)
    }

    /// Boots cold with another stick in the machine; firmware starts from this one.
    pub fn boot_beside(&self, other: &Self) -> Result<Console> {
        let mut setup = self.setup(Access::Write);
        setup.disks.push(other.drive(Access::Write));
        end_of(Machine::start(&setup)?)
    }

    /// Boots cold until the machine powers itself off; returns the console.
    pub fn boot(&self, access: Access) -> Result<Console> {
        end_of(self.start(access)?)
    }

    /// Boots cold and keeps a log of the writes to the stick.
    pub fn boot_logged(&self, log: &Path) -> Result<Console> {
        File::create(log)?;
        let mut setup = self.setup(Access::Write);
        for disk in &mut setup.disks {
            disk.write_log = Some(log.to_owned());
        }
        end_of(Machine::start(&setup)?)
    }

    fn setup(&self, access: Access) -> Setup {
        let mut setup = Setup::with_stick(self.disk.path());
        setup.disks = vec![self.drive(access)];
        setup.memory = 256;
        setup.on_reset = OnReset::End;
        setup
    }

    fn drive(&self, access: Access) -> Drive {
        Drive::new(self.disk.path(), access, Bus::Usb)
    }
}

/// Waits until a machine powers off or restarts by itself.
pub fn end_of(mut machine: Machine) -> Result<Console> {
    let status = machine.wait_for_end(DEADLINE)?;
    ensure!(status.success(), "QEMU ended with {status}:\n{}", machine.console());
    Ok(Console(machine.console()))
}

/// The output on the serial console of a boot that ended by itself.
#[derive(Debug)]
pub struct Console(pub String);

impl Console {
    /// The selection that the selector passed to the last started system.
    pub fn selection(&self) -> Result<Selection> {
        let lines = self.0.lines().filter_map(|line| line.trim().strip_prefix("probe: selection "));
        // The variable has five lines; a slot whose probe returned has printed its own before.
        let mut lines: Vec<&str> = lines.collect();
        let last = lines.split_off(lines.len().saturating_sub(5)).join("\n");
        Selection::decode(&last).with_context(|| format!("no selection on the console:\n{}", self.0))
    }

    /// The text of a variable of the Boot Loader Interface, as the started system saw it.
    pub fn variable(&self, name: &str) -> Result<&str> {
        let value = self
            .0
            .lines()
            .rev()
            .find_map(|line| line.trim().strip_prefix("probe: ")?.strip_prefix(name)?.strip_prefix('='));
        value.with_context(|| format!("no {name} on the console:\n{}", self.0))
    }

    /// Fails if a text was not printed, and shows the output.
    pub fn must_say(&self, text: &str) -> Result<()> {
        if !self.0.contains(text) {
            bail!("{text:?} was not said:\n{}", self.0);
        }
        Ok(())
    }
}

/// The probe program with this behaviour.
pub fn probe(what: Probe) -> Result<Vec<u8>> {
    let path = uefi_program("probe.efi")?;
    let mut program = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let mark = program.windows(BEHAVIOUR.len()).position(|window| window == BEHAVIOUR);
    let mark = mark.with_context(|| format!("{} has no place for its behaviour", path.display()))?;
    let byte = program.get_mut(mark + BEHAVIOUR.len()).context("the probe is cut short")?;
    *byte = match what {
        Probe::ShutsDown => b's',
        Probe::ComesBack => b'r',
    };
    Ok(program)
}

/// A FAT file system with the selector at the path where firmware looks for it.
fn esp() -> Result<Vec<u8>> {
    let selector = fs::read(uefi_program("selector.efi")?).context("reading the selector")?;
    let mut image = Cursor::new(vec![0; ESP_BYTES]);
    fatfs::format_volume(&mut image, fatfs::FormatVolumeOptions::new())?;
    {
        let volume = fatfs::FileSystem::new(&mut image, fatfs::FsOptions::new())?;
        let boot = volume.root_dir().create_dir("EFI")?.create_dir("BOOT")?;
        boot.create_file(handoff::architecture::Architecture::DEFAULT.efi_file)?.write_all(&selector)?;
    }
    Ok(image.into_inner())
}
