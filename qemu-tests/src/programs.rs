//! Where the tests find programs for the node: in the folder in `PSYOPS_PROGRAMS`, or else in cargo's folders.
//!
//! Nothing is built here: that is done by `make build`.

use anyhow::{Context as _, Result, bail};
use handoff::architecture::Architecture;
use std::env;
use std::path::PathBuf;

/// The folders with UEFI programs below cargo's target folder of an architecture.
const UEFI_FOLDERS: [&str; 2] = ["node", "node/examples"];

/// The path of the UEFI program with this file name.
pub fn uefi_program(file: &str) -> Result<PathBuf> {
    let mut folders: Vec<PathBuf> = env::var_os("PSYOPS_PROGRAMS").map(PathBuf::from).into_iter().collect();
    let test = env::current_exe().context("asking for the path of the running test")?;
    // A test is in TARGET/PROFILE/deps.
    if let Some(target) = test.ancestors().nth(3) {
        let target = target.join(Architecture::DEFAULT.uefi_target);
        folders.extend(UEFI_FOLDERS.map(|folder| target.join(folder)));
    }
    match folders.iter().map(|folder| folder.join(file)).find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!("no {file} in {folders:?}: run make build, or name its folder in PSYOPS_PROGRAMS"),
    }
}

/// Cargo's target folder: a test is in `TARGET/PROFILE/deps`.
pub fn target_folder() -> Result<PathBuf> {
    let test = env::current_exe().context("asking for the path of the running test")?;
    let target = test.ancestors().find(|folder| folder.join("release/psyops").is_file());
    Ok(target.context("no release/psyops above the tests: run make build first")?.to_owned())
}
