//! The only code of the workstation's commands that prints and that ends with exit codes.
//!
//! All text goes through [`ShownLines`]: code that reads an image or files from elsewhere need not consider the
//! terminal. Names that are part of a line are in [`Shown`] as well. Lines of progress and the messages of errors are
//! escaped as one line each. Only [`finish_bytes`] passes bytes unchanged.

use super::exit_codes;
use crate::error::{Class, Classified, Error};
use crate::interrupt::wait_if_ending;
use crate::next_command::{found_site, note_site};
use crate::tools;
use clap::error::ErrorKind;
use clap::{ArgMatches, FromArgMatches as _, Parser};
use handoff::shown::{Shown, ShownLines, must_be_escaped};
use logging::LogArgs;
use serde_json::{Value, json};
use std::env;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

/// Parses the arguments and starts the log, or ends the program. Arguments can be names of files that a shell inserted
/// (`*.img`), so the parser's message quotes them escaped.
#[must_use]
pub fn arguments<A: Parser>() -> A {
    let typed: Vec<OsString> = env::args_os().collect();
    let parsed = parse::<A>(&typed);
    if let Ok(matches) = A::command().try_get_matches_from(&typed) {
        if let Some(site) = named_site(&matches) {
            note_site(&site);
        }
        if let Err(error) = start_log(&matches) {
            clap::Error::raw(ErrorKind::InvalidValue, format!("{}\n", Shown(error))).exit();
        }
    }
    parsed.unwrap_or_else(|error| {
        let shown = typed.iter().map(|word| Shown(word.to_string_lossy()).to_string());
        // An error stays an error when it is escaped; otherwise the first message is shown without colours.
        match parse::<A>(shown) {
            Err(shown) => shown.exit(),
            // This message quotes nothing that was typed.
            Ok(_) if error.kind() == ErrorKind::InvalidUtf8 => error.exit(),
            Ok(_) => clap::Error::raw(error.kind(), format!("{}\n", Shown(error))).exit(),
        }
    })
}

/// The same as `try_parse_from`, with exit codes in the help.
fn parse<A: Parser>(typed: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> clap::error::Result<A> {
    let mut command = exit_codes::add(A::command());
    let mut matches = command.try_get_matches_from_mut(typed)?;
    A::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// The value of `--site` in any subcommand.
fn named_site(matches: &ArgMatches) -> Option<PathBuf> {
    let here = || matches.try_get_one::<PathBuf>("site").ok().flatten().cloned();
    matches.subcommand().and_then(|(_, matches)| named_site(matches)).or_else(here)
}

/// Starts the log that the options and the environment ask for.
fn start_log(matches: &ArgMatches) -> Result<(), logging::StartError> {
    // Programs of the tests have no such options.
    let log = LogArgs::from_arg_matches(matches).unwrap_or_default();
    let variable = env::var_os(logging::VARIABLE);
    logging::start(&log, variable.as_deref(), has_json(matches), print_log_line)
}

/// Whether `--json` was given to any subcommand.
fn has_json(matches: &ArgMatches) -> bool {
    let here = matches.try_get_one::<bool>("json").ok().flatten().copied().unwrap_or_default();
    here || matches.subcommand().is_some_and(|(_, matches)| has_json(matches))
}

/// Prints a line of the log, which is escaped already, on standard error. On a terminal it takes the place of a line
/// of progress, which comes again below it.
fn print_log_line(line: &str) {
    let mut out = io::stderr().lock();
    let text = if out.is_terminal() { for_a_terminal(line) } else { format!("{line}\n") };
    // One write, so that lines of several processes do not mix.
    let _ = out.write_all(text.as_bytes());
}

/// Prints a line of progress on standard error. On a terminal, a line about the progress of one step is replaced by the
/// next line.
pub fn progress(line: &str) {
    let mut out = io::stderr().lock();
    // Standard error may be closed; the work continues.
    let _ = if out.is_terminal() {
        out.write_all(for_a_terminal(line).as_bytes()).and_then(|()| out.flush())
    } else {
        writeln!(out, "{}", Shown(line))
    };
}

/// Prints a line that stays, below the previous one.
fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{}", Shown(line));
}

/// The line in place of the previous one: back to the beginning, and erase the rest (ECMA-48, EL).
fn for_a_terminal(line: &str) -> String {
    let end = if line.starts_with("  ") { "" } else { "\n" };
    format!("\r{}\u{1b}[K{end}", Shown(line))
}

/// The same for a program that reads the progress: each line is a JSON object with `progress`.
pub fn progress_in_json(line: &str) {
    progress_value(&json!({"progress": line.trim()}));
}

/// The same for progress with further fields.
pub fn progress_value(value: &Value) {
    let _ = writeln!(io::stderr(), "{}", Shown(value));
}

/// The function that prints progress, for a command with JSON or with text as its result.
pub fn progress_for(json: bool) -> &'static dyn Fn(&str) {
    if json { &progress_in_json } else { &progress }
}

/// Asks the user at the terminal a question to be answered with yes or no; `None` if there is no terminal.
pub fn ask(question: &str) -> io::Result<Option<bool>> {
    Ok(ask_for_text(&format!("{question} [y/N] "))?.map(|answer| is_yes(&answer)))
}

/// The same for a line of text as the answer.
pub fn ask_for_text(question: &str) -> io::Result<Option<String>> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Ok(None);
    }
    write!(io::stderr(), "{}", ShownLines(question))?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(Some(answer))
}

/// Only a yes counts; the end of the input does not.
fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// Prints the result of a command, and turns it into the exit code of the program.
#[must_use]
pub fn finish(result: Result<impl Display, Error>) -> ExitCode {
    finish_with(result.map(|output| (output.to_string(), true)))
}

