//! The command line of `psyops-agent`: its arguments, and the only functions that print.

mod configure;
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

/// What runs on a psyopsOS node: configuration, status, the syslog pause.
#[derive(Debug, Parser)]
#[command(name = "psyops-agent", version, about)]
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
    Configure(ConfigureArguments),
    /// Show how this boot and its configuration went.
    #[command(after_help = STATUS_HELP)]
    Status(StatusArguments),
    /// Complete the boot report's timeline with the services that were started; the system calls it once after boot.
    Timeline,
    /// Compare the secret partition with the seal, or repair it (exit code 0: as the seal says, 1: not, 3: unknown).
    Secrets(SecretsArguments),
    /// Bring a new seal onto this node's stick.
    Seal(SealArguments),
    /// Restart this machine.
    #[command(after_help = "Examples:
  psyops-agent reboot
  psyops-agent reboot --rescue --json       the next start goes to the rescue shell, once")]
    Reboot(RebootArguments),
    /// Run a command with syslog paused: what is said meanwhile is kept, and replayed at the end.
    #[command(after_help = PAUSE_HELP)]
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
    /// Which stage.
    #[arg(long, value_enum, default_value_t = StageWord::Configure)]
    stage: StageWord,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StageWord {
    /// Before init, offline.
    Identity,
    /// After init.
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

const STATUS_HELP: &str = "Exit codes: 0 all is well, 1 the node runs but not all is well (degraded, or its \
configuration failed), 2 wrong use, 3 not known (the configuration still runs, or there is no report), 4 rescue.\n\n\
Examples:\n  \
psyops-agent status\n  \
psyops-agent status --json | jq .report.faults\n  \
ssh root@pi1 psyops-agent status --short || echo 'look at pi1'";

#[derive(Debug, Args)]
struct RebootArguments {
    /// Go to the rescue shell, once.
    #[arg(long)]
    rescue: bool,
    /// Print what is done as JSON.
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
    /// Only look.
    Check,
    /// Write what differs anew, as the loader does at boot.
    Fix,
}

#[derive(Debug, Args)]
struct SealArguments {
    #[command(subcommand)]
    action: SealAction,
}

#[derive(Debug, Subcommand)]
enum SealAction {
    /// Write a seal into the slot that does not count; it counts from the next start on. A power cut at any moment leaves
    /// the old one or the new one.
    #[command(after_help = INSTALL_EXAMPLES)]
    Install(InstallArguments),
}

const INSTALL_EXAMPLES: &str = "Exit codes: 0 on the stick, 1 the node's own state cannot be read, 65 not a seal of this \
site, 66 no such file, 74 reading or writing failed, 77 refused (older, another node's, for a newer system).\n\n\
Examples, on the workstation after build-image made seals/pi1.seal:\n  \
ssh root@pi1 psyops-agent seal install - < seals/pi1.seal\n  \
ssh root@pi1 reboot";

#[derive(Debug, Args)]
struct InstallArguments {
    /// The seal, as it lies in the site's folder seals/; - for the standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print what was done as JSON.
    #[arg(long)]
    json: bool,
}

const PAUSE_HELP: &str = "Messages keep their sender (user, group, process while it runs), time and order. Each user has a \
share of what can be kept; what is beyond it is dropped, and the number is written to the log and shown by \
`psyops-agent status`. However much is said, the end of the command is held up by 10 seconds at most.\n\n\
Examples:\n  \
psyops-agent pause-syslog -- systemctl restart rsyslog\n  \
psyops-agent pause-syslog --logfile /var/log/psyops/update.log -- /root/update.sh";

#[derive(Debug, Args)]
struct PauseArguments {
    /// Add the command's output to this file instead of showing it.
    #[arg(long, value_name = "FILE")]
    logfile: Option<PathBuf>,
    /// The command; its exit code is ours (125: syslog could not be paused, 128 + N: ended by signal N).
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
