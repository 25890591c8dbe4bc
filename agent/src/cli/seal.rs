//! `psyops-agent seal install FILE`: installs a seal and prints the result.

use super::{FORMAT, InstallArguments, complain, say};
use crate::file::failing;
use crate::root::Root;
use crate::seal::install::{InstallError, LONGEST, Outcome, install};
use handoff::json::Object;
use keys::seal::SealError;
use medium::seal_slots::{self, Installed};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::process::ExitCode;

/// Exit codes, as for the commands on the workstation (README).
const FAILED: u8 = 1;
const BAD_CONTENT: u8 = 65;
const NO_FILE: u8 = 66;
const INPUT_OUTPUT: u8 = 74;
const REFUSED: u8 = 77;

pub(super) fn run(root: &Root, arguments: &InstallArguments) -> ExitCode {
    let bytes = match failing("read", &arguments.file, read(&arguments.file)) {
        Ok(bytes) => bytes,
        Err(error) => {
            complain(&error);
            return ExitCode::from(if error.is_missing() { NO_FILE } else { INPUT_OUTPUT });
        }
    };
    match install(root, &bytes) {
        Ok(outcome) => {
            say(&if arguments.json { to_json(&outcome) } else { text(&outcome) });
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error);
            ExitCode::from(code(&error))
        }
    }
}

/// Reads a little more than the longest seal, so that a file that is too long is refused and not cut.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        io::stdin().take(LONGEST + 1).read_to_end(&mut bytes)?;
    } else {
        File::open(file)?.take(LONGEST + 1).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn text(outcome: &Outcome) -> String {
    let generation = outcome.generation;
    match outcome.installed {
        Installed::Written { slot, replaced } => {
            let before = replaced
                .map_or_else(|| "none held before".to_owned(), |old| format!("generation {old} before"));
            format!(
                "seal generation {generation} written to seal-{slot} ({before}); it counts from the next start on"
            )
        }
        Installed::AlreadyThere(slot) => format!("seal generation {generation} is in seal-{slot} already"),
    }
}

/// The output of `seal install --json`: slot and generation of the seal, whether it was written, and the replaced
/// generation.
#[must_use]
pub fn to_json(outcome: &Outcome) -> String {
    let (slot, written, replaced) = match outcome.installed {
        Installed::Written { slot, replaced } => (slot, true, replaced),
        Installed::AlreadyThere(slot) => (slot, false, None),
    };
    let replaced = replaced.map_or_else(|| "null".to_owned(), |generation| generation.to_string());
    Object::new()
        .number("format", FORMAT)
        .number("serial", outcome.generation.number())
        .string("slot", &slot.to_string())
        .boolean("written", written)
        .raw("replaced", &replaced)
        .finish()
}

fn code(error: &InstallError) -> u8 {
    match error {
        InstallError::Seal(SealError::OtherRecipient { .. } | SealError::BelowLeast { .. })
        | InstallError::OlderThanRunning { .. }
        | InstallError::OlderThanSeen { .. }
        | InstallError::SystemTooOld(_) => REFUSED,
        InstallError::Seal(_) => BAD_CONTENT,
        InstallError::Node(_) => FAILED,
        InstallError::Slots(error) => match error {
            seal_slots::InstallError::Medium(_) | seal_slots::InstallError::DoesNotHold { .. } => {
                INPUT_OUTPUT
            }
            _ => REFUSED,
        },
    }
}