/// The same for a command whose output may be a negative result (exit code 1).
#[must_use]
pub fn finish_with(result: Result<(String, bool), Error>) -> ExitCode {
    finish_code(result.map(|(text, good)| (text, u8::from(!good))))
}

/// The same for a command with further exit codes.
#[must_use]
pub fn finish_code(result: Result<(String, u8), Error>) -> ExitCode {
    note_isolation();
    match result {
        Ok((text, code)) => print_text(&text, || ExitCode::from(code)),
        Err(error) => fail(&error),
    }
}

/// The same for a command that prints something even if it then fails.
#[must_use]
pub fn finish_partial(result: Result<(String, Option<Error>), Error>) -> ExitCode {
    match result {
        Ok((text, Some(error))) => {
            note_isolation();
            print_text(&text, || fail(&error))
        }
        other => finish_code(other.map(|(text, _)| (text, 0))),
    }
}

/// The same for bytes that are passed unchanged.
#[must_use]
pub fn finish_bytes(result: Result<impl AsRef<[u8]>, Error>) -> ExitCode {
    note_isolation();
    match result {
        Ok(bytes) if io::stdout().is_terminal() && !is_text(bytes.as_ref()) => fail(&NotText.into()),
        Ok(bytes) => print(&[bytes.as_ref()], || ExitCode::SUCCESS),
        Err(error) => fail(&error),
    }
}

/// Whether a terminal only displays these bytes: others would move its cursor, or worse.
fn is_text(bytes: &[u8]) -> bool {
    let shown = |c: char| matches!(c, '\n' | '\t' | '\r') || !must_be_escaped(c);
    std::str::from_utf8(bytes).is_ok_and(|text| text.chars().all(shown))
}

/// The bytes must not be sent to a terminal.
#[derive(Debug, thiserror::Error, classified::Cause)]
#[error("the file is not plain text, and the output is a terminal")]
struct NotText;

impl Classified for NotText {
    fn own_class(&self) -> Option<Class> {
        Some(Class::Refused)
    }

    fn own_advice(&self) -> Option<String> {
        Some("write it to a file (> FILE), or show it with | cat -v".into())
    }
}

fn print_text(text: &str, end: impl FnOnce() -> ExitCode) -> ExitCode {
    let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    print(&[ShownLines(text).to_string().as_bytes(), newline.as_bytes()], end)
}

/// Prints the output of a command, and then ends with the result of `end`; if printing fails, with that error.
fn print(parts: &[&[u8]], end: impl FnOnce() -> ExitCode) -> ExitCode {
    wait_if_ending();
    let mut out = io::stdout().lock();
    let printed = parts.iter().try_for_each(|part| out.write_all(part)).and_then(|()| out.flush());
    drop(out);
    match printed {
        // A closed pipe (`| head`) is not a failure of the command.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(&NotPrinted(error).into()),
        Ok(()) | Err(_) => end(),
    }
}

/// The output of a command could not be written.
#[derive(Debug, thiserror::Error, classified::Cause)]
#[error("cannot write to the standard output: {0}")]
struct NotPrinted(io::Error);

impl Classified for NotPrinted {
    fn own_class(&self) -> Option<Class> {
        Some(Class::of_writing(&self.0))
    }
}

/// Prints, once for each command, that a protection was not available on this machine.
fn note_isolation() {
    if let Some(reason) = tools::missing_isolation() {
        progress(&format!(
            "note: programs that read images and packages ran without network isolation, which this machine does not allow ({reason})"
        ));
    }
    if let Some(reason) = tools::missing_right_to_drop_rights() {
        progress(&format!(
            "note: programs that read images and packages ran with this process's capabilities, which it is not allowed to drop ({reason})"
        ));
    }
}

fn fail(error: &Error) -> ExitCode {
    wait_if_ending();
    let report = error.report();
    let mut lines = report.lines();
    progress(&format!("error: {}", lines.next().unwrap_or_default()));
    // Lines below the message are not replaced by the next one.
    lines.for_each(note);
    if let Some(site) = found_site() {
        note(&format!("  {site}"));
    }
    ExitCode::from(error.exit_code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_counts_as_yes() {
        assert!(is_yes("y\n") && is_yes(" YES \n"));
        assert!(!is_yes("") && !is_yes("\n") && !is_yes("n\n") && !is_yes("yesterday"));
    }

    #[test]
    fn a_terminal_gets_only_plain_text() {
        assert!(is_text("ü\n\tß\r\n".as_bytes()));
        for bytes in [&b"\x1b]0;title\x07"[..], b"\xff", "\u{202e}".as_bytes(), "\u{9b}2J".as_bytes(), b"\0"]
        {
            assert!(!is_text(bytes), "{bytes:?}");
        }
    }

    #[test]
    fn cursor_movements_are_escaped_in_a_line_of_progress() {
        assert_eq!(for_a_terminal("a\u{1b}[2J\r\u{202e}b"), "\ra\\u001b[2J\\r\\u202eb\u{1b}[K\n");
    }

    #[test]
    fn on_a_terminal_a_line_of_progress_replaces_the_previous_one() {
        let said: String =
            ["root: making it", "  1 of 4 MiB", "  3 of 4 MiB", "root: made"].map(for_a_terminal).concat();
        assert_eq!(
            said,
            "\rroot: making it\u{1b}[K\n\r  1 of 4 MiB\u{1b}[K\r  3 of 4 MiB\u{1b}[K\rroot: made\u{1b}[K\n"
        );
    }
}
