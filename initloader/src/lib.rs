//! PID 1 of the psyopsOS initramfs: from the kernel's first step to the node's own init, in a straight line.
//!
//! Each step has a file in `steps/`, a deadline and an error that names the step, the object and the remedy. A failed
//! step is handled in `ending.rs`, by the site's policy. The loader asks no questions, and knows nothing about any node
//! except what is in the seal and the kernel command line.
//!
//! A library, so that fuzz targets (folder `fuzz/`) reach the parsers that PID 1 runs; the program is [`main`].
// PID 1 must not panic: operations that can panic are denied.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unimplemented,
    clippy::unreachable,
    clippy::unwrap_used
)]
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used,
        reason = "tests say by panicking what went wrong, and index what they made"
    )
)]

mod boot;
mod clock;
mod console;
mod disk;
mod dm;
mod efivar;
mod ending;
mod ext4;
mod failure;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod log;
mod mounts;
mod next;
mod node;
mod probing;
mod process;
mod program;
mod reason;
mod rescue;
mod restart;
mod steps;
mod sysfs;
mod systemd;
mod teardown;
mod tree;
mod uevent;
mod watchdog;

use boot::Boot;
use failure::Failure;
use handoff::report::StepKind;
use std::convert::Infallible;
use std::process::ExitCode;
use steps::{configure, disk as find_disk, early, handover, install, modules, root, selection};

/// The whole program. As PID 1 it does not return; in any other process it is a command of the rescue shell.
#[must_use]
pub fn main() -> ExitCode {
    if nix::unistd::getpid().as_raw() != 1 {
        return rescue::called::run(&std::env::args().collect::<Vec<_>>());
    }
    let started = clock::Uptime::now();
    restart::on_panic();
    let mounted = early::mount();
    let mut boot = Boot::begin(started);
    let Err(failure) = straight_line(&mut boot, mounted);
    ending::of(boot, &failure)
}

fn straight_line(boot: &mut Boot, mounted: Result<(), early::EarlyError>) -> Result<Infallible, Failure> {
    let trust = boot.step("early", early::DEADLINE, |boot| early::run(boot, mounted))?;
    boot.step("modules", modules::DEADLINE, modules::run)?;
    let esp = boot.step("selection", selection::DEADLINE, selection::run)?;
    if let Some(request) = rescue::requested(boot) {
        if !boot.rescue.ssh_keys.is_empty() {
            rescue::addresses::learn(boot, esp, &trust);
        }
        return Err(request);
    }
    let disk = boot.step("disk", find_disk::deadline(boot), |boot| find_disk::run(boot, esp))?;
    boot.disk = Some(disk.clone());
    let node = node::establish(boot, &disk, &trust)?;
    let root = boot.step("root", root::DEADLINE, |boot| root::run(boot, &disk, &trust))?;
    boot.step("install", install::DEADLINE, |boot| install::run(boot, &trust, node.as_ref()))?;
    drop(node); // No key and no secret is in this program's memory any more.
    let deadline = configure::deadline(&trust);
    boot.step_of(StepKind::Configure, "configure-identity", deadline, |boot| configure::run(boot, &trust))?;
    boot.step("handover", handover::DEADLINE, |_| handover::run())?;
    handover::execute(boot, &root)
}
