//! Rescue: who can log in, which commands there are, that none of them stops the machine, and how it is requested.

use anyhow::{Context as _, Result, ensure};
use builder::rescue_password;
use builder::run::watch::wait_for_report;
use builder::run::{Bus, Machine, OnReset, Setup};
use handoff::last_failure::LastFailure;
use handoff::marker;
use handoff::partition::Role;
use handoff::paths::{AGE_KEY, SECRET_PARTITION};
use handoff::report::{Configure, Outcome};
use handoff::slot::Slot;
use qemu_tests::site_fixture::SiteFixture;
use qemu_tests::ssh::Ssh;
use qemu_tests::stick::{Booted, DEADLINE, Stick};
use std::fs;
use std::time::Duration;

const SOON: Duration = Duration::from_mins(1);
const PROMPT: &str = "psyops rescue # ";

/// A kernel argument that leads to rescue, once.
const RESCUE: &str = "psyops.rescue";

/// A machine that goes to rescue because of the kernel argument.
fn asked_for_rescue(stick: &Stick) -> Result<Setup> {
    stick.setup_with(&[RESCUE])
}

fn alpha_in_rescue(fixture: &SiteFixture) -> Result<Machine> {
    // The stick's file stays open in QEMU; its folder may be removed.
    in_rescue(&asked_for_rescue(&fixture.stick("alpha")?)?)
}

fn in_rescue(setup: &Setup) -> Result<Machine> {
    let booted = Booted::wait(setup)?;
    let is_rescue = booted.seen.report.outcome == Outcome::Rescue;
    ensure!(is_rescue, "{:?}\n{}", booted.seen.report, booted.machine.console());
    Ok(booted.machine)
}

/// Types a command; its output must have `wanted`, which may be `42-` and its exit status. The terminal shows the typed
/// text as well, so that must not contain `wanted`.
fn typed(machine: &mut Machine, command: &str, wanted: &str) -> Result<()> {
    machine.send(&format!("{command}; echo $((40+2))-$?-\n"))?;
    machine.wait_for(wanted, SOON).with_context(|| format!("after {command}"))?;
    if !wanted.starts_with("42-") {
        machine.wait_for("42-", SOON)?;
    }
    Ok(())
}

fn boots(machine: &mut Machine) -> Result<()> {
    let seen = wait_for_report(machine, DEADLINE)?;
    assert_eq!(seen.report.outcome, Outcome::Ok, "{:?}", seen.report);
    Ok(())
}

#[test]
fn every_command_of_the_shell_does_what_it_says() -> Result<()> {
    let stick = SiteFixture::micro()?.stick("alpha")?;
    stick.debugfs("rm /hostname\n")?;
    let mut machine = in_rescue(&asked_for_rescue(&stick)?)?;
    typed(&mut machine, "status", "the kernel command line asks for it")?;
    typed(&mut machine, "disks", "seal-a")?;
    typed(&mut machine, "log | grep -q initloader", "42-0-")?;
    typed(&mut machine, "secrets check", "differs: hostname")?;
    typed(&mut machine, "secrets check >/dev/null", "42-1-")?;
    typed(&mut machine, "secrets fix >/dev/null", "42-0-")?;
    typed(&mut machine, "secrets check >/dev/null", "42-0-")?;
    typed(&mut machine, "secrets", "42-2-")?;
    typed(&mut machine, "grep -c psyops/private /proc/mounts", "42-1-")?;
    let secret = "$(disks | sed -n 's|^ *\\(/dev/[a-z0-9]*\\) *secret$|\\1|p')";
    typed(&mut machine, &format!("e2fsck -f -y {secret}"), "42-0-")?;
    machine.send("retry\n")?;
    let seen = wait_for_report(&mut machine, DEADLINE)?;
    assert_eq!((seen.report.outcome, seen.report.repaired.len()), (Outcome::Ok, 0), "{:?}", seen.report);
    Ok(())
}

