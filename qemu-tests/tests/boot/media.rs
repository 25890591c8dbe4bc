//! Sticks that are worn, full, slow, late or gone: the right content comes from elsewhere, or the loader reports the
//! fault.

use anyhow::{Context as _, Result, ensure};
use builder::run::{Access, BadSector, Bus, Disk, Machine, Request, Setup, watch};
use handoff::partition::Role;
use handoff::report::{BootReport, Outcome};
use handoff::slot::Slot;
use qemu_tests::site_fixture::SiteFixture;
use qemu_tests::ssh::Ssh;
use qemu_tests::stick::{Booted, DEADLINE, Stick};
use std::fs::File;
use std::thread::sleep;
use std::time::Duration;

/// The file that the tests damage.
const FILE: &str = "hostname";

fn alpha() -> Result<Stick> {
    SiteFixture::micro()?.stick("alpha")
}

fn unreadable(sector: u64) -> BadSector {
    BadSector { disk: 0, sector: Some(sector), on: Request::Read }
}

/// The first `count` sectors of a partition.
fn first_sectors(stick: &Stick, role: Role, count: u64) -> Result<Vec<BadSector>> {
    let first = stick.extent(role)?.start / 512;
    Ok((first..first + count).map(unreadable).collect())
}

/// A machine that waits for its disk for a minute. It has no firmware, which would choose another boot path before the
/// loader can run.
fn patient(stick: &Stick) -> Result<Setup> {
    stick.setup_with(&["psyops.device-timeout=60"])
}

fn fault<'a>(report: &'a BootReport, name: &str) -> Result<&'a str> {
    let found = report.faults.iter().find(|found| found.fault == name);
    Ok(&found.with_context(|| format!("no fault {name}: {report:?}"))?.message)
}

#[test]
fn a_file_in_a_sector_that_cannot_be_read_is_written_elsewhere() -> Result<()> {
    let stick = alpha()?;
    let mut setup = stick.setup()?;
    let bad = unreadable(stick.sector_of(FILE)?);
    setup.trouble.bad_sectors = vec![bad];
    let mut booted = Booted::wait(&setup)?;
    let report = &booted.seen.report;
    assert_eq!(
        (report.outcome, report.repaired.as_slice()),
        (Outcome::Ok, &[FILE.to_owned()][..]),
        "{report:?}"
    );
    booted.power_off()?;
    stick.fsck_secret()?;
    // The same medium with the same bad sector: the next boot has no fault.
    stick.boots_well(|setup| setup.trouble.bad_sectors = vec![bad]).map(|_| ())
}

#[test]
fn an_age_key_that_cannot_be_read_is_named_and_never_written() -> Result<()> {
    let stick = alpha()?;
    let key = stick.secret_file("age.key")?;
    let mut setup = patient(&stick)?;
    setup.trouble.bad_sectors = vec![unreadable(stick.sector_of("age.key")?)];
    let report = Booted::wait(&setup)?.seen.report;
    assert_eq!(report.outcome, Outcome::Rescue, "{report:?}");
    ensure!(fault(&report, "identity")?.contains("age.key"), "{report:?}");
    assert_eq!(stick.secret_file("age.key")?, key);
    Ok(())
}

#[test]
fn a_secret_partition_that_cannot_be_read_is_named() -> Result<()> {
    let stick = alpha()?;
    let mut setup = patient(&stick)?;
    setup.trouble.bad_sectors = first_sectors(&stick, Role::Secret, 8)?;
    let report = Booted::wait(&setup)?.seen.report;
    assert_eq!(report.outcome, Outcome::Rescue, "{report:?}");
    ensure!(fault(&report, "secret-partition")?.contains("cannot be read"), "{report:?}");
    Ok(())
}

