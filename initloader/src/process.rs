//! Child processes of PID 1: fork, what a child must reset before it runs a program, waiting with a deadline.
//!
//! Without `std::process`: that cannot run a closure in the child without `unsafe` either, and it is large.

use crate::clock::Uptime;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, pipe2};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::time::Duration;

/// The exit code of a child whose program could not be started.
pub(crate) const NOT_STARTED: i32 = 127;
/// How long a killed child is waited for. One that hangs in the kernel (a read from a stick that failed) does not end,
/// and is left to whichever process reaps orphans.
const DYING: Duration = Duration::from_secs(2);
/// A longer line is split: a program that writes no line ends must not fill the memory.
const LONGEST_LINE: usize = 4096;

/// How a watched program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It exited with this code.
    Exited(i32),
    /// It was killed by a signal.
    Killed(Signal),
    /// The deadline came first; it and its group were killed, which does not end a process that hangs in the kernel.
    TimedOut,
}

/// Runs `work` in a child process; the exit code is the result of `work`.
pub(crate) fn fork(work: impl FnOnce() -> i32) -> nix::Result<Pid> {
    // SAFETY: this program has one thread, so the child may do all that the parent may.
    #[expect(unsafe_code, reason = "fork(2)")]
    let forked = unsafe { nix::unistd::fork() }?;
    match forked {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let code = work();
            // SAFETY: _exit(2) has no requirements; it is meant for a child that must not run the parent's clean-up.
            #[expect(unsafe_code, reason = "_exit(2)")]
            unsafe {
                nix::libc::_exit(code)
            }
        }
    }
}

/// Gives a new program the signals that it expects: none blocked, and the default action for SIGPIPE, which Rust
/// ignores.
pub(crate) fn reset_signals() {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default disposition runs no code of ours.
    #[expect(unsafe_code, reason = "sigaction(2)")]
    let _ = unsafe { sigaction(Signal::SIGPIPE, &default) };
    let _ = SigSet::all().thread_unblock();
}

