//! Attempts at a command until one succeeds: each pause is twice as long as the last one, all within the deadline.
//!
//! The pauses are not random: only one node is involved, and a log that is the same each time is easier to read. A
//! command that hangs is not started again: it would hang again.

use super::command::{Attempt, Command, describe};
use super::log;
use crate::clock::Deadline;
use crate::file::{FileError, failing};
use crate::status::{Ending, RoleStatus};
use std::time::Duration;
use tracing::debug;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The pause after the failed attempt number `attempt`, from 1.
fn pause_after(attempt: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(LONGEST_PAUSE)
}

/// Runs `command` until it succeeds, with at most `retries` further attempts.
pub(super) fn until_it_works(
    command: &Command<'_>,
    role: &str,
    own_limit: Option<Duration>,
    stage_deadline: Deadline,
    retries: u32,
) -> Result<RoleStatus, FileError> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        if stage_deadline.passed() {
            let text = "no time was left for it before the stage's deadline";
            return Ok(RoleStatus::command(role, Ending::Timeout, None, attempts - 1, Some(text.into())));
        }
        let deadline =
            own_limit.map_or(stage_deadline, |limit| Deadline::after(limit).or_sooner(stage_deadline));
        let attempt = failing("run the command in", command.folder, command.attempt(deadline))?;
        debug!(attempts, result = ?attempt, "the command ended");
        let (code, problem) = match attempt {
            Attempt::Ended(status) if status.success() => {
                return Ok(RoleStatus::command(role, Ending::Ok, Some(0), attempts, None));
            }
            Attempt::TimedOut => {
                let text = "it did not end before its deadline and was killed";
                return Ok(RoleStatus::command(role, Ending::Timeout, None, attempts, Some(text.into())));
            }
            Attempt::Ended(status) => (status.code(), describe(status)),
            Attempt::NotStarted(problem) => (None, problem),
        };
        log::say(command.log, &format!("attempt {attempts}: {problem}"));
        let pause = pause_after(attempts);
        // A command that cannot be started now will not start later either, and a pause must not pass the deadline.
        if attempts > retries || code.is_none() || stage_deadline.left() <= pause {
            return Ok(RoleStatus::command(role, Ending::Failed, code, attempts, Some(problem)));
        }
        std::thread::sleep(pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute() {
        let seconds: Vec<u64> = (1..9).map(|attempt| pause_after(attempt).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pause_after(u32::MAX), LONGEST_PAUSE);
    }
}
