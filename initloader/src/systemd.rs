//! Tells systemd, as the root's init, when the loader began: `systemd-analyze` then shows the initrd's part.
//!
//! systemd has one way to learn it: the state that the systemd of an initramfs hands to the next one, a file of
//! `name=value` lines (`manager_serialize` in its src/core/manager-serialize.c). `--deserialize` names its descriptor,
//! and `--switched-root` says that it is from before a change of the root. Of all possible lines this program writes
//! only these. systemd reads the firmware's and the selector's times from EFI variables by itself.

use crate::clock::Uptime;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::time::{ClockId, clock_gettime};
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::fd::IntoRawFd as _;
use std::path::Path;
use std::time::Duration;

/// The arguments that tell the root's `init`, where the root is `/` by now, when the loader began; none if it is not
/// systemd.
pub(crate) fn arguments(init: &Path, started: Uptime) -> io::Result<Vec<String>> {
    if !is_systemd(init) {
        return Ok(Vec::new());
    }
    let wall_clock = clock_gettime(ClockId::CLOCK_REALTIME).map_or(Duration::ZERO, Duration::from);
    // The descriptor stays open for systemd.
    let mut file = File::from(memfd_create(c"psyops-for-systemd", MFdFlags::empty())?);
    file.write_all(
        state(wall_clock.saturating_sub(started.elapsed()), started.since_kernel_start()).as_bytes(),
    )?;
    file.rewind()?;
    let descriptor = file.into_raw_fd().to_string();
    Ok(["--switched-root", "--system", "--deserialize"]
        .map(String::from)
        .into_iter()
        .chain([descriptor])
        .collect())
}

/// Whether the init is systemd: Debian's `/sbin/init` is a link to it.
fn is_systemd(init: &Path) -> bool {
    std::fs::canonicalize(init).is_ok_and(|real| real.file_name().is_some_and(|name| name == "systemd"))
}

/// The file's text: when the initrd began by both clocks, in microseconds. The empty line ends the part about no unit.
fn state(wall_clock: Duration, since_kernel_start: Duration) -> String {
    format!("initrd-timestamp={} {}\n\n", wall_clock.as_micros(), since_kernel_start.as_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_systemd_gets_the_times() {
        let folder = std::env::temp_dir().join(format!("systemd-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for (program, link, told) in [("systemd", "init", true), ("busybox", "other-init", false)] {
            std::fs::write(folder.join(program), "").unwrap();
            std::os::unix::fs::symlink(program, folder.join(link)).unwrap();
            let arguments = arguments(&folder.join(link), Uptime::now()).unwrap();
            assert_eq!(arguments.len(), if told { 4 } else { 0 }, "{arguments:?}");
        }
        assert_eq!(arguments(&folder.join("none"), Uptime::now()).unwrap(), Vec::<String>::new());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_state_is_two_times_in_microseconds_and_an_end() {
        let text = state(Duration::from_secs(1_700_000_000), Duration::from_millis(2045));
        assert_eq!(text, "initrd-timestamp=1700000000000000 2045000\n\n");
    }
}
