//! The output of a host tool about untrusted bytes: read as a stream, up to a limit.

use crate::input;
use crate::limits::{Limit, OverLimit};
use crate::parallel;
use crate::tools::{self, Running, ToolError};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{self, Read};
use std::process::{Command, Stdio};

/// The most bytes of a tool's error messages that are kept.
const MOST_COMPLAINT: u64 = 1 << 20;

/// Why the output of a tool could not be read.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The tool is missing or failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The tool printed more than the limit, and was killed.
    #[error(transparent)]
    Limit(#[from] OverLimit),
}

/// Runs `command` to its end and returns its output; over the limit, the program is killed.
pub fn run(command: &mut Command, limit: &'static Limit) -> Result<Vec<u8>, OutputError> {
    let running = tools::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let (printed, complaint) = listen(&running, |out| input::read_limited(out, limit));
    let printed = match printed {
        Ok(printed) => printed,
        Err(error) => {
            let over = error.get_ref().and_then(|inner| inner.downcast_ref::<OverLimit>()).copied();
            let program = tools::program_name(command);
            let start = |source| ToolError::Start { program, source };
            return Err(over.map_or_else(|| start(error).into(), OutputError::Limit));
        }
    };
    Ok(running.check(printed, complaint)?.stdout)
}

/// Reads the output of a child with `read`, and at the same time its standard error, as the child would otherwise
/// block. If `read` fails, the child is killed.
pub fn listen<T: Send>(
    running: &Running,
    read: impl FnOnce(&mut dyn Read) -> io::Result<T> + Send,
) -> (io::Result<T>, Vec<u8>) {
    let (stdout, stderr) = (running.stdout(), running.stderr());
    let read_complaint = || {
        let mut complaint = Vec::new();
        let Some(mut stderr) = stderr else { return complaint };
        // After a read error, the bytes that were read so far are shown.
        let _ = Read::by_ref(&mut stderr).take(MOST_COMPLAINT).read_to_end(&mut complaint);
        let _ = io::copy(&mut stderr, &mut io::sink());
        complaint
    };
    let read_output = || {
        let result = match stdout {
            Some(mut stdout) => read(&mut stdout),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        if result.is_err() {
            end(running);
        }
        result
    };
    let (complaint, result) = parallel::both(read_complaint, read_output);
    (result, complaint)
}

/// Kills a program. Its process id is not reused until it was waited for, which [`Running`] does when it is dropped.
fn end(running: &Running) {
    if let Ok(process) = i32::try_from(running.process()) {
        // The program may have ended by itself.
        let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static SMALL: Limit = Limit { what: "the output", most: 5, unit: "bytes", because: "a test" };

    fn shell(script: &str) -> Result<Vec<u8>, OutputError> {
        run(Command::new("/bin/sh").args(["-c", script]), &SMALL)
    }

    #[test]
    fn a_tool_that_prints_without_end_is_ended() {
        assert_eq!(shell("printf hello").unwrap(), b"hello");
        let error = shell("exec yes").unwrap_err().to_string();
        assert_eq!(error, "the output has 6 bytes, more than the limit of 5 bytes (a test)");
        assert!(matches!(shell("echo no >&2; exit 3"), Err(OutputError::Tool(ToolError::Failed { .. }))));
    }
}