#[test]
fn no_input_to_the_rescue_shell_stops_the_machine() -> Result<()> {
    let mut machine = alpha_in_rescue(&SiteFixture::micro()?)?;
    typed(&mut machine, "kill -9 1", "42-0-")?;
    for signal in ["INT", "QUIT", "SEGV", "ABRT", "PWR"] {
        typed(&mut machine, &format!("kill -{signal} 1"), "42-0-")?;
    }
    // A shell ends with the status of its last command, whatever it is.
    machine.send("no-such-command\n")?;
    machine.send("exit\n")?;
    boots(&mut machine)
}

#[test]
fn a_shell_that_was_replaced_with_exec_ends_with_that_program() -> Result<()> {
    let mut machine = alpha_in_rescue(&SiteFixture::micro()?)?;
    machine.send("exec false\n")?;
    boots(&mut machine)
}

#[test]
fn killed_shells_start_again_and_an_unmounted_system_boots() -> Result<()> {
    let mut machine = alpha_in_rescue(&SiteFixture::micro()?)?;
    machine.wait_for(PROMPT, SOON)?;
    machine.send("kill -9 $$\n")?;
    machine.wait_for(PROMPT, SOON)?;
    machine.send("kill -9 -1\n")?;
    machine.wait_for(PROMPT, SOON)?;
    machine
        .send("mkdir '/a b'; mount -t tmpfs x '/a b'; umount -a 2>/dev/null; rm -rf /bin /sbin; exit 3\n")?;
    boots(&mut machine)?;
    ensure!(!machine.console().contains("Kernel panic"), "{}", machine.console());
    Ok(())
}

#[test]
fn without_a_site_setting_rescue_has_no_login_and_tries_again() -> Result<()> {
    let fixture = SiteFixture::with_rescue("nobody", "retry-after = 20")?;
    let mut machine = alpha_in_rescue(&fixture)?;
    ensure!(machine.console().contains("The site allows no login on a console"), "{}", machine.console());
    machine.send("\necho in-$((40+2))\n")?;
    boots(&mut machine)?;
    let console = machine.console();
    let before = console.split("trying to boot again").next().unwrap_or_default();
    ensure!(
        !before.contains("in-42") && console.contains("no user is logged in: booting again"),
        "{console}"
    );
    Ok(())
}

#[test]
fn a_password_opens_the_shell_and_another_one_does_not() -> Result<()> {
    let hash = rescue_password::hash(&"correct horse".to_owned().into(), [7; 16])?;
    let lines = format!("console = \"password\"\npassword-hash = \"{hash}\"");
    let fixture = SiteFixture::with_rescue("password", &lines)?;
    let mut machine = alpha_in_rescue(&fixture)?;
    let question = "psyops rescue password: ";
    for wrong in ["correct horsf\n", "\n", "\u{3}\u{4}"] {
        machine.wait_for(question, SOON)?;
        machine.send(wrong)?;
    }
    machine.wait_for(question, SOON)?;
    machine.send("correct horse\n")?;
    machine.wait_for(PROMPT, SOON)?;
    let console = machine.console();
    ensure!(!console.contains("correct horse"), "the password is shown: {console}");
    ensure!(console.contains("That is not the rescue password"), "{console}");
    typed(&mut machine, "status", "the kernel command line asks for it")?;
    machine.send("exit\n")?;
    boots(&mut machine)
}

#[test]
fn the_kernel_argument_leads_to_rescue_once() -> Result<()> {
    let stick = SiteFixture::micro()?.stick("alpha")?;
    let mut machine = in_rescue(&asked_for_rescue(&stick)?)?;
    ensure!(machine.console().contains("the kernel command line asks for it"), "{}", machine.console());
    machine.send("exit\n")?;
    boots(&mut machine)
}

#[test]
fn the_agent_asks_for_rescue_and_the_next_start_goes_there() -> Result<()> {
    let stick = SiteFixture::micro()?.stick("alpha")?;
    let mut booted = stick.boot_cold()?;
    booted.machine.send("\n")?;
    booted.machine.send("psyops-agent reboot --rescue --json\n")?;
    booted.machine.wait_for("{\"format\":1,\"rescue\":true}", SOON)?;
    let seen = wait_for_report(&mut booted.machine, DEADLINE)?;
    assert_eq!(seen.report.outcome, Outcome::Rescue, "{:?}", seen.report);
    ensure!(!stick.control()?.effective().rescue_requested, "a request is fulfilled once");
    Ok(())
}

