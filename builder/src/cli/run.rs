//! `psyops run IMAGE`: boots an image in QEMU, on the terminal or until its boot report.

use crate::error::{Class, Classified, Error};
use crate::image::esp_reader;
use crate::image::reader::ImageReader;
use crate::run::direct::{self, DirectBoot};
use crate::run::watch::{SeenReport, wait_for_any_report, wait_for_report};
use crate::run::{self, Access, Boot, Machine, Serial, Setup, kvm, shell_line};
use crate::scratch::Scratch;
use crate::store::Store;
use clap::Args;
use handoff::report::Outcome;
use std::env;
use std::fmt;
use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The default time limit in seconds for a report of a machine without a user.
const PATIENCE: u64 = 300;
/// The time limit in seconds for a machine with a user: a year, which an `Instant` can hold.
const NO_LIMIT: u64 = 365 * 24 * 3600;
/// The time limit for powering off.
const POWER_OFF: Duration = Duration::from_mins(1);
/// The file in the store that records whether KVM works.
const MEMORY: &str = "acceleration";

/// Boot an image in QEMU
#[expect(
    clippy::struct_excessive_bools,
    reason = "this is the layer of what was typed: switches are on or off"
)]
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops run pi1.img                            cold boot from UEFI firmware, on this terminal
  psyops run pi1.img --headless --timeout 300   print the boot report; 0 only if the boot was ok
  psyops run pi1.img --direct --append psyops.log=debug
  psyops run pi1.img --ssh 2222                 then: ssh -p 2222 root@127.0.0.1

What the machine writes is lost at its end, unless --write is given.")]
pub struct RunArgs {
    /// The image
    pub image: PathBuf,
    /// Wait for the boot report, print it and power off; the exit code is 0 only if the boot was ok
    #[arg(long)]
    pub headless: bool,
    /// Start kernel and initramfs directly, without firmware; the seal is then in the initramfs
    #[arg(long)]
    pub direct: bool,
    /// Stop with an error after this many seconds
    #[arg(long, value_name = "S")]
    pub timeout: Option<u64>,
    /// Memory in MiB
    #[arg(long, value_name = "M", default_value_t = 1024)]
    pub memory: u32,
    /// Number of processors (default: 2, or 1 without KVM)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub cpus: Option<u32>,
    /// Add a word to the kernel command line (only with --direct: in a UKI the command line is signed)
    #[arg(long, value_name = "ARG", requires = "direct", allow_hyphen_values = true)]
    pub append: Vec<String>,
    /// Forward this TCP port of 127.0.0.1 to the node's SSH server
    #[arg(long, value_name = "PORT")]
    pub ssh: Option<u16>,
    /// Write the changes of the machine to the image
    #[arg(long)]
    pub write: bool,
    /// Accept any boot report on the console (systems of older builders cannot prove that a report is their own)
    #[arg(long, requires = "headless")]
    pub any_report: bool,
    /// Pass the output of the machine to the terminal unchanged. By default everything except text, colours
    /// and cursor movements is escaped, because a hostile image could set the terminal's title, write to the
    /// clipboard, or make the terminal type a command into your shell
    #[arg(long, conflicts_with = "headless")]
    pub raw_console: bool,
    /// Only print the QEMU command. If you run it yourself, the machine's output is not filtered
    #[arg(long)]
    pub print: bool,
}

/// How the machine ended.
#[derive(Debug)]
pub enum RunOutput {
    /// The QEMU command, to be shown.
    Command(String),
    /// The user ended it.
    Left,
    /// The boot report of the machine.
    Report(Box<SeenReport>),
}

impl RunOutput {
    /// Whether the command ends with success.
    #[must_use]
    pub fn is_success(&self) -> bool {
        match self {
            Self::Command(_) | Self::Left => true,
            Self::Report(seen) => seen.report.outcome == Outcome::Ok,
        }
    }
}

impl fmt::Display for RunOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(line) => f.write_str(line),
            Self::Left => Ok(()),
            Self::Report(seen) => write!(f, "{}", seen.json),
        }
    }
}

/// The folder for kernel and initramfs could not be made or written.
#[derive(Debug, thiserror::Error, classified::Cause)]
#[error("cannot write kernel and initramfs for QEMU: {0}; free some space in the folder for temporary files")]
pub struct WorkError(io::Error);

impl Classified for WorkError {
    fn own_class(&self) -> Option<Class> {
        Some(Class::of_writing(&self.0))
    }
}

