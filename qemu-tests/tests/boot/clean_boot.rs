//! A newly flashed stick: no faults, even if parts of its surroundings are missing.

use anyhow::{Context as _, Result, ensure};
use builder::run::Serial;
use handoff::paths;
use handoff::report::{BootReport, Configure, Outcome, StepKind};
use handoff::slot::Slot;
use qemu_tests::agent_commands::{
    a_pause_holds_messages_and_releases_them, secrets_are_checked_and_repaired,
};
use qemu_tests::command::succeed;
use qemu_tests::measured::BootedNode;
use qemu_tests::neighbour::is_kept_out;
use qemu_tests::site_fixture::SiteFixture;
use qemu_tests::ssh::Ssh;
use qemu_tests::stick::Booted;
use std::time::Duration;

#[test]
fn a_fresh_stick_boots_with_the_host_key_of_its_seal() -> Result<()> {
    let fixture = SiteFixture::micro()?;
    let stick = fixture.stick("alpha")?;
    let ssh = Ssh::new(&fixture)?;
    let mut booted = stick.boots_well_cold(|setup| setup.ssh = Some(ssh.port()))?;
    let report = &booted.seen.report;
    assert_eq!(report.node.as_deref(), Some("alpha"));
    assert_eq!(report.slot.as_deref(), Some("a"));
    assert_eq!(report.tries_left, Some(2));
    for service in ["rcS", "syslogd", "sshd"] {
        let found = report.steps.iter().any(|step| step.kind == StepKind::Service && step.name == service);
        ensure!(found, "no {service} in the timeline: {report:?}");
    }

    // The connection only succeeds with the host key that `psyops known-hosts` prints.
    assert_eq!(ssh.run("alpha", "hostname")?.trim(), "alpha");
    // syslogd is the first service; its first line has the host name of that moment.
    let first = ssh.run("alpha", "grep -m1 'syslogd started' /var/log/messages")?;
    ensure!(
        first.split_whitespace().nth(3) == Some("alpha"),
        "the first service saw another host name: {first:?}"
    );
    let table = ssh.run("alpha", "cat /proc/mounts")?;
    for place in [paths::SECRET_PARTITION, paths::SECRETS] {
        let mounted =
            table.lines().find(|line| line.contains(&format!(" {place} "))).context("no secrets")?;
        for option in ["ro", "nodev", "nosuid", "noexec", "nosymfollow"] {
            ensure!(mounted.split([' ', ',']).any(|word| word == option), "{option} is missing: {mounted}");
        }
    }
    is_kept_out(&ssh, "alpha")?;
    BootedNode::note(&ssh, "alpha", "micro")?;
    booted.power_off()?;

    let record = stick.control()?.effective();
    let status = record.slots.get(Slot::A);
    assert_eq!((status.state, status.tries_left), (handoff::control::SlotState::Good, 3));
    // A boot has written to the control partition, and not to the tables, ESP, slots, seals and file systems.
    let mut verify = fixture.psyops();
    succeed(verify.arg("verify").arg(stick.path()).arg("--site").arg(fixture.site()))?;
    Ok(())
}