/// The last failure on the stick, and whether it was shown.
fn last_failure(stick: &Stick) -> Result<(LastFailure, bool)> {
    let length = usize::try_from(stick.extent(Role::Control)?.length)?;
    let file = stick.beside("control.part");
    fs::write(&file, stick.read(Role::Control, 0, length)?)?;
    let area = medium::failure_area::read(&medium::Partition::open(&file)?)?;
    let record = area.current().context("no failed boot is recorded")?;
    Ok((record.failure.clone(), record.acknowledged))
}

#[test]
fn the_reason_for_a_failed_boot_survives_power_off_and_is_shown_once() -> Result<()> {
    let stick = SiteFixture::micro()?.stick("alpha")?;
    let key = stick.beside("age.key");
    fs::write(&key, stick.secret_file(AGE_KEY)?)?;
    stick.debugfs(&format!("rm /{AGE_KEY}\n"))?;
    drop(in_rescue(&stick.cold())?);
    let (failure, shown) = last_failure(&stick)?;
    assert_eq!((failure.step.as_str(), failure.fault.as_str(), shown), ("identity", "identity", false));
    assert_eq!(
        (failure.node.as_str(), failure.slot.map(|slot| slot.to_string())),
        ("alpha", Some("a".into()))
    );
    ensure!(failure.log.contains("psyops fault: identity"), "{}", failure.log);
    stick.debugfs(&format!("write {} /{AGE_KEY}\n", key.display()))?;
    let mut booted = stick.boot()?;
    assert_eq!(booted.seen.report.configure, Configure::Ok, "{:?}", booted.seen.report);
    let said = format!("{}slot a: identity (step identity)", marker::LAST_FAILURE);
    ensure!(booted.machine.console().contains(&said), "{}", booted.machine.console());
    booted.machine.send("\ngrep -c 'psyops fault: identity' /var/log/psyops/last-failure.log\n")?;
    booted.machine.wait_for("last-failure.log", SOON)?;
    booted
        .machine
        .send("psyops-agent status --json | grep -o '\"step\":\"identity\",\"fault\":\"[a-z]*\"'\n")?;
    booted.machine.wait_for("\"step\":\"identity\",\"fault\":\"identity\"", SOON)?;
    booted.power_off()?;
    ensure!(last_failure(&stick)?.1, "it is noted as shown");
    let again = stick.boot()?;
    ensure!(!again.machine.console().contains(marker::LAST_FAILURE), "{}", again.machine.console());
    Ok(())
}

#[test]
fn keys_are_in_rescue_only_if_the_site_wants_it() -> Result<()> {
    for (policy, status) in [("", "42-1-"), ("\nkeep-keys = true", "42-0-")] {
        let name = if policy.is_empty() { "shell" } else { "keeps-keys" };
        let fixture = SiteFixture::with_rescue(name, &format!("console = \"shell\"{policy}"))?;
        let stick = fixture.stick("alpha")?;
        stick.flip(Role::Root(Slot::A), 10)?;
        let mut machine = in_rescue(&stick.setup()?)?;
        typed(
            &mut machine,
            &format!("test -s {SECRET_PARTITION}/{AGE_KEY} && grep -q {SECRET_PARTITION} /proc/mounts"),
            status,
        )?;
        typed(&mut machine, "status | grep -q 'keys can be read here'", status)?;
    }
    Ok(())
}

/// A site that allows rescue with its SSH key, and a login on a console only if these `lines` allow it.
fn by_ssh(micro: &SiteFixture, name: &str, lines: &str) -> Result<SiteFixture> {
    let public = fs::read_to_string(micro.ssh_key().with_extension("pub"))?;
    SiteFixture::with_rescue(name, &format!("{lines}ssh-keys = [\"{}\"]", public.trim()))
}