/// Runs the command.
pub fn run(args: &RunArgs, progress: &dyn Fn(&str)) -> Result<RunOutput, Error> {
    let image = ImageReader::open(&args.image)?;
    run::check_disk(&args.image)?;
    let on_terminal = !args.headless && io::stdin().is_terminal() && io::stdout().is_terminal();
    let work = Scratch::within(&env::temp_dir(), "psyops-start-").map_err(WorkError)?;
    let direct = if args.direct { Some(direct::read(&image, &args.append)?) } else { None };
    let setup = setup(args, &image, direct.as_ref(), &work, on_terminal)?;
    if args.print {
        return Ok(RunOutput::Command(shell_line(
            setup.architecture.qemu.program,
            &setup.arguments(Path::new("psyops-run")),
        )));
    }
    let mut machine = Machine::start(&setup)?;
    if on_terminal {
        progress("leave with Ctrl-A, then X");
        let limit = Duration::from_secs(args.timeout.unwrap_or(NO_LIMIT));
        machine.wait_for_end(limit)?;
        return Ok(RunOutput::Left);
    }
    let limit = Duration::from_secs(args.timeout.unwrap_or(PATIENCE));
    progress(&format!("waiting for the boot report, at most {} s", limit.as_secs()));
    let wait = if args.any_report { wait_for_any_report } else { wait_for_report };
    let seen = wait(&mut machine, limit)?;
    // Writes to a snapshot are discarded anyway, and a rescue shell does not react to the power button.
    if args.write && seen.report.outcome != Outcome::Rescue {
        machine.power_down(POWER_OFF)?;
    } else {
        machine.cut_power()?;
        machine.wait_for_end(POWER_OFF)?;
    }
    Ok(RunOutput::Report(Box::new(seen)))
}

fn setup(
    args: &RunArgs,
    image: &ImageReader,
    direct: Option<&DirectBoot>,
    work: &Scratch,
    on_terminal: bool,
) -> Result<Setup, Error> {
    let path = std::path::absolute(&args.image).unwrap_or_else(|_| args.image.clone());
    let mut setup = Setup::with_stick(&path);
    if let Some(architecture) = esp_reader::architecture(image) {
        setup.architecture = architecture;
    }
    setup.memory = args.memory;
    setup.ssh = args.ssh;
    setup.serial = match on_terminal {
        true if args.raw_console => Serial::RawTerminal,
        true => Serial::Terminal,
        false => Serial::Captured,
    };
    if args.write {
        setup.disks.iter_mut().for_each(|disk| disk.access = Access::Write);
    }
    let put = |name: &str, bytes: &[u8]| {
        let path = work.path().join(name);
        fs::write(&path, bytes).map(|()| path).map_err(WorkError)
    };
    if let Some(direct) = direct {
        setup.boot = Boot::Direct {
            kernel: put("kernel", &direct.kernel)?,
            initrd: put("initrd", &direct.initrd)?,
            command_line: direct.command_line.clone(),
        };
    }
    let memory = Store::from_environment()?.dir().join(MEMORY);
    // The image's own kernel must run under KVM. For an image without one, the firmware reports the error.
    setup.acceleration = kvm::detect(&memory, || {
        let kernel = direct::read(image, &[]).ok()?.kernel;
        put("probe-kernel", &kernel).ok()
    });
    setup.cpus = args.cpus.unwrap_or(setup.acceleration.processors());
    Ok(setup)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::fixture;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        args: RunArgs,
    }

    #[test]
    fn the_command_is_shown_and_nothing_runs() {
        let fixture = fixture::image();
        let image = fixture.image.path.display().to_string();
        let words = ["run", &image, "--print", "--direct", "--append", "psyops.log=debug", "--memory", "256"];
        let output = run(&Command::parse_from(words).args, &|_| {}).unwrap();
        let line = output.to_string();
        assert!(line.starts_with("qemu-system-x86_64 ") && line.contains(" -m 256M "), "{line}");
        assert!(line.contains("quiet psyops.log=debug'") && line.contains("snapshot=on"), "{line}");
        assert!(output.is_success());
    }

    #[test]
    fn more_arguments_need_a_direct_boot() {
        let error = Command::try_parse_from(["run", "x", "--append", "a"]).unwrap_err();
        assert_eq!(error.kind(), clap::error::ErrorKind::MissingRequiredArgument);
        assert!(error.to_string().contains("--direct"), "{error}");
    }

    #[test]
    fn a_missing_image_is_missing_input() {
        let args = Command::parse_from(["run", "/nowhere/x.img", "--print"]).args;
        assert_eq!(run(&args, &|_| {}).unwrap_err().class(), Class::MissingInput);
    }
}
