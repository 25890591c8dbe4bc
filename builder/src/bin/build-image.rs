//! `build-image`: what `psyops build-image` is, under the name that is typed most.

use builder::cli::build_image::{self, BuildImageArgs};
use builder::cli::finish::{finish, progress};
use clap::Parser as _;
use std::process::ExitCode;

/// The arguments of `psyops build-image`.
#[derive(Debug, clap::Parser)]
#[command(name = "build-image", version)]
struct Command {
    #[command(flatten)]
    args: BuildImageArgs,
}

fn main() -> ExitCode {
    finish(build_image::run(&Command::parse().args, &progress))
}