fn by_ssh_only(micro: &SiteFixture) -> Result<SiteFixture> {
    by_ssh(micro, "ssh", "")
}

fn in_rescue_by_ssh(stick: &Stick, ssh: &Ssh) -> Result<Machine> {
    let mut setup = asked_for_rescue(stick)?;
    setup.ssh = Some(ssh.port());
    let mut machine = in_rescue(&setup)?;
    let fingerprint = machine.wait_for_line("the server's key is SHA256:", SOON)?;
    ssh.trust_what_is_shown(fingerprint.rsplit(' ').next().unwrap_or_default(), DEADLINE)?;
    Ok(machine)
}

/// Prints how many DHCP clients run, and how many cards have the address that QEMU forwards to.
const HOW_ADDRESSED: &str =
    "echo $(ps | grep -c '[u]dhcpc') $(ip -4 addr show scope global | grep -c 10.0.2.15)";

#[test]
fn rescue_by_ssh_accepts_the_sites_key_without_a_console() -> Result<()> {
    let micro = SiteFixture::micro()?;
    let stick = by_ssh_only(&micro)?.stick("alpha")?;
    let ssh = Ssh::to_rescue(&micro)?;
    let mut machine = in_rescue_by_ssh(&stick, &ssh)?;
    assert_eq!(ssh.run("rescue", HOW_ADDRESSED)?.trim(), "1 1");
    ensure!(ssh.run("rescue", "status")?.contains("the kernel command line asks for it"));
    ensure!(ssh.run("rescue", "secrets check")?.contains("files match the seal"));
    ensure!(ssh.run("rescue", &format!("ls {SECRET_PARTITION}/{AGE_KEY} || echo gone"))?.contains("gone"));
    // Not in the session itself, which ends with all others.
    ssh.run("rescue", "(sleep 1; retry) >/dev/null 2>&1 &")?;
    boots(&mut machine)
}

/// Rescue is requested before the seal is read, and yet the address in the seal is used.
#[test]
fn rescue_by_ssh_works_at_the_nodes_fixed_address() -> Result<()> {
    let micro = SiteFixture::micro()?;
    let stick = by_ssh_only(&micro)?.stick("fixed-address")?;
    let ssh = Ssh::to_rescue(&micro)?;
    let _machine = in_rescue_by_ssh(&stick, &ssh)?;
    assert_eq!(ssh.run("rescue", HOW_ADDRESSED)?.trim(), "0 1", "no DHCP");
    ensure!(ssh.run("rescue", "ip route")?.contains("default via 10.0.2.2"));
    ensure!(ssh.run("rescue", &format!("grep -c {SECRET_PARTITION} /proc/mounts"))?.trim() == "0");
    Ok(())
}

/// The stick fails while the node's fixed address is read from it. The process that reads it cannot be killed, and yet
/// the user gets the requested rescue.
#[test]
fn rescue_starts_without_the_fixed_address_if_the_stick_hangs() -> Result<()> {
    let stick =
        by_ssh(&SiteFixture::micro()?, "ssh-and-shell", "console = \"shell\"\n")?.stick("fixed-address")?;
    let mut setup = asked_for_rescue(&stick)?;
    setup.on_reset = OnReset::End;
    for disk in &mut setup.disks {
        // No driver of this bus gives up a request.
        disk.bus = Bus::Virtio;
    }
    // So slow that the test reads the console before the loader reads the secret partition.
    setup.trouble.bytes_per_second = Some(50_000);
    let mut machine = Machine::start(&setup)?;
    machine.wait_for("seal of node fixed-address", DEADLINE)?;
    machine.hang(0)?;
    machine.wait_for("no fixed address", DEADLINE)?;
    let seen = wait_for_report(&mut machine, SOON)?;
    assert_eq!(seen.report.outcome, Outcome::Rescue, "{:?}", seen.report);
    machine.wait_for(PROMPT, SOON)?;
    typed(&mut machine, &format!("grep -c {SECRET_PARTITION} /proc/mounts"), "42-1-")?;
    // Without busybox's own sync, which waits for the stick; the loader stops waiting for its own.
    machine.send("reboot -n\n")?;
    machine.wait_for_end(SOON.saturating_mul(2))?;
    Ok(())
}

