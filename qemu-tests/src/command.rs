//! Running programs of this machine in tests.

use anyhow::{Context as _, Result, ensure};
use std::process::{Command, Output};

/// Runs a command; an error has its output if it does not succeed.
pub fn succeed(command: &mut Command) -> Result<Output> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output)
}
