//! Where the tests find programs for the node: in the folder that `PSYOPS_PROGRAMS` names, else in cargo's folders.
//!
//! Nothing is built here: `cargo build -p selector --bins --examples --profile node --target x86_64-unknown-uefi` does.

use anyhow::{Context as _, Result, bail};
use std::env;
use std::path::PathBuf;

/// The folders below cargo's target folder that hold UEFI programs.
const UEFI_FOLDERS: [&str; 2] = ["x86_64-unknown-uefi/node", "x86_64-unknown-uefi/node/examples"];

/// The UEFI program of this file name.
pub fn uefi_program(file: &str) -> Result<PathBuf> {
    let mut folders: Vec<PathBuf> = env::var_os("PSYOPS_PROGRAMS").map(PathBuf::from).into_iter().collect();
    let test = env::current_exe().context("asking for the path of the running test")?;
    // A test lies in TARGET/PROFILE/deps.
    if let Some(target) = test.ancestors().nth(3) {
        folders.extend(UEFI_FOLDERS.map(|folder| target.join(folder)));
    }
    match folders.iter().map(|folder| folder.join(file)).find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!(
            "no {file} in {folders:?}: run cargo build -p selector --bins --examples --profile node \
             --target x86_64-unknown-uefi, or name its folder in PSYOPS_PROGRAMS"
        ),
    }
}
