//! Undoing a boot attempt: before a shell, so that no key can be read, and before the next attempt, together with
//! whatever was mounted in between.

use crate::log::Log;
use crate::steps::root;
use crate::{mounts, sysfs};
use handoff::paths;
use nix::mount::{MntFlags, umount2};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Rescue is requested for the first attempt only; this file records that it has been.
pub(crate) const VISITED: &str = "/run/psyops/rescue-visited";

/// The kernel's own file systems, which stay mounted.
const KEPT: [&str; 5] = ["/", "/proc", "/sys", "/dev", "/run"];

/// Unmounts everything except the kernel's own file systems, removes the mapped device and the copies in memory.
pub(crate) fn everything(log: &mut Log) {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // Later mounts are later in the table, and may be on top of the earlier ones.
    for place in places(&table).into_iter().rev() {
        if let Err(error) = mounts::unmount(&place) {
            log.error(&error.to_string());
            // It is at least detached: processes that have it open keep it, but no other process finds it.
            let _ = umount2(place.as_str(), MntFlags::MNT_DETACH);
        }
    }
    if let Err(error) = root::mapping("").remove() {
        log.error(&error.to_string());
    }
    let run = Path::new(paths::RUN);
    if let Ok(metadata) = run.metadata() {
        remove_below(run, metadata.dev(), &[paths::BOOT_LOG, paths::BOOT_REPORT, VISITED]);
    }
}

/// Removes all files below a folder that are on the device `device`, and none on another one.
pub(crate) fn remove_below(folder: &Path, device: u64, keep: &[&str]) {
    for name in sysfs::names(folder) {
        let path = folder.join(name);
        let Ok(metadata) = path.symlink_metadata() else { continue };
        if metadata.dev() != device || keep.iter().any(|kept| path == Path::new(kept)) {
            continue;
        }
        if metadata.is_dir() {
            remove_below(&path, device, keep);
            let _ = std::fs::remove_dir(&path);
        } else {
            let _ = std::fs::remove_file(&path);
        }
    }
}

/// The mount points to unmount (`proc_pid_mountinfo(5)`: the fifth field).
pub(crate) fn places(table: &str) -> Vec<String> {
    let all = table.lines().filter_map(|line| line.split(' ').nth(4)).map(unescaped);
    all.filter(|place| !KEPT.contains(&place.as_str())).collect()
}

/// The kernel writes white space and backslashes as three octal digits.
fn unescaped(field: &str) -> String {
    let mut out = Vec::new();
    let mut rest = field.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = (byte == b'\\').then(|| tail.split_at_checked(3)).flatten();
        let value =
            digits.and_then(|(digits, _)| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        if let (Some(value), Some((_, after))) = (value, digits) {
            out.push(value);
            rest = after;
        } else {
            out.push(byte);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_except_kernel_mounts_is_unmounted() {
        let table = "20 0 0:2 / / rw - rootfs rootfs rw\n\
                     21 1 0:20 / /proc rw - proc proc rw\n\
                     22 1 0:21 / /run rw - tmpfs tmpfs rw\n\
                     23 22 8:11 / /run/psyops/secrets ro shared:1 - ext4 /dev/sda11 ro\n\
                     24 1 8:1 / /mnt/my\\040stick rw - vfat /dev/sda1 rw\n\
                     25 1 0:23 / /sysroot rw - overlay overlay rw\n";
        assert_eq!(places(table), ["/run/psyops/secrets", "/mnt/my stick", "/sysroot"]);
    }

    #[test]
    fn text_without_escapes_is_unchanged() {
        assert_eq!(unescaped("/a\\134b\\04"), "/a\\b\\04");
        assert_eq!(unescaped("/\\999"), "/\\999");
    }
}
