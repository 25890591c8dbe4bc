//! `mksecrets`: makes the secret partition of a node.

use builder::cli::mksecrets::{MksecretsArgs, run};
use clap::Parser;
use std::io::Write as _;
use std::process::ExitCode;

/// The arguments under the program's own name.
#[derive(Parser)]
#[command(name = "mksecrets", version)]
struct Program {
    #[command(flatten)]
    args: MksecretsArgs,
}

fn main() -> ExitCode {
    let args = Program::parse().args;
    // A closed output is no reason to panic.
    let say = |line: &str| drop(writeln!(std::io::stderr(), "{line}"));
    match run(&args, &say) {
        Ok(output) if args.json => {
            let _ = writeln!(std::io::stdout(), "{}", serde_json::to_string(&output).unwrap_or_default());
            ExitCode::SUCCESS
        }
        Ok(output) => {
            let _ = writeln!(std::io::stdout(), "{output}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&format!("mksecrets: {}", error.report()));
            ExitCode::from(error.class().exit_code())
        }
    }
}
