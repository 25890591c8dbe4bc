//! Checks of the content of a medium, from this machine and with tools that are independent of flashing.

use crate::command::succeed;
use crate::site_fixture::SiteFixture;
use anyhow::{Context as _, Result, bail, ensure};
use builder::image::reader::{ImageReader, ReadError};
use builder::verify;
use handoff::hash::Sha256Digest;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

const SECTOR: u64 = 512;

/// Fails unless firmware would find no disk on the medium: neither copy of a partition table, nor anything else in
/// which it would look for a system.
pub fn is_no_disk(medium: &Path) -> Result<()> {
    match ImageReader::open(medium) {
        Err(ReadError::NoTable { .. }) => {}
        Err(error) => return Err(error).context("looking for a partition table"),
        Ok(_) => bail!("there is a partition table on {}", medium.display()),
    }
    let size = fs::metadata(medium)?.len();
    let file = File::open(medium)?;
    for (what, offset) in [("primary", SECTOR), ("backup", size - SECTOR)] {
        let mut sector = [0; 512];
        file.read_exact_at(&mut sector, offset)?;
        ensure!(!sector.starts_with(b"EFI PART"), "there is a {what} table on {}", medium.display());
    }
    // Both tables, a boot sector and a file system without partitions: blkid would find any of them.
    let blkid = Command::new("blkid").args(["-p", "-o", "export"]).arg(medium).output()?;
    let said = String::from_utf8_lossy(&blkid.stdout);
    ensure!(blkid.status.code() == Some(2) && said.trim().is_empty(), "blkid finds {said}");
    Ok(())
}

/// Fails unless `psyops verify` finds no fault with the medium, and its tables are at its two ends.
pub fn is_whole(fixture: &SiteFixture, medium: &Path) -> Result<()> {
    let mut verify = fixture.psyops();
    verify.arg("verify").arg(medium).arg("--site").arg(fixture.site());
    succeed(&mut verify)?;
    let said = succeed(Command::new("sgdisk").arg("-v").arg(medium))?.stdout;
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(said.contains("No problems found"), "{said}");
    Ok(())
}

/// Fails unless the medium is in a state that a cut may leave: no disk, or a table and a system without any fault; one
/// copy of the table is enough. Returns whether it is a system.
pub fn is_sound_or_no_disk(medium: &Path) -> Result<bool> {
    let stick = match ImageReader::open(medium) {
        Err(ReadError::NoTable { .. }) => return is_no_disk(medium).map(|()| false),
        other => other?,
    };
    let found = verify::verify(&stick, None, None)?;
    let wrong: Vec<String> = found
        .checks
        .iter()
        .filter(|check| check.part != "partition table")
        .filter_map(|check| Some(format!("{}: {}", check.part, check.result.as_ref().err()?)))
        .collect();
    ensure!(wrong.is_empty(), "a system that would start is not whole: {}", wrong.join("; "));
    Ok(true)
}

/// The digest of the whole medium, to check that nothing was written to it.
pub fn digest(medium: &Path) -> Result<Sha256Digest> {
    let said = succeed(Command::new("sha256sum").arg(medium))?.stdout;
    let text = String::from_utf8(said)?;
    text.split_whitespace()
        .next()
        .and_then(|word| word.trim_start_matches('\\').parse().ok())
        .context("no digest")
}