/// Replaces this process by a program; returns only when that fails.
pub(crate) fn execute(program: &CStr, arguments: &[CString], environment: &[CString]) -> Errno {
    reset_signals();
    match nix::unistd::execve(program, arguments, environment) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

/// The environment of a program in the initramfs.
pub(crate) fn environment(more: &[&str]) -> Vec<CString> {
    let mut words = vec!["PATH=/bin:/sbin:/usr/bin:/usr/sbin", "HOME=/", "TERM=linux"];
    words.extend_from_slice(more);
    words.iter().filter_map(|word| CString::new(*word).ok()).collect()
}

/// Runs `work` (which ends in [`execute`]) in a child with its output in a pipe, until `deadline`. Each line of output
/// goes to `line`. The child gets its own session, so that all processes that it starts can be killed with it.
pub(crate) fn run(
    deadline: Uptime,
    work: impl FnOnce() -> i32,
    mut line: impl FnMut(&str),
) -> nix::Result<Ended> {
    // The end of the child comes from a signal descriptor: processes that the child leaves behind may keep the pipe
    // open.
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    children.thread_block()?;
    let signals = SignalFd::with_flags(&children, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let (read, write) = pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    let child = fork(|| {
        let _ = nix::unistd::setsid();
        if let Ok(null) = File::open("/dev/null") {
            let _ = dup2_stdin(&null);
        }
        let _ = dup2_stdout(&write);
        let _ = dup2_stderr(&write);
        work()
    })?;
    drop(write);
    let mut output = Lines { pipe: Some(File::from(read)), rest: Vec::new() };
    let (mut until, mut killed) = (deadline, false);
    let ended = loop {
        if let Some(ended) = poll_child(child)? {
            break if killed { Ended::TimedOut } else { ended };
        }
        if until.remaining().is_zero() {
            if killed {
                break Ended::TimedOut;
            }
            let _ = kill(Pid::from_raw(child.as_raw().saturating_neg()), Signal::SIGKILL);
            (until, killed) = (Uptime::now().plus(DYING), true);
        }
        output.wait(&signals, until, &mut line);
        while let Ok(Some(_)) = signals.read_signal() {}
    };
    output.finish(&mut line);
    let _ = children.thread_unblock();
    Ok(ended)
}

fn poll_child(child: Pid) -> nix::Result<Option<Ended>> {
    Ok(match waitpid(child, Some(WaitPidFlag::WNOHANG))? {
        WaitStatus::Exited(_, code) => Some(Ended::Exited(code)),
        WaitStatus::Signaled(_, signal, _) => Some(Ended::Killed(signal)),
        _ => None,
    })
}

/// A pipe that is read line by line.
struct Lines {
    pipe: Option<File>,
    rest: Vec<u8>,
}

impl Lines {
    /// Waits for output, the end of a child, or the deadline.
    fn wait(&mut self, signals: &SignalFd, deadline: Uptime, line: &mut impl FnMut(&str)) {
        let timeout = PollTimeout::try_from(deadline.remaining()).unwrap_or(PollTimeout::MAX);
        let Some(pipe) = &self.pipe else {
            let _ = poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], timeout);
            return;
        };
        let mut ready =
            [PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut ready, timeout);
        if ready.last().is_some_and(|pipe| pipe.any() == Some(true)) {
            self.read(line);
        }
    }

    /// Reads what is in the pipe without waiting for more.
    fn finish(&mut self, line: &mut impl FnMut(&str)) {
        while let Some(pipe) = &self.pipe {
            let mut ready = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
            if !matches!(poll(&mut ready, PollTimeout::ZERO), Ok(1..)) {
                break;
            }
            self.read(line);
        }
        if !self.rest.is_empty() {
            line(&String::from_utf8_lossy(&self.rest));
        }
    }

    fn read(&mut self, line: &mut impl FnMut(&str)) {
        let mut buffer = [0; 1024];
        let read = self.pipe.as_mut().map_or(0, |pipe| pipe.read(&mut buffer).unwrap_or(0));
        if read == 0 {
            self.pipe = None;
        }
        self.rest.extend_from_slice(buffer.get(..read).unwrap_or_default());
        while let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
            let whole: Vec<u8> = self.rest.drain(..=end).collect();
            line(String::from_utf8_lossy(&whole).trim_end());
        }
        if self.rest.len() > LONGEST_LINE {
            line(&String::from_utf8_lossy(&self.rest));
            self.rest.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, milliseconds: u64) -> (Ended, Vec<String>) {
        let mut lines = Vec::new();
        let deadline = Uptime::now().plus(Duration::from_millis(milliseconds));
        let arguments = [c"sh".into(), c"-c".into(), CString::new(script).unwrap()];
        let work = || {
            let _ = execute(c"/bin/sh", &arguments, &[]);
            NOT_STARTED
        };
        let ended = run(deadline, work, |line| lines.push(line.to_owned())).unwrap();
        (ended, lines)
    }

    fn output_exit_codes_signals_and_deadlines() {
        let (ended, lines) = shell("echo one; echo two >&2; printf three; exit 3", 60_000);
        assert_eq!(ended, Ended::Exited(3));
        assert_eq!(lines, ["one", "two", "three"]);
        assert_eq!(shell("kill -9 $$", 60_000).0, Ended::Killed(Signal::SIGKILL));
        // The process left behind keeps the pipe open; only the end of the shell counts.
        let before = Uptime::now();
        assert_eq!(shell("sleep 20 & echo left", 60_000), (Ended::Exited(0), vec!["left".into()]));
        assert!(before.elapsed() < Duration::from_secs(15));
        let before = Uptime::now();
        assert_eq!(shell("echo begun; sleep 300", 3000), (Ended::TimedOut, vec!["begun".into()]));
        assert!(before.elapsed() < Duration::from_secs(15));
    }

    // In a process with one thread, like PID 1: a signal to a process goes to any thread that does not block it.
    #[test]
    fn programs_are_watched() {
        let checks = || i32::from(std::panic::catch_unwind(output_exit_codes_signals_and_deadlines).is_err());
        let child = fork(checks).unwrap();
        assert_eq!(
            waitpid(child, None),
            Ok(WaitStatus::Exited(child, 0)),
            "the child says above what failed"
        );
    }
}
