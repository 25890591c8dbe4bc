//! A virtual machine with images, a site with its keys, and `psyops`.

use super::usb_stick::UsbStick;
use crate::command::succeed;
use crate::shell::{Said, Shell};
use crate::site_fixture::SiteFixture;
use crate::tool_vm::ToolVm;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// Shell functions for the machine.
const FUNCTIONS: &str = r#"
# Waits until a stick is there, and says its disk: there may still be an older disk that has gone.
disk() { # SERIAL
    while :; do
        for block in /sys/block/sd*; do
            [ "$(cat "$block/device/../../../../serial" 2>/dev/null)" = "$1" ] || continue
            [ "$(cat "$block/size")" != 0 ] && [ -b "/dev/${block##*/}" ] && echo "/dev/${block##*/}" && return
        done
        sleep 0.05
    done
}
"#;

/// Run once in the machine: mounts images from the first disk, and turns off the time that new USB disks get to settle.
const PREPARE: &str = "mkdir /images && mount -t ext4 -o ro,noload /dev/vda /images && \
                       echo 0 >/sys/module/usb_storage/parameters/delay_use";

/// Longer than any single run takes beside two other machines.
pub const DEADLINE: Duration = Duration::from_mins(4);

/// Bytes by which a stick is longer than its image.
const MORE: u64 = 64 << 20;

/// The machine in which sticks are written.
#[derive(Debug)]
pub struct FlashVm {
    shell: Shell,
    fixture: SiteFixture,
    size: u64,
    _images: TempDir,
}

impl FlashVm {
    /// A machine with the small image of alpha.
    pub fn small() -> Result<Self> {
        let fixture = SiteFixture::small()?;
        let image = fixture.image("alpha")?;
        Self::new(&fixture, &[("alpha", &image)])
    }

    /// A machine with these images of a fixture, each under a name: `/images/NAME.img`.
    pub fn new(fixture: &SiteFixture, images: &[(&str, &Path)]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let disk = image_disk(folder.path(), images)?;
        let psyops = PathBuf::from(fixture.psyops().get_program());
        let mut bench =
            ToolVm::around(&SiteFixture::micro()?, &psyops, &["blkid", "sgdisk", "mke2fs", "e2fsck"])?;
        bench.add_as(&fixture.site(), "root/site")?;
        bench.add_as(&fixture.keys(), "root/.config/psyops/test")?;
        let functions = folder.path().join("functions");
        fs::write(&functions, FUNCTIONS)?;
        bench.add_as(&functions, "functions")?;
        bench.attach_read_only(&disk);
        let mut shell = Shell::start(&bench)?;
        let said = shell.run(PREPARE, DEADLINE)?;
        ensure!(said.code == 0, "{said:?}");
        let sizes =
            images.iter().map(|(_, image)| Ok(fs::metadata(image)?.len())).collect::<Result<Vec<_>>>()?;
        let size = sizes.into_iter().max().context("no image")? + MORE;
        Ok(Self { shell, fixture: fixture.clone(), size, _images: folder })
    }

    /// The fixture that made its images.
    #[must_use]
    pub fn fixture(&self) -> &SiteFixture {
        &self.fixture
    }

    /// The size of a stick that is a little longer than its images.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The shell in the machine.
    pub fn shell(&mut self) -> &mut Shell {
        &mut self.shell
    }

    /// Plugs a stick in and waits until the machine has it; returns the name of its disk.
    pub fn insert(&mut self, stick: &UsbStick) -> Result<String> {
        stick.insert(self.shell.machine())?;
        let said = self.shell.run(&format!("disk {}", stick.serial()), DEADLINE)?;
        ensure!(said.code == 0, "{said:?}");
        Ok(said.out.trim().to_owned())
    }

    /// Pulls a stick out.
    pub fn pull(&self, stick: &UsbStick) -> Result<()> {
        stick.pull(self.shell.machine())
    }

    /// Plugs a stick in, writes an image to it, with further arguments, and pulls it out.
    pub fn flash_once(&mut self, image: &str, stick: &UsbStick, more: &str) -> Result<Said> {
        let disk = self.insert(stick)?;
        let said = self.shell.run(&command(image, (stick, &disk), more), DEADLINE)?;
        self.pull(stick)?;
        Ok(said)
    }
}

/// The command that writes an image to a stick whose disk has this name.
#[must_use]
pub fn command(image: &str, (stick, disk): (&UsbStick, &str), more: &str) -> String {
    let serial = stick.serial();
    format!("psyops flash /images/{image}.img {disk} --serial {serial} --site /root/site --json {more}")
}

/// The JSON result of each target of a run that succeeded.
pub fn results(said: &Said) -> Result<Vec<Value>> {
    ensure!(said.code == 0, "exit code {}:\n{}{}", said.code, said.out, said.err);
    let results: Value =
        serde_json::from_str(&said.out).with_context(|| format!("no JSON:\n{}", said.out))?;
    results["sticks"].as_array().cloned().with_context(|| format!("no list: {results}"))
}

/// Makes a file system with the images.
fn image_disk(folder: &Path, images: &[(&str, &Path)]) -> Result<PathBuf> {
    let (tree, disk) = (folder.join("images"), folder.join("images.ext4"));
    fs::create_dir(&tree)?;
    let mut kibibytes = 64 << 10;
    for (name, image) in images {
        let there = tree.join(format!("{name}.img"));
        succeed(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(image).arg(there))?;
        kibibytes += fs::metadata(image)?.len() / 1024;
    }
    let mut mke2fs = Command::new("mke2fs");
    mke2fs.args(["-q", "-t", "ext4", "-O", "^has_journal", "-d"]).arg(&tree).arg(&disk);
    succeed(mke2fs.arg(format!("{kibibytes}k")))?;
    fs::remove_dir_all(&tree)?;
    Ok(disk)
}
