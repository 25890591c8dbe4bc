//! `psyops flash` on good sticks: what is on them afterwards, how much was written, and that they boot.

use anyhow::{Context as _, Result, ensure};
use builder::run::Setup;
use handoff::partition::Role;
use qemu_tests::command::succeed;
use qemu_tests::disk::Disk;
use qemu_tests::flash_vm::verdict::{digest, is_no_disk, is_whole};
use qemu_tests::flash_vm::vm::{DEADLINE, command, results};
use qemu_tests::flash_vm::{FlashVm, UsbStick};
use qemu_tests::site_fixture::SiteFixture;
use qemu_tests::stick::Booted;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The image of alpha after one file of an overlay changed.
fn after_a_change(fixture: &SiteFixture) -> Result<PathBuf> {
    fixture.image_after("changed", "alpha", |copy| {
        let file = copy.site().join("overlays/common/etc/profile.d/site.sh");
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        Ok(fs::write(&file, text + "# another line\n")?)
    })
}

fn size_of(image: &Path) -> Result<u64> {
    Ok(fs::metadata(image)?.len())
}

/// The result of the only target.
fn only(results: &[Value]) -> Result<&Value> {
    ensure!(results.len() == 1, "{results:?}");
    results.first().context("no result")
}

fn written(result: &Value) -> Result<u64> {
    result["written"].as_u64().with_context(|| format!("not said what was written: {result}"))
}

fn boots_well(medium: &Path) -> Result<()> {
    let booted = Booted::wait(&Setup::with_stick(medium))?;
    booted.assert_well()
}

#[test]
fn a_flashed_stick_boots_and_only_changes_are_written_the_next_time() -> Result<()> {
    let fixture = SiteFixture::small()?;
    let (image, changed) = (fixture.image("alpha")?, after_a_change(&fixture)?);
    let stick = UsbStick::blank("STICK-0001", size_of(&image)? + GIB)?;
    let mut vm = FlashVm::new(&fixture, &[("alpha", &image), ("changed", &changed)])?;

    let said = results(&vm.flash_once("alpha", &stick, "")?)?;
    let first = only(&said)?;
    ensure!(
        first["node"] == "alpha" && first["read_back"] == true && first["receipt"].is_string(),
        "{first}"
    );
    ensure!(first["size"] == size_of(&stick.medium())?, "{first}");
    let all = written(first)?;
    is_whole(&fixture, &stick.medium())?;
    // The table is at the stick's own end, and the rest of the space is the node's.
    let data = Disk::open(&stick.medium())?.extent(Role::Data)?;
    ensure!(data.length > GIB && data.start + data.length > size_of(&stick.medium())? - 2 * MIB, "{data:?}");
    boots_well(&stick.medium())?;

    // The data there is not overwritten without confirmation.
    let mut make = Command::new("mke2fs");
    make.args(["-q", "-t", "ext4", "-L", "logs", "-E", &format!("offset={}", data.start)]);
    succeed(make.arg(stick.medium()).arg(format!("{}k", data.length / 1024)))?;
    let refused = vm.flash_once("alpha", &stick, "")?;
    ensure!(refused.code == 89 && refused.text().contains("--overwrite logs"), "{refused:?}");
    let said = results(&vm.flash_once("alpha", &stick, "--overwrite logs")?)?;
    ensure!(written(only(&said)?)? <= 2 * MIB, "{said:?}");

    let before = digest(&stick.medium())?;
    let said = results(&vm.flash_once("alpha", &stick, "")?)?;
    let again = only(&said)?;
    ensure!(written(again)? == 0 && again["read_back"] == true, "{again}");
    ensure!(digest(&stick.medium())? == before, "what was equal is another now");

    let said = results(&vm.flash_once("changed", &stick, "")?)?;
    let little = written(only(&said)?)?;
    ensure!(little > 0 && little < all / 2, "{little} bytes of {all} were written");
    is_whole(&fixture, &stick.medium())?;
    boots_well(&stick.medium())?;

    let said = results(&vm.flash_once("alpha", &stick, "--full --no-read-back")?)?;
    let full = only(&said)?;
    ensure!(written(full)? >= all && full["read_back"] == false && full["receipt"].is_null(), "{full}");
    is_whole(&fixture, &stick.medium())
}

