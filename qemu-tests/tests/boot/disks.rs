//! The choice of the disk: the one that firmware started from, without guessing.

use anyhow::{Context as _, Result, ensure};
use builder::run::{Access, Bus, Disk};
use handoff::partition::Role;
use handoff::report::Outcome;
use qemu_tests::site_fixture::SiteFixture;
use qemu_tests::stick::{Booted, Stick};
use std::process::Command;

fn second(stick: &Stick, bus: Bus) -> Disk {
    Disk::new(stick.path(), Access::Write, bus)
}

#[test]
fn a_stick_without_a_secret_partition_starts_rescue() -> Result<()> {
    let stick = SiteFixture::micro()?.stick("alpha")?;
    let number = partition_number(&stick, Role::Secret)?;
    qemu_tests::command::succeed(Command::new("sgdisk").arg(format!("--delete={number}")).arg(stick.path()))?;
    let booted = stick.boot()?;
    let report = &booted.seen.report;
    assert_eq!(report.outcome, Outcome::Rescue, "{report:?}");
    ensure!(
        report.faults.iter().any(|f| f.fault == "secret-partition" && f.message.contains("secret")),
        "{report:?}"
    );
    Ok(())
}

#[test]
fn with_two_sticks_of_a_site_the_one_that_firmware_started_boots() -> Result<()> {
    let fixture = SiteFixture::micro()?;
    let (alpha, beta) = (fixture.stick("alpha")?, fixture.stick("beta")?);
    for (first, other, name) in [(&alpha, &beta, "alpha"), (&beta, &alpha, "beta")] {
        let mut setup = first.cold();
        setup.disks.push(second(other, Bus::Usb));
        let mut booted = Booted::wait(&setup)?;
        let report = &booted.seen.report;
        assert_eq!((report.outcome, report.node.as_deref()), (Outcome::Ok, Some(name)), "{report:?}");
        booted.power_off()?;
    }
    Ok(())
}

#[test]
fn a_clone_of_the_stick_is_refused_and_both_are_named() -> Result<()> {
    // A SATA controller takes longer to look for disks than the loader to find the stick.
    for bus in [Bus::Usb, Bus::Sata] {
        let fixture = SiteFixture::micro()?;
        let (stick, clone) = (fixture.stick("alpha")?, fixture.stick("alpha")?);
        let mut setup = stick.cold();
        setup.disks.push(second(&clone, bus));
        let booted = Booted::wait(&setup)?;
        let report = &booted.seen.report;
        assert_eq!(report.outcome, Outcome::Rescue, "{bus:?}: {report:?}");
        let fault = report.faults.iter().find(|fault| fault.fault == "secret-partition");
        let message = &fault.with_context(|| format!("{bus:?}: {report:?}"))?.message;
        for disk in ["sda", "sdb"] {
            ensure!(message.contains(disk), "{bus:?}: {disk} is not named: {message}");
        }
    }
    Ok(())
}

fn partition_number(stick: &Stick, role: Role) -> Result<u32> {
    let table = gpt::GptConfig::new().open(stick.path())?;
    let found = table.partitions().iter().find(|(_, entry)| entry.name == role.name());
    found.map(|(number, _)| *number).context("no such partition")
}