#[test]
fn a_file_that_cannot_be_repaired_comes_from_memory() -> Result<()> {
    let stick = alpha()?;
    stick.debugfs(&format!("rm /{FILE}\n"))?;
    let mut setup = patient(&stick)?;
    setup.trouble.bad_sectors = vec![BadSector { disk: 0, sector: None, on: Request::Write }];
    let report = Booted::wait(&setup)?.seen.report;
    assert_eq!(report.outcome, Outcome::Degraded, "{report:?}");
    assert_eq!(report.memory_only, [FILE], "{report:?}");
    Ok(())
}

#[test]
fn the_other_seal_is_used_if_one_cannot_be_read() -> Result<()> {
    let stick = alpha()?;
    let role = Role::Seal(Slot::A);
    let seal = stick.read(role, 0, usize::try_from(stick.extent(role)?.length)?)?;
    stick.write(Role::Seal(Slot::B), 0, &seal)?;
    let mut setup = stick.setup()?;
    setup.trouble.bad_sectors = first_sectors(&stick, role, 8)?;
    let report = Booted::wait(&setup)?.seen.report;
    assert_eq!((report.outcome, report.node.as_deref()), (Outcome::Ok, Some("alpha")), "{report:?}");
    Ok(())
}

#[test]
fn a_root_that_cannot_be_read_is_named_with_its_partition() -> Result<()> {
    let stick = alpha()?;
    let mut setup = patient(&stick)?;
    setup.trouble.bad_sectors = first_sectors(&stick, Role::Root(Slot::A), 8)?;
    let report = Booted::wait(&setup)?.seen.report;
    assert_eq!(report.outcome, Outcome::Rescue, "{report:?}");
    ensure!(fault(&report, "root")?.contains("sda"), "{report:?}");
    Ok(())
}

#[test]
fn a_full_secret_partition_is_reported_and_the_right_content_comes_from_memory() -> Result<()> {
    let stick = alpha()?;
    stick.debugfs(&format!("rm /{FILE}\nwrite /etc/passwd /{FILE}\n"))?;
    stick.fill_secret()?;
    let report = stick.boot_and_power_off()?.report;
    assert_eq!(
        (report.outcome, report.memory_only.as_slice()),
        (Outcome::Degraded, &[FILE.to_owned()][..]),
        "{report:?}"
    );
    ensure!(fault(&report, "repair")?.to_lowercase().contains("no space"), "{report:?}");
    Ok(())
}

#[test]
fn a_file_system_with_errors_is_not_written_and_its_files_come_from_memory() -> Result<()> {
    let stick = alpha()?;
    // The mark that the kernel leaves when it finds damage: the state "errors".
    stick.debugfs(&format!("rm /{FILE}\nset_super_value state 2\n"))?;
    let before = stick.read(Role::Secret, 0, usize::try_from(stick.extent(Role::Secret)?.length)?)?;
    let report = stick.boot_and_power_off()?.report;
    assert_eq!(
        (report.outcome, report.memory_only.as_slice()),
        (Outcome::Degraded, &[FILE.to_owned()][..]),
        "{report:?}"
    );
    ensure!(report.faults.iter().any(|fault| format!("{fault:?}").contains("e2fsck")), "{report:?}");
    let after = stick.read(Role::Secret, 0, before.len())?;
    ensure!(before == after, "the damaged file system was written to");
    Ok(())
}

/// A machine without its first disk, waiting for it.
fn waiting(stick: &Stick) -> Result<Machine> {
    let mut setup = patient(stick)?;
    for disk in &mut setup.disks {
        disk.bus = Bus::Unplugged;
    }
    let mut machine = Machine::start(&setup)?;
    machine.wait_for("waiting for the disk since 5 s", DEADLINE)?;
    Ok(machine)
}

fn ends_well(mut machine: Machine) -> Result<()> {
    let seen = watch::wait_for_report(&mut machine, DEADLINE)?;
    Booted { machine, seen }.assert_well()
}

#[test]
fn a_stick_that_appears_after_twenty_seconds_boots() -> Result<()> {
    let mut machine = waiting(&alpha()?)?;
    machine.wait_for("waiting for the disk since 20 s", DEADLINE)?;
    machine.plug(0)?;
    ends_well(machine)
}

