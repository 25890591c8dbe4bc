//! What follows a failure that ends a boot attempt: the site's action for it, unless a restart would change nothing.

use handoff::fault::FaultAction;
use handoff::selection::{Mode, Selection};

/// How the failed attempt ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The machine restarts; this start used up a try, so the other slot is started in the end.
    Restart,
    /// The rescue screen, with a shell or commands if the site allows them.
    Rescue {
        /// Why the machine does not restart, if the site wants a restart.
        not_restarted: Option<&'static str>,
    },
}

/// Chooses the end. Actions that would go on cannot at this point: rescue lets a person see the failure.
pub(crate) fn next(action: FaultAction, selection: Option<&Selection>) -> Next {
    let not_restarted = match action {
        FaultAction::Reboot => match leads_nowhere(selection) {
            None => return Next::Restart,
            why => why,
        },
        FaultAction::Rescue | FaultAction::Degraded | FaultAction::Repair | FaultAction::Continue => None,
    };
    Next::Rescue { not_restarted }
}

/// Why a restart would only lead to the same failure. Each start uses a try; with none left the selector starts rescue.
fn leads_nowhere(selection: Option<&Selection>) -> Option<&'static str> {
    match selection {
        None => Some("this system was not started by the selector, so a restart would end the same way"),
        Some(selection) if !selection.counted => Some(
            "the selector could not count this start (read-only medium), so a restart would start the same slot",
        ),
        Some(selection) if selection.mode == Mode::Rescue => {
            Some("the selector started this system for rescue, and would do so again")
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use handoff::slot::Slot;

    fn counted() -> Selection {
        Selection {
            slot: Slot::A,
            mode: Mode::Normal,
            tries_left: 0,
            counted: true,
            reason: "first in order".into(),
        }
    }

    #[test]
    fn a_restart_needs_a_selector_that_counts() {
        assert_eq!(next(FaultAction::Reboot, Some(&counted())), Next::Restart);
        let why = |selection: Option<Selection>| match next(FaultAction::Reboot, selection.as_ref()) {
            Next::Rescue { not_restarted } => not_restarted.unwrap(),
            Next::Restart => panic!(),
        };
        assert!(why(Some(Selection { counted: false, ..counted() })).contains("read-only medium"));
        assert!(why(Some(Selection { mode: Mode::Rescue, ..counted() })).contains("for rescue"));
        assert!(why(None).contains("not started by the selector"));
    }

    #[test]
    fn every_other_action_ends_in_rescue() {
        for action in FaultAction::ALL.into_iter().filter(|&action| action != FaultAction::Reboot) {
            assert_eq!(next(action, Some(&counted())), Next::Rescue { not_restarted: None });
        }
    }
}
