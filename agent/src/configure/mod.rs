//! The configuration run: one stage's roles in order, with a lock, a deadline, retries, a log and a status file.
//!
//! `identity` runs in the new root before init; `configure` runs after it, with syslog paused. If a role fails, the
//! later ones still run: everything that can be set up is set up, and the result says what is missing.
//! [`crate::report`] decides what the end of a run means for the boot.

mod command;
mod log;
mod relay;
mod retry;

pub(crate) use relay::read_on;

use crate::clock::{Deadline, since_kernel_start, unix_seconds};
use crate::file::{self, FileError, failing};
use crate::hardening;
use crate::identity::{self, IdentityError};
use crate::node;
use crate::overlay;
use crate::required;
use crate::role::Role;
use crate::root::Root;
use crate::status::{RoleStatus, StageStatus, Status};
use crate::template::Renderer;
use handoff::node_settings::NodeSettings;
use handoff::role_settings::{RoleAction, Stage};
use rustix::fs::FlockOperation;
use std::fs::File;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;
use tracing::field::Empty;
use tracing::{debug, info_span};

/// For the whole identity stage: users should not wait long for a login.
const IDENTITY_DEADLINE: Duration = Duration::from_mins(1);

/// Why a stage could not be run at all.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// Another configuration run has the lock.
    #[error("another configuration run holds {lock}; wait for its end, `psyops-agent status` shows it", lock = .0.display())]
    Busy(PathBuf),
    /// A file of the run itself could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The path of the log of `stage`.
#[must_use]
pub fn log_path(root: &Root, stage: Stage) -> PathBuf {
    root.at(handoff::paths::LOGS).join(format!("configure-{stage}.log"))
}

/// The lock of a configuration run; it ends with the process that has it.
#[derive(Debug)]
pub struct RunLock(#[expect(dead_code, reason = "the descriptor is the lock")] File);

impl RunLock {
    /// Takes the lock, or fails at once.
    pub fn take(root: &Root) -> Result<Self, ConfigureError> {
        let (path, file) = Self::open(root)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(ConfigureError::Busy(path)),
            Err(error) => Ok(failing("lock", &path, Err(error))?),
        }
    }

    /// Takes the lock, after waiting for the run that has it.
    pub fn wait(root: &Root) -> Result<Self, ConfigureError> {
        let (path, file) = Self::open(root)?;
        failing("lock", &path, rustix::fs::flock(&file, FlockOperation::LockExclusive))?;
        Ok(Self(file))
    }

    fn open(root: &Root) -> Result<(PathBuf, File), FileError> {
        let path = root.at(handoff::paths::RUN).join("configure.lock");
        let file = file::open_log(&path)?;
        Ok((path, file))
    }
}

/// Runs `stage` on the system under `root`, and updates the status file all the time.
pub fn run(root: &Root, stage: Stage, _lock: &RunLock) -> Result<StageStatus, ConfigureError> {
    let span = info_span!("stage", stage = %stage, result = Empty).entered();
    let log = log::open(&log_path(root, stage))?;
    let mut run = Run {
        root,
        stage: StageStatus::started(stage, unix_seconds(), since_kernel_start()),
        status: Status::load(root).unwrap_or_default(),
    };
    run.save()?;
    log::say(&log, &format!("stage {stage} begins"));
    if stage == Stage::Identity {
        harden(root, &log);
    }
    match required::check(root, stage) {
        Err(why) => run.problem(&log, "secrets", &why),
        Ok(()) => match node::load(root) {
            Ok(node) => run.roles(&node, stage, &log)?,
            Err(error) => run.problem(&log, "node.toml", &error),
        },
    }
    run.stage.end(since_kernel_start());
    run.save()?;
    span.record("result", run.stage.result.word());
    log::say(&log, &format!("stage {stage} ends: {}", run.stage.result.word()));
    Ok(run.stage)
}

/// Applies the site's hardening. A node whose settings cannot be read gets the defaults: it may have users too.
fn harden(root: &Root, log: &File) {
    let node = node::load(root).ok();
    let hardening = node.as_ref().map(|node| node.hardening).unwrap_or_default();
    let init = node.and_then(|node| node::init(node.base, root).ok());
    let applied = hardening::apply(root, hardening, init, &mut |line| log::say(log, line));
    match applied {
        Ok(changed) => {
            for path in changed {
                log::say(log, &format!("  changed {}", path.display()));
            }
        }
        Err(error) => log::say(log, &error.to_string()),
    }
}

