//! The node's hardening: settings of the kernel, written before the node's init starts, and module loading closed when
//! the boot is complete.
//!
//! systemd applies the files of `sysctl.d` later, Debian's own among them: there ours are the last ones.

use crate::file::{self, FileError, failing};
use crate::root::Root;
use handoff::hardening::{Hardening, MODULES_DISABLED, Modules, Setting};
use handoff::init::InitKind;
use std::fs;
use std::path::PathBuf;

/// After everything that Debian's packages bring, and before what a site calls `99-zzz`.
const SYSCTL_FILE: &str = "/etc/sysctl.d/99-zz-psyops.conf";

/// Tells the kernel what the site wants, and says what this kernel does not know. What changed on the disk is returned.
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
        // The dash: a kernel that lacks a setting is not an error.
        format!("-{} = {value}\n", path.replace('/', "."))
    });
    let text = format!("# [hardening] of the site, written at each boot.\n{}", lines.collect::<String>());
    let changed = file::write(&root.at(SYSCTL_FILE), text.as_bytes(), 0o644)?;
    Ok(if changed { vec![SYSCTL_FILE.into()] } else { Vec::new() })
}

/// Closes module loading where the site wants that. It stays closed until the next boot.
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
    // A value that is right may be one that cannot be written again.
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
    fn settings_are_written_and_what_the_kernel_lacks_is_told() {
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
    fn systemd_gets_them_in_a_file_too() {
        let (_folder, root) = root();
        let open = Hardening { kernel_log: Who::All, ..Hardening::default() };
        let changed = apply(&root, open, Some(InitKind::Systemd), &mut |_| ()).unwrap();
        assert_eq!(changed, [PathBuf::from(SYSCTL_FILE)]);
        let text = file::read_text(&root.at(SYSCTL_FILE)).unwrap();
        assert!(text.contains("\n-kernel.dmesg_restrict = 0\n-kernel.kptr_restrict = 2\n"), "{text}");
        assert!(!text.contains("modules_disabled"), "that is for later: {text}");
    }

    #[test]
    fn modules_are_closed_only_where_the_site_says_so() {
        let (_folder, root) = root();
        let state = || file::read_text(&root.at("/proc/sys/kernel/modules_disabled")).unwrap();
        close_modules(&root, Hardening::default(), &mut |_| ()).unwrap();
        assert_eq!(state(), "0\n");
        let closed = Hardening { modules: Modules::Closed, ..Hardening::default() };
        close_modules(&root, closed, &mut |_| ()).unwrap();
        assert_eq!(state(), "1");
    }
}
