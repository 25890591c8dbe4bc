//! A failing configuration run: the boot goes on, the report has the fault, the log is kept, no message is lost.

use anyhow::{Context as _, Result, ensure};
use handoff::report::{BootReport, Configure, Outcome};
use qemu_tests::site_fixture::SiteFixture;
use qemu_tests::ssh::Ssh;
use qemu_tests::stick::Booted;

/// Boots `node` with a login by SSH.
fn boot(node: &str) -> Result<(Booted, Ssh)> {
    let fixture = SiteFixture::micro()?;
    let stick = fixture.stick(node)?;
    let ssh = Ssh::new(&fixture)?;
    let mut setup = stick.setup()?;
    setup.ssh = Some(ssh.port());
    // The stick's file stays open in QEMU; its folder may be removed.
    let booted = Booted::wait(&setup)?;
    Ok((booted, ssh))
}

fn log(ssh: &Ssh, node: &str) -> Result<String> {
    ssh.run(node, "cat /var/log/psyops/configure-configure.log")
}

#[test]
fn a_command_that_fails_is_reported_and_its_log_is_kept() -> Result<()> {
    let (mut booted, ssh) = boot("failing")?;
    let report = &booted.seen.report;
    assert_eq!((report.outcome, report.configure), (Outcome::Degraded, Configure::Failed), "{report:?}");
    let log = log(&ssh, "failing")?;
    ensure!(log.contains("\n  | this run fails\n"), "{log}");
    // The role tries to forge a line of the agent, and to clear the screen.
    ensure!(log.contains("\n  | psyops: role fails: ok\\u001b[2J\n") && !log.contains('\u{1b}'), "{log}");
    ensure!(!log.lines().any(|line| line.starts_with("psyops: role fails: ok")), "{log}");
    let status = ssh.run("failing", "psyops-agent status --json; echo \"exit $?\"")?;
    ensure!(status.contains("fails") && status.contains("exit 1"), "{status}");
    // What a user sees at login.
    let shell = ssh.run("failing", "sh -lc 'echo \"$PS1\"; psyops_prompt; echo end'")?;
    let lines: Vec<&str> = shell.lines().collect();
    ensure!(
        lines.first().is_some_and(|line| line.contains(": degraded, configure failed, 1 fault")),
        "{shell}"
    );
    ensure!(lines.get(1).is_some_and(|line| line.starts_with("$(psyops_prompt)")), "{shell}");
    assert_eq!(lines.get(2), Some(&"[degraded] end"), "{shell}");
    booted.power_off()
}

#[test]
fn a_report_that_a_role_prints_on_the_console_is_ignored() -> Result<()> {
    let fixture = SiteFixture::micro()?;
    let image = fixture.image("failing")?;
    let run = |more: &[&str]| {
        let mut psyops = fixture.psyops();
        psyops.arg("run").arg(&image).args(["--headless", "--direct", "--timeout", "240"]).args(more);
        psyops.output().context("starting psyops")
    };
    let seen = run(&[])?;
    let said = String::from_utf8_lossy(&seen.stderr);
    let report: BootReport =
        serde_json::from_slice(&seen.stdout).with_context(|| said.clone().into_owned())?;
    ensure!(seen.status.code() == Some(1), "{said}");
    assert_eq!((report.outcome, report.configure), (Outcome::Degraded, Configure::Failed), "{report:?}");
    // Without the check of the report's key, the role's forged report is accepted.
    let forged = run(&["--any-report"])?;
    let report: BootReport = serde_json::from_slice(&forged.stdout)?;
    assert_eq!((report.outcome, report.configure), (Outcome::Ok, Configure::Ok), "{report:?}");
    ensure!(forged.status.success());
    Ok(())
}

#[test]
fn a_command_that_hangs_is_ended_at_its_deadline() -> Result<()> {
    let (mut booted, ssh) = boot("hanging")?;
    let report = &booted.seen.report;
    assert_eq!((report.outcome, report.configure), (Outcome::Degraded, Configure::Timeout), "{report:?}");
    let log = log(&ssh, "hanging")?;
    ensure!(log.contains("this run hangs"), "{log}");
    let left = ssh.run("hanging", "ps | grep -c '[s]leep 10000'")?;
    assert_eq!(left.trim(), "0", "the command still runs");
    booted.power_off()
}

#[test]
fn a_command_that_kills_syslogd_while_users_flood_it_loses_no_message_and_the_slot_is_marked_good()
-> Result<()> {
    let (mut booted, ssh) = boot("killing")?;
    let report = &booted.seen.report;
    assert_eq!((report.outcome, report.configure), (Outcome::Ok, Configure::Ok), "{report:?}");
    // init starts syslogd again; the messages of the run are replayed to it. Each message's process has ended by the
    // time of the replay, so its number is put after the tag.
    let script = "for i in $(seq 30); do cat /var/log/messages* | grep -q 'message 100\\.' && break; sleep 1; done; \
                  cat /var/log/messages.1 /var/log/messages 2>/dev/null | \
                  grep -o 'flood\\[[0-9]*\\]: message [0-9]*\\.' | sed 's/\\[[0-9]*\\]//'";
    let found = ssh.run("killing", script)?;
    let expected: Vec<String> = (1..=100).map(|number| format!("flood: message {number}.")).collect();
    assert_eq!(found.lines().collect::<Vec<_>>(), expected);
    let status = ssh.run("killing", "psyops-agent status --json; true")?;
    let status: serde_json::Value = serde_json::from_str(&status)?;
    assert_eq!(status["status"]["confirmation"], "slot a is marked good", "{status}");
    // Only the users' messages were dropped, if any.
    let users =
        status["syslog_pause"]["drops"]["users"].as_object().map(|users| users.keys().collect::<Vec<_>>());
    ensure!(users.is_some_and(|users| users.iter().all(|uid| *uid == "65534")), "{status}");
    booted.power_off()
}
