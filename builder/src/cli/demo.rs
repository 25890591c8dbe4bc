//! `psyops demo`: builds the image of node `demo` from the default site, and boots it.

use super::build_image::{self, BuildImageArgs};
use super::run::{self, RunArgs, RunOutput};
use crate::default_site::default_site;
use crate::error::Error;
use crate::next_command::note_site;
use crate::store::Store;
use clap::{Args, Parser as _};
use std::path::PathBuf;

/// The node of the default site.
const NODE: &str = "demo";

/// Build node `demo` of the embedded default site and boot it in QEMU
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops demo
  psyops demo --timeout 300   stop with an error if it has not booted after 300 seconds

The image is written to demo.img in the store ($XDG_CACHE_HOME/psyops, by default ~/.cache/psyops).")]
pub struct DemoArgs {
    /// The folder with selector.efi, initloader and psyops-agent (default: those of `make build`)
    #[arg(long, value_name = "DIR")]
    pub programs: Option<PathBuf>,
    /// Stop with an error after this many seconds
    #[arg(long, value_name = "S")]
    pub timeout: Option<u64>,
}

/// The two commands that a demo is made of, parsed like any other.
#[derive(Debug, clap::Parser)]
enum Part {
    Build(BuildImageArgs),
    Run(RunArgs),
}

/// Runs the command.
pub fn run(args: &DemoArgs, progress: &dyn Fn(&str)) -> Result<RunOutput, Error> {
    let site = default_site()?;
    note_site(&site);
    let image = Store::from_environment()?.dir().join("demo.img");
    let image_word = image.clone().into_os_string();
    if let Part::Build(mut build) = Part::parse_from([
        "demo".into(),
        "build".into(),
        "--node".into(),
        NODE.into(),
        "--site".into(),
        site.into_os_string(),
        "--output".into(),
        image_word.clone(),
    ]) {
        build.programs.clone_from(&args.programs);
        build_image::run(&build, progress)?;
    }
    let Part::Run(mut boot) = Part::parse_from(["demo".into(), "run".into(), image_word]) else {
        return Ok(RunOutput::Left);
    };
    boot.timeout = args.timeout;
    progress("booting the image in QEMU, cold, from UEFI firmware on an emulated USB stick");
    run::run(&boot, progress)
}
