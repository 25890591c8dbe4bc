//! The options of the log, which every command has.

use clap::{ArgAction, Args, ValueEnum};

/// The heading of these options in the help.
const HEADING: &str = "Log";

/// What is logged, and in which form.
#[derive(Debug, Clone, Default, Args)]
pub struct LogArgs {
    /// Log to standard error what is done: -v the steps, -vv also programs and files, -vvv everything
    #[arg(long, short, global = true, action = ArgAction::Count, help_heading = HEADING)]
    pub verbose: u8,
    /// The form of the log: text, or json for an object on each line (by default text, with --json json)
    #[arg(long, global = true, value_name = "FORMAT", hide_possible_values = true, help_heading = HEADING)]
    pub log_format: Option<LogFormat>,
}

/// The form of the lines of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people: time, level, spans, message, fields
    Text,
    /// For programs: a JSON object on each line
    Json,
}