#[test]
fn foreign_content_is_named_and_kept_until_the_user_confirms() -> Result<()> {
    let fixture = SiteFixture::small()?;
    let (alpha, beta) = (fixture.image("alpha")?, fixture.image("beta")?);
    let stick = UsbStick::blank("STICK-0002", size_of(&alpha)? + 64 * MIB)?;
    succeed(Command::new("mke2fs").args(["-q", "-t", "ext4", "-L", "photos"]).arg(stick.medium()))?;
    let mut vm = FlashVm::new(&fixture, &[("alpha", &alpha), ("beta", &beta)])?;
    let cases = [
        ("alpha", "", 89, "photos"),
        ("alpha", "--overwrite music", 89, "photos"),
        ("alpha", "--overwrite photos", 0, "STICK-0002"),
        ("beta", "", 88, "alpha"),
        ("beta", "--overwrite alpha", 88, "alpha"),
        ("beta", "--reassign alpha", 0, "STICK-0002"),
    ];
    for (image, more, code, word) in cases {
        let before = digest(&stick.medium())?;
        let said = vm.flash_once(image, &stick, more)?;
        ensure!(said.code == code && said.text().contains(word), "{image} {more}: {said:?}");
        if code == 0 {
            is_whole(&fixture, &stick.medium())?;
        } else {
            ensure!(digest(&stick.medium())? == before, "{image} {more}: refused, but something was written");
        }
    }
    // Without an option that names the stick, and with a wrong one.
    let before = digest(&stick.medium())?;
    let disk = vm.insert(&stick)?;
    for serial in ["", "--serial 0003", "--serial 002"] {
        let flash = format!("psyops flash /images/beta.img {disk} --site /root/site --full {serial}");
        let said = vm.shell().run(&flash, DEADLINE)?;
        ensure!(said.code == 90 && said.text().contains("STICK-0002"), "{serial}: {said:?}");
    }
    vm.pull(&stick)?;
    ensure!(digest(&stick.medium())? == before, "refused, but something was written");
    Ok(())
}

#[test]
fn a_stick_that_has_sectors_of_4096_bytes_is_refused() -> Result<()> {
    let fixture = SiteFixture::small()?;
    let image = fixture.image("alpha")?;
    let size = size_of(&image)? + 64 * MIB;
    let mut vm = FlashVm::new(&fixture, &[("alpha", &image)])?;
    let shown = UsbStick::blank("STICK-0004", size)?.with_sectors(4096, 4096);
    let said = vm.flash_once("alpha", &shown, "")?;
    ensure!(said.code == 91 && said.text().contains("4096"), "{said:?}");
    is_no_disk(&shown.medium())?;
    let hidden = UsbStick::blank("STICK-0005", size)?.with_sectors(512, 4096);
    let said = vm.flash_once("alpha", &hidden, "")?;
    ensure!(said.code == 0, "{said:?}");
    is_whole(&fixture, &hidden.medium())
}

#[test]
fn several_sticks_are_written_by_one_command() -> Result<()> {
    let fixture = SiteFixture::small()?;
    let (alpha, beta) = (fixture.image("alpha")?, fixture.image("beta")?);
    let size = size_of(&alpha)? + 64 * MIB;
    let stick = |serial, more| UsbStick::blank(serial, size + more);
    let sticks = [stick("STICK-0006", 0)?, stick("STICK-0007", 5 * MIB)?, stick("STICK-0008", 0)?];
    let mut vm = FlashVm::new(&fixture, &[("alpha", &alpha), ("beta", &beta)])?;
    let disks = sticks.iter().map(|stick| vm.insert(stick)).collect::<Result<Vec<_>>>()?;
    let [first, second, other] = disks.as_slice() else { anyhow::bail!("{disks:?}") };
    let more = format!("{second} --serial 0007 --also /images/beta.img={other} --serial 0008");
    let said = vm.shell().run(&command("alpha", (&sticks[0], first), &more), DEADLINE)?;
    let nodes: Vec<Value> = results(&said)?.iter().map(|result| result["node"].clone()).collect();
    ensure!(nodes == ["alpha", "alpha", "beta"], "{nodes:?}");
    for stick in &sticks {
        vm.pull(stick)?;
        is_whole(&fixture, &stick.medium())?;
    }
    Ok(())
}
