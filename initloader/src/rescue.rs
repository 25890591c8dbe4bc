//! The rescue shell: a screenful of what went wrong, a shell on every console, and another attempt when one is left.
//!
//! The shells are children; PID 1 waits and reaps. Before the first one starts, everything is unmounted: no key lies
//! open. The next attempt is a new start of this program, which forgets all of the one before but its log.

use crate::answer;
use crate::boot::Boot;
use crate::console;
use crate::failure::{Failure, Kind};
use crate::log::Log;
use crate::process::{self, NOT_STARTED};
use crate::steps::handover;
use crate::{sysfs, teardown};
use handoff::report::Outcome;
use handoff::selection::Mode;
use handoff::{kernel_arguments, marker, paths};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, setsid};
use std::ffi::CString;
use std::fs::OpenOptions;
use std::os::fd::AsFd as _;
use std::path::Path;

/// That a rescue shell was asked for is true for the first attempt only; this file says that it is over.
pub(crate) const VISITED: &str = "/run/psyops/rescue-visited";

/// Ends the attempt where the kernel command line or the selector asks for the rescue shell.
pub(crate) fn if_requested(boot: &mut Boot) -> Result<(), Failure> {
    let reason = match &boot.selection {
        _ if boot.arguments.has(kernel_arguments::RESCUE) => "the kernel command line asks for it".into(),
        Some(selection) if selection.mode == Mode::Rescue => {
            format!("the selector asks for it: {}", selection.reason)
        }
        _ => return Ok(()),
    };
    if Path::new(VISITED).exists() {
        return Ok(());
    }
    Err(Failure {
        step: "selection",
        kind: Kind::RescueRequested,
        problem: reason,
        remedy: "leave the shell to boot".into(),
    })
}

/// Shows what is wrong and gives shells until one is left; then everything starts anew.
pub(crate) fn run(mut boot: Boot, failure: &Failure) -> ! {
    boot.watch("rescue", std::time::Duration::from_mins(2));
    teardown::everything(&mut boot.log);
    boot.report.outcome = Outcome::Rescue;
    show(&mut boot, failure);
    handover::leave_word(&mut boot);
    boot.stop_watchdog();
    let _ = std::fs::write(VISITED, "");
    if !Path::new(paths::INITRAMFS_BUSYBOX).exists() {
        boot.log.error(&format!("no rescue shell: the initramfs has no {}", paths::INITRAMFS_BUSYBOX));
        answer::restart_later(boot);
    }
    let left = Shells::start(&mut boot.log).wait(&mut boot.log);
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    match left {
        Left::Retry => again(boot),
        Left::Restart(mode) => {
            nix::unistd::sync();
            let _ = reboot(mode);
            answer::restart_later(boot)
        }
        Left::NoShell => {
            boot.log.error("no rescue shell: no console takes one");
            answer::restart_later(boot)
        }
    }
}

fn show(boot: &mut Boot, failure: &Failure) {
    let log = &mut boot.log;
    log.marked(marker::RESCUE, &format!("node {}", boot.report.node.as_deref().unwrap_or("?")));
    let problem = match failure.kind {
        Kind::RescueRequested => failure.problem.clone(),
        _ => failure.lines().join("\n  "),
    };
    for line in [
        format!("  {problem}"),
        "  exit             tries to boot again".into(),
        "  reboot, poweroff restart or switch off".into(),
        format!("  less {}   what happened", paths::BOOT_LOG),
        "  All file systems of the node are unmounted; its keys are not in memory.".into(),
    ] {
        log.marked("", &line);
    }
    let report = boot.report.to_json();
    boot.log.marked(marker::REPORT, &report);
}

/// Starts this program anew; it finds the file systems of the kernel mounted and the modules loaded.
fn again(mut boot: Boot) -> ! {
    boot.log.info("trying to boot again");
    handover::leave_word(&mut boot);
    while waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG))
        .is_ok_and(|status| status != WaitStatus::StillAlive)
    {}
    let arguments: Vec<CString> = std::env::args_os()
        .filter_map(|word| CString::new(std::os::unix::ffi::OsStringExt::into_vec(word)).ok())
        .collect();
    let errno = process::execute(c"/init", &arguments, &environment(&[]));
    boot.log.error(&format!("/init does not start: {}", errno.desc()));
    answer::restart_later(boot)
}

