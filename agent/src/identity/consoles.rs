//! The login on the consoles: a shell, a login prompt, or none.

use super::Changes;
use crate::file::{FileError, failing};
use handoff::login::ConsoleLogin;
use std::fs;
use std::os::unix::fs::symlink;

const INITTAB: &str = "/etc/inittab";
const MARK: &str = "# Consoles, written by the identity stage from the node's settings.";
const AUTOLOGIN: [(&str, &str); 2] = [
    ("getty@", "--noclear %I $TERM"),
    ("serial-getty@", "--noclear --keep-baud 115200,57600,38400,9600 %I $TERM"),
];

/// Lines of busybox init's table for the consoles that work: init would start the login again and again on a missing
/// one.
pub(super) fn micro(
    changes: &mut Changes<'_>,
    login: &ConsoleLogin,
    terminals: &[String],
) -> Result<(), FileError> {
    let present = changes.read(INITTAB)?;
    let fixed = present.split(MARK).next().unwrap_or_default();
    let lines = terminals.iter().filter_map(|name| line(login, name)).collect::<String>();
    changes.write(INITTAB, &format!("{fixed}{MARK}\n{lines}"), 0o644)
}

fn line(login: &ConsoleLogin, terminal: &str) -> Option<String> {
    let speed =
        if terminal.starts_with("tty") && terminal.as_bytes().get(3).is_some_and(u8::is_ascii_digit) {
            "38400 TERMINAL linux"
        } else {
            "-L 115200 TERMINAL vt100"
        }
        .replace("TERMINAL", terminal);
    match login {
        ConsoleLogin::Off => None,
        ConsoleLogin::Password(_) => Some(format!("{terminal}::respawn:/sbin/getty {speed}\n")),
        ConsoleLogin::Shell => {
            Some(format!("{terminal}::respawn:/sbin/getty -n -l /usr/lib/psyops/root-shell {speed}\n"))
        }
    }
}

/// Drop-ins for Debian's getty units, or links that mask the units.
pub(super) fn debian(changes: &mut Changes<'_>, login: &ConsoleLogin) -> Result<(), FileError> {
    for (unit, arguments) in AUTOLOGIN {
        match login {
            ConsoleLogin::Password(_) => {}
            ConsoleLogin::Shell => {
                let text = format!(
                    "# Written by the identity stage: login = \"shell\".\n[Service]\nExecStart=\n\
                     ExecStart=-/sbin/agetty --autologin root {arguments}\n"
                );
                changes.write(&format!("/etc/systemd/system/{unit}.service.d/psyops.conf"), &text, 0o644)?;
            }
            ConsoleLogin::Off => mask(changes, unit)?,
        }
    }
    Ok(())
}

fn mask(changes: &mut Changes<'_>, unit: &str) -> Result<(), FileError> {
    let path = format!("/etc/systemd/system/{unit}.service");
    let place = changes.root.at(&path);
    if fs::read_link(&place).is_ok_and(|target| target.as_os_str() == "/dev/null") {
        return Ok(());
    }
    let _ = fs::remove_file(&place);
    if let Some(folder) = place.parent() {
        crate::file::create_folder(folder)?;
    }
    failing("mask", &place, symlink("/dev/null", &place))?;
    changes.changed.push(path.into());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file;
    use crate::root::Root;

    #[test]
    fn each_policy_has_its_lines() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        file::write(&root.at(INITTAB), b"::sysinit:/etc/init.d/rcS\n", 0o644).unwrap();
        let terminals = ["tty1".to_owned(), "ttyS0".to_owned()];
        for (login, wanted) in [
            (
                ConsoleLogin::Shell,
                "tty1::respawn:/sbin/getty -n -l /usr/lib/psyops/root-shell 38400 tty1 linux\n\
                 ttyS0::respawn:/sbin/getty -n -l /usr/lib/psyops/root-shell -L 115200 ttyS0 vt100\n",
            ),
            (
                ConsoleLogin::Password("$6$salt$0123456789abcdef".parse().unwrap()),
                "tty1::respawn:/sbin/getty 38400 tty1 linux\nttyS0::respawn:/sbin/getty -L 115200 ttyS0 vt100\n",
            ),
            (ConsoleLogin::Off, ""),
        ] {
            let mut changes = Changes { root: &root, changed: Vec::new() };
            micro(&mut changes, &login, &terminals).unwrap();
            let text = file::read_text(&root.at(INITTAB)).unwrap();
            assert_eq!(text, format!("::sysinit:/etc/init.d/rcS\n{MARK}\n{wanted}"));
        }
    }

    #[test]
    fn debian_gettys_log_in_or_are_masked() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let mut changes = Changes { root: &root, changed: Vec::new() };
        debian(&mut changes, &ConsoleLogin::Shell).unwrap();
        let drop_in = root.at("/etc/systemd/system/serial-getty@.service.d/psyops.conf");
        assert!(
            file::read_text(&drop_in)
                .unwrap()
                .contains("\nExecStart=\nExecStart=-/sbin/agetty --autologin root")
        );
        debian(&mut changes, &ConsoleLogin::Off).unwrap();
        let masked = fs::read_link(root.at("/etc/systemd/system/getty@.service")).unwrap();
        assert_eq!(masked.as_os_str(), "/dev/null");
    }
}