/// A site whose users get commands without a shell, by a password at the console and by SSH, and whose nodes close
/// module loading.
fn commands_only(micro: &SiteFixture) -> Result<SiteFixture> {
    let hash = rescue_password::hash(&"correct horse".to_owned().into(), [7; 16])?;
    let public = fs::read_to_string(micro.ssh_key().with_extension("pub"))?;
    let lines = format!(
        "access = \"commands\"\nconsole = \"password\"\npassword-hash = \"{hash}\"\nssh-keys = [\"{}\"]\n\n\
         [hardening]\nmodules = \"closed\"\nuser-namespaces = \"nobody\"",
        public.trim()
    );
    SiteFixture::with_rescue("commands", &lines)
}

const READER: &str = "psyops rescue> ";

#[test]
fn a_site_that_allows_only_commands_gives_no_shell() -> Result<()> {
    let micro = SiteFixture::micro()?;
    let stick = commands_only(&micro)?.stick("alpha")?;
    let ssh = Ssh::to_rescue(&micro)?;
    let mut machine = in_rescue_by_ssh(&stick, &ssh)?;

    // By SSH: commands run, everything else is refused, as a command and typed.
    ensure!(ssh.run("rescue", "status")?.contains("the kernel command line asks for it"));
    ensure!(ssh.run("rescue", "log")?.contains("initloader"));
    let ways = [
        "sh",
        "/bin/sh -c 'echo in-$((40+2))'",
        "busybox sh -c 'echo in-$((40+2))'",
        "log; echo in-$((40+2))",
        "status\necho in-$((40+2))",
        "$(echo in-$((40+2)))",
        "-c sh",
        "/usr/lib/sftp-server",
        "scp -f /psyops/trust",
        "cat /psyops/trust",
        "log /psyops/trust",
        "/init",
        "/bin/busybox",
        "LD_PRELOAD=/x status",
    ];
    for way in ways {
        assert_eq!(ssh.run("rescue", way)?, "", "{way}");
    }
    ensure!(!ssh.has_subsystem("rescue", "sftp")?);
    // These keys discard what was typed before them in the terminal, but end nothing.
    let shown = ssh.log_in("rescue", b"\x1a\x03\x1c\nstatus\nexit\n")?;
    ensure!(shown.contains("the kernel command line asks for it"), "{shown}");
    let shown =
        ssh.log_in("rescue", b"!sh\necho in-$((40+2))\nbusybox sh\nlog\n!/bin/sh\nv\nq\nhelp\nexit\n")?;
    assert_eq!(shown.matches("known commands: status, log").count(), 7, "{shown}");
    ensure!(!shown.contains("in-42"), "{shown}");

    // The same at the console, with the password.
    machine.wait_for("psyops rescue password: ", SOON)?;
    machine.send("correct horse\n")?;
    machine.wait_for(READER, SOON)?;
    for line in ["sh", "\u{3}sh", "\u{1c}sh", "`sh`", "exec sh", "secrets check; sh", &"a".repeat(3000)] {
        machine.send(&format!("{line}\n"))?;
        machine.wait_for("known commands: status", SOON).with_context(|| format!("after {line:?}"))?;
    }
    machine.send("secrets check\n")?;
    machine.wait_for("files match the seal", SOON)?;
    machine.send("fsck\n")?;
    machine.wait_for("psyops-secret: ", SOON)?;
    machine.send("retry\n")?;
    boots(&mut machine)?;
    ensure!(!machine.console().contains("in-42"), "{}", machine.console());

    // The site closes module loading once the boot is complete, and user namespaces for all users.
    machine.send("\n")?;
    machine.send(
        "cat /proc/sys/kernel/modules_disabled /proc/sys/user/max_user_namespaces | tr '\\n' -; echo end\n",
    )?;
    machine.wait_for("1-0-end", SOON)?;
    Ok(())
}
