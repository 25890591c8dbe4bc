//! `build-image`: the same as `psyops build-image`, under the name that users type most often.

use builder::cli::build_image::{self, BuildImageArgs};
use builder::cli::finish::{arguments, finish_code, progress_for};
use builder::interrupt;
use builder::private_memory::protect;
use logging::LogArgs;
use std::process::ExitCode;

/// Build the images of nodes
#[derive(Debug, clap::Parser)]
#[command(name = "build-image", version)]
struct Command {
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    args: BuildImageArgs,
}

fn main() -> ExitCode {
    let protected = protect();
    interrupt::start();
    let Command { log, args } = arguments();
    let args = args.with_details_if(log.verbose > 0);
    let built = protected.map_err(Into::into).and_then(|()| build_image::run(&args, progress_for(args.json)));
    finish_code(built.map(|output| (output.to_string(), output.exit_code())))
}
