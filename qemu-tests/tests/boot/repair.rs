//! One file on the secret partition is damaged: the report names it, it is repaired, and the next boot finds no fault.

use anyhow::{Result, ensure};
use builder::run::{Access, Machine};
use handoff::paths::{AGE_KEY, PRIVATE, SECRET_PARTITION, SECRETS};
use handoff::report::{BootReport, Outcome};
use qemu_tests::agent_commands::{
    a_pause_holds_messages_and_releases_them, secrets_are_checked_and_repaired,
};
use qemu_tests::site_fixture::SiteFixture;
use qemu_tests::stick::{Booted, Stick};

/// The file that the tests damage.
const FILE: &str = "hostname";
/// Another file, which one test makes immutable.
const IMMUTABLE: &str = "machine-id";

fn damaged(lines: &str) -> Result<(Stick, Vec<u8>)> {
    let stick = SiteFixture::micro()?.stick("alpha")?;
    let content = stick.secret_file(FILE)?;
    stick.debugfs(lines)?;
    Ok((stick, content))
}

/// Each file of the node is damaged in another way, and there is a file that the seal does not know. The first boot
/// repairs the files and leaves that one; the second boot has nothing to do.
#[test]
fn each_kind_of_damage_is_repaired_and_an_unknown_file_is_left() -> Result<()> {
    let stick = SiteFixture::micro()?.stick("alpha")?;
    let damage = [
        ("hostname", "rm /@\nwrite /etc/passwd /@\n"),
        ("machine-id", "rm /@\n"),
        ("ssh/authorized_keys", "set_inode_field /@ mode 0100777\n"),
        ("ssh/ssh_host_ed25519_key", "set_inode_field /@ uid 1000\n"),
        // It must be replaced, and not followed.
        ("ssh/ssh_host_ed25519_key.pub", "rm /@\nsymlink /@ /etc/shadow\n"),
    ];
    let contents =
        damage.map(|(file, _)| stick.secret_file(file)).into_iter().collect::<Result<Vec<Vec<u8>>>>()?;
    let lines: String = damage.iter().map(|(file, lines)| lines.replace('@', file)).collect();
    stick.debugfs(&format!("{lines}write /etc/passwd /stowaway\n"))?;
    let first = stick.boot_and_power_off()?.report;
    assert_eq!((first.outcome, first.unknown.as_slice()), (Outcome::Ok, ["stowaway".to_owned()].as_slice()));
    assert_eq!(first.repaired, damage.map(|(file, _)| file), "{first:?}");
    for ((file, _), content) in damage.iter().zip(contents) {
        assert_eq!(stick.secret_file(file)?, content, "{file}");
    }
    stick.fsck_secret()?;
    let second = stick.boot_and_power_off()?.report;
    assert_eq!((second.outcome, second.repaired.len()), (Outcome::Ok, 0), "{second:?}");
    assert_eq!(second.unknown, ["stowaway"], "{second:?}");
    assert_eq!(stick.secret_file("stowaway")?, std::fs::read("/etc/passwd")?);
    stick.fsck_secret()
}