fn environment(more: &[&str]) -> Vec<CString> {
    let mut words = vec!["PATH=/bin:/sbin:/usr/bin:/usr/sbin", "HOME=/", "TERM=linux"];
    words.extend_from_slice(more);
    words.iter().filter_map(|word| CString::new(*word).ok()).collect()
}

/// How the rescue was left.
enum Left {
    /// A shell ended.
    Retry,
    /// Somebody asked for a restart or to switch off.
    Restart(RebootMode),
    /// No console takes a shell.
    NoShell,
}

/// The shells, one a console.
struct Shells {
    running: Vec<(Pid, String)>,
    signals: SigSet,
}

impl Shells {
    fn start(log: &mut Log) -> Self {
        // What busybox's reboot, halt and poweroff send to PID 1, and the end of a child.
        let mut signals = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2] {
            signals.add(signal);
        }
        let _ = signals.thread_block();
        let mut shells = Self { running: Vec::new(), signals };
        for terminal in console::terminals() {
            shells.spawn(terminal, log);
        }
        shells
    }

    fn spawn(&mut self, terminal: String, log: &mut Log) {
        let path = real_terminal(&terminal);
        match process::fork(|| shell(&path)) {
            Ok(child) => self.running.push((child, terminal)),
            Err(errno) => log.error(&format!("no shell on {terminal}: fork: {}", errno.desc())),
        }
    }

    fn wait(mut self, log: &mut Log) -> Left {
        loop {
            while let Some(status) = reap() {
                if let Some(left) = self.ended(&status, log) {
                    return left;
                }
            }
            if self.running.is_empty() {
                return Left::NoShell;
            }
            match self.signals.wait() {
                Ok(Signal::SIGTERM) => return Left::Restart(RebootMode::RB_AUTOBOOT),
                Ok(Signal::SIGUSR1) => return Left::Restart(RebootMode::RB_HALT_SYSTEM),
                Ok(Signal::SIGUSR2) => return Left::Restart(RebootMode::RB_POWER_OFF),
                _ => {}
            }
        }
    }

    fn ended(&mut self, status: &WaitStatus, log: &mut Log) -> Option<Left> {
        let at = self.running.iter().position(|(child, _)| status.pid() == Some(*child))?;
        let (_, terminal) = self.running.remove(at);
        match status {
            WaitStatus::Exited(_, NOT_STARTED) => {
                log.error(&format!("no shell on {terminal}"));
                None
            }
            WaitStatus::Exited(..) => Some(Left::Retry),
            // Killed by somebody: that is no wish to boot.
            _ => {
                self.spawn(terminal, log);
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

/// `/dev/tty0` is whatever screen is in front, and cannot be the terminal of a session; that screen itself can.
fn real_terminal(terminal: &str) -> String {
    match terminal {
        "/dev/tty0" => {
            format!("/dev/{}", sysfs::attribute("/sys/class/tty/tty0/active").unwrap_or("tty1".into()))
        }
        other => other.to_owned(),
    }
}

/// The child's life: a session on a terminal, then the shell. With the code [`NOT_STARTED`] it is not tried again.
fn shell(terminal: &str) -> i32 {
    let _ = setsid();
    // The first terminal that a session's leader opens becomes its terminal.
    let Ok(file) = OpenOptions::new().read(true).write(true).open(terminal) else { return NOT_STARTED };
    let mut ready = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
    let hung_up = poll(&mut ready, PollTimeout::ZERO) == Ok(1)
        && ready.first().and_then(PollFd::revents).is_some_and(|events| events.contains(PollFlags::POLLHUP));
    if hung_up || attach(&file).is_err() {
        return NOT_STARTED;
    }
    let program = CString::new(paths::INITRAMFS_BUSYBOX).unwrap_or_default();
    let _ = process::execute(&program, &[c"sh".into()], &environment(&["PS1=psyops rescue # "]));
    NOT_STARTED
}

fn attach(file: &std::fs::File) -> Result<(), Errno> {
    dup2_stdin(file)?;
    dup2_stdout(file)?;
    dup2_stderr(file)
}
