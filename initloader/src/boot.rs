//! The state of one boot attempt, passed from step to step, and the function in which each step runs.

use crate::clock::Uptime;
use crate::console::Console;
use crate::disk::facts::Disk;
use crate::failure::{Failure, StepError};
use crate::log::Log;
use crate::probing::Probing;
use crate::watchdog::Watchdog;
use handoff::fault::Policy;
use handoff::kernel_arguments::KernelArguments;
use handoff::modules::Module;
use handoff::paths;
use handoff::report::{BootReport, Outcome, Step, StepKind};
use handoff::rescue::RescuePolicy;
use handoff::rescue_network::FixedAddress;
use handoff::selection::Selection;
use std::time::Duration;

/// The state that all steps share.
pub(crate) struct Boot {
    /// Where steps log what they do.
    pub(crate) log: Log,
    /// The boot report, written at the end.
    pub(crate) report: BootReport,
    /// The kernel command line, empty until it is read.
    pub(crate) arguments: KernelArguments,
    /// The site's actions for faults: the initramfs's until the seal is open, then the seal's.
    pub(crate) policy: Policy,
    /// Kernel modules without a device in this machine, or only needed for a keyboard.
    pub(crate) set_aside: Vec<Module>,
    /// Drivers that are looking for their devices.
    pub(crate) probing: Probing,
    /// The selector's decision, if a selector started this system.
    pub(crate) selection: Option<Selection>,
    /// The disk that this system was started from, once it is found.
    pub(crate) disk: Option<Disk>,
    /// Who can log in if this boot ends in rescue.
    pub(crate) rescue: RescuePolicy,
    /// The addresses of the node's cards in rescue, known once the seal is open.
    pub(crate) addresses: Vec<FixedAddress>,
    /// When the kernel started this program.
    pub(crate) started: Uptime,
    watchdog: Watchdog,
}

impl Boot {
    /// Starts an attempt: `/proc`, `/sys`, `/dev` and `/run` must be mounted, or nothing can be logged. `started` is
    /// when the kernel started this program.
    pub(crate) fn begin(started: Uptime) -> Self {
        let earlier = std::fs::read_to_string(paths::BOOT_LOG).unwrap_or_default();
        let first = earlier.is_empty();
        let mut log = Log::new(Console::open(), earlier);
        let watchdog = Watchdog::start().unwrap_or_else(|error| {
            log.error(&format!("no watchdog, so the steps have no deadline: fork: {error}"));
            Watchdog::none()
        });
        // An attempt after a rescue shell does not know how much of the time before it was the kernel's.
        let (name, kind) =
            if first { ("kernel", StepKind::Kernel) } else { ("earlier-attempts", StepKind::Wait) };
        let before = Step { name: name.into(), kind, start_ms: 0, took_ms: started.milliseconds() };
        Self {
            report: BootReport { steps: vec![before], ..BootReport::default() },
            started,
            watchdog,
            ..Self::new(log)
        }
    }

    /// For steps that a person runs in the rescue shell: they print only to that person, and the watchdog has no
    /// deadline for them.
    pub(crate) fn for_person() -> Self {
        let mut boot = Self::new(Log::new(Console::standard_output(), String::new()));
        boot.arguments =
            KernelArguments::parse(std::fs::read_to_string("/proc/cmdline").unwrap_or_default().trim());
        boot
    }

    /// For steps that a child of PID 1 runs: they log to PID 1, which has a deadline for all of them.
    pub(crate) fn of_child(arguments: KernelArguments, set_aside: Vec<Module>) -> Self {
        Self { arguments, set_aside, ..Self::new(Log::of_child()) }
    }

    fn new(log: Log) -> Self {
        Self {
            log,
            report: BootReport::default(),
            arguments: KernelArguments::default(),
            policy: Policy::default(),
            set_aside: Vec::new(),
            probing: Probing::default(),
            selection: None,
            disk: None,
            rescue: RescuePolicy::default(),
            addresses: Vec::new(),
            started: Uptime::now(),
            watchdog: Watchdog::none(),
        }
    }

    /// Runs a step with the watchdog's deadline, records its time, and names its error after it.
    pub(crate) fn step<T, E: StepError>(
        &mut self,
        name: &'static str,
        deadline: Duration,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, Failure> {
        self.step_of(StepKind::Loader, name, deadline, work)
    }

    /// Runs a step that is not the loader's own work.
    pub(crate) fn step_of<T, E: StepError>(
        &mut self,
        kind: StepKind,
        name: &'static str,
        deadline: Duration,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, Failure> {
        self.watchdog.expect(name, deadline);
        let start = Uptime::now();
        let result = work(self);
        self.took(name, kind, start);
        match result {
            Ok(value) => Ok(value),
            Err(error) => Err(Failure::new(name, &error)),
        }
    }

    /// Adds to the report what began at `start` and ends now: a step, or a part of one that is worth showing.
    pub(crate) fn took(&mut self, name: &str, kind: StepKind, start: Uptime) {
        let took_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.report.steps.push(Step { name: name.into(), kind, start_ms: start.milliseconds(), took_ms });
        self.log.debug(&format!("{name} took {took_ms} ms"));
    }

    /// Reports a fault after which the boot goes on with the outcome "degraded".
    pub(crate) fn degrade(&mut self, failure: &Failure) {
        self.report.outcome = Outcome::Degraded;
        self.note(failure);
    }

    /// Reports a fault that does not change the outcome.
    pub(crate) fn note(&mut self, failure: &Failure) {
        for line in failure.lines() {
            self.log.fault(&line);
        }
        self.report.faults.push(failure.report());
    }

    /// Ends the watchdog: after this, no step runs any more.
    pub(crate) fn stop_watchdog(&mut self) {
        self.watchdog.stop();
    }

    /// Arms the watchdog for something that is not a step.
    pub(crate) fn watch(&mut self, name: &'static str, deadline: Duration) {
        self.watchdog.expect(name, deadline);
    }
}