#[test]
fn debian_reaches_its_default_target_with_the_same_report() -> Result<()> {
    let fixture = SiteFixture::debian()?;
    let stick = fixture.stick("alpha")?;
    let ssh = Ssh::new(&fixture)?;
    let mut booted = stick.boots_well_cold(|setup| setup.ssh = Some(ssh.port()))?;
    let state = ssh.run("alpha", "systemctl is-system-running --wait; systemctl is-active default.target")?;
    assert_eq!(state.split_whitespace().collect::<Vec<_>>(), ["running", "active"]);
    let first = ssh.run("alpha", "journalctl -b --output=export --lines=+1")?;
    ensure!(
        first.lines().any(|line| line == "_HOSTNAME=alpha"),
        "the first record has another host name: {first}"
    );

    is_kept_out(&ssh, "alpha")?;
    for (unit, most) in [("psyops-timeline.service", 2.0), ("psyops-configure.service", 9.0)] {
        let rated = ssh.run("alpha", &format!("systemd-analyze security --no-pager {unit} | tail -n 1"))?;
        let exposure = rated.split_whitespace().find_map(|word| word.parse::<f64>().ok());
        let exposure = exposure.with_context(|| format!("no figure: {rated}"))?;
        ensure!(exposure <= most, "{rated}");
    }

    let times = ssh.run("alpha", "systemd-analyze time")?;
    for part in ["(firmware)", "(loader)", "(kernel)", "(initrd)", "(userspace)"] {
        ensure!(times.contains(part), "{part} is missing: {times}");
    }
    let report: BootReport = serde_json::from_str(&ssh.run("alpha", "cat /run/psyops/boot.json")?)?;
    let all_kinds =
        [StepKind::Kernel, StepKind::Loader, StepKind::Wait, StepKind::Configure, StepKind::Service];
    for kind in all_kinds {
        ensure!(report.steps.iter().any(|step| step.kind == kind), "no step of {kind:?}: {report:?}");
    }
    for service in ["systemd", "ssh", "systemd-journald"] {
        ensure!(report.steps.iter().any(|step| step.name == service), "no {service}: {report:?}");
    }
    ensure!(report.firmware_ms.is_some() && report.selector_ms.is_some(), "{report:?}");
    // systemd and the report agree about when the initrd began.
    let initrd = ssh.run("alpha", "systemctl show --value --property=InitRDTimestampMonotonic")?;
    let kernel = report.steps.iter().find(|step| step.kind == StepKind::Kernel).context("no kernel")?;
    assert_eq!(initrd.trim().parse::<u64>()? / 1000, kernel.took_ms);

    // Messages of other users during a pause keep their user in the journal: of a running process, and of an ended one.
    let script = "as_nobody='setpriv --reuid=65534 --regid=65534 --clear-groups'; export as_nobody; \
        psyops-agent pause-syslog -- sh -c '$as_nobody logger -t gone one; \
            { echo two; sleep 60; } | $as_nobody logger -t alive >/dev/null 2>&1 & sleep 2'; \
        journalctl --sync; journalctl -o json -b _UID=65534 _TRANSPORT=syslog";
    let found = ssh.run("alpha", script)?;
    let records = found.lines().map(serde_json::from_str).collect::<Result<Vec<serde_json::Value>, _>>()?;
    let fields = |tag: &str| {
        let record = records.iter().find(|record| record["SYSLOG_IDENTIFIER"] == tag);
        let value =
            |name: &str| record.and_then(|record| record[name].as_str()).unwrap_or_default().to_owned();
        (value("MESSAGE"), value("_GID"), value("_COMM"), value("SYSLOG_PID"))
    };
    let (message, gid, command, _) = fields("alive");
    assert_eq!((message.as_str(), gid.as_str(), command.as_str()), ("two", "65534", "logger"), "{found}");
    let (message, gid, _, pid) = fields("gone");
    assert_eq!((message.as_str(), gid.as_str()), ("one", "65534"), "{found}");
    ensure!(pid.parse::<u32>().is_ok(), "the process that is gone is not named: {found}");

    BootedNode::note(&ssh, "alpha", "debian")?;
    secrets_are_checked_and_repaired(&ssh, "alpha")?;
    let log = "journalctl --sync; journalctl -b --no-pager -t held";
    a_pause_holds_messages_and_releases_them(&ssh, "alpha", log)?;

    let message = ssh.run("alpha", "cat /run/motd.d/psyops")?;
    ensure!(
        message.starts_with("psyopsOS alpha (site ") && message.contains(": ok, configure ok"),
        "{message}"
    );
    booted.power_off()
}

/// Elsewhere there is one, because emulation is fastest with it.
#[test]
fn a_node_with_four_processors_boots() -> Result<()> {
    SiteFixture::micro()?.stick("alpha")?.boots_well(|setup| setup.cpus = 4).map(|_| ())
}

#[test]
fn a_node_boots_with_a_console_on_a_missing_uart() -> Result<()> {
    let stick = SiteFixture::micro()?.stick("alpha")?;
    Booted::wait(&stick.setup_with(&["console=ttyS3"])?)?.assert_well()
}

#[test]
fn a_node_without_a_console_boots_and_is_marked_good() -> Result<()> {
    let fixture = SiteFixture::micro()?;
    let stick = fixture.stick("alpha")?;
    let ssh = Ssh::new(&fixture)?;
    let mut setup = stick.setup()?;
    setup.serial = Serial::None;
    setup.ssh = Some(ssh.port());
    let mut machine = builder::run::Machine::start(&setup)?;
    ssh.wait_until_up("alpha", qemu_tests::stick::DEADLINE)?;
    let report = ssh.wait_for_report("alpha", Duration::from_mins(1))?;
    assert_eq!((report.outcome, report.configure), (Outcome::Ok, Configure::Ok), "{report:?}");
    machine.power_button()?;
    ensure!(machine.wait_for_end(Duration::from_mins(1))?.success());
    assert_eq!(stick.control()?.effective().slots.a.state, handoff::control::SlotState::Good);
    Ok(())
}

#[test]
fn the_direct_boot_takes_the_seal_from_the_initramfs() -> Result<()> {
    let stick = SiteFixture::micro()?.stick("alpha")?;
    // Without seals on the stick only the one in the initramfs is left.
    let direct = stick.direct(&[])?;
    for slot in Slot::BOTH {
        let role = handoff::partition::Role::Seal(slot);
        let length = usize::try_from(stick.extent(role)?.length)?;
        stick.write(role, 0, &vec![0; length])?;
    }
    stick.boots_well(|setup| setup.boot = direct).map(|_| ())
}
