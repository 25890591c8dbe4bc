//! `psyops flash` on this machine: into a file as a user without any rights, and onto loop devices as root.

use anyhow::{Context as _, Result, ensure};
use nix::unistd::{Uid, chown, geteuid};
use qemu_tests::command::succeed;
use qemu_tests::flash_vm::verdict::{digest, is_no_disk, is_whole};
use qemu_tests::loop_device::{self, LoopDevice};
use qemu_tests::site_fixture::SiteFixture;
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const MIB: u64 = 1 << 20;
const NOBODY: u32 = 65534;

/// An image and a blank file that is a little longer, in a folder that every user can read.
struct Fixture {
    fixture: SiteFixture,
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Result<Self> {
        let place = Self { fixture: SiteFixture::small()?, folder: tempfile::tempdir()? };
        fs::set_permissions(place.folder.path(), fs::Permissions::from_mode(0o755))?;
        let image = place.fixture.image("alpha")?;
        succeed(Command::new("cp").args(["--sparse=always"]).arg(&image).arg(place.image()))?;
        fs::set_permissions(place.image(), fs::Permissions::from_mode(0o644))?;
        File::create(place.target())?.set_len(fs::metadata(&image)?.len() + 64 * MIB)?;
        Ok(place)
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("alpha.img")
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("stick")
    }

    fn flash(&self, target: &Path, more: &[&str]) -> Result<Output> {
        let mut flash = self.fixture.psyops();
        flash.arg("flash").arg(self.image()).arg(target).args(more);
        flash.output().context("starting psyops")
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_file_is_written_without_any_rights() -> Result<()> {
    let place = Fixture::new()?;
    let program = place.folder.path().join("psyops");
    fs::copy(place.fixture.psyops().get_program(), &program)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let mut alone = Command::new("setpriv");
    if geteuid().is_root() {
        chown(&place.target(), Some(Uid::from_raw(NOBODY)), None)?;
        alone.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set", "-all"]);
    }
    // A separate namespace in which the user is also `nobody`.
    alone.args(["--no-new-privs", "unshare", "--user", "--net"]);
    alone.arg(&program).arg("flash").arg(place.image()).arg(place.target());
    succeed(alone.env("HOME", "/nonexistent").current_dir("/"))?;
    is_whole(&place.fixture, &place.target())
}

#[test]
fn images_are_built_and_written_by_one_command() -> Result<()> {
    let fixture = SiteFixture::small()?;
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    // With the first image of a node the site gets its seal, with which the stick is compared.
    let size = fs::metadata(fixture.image("alpha")?)?.len() + 64 * MIB;
    fixture.image("beta")?;
    // Receipts are written into the site, which other tests use too.
    succeed(Command::new("cp").arg("-r").arg(fixture.site()).arg(path("site")))?;
    for stick in ["one", "two"] {
        File::create(path(stick))?.set_len(size)?;
    }
    let build = |more: &[&str]| {
        let mut build = fixture.command("build-image");
        build.current_dir(folder.path()).args(["--site", "site", "--json"]).args(more);
        build.output().context("starting build-image")
    };
    let few = build(&["--node", "alpha", "--output", "alpha.img", "--flash", "one", "--flash", "two"])?;
    ensure!(few.status.code() == Some(1) && said(&few).contains("1 nodes, but 2 sticks"), "{}", said(&few));
    ensure!(!path("alpha.img").exists(), "it was built for sticks that do not fit");
    let nodes = ["--node", "alpha", "--node", "beta", "--output", "images"];
    let done = build(&[nodes.as_slice(), &["--flash", "one", "--flash", "two"]].concat())?;
    ensure!(done.status.success(), "{}", said(&done));
    let result: Value = serde_json::from_slice(&done.stdout)?;
    let nodes = &result["nodes"];
    for (number, (node, stick)) in [("alpha", "one"), ("beta", "two")].into_iter().enumerate() {
        let flashed = &nodes[number]["flashed"];
        ensure!(flashed["node"] == node && flashed["read_back"] == true, "{nodes}");
        let receipt = path(&format!("site/receipts/{node}/{stick}.json"));
        ensure!(
            flashed["receipt"] == format!("site/receipts/{node}/{stick}.json") && receipt.is_file(),
            "{nodes}"
        );
        is_whole(&fixture, &path(stick))?;
        let mut verify = fixture.psyops();
        verify.current_dir(folder.path()).args(["verify", stick, "--site", "site"]);
        let verified = succeed(&mut verify)?;
        ensure!(said(&verified).contains("and unchanged since"), "{}", said(&verified));
    }
    Ok(())
}

#[test]
fn a_loop_device_is_written_only_if_the_user_names_its_serial() -> Result<()> {
    if !loop_device::work() {
        return Ok(());
    }
    let place = Fixture::new()?;
    let size = fs::metadata(place.target())?.len().to_string();
    let device = LoopDevice::over(&place.target(), &[])?;
    let blank = digest(&place.target())?;
    for (more, code) in [
        // Neither removable nor on USB; without a terminal and without an option that names it; another one.
        (&["--serial", &size][..], 87),
        (&["--fixed-disk"], 90),
        (&["--fixed-disk", "--serial", "1234567890"], 90),
    ] {
        let output = place.flash(device.path(), more)?;
        ensure!(output.status.code() == Some(code), "{more:?}: {}", said(&output));
        ensure!(digest(&place.target())? == blank, "{more:?}: refused, but something was written");
    }
    let output = place.flash(device.path(), &["--fixed-disk", "--serial", &size])?;
    ensure!(output.status.success(), "{}", said(&output));
    drop(device);
    is_whole(&place.fixture, &place.target())
}

#[test]
fn a_loop_device_with_sectors_of_4096_bytes_is_refused() -> Result<()> {
    if !loop_device::work() {
        return Ok(());
    }
    let place = Fixture::new()?;
    let size = fs::metadata(place.target())?.len().to_string();
    let device = LoopDevice::over(&place.target(), &["--sector-size", "4096"])?;
    let output = place.flash(device.path(), &["--fixed-disk", "--serial", &size])?;
    ensure!(output.status.code() == Some(91), "{}", said(&output));
    drop(device);
    is_no_disk(&place.target())
}
