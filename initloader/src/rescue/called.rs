//! What this program does under its other names: it is the command reader, the reader of leases, or a command.

use super::commands::{self, Output, lease};
use super::restricted;
use handoff::paths;
use std::path::Path;
use std::process::ExitCode;

/// Runs the command that the first word names.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let (name, rest) = arguments.split_first().map_or(("", arguments), |(name, rest)| (name.as_str(), rest));
    let name = Path::new(name).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let words: Vec<&str> = rest.iter().map(String::as_str).collect();
    let is =
        |place: &str| Path::new(place).file_name().is_some_and(|own| own == name.trim_start_matches('-'));
    match words.as_slice() {
        // A login shell's name has a dash before it.
        words if is(paths::COMMAND_READER) => restricted::run(words),
        [event] if is(paths::LEASE_READER) => lease::run(event),
        words => commands::execute(name, words, Output::Paged),
    }
}
