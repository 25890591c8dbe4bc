//! Other generators of initramfs, to compare with psyopsOS's loader: built once for a kernel, then kept.
//!
//! `qemu-tests/peers/make` builds them in its own Debian system. booster is not among them: Debian 12 has no package of
//! it.

use crate::command::succeed;
use crate::site_fixture::{SiteFixture, target_folder};
use anyhow::{Context as _, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The generators' names in the table.
pub const NAMES: [&str; 4] = ["initramfs-tools", "dracut", "dracut-minimal", "tiny-initramfs"];

/// The folder of this crate's files for the other generators.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

/// The initramfs of each generator for the kernel of a site: a name and a file.
pub fn for_kernel_of(fixture: &SiteFixture) -> Result<Vec<(&'static str, PathBuf)>> {
    let package = kernel_package(&fixture.site())?;
    let kept = target_folder()?.join("qemu-tests/peers").join(&package);
    if !NAMES.iter().all(|name| file(&kept, name).is_file()) {
        succeed(Command::new(folder().join("make")).arg(&package).arg(&kept))?;
    }
    Ok(NAMES.into_iter().map(|name| (name, file(&kept, name))).collect())
}

fn file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.img"))
}

/// The name of the package of the kernel itself, with its release, from the site's lock.
fn kernel_package(site: &Path) -> Result<String> {
    let lock = fs::read_to_string(site.join("site.lock")).context("reading the lock of the bench's site")?;
    let names = lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    // Not the package that only depends on the newest kernel.
    let is_release = |rest: &str| rest.starts_with(|first: char| first.is_ascii_digit());
    let mut packages = names.filter(|name| name.strip_prefix("linux-image-").is_some_and(is_release));
    packages.next().map(str::to_owned).context("the lock of the bench's site names no kernel package")
}
