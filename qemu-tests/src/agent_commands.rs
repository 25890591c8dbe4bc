//! Commands of `psyops-agent` that an administrator types on a running node, run there over SSH.

use crate::ssh::Ssh;
use anyhow::{Context as _, Result, ensure};
use handoff::paths::SECRET_PARTITION;
use std::time::{Duration, Instant};

/// How long a message may take from the log socket to the log.
const LOGGED: Duration = Duration::from_secs(30);

/// Fails unless a command printed just this.
fn is(found: &str, expected: &str) -> Result<()> {
    ensure!(found == expected, "found {found:?} instead of {expected:?}");
    Ok(())
}

/// `psyops-agent secrets check` and `fix`, with their exit codes: as the seal says, changed, repaired.
pub fn secrets_are_checked_and_repaired(ssh: &Ssh, node: &str) -> Result<()> {
    let agent = |action: &str| -> Result<String> {
        ssh.run(node, &format!("psyops-agent secrets {action}; echo \"exit $?\""))
    };
    let clean = agent("check")?;
    let files: u32 = clean.split(' ').next().and_then(|number| number.parse().ok()).context(clean.clone())?;
    ensure!(files > 3 && clean == format!("{files} files match the seal\nexit 0\n"), "{clean}");

    let file = format!("{SECRET_PARTITION}/hostname");
    let right = ssh.run(node, &format!("cat {file}"))?;
    ensure!(right.trim_end() == node, "{right:?}");
    let change = |name: &str| {
        format!(
            "set -e; mount -o remount,rw {SECRET_PARTITION}; echo {name} > {file}; \
             mount -o remount,ro {SECRET_PARTITION}; cat {file}"
        )
    };
    is(&ssh.run(node, &change("another"))?, "another\n")?;
    let others = files - 1;
    let differs = format!("differs: hostname: content\n{others} files match the seal\nexit 1\n");
    is(&agent("check")?, &differs)?;
    // A check repairs nothing.
    is(&agent("check")?, &differs)?;
    let repaired = agent("fix")?;
    ensure!(repaired.ends_with(&clean) && repaired.lines().count() == 4, "{repaired}");
    ensure!(repaired.lines().take(2).all(|line| line.contains("hostname")), "{repaired}");
    is(&ssh.run(node, &format!("cat {file}"))?, &right)?;
    is(&agent("check")?, &clean)?;

    let table = ssh.run(node, &format!("grep ' {SECRET_PARTITION} ' /proc/mounts"))?;
    for option in ["ro", "nodev", "nosuid", "noexec", "nosymfollow"] {
        ensure!(table.split([' ', ',']).any(|word| word == option), "{option} is missing: {table}");
    }
    Ok(())
}

/// `psyops-agent pause-syslog`: a message of its command is not in the log before the command ends, and is there
/// afterwards. `log` is a command that prints the log.
pub fn a_pause_holds_messages_and_releases_them(ssh: &Ssh, node: &str, log: &str) -> Result<()> {
    let held = format!("{log} | sed -n 's/.*held[^:]*: message /message /p'");
    let wait_for = |expected: &str| -> Result<()> {
        let end = Instant::now() + LOGGED;
        loop {
            let found = ssh.run(node, &held)?;
            if found == expected {
                return Ok(());
            }
            ensure!(Instant::now() < end, "the log has {found:?} instead of {expected:?}");
        }
    };
    ssh.run(node, "logger -t held message before")?;
    wait_for("message before\n")?;
    // The sleep gives a daemon that would get the message the time to write it.
    let paused = format!(
        "psyops-agent pause-syslog -- sh -c \"logger -t held message during; sleep 2; {held}; exit 7\""
    );
    is(&ssh.run(node, &format!("{paused}; echo \"exit $?\""))?, "message before\nexit 7\n")?;
    wait_for("message before\nmessage during\n")?;
    let status = ssh.run(node, "psyops-agent status --json")?;
    let status: serde_json::Value = serde_json::from_str(&status)?;
    let pause = &status["syslog_pause"];
    ensure!(pause["stage"] == "ended" && pause["dropped"] == 0, "{pause}");
    ensure!(pause["replayed"].as_u64() > Some(0), "{pause}");
    Ok(())
}
