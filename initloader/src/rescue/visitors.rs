//! Who is in: the processes that serve consoles, one each, and what their ends and signals to PID 1 mean.

use crate::boot::Boot;
use crate::clock::Uptime;
use crate::console;
use crate::log::Log;
use crate::process::{self, NOT_STARTED};
use crate::rescue::{Left, terminal};
use crate::steps::early;
use handoff::rescue::{ConsoleAccess, RescuePolicy};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::reboot::RebootMode;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::os::fd::AsFd as _;
use std::time::Duration;

/// Asks PID 1 for another attempt.
pub(crate) const RETRY: Signal = Signal::SIGHUP;
/// What PID 1 listens to: the end of a child, `retry`, and what busybox's reboot, halt and poweroff send.
const HEARD: [Signal; 5] = [Signal::SIGCHLD, RETRY, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2];

/// The children that serve somebody.
pub(crate) struct Visitors {
    policy: RescuePolicy,
    consoles: Vec<(Pid, String)>,
    signals: Option<SignalFd>,
}

impl Visitors {
    /// Opens the ways in that the site allows.
    pub(crate) fn let_in(boot: &mut Boot) -> Self {
        let mut set = SigSet::empty();
        for signal in HEARD {
            set.add(signal);
        }
        let _ = set.thread_block();
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK);
        let mut visitors = Self { policy: boot.rescue.clone(), consoles: Vec::new(), signals: signals.ok() };
        if visitors.policy.console != ConsoleAccess::Off {
            for terminal in console::terminals() {
                visitors.serve(terminal, &mut boot.log);
            }
        }
        visitors
    }

    fn serve(&mut self, terminal: String, log: &mut Log) {
        let path = terminal::real(&terminal);
        let access = &self.policy.console;
        match process::fork(|| terminal::visit(&path, access)) {
            Ok(child) => self.consoles.push((child, terminal)),
            Err(errno) => log.error(&format!("no shell on {terminal}: fork: {}", errno.desc())),
        }
    }

    /// Waits until rescue is left.
    pub(crate) fn wait(mut self, boot: &mut Boot) -> Left {
        let patience = Duration::from_secs(u64::from(self.policy.retry_after));
        let mut deadline = Uptime::now().plus(patience);
        loop {
            while let Some(status) = reap() {
                if let Some(left) = self.ended(&status, &mut boot.log) {
                    return left;
                }
            }
            if let Some(left) = self.asked() {
                return left;
            }
            // While a console is served, a person decides.
            if !self.consoles.is_empty() {
                deadline = Uptime::now().plus(patience);
            } else if deadline.remaining().is_zero() {
                boot.log.info("nobody is here");
                return Left::Retry;
            }
            self.listen(deadline);
        }
    }

    /// Sleeps until a signal comes, or until the deadline.
    fn listen(&self, deadline: Uptime) {
        let timeout = PollTimeout::try_from(deadline.remaining()).unwrap_or(PollTimeout::MAX);
        match &self.signals {
            Some(signals) => {
                let _ = poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], timeout);
            }
            // Without the descriptor, signals are looked for every second.
            None => {
                let _ = poll(&mut [], PollTimeout::from(1000_u16));
            }
        }
    }

    /// What somebody asked of PID 1.
    fn asked(&self) -> Option<Left> {
        while let Some(signal) = self.signals.as_ref()?.read_signal().ok()? {
            match i32::try_from(signal.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok()) {
                Some(RETRY) => return Some(Left::Retry),
                Some(Signal::SIGTERM) => return Some(Left::Restart(RebootMode::RB_AUTOBOOT)),
                Some(Signal::SIGUSR1) => return Some(Left::Restart(RebootMode::RB_HALT_SYSTEM)),
                Some(Signal::SIGUSR2) => return Some(Left::Restart(RebootMode::RB_POWER_OFF)),
                _ => {}
            }
        }
        None
    }

    fn ended(&mut self, status: &WaitStatus, log: &mut Log) -> Option<Left> {
        let at = self.consoles.iter().position(|(child, _)| status.pid() == Some(*child))?;
        let (_, terminal) = self.consoles.remove(at);
        match status {
            WaitStatus::Exited(_, NOT_STARTED) => {
                log.error(&format!("no shell on {terminal}"));
                None
            }
            WaitStatus::Exited(..) => Some(Left::Retry),
            // Killed by somebody: that is no wish to boot. Their /dev may be gone, too.
            _ => {
                let _ = early::mount();
                self.serve(terminal, log);
                None
            }
        }
    }
}

/// A child that ended, of whatever descent: orphans come to PID 1.
fn reap() -> Option<WaitStatus> {
    match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::StillAlive) | Err(_) => None,
        Ok(status) => Some(status),
    }
}