#[test]
fn a_stick_that_is_replugged_during_the_wait_boots() -> Result<()> {
    let stick = alpha()?;
    let machine = waiting(&stick)?;
    machine.plug(0)?;
    // Long enough for the host to see it, too short for its partitions.
    sleep(Duration::from_millis(100));
    machine.unplug(0)?;
    sleep(Duration::from_secs(2));
    machine.plug(0)?;
    ends_well(machine)
}

#[test]
fn a_stick_behind_a_slow_hub_boots() -> Result<()> {
    let stick = alpha()?;
    stick.boots_well_cold(|setup| {
        for disk in &mut setup.disks {
            disk.bus = Bus::UsbHub;
        }
        setup.trouble.bytes_per_second = Some(2_000_000);
    })?;
    Ok(())
}

#[test]
fn a_stick_that_firmware_skips_is_started_by_its_shell() -> Result<()> {
    let stick = alpha()?;
    let mut setup = stick.cold();
    setup.trouble.passed_over = true;
    let empty = stick.beside("empty.img");
    File::create(&empty)?.set_len(1 << 20)?;
    setup.disks.push(Disk::new(&empty, Access::Write, Bus::Sata));
    let mut machine = Machine::start(&setup)?;
    machine.wait_for("Press ESC in ", DEADLINE)?;
    machine.send("\u{1b}")?;
    // What firmware does by itself if a slow hub reports the stick too late for its boot order.
    for command in ["connect -r", "map -r", "fs0:startup.nsh"] {
        machine.wait_for("Shell> ", DEADLINE)?;
        machine.send(&format!("{command}\r"))?;
    }
    ends_well(machine)
}

/// Damages the root of a running node; the kernel must print `said`.
fn rots(fixture: &SiteFixture, stick: &Stick, mut setup: Setup, said: &str) -> Result<Booted> {
    let ssh = Ssh::new(fixture)?;
    setup.ssh = Some(ssh.port());
    let mut booted = Booted::wait(&setup)?;
    booted.assert_well()?;
    let role = Role::Root(Slot::A);
    let length = usize::try_from(stick.extent(role)?.length)?;
    let mut root = stick.read(role, 0, length)?;
    // Changes a bit in each sector: the next block that is read and not in memory yet is damaged.
    for byte in root.iter_mut().step_by(512) {
        *byte ^= 1;
    }
    // The node drops its cache of the root, then reads the root. There will be no answer, so the test does not wait for
    // it.
    let read = "echo 3 >/proc/sys/vm/drop_caches; find / -xdev -type f -exec cat {} +";
    ssh.run("alpha", &format!("(sleep 5; {read}) >/dev/null 2>&1 </dev/null &"))?;
    stick.write(role, 0, &root)?;
    booted.machine.wait_for(said, DEADLINE)?;
    Ok(booted)
}

#[test]
fn a_root_that_is_damaged_while_it_runs_panics_and_uses_up_a_try() -> Result<()> {
    let fixture = SiteFixture::micro()?;
    let stick = fixture.stick("alpha")?;
    let panic = "Kernel panic - not syncing: dm-verity device corrupted";
    let mut booted = rots(&fixture, &stick, stick.cold(), panic)?;
    // From firmware again: this start uses a try, finds the root damaged, and the next one starts the other slot.
    booted.machine.wait_for("restarting: this try is used up", DEADLINE)?;
    assert_eq!(stick.control()?.effective().slots.a.tries_left, 2);
    Ok(())
}

#[test]
fn a_root_that_is_damaged_while_it_runs_restarts_if_the_site_wants_it() -> Result<()> {
    let fixture = SiteFixture::restarting()?;
    let stick = fixture.stick("alpha")?;
    let restart = "Restarting system with command 'dm-verity device corrupted'";
    rots(&fixture, &stick, stick.setup()?, restart).map(drop)
}
