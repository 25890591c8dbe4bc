//! What the hardening denies other users of a node, tried inside the node as the user `nobody`.

use crate::ssh::Ssh;
use anyhow::{Result, ensure};
use handoff::hardening::Hardening;
use handoff::paths::{PRIVATE, SECRETS};

/// Tries everything that a node with the default hardening refuses its users.
pub fn is_kept_out(ssh: &Ssh, node: &str) -> Result<()> {
    for (path, value) in Hardening::default().settings() {
        let found = ssh.run(node, &format!("cat /proc/sys/{path}"))?;
        ensure!(found.trim_end() == value, "{path} is {found:?}, should be {value}");
    }
    ensure!(ssh.run(node, "cat /proc/sys/kernel/modules_disabled")?.trim_end() == "0", "modules are closed");
    let shadow = ssh.run(node, "stat -c '%a %u %g' /etc/shadow")?;
    ensure!(shadow == "640 0 42\n", "{shadow}");
    let lower = ssh.run(node, &format!("stat -c %a {PRIVATE}; ls {PRIVATE}"))?;
    ensure!(lower == "700\nlower\noverlay\nsecret-partition\n", "{lower}");
    let tried = |command: &str| ssh.run(node, &format!("su -s /bin/sh nobody -c '{command}' 2>&1"));
    ensure!(tried("id -u")?.trim_end() == "65534", "commands are not run as nobody");
    let secrets = format!("ls {SECRETS}");
    for (command, refusal) in [
        ("cat /etc/shadow", "Permission denied"),
        ("ls /run/psyops/private/lower", "Permission denied"),
        ("ls /run/psyops/private/overlay", "Permission denied"),
        (secrets.as_str(), "Permission denied"),
        ("dmesg", "Operation not permitted"),
        ("unshare -U true", "Operation not permitted"),
    ] {
        let said = tried(command)?;
        ensure!(said.contains(refusal), "{command}: {said}");
    }
    let addresses = tried("cut -c1-16 /proc/kallsyms | sort -u")?;
    ensure!(addresses.trim_end() == "0000000000000000", "{addresses}");
    Ok(())
}
