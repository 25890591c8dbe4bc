//! `mksecrets`: the same as `psyops mksecrets`, under the name that users type most often.

use builder::cli::finish::{arguments, ask_for_text, finish, progress_for};
use builder::cli::mksecrets::{self, MksecretsArgs};
use builder::interrupt;
use builder::private_memory::protect;
use logging::LogArgs;
use std::process::ExitCode;

/// Make the secret partition of a node
#[derive(Debug, clap::Parser)]
#[command(name = "mksecrets", version)]
struct Command {
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    args: MksecretsArgs,
}

fn main() -> ExitCode {
    let protected = protect();
    interrupt::start();
    let args = arguments::<Command>().args;
    finish(
        protected
            .map_err(Into::into)
            .and_then(|()| mksecrets::run(&args, progress_for(args.json), &mut ask_for_text)),
    )
}
