//! The processes that serve consoles and the network in rescue, and what their ends and signals to PID 1 mean.

use crate::boot::Boot;
use crate::clock::Uptime;
use crate::console;
use crate::log::Log;
use crate::process;
use crate::rescue::{Left, remote, terminal};
use crate::steps::early;
use handoff::rescue::{ConsoleAccess, RescuePolicy};
use handoff::rescue_network::FixedAddress;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::reboot::RebootMode;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, pipe2};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::time::Duration;

/// Asks PID 1 for another boot attempt.
pub(crate) const RETRY: Signal = Signal::SIGHUP;
/// The signals that PID 1 waits for: the end of a child, `retry`, and those of busybox's reboot, halt and poweroff.
const HEARD: [Signal; 5] = [Signal::SIGCHLD, RETRY, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2];

/// What a child process serves.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Service {
    /// The session on this terminal.
    Console(String),
    /// Logins by SSH.
    Ssh,
    /// Addresses for the network cards.
    Network,
}

/// A child process, and a pipe in which it reports that its program could not be started. Its exit status cannot show
/// that: a shell ends with the status of the last command that was typed.
struct Child {
    pid: Pid,
    service: Service,
    not_started: Option<File>,
}

/// The children that serve consoles and the network.
pub(crate) struct Sessions {
    policy: RescuePolicy,
    addresses: Vec<FixedAddress>,
    children: Vec<Child>,
    signals: Option<SignalFd>,
}

impl Sessions {
    /// Starts the sessions and servers that the site allows.
    pub(crate) fn let_in(boot: &mut Boot) -> Self {
        let by_network = !boot.rescue.ssh_keys.is_empty() && remote::prepare(boot);
        let mut set = SigSet::empty();
        for signal in HEARD {
            set.add(signal);
        }
        let _ = set.thread_block();
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK);
        let (policy, addresses) = (boot.rescue.clone(), boot.addresses.clone());
        let mut sessions = Self { policy, addresses, children: Vec::new(), signals: signals.ok() };
        if sessions.policy.console != ConsoleAccess::Off {
            for terminal in console::terminals() {
                sessions.serve(Service::Console(terminal), &mut boot.log);
            }
        }
        if by_network {
            sessions.serve(Service::Network, &mut boot.log);
            sessions.serve(Service::Ssh, &mut boot.log);
        }
        sessions
    }

    fn serve(&mut self, service: Service, log: &mut Log) {
        let work = || match &service {
            Service::Console(terminal) => terminal::visit(&terminal::real(terminal), &self.policy),
            Service::Ssh => remote::serve(),
            Service::Network => remote::keep_network(self.addresses.clone(), self.policy.access),
        };
        // Closed when a program is started.
        let pipe = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).ok();
        let (read, mut write) = pipe.map(|(read, write)| (File::from(read), File::from(write))).unzip();
        let forked = process::fork(|| {
            let code = work();
            if let Some(pipe) = &mut write {
                let _ = pipe.write_all(b"!");
            }
            code
        });
        match forked {
            Ok(pid) => self.children.push(Child { pid, service, not_started: read }),
            Err(errno) => log.error(&format!("cannot start {service:?}: fork: {}", errno.desc())),
        }
    }

    /// Waits until rescue ends.
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
            if deadline.remaining().is_zero() {
                if !self.has_session() {
                    boot.log.info("no user is logged in: booting again");
                    return Left::Retry;
                }
                deadline = Uptime::now().plus(patience);
            }
            self.listen(deadline);
        }
    }

    /// Whether a console session or an SSH login is active: then its user decides when rescue ends.
    fn has_session(&self) -> bool {
        self.children.iter().any(|child| match child.service {
            Service::Console(_) => true,
            Service::Ssh => remote::is_visited(child.pid),
            Service::Network => false,
        })
    }

    /// Sleeps until a signal comes, or until the deadline.
    fn listen(&self, deadline: Uptime) {
        let timeout = PollTimeout::try_from(deadline.remaining()).unwrap_or(PollTimeout::MAX);
        match &self.signals {
            Some(signals) => {
                let _ = poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], timeout);
            }
            // Without the descriptor, signals are checked every second.
            None => {
                let _ = poll(&mut [], PollTimeout::from(1000_u16));
            }
        }
    }

    /// The request of a user, received as a signal.
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
        let at = self.children.iter().position(|child| status.pid() == Some(child.pid))?;
        let Child { service, not_started, .. } = self.children.remove(at);
        let started = not_started.is_none_or(|mut pipe| !matches!(pipe.read(&mut [0]), Ok(1)));
        match (status, service) {
            (WaitStatus::Exited(..), Service::Console(_)) if started => return Some(Left::Retry),
            // Started again, it would end the same way.
            (WaitStatus::Exited(_, code), service) => {
                log.error(&format!("{service:?} is not started again: it ended with exit status {code}"));
            }
            // Killed by another process: that is not a request to boot. Their /dev may be gone, too.
            (_, service) => {
                let _ = early::mount();
                self.serve(service, log);
            }
        }
        None
    }
}

/// Reaps a child that ended; orphans become children of PID 1.
fn reap() -> Option<WaitStatus> {
    match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::StillAlive) | Err(_) => None,
        Ok(status) => Some(status),
    }
}
