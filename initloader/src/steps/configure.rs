//! Step `configure-identity`: the agent's identity stage, in the new root, before its init.
//!
//! It runs in its own mount namespace: there `/proc`, `/sys`, `/dev` and `/run` move into the root, and mounts that it
//! leaves behind go away with it. Its failure does not end the boot, unless the site chose that.

use crate::boot::Boot;
use crate::clock::Uptime;
use crate::failure::{Failure, FailureKind, StepError};
use crate::process::{self, Ended, NOT_STARTED};
use crate::program::{self, CannotRun};
use crate::steps::handover;
use crate::tree::Tree;
use handoff::fault::{Fault, FaultAction};
use handoff::loader_config::LoaderConfig;
use handoff::paths;
use handoff::report::Configure;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use std::ffi::CString;
use std::path::Path;
use std::time::Duration;

/// Errors of the step `configure-identity`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigureError {
    /// The root does not have an agent that can run.
    #[error("the root has no agent that can run: {0}")]
    NoAgent(CannotRun),
    /// The agent could not be started.
    #[error("the agent cannot be started: {}", .0.desc())]
    NotStarted(Errno),
    /// The agent ended with an error; holds its exit status.
    #[error("the agent's identity stage ended with {0}")]
    Failed(String),
    /// The agent did not end within these seconds.
    #[error("the agent's identity stage did not end within {0} s and was killed")]
    TimedOut(u32),
}

impl StepError for ConfigureError {
    fn kind(&self) -> FailureKind {
        FailureKind::Site(Fault::Configure)
    }

    fn remedy(&self) -> String {
        match self {
            Self::NoAgent(_) | Self::NotStarted(_) => {
                "build the image again; its root lacks the agent".into()
            }
            Self::Failed(_) | Self::TimedOut(_) => {
                format!(
                    "read {}/configure-identity.log, and correct the role or command that it names",
                    paths::LOGS
                )
            }
        }
    }
}

/// How long the step may take: the agent's own deadline, and time to kill the agent.
pub(crate) fn deadline(trust: &LoaderConfig) -> Duration {
    Duration::from_secs(u64::from(trust.identity_deadline).saturating_add(30))
}

/// Runs the step `configure-identity`.
pub(crate) fn run(boot: &mut Boot, trust: &LoaderConfig) -> Result<(), ConfigureError> {
    let error = match agent(boot, trust) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    boot.report.configure =
        if matches!(error, ConfigureError::TimedOut(_)) { Configure::Timeout } else { Configure::Failed };
    let failure = Failure::new("configure-identity", &error);
    match boot.policy.action(Fault::Configure) {
        FaultAction::Continue | FaultAction::Repair => boot.note(&failure),
        FaultAction::Degraded => boot.degrade(&failure),
        FaultAction::Reboot | FaultAction::Rescue => return Err(error),
    }
    Ok(())
}

fn agent(boot: &mut Boot, trust: &LoaderConfig) -> Result<(), ConfigureError> {
    let tree = Tree::open(Path::new(paths::NEW_ROOT)).map_err(ConfigureError::NotStarted)?;
    program::check(&tree, Path::new(paths::AGENT)).map_err(ConfigureError::NoAgent)?;
    drop(tree);
    let deadline = Uptime::now().plus(Duration::from_secs(u64::from(trust.identity_deadline)));
    let log = &mut boot.log;
    let ended = process::run(deadline, in_new_root, |line| log.info(&format!("agent: {line}")));
    match ended.map_err(ConfigureError::NotStarted)? {
        Ended::Exited(0) => Ok(()),
        Ended::Exited(code) => Err(ConfigureError::Failed(format!("exit status {code}"))),
        Ended::Killed(signal) => Err(ConfigureError::Failed(signal.to_string())),
        Ended::TimedOut => Err(ConfigureError::TimedOut(trust.identity_deadline)),
    }
}

/// The work of the child process: changes into the root, then runs the agent. It never returns to the boot.
fn in_new_root() -> i32 {
    if let Err(errno) = unshare(CloneFlags::CLONE_NEWNS) {
        return say(&format!("cannot create a mount namespace: {}", errno.desc()));
    }
    if let Err(error) = handover::move_kernel_mounts() {
        return say(&error.to_string());
    }
    if let Err(errno) = nix::unistd::chroot(paths::NEW_ROOT).and_then(|()| nix::unistd::chdir("/")) {
        return say(&format!("cannot change into {}: {}", paths::NEW_ROOT, errno.desc()));
    }
    let text = |text: &str| CString::new(text).unwrap_or_default();
    let arguments = ["psyops-agent", "configure", "--stage", "identity"].map(text);
    let environment = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"].map(text);
    let errno = process::execute(&text(paths::AGENT), &arguments, &environment);
    say(&format!("{}: {}", paths::AGENT, errno.desc()))
}

/// The child's standard output is the pipe to the loader.
fn say(line: &str) -> i32 {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{line}");
    NOT_STARTED
}
