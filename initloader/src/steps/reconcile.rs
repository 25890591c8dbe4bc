//! Step `reconcile`: compares every file on the secret partition with the seal, and repairs the ones that differ.
//!
//! A file that cannot be repaired (a medium that is read-only, full or worn) stays as it is, and is reported: the
//! running system uses the copy that step `copy` makes from the seal.

use crate::boot::Boot;
use crate::failure::{Failure, FailureKind, StepError};
use crate::mounts::MountError;
use crate::steps::secret::SecretStore;
use handoff::advice::WRITE_SECRETS;
use handoff::fault::{Fault, FaultAction};
use keys::reconcile::{CompareError, Comparison, RepairError, compare, repair};
use keys::seal::OpenedSeal;
use std::time::Duration;

/// How long the step may take: every file is written and flushed on its own, on a slow stick.
pub(crate) const DEADLINE: Duration = Duration::from_mins(5);

/// Errors of the step `reconcile`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReconcileError {
    /// Files differ, and the site's policy allows neither to repair nor to ignore them.
    #[error("files on the secret partition differ from the seal: {0}")]
    Differs(String),
    /// The repair failed, and the site's policy does not allow going on then.
    #[error("the secret partition cannot be repaired: {0}")]
    Repair(String),
}

impl StepError for ReconcileError {
    fn kind(&self) -> FailureKind {
        FailureKind::Site(match self {
            Self::Differs(_) => Fault::FileDiffers,
            Self::Repair(_) => Fault::Repair,
        })
    }

    fn remedy(&self) -> String {
        match self {
            Self::Differs(_) => format!(
                "find out who changed them; then type `secrets fix` in rescue, or make the secret partition again on the \
                 workstation: {WRITE_SECRETS}"
            ),
            Self::Repair(_) => "make another stick, or remove what makes this one read-only or full".into(),
        }
    }
}

/// Why a repair did not succeed.
#[derive(Debug, thiserror::Error)]
enum NotRepaired {
    #[error("{0}")]
    ReadOnly(&'static str),
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error(transparent)]
    Compare(#[from] CompareError),
    #[error("{}", list(.0))]
    Files(RepairError),
    #[error("after the repair it still differs: {}", differing(.0))]
    StillDiffers(Comparison),
}

fn list(error: &RepairError) -> String {
    error.failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn differing(comparison: &Comparison) -> String {
    comparison.differing.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Runs the step `reconcile`.
pub(crate) fn run(boot: &mut Boot, store: &SecretStore, seal: &OpenedSeal) -> Result<(), ReconcileError> {
    let before = match compare(store.path(), seal.manifest()) {
        Ok(before) => before,
        Err(error) => return unrepaired(boot, &NotRepaired::Compare(error), &Comparison::default()),
    };
    for unknown in before.unknown.iter().chain(&before.unreadable) {
        boot.log.info(&format!("on the secret partition but not in the seal: {}", unknown.display()));
        boot.report.unknown.push(unknown.display().to_string());
    }
    boot.report.verified = before.same.len() as u64;
    if !before.needs_repair(seal.manifest()) {
        boot.log.info(&format!("{} files on the secret partition match the seal", before.same.len()));
        return Ok(());
    }
    for difference in &before.differing {
        boot.log.error(&format!("secret partition: {difference}"));
    }
    match boot.policy.action(Fault::FileDiffers) {
        FaultAction::Repair | FaultAction::Continue => {}
        // The policy does not apply to half-written files of an earlier repair.
        _ if before.differing.is_empty() => return Ok(()),
        FaultAction::Degraded => {
            boot.degrade(&Failure::new("reconcile", &ReconcileError::Differs(differing(&before))));
            from_memory_only(boot, &before);
            return Ok(());
        }
        FaultAction::Reboot | FaultAction::Rescue => return Err(ReconcileError::Differs(differing(&before))),
    }
    match repaired(boot, store, seal, &before) {
        Ok(after) => {
            boot.report.verified = after.same.len() as u64;
            boot.log.info(&format!("repaired; {} files match the seal", after.same.len()));
            Ok(())
        }
        Err(error) => unrepaired(boot, &error, &before),
    }
}

/// Repairs, and compares again.
fn repaired(
    boot: &mut Boot,
    store: &SecretStore,
    seal: &OpenedSeal,
    before: &Comparison,
) -> Result<Comparison, NotRepaired> {
    if let Some(why) = store.read_only() {
        return Err(NotRepaired::ReadOnly(why));
    }
    let done = store.writable(|| repair(store.path(), seal, before))?;
    let (done, failed) = match done {
        Ok(done) => (done, None),
        Err(error) => (error.repaired.clone(), Some(error)),
    };
    for one in done {
        boot.log.info(&format!("secret partition: {} repaired", one.path.display()));
        boot.report.repaired.push(one.path.display().to_string());
    }
    if let Some(error) = failed {
        return Err(NotRepaired::Files(error));
    }
    let after = compare(store.path(), seal.manifest())?;
    if after.differing.is_empty() { Ok(after) } else { Err(NotRepaired::StillDiffers(after)) }
}

/// Handles a failed repair by the site's policy.
fn unrepaired(boot: &mut Boot, why: &NotRepaired, before: &Comparison) -> Result<(), ReconcileError> {
    let error = ReconcileError::Repair(why.to_string());
    match boot.policy.action(Fault::Repair) {
        FaultAction::Reboot | FaultAction::Rescue => return Err(error),
        FaultAction::Degraded | FaultAction::Repair | FaultAction::Continue => {
            boot.degrade(&Failure::new("reconcile", &error));
        }
    }
    from_memory_only(boot, before);
    Ok(())
}

/// Reports the files whose right content is only in memory.
fn from_memory_only(boot: &mut Boot, before: &Comparison) {
    let repaired = &boot.report.repaired;
    let files = before.differing.iter().filter_map(|difference| difference.subject.file());
    boot.report.memory_only =
        files.map(ToString::to_string).filter(|name| !repaired.contains(name)).collect();
}
