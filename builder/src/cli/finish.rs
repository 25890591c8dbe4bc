//! The one place of the workstation's commands that prints and that knows exit codes.

use crate::error::Error;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// Says on standard error what is being done, a line at a time.
pub fn progress(line: &str) {
    // Nobody may be listening; the work goes on.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints what a command has to say, and turns it into the program's end.
pub fn finish(result: Result<impl Display, Error>) -> ExitCode {
    finish_with(result.map(|output| (output.to_string(), true)))
}

/// The same for a command whose output may say that things went badly (exit code 1).
pub fn finish_with(result: Result<(String, bool), Error>) -> ExitCode {
    match result {
        Ok((text, good)) => {
            let mut out = io::stdout().lock();
            let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            // A reader that went away (`| head`) is no failure of ours.
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.write_all(newline.as_bytes()));
            let _ = out.flush();
            if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {}", error.report());
            ExitCode::from(error.class().exit_code())
        }
    }
}
