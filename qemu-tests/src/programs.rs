//! Where the tests find programs for the node: in the folder that `PSYOPS_PROGRAMS` names, else in cargo's folders.
//!
//! Nothing is built here: `make build` does that.

use anyhow::{Context as _, Result, bail};
use handoff::architecture::X86_64;
use std::env;
use std::path::PathBuf;

/// The folders below cargo's target folder of an architecture that hold UEFI programs.
const UEFI_FOLDERS: [&str; 2] = ["node", "node/examples"];

/// The UEFI program of this file name.
pub fn uefi_program(file: &str) -> Result<PathBuf> {
    let mut folders: Vec<PathBuf> = env::var_os("PSYOPS_PROGRAMS").map(PathBuf::from).into_iter().collect();
    let test = env::current_exe().context("asking for the path of the running test")?;
    // A test lies in TARGET/PROFILE/deps.
    if let Some(target) = test.ancestors().nth(3) {
        let target = target.join(X86_64.uefi_target);
        folders.extend(UEFI_FOLDERS.map(|folder| target.join(folder)));
    }
    match folders.iter().map(|folder| folder.join(file)).find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!("no {file} in {folders:?}: run make build, or name its folder in PSYOPS_PROGRAMS"),
    }
}
