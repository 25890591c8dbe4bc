//! Machines with something missing or wrong: clocks, memory, random numbers, kernel modules.

use anyhow::{Result, ensure};
use builder::run::Setup;
use handoff::report::Outcome;
use qemu_tests::site_fixture::SiteFixture;
use qemu_tests::ssh::Ssh;
use qemu_tests::stick::Booted;

fn boots_well(change: impl FnOnce(&mut Setup)) -> Result<()> {
    SiteFixture::micro()?.stick("alpha")?.boots_well(change).map(|_| ())
}

#[test]
fn a_clock_that_lost_its_battery_is_set_to_the_time_of_the_build() -> Result<()> {
    let fixture = SiteFixture::micro()?;
    let stick = fixture.stick("alpha")?;
    let ssh = Ssh::new(&fixture)?;
    let mut booted = stick.boots_well(|setup| {
        setup.trouble.clock = Some("1970-01-01T00:00:00".into());
        setup.ssh = Some(ssh.port());
    })?;
    let year: u32 = ssh.run("alpha", "date +%Y")?.trim().parse()?;
    ensure!(year > 2020, "the node says it is {year}");
    booted.power_off()
}

#[test]
fn a_node_boots_with_a_clock_in_2106() -> Result<()> {
    boots_well(|setup| setup.trouble.clock = Some("2106-02-07T06:28:10".into()))
}

#[test]
fn a_node_without_a_source_of_random_numbers_boots() -> Result<()> {
    boots_well(|setup| setup.trouble.no_entropy = true)
}

/// From firmware, which needs memory as well.
#[test]
fn a_node_boots_with_192_mib_of_memory() -> Result<()> {
    SiteFixture::micro()?.stick("alpha")?.boots_well_cold(|setup| setup.memory = 192).map(|_| ())
}

/// A kernel without a required module: the step that needs it names what to look for.
fn names(module: &str, fault: &str, words: &[&str]) -> Result<()> {
    let stick = SiteFixture::micro()?.stick("alpha")?;
    let setup = stick.setup_with(&[&format!("modprobe.blacklist={module}"), "psyops.device-timeout=10"])?;
    let report = Booted::wait(&setup)?.seen.report;
    assert_eq!(report.outcome, Outcome::Rescue, "{report:?}");
    let found = report.faults.iter().find(|found| found.fault == fault);
    let text = found.map(|found| format!("{found:?}")).unwrap_or_default();
    for word in words {
        ensure!(text.contains(word), "{word} is not named: {report:?}");
    }
    Ok(())
}

#[test]
fn without_the_driver_of_the_stick_the_wait_ends_with_what_is_missing() -> Result<()> {
    names("usb_storage", "secret-partition", &["no disk", "driver"])
}

#[test]
fn without_ext4_the_secret_partition_is_named() -> Result<()> {
    names("ext4", "secret-partition", &["ext4"])
}

#[test]
fn without_dm_verity_the_modules_are_named() -> Result<()> {
    names("dm_verity", "root", &["dm-verity"])
}
