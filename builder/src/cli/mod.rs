//! The command line: a file for each command, with its arguments and its code.
//!
//! Commands return their output; [`mod@finish`] prints it.

pub mod boot_chart;
pub mod build_image;
pub mod cat;
pub mod check;
pub mod credential_args;
pub mod demo;
pub mod diff;
pub mod disks;
pub mod exit_codes;
pub mod export;
pub mod finish;
pub mod flash;
pub mod init;
pub mod inspect;
pub mod keys;
pub mod known_hosts;
pub mod lock;
pub mod ls;
pub mod manual;
pub mod mksecrets;
pub mod nodes;
pub mod open_device;
mod own_selector;
pub mod rescue_password;
pub mod run;
pub mod seal;
pub mod secret;
pub mod site;
pub mod store;
pub mod trust;
pub mod verify;
pub mod verify_build;
pub mod why;

use clap::{Parser, Subcommand};
use finish::{
    ask, ask_for_text, finish, finish_bytes, finish_code, finish_partial, finish_with, progress, progress_for,
};
use logging::LogArgs;
use std::process::ExitCode;

/// Build psyopsOS images, secret partitions and sticks
#[derive(Debug, Parser)]
#[command(
    name = "psyops",
    version,
    after_help = "Examples:
  psyops init fleet --node pi1                 make a site with one node
  psyops check --site fleet                    list all mistakes in its files
  psyops build-image --site fleet --node pi1   build its image, pi1.img
  psyops run pi1.img                           boot it in QEMU
  psyops flash pi1.img /dev/sdX --site fleet   write it to a stick
  psyops inspect pi1.img --json
  psyops diff pi1-old.img pi1.img              show what is different"
)]
pub struct Psyops {
    #[command(flatten)]
    log: LogArgs,
    #[command(subcommand)]
    command: PsyopsCommand,
}

#[derive(Debug, Subcommand)]
enum PsyopsCommand {
    Init(init::InitArgs),
    Check(check::CheckArgs),
    BuildImage(build_image::BuildImageArgs),
    Mksecrets(mksecrets::MksecretsArgs),
    Seal(seal::SealArgs),
    Why(why::WhyArgs),
    Store(store::StoreArgs),
    Inspect(inspect::InspectArgs),
    Verify(verify::VerifyArgs),
    VerifyBuild(verify_build::VerifyBuildArgs),
    Ls(ls::LsArgs),
    Cat(cat::CatArgs),
    Export(export::ExportArgs),
    Flash(flash::FlashArgs),
    Diff(diff::DiffArgs),
    Run(run::RunArgs),
    BootChart(boot_chart::BootChartArgs),
    Demo(demo::DemoArgs),
    Disks(disks::DisksArgs),
    Lock(lock::LockArgs),
    Secret(secret::SecretArgs),
    Trust(trust::TrustArgs),
    Keys(keys::KeysArgs),
    RescuePassword(rescue_password::RescuePasswordArgs),
    KnownHosts(known_hosts::KnownHostsArgs),
    Manual(manual::ManualArgs),
    Completions(manual::CompletionsArgs),
    #[command(name = crate::disks::privileged::COMMAND, hide = true)]
    OpenDevice(open_device::OpenDeviceArgs),
}

impl Psyops {
    /// Runs the command that the user gave.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match self.command {
            PsyopsCommand::Init(args) => finish(init::run(&args)),
            PsyopsCommand::Check(args) => {
                finish_code(check::run(&args).map(|output| (output.to_string(), output.exit_code())))
            }
            PsyopsCommand::BuildImage(args) => {
                let args = args.with_details_if(self.log.verbose > 0);
                finish_code(
                    build_image::run(&args, progress_for(args.json))
                        .map(|output| (output.to_string(), output.exit_code())),
                )
            }
            PsyopsCommand::Mksecrets(args) => {
                finish(mksecrets::run(&args, progress_for(args.json), &mut ask_for_text))
            }
            PsyopsCommand::Seal(args) => finish(seal::run(&args, progress_for(args.json))),
            PsyopsCommand::Why(args) => finish(why::run(&args)),
            PsyopsCommand::Store(args) => finish(store::run(&args)),
            PsyopsCommand::Inspect(args) => finish(inspect::run(&args)),
            PsyopsCommand::Ls(args) => finish(ls::run(&args)),
            PsyopsCommand::Cat(args) => finish_bytes(cat::run(&args)),
            PsyopsCommand::Verify(args) => {
                finish_code(verify::run(&args).map(|output| (output.to_string(), output.exit_code())))
            }
            PsyopsCommand::VerifyBuild(args) => finish_with(
                verify_build::run(&args, progress_for(args.json))
                    .map(|output| (output.to_string(), output.is_success())),
            ),
            PsyopsCommand::Export(args) => finish(export::run(&args)),
            PsyopsCommand::Flash(args) => {
                finish_code(flash::run(&args).map(|output| (output.to_string(), output.exit_code())))
            }
            PsyopsCommand::Diff(args) => {
                finish_code(diff::run(&args).map(|output| (output.to_string(), output.exit_code())))
            }
            PsyopsCommand::Run(args) => finish_run(run::run(&args, &progress)),
            PsyopsCommand::BootChart(args) => finish(boot_chart::run(&args)),
            PsyopsCommand::Demo(args) => finish_run(demo::run(&args, &progress)),
            PsyopsCommand::Disks(args) => finish(disks::run(&args)),
            PsyopsCommand::Lock(args) => finish_partial(lock::run(&args, progress_for(args.json()), &ask)),
            PsyopsCommand::Secret(args) => finish_bytes(secret::run(&args, &secret::standard_input)),
            PsyopsCommand::Keys(args) => finish(keys::run(&args)),
            PsyopsCommand::Trust(args) => finish_code(
                trust::run(&args, &mut ask_for_text).map(|output| (output.to_string(), output.exit_code())),
            ),
            PsyopsCommand::RescuePassword(args) => finish_bytes(rescue_password::run(&args)),
            PsyopsCommand::KnownHosts(args) => finish(known_hosts::run(&args)),
            PsyopsCommand::Manual(args) => finish(manual::write_pages(&args)),
            PsyopsCommand::Completions(args) => finish_bytes(Ok(manual::completions(&args))),
            PsyopsCommand::OpenDevice(args) => finish(open_device::run(&args)),
        }
    }
}

fn finish_run(result: Result<run::RunOutput, crate::error::Error>) -> ExitCode {
    finish_with(result.map(|output| (output.to_string(), output.is_success())))
}

#[cfg(test)]
mod damage_cases_tests;
#[cfg(test)]
mod damage_tests;

#[cfg(test)]
mod hostile_file_system_tests;
#[cfg(test)]
mod hostile_image_tests;
#[cfg(test)]
mod hostile_input_tests;
#[cfg(test)]
mod hostile_names_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod limit_tests;
