//! Taking a boot attempt down again: before a shell, so that no key lies open, and before the next attempt.

use crate::log::Log;
use crate::steps::root;
use crate::{mounts, sysfs};
use handoff::paths;
use nix::mount::{MntFlags, umount2};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Unmounts all that the steps mounted, removes the mapped device and what was kept in memory.
pub(crate) fn everything(log: &mut Log) {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // Later mounts stand later in the table, and above the earlier ones.
    for place in places(&table).into_iter().rev() {
        if let Err(error) = mounts::unmount(place) {
            log.error(&error.to_string());
            // Out of sight at least: whoever holds it open keeps it, nobody else finds it.
            let _ = umount2(place, MntFlags::MNT_DETACH);
        }
    }
    if let Err(error) = root::mapping("").remove() {
        log.error(&error.to_string());
    }
    let run = Path::new(paths::RUN);
    if let Ok(metadata) = run.metadata() {
        remove_below(run, metadata.dev(), &[paths::BOOT_LOG, paths::BOOT_REPORT, crate::rescue::VISITED]);
    }
}

/// Removes all below a folder that lies on the device `device`, and nothing on another one.
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

/// The mount points of the loader's own mounts (`proc_pid_mountinfo(5)`: the fifth field).
fn places(table: &str) -> Vec<&str> {
    let ours = [paths::NEW_ROOT, paths::RUN];
    let all = table.lines().filter_map(|line| line.split(' ').nth(4));
    all.filter(|place| {
        ours.iter()
            .any(|own| place.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_loaders_own_mounts_are_taken_down() {
        let table = "21 1 0:20 / /proc rw - proc proc rw\n\
                     22 1 0:21 / /run rw - tmpfs tmpfs rw\n\
                     23 22 8:11 / /run/psyops/secrets ro shared:1 - ext4 /dev/sda11 ro\n\
                     24 22 0:22 / /run/psyopsother rw - tmpfs tmpfs rw\n\
                     25 1 0:23 / /sysroot rw - overlay overlay rw\n";
        assert_eq!(places(table), ["/run/psyops/secrets", "/sysroot"]);
    }
}
