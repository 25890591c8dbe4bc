//! `psyops`: every command of the workstation.

use builder::cli::Psyops;
use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    Psyops::parse().run()
}
