//! `psyops manual` and `psyops completions`: manual pages and shell completions, generated from the argument parser.

use super::{Psyops, exit_codes};
use crate::error::{Class, Classified, Error};
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Write the manual pages of all commands into a folder
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops manual ~/.local/share/man/man1
  psyops manual man && man man/psyops-flash.1")]
pub struct ManualArgs {
    /// The folder; created if it does not exist
    pub dir: PathBuf,
}

/// Print the completions for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops completions bash > ~/.local/share/bash-completion/completions/psyops
  psyops completions fish > ~/.config/fish/completions/psyops.fish")]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

/// Where the pages were written.
#[derive(Debug)]
pub struct ManualOutput {
    dir: PathBuf,
}

impl fmt::Display for ManualOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "manual pages are in {0}; read one with: man {0}/psyops.1", self.dir.display())
    }
}

/// The folder or a page could not be written.
#[derive(Debug, thiserror::Error, classified::Cause)]
#[error("cannot write manual pages to {dir}: {source}")]
pub struct ManualError {
    dir: PathBuf,
    r#source: io::Error,
}

impl Classified for ManualError {
    fn own_class(&self) -> Option<Class> {
        Some(Class::of_writing(&self.source))
    }
}

/// Writes a page for each command.
pub fn write_pages(args: &ManualArgs) -> Result<ManualOutput, Error> {
    let failed = |source| ManualError { dir: args.dir.clone(), source };
    std::fs::create_dir_all(&args.dir).map_err(failed)?;
    clap_mangen::generate_to(exit_codes::add(Psyops::command()), &args.dir).map_err(failed)?;
    Ok(ManualOutput { dir: args.dir.clone() })
}

/// The completion script for a shell.
#[must_use]
pub fn completions(args: &CompletionsArgs) -> String {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Psyops::command(), "psyops", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_a_completion() {
        let dir = tempfile::tempdir().unwrap();
        write_pages(&ManualArgs { dir: dir.path().to_owned() }).unwrap();
        let script = completions(&CompletionsArgs { shell: Shell::Bash });
        // Commands that only psyops itself runs are hidden.
        for command in Psyops::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let name = command.get_name();
            assert!(dir.path().join(format!("psyops-{name}.1")).is_file(), "{name} has no page");
            assert!(script.contains(name), "{name} is not completed");
        }
    }

    /// The names of all commands below this one whose help has no examples, except those of the parser itself.
    fn without_examples(command: &clap::Command, name: &str) -> Vec<String> {
        let mut lacking = Vec::new();
        if !command.clone().render_long_help().to_string().contains("\nExamples:\n") {
            lacking.push(name.to_owned());
        }
        let beneath = command.get_subcommands().filter(|command| !command.is_hide_set());
        for command in beneath.filter(|command| command.get_name() != "help") {
            lacking.extend(without_examples(command, &format!("{name} {}", command.get_name())));
        }
        lacking
    }

    #[test]
    fn the_help_of_every_command_has_examples() {
        assert_eq!(without_examples(&Psyops::command(), "psyops"), Vec::<String>::new());
    }

    #[test]
    fn the_arguments_are_consistent() {
        Psyops::command().debug_assert();
    }
}
