//! `powercut`: records the writes of psyopsOS's programs and tries the states that a power cut can leave. The same
//! program runs inside the machines, as `powercut guest`.

#![expect(clippy::print_stdout, reason = "a report is printed")]

use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand};
use qemu_tests::powercut::guest::{self, Look};
use qemu_tests::powercut::run::{self, Plan};
use std::path::PathBuf;

/// Try the states that power cuts leave of a stick, and count what is lost
#[derive(Debug, Parser)]
#[command(
    after_help = "Examples:\n  powercut                                all states of all scenarios\n  powercut --sample 40 --only change      some states of some scenarios\n  powercut --wrong --json                 with the writers that do it wrong, and what it took to catch them"
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Try so many states of each scenario of the secret partition (by default all)
    #[arg(long, value_name = "N", default_value_t = usize::MAX, hide_default_value = true)]
    sample: usize,
    /// Draw states and selections of requests by this number
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Only scenarios with this in their names
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// So many machines at a time
    #[arg(long, value_name = "N", default_value_t = 2)]
    machines: usize,
    /// Also the writers that do it wrong, which must be caught
    #[arg(long)]
    wrong: bool,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Inside a machine.
    #[command(hide = true)]
    Guest {
        #[command(subcommand)]
        command: GuestCommand,
    },
}

#[derive(Debug, Subcommand)]
enum GuestCommand {
    Write { name: String, folder: PathBuf, device: PathBuf },
    Look(LookArguments),
}

#[derive(Debug, Args)]
struct LookArguments {
    name: String,
    folder: PathBuf,
    base: PathBuf,
    log: PathBuf,
    scratch: PathBuf,
    #[arg(long)]
    sample: usize,
    #[arg(long)]
    seed: u64,
    #[arg(long)]
    share: usize,
    #[arg(long)]
    of: usize,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.command {
        Some(Command::Guest { command }) => run_guest(command),
        None => run_lab(&arguments),
    }
}

fn run_guest(command: GuestCommand) -> Result<()> {
    let mut out = std::io::stdout();
    match command {
        GuestCommand::Write { name, folder, device } => guest::write(&mut out, &name, &folder, &device),
        GuestCommand::Look(look) => guest::look(
            &mut out,
            &Look {
                name: &look.name,
                folder: &look.folder,
                base: &look.base,
                log: &look.log,
                scratch: &look.scratch,
                sample: look.sample,
                seed: look.seed,
                share: (look.share, look.of),
            },
        ),
    }
}

fn run_lab(arguments: &Arguments) -> Result<()> {
    let plan = Plan {
        program: std::env::current_exe()?,
        sample: arguments.sample,
        seed: arguments.seed,
        only: arguments.only.clone(),
        machines: arguments.machines.max(1),
        wrong: arguments.wrong,
    };
    let report = run::run(&plan)?;
    if arguments.json {
        println!("{:#}", report.json());
    } else {
        print!("{}", report.text());
    }
    ensure!(report.lost() == 0, "{} states lost something", report.lost());
    ensure!(report.not_caught().is_empty(), "not caught: {:?}", report.not_caught());
    Ok(())
}
