//! `psyops`: every command of the workstation.

use builder::cli::Psyops;
use builder::interrupt;
use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    interrupt::start();
    Psyops::parse().run()
}