struct Run<'a> {
    root: &'a Root,
    stage: StageStatus,
    status: Status,
}

impl Run<'_> {
    fn roles(&mut self, node: &NodeSettings, stage: Stage, log: &File) -> Result<(), ConfigureError> {
        let limit = match stage {
            Stage::Identity => IDENTITY_DEADLINE,
            Stage::Configure => seconds(node.configure.deadline),
        };
        let deadline = Deadline::after(limit);
        if stage == Stage::Identity {
            let begun = since_kernel_start();
            let role = built_in(identity::apply(self.root, node), begun);
            self.finished(role, log)?;
        }
        for name in &node.roles {
            let role = match Role::load(self.root, name) {
                Ok(role) if role.stage == stage => role,
                Ok(_) => continue,
                // The stage of this role is not known, so it is reported only once, at the end.
                Err(_) if stage == Stage::Identity => continue,
                Err(error) => {
                    self.finished(RoleStatus::failed(name.as_str(), "unknown", &error), log)?;
                    continue;
                }
            };
            log::say(log, &format!("role {name} ({})", role.action.word()));
            let status = apply(self.root, &role, node, deadline, log)?;
            self.finished(status, log)?;
        }
        Ok(())
    }

    fn finished(&mut self, role: RoleStatus, log: &File) -> Result<(), FileError> {
        log::say(log, &role.line());
        for path in &role.changed {
            debug!(path, "changed");
            log::say(log, &format!("  changed {path}"));
        }
        self.stage.roles.push(role);
        self.save()
    }

    /// Records why no role could be applied.
    fn problem(&mut self, log: &File, what: &str, error: &dyn std::error::Error) {
        log::say(log, &error.to_string());
        self.stage.roles.push(RoleStatus::failed(what, "settings", error));
    }

    fn save(&mut self) -> Result<(), FileError> {
        self.status.set(self.stage.clone());
        self.status.save(self.root)
    }
}

fn built_in(result: Result<Vec<PathBuf>, IdentityError>, begun: u64) -> RoleStatus {
    match result {
        Ok(changed) => RoleStatus::done("identity", "built-in", &changed, since_kernel_start() - begun),
        Err(error) => RoleStatus::failed("identity", "built-in", &error),
    }
}

fn apply(
    root: &Root,
    role: &Role,
    node: &NodeSettings,
    deadline: Deadline,
    log: &File,
) -> Result<RoleStatus, ConfigureError> {
    let begun = since_kernel_start();
    let name = role.name.as_str();
    let span = info_span!("role", role = name, action = role.action.word(), result = Empty).entered();
    let mut status = match &role.action {
        RoleAction::Overlay => match overlay::lay(root, role, &Renderer::new(node)) {
            Ok(changed) => RoleStatus::done(name, "overlay", &changed, 0),
            Err(error) => RoleStatus::failed(name, "overlay", &error),
        },
        RoleAction::Command { argv, deadline: own } => {
            let command = command::Command {
                folder: &role.folder,
                argv,
                environment: environment(root, role, node),
                log,
            };
            let retries = if role.stage == Stage::Identity { 0 } else { node.configure.retries };
            retry::until_it_works(&command, name, own.map(seconds), deadline, retries)?
        }
    };
    status.took_ms = since_kernel_start() - begun;
    span.record("result", status.result.word());
    Ok(status)
}

/// The environment of a role's command. It never has secrets, only the path of their folder.
fn environment(root: &Root, role: &Role, node: &NodeSettings) -> Vec<(&'static str, String)> {
    vec![
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()),
        ("HOME", "/root".into()),
        ("LANG", "C.UTF-8".into()),
        ("PSYOPS_NODE", node.name.to_string()),
        ("PSYOPS_STAGE", role.stage.to_string()),
        ("PSYOPS_SITE_REV", site_revision(root)),
        ("PSYOPS_SECRETS", root.at(handoff::paths::SECRETS).to_string_lossy().into_owned()),
        ("PSYOPS_ROLE", role.name.to_string()),
    ]
}

/// The revision of the roles and overlays in this root, as the builder wrote it; in a root without one, the release.
fn site_revision(root: &Root) -> String {
    let of_root = file::read_text(&root.at(handoff::paths::SITE_REVISION)).ok();
    let release = || crate::report::load(root).ok().and_then(|report| report.release);
    of_root.or_else(release).unwrap_or_default().trim().to_owned()
}

fn seconds(count: NonZeroU32) -> Duration {
    Duration::from_secs(count.get().into())
}

#[cfg(test)]
mod tests;
