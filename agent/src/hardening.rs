//! The node's hardening: settings of the kernel, written before the node's init starts, and module loading closed when
//! the boot is complete.
//!
//! systemd applies the files of `sysctl.d` later, Debian's own among them: psyopsOS's file comes last there.

use crate::file::{self, FileError, failing};
use crate::root::Root;
use handoff::hardening::{Hardening, MODULES_DISABLED, Modules, Setting};
use handoff::init::InitKind;
use std::fs;
use std::path::PathBuf;

/// It sorts after every file of Debian's packages, and before a site's file `99-zzz`.
const SYSCTL_FILE: &str = "/etc/sysctl.d/99-zz-psyops.conf";

/// Writes the site's kernel settings, and reports those that this kernel does not have. Returns the files that changed.
pub fn apply(
    root: &Root,
    hardening: Hardening,
    init: Option<InitKind>,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<PathBuf>, FileError> {
    for setting in hardening.settings() {
        write(root, setting, say)?;
    }
    if init != Some(InitKind::Systemd) {
        return Ok(Vec::new());
    }
    let lines = hardening.settings().into_iter().map(|(path, value)| {
        // The dash: it is not an error if the kernel lacks a setting.
        format!("-{} = {value}\n", path.replace('/', "."))
    });
    let text = format!("# [hardening] of the site, written at each boot.\n{}", lines.collect::<String>());
    let changed = file::write(&root.at(SYSCTL_FILE), text.as_bytes(), 0o644)?;
    Ok(if changed { vec![SYSCTL_FILE.into()] } else { Vec::new() })
}

/// Closes module loading if the site wants that. It stays closed until the next boot.
pub fn close_modules(root: &Root, hardening: Hardening, say: &mut dyn FnMut(&str)) -> Result<(), FileError> {
    match hardening.modules {
        Modules::Open => Ok(()),
        Modules::Closed => write(root, MODULES_DISABLED, say),
    }
}

fn write(root: &Root, (path, value): Setting, say: &mut dyn FnMut(&str)) -> Result<(), FileError> {
    let place = root.at("/proc/sys").join(path);
    if !place.exists() {
        say(&format!("this kernel has no setting {}", path.replace('/', ".")));
        return Ok(());
    }
    // The value is right already, and perhaps cannot be written again.
    if file::read_text(&place).is_ok_and(|now| now.trim_end() == value) {
        return Ok(());
    }
    failing("write", &place, fs::write(&place, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use handoff::hardening::Who;

    fn root() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        for name in ["fs/protected_fifos", "kernel/kptr_restrict", "kernel/modules_disabled"] {
            file::write(&root.at("/proc/sys").join(name), b"0\n", 0o644).unwrap();
        }
        (folder, root)
    }

    #[test]
    fn settings_are_written_and_missing_kernel_settings_are_reported() {
        let (_folder, root) = root();
        let mut told = Vec::new();
        let changed = apply(&root, Hardening::default(), Some(InitKind::Busybox), &mut |line| {
            told.push(line.to_owned());
        });
        assert_eq!(changed.unwrap(), Vec::<PathBuf>::new());
        let read = |name: &str| file::read_text(&root.at("/proc/sys").join(name)).unwrap();
        assert_eq!((read("fs/protected_fifos"), read("kernel/kptr_restrict")), ("2".into(), "2".into()));
        assert!(told.contains(&"this kernel has no setting kernel.dmesg_restrict".to_owned()), "{told:?}");
        assert!(!root.at(SYSCTL_FILE).exists());
    }

    #[test]
    fn systemd_gets_the_settings_in_a_file_too() {
        let (_folder, root) = root();
        let open = Hardening { kernel_log: Who::All, ..Hardening::default() };
        let changed = apply(&root, open, Some(InitKind::Systemd), &mut |_| ()).unwrap();
        assert_eq!(changed, [PathBuf::from(SYSCTL_FILE)]);
        let text = file::read_text(&root.at(SYSCTL_FILE)).unwrap();
        assert!(text.contains("\n-kernel.dmesg_restrict = 0\n-kernel.kptr_restrict = 2\n"), "{text}");
        assert!(!text.contains("modules_disabled"), "that is for later: {text}");
    }

    #[test]
    fn modules_are_closed_only_if_the_site_asks_for_it() {
        let (_folder, root) = root();
        let state = || file::read_text(&root.at("/proc/sys/kernel/modules_disabled")).unwrap();
        close_modules(&root, Hardening::default(), &mut |_| ()).unwrap();
        assert_eq!(state(), "0\n");
        let closed = Hardening { modules: Modules::Closed, ..Hardening::default() };
        close_modules(&root, closed, &mut |_| ()).unwrap();
        assert_eq!(state(), "1");
    }
}
