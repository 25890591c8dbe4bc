//! `fsck`: repairs the file system of the secret partition, without questions and only there.

use super::{complain, say};
use crate::boot::Boot;
use crate::clock::Uptime;
use crate::process::{self, Ended, NOT_STARTED};
use crate::steps::{disk, secret, selection};
use handoff::advice::WRITE_SECRETS;
use std::ffi::CString;
use std::process::ExitCode;
use std::time::Duration;

const E2FSCK: &str = "/sbin/e2fsck";
const DEADLINE: Duration = Duration::from_mins(10);
/// e2fsck's exit code if it corrected all errors.
const CORRECTED: i32 = 1;

pub(super) fn run() -> ExitCode {
    let mut boot = Boot::for_person();
    let device = match device(&mut boot) {
        Ok(device) => device,
        Err(problem) => {
            complain(&problem);
            return ExitCode::FAILURE;
        }
    };
    let arguments = ["e2fsck", "-f", "-y", &device].map(|word| CString::new(word).unwrap_or_default());
    let program = CString::new(E2FSCK).unwrap_or_default();
    // Its input is /dev/null, and its output goes through a pipe: it has no terminal for questions.
    let work = || {
        let _ = process::execute(&program, &arguments, &process::environment(&[]));
        NOT_STARTED
    };
    match process::run(Uptime::now().plus(DEADLINE), work, say) {
        Ok(Ended::Exited(0 | CORRECTED)) => ExitCode::SUCCESS,
        Ok(ended) => {
            complain(&format!(
                "e2fsck of {device}: {ended:?}; make the partition again on the workstation: {WRITE_SECRETS}"
            ));
            ExitCode::FAILURE
        }
        Err(errno) => {
            complain(&format!("{E2FSCK} cannot be started: {}; `retry` boots again", errno.desc()));
            ExitCode::FAILURE
        }
    }
}

fn device(boot: &mut Boot) -> Result<String, String> {
    let told = |failure: crate::failure::Failure| failure.lines().join("\n");
    let esp = boot.step("selection", selection::DEADLINE, selection::run).map_err(told)?;
    let disk = boot.step("disk", disk::deadline(boot), |boot| disk::run(boot, esp)).map_err(told)?;
    let device = secret::partition(&disk).map_err(|error| error.to_string())?;
    Ok(device.path().to_string_lossy().into_owned())
}
