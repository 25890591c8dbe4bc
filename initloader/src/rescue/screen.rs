//! The rescue screen: what is wrong, what to do, and which logins and commands there are.

use crate::boot::Boot;
use crate::failure::{Failure, FailureKind};
use crate::rescue::SCREEN;
use handoff::marker;
use handoff::report_key::{self, ReportKey};
use handoff::rescue::{ConsoleAccess, RescueAccess, RescuePolicy};

/// The lines of the screen, without the marker.
pub(crate) fn compose(boot: &Boot, failure: &Failure) -> Vec<String> {
    let report = &boot.report;
    let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "?".into());
    let mut lines = vec![format!(
        "node {} (site {}, release {}, slot {})",
        word(&report.node),
        word(&report.site),
        word(&report.release),
        word(&report.slot)
    )];
    match failure.kind {
        FailureKind::RescueRequested => lines.push(failure.problem.clone()),
        _ => lines.extend(failure.lines()),
    }
    lines.extend(ways_in(&boot.rescue));
    lines
}

/// Describes the logins that the site allows.
fn ways_in(policy: &RescuePolicy) -> Vec<String> {
    let mut lines = Vec::new();
    match policy.console {
        ConsoleAccess::Off => lines.push(format!(
            "The site allows no login on a console. This machine boots again after {} s.",
            policy.retry_after
        )),
        ConsoleAccess::Password(_) => lines.push(
            match policy.access {
                RescueAccess::Shell => "Enter the site's rescue password for a shell.",
                RescueAccess::Commands => "Enter the site's rescue password for commands (no shell).",
            }
            .into(),
        ),
        ConsoleAccess::Shell => {}
    }
    if policy.has_login() {
        lines.extend(
            [
                "status               this text          log            what happened",
                "secrets check | fix  the node's files   disks          what is plugged in",
            ]
            .map(String::from),
        );
        let (program, what) = match policy.access {
            RescueAccess::Shell => ("e2fsck", "repair a file system"),
            RescueAccess::Commands => ("fsck", "repair the secret partition"),
        };
        lines.push(format!("retry, exit          boot again         {program:<14} {what}"));
        lines.push("reboot, poweroff     restart or switch off".into());
        lines.push(if policy.keep_keys {
            "The site keeps everything mounted in rescue (keep-keys): the node's keys can be read here."
                .into()
        } else {
            "All file systems of the node are unmounted; its keys are not in memory.".into()
        });
    }
    lines
}

/// Prints the screen on every console, and stores it for the command `status`.
pub(crate) fn show(boot: &mut Boot, lines: &[String]) {
    let (first, rest) = lines.split_first().map_or(("", lines), |(first, rest)| (first.as_str(), rest));
    boot.log.marked(marker::RESCUE, first);
    for line in rest {
        boot.log.marked("", &format!("  {line}"));
    }
    let _ = std::fs::write(SCREEN, format!("{first}\n  {}\n", rest.join("\n  ")));
    let key = std::fs::read(report_key::SMBIOS_TABLE).ok().and_then(|table| ReportKey::find(&table));
    boot.log.marked(marker::REPORT, &report_key::line(&boot.report.to_json(), key.as_ref()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_login_no_command_is_listed() {
        let text = ways_in(&RescuePolicy::default()).join("\n");
        assert!(text.contains("600 s") && !text.contains("secrets"), "{text}");
    }

    #[test]
    fn the_screen_shows_whether_keys_can_be_read() {
        let policy = RescuePolicy { console: ConsoleAccess::Shell, ..RescuePolicy::default() };
        assert!(ways_in(&policy).join("\n").contains("not in memory"));
        let open = RescuePolicy { keep_keys: true, ..policy };
        assert!(ways_in(&open).join("\n").contains("can be read here"));
    }
}
