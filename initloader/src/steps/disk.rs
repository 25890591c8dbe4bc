//! Step `disk`: waits for the kernel's events until the disk exists that this system was started from.

use crate::boot::Boot;
use crate::clock::Uptime;
use crate::disk::choose::{Choice, choose};
use crate::disk::facts::{self, Disk};
use crate::disk::usb;
use crate::failure::{FailureKind, StepError};
use crate::steps::modules;
use crate::uevent::{Uevents, Woken};
use handoff::fault::Fault;
use handoff::guid::Guid;
use handoff::kernel_arguments;
use handoff::report::StepKind;
use std::time::Duration;

/// Slow sticks and hubs are known to need more than two minutes.
const PATIENCE: Duration = Duration::from_mins(3);
/// How often the loader logs what it waits for.
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// How long drivers may look for more devices after the disk was found. A SATA disk takes ten seconds to spin up, and
/// libata waits three times as long for one that does not answer.
const PROBING: Duration = Duration::from_mins(1);
/// How long USB may take to settle after that: a device that fails to answer must not hold up every boot.
const SETTLE: Duration = Duration::from_secs(3);

/// Errors of the step `disk`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiskError {
    /// The kernel's events cannot be received.
    #[error("cannot listen for new devices (netlink socket): {}", .0.desc())]
    NoEvents(nix::errno::Errno),
    /// The disk did not appear.
    #[error("no matching disk within {} s: {wanted}; {}", waited.as_secs(), present(.disks))]
    None {
        /// How long the step waited.
        waited: Duration,
        /// A description of the disk that was expected.
        wanted: String,
        /// Descriptions of the disks that exist.
        disks: Vec<String>,
    },
    /// More than one disk matches.
    #[error("{} disks match, and nothing distinguishes them: {}", .0.len(), .0.join("; "))]
    Several(Vec<String>),
}

impl StepError for DiskError {
    fn kind(&self) -> FailureKind {
        FailureKind::Site(Fault::SecretPartition)
    }

    fn remedy(&self) -> String {
        match self {
            Self::NoEvents(_) => "start the other slot; this kernel lacks netlink".into(),
            Self::None { .. } => format!(
                "look whether the stick is plugged in and its driver is there; {}=SECONDS on the kernel command line \
                 waits longer",
                kernel_arguments::DEVICE_TIMEOUT
            ),
            Self::Several(_) => {
                "unplug all but one of them; a stick must not be copied byte by byte, make a second \
                                 one with psyops flash"
                    .into()
            }
        }
    }
}

fn present(disks: &[String]) -> String {
    if disks.is_empty() { "there is no disk at all".into() } else { format!("there is {}", disks.join("; ")) }
}

/// How long the step may take: its own waits, and time to read from slow devices.
pub(crate) fn deadline(boot: &Boot) -> Duration {
    patience(boot).saturating_add(PROBING).saturating_add(SETTLE).saturating_add(Duration::from_mins(2))
}

fn patience(boot: &Boot) -> Duration {
    asked_patience(boot).unwrap_or(PATIENCE)
}

/// How long to wait for a disk according to the kernel command line.
pub(crate) fn asked_patience(boot: &Boot) -> Option<Duration> {
    let seconds = boot.arguments.value(kernel_arguments::DEVICE_TIMEOUT).and_then(|text| text.parse().ok());
    seconds.map(Duration::from_secs)
}

/// Runs the step `disk`.
pub(crate) fn run(boot: &mut Boot, esp: Option<Guid>) -> Result<Disk, DiskError> {
    // Before the first look, or a disk that appears in between is missed.
    let events = Uevents::open().map_err(DiskError::NoEvents)?;
    let start = Uptime::now();
    let found = wait_for(boot, &events, esp);
    boot.took("disk-wait", StepKind::Wait, start);
    let disk = found?;
    // A clone may be behind another controller, or appear in the same scan of the bus, but later: wait until all
    // devices are set up, then look again.
    let start = Uptime::now();
    settle(boot, &events);
    boot.took("disk-settle", StepKind::Wait, start);
    let disks = facts::all();
    if let Choice::Several(disks) = choose(&disks, esp) {
        return Err(several(&disks));
    }
    // If the disk is gone again (pulled out), the steps that read it give the better error.
    boot.log.info(&format!("disk: {}", disk.description));
    if let Some(fault) = &disk.table_fault {
        boot.log.error(&format!("disk: {fault}"));
    }
    Ok(disk)
}

fn wait_for(boot: &mut Boot, events: &Uevents, esp: Option<Guid>) -> Result<Disk, DiskError> {
    let start = Uptime::now();
    let patience = patience(boot);
    let deadline = start.plus(patience);
    let wanted = match esp {
        Some(guid) => format!("looking for the disk with the ESP {guid}, from which this machine booted"),
        None => "looking for a single disk with psyopsOS partitions".into(),
    };
    let mut next_report = start.plus(REPORT_EVERY);
    loop {
        let disks = facts::all();
        let passed = match choose(&disks, esp) {
            Choice::One(disk) => return Ok(disk.clone()),
            Choice::Several(disks) => return Err(several(&disks)),
            Choice::None(passed) => passed,
        };
        if deadline.remaining().is_zero() {
            return Err(DiskError::None { waited: patience, wanted, disks: passed });
        }
        while events.wait(next_report.min(deadline)) == Woken::TimedOut && !deadline.remaining().is_zero() {
            let seconds = start.elapsed().as_secs();
            boot.log.info(&format!("waiting for the disk since {seconds} s: {wanted}; {}", present(&passed)));
            next_report = Uptime::now().plus(REPORT_EVERY);
            modules::load_set_aside(boot);
        }
    }
}

fn settle(boot: &mut Boot, events: &Uevents) {
    boot.probing.finish_all(Uptime::now().plus(PROBING), &mut boot.log);
    let probing = boot.probing.names();
    if !probing.is_empty() {
        boot.log.error(&format!("going on without {}, still looking for devices", probing.join(", ")));
    }
    let deadline = Uptime::now().plus(SETTLE);
    loop {
        let pending = usb::pending();
        if pending.is_empty() {
            return;
        }
        boot.log.debug(&format!("waiting for {}", pending.join(", ")));
        if events.wait(deadline) == Woken::TimedOut {
            boot.log.info(&format!("going on without {}", pending.join(", ")));
            return;
        }
    }
}

fn several(disks: &[&Disk]) -> DiskError {
    DiskError::Several(disks.iter().map(|disk| disk.description.clone()).collect())
}