/// The key and the partition are readable by every user, with an access control list for one user, and the superblock
/// has the option to panic on errors: all of this is corrected, and other users can read neither the key nor its
/// folder.
#[test]
fn an_age_key_that_others_can_read_gets_its_mode_and_owner_back() -> Result<()> {
    let fixture = SiteFixture::micro()?;
    let stick = fixture.stick("alpha")?;
    let key = stick.secret_file(AGE_KEY)?;
    stick.debugfs(&format!(
        "set_inode_field /{AGE_KEY} mode 0100644\nset_inode_field / mode 040755\nset_inode_field /{AGE_KEY} uid 65534\n\
         set_inode_field /{IMMUTABLE} flags 0x80010\n\
         ea_set /{FILE} user.note x\nset_super_value errors 3\nset_super_value default_mount_opts 0x10e\n"
    ))?;
    let ssh = qemu_tests::ssh::Ssh::new(&fixture)?;
    let mut setup = stick.setup()?;
    setup.ssh = Some(ssh.port());
    let mut booted = Booted::wait(&setup)?;
    let report = booted.seen.report.clone();
    assert_eq!((report.outcome, report.faults.len()), (Outcome::Ok, 0), "{report:?}");
    assert_eq!(report.repaired, ["/", FILE, IMMUTABLE, AGE_KEY], "{report:?}");
    let stat =
        format!("stat -c '%a %u %g' {PRIVATE} {SECRET_PARTITION} {SECRET_PARTITION}/{AGE_KEY} {SECRETS}");
    let expected = "700 0 0\n700 0 0\n600 0 0\n700 0 0\n";
    assert_eq!(ssh.run("alpha", &stat)?, expected);
    ensure!(ssh.run("alpha", &format!("ls {SECRETS}"))?.contains(FILE), "roles see the seal's files");
    ensure!(!ssh.run("alpha", &format!("ls {SECRETS}"))?.contains(AGE_KEY), "roles see no key");
    // As another user: the folder refuses reading, whatever the file's mode is.
    let read = format!(
        "chmod 755 /run/psyops; busybox su -s /bin/sh nobody -c 'cat {SECRET_PARTITION}/{AGE_KEY} {SECRETS}/{FILE}; \
         ls {PRIVATE}' 2>&1 || true"
    );
    let said = ssh.run("alpha", &read)?;
    assert_eq!(said.matches("Permission denied").count(), 3, "{said}");
    let options = ssh.run("alpha", "cat /proc/fs/ext4/*/options")?;
    for option in ["errors=remount-ro", "barrier", "nogrpid"] {
        ensure!(options.lines().any(|line| line == option), "{option} is missing: {options}");
    }
    secrets_are_checked_and_repaired(&ssh, "alpha")?;
    a_pause_holds_messages_and_releases_them(&ssh, "alpha", "cat /var/log/messages")?;
    booted.power_off()?;
    assert_eq!(stick.secret_file(AGE_KEY)?, key);
    stick.fsck_secret()?;
    let second = stick.boot_and_power_off()?.report;
    assert_eq!((second.outcome, second.repaired.len()), (Outcome::Ok, 0), "{second:?}");
    Ok(())
}

#[test]
fn on_a_read_only_medium_the_right_content_comes_from_memory() -> Result<()> {
    let (stick, content) = damaged(&format!("rm /{FILE}\nwrite /etc/passwd /{FILE}\n"))?;
    let fixture = SiteFixture::micro()?;
    let ssh = qemu_tests::ssh::Ssh::new(&fixture)?;
    let mut setup = stick.setup()?;
    for disk in &mut setup.disks {
        disk.access = Access::ReadOnly;
    }
    setup.ssh = Some(ssh.port());
    let mut booted = Booted::wait(&setup)?;
    let report: &BootReport = &booted.seen.report;
    assert_eq!((report.outcome, report.repaired.len()), (Outcome::Degraded, 0), "{report:?}");
    assert_eq!(report.memory_only, [FILE], "{report:?}");
    assert!(report.faults.iter().any(|fault| fault.fault == "repair"), "{report:?}");
    assert_eq!(ssh.run("alpha", "cat /etc/hostname")?.as_bytes(), content);
    booted.power_off()
}

#[test]
fn a_dirty_journal_is_replayed_before_anything_is_compared() -> Result<()> {
    let stick = SiteFixture::micro()?.stick("alpha")?;
    // A machine that loses its power while the partition is mounted for writing leaves the journal dirty; the flag
    // alone makes the loader do the same.
    stick.debugfs("feature needs_recovery\n")?;
    let mut booted = stick.boot()?;
    assert_eq!(booted.seen.report.outcome, Outcome::Ok, "{:?}", booted.seen.report);
    ensure!(
        said(&booted.machine, "journal"),
        "nothing was said of the journal:\n{}",
        booted.machine.console()
    );
    booted.power_off()?;
    stick.fsck_secret()
}

fn said(machine: &Machine, word: &str) -> bool {
    machine.console().lines().any(|line| line.contains("psyops") && line.contains(word))
}
