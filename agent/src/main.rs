//! `psyops-agent`: parses, runs, exits once.

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    agent::cli::run(agent::cli::Arguments::parse())
}
