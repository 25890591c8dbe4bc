//! `psyops-agent secrets check|fix`: compares the secret partition with the seal, or repairs it.

use super::{SecretsAction, complain, say};
use crate::root::Root;
use crate::secrets::{self, SecretsError};
use handoff::shown::Shown;
use keys::reconcile::Comparison;
use std::process::ExitCode;

/// The exit code if the state of the secret partition cannot be determined.
const UNKNOWN: u8 = 3;

pub(super) fn run(root: &Root, action: SecretsAction) -> ExitCode {
    let result = match action {
        SecretsAction::Check => secrets::check(root),
        SecretsAction::Fix => secrets::fix(root, &mut |line| say(line)),
    };
    match result {
        Ok(comparison) => {
            show(&comparison);
            ExitCode::from(u8::from(!comparison.differing.is_empty()))
        }
        Err(error) => {
            complain(&error);
            ExitCode::from(if matches!(error, SecretsError::Repair(_)) { 1 } else { UNKNOWN })
        }
    }
}

fn show(comparison: &Comparison) {
    for difference in &comparison.differing {
        say(&format!("differs: {}", Shown(difference)));
    }
    for path in &comparison.unknown {
        say(&format!("not in the seal: {}", Shown(path.display())));
    }
    say(&format!("{} files match the seal", comparison.same.len()));
}
