//! `psyops`: all commands of the workstation.

use builder::cli::Psyops;
use builder::cli::finish::{arguments, finish};
use builder::interrupt;
use builder::private_memory::protect;
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Err(error) = protect() {
        return finish(Err::<String, _>(error.into()));
    }
    interrupt::start();
    arguments::<Psyops>().run()
}
