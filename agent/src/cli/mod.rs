//! The command line of `psyops-agent`: its arguments, and the only functions that print.

mod configure;
mod help;
mod pause;
mod reboot;
mod seal;
mod secrets;
mod status;

pub use seal::to_json as seal_install_to_json;

use crate::root::Root;
use clap::{Args, Parser, Subcommand, ValueEnum};
use handoff::role_settings::Stage;
use handoff::shown::{Shown, ShownLines};
use logging::LogArgs;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use std::error::Error;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// The arguments of `psyops-agent`.
#[derive(Debug, Parser)]
#[command(name = "psyops-agent", version, about, after_help = help::PROGRAM)]
pub struct Arguments {
    /// Take this folder for the root of the system.
    #[arg(long, global = true, default_value = "/", hide = true)]
    root: PathBuf,
    #[command(flatten)]
    log: LogArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a stage of the node's configuration.
    #[command(after_help = help::CONFIGURE)]
    Configure(ConfigureArguments),
    /// Show the result of this boot and of its configuration run.
    #[command(after_help = help::STATUS)]
    Status(StatusArguments),
    /// Add the started services to the timeline of the boot report; the system runs this once after boot.
    #[command(after_help = help::TIMELINE)]
    Timeline,
    /// Compare the files on the secret partition with the seal, or repair them.
    Secrets(SecretsArguments),
    /// Install a new seal on this node's stick.
    Seal(SealArguments),
    /// Restart this machine.
    #[command(after_help = help::REBOOT)]
    Reboot(RebootArguments),
    /// Run a command while syslog messages are kept; they are replayed when it ends.
    #[command(after_help = help::PAUSE_SYSLOG)]
    PauseSyslog(PauseArguments),
    /// The process that has the log socket during a syslog pause.
    #[command(hide = true)]
    SyslogProxy(ProxyArguments),
    /// Takes one datagram out of the socket on the standard input.
    #[command(hide = true)]
    SyslogDiscard,
    /// Adds what a role's daemon prints on the standard input to the log on the standard output.
    #[command(hide = true)]
    RelayOutput(RelayArguments),
}

#[derive(Debug, Args)]
struct ConfigureArguments {
    /// The stage to run.
    #[arg(long, value_enum, default_value_t = StageWord::Configure)]
    stage: StageWord,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StageWord {
    /// Before init: host name, network and users; without network access.
    Identity,
    /// After init: the node's other roles.
    Configure,
}

impl From<StageWord> for Stage {
    fn from(word: StageWord) -> Self {
        match word {
            StageWord::Identity => Self::Identity,
            StageWord::Configure => Self::Configure,
        }
    }
}

#[derive(Debug, Args)]
struct StatusArguments {
    /// Print the boot report and the status of the configuration run as JSON.
    #[arg(long, conflicts_with = "short")]
    json: bool,
    /// Print one line.
    #[arg(long)]
    short: bool,
}

#[derive(Debug, Args)]
struct RebootArguments {
    /// Start the rescue shell at the next boot, once.
    #[arg(long)]
    rescue: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct SecretsArguments {
    #[command(subcommand)]
    action: SecretsAction,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum SecretsAction {
    /// List the files that differ; nothing is written.
    #[command(after_help = help::SECRETS)]
    Check,
    /// Write the files that differ again, as the loader does at boot.
    #[command(after_help = help::SECRETS)]
    Fix,
}

#[derive(Debug, Args)]
struct SealArguments {
    #[command(subcommand)]
    action: SealAction,
}

#[derive(Debug, Subcommand)]
enum SealAction {
    /// Write a seal to this node's stick, to be used from the next boot on. After a power cut the old or the
    /// new seal is valid.
    #[command(after_help = help::SEAL_INSTALL)]
    Install(InstallArguments),
}

#[derive(Debug, Args)]
struct InstallArguments {
    /// The seal, a file of the site's folder seals/; - for the standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print what was done as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct PauseArguments {
    /// Append the command's output to this file instead of printing it.
    #[arg(long, value_name = "FILE")]
    logfile: Option<PathBuf>,
    /// The command; its exit code is passed on.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Debug, Clone, Args)]
struct ProxyArguments {
    #[arg(long)]
    device: PathBuf,
    #[arg(long)]
    spool: PathBuf,
    #[arg(long)]
    total: u64,
    #[arg(long)]
    lock: PathBuf,
    #[arg(long)]
    state: PathBuf,
}

#[derive(Debug, Args)]
struct RelayArguments {
    /// How many bytes may be added.
    left: usize,
}

impl Command {
    /// Whether this is a process that another command of ours started. It has no log: its standard error is closed or
    /// another process's, and a mistake in `PSYOPS_LOG` must not stop it.
    fn is_helper(&self) -> bool {
        matches!(self, Self::SyslogProxy(_) | Self::SyslogDiscard | Self::RelayOutput(_))
    }

    fn prints_json(&self) -> bool {
        match self {
            Self::Status(arguments) => arguments.json,
            Self::Reboot(arguments) => arguments.json,
            Self::Seal(SealArguments { action: SealAction::Install(arguments) }) => arguments.json,
            _ => false,
        }
    }
}

/// The exit code for wrong use, which is also that of the argument parser.
const WRONG_USE: u8 = 2;

/// The version of the JSON that the commands print. Fields may be added within a version.
const FORMAT: u64 = 1;

/// Runs the command.
#[must_use]
pub fn run(arguments: Arguments) -> ExitCode {
    // Some commands have the node's key in memory. The kernel writes no core dump of a process without this attribute,
    // and no other process may read its memory; programs that it starts have the attribute again.
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        complain(&error);
        return ExitCode::FAILURE;
    }
    if !arguments.command.is_helper()
        && let Err(error) = start_log(&arguments.log, arguments.command.prints_json())
    {
        complain(&error);
        return ExitCode::from(WRONG_USE);
    }
    let root = Root::new(arguments.root);
    match arguments.command {
        Command::Configure(arguments) => configure::run(&root, arguments.stage.into()),
        Command::Reboot(arguments) => reboot::run(&root, &arguments),
        Command::Status(arguments) => status::run(&root, &arguments),
        Command::Timeline => status::timeline(&root),
        Command::Secrets(arguments) => secrets::run(&root, arguments.action),
        Command::Seal(SealArguments { action: SealAction::Install(arguments) }) => {
            seal::run(&root, &arguments)
        }
        Command::PauseSyslog(arguments) => pause::run(&root, &arguments),
        Command::SyslogProxy(arguments) => pause::keep(&arguments),
        Command::SyslogDiscard => pause::discard(),
        Command::RelayOutput(RelayArguments { left }) => configure::relay_output(left),
    }
}

fn start_log(log: &LogArgs, json: bool) -> Result<(), logging::StartError> {
    logging::start(log, std::env::var_os(logging::VARIABLE).as_deref(), json, print_log_line)
}

/// Prints a line of the log with one write, so that lines of several processes do not mix.
fn print_log_line(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Prints to the standard output; a closed output is not an error.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", ShownLines(text));
}

/// Prints an error with all its causes, as one line.
fn complain(error: &dyn Error) {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Most errors of psyopsOS have their cause in their text already.
        if !text.contains(&error.to_string()) {
            text.push_str(&format!(": {error}"));
        }
        cause = error.source();
    }
    let _ = writeln!(std::io::stderr(), "psyops-agent: {}", Shown(text));
}
