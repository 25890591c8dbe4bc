//! A datagram with its sender, according to the kernel, and its time.

use crate::file;
use std::path::Path;

/// The most bytes of a datagram in the spool. A sender without privileges can send 425,984 bytes at most with the
/// kernel's defaults (twice `net.core.wmem_max`); a longer one from root is cut.
pub(super) const LONGEST: usize = 512 * 1024;
/// The kernel's number for a user or group that does not exist in this user namespace.
pub(super) const UNKNOWN_ID: u32 = 65534;
/// Clock ticks a second in `/proc/PID/stat`: `USER_HZ`, 100 on all architectures that Debian has.
const TICKS_MS: u64 = 10;

/// The credentials that the kernel attached to a datagram (`unix(7)`, `SCM_CREDENTIALS`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sender {
    /// The sender's process; 0 if it is not known.
    pub(super) pid: i32,
    /// The sender's user id.
    pub(super) uid: u32,
    /// The sender's group id.
    pub(super) gid: u32,
}

impl Sender {
    /// For a datagram without credentials: never root.
    pub(super) const UNKNOWN: Self = Self { pid: 0, uid: UNKNOWN_ID, gid: UNKNOWN_ID };

    /// The credentials of this process.
    pub(super) fn ours() -> Self {
        Self {
            pid: rustix::process::getpid().as_raw_pid(),
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        }
    }

    /// Whether the process that sent something at `sent_ms` (milliseconds since the kernel started) still runs. A
    /// process that was started later and has the same number now is another one.
    pub(super) fn still_runs(self, sent_ms: u64) -> bool {
        let stat = file::read_text(&Path::new("/proc").join(self.pid.to_string()).join("stat"));
        stat.ok().and_then(|text| start_ms(&text)).is_some_and(|started| started <= sent_ms)
    }
}

/// A datagram that was sent to the log socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Datagram {
    /// The bytes that were sent.
    pub(super) text: Vec<u8>,
    /// The sender's credentials.
    pub(super) sender: Sender,
    /// When it was sent, in nanoseconds since 1970, according to the kernel.
    pub(super) time_ns: u64,
    /// When it was received, in milliseconds since the kernel started; 0 in another boot.
    pub(super) received_ms: u64,
}

/// When a process was started, in milliseconds since the kernel was: field 22 of `/proc/PID/stat`. The name before it
/// is in parentheses and can have any characters.
fn start_ms(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;
    ticks.checked_mul(TICKS_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn the_start_of_a_process_is_found_behind_any_name() {
        let fields: Vec<String> = (3..=52).map(|number| number.to_string()).collect();
        let stat = format!("7 (a) 1 2 (b) {}", fields.join(" "));
        assert_eq!(start_ms(&stat), Some(220));
        assert_eq!(start_ms("7 (a) S 1"), None);
    }

    #[test]
    fn a_process_that_was_started_after_the_datagram_is_another_one() {
        let now = clock::since_kernel_start();
        assert!(Sender::ours().still_runs(now));
        assert!(!Sender::ours().still_runs(1), "it was not running one millisecond after the kernel started");
        assert!(!Sender { pid: 0, ..Sender::ours() }.still_runs(now));
    }
}
