//! One attempt at a role's command: in its own process group, with a deadline, its output through a pipe into the log.

use super::relay::Relay;
use crate::clock::Deadline;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

/// The time between asking a command to end (SIGTERM) and killing it.
const GRACE: Duration = Duration::from_secs(3);

/// The command of a role, with all that it needs to run.
#[derive(Debug)]
pub(super) struct Command<'a> {
    /// The role's folder: the working directory.
    pub(super) folder: &'a Path,
    /// The program and its arguments.
    pub(super) argv: &'a [String],
    /// The whole environment.
    pub(super) environment: Vec<(&'static str, String)>,
    /// The log that gets its output.
    pub(super) log: &'a File,
}

/// How an attempt ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// The command ended with this status.
    Ended(ExitStatus),
    /// The deadline passed first, and the command's process group was killed.
    TimedOut,
    /// The command could not be started; holds the reason.
    NotStarted(String),
}

impl Command<'_> {
    /// Runs the command once.
    pub(super) fn attempt(&self, deadline: Deadline) -> io::Result<Attempt> {
        let (Some(program), Some(arguments)) = (self.program(), self.argv.get(1..)) else {
            return Ok(Attempt::NotStarted("the command is empty".into()));
        };
        let mut command = std::process::Command::new(&program);
        command.args(arguments).current_dir(self.folder).env_clear().envs(self.environment.iter().cloned());
        let (relay, writer) = Relay::new(self.log)?;
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        command.process_group(0);
        die_with_parent(&mut command);
        let started = command.spawn();
        // It has open ends of the pipe, whose end would never be reached.
        drop(command);
        match started {
            Ok(child) => wait(child, deadline, relay),
            Err(error) => Ok(Attempt::NotStarted(format!("cannot start {}: {error}", program.display()))),
        }
    }

    /// The path of the program: a first word with a slash is relative to the role's folder, any other is searched in
    /// `PATH`.
    fn program(&self) -> Option<PathBuf> {
        let word = self.argv.first()?;
        Some(if word.contains('/') { self.folder.join(word) } else { PathBuf::from(word) })
    }
}

/// The loader kills the agent when the identity stage takes too long; the command must not outlive the agent.
#[expect(unsafe_code, reason = "the death signal can only be set between fork and exec")]
fn die_with_parent(command: &mut std::process::Command) {
    let set = || Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?);
    // SAFETY: between fork and exec the closure makes one system call (prctl) and touches no memory but its own.
    unsafe { command.pre_exec(set) };
}

fn wait(mut child: Child, deadline: Deadline, mut relay: Relay<'_>) -> io::Result<Attempt> {
    let attempt = end(&mut child, deadline, &mut relay);
    relay.end();
    attempt
}

fn end(child: &mut Child, deadline: Deadline, relay: &mut Relay<'_>) -> io::Result<Attempt> {
    let pid = Pid::from_child(child);
    let handle = pidfd_open(pid, PidfdFlags::empty())?;
    if ended_within(&handle, deadline, relay)? {
        return Ok(Attempt::Ended(child.wait()?));
    }
    let _ = kill_process_group(pid, Signal::TERM);
    let in_good_order = ended_within(&handle, Deadline::after(GRACE), relay)?;
    // Even if the leader ended by itself: others of the group may have ignored the first signal.
    let _ = kill_process_group(pid, Signal::KILL);
    if !in_good_order {
        let _ = child.kill();
    }
    child.wait()?;
    Ok(Attempt::TimedOut)
}

/// Waits for the process behind `handle`, and reads its output meanwhile.
fn ended_within(handle: &OwnedFd, deadline: Deadline, relay: &mut Relay<'_>) -> io::Result<bool> {
    loop {
        let span = deadline.left().try_into().ok();
        let mut watched: Vec<PollFd<'_>> = vec![PollFd::new(handle, PollFlags::IN)];
        watched.extend(relay.pipe().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        match poll(&mut watched, span.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = |number: usize| watched.get(number).is_some_and(|fd| !fd.revents().is_empty());
        let (ended, printed) = (ready(0), ready(1));
        if ended {
            return Ok(true);
        }
        // Checked here too, for a command that prints without a pause.
        if deadline.passed() {
            return Ok(false);
        }
        if printed {
            relay.read();
        }
    }
}

/// A description of an exit status for messages.
pub(super) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended in an unknown way".into(),
    }
}
